/* Lanes: who gets a connection, what is spilled, what is cut. */
#include "unit/worker/lane_world.h"

static void lanes_that_share_slots_all_get_on(void **state)
{
    (void)state;
    limited(0, CONFIG_LIMIT_CONNECTIONS, 1, 0, NULL);
    for (int i = 0; i < 5; i++) {
        push("v1");
        push("v2");
        push("v3");
    }
    for (int i = 0; i < TURNS_MAX && world.begun < 15; i++) {
        turn();
    }
    assert_int_equal(world.begun, 15);
    acknowledge_all();
    assert_int_equal(world.came_home, 15);
}

static void lanes_take_turns_when_connections_are_scarce(void **state)
{
    (void)state;
    config.worker.max_connections = 1;
    world.hold_sessions = true;
    struct lane *busy = push("v1");
    push("v1");
    io_loop_turn(loop);
    assert_int_equal(busy->session_count, 1);
    struct lane *waiting = push("v2");
    io_loop_turn(loop);
    assert_int_equal(waiting->session_count, 0);
    session_close(world.opened[0]); /* the busy lane asked before, for a second one */
    io_loop_turn(loop);
    assert_int_equal(busy->session_count, 1);
    session_close(world.opened[1]);
    io_loop_turn(loop);
    assert_int_equal(waiting->session_count, 1);
    assert_int_equal(busy->session_count, 0);
    session_close(world.opened[2]);
    io_loop_turn(loop);
    assert_int_equal(busy->session_count, 1); /* and it is not forgotten */
    session_close(world.opened[3]);
}

/* Lanes whose sites let every connection hang leave some for the others. */
static void the_last_connections_are_for_lanes_that_have_none(void **state)
{
    (void)state;
    config.worker.max_connections = 10;
    world.hold_sessions = true;
    struct lane *greedy = push("v1");
    for (int i = 0; i < 20; i++) {
        push("v1");
    }
    io_loop_turn(loop);
    assert_int_equal(greedy->session_count, 9);
    struct lane *modest = push("v2");
    push("v2");
    io_loop_turn(loop);
    assert_int_equal(modest->session_count, 1);
    push("v3"); /* none is left … */
    io_loop_turn(loop);
    assert_int_equal(world.opened_count, 10);
    session_close(world.opened[0]); /* … but it comes first then */
    io_loop_turn(loop);
    assert_int_equal(world.opened_count, 11);
    assert_true(slice_eq(world.opened[10]->lane->route, SLICE("v3")));
    for (size_t i = 1; i < 11; i++) {
        session_close(world.opened[i]);
    }
}

/* Kafka or the group falls silent in the middle of feeding: mails and sessions wait. */
static void nothing_is_begun_while_the_shard_is_choked(void **state)
{
    (void)state;
    struct lane *lane = push("v1");
    for (int i = 0; i < 9; i++) {
        push("v1");
    }
    io_loop_turn(loop);
    assert_true(world.opened_count > 4);
    world.choked = true;
    for (size_t i = 0; i < world.opened_count; i++) {
        struct session *session = world.opened[i];
        session->was_ready = true;
        session->share->opening--;
        session->state = SESSION_IDLE;
        lane_feed(lane, session);
    }
    assert_int_equal(world.begun, 0);
    world.choked = false;
    world.choked_after = 4;
    lane_kick(lane);
    io_loop_turn(loop);
    assert_int_equal(world.begun, 4);
    assert_int_equal(lane->queue.length, 6);
    world.choked_after = 0;
    for (size_t i = 4; i < world.opened_count; i++) {
        lane_feed(lane, CONTAINER_OF(lane->shares[LANE_OPEN].idle.next, struct session, idle_node));
    }
    assert_int_equal(world.begun, world.opened_count);
}

