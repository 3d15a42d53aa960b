/* Logins checked on threads: answers, cancellation, the bound of the queue, a table that changes.
 */
#include "producer/auth.h"

#include "base/mem.h"
#include "producer/password.h"
#include "unit/cmocka_all.h"

struct answer {
    int good, bad;
    struct io_loop *loop;
    int wanted;
};

static const struct config no_config;
static char hash[PASSWORD_HASH_MAX];

static void answered(void *owner, bool ok)
{
    struct answer *answer = owner;
    answer->good += ok;
    answer->bad += !ok;
    if (answer->good + answer->bad == answer->wanted) {
        io_loop_stop(answer->loop);
    }
}

static struct users *table(const char *names)
{
    char text[2048] = "";
    size_t len = 0;
    for (const char *name = names; *name != '\0'; name++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%c:%s\n", *name, hash);
    }
    struct users *users = users_parse("f", slice_of(text, len), &no_config, NULL);
    assert_non_null(users);
    return users;
}

static struct auth *open_auth(struct io_loop **loop, const char *names)
{
    struct fault fault;
    struct users *users = table(names);
    *loop = io_loop_create(&fault);
    struct auth *auth = auth_create(*loop, &users, &fault);
    assert_non_null(auth);
    assert_null(users);
    return auth;
}

static int make_hash(void **state)
{
    (void)state;
    return password_hash(SLICE("right"), hash, NULL) ? 0 : 1;
}

static void logins_are_answered(void **state)
{
    struct io_loop *loop;
    struct auth *auth = open_auth(&loop, "ab");
    struct answer good = {.loop = loop, .wanted = 2}, bad = {.loop = loop, .wanted = 2};
    (void)state;
    assert_false(auth_recent(auth, SLICE("a"), SLICE("right")));
    assert_non_null(auth_start(auth, SLICE("a"), SLICE("right"), answered, &good));
    assert_non_null(auth_start(auth, SLICE("b"), SLICE("right"), answered, &good));
    assert_int_equal(good.good, 0);
    io_loop_run(loop);
    assert_int_equal(good.good, 2);
    assert_non_null(auth_start(auth, SLICE("a"), SLICE("wrong"), answered, &bad));
    assert_non_null(auth_start(auth, SLICE("nobody"), SLICE("right"), answered, &bad));
    io_loop_run(loop);
    assert_int_equal(bad.bad, 2);
    assert_true(auth_recent(auth, SLICE("a"), SLICE("right")));
    assert_false(auth_recent(auth, SLICE("a"), SLICE("wrong")));
    assert_false(auth_recent(auth, SLICE("nobody"), SLICE("right")));
    auth_free(&auth);
    io_loop_free(&loop);
}

static void the_table_may_change_meanwhile(void **state)
{
    struct io_loop *loop;
    struct auth *auth = open_auth(&loop, "ab");
    struct answer answer = {.loop = loop, .wanted = 2};
    (void)state;
    assert_non_null(auth_start(auth, SLICE("a"), SLICE("right"), answered, &answer));
    assert_non_null(auth_start(auth, SLICE("b"), SLICE("right"), answered, &answer));
    struct users *users = table("b");
    auth_set_users(auth, &users);
    assert_null(auth_user(auth, SLICE("a")));
    io_loop_run(loop);
    assert_int_equal(answer.good, 1);
    assert_int_equal(answer.bad, 1);
    auth_free(&auth);
    io_loop_free(&loop);
}

static void the_queue_is_bounded_and_can_be_left(void **state)
{
    struct io_loop *loop;
    struct auth *auth = open_auth(&loop, "a");
    struct answer last = {.loop = loop, .wanted = 1}, none = {.loop = loop};
    struct auth_job *jobs[AUTH_QUEUE_MAX];
    (void)state;
    for (size_t i = 0; i < AUTH_QUEUE_MAX; i++) {
        jobs[i] = auth_start(auth, SLICE("a"), SLICE("right"), answered, i == 7 ? &last : &none);
        assert_non_null(jobs[i]);
    }
    assert_null(auth_start(auth, SLICE("a"), SLICE("right"), answered, &none));
    for (size_t i = 0; i < AUTH_QUEUE_MAX; i++) {
        if (i != 7) {
            auth_cancel(&jobs[i]);
            assert_null(jobs[i]);
        }
    }
    io_loop_run(loop);
    assert_int_equal(last.good, 1);
    assert_int_equal(none.good + none.bad, 0);
    auth_free(&auth); /* with most of them still waiting */
    io_loop_free(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logins_are_answered),
        cmocka_unit_test(the_table_may_change_meanwhile),
        cmocka_unit_test(the_queue_is_bounded_and_can_be_left),
    };
    return cmocka_run_group_tests(tests, make_hash, NULL);
}
