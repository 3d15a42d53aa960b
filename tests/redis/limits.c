/*
 * Several limiters, each on its own thread and loop, at one key of a real Redis; what they grant is
 * written down with its time and judged when all is over. Who starts it (tests/redis/run) may
 * meanwhile stop, kill or empty that Redis.
 *
 *   redis_limits PORT rate  key=K amount=N interval=MS burst=N threads=N seconds=N waiters=N [n=N]
 * [second=N] redis_limits PORT slots key=K amount=N threads=N seconds=N waiters=N [hold=MS]
 *   redis_limits PORT bench     ns per grant from a lease in hand
 *   redis_limits PORT server key=K    which of REDIS_NODES has the limit, from 0
 *
 * Rates: asserted is that no sliding interval saw more than the amount. How many a tenth of it saw
 * is printed, and the use. least=PERCENT: the run goes on after its seconds, for up to a minute,
 * until three seconds (or eight steps) have seen that use, as busy machines take their time to be
 * well again. second=N: every take needs a token of another limit as well. Slots: asserted is that
 * never more than amount were held; least=N: and that so many were taken, for which it goes on as
 * long. late=S: slots are kept for as long as the limiter leaves them,
 * looked at every `hold` ms; the first thread wants them from the start to the end, the others from
 * second `late` to second `leave`. Asserted is that just before `leave` all have the same (or one
 * more), and at the end the first has all (redis_limit_is_wanted tells it of both); with fewer
 * slots than threads, that each one had some in its turn. pause=S: after a second nobody wants any
 * for so long. out=1: Redis lets nobody in, which is asserted. Exit 0: all held.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "redis/limiter.h"
#include "tests/redis/grants.h"
#include "tests/redis/where.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum {
    MAX_THREADS = 16,
    MAX_GRANTS = 4000000,
    STRETCH_MS = 3000,
    STRETCH_STEPS = 8,
    MORE_MS = 60000, /* at most, until the use is as asked for */
};

static struct {
    uint16_t port;
    bool slots;
    const char *key;
    uint64_t amount, interval_ms, burst, threads, seconds, waiters, hold_ms, least, n, second, late,
        pause, leave, out;
} plan = {.key = "test",
          .amount = 1000,
          .interval_ms = 1000,
          .threads = 4,
          .seconds = 5,
          .waiters = 20,
          .hold_ms = 100,
          .n = 1};

static struct grant *grants;
static atomic_size_t grant_count;
static atomic_long slots_in_use, slots_most;
static atomic_int threads_up; /* have been up once */
static _Atomic int64_t all_up_us;
static atomic_bool over;
static bool fell_short; /* of the use asked for; the first thread's, until all is over */
static atomic_uint_fast64_t calls;

struct worker {
    uint32_t id;
    pthread_t thread;
    struct io_loop *loop;
    struct redis_limiter *limiter;
    struct limit *limits[2]; /* the one that is judged, and perhaps another one */
    struct limit_want wants[2];
    size_t limit_count;
    struct timer tick;
    struct mono_time end;
    struct mono_time stretch; /* the first thread's: began, with so many granted till then */
    size_t granted_before;
    enum redis_state state;
    struct mono_time start;
    bool was_up, ending, left, resumed;
    bool wanted_at_leave, wanted_at_end;  /* others wait for some, as far as it knows */
    long in_use, at_leave, at_end, turns; /* turns: from having none to having one */
    struct session *sessions;
};

struct session {
    struct worker *worker;
    struct limit_waiter waiter;
    struct timer timer;
    bool holds;
};

static void work(struct session *session);

static void note_grant(const struct worker *worker, struct mono_time before)
{
    size_t at = atomic_fetch_add(&grant_count, 1);
    CHECK(at < MAX_GRANTS);
    grants[at] = (struct grant){before.us, mono_now().us, (uint32_t)plan.n, worker->id};
}

static bool fair(void)
{
    return plan.leave > 0;
}

/* From the first second on, for `pause` seconds. */
static bool pauses(int64_t age_ms)
{
    return age_ms >= 1000 && age_ms < 1000 + (int64_t)plan.pause * 1000;
}

static bool wants(const struct worker *worker)
{
    int64_t age_ms = mono_since_us(mono_now(), worker->start) / 1000;
    return !worker->ending && !pauses(age_ms) &&
           (!fair() || worker->id == 0 || (age_ms >= (int64_t)plan.late * 1000 && !worker->left));
}

