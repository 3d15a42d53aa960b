/* Where a message is by its events, and in which tier its record must be. */
#include "ops/trace/trace.h"

#include "kafka/topics.h"
#include "unit/cmocka_all.h"

#define ID "01890000-0000-7000-8000-000000000001"
#define UNIT 30000

static struct trace trace;

static int begin(void **state)
{
    (void)state;
    trace_init(&trace, SLICE(ID));
    return 0;
}

static int end(void **state)
{
    (void)state;
    trace_free(&trace);
    return 0;
}

static void received(uint32_t recipients)
{
    const struct event event = {
        .type = EVENT_RECEIVED,
        .time_ms = 1000,
        .message_id = SLICE(ID),
        .recipient_count = recipients,
        .received = {.topic = SLICE("q.bulk"), .partition = 7, .offset = 42}};
    assert_true(trace_add(&trace, &event));
}

static void outcome(enum event_type type, struct slice recipient, int64_t next_ms)
{
    const struct event event = {.type = type,
                                .time_ms = 2000,
                                .message_id = SLICE(ID),
                                .recipient = recipient,
                                .attempt = {.number = 1, .next_attempt_ms = next_ms}};
    assert_true(trace_add(&trace, &event));
}

static void postponed(int64_t due_ms)
{
    const struct event event = {
        .type = EVENT_POSTPONED,
        .time_ms = 3000,
        .message_id = SLICE(ID),
        .reason = SLICE("lane-full"),
        .postponed = {
            .due_ms = due_ms, .number = 2, .topic = SLICE("q.tx"), .partition = 3, .offset = 5}};
    assert_true(trace_add(&trace, &event));
}

static void nothing_is_known_without_events(void **state)
{
    (void)state;
    const struct event other = {.type = EVENT_RECEIVED, .message_id = SLICE("another")};
    assert_int_equal(trace_state(&trace), TRACE_NOTHING);
    assert_true(trace_add(&trace, &other));
    assert_int_equal(trace_state(&trace), TRACE_NOTHING);
    received(1);
    assert_int_equal(trace_state(&trace), TRACE_TAKEN);
    assert_int_equal(trace.partition, 7);
    assert_int_equal(trace.offset, 42);
    assert_int_equal(trace_quiet_until(&trace), 0);
}

static void it_is_finished_when_every_recipient_is(void **state)
{
    (void)state;
    received(3);
    outcome(EVENT_DELIVERED, SLICE("a"), 0);
    outcome(EVENT_BOUNCED, SLICE("b"), 0);
    assert_int_equal(trace_state(&trace), TRACE_TAKEN); /* the third one may be in a transaction */
    outcome(EVENT_DEFERRED, SLICE("c"), 9000);
    assert_int_equal(trace_state(&trace), TRACE_WAITS);
    assert_int_equal(trace_wait(&trace)->next_ms, 9000);
    assert_int_equal(trace_quiet_until(&trace), 9000);
    outcome(EVENT_EXPIRED, SLICE("c"), 0);
    assert_int_equal(trace_state(&trace), TRACE_FINISHED);
    assert_int_equal(trace.known, 3);
}

/* Whose number is not known is finished when nothing speaks against it, and nobody passes over a
 * part of the log for its sake. */
static void without_the_number_of_recipients(void **state)
{
    (void)state;
    outcome(EVENT_DEFERRED, SLICE("a"), 9000);
    assert_int_equal(trace_state(&trace), TRACE_WAITS);
    assert_int_equal(trace_quiet_until(&trace), 0);
    outcome(EVENT_DELIVERED, SLICE("a"), 0);
    assert_int_equal(trace_state(&trace), TRACE_FINISHED);
}

static void what_was_postponed_waits_as_a_whole(void **state)
{
    (void)state;
    received(2);
    postponed(8000);
    assert_int_equal(trace_state(&trace), TRACE_WAITS);
    assert_int_equal(trace_quiet_until(&trace), 8000);
    assert_int_equal(trace.partition, 3);
    assert_int_equal(trace_wait(&trace)->number, 2);
    outcome(EVENT_DELIVERED, SLICE("a"), 0);
    assert_int_equal(trace_state(&trace), TRACE_TAKEN);
    postponed(20000);
    assert_int_equal(trace_wait(&trace)->next_ms, 20000);
    outcome(EVENT_DELIVERED, SLICE("b"), 0);
    assert_int_equal(trace_state(&trace), TRACE_FINISHED);
}

