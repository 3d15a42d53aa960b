/*
 * The lease logic against a simulated Redis (a token sequence and a clock of its own), over links
 * that delay and lose replies, with clocks that drift and jump and holders that stall. Judged from
 * outside, by the true times of use: in no window more than its length brings plus the burst. The
 * seed is printed; SLUICE_SEED repeats a run.
 */
#include "redis/lease.h"

#include "base/mem.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- repeatable random numbers (splitmix64) ---- */

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int64_t between(int64_t least, int64_t most)
{
    return least + (int64_t)(next_random() % (uint64_t)(most - least + 1));
}

/* ---- Redis, as limiter.lua does it ---- */

#define AHEAD_US 1000000

struct model_redis {
    bool has_key;
    double tat;
    int64_t offset_us; /* its clock - true time */
};

static int64_t redis_now(const struct model_redis *redis, int64_t true_us)
{
    return true_us + redis->offset_us;
}

static int64_t ceil_of(double value)
{
    int64_t whole = (int64_t)value;
    return (double)whole < value ? whole + 1 : whole;
}

static uint32_t redis_grant(struct model_redis *redis, const struct lease_pace *pace, int64_t now,
                            uint32_t want, int64_t *first_us, int64_t *length_us)
{
    double tat = redis->has_key ? redis->tat : (double)now;
    double oldest = (double)(now - pace->slack_us);
    tat = tat < oldest ? oldest : tat;
    double furthest = (double)now + AHEAD_US;
    double most = furthest + (double)pace->slack_us + 500000 + 2 * pace->step_us;
    tat = tat > most ? most : tat;
    redis->has_key = true;
    redis->tat = tat;
    if (tat > furthest) {
        return 0;
    }
    uint32_t room = (uint32_t)((furthest - tat) / pace->step_us) + 1;
    uint32_t granted = want < room ? want : room;
    *first_us = ceil_of(tat);
    *length_us = ceil_of((double)granted * pace->step_us);
    redis->tat = (double)(*first_us + *length_us);
    return granted;
}

/* ---- one holder ---- */

enum { HOLDERS_MAX = 6, USES_MAX = 200000 };

struct holder {
    struct lease lease;
    struct lease_clock clock;
    int64_t skew_us; /* its monotonic clock - true time */
    int64_t stalled_until;
    bool under_way, answered, lost;
    uint32_t want;
    int64_t reaches_us, way_back_us, arrives_us, sent_us, redis_us, first_us, length_us;
    uint32_t granted;
};

struct world {
    struct lease_pace pace;
    double step_us; /* of the rule */
    double burst;
    struct model_redis redis;
    struct holder holders[HOLDERS_MAX];
    unsigned holder_count;
    int64_t *uses;
    size_t use_count;
    int64_t now; /* true time */
    bool bad_link;
};

static struct mono_time holder_now(const struct world *world, const struct holder *holder)
{
    return (struct mono_time){world->now + holder->skew_us};
}

static void holder_ask(struct world *world, struct holder *holder)
{
    int64_t longest = world->bad_link ? 30000 : 500;
    holder->under_way = true;
    holder->answered = false;
    holder->sent_us = holder_now(world, holder).us;
    holder->want = (uint32_t)between(1, world->pace.largest);
    holder->reaches_us = world->now + between(50, longest);
    holder->way_back_us = between(50, longest);
    holder->lost = world->bad_link && between(0, 9) == 0;
    if (world->bad_link && between(0, 9) == 0) {
        holder->way_back_us += between(0, 3000000); /* very late */
    }
}

/* The request reaches Redis; what a lost reply granted is gone. */
static void redis_step(struct world *world, struct holder *holder)
{
    if (!holder->under_way || holder->answered || world->now < holder->reaches_us) {
        return;
    }
    holder->answered = true;
    holder->redis_us = redis_now(&world->redis, world->now);
    holder->granted = redis_grant(&world->redis, &world->pace, holder->redis_us, holder->want,
                                  &holder->first_us, &holder->length_us);
    holder->granted = holder->lost ? 0 : holder->granted;
    holder->arrives_us = world->now + holder->way_back_us;
}

