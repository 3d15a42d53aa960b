/* The reader, and making topics. */
#include "tests/kafka/live.h"

static int read_all(struct kafka_reader *reader, int64_t *sum)
{
    struct fault fault;
    int count = 0;
    *sum = 0;
    for (;;) {
        struct kafka_reader_record record;
        enum kafka_read result = kafka_reader_next(reader, 10000, &record, &fault);
        if (result == KAFKA_READ_END) {
            return count;
        }
        if (result != KAFKA_READ_RECORD) {
            fail_msg("%d", result);
        }
        uint64_t number;
        assert_true(slice_to_u64(record.value, &number));
        *sum += (int64_t)number;
        count++;
    }
}

static void test_reader(void **state)
{
    (void)state;
    enum { N = 5000 };
    char prefix[32];
    struct fault fault;
    int64_t sum;
    struct kafka_reader_record record;
    live_make_topics(prefix, 4);
    const char *topics[] = {live_topic(prefix, "q.tx"), live_topic(prefix, "log")};
    live_send_numbers(topics[0], -1, 0, N);
    struct kafka_reader *reader = kafka_reader_create(live_properties(), topics, 2, -2, &fault);
    assert_non_null(reader);
    assert_int_equal(read_all(reader, &sum), N);
    assert_int_equal(sum, (int64_t)N * (N - 1) / 2);
    assert_int_equal(kafka_reader_next(reader, 300, &record, &fault), KAFKA_READ_NONE);
    live_sleep_ms(5);
    int64_t between = wall_now().ms;
    live_sleep_ms(5);
    live_send_numbers(topics[1], 0, N, 10);
    assert_int_equal(read_all(reader, &sum), 10);
    kafka_reader_free(&reader);
    reader = kafka_reader_create(live_properties(), topics, 2, between, &fault);
    assert_non_null(reader);
    assert_int_equal(read_all(reader, &sum), 10);
    kafka_reader_free(&reader);
    reader = kafka_reader_create(live_properties(), topics, 2, -1, &fault);
    assert_non_null(reader);
    assert_int_equal(read_all(reader, &sum), 0);
    kafka_reader_free(&reader);
    const struct kafka_reader_place places[] = {{topics[1], 0, 4}, {"not.read", 0, 1}};
    reader = kafka_reader_create_at(live_properties(), topics, 2, places, 2, &fault);
    assert_non_null(reader); /* from the fifth of ten; the other topic from its beginning */
    assert_int_equal(read_all(reader, &sum), N + 6);
    kafka_reader_free(&reader);
    const char *absent = "nobody.made.this";
    assert_null(kafka_reader_create(live_properties(), &absent, 1, -2, &fault));
    assert_int_equal(fault.kind, FAULT_NOT_FOUND);
}

static void count_state(void *owner, const char *topic, enum kafka_topic_state state,
                        const char *detail)
{
    (void)topic;
    (void)detail;
    ((int *)owner)[state]++;
}

static void test_topics(void **state)
{
    (void)state;
    static const char *const streams[] = {"tx", "bulk", "extra"};
    char prefix[32];
    struct fault fault;
    live_make_topics(prefix, 4);
    struct kafka_topic_plan plan = {.prefix = prefix,
                                    .streams = streams,
                                    .stream_count = 2,
                                    .shards = 4,
                                    .event_partitions = 1,
                                    .slots = 1,
                                    .replication_factor = 1,
                                    .min_insync_replicas = 1,
                                    .max_message_bytes = 26 << 20,
                                    .retention_ms = 86400000};
    int states[4] = {0};
    assert_true(kafka_topics_check(live_properties(), &plan, count_state, states, &fault));
    assert_int_equal(states[KAFKA_TOPIC_OK], 26);
    plan.stream_count = 3;
    memset(states, 0, sizeof(states));
    assert_false(kafka_topics_check(live_properties(), &plan, count_state, states, &fault));
    assert_int_equal(states[KAFKA_TOPIC_MISSING], 1);
    memset(states, 0, sizeof(states));
    assert_true(kafka_topics_create(live_properties(), &plan, count_state, states, &fault));
    assert_int_equal(states[KAFKA_TOPIC_CREATED], 1);
    assert_int_equal(states[KAFKA_TOPIC_OK], 26);
    plan.shards = 8;
    plan.retention_ms = 1000000;
    memset(states, 0, sizeof(states));
    assert_false(kafka_topics_create(live_properties(), &plan, count_state, states, &fault));
    assert_int_equal(states[KAFKA_TOPIC_WRONG], 22);
    assert_int_equal(states[KAFKA_TOPIC_OK], 5);
    assert_int_equal(fault.kind, FAULT_INVALID);
}

int live_reader_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_topics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