static void a_slow_lane_is_spilled_to_the_times_of_its_rate(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, HOUR, NULL);
    struct lane *lane = push("v1");
    int64_t now = wall_now().ms;
    for (int i = 0; i < 66; i++) {
        push("v1");
    }
    assert_int_equal(lane->queue.length, 64);
    assert_int_equal(due_copies(), 3);
    assert_in_range(world.due_ms[0], now + HOUR + 60000, now + HOUR + 70000);
    assert_int_equal(world.due_ms[1] - world.due_ms[0], HOUR);
    assert_int_equal(world.due_ms[2] - world.due_ms[1], HOUR);
    expires_ms = now + 2 * HOUR;
    push("v1");
    assert_int_equal(due_copies(), 4);
    assert_int_equal(world.due_ms[3], expires_ms); /* it ends there, not in three hours */
    if (world.opened[0] != NULL) {
        session_close(world.opened[0]);
    }
}

/* A worker that the group may have forgotten leaves it to the next owner to say so. */
static void who_is_out_of_contact_tells_nobody_as_expired(void **state)
{
    (void)state;
    world.hold_sessions = true;
    world.out_of_contact = true;
    expires_ms = wall_now().ms - 1000;
    struct lane *lane = push("v1");
    assert_int_equal(lane->queue.length, 1);
    world.out_of_contact = false;
    push("v1");
    assert_int_equal(lane->queue.length, 1);
    io_loop_turn(loop);
    if (world.opened[0] != NULL) {
        ready(world.opened[0]);
        session_close(world.opened[0]);
    }
    assert_int_equal(lane->queue.length, 0);
    assert_int_equal(world.begun, 0);
}

static void capacity_is_sixty_seconds_of_the_rate(void **state)
{
    struct lane_vip two[2] = {{.weight = 1}, {.weight = 1}};
    struct lane lane = {.config = &site, .vips = two, .vip_count = 2, .shard = &shard};
    struct mono_time now = {.us = 1000000000};
    (void)state;
    assert_true(lane_capacity(&lane, now) == SIZE_MAX);
    lane.bounds.rate = 100;
    assert_int_equal(lane_capacity(&lane, now), 6000);
    two[0].bounds.rate = 10;
    assert_int_equal(lane_capacity(&lane, now), 6000); /* the other one has no limit */
    two[1].bounds.rate = 10;
    assert_int_equal(lane_capacity(&lane, now), 1200);
    two[0].bounds.rate = two[1].bounds.rate = 1.0 / 86400;
    assert_int_equal(lane_capacity(&lane, now), 64);
    two[0].bounds.rate = 0;
    lane.bounds.rate = 1e19;
    assert_true(lane_capacity(&lane, now) == SIZE_MAX);
    lane.bounds.rate = 0;
    lane.busy_since.us = now.us - 10000000; /* 30 mails in ten seconds */
    lane.busy_taken = 30;
    assert_true(lane_capacity(&lane, now) == SIZE_MAX); /* too soon to tell … */
    atomic_store(&worker.messages, 600);
    assert_int_equal(lane_capacity(&lane, now), 800); /* … but for memory that is half full, … */
    worker.shard_count = 10;
    assert_int_equal(lane_capacity(&lane, now), 180); /* and then if others have their part of it */
    atomic_store(&worker.messages, 900);
    lane.busy_taken = 300;
    assert_int_equal(lane_capacity(&lane, now), 1050); /* and when it is nearly full: 35 s … */
    config.kafka.tier_unit_ms = 1000;
    assert_int_equal(lane_capacity(&lane, now), 450); /* … or less if a tier takes less */
    config.kafka.tier_unit_ms = 30000;
    atomic_store(&worker.messages, 600);
    lane.busy_taken = 30;
    /* What it waits for its slot does not count, up to half a minute. */
    lane.busy_since.us = now.us - 30000000;
    lane.slotless_since.us = now.us - 20000000;
    assert_int_equal(lane_capacity(&lane, now), 180);
    lane.slotless_since.us = lane.busy_since.us + 1000000;
    assert_true(lane_capacity(&lane, now) == SIZE_MAX);
    lane.slotless_since = lane.busy_since;
    lane.busy_taken = 0;
    assert_int_equal(lane_capacity(&lane, now), 64);
    worker.shard_count = 0;
    atomic_store(&worker.messages, 0);
}

