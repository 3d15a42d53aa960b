/* Sets of facts are put on their topic when they are used, and again a day later, but no more. */
#include "worker/signed_facts.h"

#include "unit/cmocka_all.h"

#define DAY_MS INT64_C(86400000)
#define KEEP_MS (90 * DAY_MS)

static struct mono_time start; /* of the test */

static int begin(void **state)
{
    (void)state;
    start = mono_now();
    return 0;
}

static struct mono_time after(int64_t ms)
{
    return mono_add_ms(start, ms);
}

static void once_a_day(void **state)
{
    struct signed_facts *facts = signed_facts_create();
    (void)state;
    assert_true(signed_facts_due(facts, 1, KEEP_MS, after(0)) == KEEP_MS);
    assert_true(signed_facts_due(facts, 2, KEEP_MS, after(0)) == KEEP_MS);
    assert_true(signed_facts_due(facts, 1, KEEP_MS, after(DAY_MS - 2000)) == 0);
    assert_true(signed_facts_due(facts, 1, KEEP_MS, after(DAY_MS + 2000)) == KEEP_MS);
    assert_true(signed_facts_due(facts, 1, KEEP_MS, after(DAY_MS + 3000)) == 0);
    assert_true(signed_facts_due(facts, 1, KEEP_MS, after(2 * DAY_MS)) == 0);
    assert_true(signed_facts_due(facts, 1, KEEP_MS, after(2 * DAY_MS + 4000)) == KEEP_MS);
    assert_int_equal(signed_facts_count(facts), 2);
    signed_facts_free(&facts);
    signed_facts_free(&facts);
}

/* A mail that needs the set longer says so at once, and from then on it is said for all. */
static void the_longest_time_holds(void **state)
{
    struct signed_facts *facts = signed_facts_create();
    (void)state;
    assert_true(signed_facts_due(facts, 1, KEEP_MS, after(0)) == KEEP_MS);
    assert_true(signed_facts_due(facts, 1, 2 * KEEP_MS, after(1000)) == 2 * KEEP_MS);
    assert_true(signed_facts_due(facts, 1, KEEP_MS, after(2000)) == 0);
    assert_true(signed_facts_due(facts, 1, KEEP_MS, after(DAY_MS + 5000)) == 2 * KEEP_MS);
    signed_facts_free(&facts);
}

/* Ten thousand sets a day for ten days: what is over is forgotten, what is used is not written
 * again before its time. */
static void the_old_are_forgotten(void **state)
{
    struct signed_facts *facts = signed_facts_create();
    uint64_t hash = 1000;
    (void)state;
    for (int day = 0; day < 10; day++) {
        for (int i = 0; i < 10000; i++) {
            assert_true(signed_facts_due(facts, hash++, KEEP_MS, after(day * DAY_MS + i)) != 0);
        }
        for (uint64_t i = 1; i <= 10000; i++) {
            assert_true(signed_facts_due(facts, hash - i, KEEP_MS, after(day * DAY_MS + 20000)) ==
                        0);
        }
    }
    assert_in_range(signed_facts_count(facts), 10000, 40000);
    signed_facts_free(&facts);
}

/* There are bounds: who uses more at once has them written again. */
static void too_many(void **state)
{
    struct signed_facts *facts = signed_facts_create();
    size_t most = 0;
    (void)state;
    for (uint64_t hash = 1; hash <= 2 * SIGNED_FACTS_MAX; hash++) {
        assert_true(signed_facts_due(facts, hash, KEEP_MS, after(0)) != 0);
        most = signed_facts_count(facts) > most ? signed_facts_count(facts) : most;
    }
    assert_true(signed_facts_due(facts, 2 * SIGNED_FACTS_MAX, KEEP_MS, after(0)) == 0);
    assert_in_range(most, SIGNED_FACTS_MAX, 2 * SIGNED_FACTS_MAX - 1);
    signed_facts_free(&facts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(once_a_day, begin),
        cmocka_unit_test_setup(the_longest_time_holds, begin),
        cmocka_unit_test_setup(the_old_are_forgotten, begin),
        cmocka_unit_test_setup(too_many, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
