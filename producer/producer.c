#include "producer/producer.h"

#include "base/log.h"
#include "base/mem.h"
#include "producer/mail.h"
#include "producer/session.h"
#include "suppress/follow.h"

#include <signal.h>

#define PRODUCER_MAGIC 0x70726f64u
#define WARM_UP_MS 5000
#define DRAIN_MS 30000
#define FLUSH_MS 5000
#define LINGER_MS 2
#define HOLD_MARGIN_MS 5000           /* librdkafka looks for overdue records once a second */
#define QUEUE_MAX_KBYTES (512 * 1024) /* above our own bound of memory */
#define RECORD_MAX_BYTES (INT64_C(26) << 20)

/* ---- Kafka ---- */

/* A topic that does not exist is an error at start; a Kafka that cannot be reached is not, since it
 * may come. */
static bool warm_up(struct producer *producer, struct fault *fault)
{
    const struct config *config = producer->config;
    char **topics = mem_calloc(config->stream_count, sizeof(*topics));
    for (size_t i = 0; i < config->stream_count; i++) {
        size_t size = strlen(config->kafka.prefix) + strlen(config->streams[i].name) + 3;
        topics[i] = mem_zalloc(size);
        snprintf(topics[i], size, "%sq.%s", config->kafka.prefix, config->streams[i].name);
    }
    bool ok = kafka_producer_warm_up(producer->kafka, (const char *const *)topics,
                                     config->stream_count, WARM_UP_MS, fault);
    for (size_t i = 0; i < config->stream_count; i++) {
        mem_free(topics[i]);
    }
    mem_free(topics);
    if (!ok && fault->kind != FAULT_INVALID && fault->kind != FAULT_REFUSED) {
        log_warn("kafka-unreachable", "reason=\"%s\"", fault->text);
        return true;
    }
    return ok || fault_prefix(fault, "Kafka");
}

static bool open_kafka(struct producer *producer, struct fault *fault)
{
    const struct config_kafka *kafka = &producer->config->kafka;
    struct kafka_producer_options options;
    kafka_producer_options_default(&options);
    options.client_id = "sluice-producer";
    options.linger_ms = LINGER_MS;
    options.max_message_bytes = RECORD_MAX_BYTES;
    options.queue_max_kbytes = QUEUE_MAX_KBYTES;
    options.delivery_timeout_ms = (int)producer->config->producer.kafka_timeout_ms;
    kafka_properties_from_config(&producer->properties, kafka);
    producer->kafka = kafka_producer_create(&producer->properties, &options, fault);
    snprintf(producer->suppression_topic, sizeof(producer->suppression_topic), "%ssuppression",
             kafka->prefix);
    producer->suppress = suppress_follow_start(&producer->properties, producer->suppression_topic);
    producer->suppressed =
        suppress_checker_open(suppress_follow_set(producer->suppress), producer->config);
    return producer->kafka != NULL && warm_up(producer, fault) &&
           kafka_reports_begin(&producer->reports, producer->loop, producer->kafka, fault);
}

struct once *producer_once(struct producer *producer, struct fault *fault)
{
    struct once_options options = {
        .kafka = producer->properties,
        /* A record may wait for room as long as it may be tried. */
        .hold_ms = 2 * producer->config->producer.kafka_timeout_ms + HOLD_MARGIN_MS,
    };
    if (producer->once == NULL) {
        redis_options_from_config(&options.redis, &producer->config->redis);
        producer->once = once_create(producer->loop, &options, fault);
    }
    return producer->once;
}

/* ---- certificates and users ---- */

static bool load_tls(struct producer *producer, struct fault *fault)
{
    const struct config_producer *config = &producer->config->producer;
    return smtpd_load_tls(&producer->smtpd, config->tls_certificate_file, config->tls_key_file,
                          fault);
}

static void reload(struct producer *producer)
{
    struct fault fault;
    const struct config *config = producer->config;
    struct users *users = users_load(config->producer.users_file, config, &fault);
    if (users == NULL) {
        log_error("not-reloaded", "what=users reason=\"%s\"", fault.text);
    } else {
        log_info("reloaded", "what=users count=%zu", users_count(users));
        auth_set_users(producer->auth, &users);
    }
    if (!load_tls(producer, &fault)) {
        log_error("not-reloaded", "what=certificate reason=\"%s\"", fault.text);
    } else {
        log_info("reloaded", "what=certificate");
    }
}

/* ---- draining ---- */

static void patience_over(struct timer *timer, struct mono_time now)
{
    struct producer *producer = CONTAINER_OF(timer, struct producer, drain);
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    (void)now;
    log_warn("not-drained", "sessions=%zu", producer->smtpd.session_count);
    list_foreach (node, &producer->mails) {
        mail_give_up(CONTAINER_OF(node, struct mail, node));
    }
    io_loop_stop(producer->loop);
}

