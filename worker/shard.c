#include "worker/shard.h"

#include "worker/intake.h"
#include "worker/lane.h"
#include "worker/route.h"
#include "worker/session.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "suppress/follow.h"

#define TICK_MS 1000

struct request {
    struct letter letter;
    enum shard_request_kind kind;
    unsigned holders;
};

static bool is_leaving(const struct mail *mail, const void *context)
{
    const struct shard *shard = context;
    return shard->draining || kafka_partition_is_leaving(mail->ticket.partition);
}

static bool is_of_lost_partition(const struct mail *mail, const void *context)
{
    return !mail->begun && is_leaving(mail, context);
}

static void mail_arrived(struct letter *letter, void *owner)
{
    struct shard *shard = owner;
    struct mail *mail = CONTAINER_OF(letter, struct mail, letter);
    CHECK_MAGIC(shard, SHARD_MAGIC);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    mail->shard = shard;
    if (is_of_lost_partition(mail, shard)) {
        shard_return(mail);
    } else {
        route_mail(shard, mail);
    }
}

static void return_mails(struct shard *shard)
{
    struct list out;
    struct list *node;
    size_t cursor = 0;
    struct lane *lane;
    list_init(&out);
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        lane_extract(lane, is_of_lost_partition, shard, &out);
    }
    route_extract(shard, is_of_lost_partition, &out);
    while ((node = list_pop_front(&out)) != NULL) {
        shard_return(CONTAINER_OF(node, struct mail, node));
    }
    /* What was begun and waits for another session cannot be forgotten: its rest goes to a tier. */
    cursor = 0;
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        lane_extract(lane, is_leaving, shard, &out);
    }
    while ((node = list_pop_front(&out)) != NULL) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        settle_later(&shard->settler, &mail, wall_now().ms, false);
    }
}

/* The time for running transactions is over: better cut than sent again by the next owner. */
static void cut_sessions(struct shard *shard)
{
    struct lane *lane;
    size_t cursor = 0;
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        lane_cut(lane, is_leaving, shard);
    }
}

void shard_return(struct mail *mail)
{
    dns_site_unref(&mail->site);
    mail->shard = NULL;
    mail->kind = MAIL_LETTER_RETURNED;
    intake_post(mail->worker->intake, mail);
}

static void request_arrived(struct letter *letter, void *owner)
{
    struct shard *shard = owner;
    struct request *request = CONTAINER_OF(letter, struct request, letter);
    enum shard_request_kind kind = request->kind;
    unsigned holders = request->holders;
    CHECK_MAGIC(shard, SHARD_MAGIC);
    mem_free(request);
    switch (kind) {
    case SHARD_DRAIN:
        shard->draining = true;
        return_mails(shard);
        break;
    case SHARD_RETURN: return_mails(shard); break;
    case SHARD_CUT: cut_sessions(shard); break;
    case SHARD_HOLDERS:
        if (shard->limiter != NULL) {
            redis_limiter_set_holders(shard->limiter, holders);
        }
        break;
    case SHARD_STOP: io_loop_stop(shard->loop); break;
    }
}

/* Lanes without work go after a while; the others look after their length. */
static void tick(struct timer *timer, struct mono_time now)
{
    struct shard *shard = CONTAINER_OF(timer, struct shard, tick);
    struct lane *lane;
    size_t cursor = 0;
    struct lane *idle[64];
    size_t idle_count = 0;
    CHECK_MAGIC(shard, SHARD_MAGIC);
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        if (lane_tick(lane, now) && idle_count < ARRAY_LEN(idle)) {
            idle[idle_count++] = lane;
        }
    }
    for (size_t i = 0; i < idle_count; i++) {
        lane_free(&idle[i]);
    }
    wheel_set(io_loop_wheel(shard->loop), &shard->tick, mono_add_ms(now, TICK_MS), tick);
}

static bool any_limit(const struct config *config)
{
    for (size_t i = 0; i < config->site_count; i++) {
        const struct config_site *site = &config->sites[i];
        if (site->max_smtp_out > 0 || site->max_msg_rate.amount > 0 ||
            site->source_ip_max_smtp_out > 0 || site->source_ip_max_msg_rate.amount > 0) {
            return true;
        }
    }
    return false;
}

