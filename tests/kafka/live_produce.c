/* The producer: reports, threads, faults, being made anew. */
#include "tests/kafka/live.h"

#include "base/mem.h"
#include "kafka/producer_private.h"

#include <pthread.h>
#include <stdatomic.h>

struct tracked {
    struct kafka_delivery delivery;
    atomic_int reports;
    int failures;
    enum fault_kind kind;
};

static void on_report(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                      const struct fault *fault)
{
    struct tracked *tracked = CONTAINER_OF(delivery, struct tracked, delivery);
    atomic_fetch_add(&tracked->reports, 1);
    if (fault != NULL) {
        tracked->failures++;
        tracked->kind = fault->kind;
    } else {
        assert_true(partition >= 0 && offset >= 0);
    }
}

struct sender {
    struct kafka_producer *producer;
    const char *topic;
    struct tracked *tracked;
    int count;
    int accepted;
};

static void *send_many(void *argument)
{
    struct sender *sender = argument;
    struct fault fault;
    for (int i = 0; i < sender->count;) {
        sender->tracked[i].delivery.done = on_report;
        struct kafka_header header = {"n", SLICE("1")};
        struct kafka_record_out record = {.topic = sender->topic,
                                          .partition = -1,
                                          .key = SLICE("example.com"),
                                          .value = SLICE("value"),
                                          .headers = &header,
                                          .header_count = 1,
                                          .delivery = &sender->tracked[i].delivery};
        if (kafka_producer_send(sender->producer, &record, &fault)) {
            i++;
            sender->accepted++;
        } else {
            live_sleep_ms(1);
        }
    }
    return NULL;
}

/* Three threads send while this one polls and breaks the producer twice: every accepted record is
 * reported exactly once. */
static void test_threads_and_fatal(void **state)
{
    (void)state;
    enum { THREADS = 3, EACH = 20000 };
    char prefix[32];
    live_make_topics(prefix, 2);
    struct kafka_producer *producer = live_producer();
    struct sender senders[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        senders[i] = (struct sender){producer, live_topic(prefix, i == 0 ? "q.tx" : "q.bulk"),
                                     mem_calloc(EACH, sizeof(struct tracked)), EACH, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    int reports = 0;
    int broken = 0;
    while (reports < THREADS * EACH) {
        reports += kafka_producer_poll(producer, 10);
        if (broken < 2 && reports > (broken + 1) * THREADS * EACH / 4) {
            broken++;
            kafka_producer_break(producer);
        }
    }
    int failures = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        for (int j = 0; j < EACH; j++) {
            assert_int_equal(senders[i].tracked[j].reports, 1);
            failures += senders[i].tracked[j].failures;
            assert_true(senders[i].tracked[j].failures == 0 ||
                        senders[i].tracked[j].kind == FAULT_TEMPORARY);
        }
        mem_free(senders[i].tracked);
    }
    print_message("failed for the owner to send again: %d\n", failures);
    assert_int_equal(broken, 2);
    assert_int_equal(kafka_producer_pending(producer), 0);
    kafka_producer_free(&producer, 1000);
}

static void test_faults(void **state)
{
    (void)state;
    char prefix[32];
    struct fault fault;
    live_make_topics(prefix, 2);
    struct kafka_producer_options options;
    kafka_producer_options_default(&options);
    options.queue_max_messages = 10;
    options.linger_ms = 200;
    options.max_message_bytes = 100000;
    struct kafka_producer *producer = kafka_producer_create(live_properties(), &options, &fault);
    assert_non_null(producer);
    const char *good = live_topic(prefix, "log");
    assert_true(kafka_producer_warm_up(producer, &good, 1, 10000, &fault));
    const char *bad = "nobody.made.this";
    assert_false(kafka_producer_warm_up(producer, &bad, 1, 10000, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    /* Whether the topic is known to be absent at once or only after a while, it is FAULT_INVALID.
     */
    struct tracked tracked = {.delivery = {on_report}};
    struct kafka_record_out record = {
        .topic = bad, .partition = -1, .value = SLICE("x"), .delivery = &tracked.delivery};
    if (kafka_producer_send(producer, &record, &fault)) {
        assert_true(kafka_producer_flush(producer, LIVE_TIMEOUT_MS));
        assert_int_equal(tracked.reports, 1);
        assert_int_equal(tracked.kind, FAULT_INVALID);
    } else {
        assert_int_equal(fault.kind, FAULT_INVALID);
    }
    record.delivery = NULL;
    char *large = mem_zalloc(200000);
    record.topic = good;
    record.value = slice_of(large, 200000);
    assert_false(kafka_producer_send(producer, &record, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    record.value = SLICE("x");
    int sent = 0;
    while (kafka_producer_send(producer, &record, &fault)) {
        sent++;
    }
    assert_int_equal(fault.kind, FAULT_LIMIT);
    assert_int_equal(sent, 10);
    assert_int_equal(kafka_producer_pending(producer), 10);
    assert_true(kafka_producer_flush(producer, 10000));
    assert_true(kafka_producer_send(producer, &record, &fault));
    kafka_producer_free(&producer, 5000);
    mem_free(large);
    struct kafka_property items[] = {{"bootstrap.servers", "127.0.0.1:1"},
                                     {"no.such.property", "1"}};
    assert_null(kafka_producer_create(&(struct kafka_properties){items, 2}, &options, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    items[1] = (struct kafka_property){"acks", "0"};
    assert_null(kafka_producer_create(&(struct kafka_properties){items, 2}, &options, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
}

int live_produce_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_and_fatal),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
