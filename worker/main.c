/*
 * sluice-worker: takes mail from Kafka and delivers it over SMTP. Starts the threads, waits for a
 * signal, drains.
 */
#include "worker/classify.h"
#include "worker/console.h"
#include "worker/control.h"
#include "worker/intake.h"
#include "worker/report.h"
#include "worker/shard.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "policy/verp_keys.h"
#include "suppress/follow.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define EVENTS_LINGER_MS 50
#define WARM_UP_MS 30000
#define FLUSH_MS 10000
#define LOAD_STEP_MS 200
#define OTHER_DESCRIPTORS 200 /* brokers, Redis, DNS, files */

static const char usage[] =
    "Usage: sluice-worker --config FILE [--name NAME] [--vips NAME,NAME…]\n"
    "\n"
    "Delivers the mail of the streams that the configuration names. Several workers share the "
    "work: each takes its\n"
    "part of the partitions, and all keep to the same limits.\n"
    "\n"
    "  -c, --config FILE   configuration (see sluice.yaml and docs/configuration.md)\n"
    "  -n, --name NAME     name of this worker in events; default: worker.name, else host name and "
    "process id\n"
    "  -v, --vips LIST     VIPs to hold, by commas; default: worker.vips, else all whose address "
    "this machine has\n"
    "  -h, --help          this text\n"
    "  -V, --version       version\n"
    "\n"
    "SIGHUP reads the bounce rules of bouncer.rules-folder and the keys of verp.keys again, "
    "without a pause.\n"
    "SIGTERM or SIGINT drains: takes nothing new, finishes what runs (at most "
    "worker.drain-timeout), leaves the rest\n"
    "to the other workers, and ends. Exit status: 0 drained, 1 failed, 2 bad usage or "
    "configuration.\n";

struct options {
    const char *config;
    const char *name;
    char *vips;
    const char **configured_vips; /* worker.vips, while --vips stands in its place */
    size_t configured_vip_count;
};

static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"config", required_argument, NULL, 'c'}, {"name", required_argument, NULL, 'n'},
        {"vips", required_argument, NULL, 'v'},   {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},      {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "c:n:v:hV", names, NULL)) != -1) {
        switch (c) {
        case 'c': options->config = optarg; break;
        case 'n': options->name = optarg; break;
        case 'v': options->vips = optarg; break;
        case 'h': fputs(usage, stdout); return 0;
        case 'V': puts("sluice-worker " SLUICE_VERSION); return 0;
        default: return 2;
        }
    }
    if (options->config == NULL || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    return -1;
}

/* --vips takes the place of worker.vips. False: one of them is not configured. */
static bool override_vips(struct config *config, struct options *options)
{
    if (options->vips == NULL) {
        return true;
    }
    struct slice rest = slice_cstr(options->vips);
    const char **list = mem_calloc(config->vip_count + 1, sizeof(*list));
    size_t count = 0;
    while (rest.ptr != NULL) {
        struct slice name = slice_trim(slice_cut(&rest, ','));
        const struct config_vip *vip = config_vip_named(config, name);
        if (vip == NULL || count == config->vip_count) {
            fprintf(stderr, "sluice-worker: --vips: \"%.*s\" is not a VIP of %s\n", SLICE_FMT(name),
                    options->config);
            mem_free(list);
            return false;
        }
        list[count++] = vip->name;
    }
    options->configured_vips = config->worker.vips;
    options->configured_vip_count = config->worker.vip_count;
    config->worker.vips = list;
    config->worker.vip_count = count;
    return true;
}

/* The names in our list are the VIPs' own: the configuration must not free them a second time. */
static void restore_vips(struct config *config, const struct options *options)
{
    if (options->vips != NULL) {
        mem_free(config->worker.vips);
        config->worker.vips = options->configured_vips;
        config->worker.vip_count = options->configured_vip_count;
    }
}

static void name_worker(struct worker *worker, const struct options *options)
{
    gethostname(worker->node, sizeof(worker->node) - 1);
    const char *name = options->name != NULL ? options->name : worker->config->worker.name;
    if (name != NULL) {
        snprintf(worker->name, sizeof(worker->name), "%s", name);
    } else {
        snprintf(worker->name, sizeof(worker->name), "%.100s-%ld", worker->node, (long)getpid());
    }
}

