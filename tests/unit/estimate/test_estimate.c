/* Estimates of how many records are of a kind: where is looked, and whether the bounds hold. The
 * seed of the random records is printed and can be given by SEED. */
#include "ops/estimate/estimate.h"

#include "base/random.h"
#include "unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#define POINTS_MAX 512
#define ROW 16

static void test_places_lie_evenly(void **state)
{
    const int64_t lengths[] = {100, 0, 300, 1};
    struct estimate_place places[POINTS_MAX];
    size_t in[4] = {0};
    (void)state;
    estimate_places(lengths, 4, 0.5, places, 401);
    for (size_t i = 0; i < 401; i++) {
        assert_in_range(places[i].stretch, 0, 3);
        assert_true(places[i].offset >= 0 && places[i].offset < lengths[places[i].stretch]);
        in[places[i].stretch]++;
    }
    assert_int_equal(in[0], 100);
    assert_int_equal(in[1], 0);
    assert_int_equal(in[2], 300);
    assert_int_equal(in[3], 1);
}

static void test_places_of_few(void **state)
{
    const int64_t lengths[] = {0, 2, 0, 0};
    struct estimate_place places[8];
    (void)state;
    estimate_places(lengths, 4, 0.999999, places, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(places[i].stretch, 1);
        assert_true(places[i].offset == 0 || places[i].offset == 1);
    }
}

static void test_all_read_is_exact(void **state)
{
    const struct estimate_point points[] = {{10, 12, 3}, {5, 5, 5}};
    (void)state;
    struct estimate estimate = estimate_of(points, 2, 17, true);
    assert_true(estimate.likely == 8 && estimate.least == 8 && estimate.most == 8);
}

static void test_nothing_read_is_nothing_known(void **state)
{
    (void)state;
    struct estimate estimate = estimate_of(NULL, 0, 1000, false);
    assert_true(estimate.least == 0 && estimate.most == 1000);
}

/* None found does not mean that there is none, all found not that there is nothing else. */
static void test_none_and_all(void **state)
{
    struct estimate_point points[100];
    (void)state;
    for (size_t i = 0; i < 100; i++) {
        points[i] = (struct estimate_point){ROW, ROW, 0};
    }
    struct estimate none = estimate_of(points, 100, 1e6, false);
    assert_true(none.likely == 0 && none.least == 0);
    assert_true(none.most > 20000 && none.most < 60000); /* 3 in 100 places, about */
    for (size_t i = 0; i < 100; i++) {
        points[i].hits = ROW;
    }
    struct estimate all = estimate_of(points, 100, 1e6, false);
    assert_true(all.least < 980000 && all.least > 940000);
    assert_true(all.most >= all.likely && all.most <= 1e6);
}

/* Offsets without a record are not counted as records. */
static void test_marks_of_transactions(void **state)
{
    struct estimate_point points[50];
    (void)state;
    for (size_t i = 0; i < 50; i++) {
        points[i] = (struct estimate_point){8, 16, 8};
    }
    struct estimate estimate = estimate_of(points, 50, 10000, false);
    assert_true(estimate.likely > 4990 && estimate.likely < 5010);
}

/* More was read than there is, as places overlap: the bounds are no nonsense. */
static void test_overlapping_places(void **state)
{
    struct estimate_point points[200];
    (void)state;
    for (size_t i = 0; i < 200; i++) {
        points[i] = (struct estimate_point){ROW, ROW, i % 4 == 0 ? 0 : ROW};
    }
    struct estimate estimate = estimate_of(points, 200, 400, false);
    assert_true(estimate.likely > 299 && estimate.likely < 301);
    assert_true(estimate.least > 270 && estimate.least <= estimate.likely);
    assert_true(estimate.most < 330 && estimate.most >= estimate.likely);
    estimate = estimate_of(points, 1, 3, false);
    assert_true(estimate.least >= 0 && estimate.least <= estimate.likely);
    assert_true(estimate.likely <= estimate.most && estimate.most <= 3);
}

static uint64_t state_of_dice;

/* SplitMix64 (Steele, Lea, Flood). */
static uint32_t dice(uint32_t bound)
{
    uint64_t z = state_of_dice += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 32) % bound;
}

/* Runs of alike records of random length, a share of them of the kind. */
static double fill(bool *records, size_t count, double share, uint32_t run)
{
    size_t hits = 0;
    size_t i = 0;
    while (i < count) {
        bool is = dice(1000000) < share * 1e6;
        for (size_t left = 1 + dice(2 * run); left > 0 && i < count; left--) {
            records[i++] = is;
            hits += is;
        }
    }
    return (double)hits;
}

static struct estimate sample(const bool *records, size_t count, size_t points_wanted)
{
    const int64_t lengths[] = {(int64_t)count};
    struct estimate_place places[POINTS_MAX];
    struct estimate_point points[POINTS_MAX] = {0};
    estimate_places(lengths, 1, dice(1000) / 1000.0, places, points_wanted);
    for (size_t i = 0; i < points_wanted; i++) {
        size_t at = (size_t)places[i].offset;
        for (size_t k = at; k < at + ROW && k < count; k++) {
            points[i].records++;
            points[i].span++;
            points[i].hits += records[k];
        }
    }
    return estimate_of(points, points_wanted, (double)count, false);
}

/* The bounds hold what they promise, whether records lie mixed or in runs: in 95 of 100 cases, with
 * room for chance. */
static void test_bounds_hold(void **state)
{
    static bool records[200000];
    const double shares[] = {0.5, 0.1, 0.02};
    const uint32_t runs[] = {1, 50, 500};
    const char *seed = getenv("SEED");
    (void)state;
    state_of_dice = seed != NULL ? strtoull(seed, NULL, 10) : random_u64();
    printf("seed %llu\n", (unsigned long long)state_of_dice);
    for (size_t s = 0; s < 3; s++) {
        for (size_t r = 0; r < 3; r++) {
            unsigned held = 0;
            double width = 0;
            for (unsigned trial = 0; trial < 200; trial++) {
                double truth = fill(records, 200000, shares[s], runs[r]);
                struct estimate estimate = sample(records, 200000, 256);
                held += estimate.least <= truth && truth <= estimate.most;
                width += (estimate.most - estimate.least) / 200 / 200000;
            }
            printf("share %g, runs of %u: held %u of 200, width %.3f\n", shares[s], runs[r], held,
                   width);
            assert_true(held >= 174);
            assert_true(width < 0.16);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_lie_evenly),
        cmocka_unit_test(test_places_of_few),
        cmocka_unit_test(test_all_read_is_exact),
        cmocka_unit_test(test_nothing_read_is_nothing_known),
        cmocka_unit_test(test_none_and_all),
        cmocka_unit_test(test_marks_of_transactions),
        cmocka_unit_test(test_overlapping_places),
        cmocka_unit_test(test_bounds_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
