#include "bouncer/daemon.h"

#include "base/log.h"
#include "base/mem.h"
#include "bouncer/actions.h"
#include "bouncer/builder.h"
#include "bouncer/mail.h"
#include "bouncer/session.h"
#include "bouncer/sink.h"
#include "bouncer/web.h"
#include "policy/verp_keys.h"

#include <signal.h>

#define BOUNCER_MAGIC 0x626f756eu
#define WARM_UP_MS 5000
#define DRAIN_MS 30000
#define FLUSH_MS 5000
#define LINGER_MS 2

/* ---- Kafka ---- */

/* A topic that does not exist is an error at start; a Kafka that cannot be reached is not, since it
 * may come. */
static bool warm_up(struct bouncer *bouncer, struct fault *fault)
{
    const char *prefix = bouncer->config->kafka.prefix;
    snprintf(bouncer->log, sizeof(bouncer->log), "%slog", prefix);
    snprintf(bouncer->bounces, sizeof(bouncer->bounces), "%sbounces", prefix);
    snprintf(bouncer->feedback, sizeof(bouncer->feedback), "%sfeedback", prefix);
    const char *const topics[] = {bouncer->log, bouncer->bounces, bouncer->feedback};
    bool ok = kafka_producer_warm_up(bouncer->kafka, topics, ARRAY_LEN(topics), WARM_UP_MS, fault);
    if (!ok && fault->kind != FAULT_INVALID && fault->kind != FAULT_REFUSED) {
        log_warn("kafka-unreachable", "reason=\"%s\"", fault->text);
        return true;
    }
    return ok || fault_prefix(fault, "Kafka");
}

static bool open_sink(struct bouncer *bouncer, const struct kafka_properties *properties,
                      struct fault *fault)
{
    if (bouncer->config->bouncer.suppression_database != NULL) {
        bouncer->sink = sink_start(bouncer->config, properties, fault);
        return bouncer->sink != NULL;
    }
    return true;
}

static bool open_kafka(struct bouncer *bouncer, struct fault *fault)
{
    const struct config_kafka *kafka = &bouncer->config->kafka;
    struct kafka_producer_options options;
    kafka_producer_options_default(&options);
    options.client_id = "sluice-bouncer";
    options.linger_ms = LINGER_MS;
    options.delivery_timeout_ms = (int)bouncer->config->bouncer.kafka_timeout_ms;
    struct kafka_properties all;
    kafka_properties_from_config(&all, kafka);
    bouncer->kafka = kafka_producer_create(&all, &options, fault);
    bool ok = bouncer->kafka != NULL && warm_up(bouncer, fault) &&
              kafka_reports_begin(&bouncer->reports, bouncer->loop, bouncer->kafka, fault);
    if (ok) {
        bouncer->table =
            table_create(&all, kafka->prefix, config_facts_keep_ms(bouncer->config, true));
        bouncer->judge.table = bouncer->table;
        bouncer->builder = builder_start(bouncer->config, &all);
        ok = open_sink(bouncer, &all, fault);
    }
    kafka_properties_free(&all);
    return ok;
}

/* ---- what is read again on SIGHUP ---- */

static bool load_tls(struct bouncer *bouncer, struct fault *fault)
{
    const struct config_bouncer *config = &bouncer->config->bouncer;
    return smtpd_load_tls(&bouncer->smtpd, config->tls_certificate_file, config->tls_key_file,
                          fault);
}

static bool load_rules(struct bouncer *bouncer, struct fault *fault)
{
    const char *const folder = bouncer->config->bouncer.rules_folder;
    const struct classifier_options options = {
        .user_dirs = &folder,
        .user_dir_count = folder != NULL,
    };
    struct classifier *fresh = classifier_load(&options, fault);
    if (fresh == NULL) {
        return fault_prefix(fault, "bouncer.rules-folder");
    }
    classifier_free(&bouncer->classifier);
    bouncer->classifier = fresh;
    bouncer->judge.classifier = fresh;
    return true;
}

