#include "worker/worker.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

unsigned worker_pressure_percent(const struct worker *worker)
{
    long long messages = atomic_load_explicit(&worker->messages, memory_order_relaxed);
    long long bytes = atomic_load_explicit(&worker->bytes, memory_order_relaxed);
    long long by_count = messages * 100 / (long long)worker->config->worker.max_messages;
    long long by_bytes = bytes * 100 / (long long)worker->config->worker.memory_max_bytes;
    long long most = by_count > by_bytes ? by_count : by_bytes;
    return most < 0 ? 0 : most > 1000 ? 1000 : (unsigned)most;
}

/* The first transactional stream: somebody waits for it. */
static const char *stream_of_reports(const struct config *config)
{
    for (size_t i = 0; i < config->stream_count; i++) {
        if (config->streams[i].class_ == CONFIG_CLASS_TRANSACTIONAL) {
            return config->streams[i].name;
        }
    }
    return config->stream_count > 0 ? config->streams[0].name : "tx";
}

void worker_name_topics(struct worker *worker)
{
    const char *prefix = worker->config->kafka.prefix;
    struct worker_topics *topics = &worker->topics;
    snprintf(topics->control, sizeof(topics->control), "%scontrol", prefix);
    snprintf(topics->log, sizeof(topics->log), "%slog", prefix);
    snprintf(topics->bounces, sizeof(topics->bounces), "%sbounces", prefix);
    snprintf(topics->facts, sizeof(topics->facts), "%sfacts", prefix);
    snprintf(topics->dlq, sizeof(topics->dlq), "%sdlq", prefix);
    snprintf(topics->suppression, sizeof(topics->suppression), "%ssuppression", prefix);
    snprintf(topics->reports, sizeof(topics->reports), "%sq.%s", prefix,
             stream_of_reports(worker->config));
    snprintf(topics->done, sizeof(topics->done), "%sdone", prefix);
    snprintf(topics->moved, sizeof(topics->moved), "%smoved", prefix);
    snprintf(topics->uncertain, sizeof(topics->uncertain), "%suncertain", prefix);
    for (int i = 0; i < KAFKA_TIERS; i++) {
        snprintf(topics->tiers[i], sizeof(topics->tiers[i]), "%sd.%02d", prefix, i);
    }
}

/* Visible ASCII only, as the metadata of a commit wants it; what is too long ends in its hash. */
void worker_name_slot(struct worker *worker)
{
    const struct config_kafka *kafka = &worker->config->kafka;
    char full[1024];
    char *id = worker->transactional_id;
    size_t size = sizeof(worker->transactional_id);
    snprintf(full, sizeof(full), "%s%s-%s", kafka->prefix, kafka->group, worker->name);
    uint64_t hash = hash_stable(slice_cstr(full));
    if (strlen(full) < size) {
        memcpy(id, full, strlen(full) + 1);
    } else {
        snprintf(id, size, "%.200s-%016llx", full, (unsigned long long)hash);
    }
    for (; *id != '\0'; id++) {
        *id = *id > ' ' && *id <= '~' ? *id : '_';
    }
    worker->slot = (int32_t)(hash % (unsigned)kafka->slots);
}

/* Can this machine send from that address? */
static bool can_bind(const struct sockaddr_storage *address, socklen_t len)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool ok = bind(fd, (const struct sockaddr *)address, len) == 0;
    close(fd);
    return ok;
}

static bool parse_and_bind(const struct config_vip *config, const char *text,
                           struct sockaddr_storage *address, bool *has)
{
    struct fault fault;
    socklen_t len;
    *has = false;
    if (text == NULL) {
        return true;
    }
    if (!io_address_parse(slice_cstr(text), 0, address, &len, &fault)) {
        log_error("vip-address", "vip=%s reason=\"%s\"", config->name, fault.text);
        return false;
    }
    *has = can_bind(address, len);
    if (!*has) {
        log_warn("vip-not-plumbed", "vip=%s address=%s reason=\"%s\"", config->name, text,
                 strerror(errno));
    }
    return *has;
}

static bool is_wanted(const struct config_worker *config, const char *vip)
{
    for (size_t i = 0; i < config->vip_count; i++) {
        if (strcmp(config->vips[i], vip) == 0) {
            return true;
        }
    }
    return config->vip_count == 0;
}

bool worker_hold_vips(struct worker *worker, struct fault *fault)
{
    const struct config *config = worker->config;
    worker->vips = mem_calloc(config->vip_count, sizeof(*worker->vips));
    for (size_t i = 0; i < config->vip_count; i++) {
        struct worker_vip *vip = &worker->vips[worker->vip_count];
        if (!is_wanted(&config->worker, config->vips[i].name)) {
            continue;
        }
        vip->config = &config->vips[i];
        parse_and_bind(vip->config, vip->config->source_ipv4, &vip->ipv4, &vip->has_ipv4);
        parse_and_bind(vip->config, vip->config->source_ipv6, &vip->ipv6, &vip->has_ipv6);
        if (vip->has_ipv4 || vip->has_ipv6) {
            log_info("vip-held", "vip=%s ipv4=%d ipv6=%d", vip->config->name, vip->has_ipv4,
                     vip->has_ipv6);
            worker->vip_count++;
        }
    }
    if (worker->vip_count == 0) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "vips: none of the %zu configured VIPs can be held: this machine has none "
                         "of their addresses",
                         config->vip_count);
    }
    return true;
}
