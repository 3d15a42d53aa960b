/* Claim mode of the consumer: what is given, beginning, contact. */
#include "tests/kafka/live_claim.h"

#include "base/mem.h"

#include <inttypes.h>

static void drop_given(struct live_member *member)
{
    for (size_t i = 0; i < member->given_count; i++) {
        mem_free(member->metadata[i]);
    }
    member->given_count = 0;
}

static void on_given(void *owner, const struct kafka_given *given, size_t count, bool settled)
{
    struct live_member *member = owner;
    assert_true(count <= ARRAY_LEN(member->given));
    drop_given(member);
    memcpy(member->given, given, count * sizeof(*given));
    member->given_count = count;
    member->mine_count = 0;
    for (size_t i = 0; i < count; i++) {
        member->metadata[i] = mem_strdup(given[i].metadata);
        member->mine_count += given[i].mine;
        assert_true(!given[i].mine || given[i].lowest >= 0);
    }
    member->settled = settled;
    member->given_calls++;
    if (member->begin_at_once && !settled) {
        kafka_consumer_look(member->consumer);
    }
}

static void on_given_back(void *owner)
{
    struct live_member *member = owner;
    drop_given(member);
    member->given_back_calls++;
}

static void on_assigned(void *owner, struct kafka_partition *const *partitions, size_t count)
{
    struct live_member *member = owner;
    (void)partitions;
    member->assigned_calls++;
    member->assigned = count > 0;
}

static void on_revoked(void *owner, struct kafka_partition *const *partitions, size_t count,
                       bool lost)
{
    struct live_member *member = owner;
    (void)partitions;
    assert_true(count > 0);
    member->assigned = false;
    drop_given(member);
    member->revoked_calls++;
    member->lost_calls += lost;
}

static void on_failed(void *owner, const struct fault *fault)
{
    struct live_member *member = owner;
    member->failed_calls++;
    member->failure = *fault;
}

static void open_consumer(struct live_member *member, const struct kafka_properties *properties,
                          const char *instance, int session_timeout_ms)
{
    static const struct kafka_consumer_ops ops = {.assigned = on_assigned,
                                                  .revoked = on_revoked,
                                                  .failed = on_failed,
                                                  .given = on_given,
                                                  .given_back = on_given_back};
    struct kafka_subscription subscriptions[] = {
        {live_topic(member->prefix, "q.tx"), KAFKA_SOURCE_TX, 0},
        {live_topic(member->prefix, "q.bulk"), KAFKA_SOURCE_BULK, 1},
    };
    char group[48];
    struct kafka_consumer_options options;
    struct fault fault;
    snprintf(group, sizeof(group), "g-%s", member->prefix);
    kafka_consumer_options_default(&options);
    options.group_id = group;
    options.subscriptions = subscriptions;
    options.subscription_count = ARRAY_LEN(subscriptions);
    options.group_instance_id = instance;
    options.session_timeout_ms = session_timeout_ms;
    options.contact_topic = live_topic(member->prefix, "moved");
    member->consumer = kafka_consumer_create(properties, &options, &ops, member, &fault);
    if (member->consumer == NULL) {
        fail_msg("%s", fault.text);
    }
}

static void open_member(struct live_member *member, const char *prefix, const char *name,
                        const struct kafka_property *extra, bool is_static, int session_timeout_ms)
{
    struct kafka_property items[2] = {live_properties()->items[0]};
    struct kafka_properties properties = {items, 1};
    if (extra != NULL) {
        items[properties.count++] = *extra;
    }
    memset(member, 0, sizeof(*member));
    snprintf(member->prefix, sizeof(member->prefix), "%s", prefix);
    snprintf(member->id, sizeof(member->id), "%s%s", prefix, name);
    member->begin_at_once = true;
    open_consumer(member, &properties, is_static ? name : NULL, session_timeout_ms);
    struct kafka_txn_options options;
    struct fault fault;
    kafka_txn_options_default(&options);
    options.transactional_id = member->id;
    member->txn = kafka_txn_create(live_properties(), &options, &fault);
    if (member->txn == NULL) {
        fail_msg("%s", fault.text);
    }
}