static void tell_reload(const char *what, bool ok, const struct fault *fault)
{
    char quoted[FAULT_TEXT_MAX + 100];
    if (ok) {
        log_info("reloaded", "what=%s", what);
    } else {
        log_error("not-reloaded", "what=%s reason=%s", what,
                  log_quote(quoted, sizeof(quoted), slice_cstr(fault->text)));
    }
}

static void reload(struct bouncer *bouncer)
{
    struct fault fault = {0};
    bool ok = load_tls(bouncer, &fault);
    tell_reload("certificate", ok, &fault);
    if (bouncer->web != NULL && bouncer->config->unsubscribe.tls_certificate_file != NULL) {
        ok = web_reload(bouncer->web, &fault);
        tell_reload("unsubscribe-certificate", ok, &fault);
    }
    ok = load_rules(bouncer, &fault);
    tell_reload("rules", ok, &fault);
    ok = config_verp_keys_reload(bouncer->keys, bouncer->config_path, &fault);
    tell_reload("keys", ok, &fault);
}

/* ---- draining ---- */

static void patience_over(struct timer *timer, struct mono_time now)
{
    struct bouncer *bouncer = CONTAINER_OF(timer, struct bouncer, drain);
    CHECK_MAGIC(bouncer, BOUNCER_MAGIC);
    (void)now;
    log_warn("not-drained", "sessions=%zu", bouncer->smtpd.session_count);
    list_foreach (node, &bouncer->mails) {
        mail_give_up(mail_of(node));
    }
    io_loop_stop(bouncer->loop);
}

void bouncer_check_drained(struct bouncer *bouncer)
{
    if (bouncer->smtpd.draining && bouncer->smtpd.session_count == 0 &&
        list_empty(&bouncer->mails) && (bouncer->web == NULL || web_is_idle(bouncer->web))) {
        io_loop_stop(bouncer->loop);
    }
}

static void drain(struct bouncer *bouncer)
{
    if (bouncer->web != NULL) {
        web_drain(bouncer->web);
    }
    wheel_set(io_loop_wheel(bouncer->loop), &bouncer->drain,
              mono_add_ms(io_loop_now(bouncer->loop), DRAIN_MS), patience_over);
    smtpd_drain(&bouncer->smtpd);
    bouncer_check_drained(bouncer);
}

static void on_signal(void *owner, int number)
{
    struct bouncer *bouncer = owner;
    CHECK_MAGIC(bouncer, BOUNCER_MAGIC);
    if (number == SIGHUP) {
        reload(bouncer);
        return;
    }
    log_info("stopping", "signal=%d sessions=%zu", number, bouncer->smtpd.session_count);
    if (bouncer->smtpd.draining) {
        io_loop_stop(bouncer->loop); /* asked twice: at once */
        return;
    }
    drain(bouncer);
}

/* ---- start and end ---- */

static bool open_signals(struct bouncer *bouncer, struct fault *fault)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        bouncer->signals[i] =
            io_signal_create(bouncer->loop, numbers[i], on_signal, bouncer, fault);
        if (bouncer->signals[i] == NULL) {
            return false;
        }
    }
    return true;
}

static bool open_actions(struct bouncer *bouncer, struct fault *fault)
{
    const struct config_bouncer *config = &bouncer->config->bouncer;
    for (size_t i = 0; i < config->action_count; i++) {
        if (action_has_work(&config->actions[i])) {
            bouncer->actions = actions_create(bouncer->loop, bouncer->host_name_text, fault);
            return bouncer->actions != NULL;
        }
    }
    return true;
}

static bool open_web(struct bouncer *bouncer, struct fault *fault)
{
    if (bouncer->config->unsubscribe.listener_count > 0) {
        bouncer->web = web_create(bouncer, fault);
        return bouncer->web != NULL;
    }
    return true;
}

