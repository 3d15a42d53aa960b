/* The helpers of the live tests, and their main program: kafka_live [PATTERN [SKIPPED]] runs the
 * tests whose name matches the first and not the second. */
#include "tests/kafka/live.h"

#include "base/log.h"
#include "base/random.h"

#include <inttypes.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

const struct kafka_properties *live_properties(void)
{
    static struct kafka_property items[1];
    static struct kafka_properties properties = {items, 1};
    items[0] = (struct kafka_property){"bootstrap.servers", getenv("KAFKA_BOOTSTRAP")};
    return &properties;
}

void live_make_topics(char prefix[32], int shards)
{
    static const char *const streams[] = {"tx", "bulk"};
    struct fault fault;
    snprintf(prefix, 32, "t%08" PRIx32 ".", (uint32_t)random_u64());
    struct kafka_topic_plan plan = {
        .prefix = prefix,
        .streams = streams,
        .stream_count = 2,
        .tiers = KAFKA_TIERS,
        .shards = shards,
        .event_partitions = 1,
        .slots = 1,
        .replication_factor = 1,
        .min_insync_replicas = 1,
        .max_message_bytes = 26 << 20,
        .retention_ms = 86400000,
    };
    if (!kafka_topics_create(live_properties(), &plan, NULL, NULL, &fault)) {
        fail_msg("%s", fault.text);
    }
}

const char *live_topic(const char *prefix, const char *name)
{
    static char ring[16][64];
    static unsigned at;
    char *out = ring[at++ % 16];
    snprintf(out, 64, "%s%s", prefix, name);
    return out;
}

struct kafka_producer *live_producer(void)
{
    struct fault fault;
    struct kafka_producer_options options;
    kafka_producer_options_default(&options);
    struct kafka_producer *producer = kafka_producer_create(live_properties(), &options, &fault);
    if (producer == NULL) {
        fail_msg("%s", fault.text);
    }
    return producer;
}

void live_send_numbers(const char *topic, int partition, int64_t first, int64_t count)
{
    struct kafka_producer *producer = live_producer();
    struct fault fault;
    char text[32];
    for (int64_t i = first; i < first + count;) {
        int len = snprintf(text, sizeof(text), "%" PRId64, i);
        struct slice value = slice_of(text, (size_t)len);
        struct kafka_header header = {"number", value};
        struct kafka_record_out record = {.headers = &header,
                                          .header_count = 1,
                                          .topic = topic,
                                          .partition = partition,
                                          .key = partition < 0 ? value : SLICE_NULL,
                                          .value = value};
        if (kafka_producer_send(producer, &record, &fault)) {
            i++;
        } else {
            assert_int_equal(fault.kind, FAULT_LIMIT);
            kafka_producer_poll(producer, 10);
        }
    }
    assert_true(kafka_producer_flush(producer, LIVE_TIMEOUT_MS));
    kafka_producer_free(&producer, 0);
}

void live_broker(const char *action)
{
    char program[512];
    char verb[16];
    char folder[512];
    snprintf(program, sizeof(program), "%s/ops/kafka", getenv("SLUICE_SOURCE_DIR"));
    snprintf(verb, sizeof(verb), "%s", action);
    snprintf(folder, sizeof(folder), "%s", getenv("SLUICE_KAFKA_DIR"));
    char *args[] = {program, verb, folder, NULL};
    pid_t pid;
    int status;
    assert_int_equal(posix_spawn(&pid, program, NULL, NULL, args, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

void live_sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L}, NULL);
}

static void on_assigned(void *owner, struct kafka_partition *const *partitions, size_t count)
{
    struct live_consumer *live = owner;
    live->assigned_calls++;
    assert_true(count <= ARRAY_LEN(live->partitions));
    memcpy(live->partitions, partitions, count * sizeof(struct kafka_partition *));
    live->partition_count = count;
}

static void on_revoked(void *owner, struct kafka_partition *const *partitions, size_t count,
                       bool lost)
{
    struct live_consumer *live = owner;
    (void)partitions;
    (void)lost;
    assert_int_equal(count, live->partition_count);
    live->partition_count = 0;
    live->revoked_calls++;
}