void live_member_open(struct live_member *member, const char *prefix, const char *name,
                      const struct kafka_property *extra)
{
    open_member(member, prefix, name, extra, false, 6000);
}

void live_member_open_static(struct live_member *member, const char *prefix, const char *name,
                             int session_timeout_ms)
{
    open_member(member, prefix, name, NULL, true, session_timeout_ms);
}

void live_member_close(struct live_member *member)
{
    kafka_txn_free(&member->txn, 5000);
    kafka_consumer_free(&member->consumer);
    drop_given(member);
}

void live_member_begin(struct live_member *member, uint64_t claim)
{
    struct kafka_start starts[256];
    size_t count = 0;
    for (size_t i = 0; i < member->given_count; i++) {
        const struct kafka_given *one = &member->given[i];
        if (one->mine) {
            starts[count++] =
                (struct kafka_start){.partition = one->partition,
                                     .offset = one->committed < 0 ? one->lowest : one->committed,
                                     .claim = claim};
        }
    }
    assert_true(kafka_consumer_begin(member->consumer, starts, count));
    assert_false(kafka_consumer_begin(member->consumer, starts, count));
}

void live_member_serve(struct live_member *member)
{
    kafka_consumer_serve(member->consumer, mono_now());
    kafka_txn_poll(member->txn);
    if (member->begin_at_once && member->settled && member->given_count > 0 && !member->assigned) {
        member->settled = false;
        live_member_begin(member, 7);
    }
    live_sleep_ms(1);
}

void live_member_wait_assigned(struct live_member *member)
{
    struct mono_time end = mono_add_ms(mono_now(), LIVE_TIMEOUT_MS);
    while (!member->assigned) {
        live_member_serve(member);
        if (!mono_before(mono_now(), end)) {
            fail_msg("no assignment");
        }
    }
}

void live_members_wait_halves(struct live_member *one, struct live_member *other)
{
    struct mono_time end = mono_add_ms(mono_now(), LIVE_TIMEOUT_MS);
    while (!one->assigned || !other->assigned || one->mine_count != other->mine_count) {
        live_member_serve(one);
        live_member_serve(other);
        if (!mono_before(mono_now(), end)) {
            fail_msg("no assignment of halves");
        }
    }
}

/* Two members: the metadata of all is told to each, partitions come with what is committed for
 * them, completions are imported, contact is kept, and a leave is noticed at once. */
static void test_claim(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 4);
    live_send_numbers(live_topic(prefix, "q.tx"), 0, 0, 100);
    struct live_member *first = mem_zalloc(sizeof(*first));
    struct live_member *second = mem_zalloc(sizeof(*second));
    live_member_open(first, prefix, "a", NULL);
    first->begin_at_once = false;
    while (first->given_calls == 0) {
        live_member_serve(first);
    }
    assert_int_equal(first->mine_count, 8);
    assert_int_equal(first->given[0].committed, -1);
    assert_string_equal(first->metadata[0], "");
    struct kafka_record record;
    for (int i = 0; i < 50; i++) { /* nothing is read yet */
        live_member_serve(first);
        assert_false(kafka_consumer_take(first->consumer, KAFKA_SOURCE_TX, &record));
    }
    kafka_consumer_look(first->consumer);
    while (!first->settled) {
        live_member_serve(first);
    }
    assert_int_equal(first->given_calls, 2);
    live_member_begin(first, 1);
    assert_int_equal(first->assigned_calls, 1);
    while (!kafka_consumer_take(first->consumer, KAFKA_SOURCE_TX, &record)) {
        live_member_serve(first);
    }
    assert_int_equal(kafka_record_ticket(&record).claim, 1);
    kafka_record_free(&record);
    int64_t before = mono_now().us;
    while (kafka_consumer_contact_us(first->consumer) < before) {
        live_member_serve(first);
    }
    assert_true(live_member_submit(first, 1, 10));
    assert_int_equal(live_member_result(first), KAFKA_BURST_COMMITTED);
    assert_int_equal(kafka_partition_committed(first->given[0].partition), 10);

    first->begin_at_once = true;
    live_member_open(second, prefix, "b", NULL);
    while (!second->assigned || first->revoked_calls == 0 || !first->assigned) {
        live_member_serve(first);
        live_member_serve(second);
    }
    assert_int_equal(second->given_count, 8);
    assert_int_equal(second->mine_count, 4);
    for (size_t i = 0; i < 8; i++) {
        char wanted[64];
        assert_int_equal(second->given[i].committed, 10);
        snprintf(wanted, sizeof(wanted), "1 %" PRId64, first->checkpoint_offset);
        assert_string_equal(second->metadata[i], wanted);
    }
    struct mono_time left = mono_now();
    int given_calls = second->given_calls;
    live_member_close(first);
    struct mono_time gone = mono_now();
    while (second->given_calls < given_calls + 2) {
        live_member_serve(second);
    }
    print_message("a member left in %" PRId64 " ms, given again %" PRId64 " ms after that\n",
                  mono_since_us(gone, left) / 1000, mono_since_us(mono_now(), gone) / 1000);
    live_member_wait_assigned(second);
    assert_int_equal(second->mine_count, 8);
    assert_int_equal(second->lost_calls, 0);
    live_member_close(second);
    mem_free(first);
    mem_free(second);
}

