/*
 * The memory of what was published (redis/once.h) against real servers, which meanwhile may hand
 * keys to each other: ids are claimed, told to be stored, and claimed again.
 *
 *   redis_once PORT SECONDS [replica | empty]
 *
 * Asserted is that no answer is lost, that no id that was stored is claimed a second time, and that
 * all servers are there at the end. `replica`: a server dies, and a replica that has all takes
 * over: what is under way then is lost, and what is asked before the replica is there, but nothing
 * any more when it is. `empty`: a server dies and comes back empty: what it had is forgotten, too,
 * but not what others have. The time limits are long: who is slow here is not dead, and it goes on
 * until all are there, enough was done and some rounds have passed since an answer was lost. Exit
 * 0: all held.
 */
#include "base/log.h"
#include "base/mem.h"
#include "redis/once.h"
#include "tests/redis/where.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    SESSIONS = 20,
    KEPT = 2000,
    LEAST = 100, /* ids claimed, and recognised */
    CALM_ROUNDS = 100,
    TIMEOUT_MS = 20000,
    PATIENCE_MS = 60000,
};

enum deaths { DEATHS_NONE, DEATHS_REPLICA, DEATHS_EMPTY };

struct test {
    enum deaths deaths;
    struct io_loop *loop;
    struct redis_once *once;
    struct redis_once_owner owner;
    struct timer tick;
    struct mono_time end;
    bool ending;
    uint64_t next, claims, again, lost, wrong, under_way;
    uint64_t rounds, lost_round; /* of all sessions; the last one in which an answer was lost */
    uint64_t stored[KEPT];       /* ids, to be claimed again; 0: none */
};

struct session {
    struct redis_once_ask ask;
    struct test *test;
    uint64_t id;
    int64_t token;
    bool repeated;
    uint64_t told, told_before; /* ids that it said are stored, in this round and the last one */
};

static struct session sessions[SESSIONS];

static struct slice name(uint64_t id, char out[40])
{
    return slice_of(out, (size_t)snprintf(out, 40, "018f0000-0000-7000-8000-%012" PRIx64, id));
}

static void claim(struct session *session)
{
    struct test *test = session->test;
    char text[40];
    uint64_t *old = &test->stored[(test->next * 7919) % KEPT];
    session->repeated = *old != 0 && test->next % 2 == 0;
    session->id = session->repeated ? *old : test->next;
    session->token = (int64_t)++test->next;
    if (redis_once_way(test->once, name(session->id, text)) == REDIS_ONCE_UP) {
        test->under_way++;
        redis_once_claim(test->once, &session->ask, name(session->id, text), session->token, 1000,
                         0);
    } else if (session->repeated && test->deaths == DEATHS_EMPTY) {
        *old = 0; /* its server forgets it */
    }
}

/* At the end of a round: what was told in the one before is there if nothing was lost in either, as
 * it went before what has been answered now. */
static void end_round(struct test *test)
{
    for (size_t i = 0; i < SESSIONS; i++) {
        struct session *session = &sessions[i];
        if (session->told_before != 0 && test->lost_round + 1 < test->rounds) {
            test->stored[session->told_before % KEPT] = session->told_before;
        }
        session->told_before = session->told;
        session->told = 0;
    }
    test->rounds++;
}

static void tell(struct session *session)
{
    struct test *test = session->test;
    char text[40];
    if (redis_once_way(test->once, name(session->id, text)) == REDIS_ONCE_UP) {
        redis_once_done(test->once, name(session->id, text), session->token, 1,
                        (int64_t)session->id);
        session->told = session->id;
    }
}

static void on_answer(struct redis_once_ask *ask, const struct redis_once_answer *answer)
{
    struct session *session = CONTAINER_OF(ask, struct session, ask);
    struct test *test = session->test;
    test->under_way--;
    switch (answer->state) {
    case REDIS_ONCE_LOST:
        test->lost += test->ending ? 0 : 1;
        test->lost_round = test->ending ? test->lost_round : test->rounds;
        break;
    case REDIS_ONCE_CLAIMED:
        test->claims++;
        test->wrong += session->repeated ? 1 : 0;
        tell(session);
        break;
    case REDIS_ONCE_STORED:
        test->again++;
        test->wrong += session->repeated && answer->offset == (int64_t)session->id ? 0 : 1;
        break;
    case REDIS_ONCE_PENDING: break;
    }
}