static void on_hold_over(struct timer *timer, struct mono_time now)
{
    struct session *session = CONTAINER_OF(timer, struct session, timer);
    struct worker *worker = session->worker;
    if (fair() && wants(worker) && !redis_limit_surplus(worker->limits[0])) {
        wheel_set(io_loop_wheel(worker->loop), timer, mono_add_ms(now, (int64_t)plan.hold_ms),
                  on_hold_over);
        return;
    }
    session->holds = false;
    worker->in_use--;
    atomic_fetch_sub(&slots_in_use, 1);
    redis_limits_leave(worker->limiter, worker->limits, worker->limit_count);
    redis_limits_left(worker->limiter, worker->limits, worker->limit_count);
    if (wants(worker)) {
        work(session);
    }
}

static void on_slot(struct session *session, struct mono_time before)
{
    long now_used = atomic_fetch_add(&slots_in_use, 1) + 1;
    long most = atomic_load(&slots_most);
    while (now_used > most && !atomic_compare_exchange_weak(&slots_most, &most, now_used)) {
    }
    session->holds = true;
    session->worker->turns += session->worker->in_use++ == 0 ? 1 : 0;
    note_grant(session->worker, before);
    wheel_set(io_loop_wheel(session->worker->loop), &session->timer,
              mono_add_ms(mono_now(), 1 + random_below((uint32_t)plan.hold_ms * 2)), on_hold_over);
}

static void work(struct session *session)
{
    struct worker *worker = session->worker;
    struct mono_time before = mono_now();
    while (
        redis_limits_take(worker->limiter, worker->wants, worker->limit_count, &session->waiter)) {
        if (plan.slots) {
            on_slot(session, before);
            return;
        }
        note_grant(worker, before);
        before = mono_now();
    }
}

static void on_ready(struct limit_waiter *waiter)
{
    work(CONTAINER_OF(waiter, struct session, waiter));
}

/* The others begin to want slots, or do so no more. */
static void look_at_plan(struct worker *worker, struct mono_time now)
{
    int64_t age_ms = mono_since_us(now, worker->start) / 1000;
    bool leaves = !worker->left && age_ms >= (int64_t)plan.leave * 1000;
    if (leaves) {
        worker->at_leave = worker->in_use;
        worker->wanted_at_leave = redis_limit_is_wanted(worker->limits[0]);
        worker->left = true;
    }
    for (size_t i = 0; i < plan.waiters && worker->id > 0; i++) {
        struct session *session = &worker->sessions[i];
        if (leaves) {
            redis_limit_wait_cancel(worker->limiter, &session->waiter);
        } else if (wants(worker) && !session->holds && !list_linked(&session->waiter.node)) {
            work(session);
        }
    }
}

static void stop_worker(struct worker *worker)
{
    worker->ending = true;
    worker->at_end = worker->in_use;
    worker->wanted_at_end = redis_limit_is_wanted(worker->limits[0]);
    for (size_t i = 0; i < plan.waiters; i++) {
        struct session *session = &worker->sessions[i];
        redis_limit_wait_cancel(worker->limiter, &session->waiter);
        wheel_cancel(io_loop_wheel(worker->loop), &session->timer);
        if (session->holds) {
            on_hold_over(&session->timer, mono_now());
        }
    }
    for (size_t i = 0; i < worker->limit_count; i++) {
        redis_limit_put(&worker->limits[i]);
    }
    io_loop_stop(worker->loop);
}

static double step_us(void)
{
    return (double)plan.interval_ms * 1000 / (double)plan.amount;
}

static int64_t stretch_us(void)
{
    return (int64_t)fmax(STRETCH_MS * 1000.0, STRETCH_STEPS * step_us());
}

/* Whether a stretch ends now that has seen the use asked for. The first ends when the run is as
 * long as planned. */
static bool used_enough(struct worker *worker, struct mono_time now)
{
    size_t granted = atomic_load(&grant_count);
    int64_t passed_us = mono_since_us(now, worker->stretch);
    bool early = mono_since_us(worker->end, now) > stretch_us();
    if (!early && passed_us < stretch_us()) {
        return false;
    }
    double used_us = (double)((granted - worker->granted_before) * plan.n) * step_us();
    worker->stretch = now;
    worker->granted_before = granted;
    return !early && used_us * 100 >= (double)passed_us * (double)plan.least;
}

