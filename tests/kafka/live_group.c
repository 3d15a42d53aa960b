/* Two consumers in one group. */
#include "tests/kafka/live.h"

#include "base/mem.h"

enum { N = 20000 };

struct count {
    unsigned char taken[N];
    unsigned char completed[N];
    int distinct;
    int again; /* taken again although it was completed */
};

/* Completes all but every 10th, which stays open, when `leave`. */
static void take_some(struct live_consumer *live, struct count *count, bool leave)
{
    struct kafka_record record;
    for (int i = 0; i < 50 && live_take(live, &record); i++) {
        int64_t number = live_number(&record);
        count->again += count->completed[number];
        count->distinct += count->taken[number] == 0;
        count->taken[number] = 1;
        if (!leave || number % 10 != 0) {
            kafka_ticket_complete(live->consumer, kafka_record_ticket(&record));
            count->completed[number] = 1;
        }
        kafka_record_free(&record);
    }
}

/* A second member comes while the first is at work, then the first goes: all is taken, and what a
 * revocation committed is not taken again. Everything is completed at once, so nothing at all may
 * come twice. */
static void test_rebalance_completed(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 8);
    struct count *count = mem_zalloc(sizeof(*count));
    struct live_consumer first;
    struct live_consumer second;
    live_consumer_open(&first, prefix, true, NULL);
    live_consumer_wait(&first);
    live_send_numbers(live_topic(prefix, "q.tx"), -1, 0, N);
    while (count->distinct < N / 4) {
        take_some(&first, count, false);
    }
    live_consumer_open(&second, prefix, true, NULL);
    while (second.partition_count == 0 || first.revoked_calls == 0 || first.partition_count == 0) {
        take_some(&first, count, false);
        take_some(&second, count, false);
    }
    /* range: the same shard of every topic on one member. */
    assert_int_equal(first.partition_count, second.partition_count);
    for (size_t i = 0; i < first.partition_count; i++) {
        for (size_t j = 0; j < second.partition_count; j++) {
            assert_int_not_equal(kafka_partition_id(first.partitions[i]),
                                 kafka_partition_id(second.partitions[j]));
        }
    }
    kafka_consumer_free(&first.consumer);
    while (count->distinct < N) {
        take_some(&second, count, false);
    }
    assert_int_equal(count->again, 0);
    kafka_consumer_free(&second.consumer);
    mem_free(count);
}

/* With open records at the revocation: they come again at the new owner, and their old tickets are
 * void. */
static void test_rebalance_open(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 4);
    live_send_numbers(live_topic(prefix, "q.bulk"), -1, 0, N);
    struct count *count = mem_zalloc(sizeof(*count));
    struct live_consumer first;
    struct live_consumer second;
    live_consumer_open(&first, prefix, false, NULL);
    struct kafka_record record;
    while (!live_take(&first, &record)) {
    }
    struct kafka_ticket early =
        kafka_record_ticket(&record); /* of the lowest offset of its partition */
    int64_t early_number = live_number(&record);
    kafka_record_free(&record);
    assert_true(kafka_ticket_valid(&early));
    while (count->distinct < N / 4) {
        take_some(&first, count, true);
    }
    live_consumer_open(&second, prefix, false, NULL);
    while (second.partition_count == 0 || first.revoked_calls == 0 || first.partition_count == 0) {
        take_some(&first, count, true);
        take_some(&second, count, true);
    }
    assert_false(kafka_ticket_valid(&early));
    kafka_ticket_complete(first.consumer, early); /* to nothing */
    kafka_consumer_free(&first.consumer);
    while (count->distinct < N || count->taken[early_number] == 0) {
        take_some(&second, count, true);
    }
    kafka_consumer_free(&second.consumer);
    /* Every 10th stayed open: each comes again now. */
    struct count *last = mem_zalloc(sizeof(*last));
    live_consumer_open(&second, prefix, false, NULL);
    bool all = false;
    while (!all) {
        take_some(&second, last, false);
        all = true;
        for (int i = 0; i < N; i += 10) {
            all = all && (last->taken[i] != 0 || count->completed[i] != 0);
        }
    }
    kafka_consumer_free(&second.consumer);
    mem_free(last);
    mem_free(count);
}

int live_group_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rebalance_completed),
        cmocka_unit_test(test_rebalance_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
