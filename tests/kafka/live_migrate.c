/* Changing the topics: what grows, what is put right, what goes and when. */
#include "kafka/batch.h"
#include "tests/kafka/live.h"

#include "base/random.h"

#include <pthread.h>

struct told {
    int states[KAFKA_TOPIC_DELETED + 1];
    char waits[32][80]; /* names */
};

static void on_topic(void *owner, const char *topic, enum kafka_topic_state state,
                     const char *detail)
{
    struct told *told = owner;
    if (state == KAFKA_TOPIC_WAITS || state == KAFKA_TOPIC_WRONG) {
        print_message("%s: %s\n", topic, detail);
        snprintf(told->waits[told->states[state] % 32], sizeof(told->waits[0]), "%s", topic);
    }
    told->states[state]++;
}

static enum kafka_migrated migrate(const struct kafka_topic_plan *plan, bool deletes,
                                   struct told *told, struct fault *fault)
{
    char group[48];
    snprintf(group, sizeof(group), "g-%s", plan->prefix);
    const struct kafka_migration migration = {
        .plan = plan, .group = group, .settle_ms = 100, .deletes = deletes};
    memset(told, 0, sizeof(*told));
    enum kafka_migrated result =
        kafka_topics_migrate(live_properties(), &migration, on_topic, told, fault);
    if (result == KAFKA_MIGRATION_FAILED) {
        print_message("%s\n", fault->text);
    }
    return result;
}

static struct kafka_topic_plan plan_of(const char *prefix)
{
    static const char *const streams[] = {"tx", "bulk", "news"};
    return (struct kafka_topic_plan){
        .prefix = prefix,
        .streams = streams,
        .stream_count = 2,
        .tiers = KAFKA_TIERS,
        .shards = 2,
        .event_partitions = 1,
        .slots = 1,
        .replication_factor = 1,
        .min_insync_replicas = 1,
        .max_message_bytes = 26 << 20,
        .retention_ms = 86400000,
    };
}

static int waiting(const char *prefix, const char *topic)
{
    struct fault fault;
    char group[48];
    snprintf(group, sizeof(group), "g-%s", prefix);
    return kafka_topic_waiting(live_properties(), group, live_topic(prefix, topic), LIVE_TIMEOUT_MS,
                               &fault);
}

static void test_migrate_grows(void **state)
{
    (void)state;
    char prefix[32];
    struct told told;
    struct fault fault;
    live_make_topics(prefix, 2);
    struct kafka_topic_plan plan = plan_of(prefix);
    assert_int_equal(migrate(&plan, true, &told, &fault), KAFKA_MIGRATED);
    assert_int_equal(told.states[KAFKA_TOPIC_OK], 26);
    live_send_numbers(live_topic(prefix, "q.tx"), 1, 0, 10);
    plan.shards = 5;
    plan.stream_count = 3;
    plan.retention_ms = 2 * 86400000;
    plan.slots = 3;
    assert_false(kafka_topics_check(live_properties(), &plan, NULL, NULL, &fault));
    assert_int_equal(migrate(&plan, true, &told, &fault), KAFKA_MIGRATED);
    assert_int_equal(told.states[KAFKA_TOPIC_CHANGED], 22); /* not those that are compacted */
    assert_true(kafka_topics_check(live_properties(), &plan, NULL, NULL, &fault));
    assert_int_equal(migrate(&plan, true, &told, &fault), KAFKA_MIGRATED);
    assert_int_equal(told.states[KAFKA_TOPIC_OK], 27);
    plan.shards = 4; /* Kafka has no way back */
    assert_int_equal(migrate(&plan, true, &told, &fault), KAFKA_MIGRATION_FAILED);
    assert_int_equal(fault.kind, FAULT_INVALID);
    assert_int_equal(told.states[KAFKA_TOPIC_WRONG], 17);
    assert_int_equal(waiting(prefix, "q.tx"), 1);
}

