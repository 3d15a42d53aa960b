/* Batches of a tool: all or none, and only the latest of those that have the same id. */
#include "kafka/batch.h"
#include "kafka/tail.h"
#include "tests/kafka/live.h"

static struct kafka_batch *open_batch(const char *prefix)
{
    struct fault fault;
    struct kafka_batch *batch = kafka_batch_open(live_properties(), live_topic(prefix, "tool"),
                                                 "test", LIVE_TIMEOUT_MS, &fault);
    if (batch == NULL) {
        fail_msg("%s", fault.text);
    }
    return batch;
}

static bool add(struct kafka_batch *batch, const char *prefix, const char *key, const char *value,
                struct fault *fault)
{
    const struct kafka_header header = {"name", slice_cstr(key)};
    const struct kafka_record_out record = {.topic = live_topic(prefix, "uncertain"),
                                            .partition = 0,
                                            .key = slice_cstr(key),
                                            .value = slice_cstr(value),
                                            .headers = &header,
                                            .header_count = 1};
    return kafka_batch_add(batch, &record, fault);
}

/* The committed records as "key=value ", a tombstone's value being "-". */
static void read_all(const char *prefix, char *out, size_t size)
{
    struct fault fault;
    struct kafka_reader_record record;
    size_t used = 0;
    struct kafka_tail *tail = kafka_tail_create(live_properties(), "test", true, &fault);
    assert_non_null(tail);
    const char *topic = live_topic(prefix, "uncertain");
    assert_int_equal(kafka_tail_partitions(tail, topic, LIVE_TIMEOUT_MS, &fault), 2);
    assert_int_equal(kafka_tail_partitions(tail, "no-such-topic", LIVE_TIMEOUT_MS, &fault), -1);
    assert_int_equal(fault.kind, FAULT_NOT_FOUND);
    assert_true(kafka_tail_start(tail, topic, 0, 0, &fault));
    out[0] = '\0';
    for (;;) {
        enum kafka_tail_event event = kafka_tail_next(tail, 1000, &record, &fault);
        assert_int_not_equal(event, KAFKA_TAIL_FAILED);
        if (event == KAFKA_TAIL_END) {
            break;
        }
        if (event == KAFKA_TAIL_RECORD) {
            struct slice name;
            struct slice value = record.value.ptr == NULL ? SLICE("-") : record.value;
            assert_true(kafka_reader_header(&record, "name", &name) && slice_eq(name, record.key));
            assert_true(record.timestamp_ms > 0);
            used += (size_t)snprintf(out + used, size - used, "%.*s=%.*s ", SLICE_FMT(record.key),
                                     SLICE_FMT(value));
            assert_true(used < size);
        }
    }
    kafka_tail_free(&tail);
}

static void test_batch(void **state)
{
    (void)state;
    char prefix[32];
    char text[256];
    struct fault fault;
    live_make_topics(prefix, 2);
    struct kafka_batch *first = open_batch(prefix);
    assert_int_equal(kafka_batch_commit(first, 1000, &fault), KAFKA_BATCH_COMMITTED); /* nothing */
    assert_true(add(first, prefix, "a", "1", &fault) && add(first, prefix, "b", "1", &fault));
    assert_int_equal(kafka_batch_commit(first, 10000, &fault), KAFKA_BATCH_COMMITTED);
    assert_true(add(first, prefix, "a", NULL, &fault));
    assert_int_equal(kafka_batch_commit(first, 10000, &fault), KAFKA_BATCH_COMMITTED);
    read_all(prefix, text, sizeof(text));
    assert_string_equal(text, "a=1 b=1 a=- ");
    /* Freed in the middle: aborted. */
    assert_true(add(first, prefix, "c", "1", &fault));
    kafka_batch_free(&first);
    read_all(prefix, text, sizeof(text));
    assert_string_equal(text, "a=1 b=1 a=- ");
    /* Another one comes in the middle: what was not committed never will be. */
    first = open_batch(prefix);
    assert_true(add(first, prefix, "d", "1", &fault));
    struct kafka_batch *second = open_batch(prefix);
    assert_true(add(second, prefix, "d", "2", &fault));
    assert_int_not_equal(kafka_batch_commit(first, 10000, &fault), KAFKA_BATCH_COMMITTED);
    assert_int_equal(fault.kind, FAULT_CLOSED);
    assert_int_equal(kafka_batch_commit(second, 10000, &fault), KAFKA_BATCH_COMMITTED);
    kafka_batch_free(&first);
    kafka_batch_free(&second);
    read_all(prefix, text, sizeof(text));
    assert_string_equal(text, "a=1 b=1 a=- d=2 ");
}

/* A record that cannot be written: none is. */
static void test_batch_refused(void **state)
{
    (void)state;
    char prefix[32];
    char text[256];
    struct fault fault;
    live_make_topics(prefix, 2);
    struct kafka_batch *batch = open_batch(prefix);
    assert_true(add(batch, prefix, "a", "1", &fault));
    const struct kafka_record_out nowhere = {
        .topic = live_topic(prefix, "uncertain"), .partition = 77, .value = SLICE("x")};
    if (kafka_batch_add(batch, &nowhere, &fault)) {
        assert_int_equal(kafka_batch_commit(batch, 10000, &fault), KAFKA_BATCH_ABORTED);
    }
    kafka_batch_free(&batch);
    read_all(prefix, text, sizeof(text));
    assert_string_equal(text, "");
}

int live_batch_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_batch_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