static void holder_step(struct world *world, struct holder *holder)
{
    struct mono_time now = holder_now(world, holder);
    if (world->now < holder->stalled_until) {
        return;
    }
    if (holder->under_way && holder->answered && world->now >= holder->arrives_us) {
        holder->under_way = false;
        if (holder->granted > 0) {
            (void)lease_clock_learn(&holder->clock, (struct mono_time){holder->sent_us}, now,
                                    holder->redis_us);
            (void)lease_add(&holder->lease, &world->pace, &holder->clock, holder->granted,
                            holder->first_us, holder->length_us);
        }
    }
    while (world->use_count < USES_MAX && lease_take(&holder->lease, &world->pace, now, 1)) {
        world->uses[world->use_count++] = world->now;
    }
    if (!holder->under_way && lease_left(&holder->lease, now) * 2 <= world->pace.largest) {
        holder_ask(world, holder);
    }
    if (between(0, 5000) == 0) {
        holder->stalled_until = world->now + between(0, 3000000);
    }
}

/* How far the fullest window is above length / step + burst. */
static double excess_of(const struct world *world)
{
    double least = 1e300, worst = -1e300;
    for (size_t i = 0; i < world->use_count; i++) {
        double over = (double)i - (double)(world->uses[i] - world->uses[0]) / world->step_us;
        least = over < least ? over : least;
        worst = over - least + 1 - world->burst > worst ? over - least + 1 - world->burst : worst;
    }
    return worst;
}

static uint64_t most_in(const struct world *world, int64_t window_us)
{
    uint64_t most = 0;
    for (size_t from = 0, to = 0; to < world->use_count; to++) {
        while (world->uses[to] - world->uses[from] >= window_us) {
            from++;
        }
        most = to - from + 1 > most ? to - from + 1 : most;
    }
    return most;
}

struct scenario {
    uint64_t amount;
    int64_t interval_ms;
    uint64_t burst;
    unsigned holders;
    bool bad_link, clock_back;
    int64_t true_us; /* length */
};

static void run_scenario(const struct scenario *scenario, double use_least)
{
    struct world world = {
        .holder_count = scenario->holders, .bad_link = scenario->bad_link, .now = 1000000000};
    lease_pace_set(&world.pace, scenario->amount, scenario->interval_ms, scenario->burst,
                   scenario->holders);
    world.step_us = (double)scenario->interval_ms * 1000 / (double)scenario->amount;
    world.burst = scenario->burst > 0       ? (double)scenario->burst
                  : 1e6 / world.step_us > 1 ? 1e6 / world.step_us
                                            : 1;
    world.uses = mem_calloc(USES_MAX, sizeof(*world.uses));
    world.redis.offset_us = between(-5000000000, 1700000000000000);
    for (unsigned i = 0; i < world.holder_count; i++) {
        world.holders[i].skew_us = between(0, 100000000);
    }
    int64_t end = world.now + scenario->true_us;
    int64_t begin = world.now;
    unsigned count = world.holder_count;
    CHECK(count > 0);
    while (world.now < end) {
        world.now += between(100, 2000);
        for (unsigned i = 0; i < world.holder_count; i++) {
            redis_step(&world, &world.holders[i]);
        }
        holder_step(&world, &world.holders[next_random() % count]);
        if (scenario->clock_back && between(0, 3000) == 0) {
            world.redis.offset_us -= between(0, 20000000);
        }
    }
    assert_true(world.use_count < USES_MAX);
    double tolerance = (double)world.pace.linger_us / world.step_us - (world.burst - 1) + 1e-6;
    double excess = excess_of(&world);
    uint64_t most = most_in(&world, scenario->interval_ms * 1000);
    double use = (double)world.use_count * world.step_us / (double)(end - begin);
    if (excess > tolerance || (double)most > (double)scenario->amount + world.burst - 1 + 1e-6 ||
        use < use_least) {
        fail_msg("amount=%llu/%lld burst=%.0f holders=%u bad=%d back=%d: excess %.3f (%.3f), most "
                 "%llu, use %.3f",
                 (unsigned long long)scenario->amount, (long long)scenario->interval_ms,
                 world.burst, scenario->holders, scenario->bad_link, scenario->clock_back, excess,
                 tolerance, (unsigned long long)most, use);
    }
    mem_free(world.uses);
}

static void seed_run(void)
{
    const char *given = getenv("SLUICE_SEED");
    uint64_t seed = 0;
    if (given == NULL || !slice_to_u64(slice_cstr(given), &seed)) {
        seed = random_u64() >> 1;
    }
    random_state = seed;
    print_message("SLUICE_SEED=%llu\n", (unsigned long long)seed);
}