/* A tier that is to go: not while there is something to read, nor while a member has it. */
static void test_migrate_deletes(void **state)
{
    (void)state;
    char prefix[32];
    struct told told;
    struct fault fault;
    live_make_topics(prefix, 2);
    struct kafka_topic_plan plan = plan_of(prefix);
    live_send_numbers(live_topic(prefix, "d.11"), 1, 0, 10);
    assert_int_equal(waiting(prefix, "d.11"), 1);
    assert_int_equal(waiting(prefix, "d.10"), 0);
    assert_int_equal(waiting(prefix, "d.99"), 0);
    plan.tiers = 10;
    assert_int_equal(migrate(&plan, false, &told, &fault), KAFKA_MIGRATION_WAITS);
    assert_int_equal(told.states[KAFKA_TOPIC_WAITS], 2);
    assert_int_equal(told.states[KAFKA_TOPIC_DELETED], 0);
    assert_int_equal(migrate(&plan, true, &told, &fault), KAFKA_MIGRATION_WAITS);
    assert_int_equal(told.states[KAFKA_TOPIC_DELETED], 1);
    assert_int_equal(told.states[KAFKA_TOPIC_WAITS], 1);
    assert_string_equal(told.waits[0], live_topic(prefix, "d.11"));

    struct live_consumer live;
    plan.tiers = KAFKA_TIERS; /* back */
    assert_int_equal(migrate(&plan, true, &told, &fault), KAFKA_MIGRATED);
    live_consumer_open(&live, prefix, true, NULL);
    for (int i = 0; i < 10;) {
        struct kafka_record record;
        if (live_take(&live, &record)) {
            assert_string_equal(record.topic, live_topic(prefix, "d.11"));
            kafka_ticket_complete(live.consumer, kafka_record_ticket(&record));
            kafka_record_free(&record);
            i++;
        }
    }
    assert_true(kafka_consumer_commit(live.consumer, LIVE_TIMEOUT_MS, &fault));
    assert_int_equal(waiting(prefix, "d.11"), 0);
    plan.tiers = 10;
    assert_int_equal(migrate(&plan, true, &told, &fault), KAFKA_MIGRATION_WAITS); /* it has them */
    assert_int_equal(told.states[KAFKA_TOPIC_WAITS], 2);
    kafka_consumer_free(&live.consumer);
    assert_int_equal(migrate(&plan, true, &told, &fault), KAFKA_MIGRATED);
    assert_int_equal(told.states[KAFKA_TOPIC_DELETED], 2);
    assert_int_equal(migrate(&plan, true, &told, &fault), KAFKA_MIGRATED);
    assert_int_equal(told.states[KAFKA_TOPIC_DELETED], 0);
}

enum { FIRST_RACED = 6 };

struct writer {
    struct kafka_batch *batch;
    const char *topic;
    int wait_ms, open_ms;
    enum kafka_batch_result result;
};

/* One transaction of somebody who has not heard of the new plan. */
static void *run_writer(void *arg)
{
    struct writer *writer = arg;
    struct fault fault;
    char value[200];
    memset(value, 'x', sizeof(value));
    const struct kafka_record_out record = {
        .topic = writer->topic, .partition = 0, .value = slice_of(value, sizeof(value))};
    live_sleep_ms(writer->wait_ms);
    writer->result = KAFKA_BATCH_ABORTED;
    if (kafka_batch_add(writer->batch, &record, &fault)) {
        live_sleep_ms(writer->open_ms);
        writer->result = kafka_batch_commit(writer->batch, 3000, &fault);
    }
    return NULL;
}

/* Whoever writes into a tier while it is deleted fails, or the tier stays. */
static void test_migrate_race(void **state)
{
    (void)state;
    char prefix[32];
    struct told told;
    struct fault fault;
    int committed = 0;
    int deleted = 0;
    live_make_topics(prefix, 1);
    struct kafka_topic_plan plan = plan_of(prefix);
    plan.shards = 1;
    for (unsigned tier = KAFKA_TIERS - 1; tier >= FIRST_RACED; tier--) {
        char topic[40];
        char name[8];
        pthread_t thread;
        struct writer writer = {.topic = topic,
                                .wait_ms = (int)(random_u64() % 1500),
                                .open_ms = (int)(random_u64() % 60)};
        snprintf(name, sizeof(name), "d.%02u", tier & 15u);
        snprintf(topic, sizeof(topic), "%s%s", prefix, name);
        writer.batch = kafka_batch_open(live_properties(), topic, "test", LIVE_TIMEOUT_MS, &fault);
        assert_non_null(writer.batch);
        plan.tiers = tier;
        assert_int_equal(pthread_create(&thread, NULL, run_writer, &writer), 0);
        assert_int_not_equal(migrate(&plan, true, &told, &fault), KAFKA_MIGRATION_FAILED);
        pthread_join(thread, NULL);
        kafka_batch_free(&writer.batch);
        assert_int_not_equal(writer.result, KAFKA_BATCH_UNKNOWN);
        bool stays = waiting(prefix, name) == 1;
        assert_int_equal(stays, writer.result == KAFKA_BATCH_COMMITTED);
        committed += stays;
        deleted += told.states[KAFKA_TOPIC_DELETED];
    }
    print_message("committed %d, deleted %d\n", committed, deleted);
    assert_int_equal(committed + deleted, KAFKA_TIERS - FIRST_RACED);
}

int live_migrate_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migrate_grows),
        cmocka_unit_test(test_migrate_deletes),
        cmocka_unit_test(test_migrate_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
