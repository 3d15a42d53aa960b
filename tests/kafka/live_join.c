/*
 * JOINs whose answer is lost, while the connection lives. librdkafka waits for it, for
 * max.poll.interval.ms (5 minutes), and asks for nothing else meanwhile; a static member's watch
 * (lib/kafka/consumer_recover.c) makes it join anew after three sessions.
 */
#include "tests/kafka/live_claim.h"
#include "tests/kafka/live_proxy.h"

#include "base/mem.h"

#include <inttypes.h>

#define SESSION_MS 6000

static void serve(struct live_member *one, struct live_member *other)
{
    live_member_serve(one);
    if (other != NULL) {
        live_member_serve(other);
    }
}

/* The answer is swallowed; then until the watch acts. Nobody asked again before. */
static void wait_recovery(struct live_member *member, struct live_member *other, int joins)
{
    struct mono_time end = mono_add_ms(mono_now(), LIVE_TIMEOUT_MS);
    while (kafka_consumer_recoveries(member->consumer) == 0) {
        assert_int_equal(live_proxy_joins(), joins);
        serve(member, other);
        assert_false(member->assigned && live_proxy_swallowed() > 0);
        assert_true(mono_before(mono_now(), end));
    }
    assert_int_equal(live_proxy_swallowed(), 1);
}

static void commits(struct live_member *member, int number)
{
    do { /* aborted once: another client of its name has begun */
        assert_true(live_member_submit(member, number, 0));
    } while (live_member_result(member) == KAFKA_BURST_ABORTED);
    assert_int_equal(member->result, KAFKA_BURST_COMMITTED);
}

/* The first JOIN of one that is alone. */
static void test_join_unanswered(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    struct live_member *member = mem_zalloc(sizeof(*member));
    live_proxy_start("proxied");
    live_proxy_swallow(1);
    live_member_open_static(member, prefix, "proxied", SESSION_MS);
    while (live_proxy_swallowed() == 0) {
        live_member_serve(member);
    }
    struct mono_time lost = mono_now();
    wait_recovery(member, NULL, 1);
    live_member_wait_assigned(member);
    print_message("answer to the first JOIN lost: assigned after %" PRId64 " ms\n",
                  mono_since_us(mono_now(), lost) / 1000);
    assert_int_equal(live_proxy_joins(), 2);
    assert_int_equal(member->failed_calls, 0);
    assert_int_equal(member->mine_count, 4);
    commits(member, 1);
    live_member_close(member);
    live_proxy_stop();
    mem_free(member);
}

/* One that owns all joins again, as another has come, and is the group's leader: without its
 * answer the other is not served either. */
static void test_join_again_unanswered(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    struct live_member *member = mem_zalloc(sizeof(*member));
    struct live_member *other = mem_zalloc(sizeof(*other));
    live_proxy_start("proxied");
    live_member_open_static(member, prefix, "proxied", SESSION_MS);
    live_member_wait_assigned(member);
    int joins = live_proxy_joins();
    live_proxy_swallow(1);
    live_member_open_static(other, prefix, "other", SESSION_MS);
    while (live_proxy_swallowed() == 0) {
        serve(member, other);
    }
    struct mono_time lost = mono_now();
    wait_recovery(member, other, joins + 1);
    print_message("joins anew after %" PRId64 " ms; the other is %sserved meanwhile\n",
                  mono_since_us(mono_now(), lost) / 1000, other->assigned ? "" : "not ");
    live_members_wait_halves(member, other);
    print_message("answer to a leader's JOIN lost: both served after %" PRId64 " ms\n",
                  mono_since_us(mono_now(), lost) / 1000);
    assert_int_equal(member->failed_calls + other->failed_calls, 0);
    commits(member, 1);
    commits(other, 2);
    live_member_close(member);
    live_member_close(other);
    live_proxy_stop();
    mem_free(member);
    mem_free(other);
}

int live_join_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_unanswered),
        cmocka_unit_test(test_join_again_unanswered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