void producer_check_drained(struct producer *producer)
{
    if (producer->smtpd.draining && producer->smtpd.session_count == 0 &&
        list_empty(&producer->mails)) {
        io_loop_stop(producer->loop);
    }
}

static void drain(struct producer *producer)
{
    wheel_set(io_loop_wheel(producer->loop), &producer->drain,
              mono_add_ms(io_loop_now(producer->loop), DRAIN_MS), patience_over);
    smtpd_drain(&producer->smtpd);
    producer_check_drained(producer);
}

static void on_signal(void *owner, int number)
{
    struct producer *producer = owner;
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    if (number == SIGHUP) {
        reload(producer);
        return;
    }
    log_info("stopping", "signal=%d sessions=%zu", number, producer->smtpd.session_count);
    if (producer->smtpd.draining) {
        io_loop_stop(producer->loop); /* asked twice: at once */
        return;
    }
    drain(producer);
}

/* ---- start and end ---- */

static bool open_signals(struct producer *producer, struct fault *fault)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        producer->signals[i] =
            io_signal_create(producer->loop, numbers[i], on_signal, producer, fault);
        if (producer->signals[i] == NULL) {
            return false;
        }
    }
    return true;
}

static void set_up_smtpd(struct producer *producer)
{
    const struct config_producer *config = &producer->config->producer;
    const int64_t most = (int64_t)MESSAGE_CONTENT_MAX_BYTES - MAIL_ADDED_MAX_BYTES;
    producer->max_message_bytes =
        config->max_message_bytes < most ? config->max_message_bytes : most;
    producer->smtpd = (struct smtpd){
        .ops = &session_ops,
        .section = "producer",
        .host_name = smtpd_host_name(config->host_name, producer->host_name),
        .max_connections = config->max_connections,
        .max_connections_per_peer = config->max_connections_per_peer,
        .command_timeout_ms = config->command_timeout_ms,
        .data_timeout_ms = config->data_timeout_ms,
    };
    smtpd_init(&producer->smtpd);
}

bool producer_open(struct producer *producer, const struct config *config, struct fault *fault)
{
    *producer = (struct producer){.magic = PRODUCER_MAGIC, .config = config};
    producer->budget.max = PRODUCER_MEMORY_MAX_BYTES;
    list_init(&producer->mails);
    set_up_smtpd(producer);
    struct users *users = users_load(config->producer.users_file, config, fault);
    if (users == NULL) {
        return false;
    }
    producer->loop = producer->smtpd.loop = io_loop_create(fault);
    producer->auth = producer->loop == NULL ? NULL : auth_create(producer->loop, &users, fault);
    users_free(&users);
    return producer->auth != NULL && load_tls(producer, fault) && open_signals(producer, fault) &&
           open_kafka(producer, fault) &&
           smtpd_listen(&producer->smtpd, config->producer.listeners,
                        config->producer.listener_count, fault);
}

void producer_run(struct producer *producer)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    io_loop_run(producer->loop);
}

void producer_close(struct producer *producer)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    if (producer->loop == NULL) {
        smtpd_free(&producer->smtpd);
        return;
    }
    wheel_cancel(io_loop_wheel(producer->loop), &producer->drain);
    smtpd_close(&producer->smtpd);
    kafka_reports_stop(&producer->reports);
    if (producer->once != NULL) {
        once_give_up(producer->once);
    }
    /* What still waits for room in Kafka's queue has nothing in flight and goes now. */
    list_foreach_safe (mail_node, next, &producer->mails) {
        mail_abandon(CONTAINER_OF(mail_node, struct mail, node));
    }
    suppress_checker_close(&producer->suppressed);
    suppress_follow_stop(&producer->suppress);
    kafka_producer_free(&producer->kafka, FLUSH_MS); /* reports on every record that it has */
    kafka_reports_end(&producer->reports);
    CHECK(list_empty(&producer->mails));
    struct once_counters keys =
        producer->once == NULL ? (struct once_counters){0} : *once_counters(producer->once);
    once_free(&producer->once);
    kafka_properties_free(&producer->properties);
    for (size_t i = 0; i < ARRAY_LEN(producer->signals); i++) {
        io_signal_free(&producer->signals[i]);
    }
    auth_free(&producer->auth);
    smtpd_free(&producer->smtpd);
    const struct producer_counters *n = &producer->counters;
    log_info("stopped",
             "accepted=%llu deferred=%llu refused=%llu connections=%llu refused_connections=%llu "
             "recognised=%llu unguarded=%llu",
             (unsigned long long)n->accepted, (unsigned long long)n->deferred,
             (unsigned long long)n->refused, (unsigned long long)producer->smtpd.connections,
             (unsigned long long)producer->smtpd.refused_connections,
             (unsigned long long)keys.recognised, (unsigned long long)keys.unguarded);
    io_loop_free(&producer->loop);
}