static bool open_producers(struct worker *worker, struct fault *fault)
{
    struct kafka_producer_options options;
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &worker->config->kafka);
    kafka_producer_options_default(&options);
    options.client_id = worker->name;
    options.delivery_timeout_ms = 0; /* as long as it takes: a ticket waits for it */
    options.linger_ms = EVENTS_LINGER_MS;
    worker->events = kafka_producer_create(&properties, &options, fault);
    options.linger_ms = 0; /* batches are made before it */
    options.compression = "none";
    worker->journal =
        worker->events == NULL ? NULL : kafka_producer_create(&properties, &options, fault);
    kafka_properties_free(&properties);
    if (worker->journal == NULL) {
        return false;
    }
    const struct worker_topics *topics = &worker->topics;
    const char *names[KAFKA_TIERS + 7] = {topics->log,        topics->bounces,   topics->facts,
                                          topics->dlq,        topics->uncertain, topics->moved,
                                          topics->suppression};
    size_t name_count = 7;
    for (int i = 0; i < worker->config->kafka.tiers; i++) {
        names[name_count++] = topics->tiers[i];
    }
    const char *done = topics->done;
    return kafka_producer_warm_up(worker->journal, &done, 1, WARM_UP_MS, fault) &&
           kafka_producer_warm_up(worker->events, names, name_count, WARM_UP_MS, fault);
}

/* No mail before the whole suppression list is in memory. False: told to stop meanwhile. */
static bool load_suppression(struct worker *worker, const sigset_t *signals, struct fault *fault)
{
    const struct timespec at_once = {0};
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &worker->config->kafka);
    worker->suppress = suppress_follow_start(&properties, worker->topics.suppression);
    kafka_properties_free(&properties);
    while (!suppress_follow_loaded(worker->suppress, LOAD_STEP_MS)) {
        int number = sigtimedwait(signals, NULL, &at_once);
        if (number > 0 && number != SIGHUP) {
            return fault_set(fault, FAULT_CLOSED, 0, "stopped while the suppression list was read");
        }
    }
    return true;
}

static void *shard_thread(void *argument)
{
    shard_run(argument);
    return NULL;
}

static void *intake_thread(void *argument)
{
    struct intake *intake = argument;
    if (intake_run(intake)) {
        return intake;
    }
    kill(getpid(), SIGUSR1); /* the group failed for good: main is to stop the rest */
    return NULL;
}

static uint32_t shard_count(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (config->worker.threads > 0) {
        return config->worker.threads;
    }
    return cores > 2 ? (uint32_t)cores - 1 : 1;
}

static bool open_threads(struct worker *worker, struct fault *fault)
{
    uint32_t count = shard_count(worker->config);
    worker->shards = mem_calloc(count, sizeof(struct shard *));
    for (uint32_t i = 0; i < count; i++) {
        worker->shards[i] = shard_create(worker, i, fault);
        if (worker->shards[i] == NULL) {
            return false;
        }
        worker->shard_count++;
    }
    return intake_create(worker, fault) != NULL;
}

/* Intake goes last: the shards send it their mails, the producers its delivery reports, and the
 * consumer commits what these complete. */
static void close_all(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_close(worker->shards[i]);
    }
    kafka_producer_free(&worker->events, FLUSH_MS);
    kafka_producer_free(&worker->journal, FLUSH_MS);
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_free(&worker->shards[i]);
    }
    mem_free(worker->shards);
    intake_free(&worker->intake);
    console_free(&worker->console);
    suppress_follow_stop(&worker->suppress);
    classify_rules_free(&worker->rules);
    verp_keys_free(&worker->keys);
    mem_free(worker->vips);
}

static bool open_keys(struct worker *worker, struct fault *fault)
{
    worker->keys = config_verp_keys(worker->config, fault);
    return worker->keys != NULL;
}

static bool open_rules(struct worker *worker, struct fault *fault)
{
    worker->rules = classify_rules_load(worker->config->bouncer.rules_folder, fault);
    if (worker->rules == NULL) {
        return fault_prefix(fault, "bounce rules");
    }
    log_info("rules", "version=%s count=%zu", classify_rules_version(worker->rules),
             classify_rules_count(worker->rules));
    return true;
}

/* Rules that are wrong are told and change nothing. */
static void reload_rules(struct worker *worker)
{
    struct fault fault;
    char quoted[FAULT_TEXT_MAX + 100];
    bool good = classify_rules_reload(worker->rules, &fault);
    if (good) {
        log_info("rules-reloaded", "version=%s count=%zu", classify_rules_version(worker->rules),
                 classify_rules_count(worker->rules));
    } else {
        log_error("rules-refused", "reason=%s",
                  log_quote(quoted, sizeof(quoted), slice_cstr(fault.text)));
    }
    report_admin(worker, good ? "rules-reloaded" : "rules-refused",
                 good ? classify_rules_version(worker->rules) : fault.text);
}