static bool open_services(struct shard *shard, struct fault *fault)
{
    const struct config *config = shard->worker->config;
    struct dns_options dns;
    dns_options_default(&dns);
    dns.servers = config->dns.servers;
    dns.server_count = config->dns.server_count;
    dns.timeout_ms = config->dns.timeout_ms;
    dns.negative_ttl_max_ms = config->dns.negative_ttl_max_ms;
    dns.ttl_max_ms = config->dns.ttl_max_ms;
    dns.dnssec = config->dns.dnssec;
    dns.ipv4 = dns.ipv6 = false;
    for (size_t i = 0; i < shard->worker->vip_count; i++) {
        dns.ipv4 = dns.ipv4 || shard->worker->vips[i].has_ipv4;
        dns.ipv6 = dns.ipv6 || shard->worker->vips[i].has_ipv6;
    }
    shard->sites = dns_sites_create(shard->loop, &dns, fault);
    if (shard->sites == NULL) {
        return fault_prefix(fault, "dns");
    }
    if (any_limit(config)) {
        struct redis_options redis;
        char holder[160];
        redis_options_default(&redis);
        redis.host = config->redis.host;
        redis.port = config->redis.port;
        redis.unix_path = config->redis.unix_path;
        redis.user = config->redis.user;
        redis.password = config->redis.password;
        redis.database = config->redis.database;
        redis.key_prefix = config->redis.key_prefix;
        redis.connect_timeout_ms = config->redis.connect_timeout_ms;
        redis.command_timeout_ms = config->redis.command_timeout_ms;
        snprintf(holder, sizeof(holder), "%s/%u", shard->worker->name, shard->index);
        shard->limiter = redis_limiter_create(shard->loop, &redis, holder, fault);
        if (shard->limiter == NULL) {
            return fault_prefix(fault, "redis");
        }
    }
    shard->return_paths = return_paths_create(shard->worker, shard->outbox, fault);
    if (shard->return_paths == NULL) {
        return false;
    }
    shard->suppress = suppress_checker_open(suppress_follow_set(shard->worker->suppress), config);
    struct tls_client_options any = {.verify = TLS_VERIFY_NONE};
    struct tls_client_options verified = {.verify = TLS_VERIFY_NAME};
    shard->tls_any = tls_client_context(&any, fault);
    shard->tls_verified = shard->tls_any == NULL ? NULL : tls_client_context(&verified, fault);
    return shard->tls_verified != NULL;
}

struct shard *shard_create(struct worker *worker, uint32_t index, struct fault *fault)
{
    struct shard *shard = mem_zalloc(sizeof(*shard));
    shard->magic = SHARD_MAGIC;
    shard->worker = worker;
    shard->index = index;
    map_init(&shard->lanes);
    list_init(&shard->routing);
    list_init(&shard->starved);
    list_init(&shard->dying);
    shard->loop = io_loop_create(fault);
    if (shard->loop == NULL) {
        mem_free(shard);
        return NULL;
    }
    shard->mailbox = mailbox_create(shard->loop, mail_arrived, shard, fault);
    shard->requests =
        shard->mailbox == NULL ? NULL : mailbox_create(shard->loop, request_arrived, shard, fault);
    shard->outbox = outbox_create(worker, shard->loop);
    shard->reporter = reporter_create(worker, shard->outbox);
    shard->settler = (struct settler){worker, shard->reporter};
    if (shard->requests == NULL || !open_services(shard, fault)) {
        shard_free(&shard);
        return NULL;
    }
    wheel_set(io_loop_wheel(shard->loop), &shard->tick,
              mono_add_ms(io_loop_now(shard->loop), TICK_MS), tick);
    return shard;
}

void shard_free(struct shard **handle)
{
    struct shard *shard = *handle;
    struct lane *lane;
    size_t cursor = 0;
    if (shard == NULL) {
        return;
    }
    CHECK_MAGIC(shard, SHARD_MAGIC);
    if (shard->loop != NULL) {
        wheel_cancel(io_loop_wheel(shard->loop), &shard->tick);
    }
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL) {
        lane_free(&lane);
        cursor = 0;
    }
    session_reap_all(shard);
    map_free(&shard->lanes);
    dns_sites_free(&shard->sites);
    redis_limiter_free(&shard->limiter);
    tls_context_free(&shard->tls_any);
    tls_context_free(&shard->tls_verified);
    return_paths_free(&shard->return_paths);
    suppress_checker_close(&shard->suppress);
    reporter_free(&shard->reporter);
    outbox_free(&shard->outbox);
    mailbox_free(&shard->requests);
    mailbox_free(&shard->mailbox);
    io_loop_free(&shard->loop);
    shard->magic = 0;
    mem_free(shard);
    *handle = NULL;
}

void shard_run(struct shard *shard)
{
    CHECK_MAGIC(shard, SHARD_MAGIC);
    io_loop_run(shard->loop);
}

void shard_post(struct shard *shard, struct mail *mail)
{
    mailbox_post(shard->mailbox, &mail->letter);
}

void shard_ask(struct shard *shard, enum shard_request_kind kind, unsigned holders)
{
    struct request *request = mem_zalloc(sizeof(*request));
    request->kind = kind;
    request->holders = holders;
    mailbox_post(shard->requests, &request->letter);
}