static void who_is_in_doubt_is_held_until_it_is_decided(void **state)
{
    (void)state;
    const struct event resend = {
        .type = EVENT_ADMIN, .message_id = SLICE(ID), .action = SLICE("uncertain-resend")};
    received(1);
    outcome(EVENT_UNCERTAIN, SLICE("a"), 0);
    assert_int_equal(trace_state(&trace), TRACE_HELD);
    assert_true(trace_add(&trace, &resend));
    assert_int_equal(trace_state(&trace), TRACE_TAKEN);
    outcome(EVENT_UNCERTAIN, SLICE("a"), 7000); /* on-uncertain: resend */
    assert_int_equal(trace_state(&trace), TRACE_WAITS);
    outcome(EVENT_DROPPED, SLICE("a"), 0);
    assert_int_equal(trace_state(&trace), TRACE_FINISHED);
}

/* What comes back later changes nothing. */
static void complaints_come_after_the_end(void **state)
{
    (void)state;
    received(1);
    outcome(EVENT_DELIVERED, SLICE("a"), 0);
    outcome(EVENT_COMPLAINT, SLICE("a"), 0);
    outcome(EVENT_BOUNCED_LATE, SLICE("a"), 0);
    assert_int_equal(trace_state(&trace), TRACE_FINISHED);
    assert_int_equal(trace.recipients[0].type, EVENT_DELIVERED);
}

static void more_recipients_than_a_message_has(void **state)
{
    (void)state;
    for (int i = 0; i <= TRACE_RECIPIENTS_MAX; i++) {
        char name[16];
        int len = snprintf(name, sizeof(name), "r%d", i);
        const struct event event = {.type = EVENT_DELIVERED,
                                    .message_id = SLICE(ID),
                                    .recipient = slice_of(name, (size_t)len)};
        assert_int_equal(trace_add(&trace, &event), i < TRACE_RECIPIENTS_MAX);
    }
}

static struct trace_tier tier_at(int64_t due_ms, bool exact, int64_t now_ms)
{
    struct trace_tier tier;
    trace_tier_at(0, due_ms, exact, now_ms, UNIT, KAFKA_TIERS, &tier);
    return tier;
}

static void the_tier_follows_from_time_and_wait(void **state)
{
    (void)state;
    struct trace_tier tier = tier_at(UNIT, true, 10);
    assert_true(tier.in_tier);
    assert_int_equal(tier.tier, 0);
    tier = tier_at(UNIT, true, UNIT);
    assert_false(tier.in_tier); /* it is due */
    /* 15 minutes are a little less than 16: one hop, left when its time has come. */
    tier = tier_at(900000, false, 899999);
    assert_true(tier.in_tier);
    assert_int_equal(tier.tier, 5);
    assert_false(tier_at(900000, false, 900000).in_tier);
    /* A promised time is approached by hops: 8 min, 4 min, 2 min, 1 min. */
    tier = tier_at(900000, true, 899999);
    assert_true(tier.in_tier);
    assert_int_equal(tier.hops, 3);
    assert_int_equal(tier.since_ms, 840000);
    tier = tier_at(900000, true, 480000);
    assert_int_equal(tier.tier, 3);
    assert_int_equal(tier.since_ms, 480000);
    /* The last rest is waited for by a worker. */
    tier = tier_at(UNIT + UNIT / 2, true, UNIT + 1);
    assert_false(tier.in_tier);
    assert_false(tier_at(-5, true, 10).in_tier); /* it was due before it came there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_known_without_events, begin, end),
        cmocka_unit_test_setup_teardown(it_is_finished_when_every_recipient_is, begin, end),
        cmocka_unit_test_setup_teardown(without_the_number_of_recipients, begin, end),
        cmocka_unit_test_setup_teardown(what_was_postponed_waits_as_a_whole, begin, end),
        cmocka_unit_test_setup_teardown(who_is_in_doubt_is_held_until_it_is_decided, begin, end),
        cmocka_unit_test_setup_teardown(complaints_come_after_the_end, begin, end),
        cmocka_unit_test_setup_teardown(more_recipients_than_a_message_has, begin, end),
        cmocka_unit_test(the_tier_follows_from_time_and_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
