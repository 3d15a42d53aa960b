/*
 * Bursts against a real broker. A burst's records all carry its number: they are there, all of
 * them, exactly when the result says COMMITTED.
 */
#include "tests/kafka/live_claim.h"

#include "kafka/doubt_private.h"

#include "base/mem.h"
#include "base/random.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

static void on_metadata(struct kafka_burst *burst, size_t index, int64_t checkpoint_offset,
                        char *out, size_t size)
{
    struct live_member *member = CONTAINER_OF(burst, struct live_member, burst);
    (void)index;
    while (atomic_load(&member->hold)) {
        atomic_store(&member->held, true);
        live_sleep_ms(1);
    }
    snprintf(out, size, "%s %" PRId64, member->text, checkpoint_offset);
}

static void on_done(struct kafka_burst *burst, enum kafka_burst_result result,
                    int64_t checkpoint_offset, const struct fault *fault)
{
    struct live_member *member = CONTAINER_OF(burst, struct live_member, burst);
    assert_false(member->done);
    assert_true((result == KAFKA_BURST_COMMITTED) == (fault == NULL));
    member->done = true;
    member->result = result;
    member->checkpoint_offset = checkpoint_offset;
    if (fault != NULL) {
        member->fault = *fault;
    }
}

bool live_member_submit(struct live_member *member, int number, int64_t offset)
{
    int len = snprintf(member->text, sizeof(member->text), "%d", number);
    struct slice value = slice_of(member->text, (size_t)len);
    size_t count = 0;
    snprintf(member->copies_topic, sizeof(member->copies_topic), "%sd.00", member->prefix);
    snprintf(member->moved_topic, sizeof(member->moved_topic), "%smoved", member->prefix);
    for (size_t i = 0; i < LIVE_COPIES; i++) {
        member->records[i] = (struct kafka_record_out){
            .topic = member->copies_topic, .partition = 0, .value = value};
    }
    member->checkpoint =
        (struct kafka_record_out){.topic = member->moved_topic, .partition = 0, .value = value};
    for (size_t i = 0; i < member->given_count; i++) {
        if (member->given[i].mine) {
            member->offsets[count++] =
                (struct kafka_burst_offset){member->given[i].partition, offset};
        }
    }
    member->burst = (struct kafka_burst){.records = member->records,
                                         .record_count = LIVE_COPIES,
                                         .checkpoint = &member->checkpoint,
                                         .offsets = member->offsets,
                                         .offset_count = count,
                                         .metadata = on_metadata,
                                         .done = on_done};
    member->done = false;
    return kafka_txn_submit(member->txn, member->consumer, &member->burst, &member->fault);
}

enum kafka_burst_result live_member_result(struct live_member *member)
{
    while (!member->done) {
        live_member_serve(member);
    }
    assert_false(kafka_txn_busy(member->txn));
    return member->result;
}

void live_count_copies(const char *prefix, int *counts, int limit)
{
    struct fault fault;
    struct kafka_reader_record record;
    enum kafka_tail_event event = KAFKA_TAIL_NONE;
    struct kafka_tail *tail = kafka_tail_create(live_properties(), "test", true, &fault);
    assert_non_null(tail);
    assert_true(kafka_tail_start(tail, live_topic(prefix, "d.00"), 0, 0, &fault));
    memset(counts, 0, (size_t)limit * sizeof(*counts));
    while (event != KAFKA_TAIL_END) {
        event = kafka_tail_next(tail, 1000, &record, &fault);
        assert_int_not_equal(event, KAFKA_TAIL_FAILED);
        uint64_t number;
        if (event == KAFKA_TAIL_RECORD) {
            assert_true(slice_to_u64(record.value, &number) && number < (uint64_t)limit);
            counts[number]++;
        }
    }
    kafka_tail_free(&tail);
}

int live_copies(const char *prefix, int number)
{
    int counts[100];
    assert_true(number < 100);
    live_count_copies(prefix, counts, 100);
    return counts[number];
}

struct fencing {
    struct kafka_fencing fencing;
    bool done;
};

static void on_fenced(struct kafka_fencing *fencing, const struct fault *fault)
{
    assert_null(fault);
    CONTAINER_OF(fencing, struct fencing, fencing)->done = true;
}

static void fence(struct live_member *by, const char *id)
{
    struct fencing fencing = {.fencing = {.transactional_id = id, .done = on_fenced}};
    struct mono_time from = mono_now();
    kafka_txn_fence(by->txn, &fencing.fencing);
    while (!fencing.done) {
        live_member_serve(by);
    }
    print_message("fenced in %" PRId64 " ms\n", mono_since_us(mono_now(), from) / 1000);
}