static void set_up_smtpd(struct bouncer *bouncer)
{
    const struct config_bouncer *config = &bouncer->config->bouncer;
    bouncer->host_name = smtpd_host_name(config->host_name, bouncer->host_name_text);
    bouncer->smtpd = (struct smtpd){
        .ops = &session_ops,
        .section = "bouncer",
        .host_name = bouncer->host_name,
        .max_connections = config->max_connections,
        .max_connections_per_peer = config->max_connections_per_peer,
        .command_timeout_ms = config->command_timeout_ms,
        .data_timeout_ms = config->data_timeout_ms,
    };
    smtpd_init(&bouncer->smtpd);
}

bool bouncer_open(struct bouncer *bouncer, const struct config *config, const char *config_path,
                  struct fault *fault)
{
    *bouncer =
        (struct bouncer){.magic = BOUNCER_MAGIC, .config = config, .config_path = config_path};
    bouncer->budget.max = config->bouncer.memory_max_bytes;
    list_init(&bouncer->mails);
    set_up_smtpd(bouncer);
    bouncer->keys = config_verp_keys(config, fault);
    if (bouncer->keys == NULL) {
        return false;
    }
    bouncer->judge = (struct judge){
        .config = config,
        .keys = bouncer->keys,
        .scratch = classify_scratch_create(),
        .node = bouncer->host_name,
    };
    bouncer->loop = bouncer->smtpd.loop = io_loop_create(fault);
    return bouncer->loop != NULL && load_tls(bouncer, fault) && load_rules(bouncer, fault) &&
           open_signals(bouncer, fault) && open_actions(bouncer, fault) &&
           open_kafka(bouncer, fault) && open_web(bouncer, fault) &&
           smtpd_listen(&bouncer->smtpd, config->bouncer.listeners, config->bouncer.listener_count,
                        fault);
}

void bouncer_run(struct bouncer *bouncer)
{
    CHECK_MAGIC(bouncer, BOUNCER_MAGIC);
    io_loop_run(bouncer->loop);
}

static void tell_end(const struct bouncer *bouncer)
{
    const struct bouncer_counters *n = &bouncer->counters;
    log_info("stopped",
             "accepted=%llu deferred=%llu refused=%llu events=%llu suspicious=%llu "
             "connections=%llu refused_connections=%llu",
             (unsigned long long)n->accepted, (unsigned long long)n->deferred,
             (unsigned long long)n->refused, (unsigned long long)n->events,
             (unsigned long long)n->suspicious, (unsigned long long)bouncer->smtpd.connections,
             (unsigned long long)bouncer->smtpd.refused_connections);
}

/* Sessions first, then what they have left: an action that runs is waited for, and Kafka reports on
 * every record that it has. */
static void close_loop(struct bouncer *bouncer)
{
    wheel_cancel(io_loop_wheel(bouncer->loop), &bouncer->drain);
    smtpd_close(&bouncer->smtpd);
    kafka_reports_stop(&bouncer->reports);
    list_foreach_safe (mail_node, next, &bouncer->mails) {
        struct mail *mail = mail_of(mail_node);
        mail_abandon(mail);
    }
    actions_free(&bouncer->actions);
    web_stop(bouncer->web);
    kafka_producer_free(&bouncer->kafka, FLUSH_MS);
    kafka_reports_end(&bouncer->reports);
    web_free(&bouncer->web);
    CHECK(list_empty(&bouncer->mails));
    for (size_t i = 0; i < ARRAY_LEN(bouncer->signals); i++) {
        io_signal_free(&bouncer->signals[i]);
    }
    tell_end(bouncer);
    io_loop_free(&bouncer->loop);
}

void bouncer_close(struct bouncer *bouncer)
{
    CHECK_MAGIC(bouncer, BOUNCER_MAGIC);
    if (bouncer->loop != NULL) {
        close_loop(bouncer);
    }
    sink_stop(&bouncer->sink);
    builder_stop(&bouncer->builder);
    table_free(&bouncer->table);
    classifier_free(&bouncer->classifier);
    classify_scratch_free(&bouncer->judge.scratch);
    verp_keys_free(&bouncer->keys);
    smtpd_free(&bouncer->smtpd);
}
