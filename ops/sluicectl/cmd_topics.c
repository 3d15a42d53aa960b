/*
 * sluicectl topics create|check --config FILE: makes or verifies every topic that Sluice uses. One
 * line per topic on stdout: its state, its name and what is wrong with it.
 */
#include "ops/sluicectl/cmd.h"
#include "ops/sluicectl/kafka_setup.h"

#include "base/log.h"
#include "base/mem.h"
#include "kafka/topics.h"

#include <stdio.h>
#include <string.h>

/* What a record may be at most: a message of 25 MB, its envelope and headers. */
#define MAX_MESSAGE_BYTES (INT64_C(26) << 20)

static const char *state_name(enum kafka_topic_state state)
{
    switch (state) {
    case KAFKA_TOPIC_OK: return "ok";
    case KAFKA_TOPIC_CREATED: return "created";
    case KAFKA_TOPIC_MISSING: return "missing";
    case KAFKA_TOPIC_WRONG: return "wrong";
    }
    return "?";
}

static void print_topic(void *owner, const char *topic, enum kafka_topic_state state,
                        const char *detail)
{
    (void)owner;
    (void)printf("%-8s %s%s%s\n", state_name(state), topic, detail[0] == '\0' ? "" : ": ", detail);
}

static int run(const struct config *config, bool create)
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
        .shards = config->kafka.shards,
        .event_partitions = config->kafka.event_partitions,
        .slots = config->kafka.slots,
        .replication_factor = config->kafka.replication_factor,
        .min_insync_replicas = config->kafka.min_insync_replicas,
        .max_message_bytes = MAX_MESSAGE_BYTES,
        .retention_ms = config->kafka.retention_ms,
    };
    struct kafka_properties properties = kafka_setup_properties(config);
    bool ok = create ? kafka_topics_create(&properties, &plan, print_topic, NULL, &fault)
                     : kafka_topics_check(&properties, &plan, print_topic, NULL, &fault);
    if (!ok) {
        (void)fflush(stdout);
        (void)fprintf(stderr, "sluicectl topics: %s\n", fault.text);
    }
    kafka_setup_free(&properties);
    mem_free(streams);
    return ok ? 0 : 1;
}

int cmd_topics(int argc, char **argv)
{
    bool create = argc == 4 && strcmp(argv[1], "create") == 0;
    bool check = argc == 4 && strcmp(argv[1], "check") == 0;
    if ((!create && !check) || strcmp(argv[2], "--config") != 0) {
        (void)fputs("usage: sluicectl topics create|check --config FILE\n", stderr);
        return 2;
    }
    struct fault fault;
    log_setup("sluicectl", LOG_LEVEL_WARN);
    struct config *config = config_load(argv[3], &fault);
    if (config == NULL) {
        (void)fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    int status = run(config, create);
    config_free(&config);
    return status;
}
