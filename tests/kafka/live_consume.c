/* Taking, completing in random order, holding tiers back, big records, restarts at the watermark.
 */
#include "tests/kafka/live.h"

#include "base/mem.h"
#include "base/random.h"
#include "kafka/misplace_private.h"

static void complete_random(struct live_consumer *live, struct kafka_ticket *tickets, size_t *count,
                            size_t keep)
{
    while (*count > keep) {
        size_t at = random_below((uint32_t)*count);
        kafka_ticket_complete(live->consumer, tickets[at]);
        tickets[at] = tickets[--*count];
    }
}

static void test_random_completion(void **state)
{
    (void)state;
    enum { N = 100000 };
    char prefix[32];
    live_make_topics(prefix, 4);
    live_send_numbers(live_topic(prefix, "q.tx"), -1, 0, N / 2);
    live_send_numbers(live_topic(prefix, "q.bulk"), -1, N / 2, N / 2);
    struct live_consumer live;
    live_consumer_open(&live, prefix, false, NULL);
    unsigned char *seen = mem_zalloc(N);
    struct kafka_ticket *tickets = mem_calloc(4096, sizeof(*tickets));
    size_t open = 0;
    int total = 0;
    while (total < N) {
        struct kafka_record record;
        if (!live_take(&live, &record)) {
            continue;
        }
        int64_t number = live_number(&record);
        assert_int_equal(seen[number], 0);
        seen[number] = 1;
        total++;
        assert_int_equal(record.source, number < N / 2 ? KAFKA_SOURCE_TX : KAFKA_SOURCE_BULK);
        assert_true(slice_eq(record.key, record.value));
        tickets[open++] = kafka_record_ticket(&record);
        kafka_record_free(&record);
        if (open == 4096) {
            complete_random(&live, tickets, &open, random_below(4000));
        }
    }
    assert_false(kafka_consumer_idle(live.consumer));
    complete_random(&live, tickets, &open, 0);
    assert_true(kafka_consumer_idle(live.consumer));
    struct fault fault;
    assert_true(kafka_consumer_commit(live.consumer, 5000, &fault));
    kafka_consumer_free(&live.consumer);
    /* All is committed: a new consumer gets only what comes now. */
    live_consumer_open(&live, prefix, false, NULL);
    live_consumer_wait(&live);
    live_send_numbers(live_topic(prefix, "q.tx"), 0, 7, 1);
    struct kafka_record record;
    while (!live_take(&live, &record)) {
    }
    assert_int_equal(live_number(&record), 7);
    kafka_record_free(&record);
    kafka_consumer_free(&live.consumer);
    mem_free(tickets);
    mem_free(seen);
}

/* One record stays open: the next owner gets it and all behind it again, and nothing before it. */
static void test_watermark_restart(void **state)
{
    (void)state;
    enum { N = 1000, OPEN = 400 };
    char prefix[32];
    live_make_topics(prefix, 1);
    live_send_numbers(live_topic(prefix, "q.bulk"), 0, 0, N);
    struct live_consumer live;
    live_consumer_open(&live, prefix, false, NULL);
    struct kafka_record record;
    for (int total = 0; total < N;) {
        if (live_take(&live, &record)) {
            total++;
            if (live_number(&record) != OPEN) {
                kafka_ticket_complete(live.consumer, kafka_record_ticket(&record));
            }
            kafka_record_free(&record);
        }
    }
    assert_int_equal(kafka_partition_open_tickets(record.partition), 1);
    kafka_consumer_free(&live.consumer);
    live_consumer_open(&live, prefix, false, NULL);
    for (int expected = OPEN; expected < N;) {
        if (live_take(&live, &record)) {
            assert_int_equal(live_number(&record), expected);
            expected++;
            kafka_record_free(&record);
        }
    }
    kafka_consumer_free(&live.consumer);
}

struct tier_state {
    struct kafka_partition *partition;
    int64_t next;
    struct mono_time resume;
};

/* Every head is held for a moment, as the worker does, by many tiers at once; records of 1 KB and
 * enough of them that librdkafka is paused as well. All come, in order, once. */
static void test_tiers_held(void **state)
{
    (void)state;
    enum { PARTITIONS = 4, PER = 20000 };
    char prefix[32];
    live_make_topics(prefix, PARTITIONS);
    for (int p = 0; p < PARTITIONS; p++) {
        live_send_numbers(live_topic(prefix, "d.00"), p, 0, PER);
        live_send_numbers(live_topic(prefix, "d.03"), p, 0, PER);
    }
    struct live_consumer live;
    live_consumer_open(&live, prefix, true, NULL);
    struct tier_state tiers[2 * PARTITIONS];
    memset(tiers, 0, sizeof(tiers));
    int64_t total = 0;
    while (total < 2LL * PARTITIONS * PER) {
        struct kafka_record record;
        struct mono_time now = mono_now();
        for (size_t i = 0; i < ARRAY_LEN(tiers); i++) {
            if (tiers[i].resume.us != 0 && !mono_before(now, tiers[i].resume)) {
                tiers[i].resume.us = 0;
                kafka_partition_resume(live.consumer, tiers[i].partition);
            }
        }
        if (!live_take(&live, &record)) {
            continue;
        }
        struct tier_state *tier =
            &tiers[(record.index == 0 ? 0 : PARTITIONS) + record.partition_id];
        assert_int_equal(tier->resume.us, 0); /* held ones give nothing */
        assert_int_equal(live_number(&record), tier->next);
        tier->next++;
        tier->partition = record.partition;
        total++;
        kafka_ticket_complete(live.consumer, kafka_record_ticket(&record));
        kafka_record_free(&record);
        uint32_t dice = random_below(1000);
        if (dice < 100) {
            kafka_partition_pause(live.consumer, tier->partition);
            tier->resume = mono_add_us(now, 1 + random_below(dice == 0 ? 100000 : 500));
        }
    }
    assert_true(kafka_consumer_idle(live.consumer));
    print_message("paused in librdkafka: %d times\n", (int)kafka_consumer_pauses(live.consumer));
    assert_true(kafka_consumer_pauses(live.consumer) > 0);
    struct kafka_record record;
    for (int i = 0; i < 300; i++) {
        assert_false(live_take(&live, &record));
    }
    kafka_consumer_free(&live.consumer);
}