/* What was complete above the start is not handed out. */
static void test_claim_runs(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 1);
    live_send_numbers(live_topic(prefix, "q.tx"), 0, 0, 100);
    struct live_member *member = mem_zalloc(sizeof(*member));
    live_member_open(member, prefix, "a", NULL);
    member->begin_at_once = false;
    while (member->given_calls == 0) {
        live_member_serve(member);
    }
    assert_int_equal(member->mine_count, 2);
    static const struct offsets_run runs[] = {{12, 19}, {30, 97}};
    struct kafka_start starts[2];
    for (size_t i = 0; i < 2; i++) {
        bool tx = strcmp(kafka_partition_topic(member->given[i].partition),
                         live_topic(prefix, "q.tx")) == 0;
        starts[i] = (struct kafka_start){member->given[i].partition, tx ? 10 : 0, 3, runs,
                                         tx ? ARRAY_LEN(runs) : 0};
    }
    assert_false(kafka_consumer_begin(member->consumer, starts, 1)); /* not all */
    assert_true(kafka_consumer_begin(member->consumer, starts, 2));
    static const int64_t wanted[] = {10, 11, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 98, 99};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        struct kafka_record record;
        while (!kafka_consumer_take(member->consumer, KAFKA_SOURCE_TX, &record)) {
            live_member_serve(member);
        }
        assert_int_equal(record.offset, wanted[i]);
        kafka_ticket_complete(member->consumer, kafka_record_ticket(&record));
        kafka_record_free(&record);
    }
    assert_int_equal(kafka_consumer_idle(member->consumer), true);
    live_member_close(member);
    mem_free(member);
}

/* A member that has not begun yet does not hold the group back: what it was given is taken back. */
static void test_claim_given_back(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    struct live_member *first = mem_zalloc(sizeof(*first));
    struct live_member *second = mem_zalloc(sizeof(*second));
    live_member_open(first, prefix, "a", NULL);
    first->begin_at_once = false;
    while (first->given_calls == 0) {
        live_member_serve(first);
    }
    live_member_open(second, prefix, "b", NULL);
    while (first->given_back_calls == 0) {
        live_member_serve(first);
        live_member_serve(second);
    }
    assert_false(kafka_consumer_begin(first->consumer, NULL, 0));
    first->begin_at_once = true;
    live_members_wait_halves(first, second);
    live_member_close(first);
    live_member_close(second);
    mem_free(first);
    mem_free(second);
}

int live_claim_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claim),
        cmocka_unit_test(test_claim_runs),
        cmocka_unit_test(test_claim_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
