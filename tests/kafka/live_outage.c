/*
 * The broker goes away for 10 s in the middle of producing and consuming. The outage is longer than
 * the session time-out of these tests: the group takes the partitions away, so what was completed
 * but not yet committed comes again. Nothing may be missing, and nothing that was acknowledged may
 * be there twice in the topic.
 */
#include "tests/kafka/live.h"

#include "base/mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

enum { N = 40000 };

struct sent {
    struct kafka_delivery delivery;
    unsigned char state; /* 0 on its way, 1 acknowledged, 2 failed */
    char text[16];
};

static int acknowledged;

static void on_sent(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                    const struct fault *fault)
{
    struct sent *sent = CONTAINER_OF(delivery, struct sent, delivery);
    (void)partition;
    (void)offset;
    assert_int_equal(sent->state, 0);
    sent->state = fault == NULL ? 1 : 2;
    acknowledged++;
}

static void *outage(void *done)
{
    live_broker("stop");
    live_sleep_ms(10000);
    live_broker("start");
    atomic_store((atomic_bool *)done, true);
    return NULL;
}

static void send_next(struct kafka_producer *producer, const char *topic, struct sent *sent,
                      int *next)
{
    struct fault fault;
    for (int i = 0; i < 20 && *next < N; i++) {
        struct sent *one = &sent[*next];
        int len = snprintf(one->text, sizeof(one->text), "%d", *next);
        one->delivery.done = on_sent;
        struct kafka_header header = {"number", slice_of(one->text, (size_t)len)};
        struct kafka_record_out record = {.topic = topic,
                                          .headers = &header,
                                          .header_count = 1,
                                          .partition = -1,
                                          .key = slice_of(one->text, (size_t)len),
                                          .value = slice_of(one->text, (size_t)len),
                                          .borrow_value = true,
                                          .delivery = &one->delivery};
        if (!kafka_producer_send(producer, &record, &fault)) {
            assert_int_equal(fault.kind, FAULT_LIMIT);
            return;
        }
        (*next)++;
    }
}

static void check_topic(const char *topic)
{
    struct fault fault;
    struct kafka_reader_record record;
    unsigned char *stored = mem_zalloc(N);
    struct kafka_reader *reader = kafka_reader_create(live_properties(), &topic, 1, -2, &fault);
    assert_non_null(reader);
    enum kafka_read result;
    while ((result = kafka_reader_next(reader, 10000, &record, &fault)) == KAFKA_READ_RECORD) {
        uint64_t number;
        assert_true(slice_to_u64(record.value, &number) && number < N);
        stored[number]++;
    }
    assert_int_equal(result, KAFKA_READ_END);
    for (int i = 0; i < N; i++) {
        assert_int_equal(stored[i], 1);
    }
    kafka_reader_free(&reader);
    mem_free(stored);
}

static void test_broker_restart(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 4);
    const char *topic = live_topic(prefix, "q.tx");
    struct kafka_producer *producer = live_producer();
    struct live_consumer live;
    live_consumer_open(&live, prefix, true, NULL);
    live_consumer_wait(&live);
    struct sent *sent = mem_calloc(N, sizeof(*sent));
    unsigned char *seen = mem_zalloc(N);
    int next = 0;
    int distinct = 0;
    pthread_t thread = 0;
    atomic_bool done = false;
    bool running = false;
    while (distinct < N || acknowledged < N) {
        if (next >= N / 4 && !running) {
            running = true;
            assert_int_equal(pthread_create(&thread, NULL, outage, &done), 0);
        }
        /* Some of it before, some while it is down, the rest after. */
        if (next < N / 2 || atomic_load(&done)) {
            send_next(producer, topic, sent, &next);
        }
        kafka_producer_poll(producer, 0);
        struct kafka_record record;
        for (int i = 0; i < 50 && live_take(&live, &record); i++) {
            int64_t number = live_number(&record);
            distinct += seen[number] == 0;
            seen[number]++;
            kafka_ticket_complete(live.consumer, kafka_record_ticket(&record));
            kafka_record_free(&record);
        }
    }
    assert_true(running);
    pthread_join(thread, NULL);
    for (int i = 0; i < N; i++) {
        assert_int_equal(sent[i].state, 1);
        assert_true(seen[i] >= 1);
    }
    assert_int_equal(live.failed_calls, 0);
    check_topic(topic);
    struct fault fault;
    if (!kafka_consumer_commit(live.consumer, 10000, &fault)) {
        fail_msg("%s", fault.text);
    }
    kafka_consumer_free(&live.consumer);
    kafka_producer_free(&producer, 1000);
    mem_free(sent);
    mem_free(seen);
}

int live_outage_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broker_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