static void test_never_above_the_limit(void **state)
{
    static const struct {
        uint64_t amount;
        int64_t interval_ms;
    } rules[] = {{1000, 1000}, {100, 1000}, {7, 1000}, {30, 60000}, {1, 2000}, {300, 60000}};
    (void)state;
    seed_run();
    for (int round = 0; round < 120; round++) {
        size_t rule = (size_t)next_random() % ARRAY_LEN(rules);
        struct scenario scenario = {.amount = rules[rule].amount,
                                    .interval_ms = rules[rule].interval_ms,
                                    .burst = between(0, 2) == 0 ? 0 : (uint64_t)between(1, 20),
                                    .holders = (unsigned)between(1, HOLDERS_MAX),
                                    .bad_link = between(0, 1) == 0,
                                    .clock_back = between(0, 1) == 0,
                                    .true_us = between(2, 40) * 1000000};
        run_scenario(&scenario, 0);
    }
}

/* Stalled holders lose what lapses, but in the main the rate is used. */
static void test_rate_is_used(void **state)
{
    (void)state;
    seed_run();
    struct scenario plain = {
        .amount = 1000, .interval_ms = 1000, .holders = 1, .true_us = 60000000};
    random_state = 1; /* the model's stalls are part of the figure: always the same ones */
    run_scenario(&plain, 0.80);
}

/* ---- examples ---- */

static const struct lease_clock same_clock = {true, 0, 0, {0}};

static void test_tokens_come_and_lapse(void **state)
{
    struct lease_pace pace;
    struct lease lease = {0};
    (void)state;
    lease_pace_set(&pace, 10, 1000, 3, 1); /* 100 ms apart, linger 200 ms */
    assert_int_equal(pace.linger_us, 200000);
    assert_true(lease_add(&lease, &pace, &same_clock, 5, 1000000, 500000));
    assert_false(lease_take(&lease, &pace, (struct mono_time){999999}, 1));
    assert_true(lease_take(&lease, &pace, (struct mono_time){1000000}, 1));
    assert_false(lease_take(&lease, &pace, (struct mono_time){1099999}, 1));
    assert_int_equal(lease_when(&lease, (struct mono_time){1000000}, 1).us, 1100000);
    assert_int_equal(lease_when(&lease, (struct mono_time){1000000}, 4).us, 1400000);
    assert_int_equal(lease_when(&lease, (struct mono_time){1000000}, 5).us, INT64_MAX);
    assert_int_equal(lease_ready(&lease, (struct mono_time){1300000}), 3);
    assert_int_equal(lease_ready(&lease, (struct mono_time){1300001}), 2);
    assert_int_equal(lease_left(&lease, (struct mono_time){1300001}), 3);
    assert_int_equal(lease_ready(&lease, (struct mono_time){1600001}), 0);
    assert_int_equal(lease.count, 0);
}

static void test_small_burst_stretches_the_step(void **state)
{
    struct lease_pace pace;
    (void)state;
    lease_pace_set(&pace, 1000, 1000, 1, 1);
    assert_int_equal(pace.linger_us, 10000);
    assert_true(pace.step_us > 1009.9 && pace.step_us < 1010.1);
    assert_int_equal(pace.slack_us, 0);
    lease_pace_set(&pace, 1, 60000, 0, 8);
    assert_int_equal(pace.linger_us, 500000);
    assert_int_equal(pace.largest, 1);
    lease_pace_set(&pace, 0, 1000, 0, 1);
    assert_true(pace.step_us > 1e14);
}

static void test_more_than_the_burst_becomes_debt(void **state)
{
    struct lease_pace pace;
    struct lease lease = {0};
    (void)state;
    lease_pace_set(&pace, 10, 1000, 1, 1);
    assert_true(lease_add(&lease, &pace, &same_clock, 8, 0, 800000));
    assert_true(lease_take(&lease, &pace, (struct mono_time){0}, 4));
    assert_int_equal(lease.debt, 3);
    assert_false(lease_take(&lease, &pace, (struct mono_time){100000}, 1));
    assert_false(lease_take(&lease, &pace, (struct mono_time){200000}, 1));
    assert_false(lease_take(&lease, &pace, (struct mono_time){300000}, 1));
    assert_int_equal(lease.debt, 0);
    assert_true(lease_take(&lease, &pace, (struct mono_time){400000}, 1));
}