static bool took_enough(const struct worker *worker, struct mono_time now)
{
    return !mono_before(now, worker->end) && atomic_load(&grant_count) >= plan.least;
}

/* The first thread says when all is over. */
static void look_at_end(struct worker *worker, struct mono_time now)
{
    bool asked = plan.least > 0;
    bool enough = asked && (plan.slots ? took_enough(worker, now) : used_enough(worker, now));
    struct mono_time latest = asked ? mono_add_ms(worker->end, MORE_MS) : worker->end;
    if (enough || !mono_before(now, latest)) {
        fell_short = asked && !enough;
        worker->end = now;
        atomic_store(&over, true);
    }
}

static void on_tick(struct timer *timer, struct mono_time now)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, tick);
    enum redis_state state = redis_limiter_state(worker->limiter);
    if (state != worker->state) {
        static const char *const names[] = {"connecting", "up", "learning", "down"};
        if (worker->id == 0 || state == REDIS_DOWN) {
            (void)fprintf(stderr, "  %.1f s: %s (thread %u)\n",
                          (double)mono_since_us(now, worker->start) / 1e6, names[state],
                          worker->id);
        }
        worker->state = state;
    }
    if (state == REDIS_UP && !worker->was_up) {
        worker->was_up = true;
        if (atomic_fetch_add(&threads_up, 1) + 1 == (int)plan.threads) {
            atomic_store(&all_up_us, now.us);
        }
    }
    if (fair()) {
        look_at_plan(worker, now);
    }
    if (plan.pause > 0 && !worker->resumed &&
        mono_since_us(now, worker->start) >= (int64_t)(plan.pause + 1) * 1000000) {
        worker->resumed = true;
        for (size_t i = 0; i < plan.waiters; i++) {
            struct session *session = &worker->sessions[i];
            if (!session->holds && !list_linked(&session->waiter.node)) {
                work(session);
            }
        }
    }
    if (worker->id == 0) {
        look_at_end(worker, now);
    }
    if (atomic_load(&over)) {
        stop_worker(worker);
        return;
    }
    wheel_set(io_loop_wheel(worker->loop), timer, mono_add_ms(now, 20), on_tick);
}

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    struct redis_options options;
    struct fault fault;
    char holder[64];
    worker->loop = io_loop_create(&fault);
    CHECK(worker->loop != NULL);
    where(&options, plan.port);
    (void)snprintf(holder, sizeof(holder), "%d-%u", (int)getpid(), worker->id);
    worker->limiter = redis_limiter_create(worker->loop, &options, holder, &fault);
    CHECK(worker->limiter != NULL);
    redis_limiter_set_holders(worker->limiter, (unsigned)plan.threads);
    struct limit_rule rule = {plan.slots ? LIMIT_SLOTS : LIMIT_RATE, plan.amount,
                              (int64_t)plan.interval_ms, plan.burst};
    worker->limits[worker->limit_count++] =
        redis_limit_get(worker->limiter, slice_cstr(plan.key), &rule);
    if (plan.second > 0) {
        rule.amount = plan.second;
        worker->limits[worker->limit_count++] =
            redis_limit_get(worker->limiter, SLICE("second"), &rule);
    }
    for (size_t i = 0; i < worker->limit_count; i++) {
        worker->wants[i] = (struct limit_want){.limit = worker->limits[i], .n = plan.n};
    }
    worker->sessions = mem_calloc(plan.waiters, sizeof(*worker->sessions));
    worker->start = worker->stretch = mono_now();
    worker->end = mono_add_ms(worker->start, (int64_t)plan.seconds * 1000);
    for (size_t i = 0; i < plan.waiters; i++) {
        worker->sessions[i].worker = worker;
        worker->sessions[i].waiter.ready = on_ready;
        if (wants(worker)) {
            work(&worker->sessions[i]);
        }
    }
    wheel_set(io_loop_wheel(worker->loop), &worker->tick, mono_now(), on_tick);
    io_loop_run(worker->loop);
    atomic_fetch_add(&calls, redis_limiter_calls(worker->limiter));
    redis_limiter_free(&worker->limiter);
    io_loop_free(&worker->loop);
    mem_free(worker->sessions);
    return NULL;
}

/* ---- judging ---- */