static void test_burst(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    struct live_member *member = mem_zalloc(sizeof(*member));
    live_member_open(member, prefix, "a", NULL);
    assert_false(live_member_submit(member, 0, 0)); /* no member yet */
    live_member_wait_assigned(member);
    for (int i = 1; i <= 5; i++) {
        assert_true(live_member_submit(member, i, i));
        assert_false(kafka_txn_submit(member->txn, member->consumer, &member->burst, NULL));
        assert_int_equal(live_member_result(member), KAFKA_BURST_COMMITTED);
    }
    int counts[6];
    live_count_copies(prefix, counts, 6);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(counts[i], LIVE_COPIES);
    }
    live_member_close(member);
    mem_free(member);
}

/* A partition that does not exist: nothing of the burst happens, and the next one does. */
static void test_burst_refused(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    struct live_member *member = mem_zalloc(sizeof(*member));
    live_member_open(member, prefix, "a", NULL);
    live_member_wait_assigned(member);
    assert_true(live_member_submit(member, 1, 1));
    assert_int_equal(live_member_result(member), KAFKA_BURST_COMMITTED);
    struct kafka_record_out bad = member->records[0];
    struct kafka_burst burst = member->burst;
    bad.partition = 77;
    struct kafka_record_out records[2] = {member->records[0], bad};
    burst.records = records;
    burst.record_count = 2;
    member->burst = burst;
    member->done = false;
    assert_true(kafka_txn_submit(member->txn, member->consumer, &member->burst, &member->fault));
    assert_int_equal(live_member_result(member), KAFKA_BURST_ABORTED);
    assert_true(live_member_submit(member, 2, 2));
    assert_int_equal(live_member_result(member), KAFKA_BURST_COMMITTED);
    assert_int_equal(live_copies(prefix, 1), LIVE_COPIES);
    assert_int_equal(live_copies(prefix, 2), LIVE_COPIES);
    live_member_close(member);
    mem_free(member);
}

/* The commit's answer gets lost: what became of the burst is found out either way. */
static void test_burst_doubt(void **state)
{
    (void)state;
    char prefix[32];
    int counts[10];
    struct kafka_txn_counts total;
    live_make_topics(prefix, 2);
    struct live_member *member = mem_zalloc(sizeof(*member));
    live_member_open(member, prefix, "a", NULL);
    live_member_wait_assigned(member);
    for (int i = 1; i <= 6; i++) {
        bool committed = i % 2 == 1;
        struct mono_time from = mono_now();
        kafka_txn_doubt(member->txn, committed ? TXN_DOUBT_COMMITTED : TXN_DOUBT_UNCOMMITTED);
        assert_true(live_member_submit(member, i, i));
        assert_int_equal(live_member_result(member),
                         committed ? KAFKA_BURST_COMMITTED : KAFKA_BURST_ABORTED);
        print_message("known after %" PRId64 " ms\n", mono_since_us(mono_now(), from) / 1000);
    }
    kafka_txn_counts(member->txn, &total);
    assert_int_equal(total.resolved, 6);
    live_count_copies(prefix, counts, 10);
    for (int i = 1; i <= 6; i++) {
        assert_int_equal(counts[i], i % 2 == 1 ? LIVE_COPIES : 0);
    }
    live_member_close(member);
    mem_free(member);
}

/* The owner stands still in the middle of a transaction; a successor fences it and can read the
 * slot's end at once. What the owner then does fails, and it can work on under a new epoch. */
static void test_burst_fenced(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    struct live_member *owner = mem_zalloc(sizeof(*owner));
    struct live_member *successor = mem_zalloc(sizeof(*successor));
    live_member_open(owner, prefix, "a", NULL);
    live_member_wait_assigned(owner);
    assert_true(live_member_submit(owner, 1, 1));
    assert_int_equal(live_member_result(owner), KAFKA_BURST_COMMITTED);
    live_member_open(successor, prefix, "b", NULL);
    live_members_wait_halves(owner, successor);
    atomic_store(&owner->hold, true);
    assert_true(live_member_submit(owner, 2, 2));
    while (!atomic_load(&owner->held)) {
        live_sleep_ms(1);
    }
    fence(successor, owner->id);
    int counts[10];
    live_count_copies(prefix, counts, 10); /* ends at once: the transaction is not open any more */
    assert_int_equal(counts[2], 0);
    atomic_store(&owner->hold, false);
    assert_int_equal(live_member_result(owner), KAFKA_BURST_ABORTED);
    assert_true(live_member_submit(owner, 3, 3));
    assert_int_equal(live_member_result(owner), KAFKA_BURST_COMMITTED);
    live_count_copies(prefix, counts, 10);
    assert_int_equal(counts[1], LIVE_COPIES);
    assert_int_equal(counts[2], 0);
    assert_int_equal(counts[3], LIVE_COPIES);
    live_member_close(owner);
    live_member_close(successor);
    mem_free(owner);
    mem_free(successor);
}

/* A zombie: it was not served for longer than its poll interval, so that it left the group, and
 * does not know. Its burst finds out. */