static void test_big_record(void **state)
{
    (void)state;
    char prefix[32];
    struct fault fault;
    live_make_topics(prefix, 2);
    size_t size = 25 << 20;
    char *bytes = mem_zalloc(size);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t random = random_u64();
        memcpy(bytes + i, &random, sizeof(random));
    }
    struct kafka_producer *producer = live_producer();
    struct kafka_header header = {"id", SLICE("first")};
    for (int i = 0; i < 3; i++) {
        bytes[0] = (char)('a' + i);
        struct kafka_record_out record = {.topic = live_topic(prefix, "q.bulk"),
                                          .partition = 0,
                                          .value = slice_of(bytes, size),
                                          .headers = &header,
                                          .header_count = 1};
        assert_true(kafka_producer_send(producer, &record, &fault));
    }
    assert_true(kafka_producer_flush(producer, LIVE_TIMEOUT_MS));
    kafka_producer_free(&producer, 0);
    live_send_numbers(live_topic(prefix, "q.bulk"), 0, 0, 10);
    struct live_consumer live;
    live_consumer_open(&live, prefix, false, NULL);
    for (int total = 0; total < 13;) {
        struct kafka_record record;
        if (!live_take(&live, &record)) {
            continue;
        }
        struct slice value;
        if (total < 3) {
            assert_int_equal(record.value.len, size);
            assert_int_equal(record.value.ptr[0], 'a' + total);
            assert_memory_equal(record.value.ptr + 1, bytes + 1, size - 1);
            assert_true(kafka_record_header(&record, "id", &value));
            assert_true(slice_eq(value, SLICE("first")));
            assert_false(kafka_record_header(&record, "absent", &value));
        } else {
            assert_int_equal(live_number(&record), total - 3);
        }
        total++;
        kafka_record_free(&record);
    }
    kafka_consumer_free(&live.consumer);
    mem_free(bytes);
}

/* A committed offset that the broker does not have (the topic was cut or restored): loud, and from
 * the earliest there is; the other partition goes on where it was. */
static void test_out_of_range(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    const char *topic = live_topic(prefix, "q.tx");
    live_send_numbers(topic, 0, 0, 100);
    live_send_numbers(topic, 1, 100, 100);
    struct live_consumer live;
    struct kafka_record record;
    live_consumer_open(&live, prefix, true, NULL);
    live_consumer_wait(&live);
    for (size_t i = 0; i < live.partition_count; i++) {
        if (strcmp(kafka_partition_topic(live.partitions[i]), topic) == 0) {
            /* Partition 0 past its end, partition 1 in its middle. */
            kafka_consumer_misplace(live.consumer, live.partitions[i],
                                    kafka_partition_id(live.partitions[i]) == 0 ? 1000000 : 50);
        }
    }
    kafka_consumer_free(&live.consumer);
    live_consumer_open(&live, prefix, true, NULL);
    int64_t next[2] = {0, 150};
    while (next[0] < 100 || next[1] < 200) {
        if (live_take(&live, &record)) {
            assert_int_equal(live_number(&record), next[record.partition_id]);
            next[record.partition_id]++;
            kafka_ticket_complete(live.consumer, kafka_record_ticket(&record));
            kafka_record_free(&record);
        }
    }
    kafka_consumer_free(&live.consumer);
    /* What was committed then is right again. */
    live_consumer_open(&live, prefix, true, NULL);
    live_consumer_wait(&live);
    live_send_numbers(topic, 0, 100, 1);
    while (!live_take(&live, &record)) {
    }
    assert_int_equal(live_number(&record), 100);
    kafka_record_free(&record);
    kafka_consumer_free(&live.consumer);
}

static void test_unknown_topic(void **state)
{
    (void)state;
    struct live_consumer live;
    live_consumer_open(&live, "nobody-made.", false, NULL);
    struct kafka_record record;
    while (live.failed_calls == 0) {
        assert_false(live_take(&live, &record));
    }
    assert_int_equal(live.failure.kind, FAULT_NOT_FOUND);
    kafka_consumer_free(&live.consumer);
}

int live_consume_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_completion), cmocka_unit_test(test_watermark_restart),
        cmocka_unit_test(test_tiers_held),        cmocka_unit_test(test_big_record),
        cmocka_unit_test(test_unknown_topic),     cmocka_unit_test(test_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
