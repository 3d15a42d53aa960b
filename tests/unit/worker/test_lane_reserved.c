/* Connections that are reserved for transactional mail: of a lane, and of the cluster. */
#include "unit/worker/lane_world.h"

static struct lane *push_as(enum config_class klass)
{
    stream.class_ = klass;
    return push("v1");
}

static void ready_all(void)
{
    for (size_t i = 0; i < world.opened_count; i++) {
        if (!world.opened[i]->was_ready) {
            ready(world.opened[i]);
        }
    }
}

static void close_all(void)
{
    for (size_t i = 0; i < world.opened_count; i++) {
        if (world.opened[i] != NULL) {
            session_close(world.opened[i]);
        }
    }
}

/* Twenty mails for a lane that keeps two of its five connections for transactional mail. */
static struct lane *push_many_as(enum config_class klass)
{
    struct lane *lane = NULL;
    world.hold_sessions = true;
    site.max_connections_per_lane = 5;
    site.reserved_per_lane = 2;
    for (int i = 0; i < 20; i++) {
        lane = push_as(klass);
    }
    io_loop_turn(loop);
    return lane;
}

/* However much bulk mail waits, the lane's last connection is left for a password reset; which of
 * many takes all that are free. */
static void bulk_mail_leaves_the_lanes_last_connections_alone(void **state)
{
    struct lane *lane = push_many_as(CONFIG_CLASS_BULK);
    (void)state;
    ready_all();
    assert_int_equal(lane->session_count, 3);
    assert_int_equal(world.begun, 3);
    push_as(CONFIG_CLASS_TRANSACTIONAL);
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 4);
    ready_all();
    assert_int_equal(world.begun, 4);
    struct session *reserved = world.opened[3];
    assert_true(session_is_reserved(reserved));
    assert_int_equal(reserved->mail->klass, CONFIG_CLASS_TRANSACTIONAL);
    rest(reserved); /* nothing for it, though bulk mail waits */
    assert_int_equal(reserved->state, SESSION_IDLE);
    assert_int_equal(lane->queue.length, 17);
    lane_kick(lane);
    io_loop_turn(loop);
    assert_int_equal(reserved->state, SESSION_IDLE);
    push_as(CONFIG_CLASS_TRANSACTIONAL); /* by the one that is there */
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 4);
    assert_int_equal(reserved->mail->klass, CONFIG_CLASS_TRANSACTIONAL);
    rest(world.opened[0]); /* one for all mail goes on with bulk */
    assert_int_equal(world.opened[0]->mail->klass, CONFIG_CLASS_BULK);
    close_all();
}

static void transactional_mail_alone_uses_all_connections(void **state)
{
    struct lane *lane = push_many_as(CONFIG_CLASS_TRANSACTIONAL);
    (void)state;
    assert_int_equal(lane->shares[LANE_OPEN].count, 3);
    assert_int_equal(lane->session_count, 5);
    ready_all();
    assert_int_equal(world.begun, 5);
    close_all();
}

/* Four of five are for all mail: others have them. The fifth goes to who has transactional mail. */
static void the_clusters_reserved_connections_are_a_limit_of_their_own(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_CONNECTIONS, 5, 0, NULL);
    rules[0].reserved = 1;
    struct lane *lane = push_as(CONFIG_CLASS_BULK);
    struct limit *open = limit_named("sites:s:conn");
    struct limit *reserved = limit_named("sites:s:conn-reserved");
    assert_int_equal(open->amount, 4);
    assert_int_equal(reserved->amount, 1);
    open->used = 4;
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 0);
    assert_true(lane->shares[LANE_OPEN].waiting);
    push_as(CONFIG_CLASS_TRANSACTIONAL);
    push_as(CONFIG_CLASS_TRANSACTIONAL);
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 1);
    assert_int_equal(reserved->used, 1);
    assert_true(lane->shares[LANE_RESERVED].waiting);
    ready_all();
    assert_int_equal(world.opened[0]->mail->klass, CONFIG_CLASS_TRANSACTIONAL);
    rest(world.opened[0]);
    assert_int_equal(world.opened[0]->mail->klass, CONFIG_CLASS_TRANSACTIONAL);
    rest(world.opened[0]);
    assert_int_equal(world.opened[0]->state, SESSION_IDLE);
    session_close(world.opened[0]);
    assert_int_equal(reserved->used, 0);
    open->used = 3; /* another one lets one go: bulk mail comes into its own */
    pump(open);
    io_loop_turn(loop);
    assert_int_equal(lane->shares[LANE_OPEN].count, 1);
    assert_int_equal(open->used, 4);
    ready(world.opened[world.opened_count - 1]);
    assert_int_equal(world.opened[world.opened_count - 1]->mail->klass, CONFIG_CLASS_BULK);
    close_all();
    open->used = 0;
}

/* Nothing is reserved of three connections: transactional mail waits for one of them like all. */
static void a_maximum_without_a_reserve_is_not_asked_twice(void **state)
{
    (void)state;
    world.hold_sessions = true;
    site.reserved_per_lane = 2;
    limited(0, CONFIG_LIMIT_CONNECTIONS, 3, 0, NULL);
    struct lane *lane = push_as(CONFIG_CLASS_BULK);
    struct limit *open = limit_named("sites:s:conn");
    open->used = 3;
    push_as(CONFIG_CLASS_TRANSACTIONAL);
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 0);
    assert_true(lane->shares[LANE_OPEN].waiting);
    assert_false(lane->shares[LANE_RESERVED].waiting);
    open->used = 2;
    pump(open);
    io_loop_turn(loop);
    ready_all();
    assert_int_equal(world.opened[0]->mail->klass, CONFIG_CLASS_TRANSACTIONAL);
    close_all();
    open->used = 0;
}

/* A lane that is full of bulk mail takes a password reset all the same: bulk mail goes to a tier in
 * its place. What is too much even for itself comes back after what it has of its own kind. */
static void a_full_lane_takes_transactional_mail(void **state)
{
    struct lane *lane = NULL;
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, HOUR, NULL);
    for (int i = 0; i < 74; i++) {
        lane = push_as(CONFIG_CLASS_BULK);
    }
    assert_int_equal(lane->queue.length, 64);
    assert_int_equal(due_copies(), 10);
    int64_t last = world.due_ms[9];
    push_as(CONFIG_CLASS_TRANSACTIONAL);
    assert_int_equal(queue_ready_of(&lane->queue, CONFIG_CLASS_TRANSACTIONAL), 1);
    assert_int_equal(queue_ready_of(&lane->queue, CONFIG_CLASS_BULK), 63);
    assert_int_equal(due_copies(), 11);
    assert_int_equal(world.due_ms[10] - last, HOUR);
    for (int i = 0; i < 63; i++) {
        push_as(CONFIG_CLASS_TRANSACTIONAL);
    }
    assert_int_equal(queue_ready_of(&lane->queue, CONFIG_CLASS_BULK), 0);
    push_as(CONFIG_CLASS_TRANSACTIONAL);
    assert_int_equal(queue_ready_of(&lane->queue, CONFIG_CLASS_TRANSACTIONAL), 64);
    int64_t due = world.due_ms[due_copies() - 1];
    assert_in_range(due, wall_now().ms + HOUR, wall_now().ms + HOUR + 70000);
    close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bulk_mail_leaves_the_lanes_last_connections_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(transactional_mail_alone_uses_all_connections, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_clusters_reserved_connections_are_a_limit_of_their_own,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_lane_takes_transactional_mail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_maximum_without_a_reserve_is_not_asked_twice, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
