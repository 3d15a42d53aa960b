/*
 * The holder's side of a rate against an exact model: holders use slots at random, give some up and
 * are granted what others gave up, at once or with the time at which it is free; loops stall,
 * leases lapse. Judged from outside: no sliding interval sees more uses than the amount, and a
 * backlog uses nearly all. The seed is printed; SLUICE_SEED repeats a run.
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

/* ---- the model ---- */

enum { HOLDERS_MAX = 6, USES_MAX = 400000, POOL_MAX = 512 };

struct world {
    uint64_t amount;
    int64_t interval_us;
    struct lease holders[HOLDERS_MAX];
    int64_t stalled_until[HOLDERS_MAX];
    size_t holder_count;
    struct lease_busy pool[POOL_MAX]; /* slots of nobody and from when on they are free */
    size_t pool_count;
    int64_t *uses;
    size_t use_count;
    struct mono_time now;
};

static void to_pool(struct world *world, struct mono_time at, uint64_t count)
{
    assert_true(world->pool_count < POOL_MAX);
    world->pool[world->pool_count++] = (struct lease_busy){at, at.us, count};
}

static void give_some(struct world *world, struct lease *lease)
{
    struct lease_busy gifts[8];
    uint64_t n = (uint64_t)between(0, (int64_t)lease->held);
    uint64_t freed = lease_give_free(lease, world->now, n);
    if (freed > 0) {
        to_pool(world, world->now, freed);
    }
    size_t count = lease_give_busy(lease, world->now, n - freed, gifts, ARRAY_LEN(gifts));
    for (size_t i = 0; i < count; i++) {
        to_pool(world, gifts[i].free_at, gifts[i].count);
    }
}

/* What nobody knows of may have been used until now. */
static void lapse_one(struct world *world, struct lease *lease)
{
    uint64_t held = lease->held;
    lease->until = world->now;
    assert_int_equal(lease_unused(lease, world->now), 0);
    if (held > 0) {
        to_pool(world, mono_add_us(world->now, world->interval_us), held);
    }
}

static void take_some(struct world *world, struct lease *lease)
{
    if (world->pool_count > 0) {
        struct lease_busy got = world->pool[--world->pool_count];
        lease_grant(lease, got.count, world->now, got.free_at);
    }
    double share = (double)lease->held > 1 ? (double)lease->held : 1;
    lease_renew(lease, world->now, mono_add_us(world->now, 2000000), share);
}

static void step(struct world *world, bool rough)
{
    size_t at = (size_t)(next_random() % world->holder_count);
    struct lease *lease = &world->holders[at];
    world->now.us += between(20, 400);
    if (world->now.us < world->stalled_until[at]) {
        return;
    }
    uint64_t n = (uint64_t)between(1, 3);
    while (world->use_count + n < USES_MAX && lease_take(lease, world->now, n)) {
        for (uint64_t i = 0; i < n; i++) {
            world->uses[world->use_count++] = world->now.us;
        }
        n = 1;
    }
    if (rough && between(0, 999) == 0) {
        world->stalled_until[at] = world->now.us + between(0, world->interval_us);
    } else if (rough && between(0, 199) == 0) {
        give_some(world, lease);
    } else if (rough && between(0, 4999) == 0) {
        lapse_one(world, lease);
    }
    take_some(world, lease);
}

static uint64_t most_in_interval(const struct world *world)
{
    uint64_t most = 0;
    for (size_t from = 0, to = 0; to < world->use_count; to++) {
        while (world->uses[to] - world->uses[from] >= world->interval_us) {
            from++;
        }
        most = to - from + 1 > most ? to - from + 1 : most;
    }
    return most;
}

static double run_world(uint64_t amount, int64_t interval_us, size_t holders, bool rough)
{
    struct world world = {.amount = amount,
                          .interval_us = interval_us,
                          .holder_count = holders,
                          .now = {between(0, 1000000000)}};
    world.uses = mem_calloc(USES_MAX, sizeof(*world.uses));
    for (size_t i = 0; i < holders; i++) {
        lease_set_rule(&world.holders[i], amount, interval_us, (uint64_t)between(0, 5));
        uint64_t part = amount / holders + (i < amount % holders ? 1 : 0);
        lease_grant(&world.holders[i], part, world.now, world.now);
        take_some(&world, &world.holders[i]);
    }
    int64_t begin = world.now.us;
    while (world.now.us < begin + 5 * interval_us) {
        step(&world, rough);
    }
    uint64_t most = most_in_interval(&world);
    if (most > amount) {
        fail_msg("%llu in %lld us by %zu holders: %llu in an interval", (unsigned long long)amount,
                 (long long)interval_us, holders, (unsigned long long)most);
    }
    double use = (double)world.use_count / ((double)amount * 5);
    for (size_t i = 0; i < holders; i++) {
        lease_free(&world.holders[i]);
    }
    mem_free(world.uses);
    return use;
}

static void test_never_above_the_limit(void **state)
{
    static const uint64_t amounts[] = {1, 5, 30, 100, 1000};
    (void)state;
    seed_run();
    for (int round = 0; round < 60; round++) {
        (void)run_world(amounts[next_random() % ARRAY_LEN(amounts)], between(200, 2000) * 1000,
                        (size_t)between(1, HOLDERS_MAX), true);
    }
}

static void test_a_backlog_uses_it_all(void **state)
{
    (void)state;
    seed_run();
    double use = run_world(1000, 1000000, 4, false);
    if (use < 0.96) {
        fail_msg("used %.3f", use);
    }
}

/* ---- examples ---- */

static struct mono_time at(int64_t us)
{
    return (struct mono_time){us};
}

static void test_slots_come_back_after_the_interval(void **state)
{
    struct lease lease = {0};
    (void)state;
    lease_set_rule(&lease, 2, 1000000, 0);
    lease_grant(&lease, 2, at(0), at(0));
    lease_renew(&lease, at(0), at(9000000), 2);
    assert_true(lease_take(&lease, at(0), 1));
    assert_true(lease_take(&lease, at(300000), 1));
    assert_false(lease_take(&lease, at(1009999), 1));
    assert_int_equal(lease_when(&lease, at(400000), 1).us, 1010000);
    assert_int_equal(lease_when(&lease, at(400000), 2).us, 1310000);
    assert_int_equal(lease_when(&lease, at(400000), 3).us, INT64_MAX);
    assert_true(lease_take(&lease, at(1010000), 1));
    lease_untake(&lease, 1);
    assert_true(lease_take(&lease, at(1010001), 1));
    assert_int_equal(lease_ready(&lease, at(9000001)), 0);
    assert_int_equal(lease.held, 0);
    lease_free(&lease);
}

static void test_alone_keeps_to_its_part(void **state)
{
    struct lease lease = {0};
    uint64_t used = 0;
    (void)state;
    lease_set_rule(&lease, 100, 1000000, 0);
    lease_go_alone(&lease, 7, at(0), 1.0); /* 10 a second */
    assert_int_equal(lease_ready(&lease, at(99000)), 0);
    for (int64_t us = 0; us < 10000000; us += 1000) {
        used += lease_take(&lease, at(us), 1) ? 1 : 0;
    }
    assert_in_range(used, 98, 102);
    lease_end_alone(&lease);
    assert_false(lease_can(&lease, at(10000000), 1));
    lease_free(&lease);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_above_the_limit),
        cmocka_unit_test(test_a_backlog_uses_it_all),
        cmocka_unit_test(test_slots_come_back_after_the_interval),
        cmocka_unit_test(test_alone_keeps_to_its_part),
        cmocka_unit_test(test_clock_narrows_and_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
