/* Tails: the end at read_committed, with control markers, aborted and open transactions. */
#include "tests/kafka/live_claim.h"

#include "base/mem.h"

/* Reads to the end; returns how many records came. */
static int read_to_end(struct kafka_tail *tail, int64_t *end)
{
    struct fault fault;
    struct kafka_reader_record record;
    int count = 0;
    for (;;) {
        enum kafka_tail_event event = kafka_tail_next(tail, 1000, &record, &fault);
        assert_int_not_equal(event, KAFKA_TAIL_FAILED);
        count += event == KAFKA_TAIL_RECORD;
        if (event == KAFKA_TAIL_END) {
            *end = record.offset;
            return count;
        }
    }
}

static void burst_held(struct live_member *member, int number)
{
    atomic_store(&member->held, false);
    atomic_store(&member->hold, true);
    assert_true(live_member_submit(member, number, number));
    while (!atomic_load(&member->held)) {
        live_member_serve(member);
    }
}

static void test_tail(void **state)
{
    (void)state;
    char prefix[32];
    struct fault fault;
    struct kafka_reader_record record;
    int64_t end;
    live_make_topics(prefix, 2);
    char topic[40];
    snprintf(topic, sizeof(topic), "%sd.00", prefix);
    struct live_member *writer = mem_zalloc(sizeof(*writer));
    live_member_open(writer, prefix, "a", NULL);
    live_member_wait_assigned(writer);
    struct kafka_tail *tail = kafka_tail_create(live_properties(), "test", true, &fault);
    struct kafka_tail *dirty = kafka_tail_create(live_properties(), "test", false, &fault);
    assert_true(tail != NULL && dirty != NULL);

    assert_true(kafka_tail_start(tail, topic, 1, 0, &fault)); /* empty */
    assert_false(kafka_tail_start(tail, topic, 1, 0, &fault));
    assert_int_equal(read_to_end(tail, &end), 0);
    assert_int_equal(end, 0);

    assert_true(live_member_submit(writer, 1, 1));
    assert_int_equal(live_member_result(writer), KAFKA_BURST_COMMITTED);
    assert_true(kafka_tail_start(tail, topic, 0, 0, &fault)); /* a control marker at the end */
    assert_int_equal(read_to_end(tail, &end), LIVE_COPIES);
    assert_int_equal(end, LIVE_COPIES + 1);
    for (int i = 0; i < 3; i++) { /* told once */
        assert_int_equal(kafka_tail_next(tail, 100, &record, &fault), KAFKA_TAIL_NONE);
    }
    kafka_tail_stop(tail, topic, 0);

    burst_held(writer, 2); /* open */
    assert_true(kafka_tail_start(tail, topic, 0, LIVE_COPIES / 2, &fault));
    assert_true(kafka_tail_start(dirty, topic, 0, 0, &fault));
    assert_int_equal(read_to_end(dirty, &end), 2 * LIVE_COPIES);
    int count = 0;
    for (int i = 0; i < 20; i++) {
        enum kafka_tail_event event = kafka_tail_next(tail, 50, &record, &fault);
        assert_true(event == KAFKA_TAIL_NONE || event == KAFKA_TAIL_RECORD);
        count += event == KAFKA_TAIL_RECORD;
    }
    for (enum kafka_tail_event event = KAFKA_TAIL_RECORD; event == KAFKA_TAIL_RECORD;) {
        event = kafka_tail_next(tail, 100, &record, &fault);
        assert_int_not_equal(event, KAFKA_TAIL_END);
        count += event == KAFKA_TAIL_RECORD;
    }
    assert_int_equal(count, LIVE_COPIES / 2);
    atomic_store(&writer->hold, false);
    assert_int_equal(live_member_result(writer), KAFKA_BURST_COMMITTED);
    assert_int_equal(read_to_end(tail, &end), LIVE_COPIES);

    /* Aborted at the end: nothing of it is told, and the end lies behind it. */
    struct live_member *other = mem_zalloc(sizeof(*other));
    live_member_open(other, prefix, "b", NULL);
    live_members_wait_halves(writer, other);
    burst_held(writer, 3);
    kafka_tail_stop(tail, topic, 0);
    assert_true(kafka_tail_start(tail, topic, 0, 0, &fault));
    kafka_txn_free(&other->txn, 1000);
    struct kafka_txn_options options;
    kafka_txn_options_default(&options);
    options.transactional_id = writer->id; /* initialising it aborts */
    other->txn = kafka_txn_create(live_properties(), &options, &fault);
    assert_non_null(other->txn);
    assert_int_equal(read_to_end(tail, &end), 2 * LIVE_COPIES);
    assert_int_equal(end, 3 * (LIVE_COPIES + 1));
    atomic_store(&writer->hold, false);
    assert_int_equal(live_member_result(writer), KAFKA_BURST_ABORTED);

    live_send_numbers(topic, 0, 0, 10); /* followed behind the end */
    for (count = 0; count < 10;) {
        count += kafka_tail_next(tail, 1000, &record, &fault) == KAFKA_TAIL_RECORD;
    }
    live_broker("stop"); /* and over a restart of the broker */
    live_broker("start");
    live_send_numbers(topic, 0, 10, 10);
    for (count = 0; count < 10;) {
        count += kafka_tail_next(tail, 1000, &record, &fault) == KAFKA_TAIL_RECORD;
    }
    assert_string_equal(record.topic, topic);
    kafka_tail_free(&tail);
    kafka_tail_free(&dirty);
    live_member_close(writer);
    live_member_close(other);
    mem_free(writer);
    mem_free(other);
}

int live_tail_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