/* 100 s each by a rate that was only measured: not five hours for the last one. */
static void a_measured_rate_is_not_believed_for_days(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    int64_t now = wall_now().ms;
    for (int i = 0; i < 63; i++) {
        push("v1");
    }
    lane->busy_since = mono_add_ms(io_loop_now(loop), -31000);
    lane->busy_taken = 0;
    for (int i = 0; i < 200; i++) {
        push("v1");
    }
    assert_int_equal(lane->queue.length, 64);
    assert_int_equal(due_copies(), 200);
    for (size_t i = 0; i < due_copies(); i++) {
        assert_in_range(world.due_ms[i], now + 60000, now + 4 * HOUR + 200000);
    }
}

/* Three more have mail for the site: its turns come four times as slowly, once that is known. */
static void what_is_spilled_comes_back_by_the_share_of_the_rate(void **state)
{
    (void)state;
    world.hold_sessions = true;
    world.sharers = 4;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, 1000, NULL);
    struct lane *lane = push("v1");
    for (int i = 0; i < 65; i++) {
        push("v1");
    }
    assert_int_equal(due_copies(), 2);
    assert_int_equal(world.due_ms[1] - world.due_ms[0], 1000);
    lane->busy_since = mono_add_ms(mono_now(), -4000);
    push("v1");
    push("v1");
    assert_int_equal(due_copies(), 4);
    assert_int_equal(world.due_ms[3] - world.due_ms[2], 4000);
    /* Slower than that is believed after some minutes. */
    static const struct {
        int64_t busy_ms;
        uint64_t taken;
        int64_t step_ms;
    } later[] = {{100000, 5, 4000}, {200000, 10, 20000}, {200000, 49, 4000}};
    for (size_t i = 0; i < ARRAY_LEN(later); i++) {
        lane->busy_since = mono_add_ms(io_loop_now(loop), -later[i].busy_ms);
        lane->busy_taken = later[i].taken;
        push("v1");
        push("v1");
        assert_int_equal(due_copies(), 6 + 2 * i);
        int64_t step_ms = world.due_ms[5 + 2 * i] - world.due_ms[4 + 2 * i];
        assert_in_range(step_ms, later[i].step_ms * 9 / 10, later[i].step_ms * 11 / 10);
    }
}

/* Spilled mail on its way to a later time is taken by a lane that would run dry, and goes on as it
 * came where it would not. */
static void spilled_mail_is_taken_early_by_a_lane_that_has_too_little(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, HOUR, NULL);
    int64_t now = wall_now().ms;
    promised_ms = now + 5 * HOUR;
    struct lane *lane = NULL;
    for (int i = 0; i < 64; i++) {
        lane = push("v1");
    }
    assert_int_equal(lane->queue.length, 64);
    push("v1");
    assert_int_equal(lane->queue.length, 64);
    assert_int_equal(due_copies(), 1);
    assert_int_equal(world.due_ms[0], promised_ms);
    assert_int_equal(lane->spill_until_ms[CONFIG_CLASS_BULK], 0); /* it takes nobody's turn */
}

/* Less than the first tier ahead of its time there is no way back. */
static void spilled_mail_is_taken_when_it_is_nearly_due(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 10, 1000, NULL);
    struct lane *lane = NULL;
    for (int i = 0; i < 400; i++) {
        lane = push("v1");
    }
    promised_ms = wall_now().ms + 31000;
    push("v1");
    assert_int_equal(lane->queue.length, 400); /* enough until then */
    assert_int_equal(due_copies(), 1);
    promised_ms = wall_now().ms + 20000;
    push("v1");
    assert_int_equal(lane->queue.length, 401);
    assert_int_equal(due_copies(), 1);
}

static void spilled_mail_keeps_its_turn_among_that_of_a_parked_tenant(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, HOUR, "t");
    struct lane *lane = push("v1");
    push("v1");
    io_loop_turn(loop);
    ready(world.opened[0]);
    ready(world.opened[1]);
    for (int i = 0; i < 3; i++) {
        push("v1");
    }
    assert_int_equal(lane->queue.length, 4);
    assert_int_equal(lane->queue.ready, 0);
    promised_ms = wall_now().ms + 5 * HOUR;
    push("v1");
    assert_int_equal(lane->queue.length, 4);
    assert_int_equal(due_copies(), 1);
    assert_int_equal(world.due_ms[0], promised_ms);
    session_close(world.opened[0]);
    session_close(world.opened[1]);
}