static uint64_t calm_rounds(const struct test *test)
{
    return test->rounds - test->lost_round;
}

static bool did_enough(const struct test *test)
{
    return test->claims > LEAST && test->again > LEAST;
}

/* On a busy machine servers come late, and come back late. */
static bool is_over(const struct test *test, struct mono_time now)
{
    bool settled = redis_once_is_up(test->once) && did_enough(test) &&
                   (test->lost == 0 || calm_rounds(test) > CALM_ROUNDS);
    return !mono_before(now, settled ? test->end : mono_add_ms(test->end, PATIENCE_MS));
}

static void on_tick(struct timer *timer, struct mono_time now)
{
    struct test *test = CONTAINER_OF(timer, struct test, tick);
    if (is_over(test, now)) {
        io_loop_stop(test->loop);
        return;
    }
    if (test->under_way == 0) {
        end_round(test);
        for (size_t i = 0; i < SESSIONS; i++) {
            claim(&sessions[i]);
        }
    }
    wheel_set(io_loop_wheel(test->loop), timer, mono_add_ms(now, 2), on_tick);
}

static void on_changed(struct redis_once_owner *owner)
{
    (void)owner;
}

static bool read_deaths(const char *text, enum deaths *deaths)
{
    static const char *const names[] = {[DEATHS_REPLICA] = "replica", [DEATHS_EMPTY] = "empty"};
    *deaths = DEATHS_NONE;
    for (size_t i = 1; text != NULL && i < ARRAY_LEN(names); i++) {
        *deaths = strcmp(text, names[i]) == 0 ? (enum deaths)i : *deaths;
    }
    return text == NULL || *deaths != DEATHS_NONE;
}

/* Says what there was. */
static bool all_held(const struct test *test, bool up)
{
    uint64_t calm = calm_rounds(test);
    printf("once claimed=%" PRIu64 " recognised=%" PRIu64 " lost=%" PRIu64 " forgotten=%" PRIu64
           " rounds=%" PRIu64 " since_lost=%" PRIu64 "\n",
           test->claims, test->again, test->lost, test->wrong, test->rounds, calm);
    bool kept = test->lost == 0 || (test->deaths != DEATHS_NONE && calm > CALM_ROUNDS);
    bool good = up && kept && test->wrong == 0 && did_enough(test);
    if (!good) {
        printf("FAILED: lost or forgotten what may not be, or nothing done%s\n",
               up ? "" : "; not all is up");
    }
    return good;
}

int main(int argc, char **argv)
{
    static struct test test;
    struct redis_options options;
    struct fault fault;
    uint64_t port = 0, seconds = 0;
    log_setup("redis_once", LOG_LEVEL_ERROR);
    if (argc < 3 || !slice_to_u64(slice_cstr(argv[1]), &port) ||
        !slice_to_u64(slice_cstr(argv[2]), &seconds) ||
        !read_deaths(argc > 3 ? argv[3] : NULL, &test.deaths)) {
        (void)fprintf(stderr, "usage: redis_once PORT SECONDS [replica | empty]\n");
        return 2;
    }
    where(&options, (uint16_t)port);
    options.connect_timeout_ms = options.command_timeout_ms = TIMEOUT_MS;
    test.next = 1;
    test.owner.changed = on_changed;
    test.loop = io_loop_create(&fault);
    test.once = redis_once_create(test.loop, &options, &test.owner, &fault);
    CHECK(test.once != NULL);
    for (size_t i = 0; i < SESSIONS; i++) {
        sessions[i] = (struct session){.ask.answered = on_answer, .test = &test};
    }
    test.end = mono_add_ms(mono_now(), (int64_t)seconds * 1000);
    wheel_set(io_loop_wheel(test.loop), &test.tick, mono_now(), on_tick);
    io_loop_run(test.loop);
    bool up = redis_once_is_up(test.once);
    test.ending = true;
    wheel_cancel(io_loop_wheel(test.loop), &test.tick);
    redis_once_free(&test.once);
    io_loop_free(&test.loop);
    return all_held(&test, up) ? 0 : 1;
}