static int judge_rate(int64_t end_us)
{
    size_t count = atomic_load(&grant_count);
    size_t last, last_tenth;
    grants_sort(grants, count);
    uint64_t most = grants_most(grants, count, (int64_t)plan.interval_ms * 1000, &last);
    uint64_t tenth = grants_most(grants, count, (int64_t)plan.interval_ms * 100, &last_tenth);
    int64_t up_us = atomic_load(&all_up_us);
    int64_t from_us = up_us == 0 ? end_us : up_us + 1000000;
    double due = (double)(end_us - from_us) / step_us();
    double use =
        due <= 0 ? 0 : 100.0 * (double)grants_between(grants, count, from_us, end_us) / due;
    printf("rate amount=%llu/%llums threads=%llu grants=%zu use=%.1f%% most_in_interval=%llu "
           "most_in_tenth=%llu calls_per_s=%.1f\n",
           (unsigned long long)plan.amount, (unsigned long long)plan.interval_ms,
           (unsigned long long)plan.threads, count, use, (unsigned long long)most,
           (unsigned long long)tenth, (double)atomic_load(&calls) / (double)plan.seconds);
    bool good = most <= plan.amount;
    if (!good) {
        printf("FAILED: above the limit\n");
        grants_tell(grants, last, (int64_t)plan.interval_ms * 1000);
    }
    if (fell_short) {
        printf("FAILED: use below %llu %% for a minute\n", (unsigned long long)plan.least);
        good = false;
    }
    if (!good || getenv("REDIS_SECONDS") != NULL) {
        for (int64_t t = grants[0].us; count > 0 && t < end_us; t += 1000000) {
            printf("  %llu", (unsigned long long)grants_between(grants, count, t, t + 1000000));
        }
        printf("\n");
    }
    return good ? 0 : 1;
}

static int judge_slots(void)
{
    long most = atomic_load(&slots_most);
    size_t count = atomic_load(&grant_count);
    printf("slots amount=%llu threads=%llu taken=%zu most=%ld calls=%llu",
           (unsigned long long)plan.amount, (unsigned long long)plan.threads, count, most,
           (unsigned long long)atomic_load(&calls));
    if (count > 0) {
        printf(" first_after=%.1fs", (double)(grants[0].us - atomic_load(&all_up_us)) / 1e6);
    }
    printf("\n");
    if (most > (long)plan.amount || fell_short) {
        printf("FAILED: at most %llu at once, at least %llu taken\n",
               (unsigned long long)plan.amount, (unsigned long long)plan.least);
        return 1;
    }
    return 0;
}

static int judge_fairness(const struct worker *workers)
{
    long most = (long)plan.amount, count = (long)plan.threads;
    bool good = true;
    for (long i = 0; i < count; i++) {
        const struct worker *worker = &workers[i];
        printf("  thread %ld: %ld before the others left, %ld at the end, %ld turns\n", i,
               worker->at_leave, worker->at_end, worker->turns);
        if (most < count) {
            good = good && worker->turns >= 2;
        } else {
            good = good && worker->at_leave >= most / count &&
                   worker->at_leave <= (most + count - 1) / count && worker->turns == 1;
        }
    }
    if (most >= count) {
        /* And no slot wanders to and fro; the first knew that the others waited, and that they
         * left. */
        good = good && workers[0].at_end == most && atomic_load(&grant_count) <= 3 * plan.amount &&
               workers[0].wanted_at_leave && !workers[0].wanted_at_end;
    }
    if (!good) {
        printf("FAILED: not shared fairly\n");
    }
    return good ? 0 : 1;
}

/* ---- cost of a grant from a lease in hand ---- */

struct bench {
    struct io_loop *loop;
    struct redis_limiter *limiter;
    struct limit *limit;
    struct limit_waiter waiter;
    uint64_t grants;
    int64_t spent_us;
    unsigned rounds;
};

static void on_bench(struct limit_waiter *waiter)
{
    struct bench *bench = CONTAINER_OF(waiter, struct bench, waiter);
    const struct limit_want want = {.limit = bench->limit, .n = 1};
    if (redis_limiter_state(bench->limiter) == REDIS_UP) {
        struct mono_time start = mono_now();
        uint64_t taken = 0;
        while (taken < 20000 && redis_limits_take(bench->limiter, &want, 1, waiter)) {
            taken++;
        }
        bench->spent_us += mono_since_us(mono_now(), start);
        bench->grants += taken;
        bench->rounds++;
    }
    if (bench->rounds >= 2000) {
        redis_limit_wait_cancel(bench->limiter, waiter);
        redis_limit_put(&bench->limit);
        io_loop_stop(bench->loop);
    } else if (!list_linked(&waiter->node)) {
        while (redis_limits_take(bench->limiter, &want, 1, waiter)) {
        }
    }
}

