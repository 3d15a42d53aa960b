/*
 * Takes and waiters without a Redis: nobody listens, so that after the first failed attempt the
 * limiter grants its share (0.7 of the rate for one holder) and no slot. Order, once-only and
 * all-or-none do not depend on where tokens come from.
 */
#include "redis/limiter.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { SESSIONS = 6 };

struct session {
    struct limit_waiter waiter;
    struct fixture *fixture;
    unsigned calls;
    unsigned order; /* when its ready came: 1, 2, … */
    bool in_take;
    struct limit_line *line;
};

struct fixture {
    struct io_loop *loop;
    struct redis_limiter *limiter;
    struct limit *limits[2];
    size_t limit_count;
    struct session sessions[SESSIONS];
    unsigned ready_count;
    unsigned granted;
    unsigned stop_at; /* grants */
    struct timer timer;
    int socket;
};

/* A port that is taken, but where nobody listens. */
static uint16_t deaf_port(int *socket_out)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    *socket_out = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(*socket_out >= 0);
    assert_int_equal(bind(*socket_out, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(*socket_out, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

static void set_up(struct fixture *fixture)
{
    struct redis_options options;
    struct fault fault;
    *fixture = (struct fixture){0};
    fixture->loop = io_loop_create(&fault);
    assert_non_null(fixture->loop);
    redis_options_default(&options);
    options.port = deaf_port(&fixture->socket);
    fixture->limiter = redis_limiter_create(fixture->loop, &options, "one", &fault);
    assert_non_null(fixture->limiter);
    for (unsigned i = 0; i < SESSIONS; i++) {
        fixture->sessions[i].fixture = fixture;
    }
}

static void add_limit(struct fixture *fixture, const char *key, struct limit_rule rule)
{
    fixture->limits[fixture->limit_count++] =
        redis_limit_get(fixture->limiter, slice_cstr(key), &rule);
}

static void tear_down(struct fixture *fixture)
{
    for (unsigned i = 0; i < SESSIONS; i++) {
        redis_limit_wait_cancel(fixture->limiter, &fixture->sessions[i].waiter);
    }
    for (size_t i = 0; i < fixture->limit_count; i++) {
        redis_limit_put(&fixture->limits[i]);
        assert_null(fixture->limits[i]);
    }
    wheel_cancel(io_loop_wheel(fixture->loop), &fixture->timer);
    redis_limiter_free(&fixture->limiter);
    assert_null(fixture->limiter);
    io_loop_free(&fixture->loop);
    (void)close(fixture->socket);
}

static bool take(struct session *session)
{
    struct fixture *fixture = session->fixture;
    session->in_take = true;
    struct limit_want wants[ARRAY_LEN(fixture->limits)];
    for (size_t i = 0; i < fixture->limit_count; i++) {
        wants[i] = (struct limit_want){.limit = fixture->limits[i], .n = 1, .line = session->line};
    }
    bool granted =
        redis_limits_take(fixture->limiter, wants, fixture->limit_count, &session->waiter);
    session->in_take = false;
    return granted;
}

static void on_ready_take_once(struct limit_waiter *waiter)
{
    struct session *session = CONTAINER_OF(waiter, struct session, waiter);
    struct fixture *fixture = session->fixture;
    assert_false(session->in_take);
    assert_false(list_linked(&waiter->node));
    session->calls++;
    session->order = ++fixture->ready_count;
    assert_true(take(session));
    if (++fixture->granted == fixture->stop_at) {
        io_loop_stop(fixture->loop);
    }
}

static void on_time_over(struct timer *timer, struct mono_time now)
{
    struct fixture *fixture = CONTAINER_OF(timer, struct fixture, timer);
    (void)now;
    io_loop_stop(fixture->loop);
}

static void test_waiters_come_in_order_and_once(void **state)
{
    struct fixture fixture;
    (void)state;
    set_up(&fixture);
    add_limit(&fixture, "site:a:msg", (struct limit_rule){LIMIT_RATE, 100, 1000, 1});
    assert_true(slice_eq(redis_limit_key(fixture.limits[0]), SLICE("site:a:msg")));
    assert_int_equal(redis_limiter_state(fixture.limiter), REDIS_CONNECTING);
    for (unsigned i = 0; i < SESSIONS; i++) {
        fixture.sessions[i].waiter.ready = on_ready_take_once;
        assert_false(take(&fixture.sessions[i]));
        assert_ptr_equal(fixture.sessions[i].waiter.blocking, fixture.limits[0]);
    }
    redis_limit_wait_cancel(fixture.limiter, &fixture.sessions[2].waiter);
    redis_limit_wait_cancel(fixture.limiter, &fixture.sessions[2].waiter);
    fixture.stop_at = SESSIONS - 1;
    io_loop_run(fixture.loop);
    assert_int_equal(redis_limiter_state(fixture.limiter), REDIS_DOWN);
    static const unsigned expected[SESSIONS] = {1, 2, 0, 3, 4, 5};
    for (unsigned i = 0; i < SESSIONS; i++) {
        assert_int_equal(fixture.sessions[i].order, expected[i]);
        assert_int_equal(fixture.sessions[i].calls, i == 2 ? 0 : 1);
    }
    tear_down(&fixture);
}

/* The first one's ready cancels the second, which was promised a token in the same turn. */
static void on_ready_cancel_next(struct limit_waiter *waiter)
{
    struct session *session = CONTAINER_OF(waiter, struct session, waiter);
    struct fixture *fixture = session->fixture;
    redis_limit_wait_cancel(fixture->limiter, &fixture->sessions[1].waiter);
    session->calls++;
}

static void test_cancel_in_ready_and_nothing_taken(void **state)
{
    struct fixture fixture;
    (void)state;
    set_up(&fixture);
    add_limit(&fixture, "site:b:msg", (struct limit_rule){LIMIT_RATE, 100000, 1000, 0});
    for (unsigned i = 0; i < 3; i++) {
        fixture.sessions[i].waiter.ready = on_ready_take_once;
        assert_false(take(&fixture.sessions[i]));
    }
    fixture.sessions[0].waiter.ready = on_ready_cancel_next;
    fixture.stop_at = 1;
    io_loop_run(fixture.loop);
    /* The first took nothing and does not come again; the third still got its turn. */
    assert_int_equal(fixture.sessions[0].calls, 1);
    assert_int_equal(fixture.sessions[1].calls, 0);
    assert_int_equal(fixture.sessions[2].calls, 1);
    tear_down(&fixture);
}

static void on_ready_refused(struct limit_waiter *waiter)
{
    struct session *session = CONTAINER_OF(waiter, struct session, waiter);
    session->calls++;
    assert_false(take(session));
}

static void test_all_or_none(void **state)
{
    struct fixture fixture;
    (void)state;
    set_up(&fixture);
    add_limit(&fixture, "site:c:msg", (struct limit_rule){LIMIT_RATE, 10, 1000, 10});
    add_limit(&fixture, "site:c:conn", (struct limit_rule){LIMIT_SLOTS, 5, 0, 0});
    fixture.sessions[0].waiter.ready = on_ready_refused;
    assert_false(take(&fixture.sessions[0]));
    wheel_set(io_loop_wheel(fixture.loop), &fixture.timer, mono_add_ms(mono_now(), 3700),
              on_time_over);
    io_loop_run(fixture.loop);
    /* Without Redis there is never a slot: it was woken for the rate at most, and waits for the
     * slots. */
    assert_true(fixture.sessions[0].calls <= 1);
    assert_ptr_equal(fixture.sessions[0].waiter.blocking, fixture.limits[1]);
    /* And the rate was not touched by those who could not have both: a token of 7 a second is
     * there. */
    const struct limit_want rate = {.limit = fixture.limits[0], .n = 1};
    assert_true(redis_limits_take(fixture.limiter, &rate, 1, &fixture.sessions[1].waiter));
    redis_limits_return(fixture.limiter, &rate, 1);
    assert_true(redis_limits_take(fixture.limiter, &rate, 1, &fixture.sessions[1].waiter));
    tear_down(&fixture);
}

/* What a mail waits for is its own affair: the session's waiter stays free. */
static void test_each_limit_may_have_its_own_waiter(void **state)
{
    struct fixture fixture;
    (void)state;
    set_up(&fixture);
    add_limit(&fixture, "site:d:msg", (struct limit_rule){LIMIT_RATE, 100000, 1000, 0});
    add_limit(&fixture, "tenant:d:conn", (struct limit_rule){LIMIT_SLOTS, 5, 0, 0});
    struct limit_waiter *session = &fixture.sessions[0].waiter;
    struct limit_waiter *mail = &fixture.sessions[1].waiter;
    wheel_set(io_loop_wheel(fixture.loop), &fixture.timer, mono_add_ms(mono_now(), 3400),
              on_time_over);
    io_loop_run(fixture.loop); /* there is a share of the rate by now, and never a slot */
    const struct limit_want wants[] = {{.limit = fixture.limits[0], .n = 1},
                                       {fixture.limits[1], 1, mail, NULL}};
    assert_false(redis_limits_take(fixture.limiter, wants, 2, session));
    assert_false(list_linked(&session->node));
    assert_true(list_linked(&mail->node));
    assert_ptr_equal(mail->blocking, fixture.limits[1]);
    assert_true(redis_limits_take(fixture.limiter, wants, 1, session));
    assert_true(list_linked(&mail->node)); /* it was not asked about */
    assert_false(redis_limits_take(fixture.limiter, wants, 2, session));
    assert_true(list_linked(&mail->node));
    tear_down(&fixture);
}

static void on_ready_not_yet(struct limit_waiter *waiter)
{
    struct session *session = CONTAINER_OF(waiter, struct session, waiter);
    assert_ptr_equal(waiter->turn, session->fixture->limits[0]);
    session->calls++;
    if (session->calls == 1) {
        io_loop_stop(session->fixture->loop);
    }
}

/* Who could not use its turn at once stands before those who wait. */
static void test_a_turn_is_kept(void **state)
{
    struct fixture fixture;
    (void)state;
    set_up(&fixture);
    add_limit(&fixture, "site:e:msg", (struct limit_rule){LIMIT_RATE, 10, 1000, 1});
    fixture.sessions[0].waiter.ready = on_ready_not_yet;
    assert_false(take(&fixture.sessions[0]));
    io_loop_run(fixture.loop);
    fixture.sessions[1].waiter.ready = fixture.sessions[2].waiter.ready = on_ready_take_once;
    while (take(&fixture.sessions[3])) { /* uses up what is there */
    }
    redis_limit_wait_cancel(fixture.limiter, &fixture.sessions[3].waiter);
    assert_false(take(&fixture.sessions[1]));
    assert_false(take(&fixture.sessions[2]));
    fixture.sessions[0].waiter.ready = on_ready_take_once;
    fixture.sessions[0].calls = 0;
    assert_false(take(&fixture.sessions[0]));
    assert_null(fixture.sessions[0].waiter.turn);
    fixture.stop_at = fixture.granted + 3;
    fixture.ready_count = 0;
    io_loop_run(fixture.loop);
    assert_int_equal(fixture.sessions[0].order, 1);
    assert_int_equal(fixture.sessions[1].order, 2);
    assert_int_equal(fixture.sessions[2].order, 3);
    tear_down(&fixture);
}

/* Who has many waiting gets no more than who has one. */
static void test_lines_take_turns(void **state)
{
    struct fixture fixture;
    struct limit_line many = {0};
    struct limit_line few = {0};
    struct limit_line *const lines[SESSIONS] = {&many, &many, &many, &few, &few, NULL};
    static const unsigned expected[SESSIONS] = {1, 4, 6, 2, 5, 3};
    (void)state;
    set_up(&fixture);
    add_limit(&fixture, "vip:f:msg", (struct limit_rule){LIMIT_RATE, 100, 1000, 1});
    for (unsigned i = 0; i < SESSIONS; i++) {
        fixture.sessions[i].waiter.ready = on_ready_take_once;
        fixture.sessions[i].line = lines[i];
        assert_false(take(&fixture.sessions[i]));
    }
    fixture.stop_at = SESSIONS;
    io_loop_run(fixture.loop);
    for (unsigned i = 0; i < SESSIONS; i++) {
        assert_int_equal(fixture.sessions[i].order, expected[i]);
    }
    tear_down(&fixture);
}

/* Who asks again before its turn has come loses nothing to those of another line. */
static void test_asking_again_costs_no_turn(void **state)
{
    struct fixture fixture;
    struct limit_line impatient = {0};
    struct limit_line other = {0};
    static const unsigned expected[] = {2, 1, 3};
    (void)state;
    set_up(&fixture);
    add_limit(&fixture, "vip:g:msg", (struct limit_rule){LIMIT_RATE, 100, 1000, 1});
    for (unsigned i = 0; i < ARRAY_LEN(expected); i++) {
        fixture.sessions[i].waiter.ready = on_ready_take_once;
        fixture.sessions[i].line = i == 0 ? &impatient : &other;
        assert_false(take(&fixture.sessions[i]));
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_false(take(&fixture.sessions[0]));
    }
    fixture.stop_at = ARRAY_LEN(expected);
    io_loop_run(fixture.loop);
    for (unsigned i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(fixture.sessions[i].order, expected[i]);
    }
    tear_down(&fixture);
}

static void test_same_key_same_limit(void **state)
{
    struct fixture fixture;
    (void)state;
    set_up(&fixture);
    add_limit(&fixture, "k", (struct limit_rule){LIMIT_RATE, 10, 1000, 0});
    add_limit(&fixture, "k", (struct limit_rule){LIMIT_RATE, 20, 1000, 0});
    assert_ptr_equal(fixture.limits[0], fixture.limits[1]);
    tear_down(&fixture);
}

static void test_wrong_options(void **state)
{
    struct redis_options options;
    struct fault fault;
    (void)state;
    struct io_loop *loop = io_loop_create(&fault);
    redis_options_default(&options);
    options.host = NULL;
    assert_null(redis_limiter_create(loop, &options, "h", &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    redis_options_default(&options);
    options.user = "u";
    assert_null(redis_limiter_create(loop, &options, "h", &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    io_loop_free(&loop);
}

int main(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiters_come_in_order_and_once),
        cmocka_unit_test(test_cancel_in_ready_and_nothing_taken),
        cmocka_unit_test(test_all_or_none),
        cmocka_unit_test(test_each_limit_may_have_its_own_waiter),
        cmocka_unit_test(test_a_turn_is_kept),
        cmocka_unit_test(test_lines_take_turns),
        cmocka_unit_test(test_asking_again_costs_no_turn),
        cmocka_unit_test(test_same_key_same_limit),
        cmocka_unit_test(test_wrong_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