static void test_burst_zombie(void **state)
{
    (void)state;
    char prefix[32];
    struct kafka_property interval = {"max.poll.interval.ms", "6000"};
    live_make_topics(prefix, 2);
    struct live_member *member = mem_zalloc(sizeof(*member));
    live_member_open(member, prefix, "a", &interval);
    live_member_wait_assigned(member);
    int64_t before = mono_now().us;
    while (kafka_consumer_contact_us(member->consumer) < before) {
        live_member_serve(member);
    }
    live_sleep_ms(9000);
    assert_true(live_member_submit(member, 1, 1));
    while (!member->done) { /* without serving the consumer */
        kafka_txn_poll(member->txn);
        live_sleep_ms(1);
    }
    assert_int_equal(member->result, KAFKA_BURST_LOST);
    assert_int_equal(kafka_consumer_contact_us(member->consumer), 0);
    assert_false(live_member_submit(member, 2, 2));
    assert_int_equal(member->fault.kind, FAULT_CLOSED);
    while (member->revoked_calls == 0) {
        live_member_serve(member);
    }
    assert_int_equal(member->lost_calls, 1);
    live_member_wait_assigned(member);
    assert_true(live_member_submit(member, 3, 3));
    assert_int_equal(live_member_result(member), KAFKA_BURST_COMMITTED);
    assert_int_equal(live_copies(prefix, 1), 0);
    assert_int_equal(live_copies(prefix, 3), LIVE_COPIES);
    live_member_close(member);
    mem_free(member);
}

static void kill_broker(void)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/pid", getenv("SLUICE_KAFKA_DIR"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char line[32] = "";
    assert_non_null(fgets(line, sizeof(line), file));
    fclose(file);
    pid_t pid = (pid_t)strtol(line, NULL, 10);
    assert_true(pid > 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (kill(pid, 0) == 0) {
        live_sleep_ms(5);
    }
}

struct outage {
    struct live_member *member;
    struct mono_time back;
    atomic_bool up;
};

/* Kills the broker while a burst is between its flush and its end. */
static void *run_outage(void *arg)
{
    struct outage *outage = arg;
    while (!atomic_load(&outage->member->held)) {
        live_sleep_ms(1);
    }
    atomic_store(&outage->member->hold, false);
    struct timespec pause = {.tv_nsec = (long)(random_u64() % 8000000)};
    nanosleep(&pause, NULL);
    kill_broker();
    live_sleep_ms((int)(random_u64() % 1000));
    live_broker("start");
    outage->back = mono_now();
    atomic_store(&outage->up, true);
    return NULL;
}

enum { BURSTS_MAX = 4000, OUTAGES = 8 };

/* Bursts without a pause while the broker is killed in the middle of one and started again. */
static void test_burst_broker_killed(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    struct live_member *member = mem_zalloc(sizeof(*member));
    enum kafka_burst_result *results = mem_calloc(BURSTS_MAX, sizeof(*results));
    int *counts = mem_calloc(BURSTS_MAX, sizeof(*counts));
    int next = 0;
    live_member_open(member, prefix, "a", NULL);
    for (int round = 0; round < OUTAGES; round++) {
        pthread_t thread;
        struct outage outage = {.member = member};
        int after = 0;
        live_member_wait_assigned(member);
        atomic_store(&member->held, false);
        atomic_store(&member->hold, true);
        assert_int_equal(pthread_create(&thread, NULL, run_outage, &outage), 0);
        while (after < 5) { /* bursts committed since the broker is back */
            live_member_wait_assigned(member);
            if (!live_member_submit(member, next, next)) {
                live_member_serve(member);
                continue;
            }
            results[next] = live_member_result(member);
            if (atomic_load(&outage.up) && results[next] == KAFKA_BURST_COMMITTED && after++ == 0) {
                print_message("committed again %" PRId64 " ms after the broker was back\n",
                              mono_since_us(mono_now(), outage.back) / 1000);
            }
            next++;
            assert_true(next < BURSTS_MAX);
        }
        pthread_join(thread, NULL);
    }
    struct kafka_txn_counts total;
    kafka_txn_counts(member->txn, &total);
    print_message("%d bursts: committed %" PRIu64 ", aborted %" PRIu64 ", lost %" PRIu64
                  ", of these looked up %" PRIu64 "; producer made anew %" PRIu64 "\n",
                  next, total.committed, total.aborted, total.lost, total.resolved,
                  total.recreated);
    live_count_copies(prefix, counts, BURSTS_MAX);
    for (int i = 0; i < next; i++) {
        assert_int_equal(counts[i], results[i] == KAFKA_BURST_COMMITTED ? LIVE_COPIES : 0);
    }
    live_member_close(member);
    mem_free(member);
    mem_free(results);
    mem_free(counts);
}

int live_txn_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst),        cmocka_unit_test(test_burst_refused),
        cmocka_unit_test(test_burst_doubt),  cmocka_unit_test(test_burst_fenced),
        cmocka_unit_test(test_burst_zombie), cmocka_unit_test(test_burst_broker_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