static void reload_keys(struct worker *worker, const char *path)
{
    struct fault fault;
    char quoted[FAULT_TEXT_MAX + 100];
    bool good = config_verp_keys_reload(worker->keys, path, &fault);
    if (good) {
        log_info("keys-reloaded", "what=verp.keys");
    } else {
        log_error("keys-refused", "reason=%s",
                  log_quote(quoted, sizeof(quoted), slice_cstr(fault.text)));
    }
    report_admin(worker, good ? "keys-reloaded" : "keys-refused", good ? path : fault.text);
}

/* Until one that ends the worker. */
static int wait_signal(struct worker *worker, const char *config_path, const sigset_t *signals)
{
    int number = 0;
    while (sigwait(signals, &number) == 0 && number == SIGHUP) {
        reload_rules(worker);
        reload_keys(worker, config_path);
    }
    return number;
}

/* Mail goes out without it, too. */
static void open_console(struct worker *worker)
{
    struct fault fault;
    char quoted[FAULT_TEXT_MAX + 100];
    if (worker->config->worker.control_socket == NULL) {
        return;
    }
    worker->console = console_start(worker, worker->config->worker.control_socket, &fault);
    if (worker->console == NULL) {
        log_error("console-failed", "reason=%s",
                  log_quote(quoted, sizeof(quoted), slice_cstr(fault.text)));
    }
}

/* Runs the threads until a signal, drains. */
static int serve(struct worker *worker, const char *config_path, const sigset_t *signals)
{
    pthread_t intake;
    pthread_t *shards = mem_calloc(worker->shard_count, sizeof(*shards));
    void *drained = NULL;
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        CHECK(pthread_create(&shards[i], NULL, shard_thread, worker->shards[i]) == 0);
    }
    CHECK(pthread_create(&intake, NULL, intake_thread, worker->intake) == 0);
    log_info("started", "name=%s threads=%u vips=%zu", worker->name, worker->shard_count,
             worker->vip_count);
    report_admin(worker, "worker-started", SLUICE_VERSION);
    open_console(worker);
    struct control *control = control_start(worker);
    log_info("stopping", "signal=%d", wait_signal(worker, config_path, signals));
    control_stop(&control);
    console_stop(worker->console);
    intake_drain(worker->intake);
    pthread_join(intake, &drained);
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_ask(worker->shards[i], SHARD_STOP, 0);
        pthread_join(shards[i], NULL);
    }
    mem_free(shards);
    report_admin(worker, "worker-stopped", drained != NULL ? "drained" : "failed");
    return drained != NULL ? 0 : 1;
}

/* As many as the system lets us have: each connection needs one. */
static void raise_descriptors(uint32_t connections)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max != RLIM_INFINITY &&
        limit.rlim_max < (rlim_t)connections + OTHER_DESCRIPTORS) {
        log_warn("few-descriptors", "max_connections=%u limit=%llu", connections,
                 (unsigned long long)limit.rlim_max);
    }
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct worker worker = {0};
    struct fault fault;
    enum log_level level = LOG_LEVEL_INFO;
    sigset_t signals;
    int status = parse_options(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    log_setup("worker", level);
    struct config *config = config_load(options.config, &fault);
    if (config == NULL) {
        fprintf(stderr, "sluice-worker: %s\n", fault.text);
        return 2;
    }
    if (!override_vips(config, &options)) {
        config_free(&config);
        return 2;
    }
    if (config->worker.log_level != NULL &&
        log_level_parse(slice_cstr(config->worker.log_level), &level)) {
        log_setup("worker", level);
    }
    /* Before any thread: all of them inherit the mask, so that only sigwait() sees these. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    raise_descriptors(config->worker.max_connections);
    worker.config = config;
    name_worker(&worker, &options);
    worker_name_topics(&worker);
    worker_name_slot(&worker);
    status = 1;
    if (worker_hold_vips(&worker, &fault) && open_keys(&worker, &fault) &&
        open_rules(&worker, &fault) && open_producers(&worker, &fault) &&
        load_suppression(&worker, &signals, &fault) && open_threads(&worker, &fault)) {
        status = serve(&worker, options.config, &signals);
    } else {
        log_error("start-failed", "reason=\"%s\"", fault.text);
    }
    close_all(&worker);
    log_info("stopped", "status=%d", status);
    restore_vips(config, &options);
    config_free(&config);
    return status;
}