static void test_tail_goes_back_and_untake(void **state)
{
    struct lease_pace pace;
    struct lease lease = {0};
    int64_t end, length;
    (void)state;
    lease_pace_set(&pace, 10, 1000, 10, 1);
    assert_true(lease_add(&lease, &pace, &same_clock, 5, 0, 500000));
    assert_true(lease_take(&lease, &pace, (struct mono_time){200000}, 3));
    lease_untake(&lease, 1);
    assert_int_equal(lease_ready(&lease, (struct mono_time){200000}), 1);
    assert_true(lease_cut_tail(&lease, (struct mono_time){200000}, &end, &length));
    assert_int_equal(end, 500000);
    assert_int_equal(length, 300000);
    assert_int_equal(lease_left(&lease, (struct mono_time){200000}), 0);
    assert_false(lease_cut_tail(&lease, (struct mono_time){200000}, &end, &length));
}

static void test_share_goes_on_and_ends(void **state)
{
    struct lease_pace share;
    struct lease lease = {0};
    (void)state;
    lease_pace_share(&share, 100, 1000, 0, 7); /* 10 a second */
    assert_true(share.step_us > 99999 && share.step_us < 100001);
    lease_add_share(&lease, &share, (struct mono_time){0}, MONO_NEVER, 1.0);
    assert_int_equal(lease_ready(&lease, (struct mono_time){99000}), 0);
    assert_true(lease_take(&lease, &share, (struct mono_time){100001}, 1));
    /* An end set later does not start it anew. */
    lease_add_share(&lease, &share, (struct mono_time){150000}, (struct mono_time){350000}, 1.0);
    assert_int_equal(lease_when(&lease, (struct mono_time){150000}, 2).us / 1000, 300);
    assert_int_equal(lease_when(&lease, (struct mono_time){150000}, 3).us, INT64_MAX);
    assert_int_equal(lease_left(&lease, (struct mono_time){150000}), 0);
    assert_true(lease_has_share(&lease));
    lease_drop_share(&lease);
    assert_int_equal(lease_ready(&lease, (struct mono_time){900000}), 0);
}

static void test_clock_narrows_and_forgets(void **state)
{
    struct lease_clock clock = {0};
    (void)state;
    /* Theirs is 1000 behind; 400 under way. */
    assert_true(
        lease_clock_learn(&clock, (struct mono_time){5000}, (struct mono_time){5400}, 4200));
    assert_int_equal(clock.least_us, 800);
    assert_int_equal(clock.most_us, 1200);
    assert_true(
        lease_clock_learn(&clock, (struct mono_time){6000}, (struct mono_time){6100}, 5050));
    assert_in_range(clock.least_us, 940, 960);
    assert_in_range(clock.most_us, 1040, 1060);
    assert_int_equal(lease_clock_latest(&clock, 9000).us, 9000 + clock.most_us);
    /* A slow reply adds nothing. */
    assert_true(
        lease_clock_learn(&clock, (struct mono_time){7000}, (struct mono_time){9000}, 7000));
    assert_in_range(clock.most_us, 1040, 1060);
    /* Set forward by a second: only the new is known. */
    assert_false(
        lease_clock_learn(&clock, (struct mono_time){10000}, (struct mono_time){10100}, 1009050));
    assert_int_equal(clock.least_us, 10000 - 1009050);
}

static void test_late_reply_is_useless(void **state)
{
    struct lease_pace pace;
    struct lease lease = {0};
    struct lease_clock clock = {0};
    (void)state;
    lease_pace_set(&pace, 1000, 1000, 1, 1); /* linger 10 ms */
    (void)lease_clock_learn(&clock, (struct mono_time){0}, (struct mono_time){20000}, 500);
    assert_false(lease_add(&lease, &pace, &clock, 10, 500, 10100));
    (void)lease_clock_learn(&clock, (struct mono_time){30000}, (struct mono_time){31000}, 20800);
    assert_true(lease_add(&lease, &pace, &clock, 10, 20800, 10100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_come_and_lapse),
        cmocka_unit_test(test_small_burst_stretches_the_step),
        cmocka_unit_test(test_more_than_the_burst_becomes_debt),
        cmocka_unit_test(test_tail_goes_back_and_untake),
        cmocka_unit_test(test_share_goes_on_and_ends),
        cmocka_unit_test(test_clock_narrows_and_forgets),
        cmocka_unit_test(test_late_reply_is_useless),
        cmocka_unit_test(test_never_above_the_limit),
        cmocka_unit_test(test_rate_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