static void what_waited_for_a_minute_is_spilled(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    for (int i = 0; i < 6; i++) {
        push("v1");
    }
    struct mono_time now = io_loop_now(loop);
    lane_tick(lane, mono_add_ms(now, 59000));
    assert_int_equal(lane->queue.length, 7);
    assert_int_equal(due_copies(), 0);
    lane_tick(lane, mono_add_ms(now, 61000));
    assert_int_equal(lane->queue.length, 4); /* the next in turn, but not for ever */
    assert_int_equal(due_copies(), 3);
    lane_tick(lane, mono_add_ms(now, 119000));
    assert_int_equal(lane->queue.length, 4);
    lane_tick(lane, mono_add_ms(now, 121000));
    assert_int_equal(lane->queue.length, 0);
    assert_int_equal(due_copies(), 7);
}

/* What stayed because it is next in turn is that when it comes back, too. */
static void what_was_next_in_turn_stays_so(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, 10000, NULL);
    int64_t now = wall_now().ms;
    struct lane *lane = push("v1");
    for (int i = 0; i < 20; i++) {
        push("v1");
    }
    lane->busy_taken = 13; /* as fast as it may be */
    lane_tick(lane, mono_add_ms(io_loop_now(loop), 61000));
    assert_int_equal(lane->queue.length, 7);
    assert_int_equal(due_copies(), 14);
    assert_in_range(world.due_ms[0], now + 70000, now + 80000);
    lane_tick(lane, mono_add_ms(io_loop_now(loop), 121000));
    assert_int_equal(due_copies(), 21);
    assert_in_range(world.due_ms[14], now + 40000, now + 50000);
    assert_int_equal(world.due_ms[20] - world.due_ms[14], 60000);
}

static void an_unused_session_ends_when_others_want_its_slot(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    push("v1");
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 2);
    struct session *idle = world.opened[1];
    idle->was_ready = true;
    idle->state = SESSION_IDLE;
    idle->share->opening--;
    lane_tick(lane, io_loop_now(loop));
    assert_int_equal(lane->session_count, 2);
    world.surplus = idle;
    lane_tick(lane, io_loop_now(loop));
    assert_null(world.surplus);
    assert_int_equal(lane->session_count, 1);
    session_close(world.opened[0]);
}

static bool always(const struct mail *mail, const void *context)
{
    (void)mail;
    return *(const bool *)context;
}

static void what_runs_is_cut_only_when_asked_for(void **state)
{
    bool wanted = false;
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    push("v1");
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 2);
    for (size_t i = 0; i < 2; i++) {
        struct session *session = world.opened[i];
        session->was_ready = true;
        session->share->opening--;
        session->state = SESSION_IDLE;
        lane_feed(lane, session);
        assert_non_null(session->mail);
    }
    lane_cut(lane, always, &wanted);
    assert_int_equal(world.cut, 0);
    wanted = true;
    lane_cut(lane, always, &wanted);
    assert_int_equal(world.cut, 2);
    assert_int_equal(lane->session_count, 0);
    assert_int_equal(due_copies(), 2); /* what was left of them waits in a tier */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lanes_that_share_slots_all_get_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lanes_take_turns_when_connections_are_scarce, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_last_connections_are_for_lanes_that_have_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_begun_while_the_shard_is_choked, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_slow_lane_is_spilled_to_the_times_of_its_rate, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_waited_for_a_minute_is_spilled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_next_in_turn_stays_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unused_session_ends_when_others_want_its_slot, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_measured_rate_is_not_believed_for_days, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_spilled_comes_back_by_the_share_of_the_rate, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(spilled_mail_is_taken_early_by_a_lane_that_has_too_little,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(spilled_mail_is_taken_when_it_is_nearly_due, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(spilled_mail_keeps_its_turn_among_that_of_a_parked_tenant,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_out_of_contact_tells_nobody_as_expired, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(capacity_is_sixty_seconds_of_the_rate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_runs_is_cut_only_when_asked_for, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
