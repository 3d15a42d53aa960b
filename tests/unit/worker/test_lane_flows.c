/* Flows of a lane: what a limit of a tenant keeps back, and whom it does not. */
#include "unit/worker/lane_world.h"

/* Tenant t may send two at a time of three mails; whoever comes behind is not kept back. */
static void a_tenant_at_its_limit_keeps_nobody_back(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 2, 1000, "t");
    struct lane *lane = push("v1");
    push("v1");
    push("v1");
    tenant = "u";
    push("v1");
    push("v1");
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 5);
    for (size_t i = 0; i < 5; i++) {
        ready(world.opened[i]);
    }
    assert_int_equal(world.begun, 4); /* two of each */
    assert_int_equal(lane->queue.length, 1);
    assert_int_equal(lane->queue.ready, 0);
    assert_int_equal(world.opened[4]->state, SESSION_IDLE);
    assert_int_equal(lane->busy_since.us, 0); /* the lane itself is not slow */
    struct limit *limit = limit_named("tenant:t:msg/1000");
    limit->used--;
    pump(limit);
    io_loop_turn(loop);
    assert_int_equal(world.begun, 5);
    assert_int_equal(world.opened[4]->state, SESSION_BUSY);
    for (size_t i = 0; i < 5; i++) {
        session_close(world.opened[i]);
    }
}

/* No session is free when the turn comes: the next one takes it, before others who wait there. */
static void a_turn_waits_for_a_session(void **state)
{
    (void)state;
    world.hold_sessions = true;
    site.max_connections_per_lane = 1;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, 1000, "t");
    struct lane *lane = push("v1");
    push("v1");
    tenant = "u";
    push("v1");
    push("v1");
    io_loop_turn(loop);
    struct session *session = world.opened[0];
    ready(session);
    rest(session);
    assert_int_equal(world.begun, 2);
    assert_int_equal(world.tenants[1], 't');
    assert_int_equal(world.tenants[2], 'u');
    rest(session); /* t waits, so it is u again */
    assert_int_equal(world.tenants[3], 'u');
    assert_int_equal(lane->queue.ready, 0);
    struct limit *limit = limit_named("tenant:t:msg/1000");
    struct limit_waiter other = {.turn = NULL};
    list_push_back(&limit->waiters, &other.node);
    limit->used = 0;
    pump(limit);
    list_remove(&other.node);
    list_push_back(&limit->waiters, &other.node);
    while (lane->queue.ready == 0) {
        io_loop_turn(loop);
    }
    list_remove(&other.node);
    list_push_back(&limit->waiters, &other.node);
    rest(session);
    assert_int_equal(world.begun, 4);
    assert_int_equal(world.tenants[4], 't');
    list_remove(&other.node);
    session_close(session);
}

static void connections_of_a_tenant_are_those_that_send_its_mail(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_CONNECTIONS, 1, 0, "t");
    struct lane *lane = push("v1");
    push("v1");
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 2);
    ready(world.opened[0]);
    ready(world.opened[1]);
    assert_int_equal(world.begun, 1);
    assert_int_equal(world.opened[1]->state, SESSION_IDLE);
    rest(world.opened[0]);
    io_loop_turn(loop);
    assert_int_equal(world.begun, 2);
    assert_int_equal(limit_named("tenant:t:conn")->used, 1);
    session_close(world.opened[0]);
    session_close(world.opened[1]);
    assert_int_equal(limit_named("tenant:t:conn")->used, 0);
    lane_tick(lane, mono_add_ms(io_loop_now(loop), 40000));
    assert_int_equal(lane->flows.count, 0);
}

/* What a tenant cannot send within a minute goes to the times at which it can, and the lane takes
 * as much mail of others as ever. */
static void a_tenants_backlog_is_spilled_by_its_own_rate(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, HOUR, "t");
    struct lane *lane = push("v1");
    push("v1");
    io_loop_turn(loop);
    ready(world.opened[0]);
    ready(world.opened[1]);
    assert_int_equal(lane->queue.length, 1); /* parked */
    int64_t now = wall_now().ms;
    for (int i = 0; i < 65; i++) {
        push("v1");
    }
    assert_int_equal(lane->queue.length, 64);
    assert_int_equal(lane->queue.ready, 0);
    assert_int_equal(due_copies(), 2);
    assert_in_range(world.due_ms[0], now + HOUR + 60000, now + HOUR + 70000);
    assert_int_equal(world.due_ms[1] - world.due_ms[0], HOUR);
    assert_int_equal(world.postponed, 2); /* each was told */
    assert_string_equal(world.reason, "limit-full");
    assert_int_equal(world.postponed_due_ms, world.due_ms[1]);
    tenant = "u";
    for (int i = 0; i < 100; i++) {
        push("v1");
    }
    assert_int_equal(lane->queue.ready, 100);
    lane_tick(lane, mono_add_ms(io_loop_now(loop), 61000));
    assert_int_equal(lane->queue.length, 8); /* of each the next in turn */
    lane_tick(lane, mono_add_ms(io_loop_now(loop), 121000));
    assert_int_equal(lane->queue.length, 0);
    size_t late = 0;
    for (size_t i = 2; i < due_copies(); i++) {
        late += world.due_ms[i] > now + 3 * HOUR ? 1 : 0;
    }
    assert_int_equal(late, 62); /* of the four that were next in turn two are so again */
    for (size_t i = 0; i < world.opened_count; i++) {
        session_close(world.opened[i]);
    }
}

/* Told is whose mail waits; a tenant whose mail waits at four workers has a fourth of its weight
 * here, and what one has beyond its own part of the rate is borrowed. When no session is left the
 * rate is the others'. */
static void tenants_share_a_scarce_rate(void **state)
{
    int far = 0;
    (void)state;
    world.hold_sessions = true;
    site.max_connections_per_lane = 1;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, 1000, NULL);
    struct lane *lane = NULL;
    for (int i = 0; i < 60; i++) {
        tenant = i % 2 == 0 ? "far" : "near";
        lane = push("v1");
    }
    struct limit *limit = lane->bounds.items[0].limit;
    struct limit_source *source = CONTAINER_OF(limit->sources.next, struct limit_source, node);
    struct limit_tenants told = {.count = 0};
    source->list(source, &told);
    assert_int_equal(told.count, 2);
    io_loop_turn(loop);
    ready(world.opened[0]);
    for (int i = 0; i < 20; i++) {
        rest(world.opened[0]);
        assert_int_equal(world.opened[0]->state, SESSION_THROTTLED);
        limit->used--;
        pump(limit);
        io_loop_turn(loop);
        far += slice_eq(world.opened[0]->mail->message.tenant, SLICE("far")) ? 1 : 0;
    }
    assert_in_range(far, 3, 5);
    /* In two seconds: one of two contracts that count alike, of one a second. */
    fair_tick(lane, mono_add_ms(lane->fair.looked, 2000));
    fair_account(lane, reporter_usage(shard.reporter));
    usage_tell(reporter_usage(shard.reporter), wall_now());
    assert_int_equal(world.used, 20);
    assert_in_range(world.borrowed, 16, 18);
    assert_int_equal(limit->rested, 0);
    session_close(world.opened[0]);
    assert_int_equal(limit->rested, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_tenant_at_its_limit_keeps_nobody_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_turn_waits_for_a_session, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_of_a_tenant_are_those_that_send_its_mail,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_tenants_backlog_is_spilled_by_its_own_rate, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(tenants_share_a_scarce_rate, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
