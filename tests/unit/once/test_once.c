/*
 * Claims where there is no Redis: each is answered once, never inside the call, and says that it is
 * unguarded; and giving up. What needs a real Redis and a real Kafka is in tests/once.
 */
#include "once/once.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLAIMS = 5 };

struct one {
    struct once_claim claim;
    struct fixture *fixture;
    int answers;
    enum once_result result;
};

struct fixture {
    struct io_loop *loop;
    struct once *once;
    struct one ones[CLAIMS];
    int answered, stop_at;
    bool in_claim, again;
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

static void claim(struct one *one);

static void on_answer(struct once_claim *answered, enum once_result result)
{
    struct one *one = CONTAINER_OF(answered, struct one, claim);
    struct fixture *fixture = one->fixture;
    assert_false(fixture->in_claim);
    one->answers++;
    one->result = result;
    fixture->answered++;
    if (fixture->again) { /* an answer may claim again */
        fixture->again = false;
        claim(one);
    } else if (fixture->answered == fixture->stop_at) {
        io_loop_stop(fixture->loop);
    }
}

static void claim(struct one *one)
{
    one->claim = (struct once_claim){
        .id = SLICE("018f0000-0000-7000-8000-000000000001"),
        .topic = SLICE("sluice.q.bulk"),
        .key = SLICE("example.com"),
        .patience_ms = 60000,
        .answered = on_answer,
    };
    one->fixture->in_claim = true;
    once_claim(one->fixture->once, &one->claim);
    one->fixture->in_claim = false;
}

static void set_up(struct fixture *fixture)
{
    static const struct kafka_property nowhere = {"bootstrap.servers", "127.0.0.1:1"};
    struct once_options options = {.kafka = {&nowhere, 1}, .hold_ms = 1000};
    struct fault fault;
    *fixture = (struct fixture){0};
    fixture->loop = io_loop_create(&fault);
    assert_non_null(fixture->loop);
    redis_options_default(&options.redis);
    options.redis.port = deaf_port(&fixture->socket);
    fixture->once = once_create(fixture->loop, &options, &fault);
    assert_non_null(fixture->once);
    for (size_t i = 0; i < CLAIMS; i++) {
        fixture->ones[i].fixture = fixture;
    }
}

static void tear_down(struct fixture *fixture)
{
    once_free(&fixture->once);
    assert_null(fixture->once);
    once_free(&fixture->once);
    io_loop_free(&fixture->loop);
    (void)close(fixture->socket);
}

static void test_without_redis(void **state)
{
    struct fixture fixture;
    (void)state;
    set_up(&fixture);
    fixture.stop_at = CLAIMS + 1;
    fixture.again = true;
    for (size_t i = 0; i < CLAIMS; i++) { /* nothing is known of Redis yet */
        claim(&fixture.ones[i]);
    }
    io_loop_run(fixture.loop);
    for (size_t i = 0; i < CLAIMS; i++) {
        assert_int_equal(fixture.ones[i].result, ONCE_UNGUARDED);
        assert_int_equal(fixture.ones[i].answers, i == 0 ? 2 : 1);
    }
    assert_true(fixture.ones[0].claim.token > 0);
    assert_true(fixture.ones[0].claim.token != fixture.ones[1].claim.token);
    fixture.stop_at = 0;
    once_stored(fixture.once, fixture.ones[0].claim.id, fixture.ones[0].claim.token, 0, 1);
    once_not_stored(fixture.once, fixture.ones[0].claim.id, fixture.ones[0].claim.token);
    assert_int_equal(once_counters(fixture.once)->claims, CLAIMS + 1);
    assert_int_equal(once_counters(fixture.once)->unguarded, CLAIMS + 1);
    assert_int_equal(once_counters(fixture.once)->recognised, 0);
    tear_down(&fixture);
}

static void test_give_up(void **state)
{
    struct fixture fixture;
    (void)state;
    set_up(&fixture);
    claim(&fixture.ones[0]);
    claim(&fixture.ones[1]);
    once_give_up(fixture.once);
    assert_int_equal(fixture.answered, 2);
    assert_int_equal(fixture.ones[0].result, ONCE_UNKNOWN);
    fixture.stop_at = 3;
    claim(&fixture.ones[2]); /* from now on at the end of the turn */
    assert_int_equal(fixture.ones[2].answers, 0);
    io_loop_run(fixture.loop);
    assert_int_equal(fixture.ones[2].result, ONCE_UNKNOWN);
    claim(&fixture.ones[3]);
    tear_down(&fixture); /* answers the last */
    assert_int_equal(fixture.ones[3].answers, 1);
    assert_int_equal(fixture.ones[3].result, ONCE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_redis),
        cmocka_unit_test(test_give_up),
    };
    log_setup("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