static void on_failed(void *owner, const struct fault *fault)
{
    struct live_consumer *live = owner;
    live->failed_calls++;
    live->failure = *fault;
}

void live_consumer_open(struct live_consumer *live, const char *prefix, bool tiers,
                        const char *instance)
{
    static const struct kafka_consumer_ops ops = {
        .assigned = on_assigned, .revoked = on_revoked, .failed = on_failed};
    struct kafka_subscription subscriptions[2 + KAFKA_TIERS] = {
        {live_topic(prefix, "q.tx"), KAFKA_SOURCE_TX, 0},
        {live_topic(prefix, "q.bulk"), KAFKA_SOURCE_BULK, 1},
    };
    size_t count = 2;
    for (int tier = 0; tiers && tier < KAFKA_TIERS; tier++) {
        char name[8];
        snprintf(name, sizeof(name), "d.%02u", (unsigned)tier & 15u);
        subscriptions[count++] =
            (struct kafka_subscription){live_topic(prefix, name), KAFKA_SOURCE_TIER, tier};
    }
    char group[48];
    snprintf(group, sizeof(group), "g-%s", prefix);
    struct kafka_consumer_options options;
    struct fault fault;
    kafka_consumer_options_default(&options);
    options.group_id = group;
    options.group_instance_id = instance;
    options.subscriptions = subscriptions;
    options.subscription_count = count;
    options.commit_interval_ms = 200;
    options.session_timeout_ms = 6000;
    memset(live, 0, sizeof(*live));
    live->consumer = kafka_consumer_create(live_properties(), &options, &ops, live, &fault);
    if (live->consumer == NULL) {
        fail_msg("%s", fault.text);
    }
}

void live_consumer_wait(struct live_consumer *live)
{
    struct mono_time end = mono_add_ms(mono_now(), LIVE_TIMEOUT_MS);
    while (live->partition_count == 0) {
        kafka_consumer_serve(live->consumer, mono_now());
        live_sleep_ms(2);
        if (!mono_before(mono_now(), end)) {
            fail_msg("no assignment");
        }
    }
}

bool live_take(struct live_consumer *live, struct kafka_record *record)
{
    static unsigned calls;
    if (calls++ % 64 == 0) {
        kafka_consumer_serve(live->consumer, mono_now());
    }
    for (int source = 0; source < KAFKA_SOURCES; source++) {
        if (kafka_consumer_take(live->consumer, (enum kafka_source)source, record)) {
            return true;
        }
    }
    kafka_consumer_serve(live->consumer, mono_now());
    live_sleep_ms(1);
    return false;
}

int64_t live_number(const struct kafka_record *record)
{
    uint64_t value = 0;
    struct slice header;
    assert_true(slice_to_u64(record->value, &value));
    assert_true(kafka_record_header(record, "number", &header) && slice_eq(header, record->value));
    assert_false(kafka_record_header(record, "absent", &header));
    assert_true(record->timestamp_ms > 0);
    return (int64_t)value;
}

int main(int argc, char **argv)
{
    const char *pattern = argc > 1 && argv[1][0] != '\0' ? argv[1] : "*";
    if (getenv("KAFKA_BOOTSTRAP") == NULL || getenv("SLUICE_KAFKA_DIR") == NULL ||
        getenv("SLUICE_SOURCE_DIR") == NULL) {
        fprintf(stderr, "kafka_live is run by tests/kafka/run\n");
        return 2;
    }
    log_setup("kafka_live", LOG_LEVEL_INFO);
    if (argc == 5 && strcmp(argv[1], "member") == 0) {
        return live_restart_member(argv);
    }
    cmocka_set_test_filter(pattern);
    if (argc > 2) {
        cmocka_set_skip_filter(argv[2]);
    }
    int failed = live_consume_tests() + live_group_tests() + live_produce_tests() +
                 live_reader_tests() + live_batch_tests() + live_migrate_tests() +
                 live_join_tests() + live_claim_tests() + live_restart_tests() + live_tail_tests() +
                 live_txn_tests() + live_outage_tests();
    return failed == 0 ? 0 : 1;
}