static int run_bench(void)
{
    struct bench bench = {.waiter.ready = on_bench};
    struct redis_options options;
    struct fault fault;
    struct limit_rule rule = {LIMIT_RATE, 2000000, 1000, 0};
    bench.loop = io_loop_create(&fault);
    where(&options, plan.port);
    bench.limiter = redis_limiter_create(bench.loop, &options, "bench", &fault);
    CHECK(bench.limiter != NULL);
    bench.limit = redis_limit_get(bench.limiter, SLICE("bench"), &rule);
    on_bench(&bench.waiter);
    io_loop_run(bench.loop);
    printf("bench grants=%llu ns_per_grant=%.0f calls=%llu\n", (unsigned long long)bench.grants,
           (double)bench.spent_us * 1000 / (double)bench.grants,
           (unsigned long long)redis_limiter_calls(bench.limiter));
    redis_limiter_free(&bench.limiter);
    io_loop_free(&bench.loop);
    return 0;
}

static bool set_option(struct slice name, struct slice value)
{
    static const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {{"amount", &plan.amount},
                   {"interval", &plan.interval_ms},
                   {"burst", &plan.burst},
                   {"threads", &plan.threads},
                   {"seconds", &plan.seconds},
                   {"waiters", &plan.waiters},
                   {"hold", &plan.hold_ms},
                   {"least", &plan.least},
                   {"n", &plan.n},
                   {"second", &plan.second},
                   {"late", &plan.late},
                   {"pause", &plan.pause},
                   {"leave", &plan.leave},
                   {"out", &plan.out}};
    if (slice_eq(name, SLICE("key"))) {
        plan.key = value.ptr;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (slice_eq(name, slice_cstr(numbers[i].name))) {
            return slice_to_u64(value, numbers[i].value);
        }
    }
    return false;
}

static int run_threads(void)
{
    static struct worker workers[MAX_THREADS];
    struct redis_options options;
    grants = mem_calloc(MAX_GRANTS, sizeof(*grants));
    where(&options, plan.port);
    for (uint32_t i = 0; i < plan.threads; i++) {
        workers[i].id = i;
        CHECK(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) == 0);
    }
    for (uint32_t i = 0; i < plan.threads; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
    }
    int result = plan.slots ? judge_slots() : judge_rate(workers[0].end.us);
    if (fair()) {
        result |= judge_fairness(workers);
    }
    if (plan.out > 0 && (atomic_load(&threads_up) > 0 || atomic_load(&calls) > 0)) {
        printf("FAILED: %d were let in\n", atomic_load(&threads_up));
        result = 1;
    }
    mem_free(grants);
    return result;
}

int main(int argc, char **argv)
{
    uint64_t port = 0;
    log_setup("redis_limits", getenv("REDIS_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    if (argc < 3 || !slice_to_u64(slice_cstr(argv[1]), &port)) {
        (void)fprintf(stderr, "usage: redis_limits PORT rate|slots|bench [name=value…]\n");
        return 2;
    }
    plan.port = (uint16_t)port;
    plan.slots = slice_eq(slice_cstr(argv[2]), SLICE("slots"));
    for (int i = 3; i < argc; i++) {
        struct slice value = slice_cstr(argv[i]);
        struct slice name = slice_cut(&value, '=');
        if (!set_option(name, value) || plan.threads == 0 || plan.threads > MAX_THREADS) {
            (void)fprintf(stderr, "redis_limits: what is %s?\n", argv[i]);
            return 2;
        }
    }
    if (slice_eq(slice_cstr(argv[2]), SLICE("server"))) {
        struct redis_options options;
        where(&options, plan.port);
        printf("%llu\n", (unsigned long long)(hash_stable(slice_cstr(plan.key)) %
                                              (options.node_count == 0 ? 1 : options.node_count)));
        return 0;
    }
    return slice_eq(slice_cstr(argv[2]), SLICE("bench")) ? run_bench() : run_threads();
}
