/*
 * sluicectl topics create|check|migrate: makes, verifies or changes every topic that Sluice uses.
 * One line per topic on stdout: its state, its name and what is wrong with it.
 */
#include "ops/sluicectl/cmd.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "kafka/topics.h"
#include "policy/config.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* What a record may be at most: a message of 25 MB, its envelope and headers. */
#define MAX_MESSAGE_BYTES (INT64_C(26) << 20)
/* Longer than any client goes without asking for partitions (lib/kafka: 30 s). */
#define SETTLE_MS 35000
#define SETTLE_MAX_MS 3600000

enum status { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_WAITS = 3 };

struct topics_options {
    const char *config;
    bool deletes;
    int64_t settle_ms;
};

static const char *state_name(enum kafka_topic_state state)
{
    switch (state) {
    case KAFKA_TOPIC_OK: return "ok";
    case KAFKA_TOPIC_CREATED: return "created";
    case KAFKA_TOPIC_MISSING: return "missing";
    case KAFKA_TOPIC_WRONG: return "wrong";
    case KAFKA_TOPIC_CHANGED: return "changed";
    case KAFKA_TOPIC_WAITS: return "waits";
    case KAFKA_TOPIC_DELETED: return "deleted";
    }
    return "?";
}

static void print_topic(void *owner, const char *topic, enum kafka_topic_state state,
                        const char *detail)
{
    (void)owner;
    (void)printf("%-8s %s%s%s\n", state_name(state), topic, detail[0] == '\0' ? "" : ": ", detail);
}

static enum status migrate(const struct kafka_properties *properties, const struct config *config,
                           const struct kafka_topic_plan *plan,
                           const struct topics_options *options, struct fault *fault)
{
    const struct kafka_migration migration = {.plan = plan,
                                              .group = config->kafka.group,
                                              .settle_ms = (int)options->settle_ms,
                                              .deletes = options->deletes};
    switch (kafka_topics_migrate(properties, &migration, print_topic, NULL, fault)) {
    case KAFKA_MIGRATED: return STATUS_DONE;
    case KAFKA_MIGRATION_WAITS: return STATUS_WAITS;
    case KAFKA_MIGRATION_FAILED: break;
    }
    return STATUS_FAILED;
}

static enum status run(const char *verb, const struct config *config,
                       const struct topics_options *options)
{
    struct fault fault;
    const char **streams = mem_calloc(config->stream_count + 1, sizeof(const char *));
    for (size_t i = 0; i < config->stream_count; i++) {
        streams[i] = config->streams[i].name;
    }
    struct kafka_topic_plan plan = {
        .prefix = config->kafka.prefix,
        .streams = streams,
        .stream_count = config->stream_count,
        .tiers = (unsigned)config->kafka.tiers,
        .shards = config->kafka.shards,
        .event_partitions = config->kafka.event_partitions,
        .slots = config->kafka.slots,
        .replication_factor = config->kafka.replication_factor,
        .min_insync_replicas = config->kafka.min_insync_replicas,
        .max_message_bytes = MAX_MESSAGE_BYTES,
        .retention_ms = config->kafka.retention_ms,
    };
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &config->kafka);
    enum status status;
    if (strcmp(verb, "migrate") == 0) {
        status = migrate(&properties, config, &plan, options, &fault);
    } else {
        bool ok = strcmp(verb, "create") == 0
                      ? kafka_topics_create(&properties, &plan, print_topic, NULL, &fault)
                      : kafka_topics_check(&properties, &plan, print_topic, NULL, &fault);
        status = ok ? STATUS_DONE : STATUS_FAILED;
    }
    (void)fflush(stdout);
    if (status == STATUS_FAILED) {
        (void)fprintf(stderr, "sluicectl topics: %s\n", fault.text);
    }
    kafka_properties_free(&properties);
    mem_free(streams);
    return status;
}

static enum status usage(void)
{
    (void)fputs(
        "usage: sluicectl topics create|check --config FILE\n"
        "       sluicectl topics migrate --config FILE [--delete] [--settle DURATION]\n"
        "\n"
        "migrate: while workers run, after shards, slots, tiers or streams were changed in FILE.\n"
        "Status: 0 as FILE says, 1 failed or wrong, 2 wrong usage, 3 something waits: run it "
        "again.\n",
        stderr);
    return STATUS_USAGE;
}

static bool parse(int argc, char **argv, struct topics_options *options)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"delete", no_argument, NULL, 'd'},
        {"settle", required_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    bool migrates = strcmp(argv[0], "migrate") == 0;
    int letter;
    optind = 1;
    while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (letter) {
        case 'c': options->config = optarg; break;
        case 'd': options->deletes = true; break;
        case 's':
            if (!duration_parse_ms(slice_cstr(optarg), &options->settle_ms) ||
                options->settle_ms > SETTLE_MAX_MS) {
                return false;
            }
            break;
        default: return false;
        }
        if (letter != 'c' && !migrates) {
            return false;
        }
    }
    return optind == argc && options->config != NULL;
}

int cmd_topics(int argc, char **argv)
{
    static const char *const verbs[] = {"create", "check", "migrate"};
    struct topics_options options = {.settle_ms = SETTLE_MS};
    struct fault fault;
    bool known = false;
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(verbs); i++) {
        known = known || strcmp(argv[1], verbs[i]) == 0;
    }
    if (!known || !parse(argc - 1, argv + 1, &options)) {
        return (int)usage();
    }
    log_setup("sluicectl", LOG_LEVEL_WARN);
    struct config *config = config_load(options.config, &fault);
    if (config == NULL) {
        (void)fprintf(stderr, "%s\n", fault.text);
        return (int)STATUS_FAILED;
    }
    enum status status = run(argv[1], config, &options);
    config_free(&config);
    return (int)status;
}
