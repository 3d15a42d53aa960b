/*
 * The judge of redis_limits: against counting by hand, for random grants; and that a thread which
 * stood still during a grant accuses nobody, as it did while only the first grant of a window was
 * asked when it began.
 */
#include "tests/redis/grants.h"

#include "base/mem.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

enum { WINDOW = 1000 };

static void test_above(void **state)
{
    struct grant grants[11];
    size_t last;
    (void)state;
    for (size_t i = 0; i < 11; i++) {
        int64_t at = (int64_t)i * WINDOW / 10;
        grants[i] = (struct grant){at, at, 1, 0};
    }
    grants_sort(grants, 11);
    assert_int_equal(grants_most(grants, 11, WINDOW, &last), 10);
    grants[10].before_us = grants[10].us = WINDOW - 1;
    assert_int_equal(grants_most(grants, 11, WINDOW, &last), 11);
    assert_int_equal(last, 10);
    assert_int_equal(grants_between(grants, 11, 0, WINDOW / 10), 1);
}

static void test_stood_still(void **state)
{
    /* The third may have been the first one, long before the second. */
    struct grant grants[] = {{600, 600, 1, 0}, {1500, 1500, 1, 0}, {0, 1550, 1, 1}};
    size_t last;
    (void)state;
    grants_sort(grants, 3);
    assert_int_equal(grants_most(grants, 3, WINDOW, &last), 2);
    assert_int_equal(grants_most(grants, 3, 2 * WINDOW, &last), 3);
    assert_int_equal(grants_most(grants, 0, WINDOW, &last), 0);
}

static uint64_t count_by_hand(const struct grant *grants, size_t count)
{
    uint64_t most = 0;
    for (size_t to = 0; to < count; to++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < count; i++) {
            bool within =
                grants[i].us <= grants[to].us && grants[i].before_us > grants[to].us - WINDOW;
            sum += within ? grants[i].n : 0;
        }
        most = sum > most ? sum : most;
    }
    return most;
}

static void test_random(void **state)
{
    struct grant grants[60];
    (void)state;
    for (int round = 0; round < 2000; round++) {
        size_t count = random_below(ARRAY_LEN(grants) + 1), last;
        for (size_t i = 0; i < count; i++) {
            int64_t at = random_below(5 * WINDOW);
            int64_t took = random_below(4) == 0 ? random_below(2 * WINDOW) : random_below(10);
            grants[i] = (struct grant){at, at + took, 1 + random_below(3), 0};
        }
        grants_sort(grants, count);
        assert_int_equal(grants_most(grants, count, WINDOW, &last), count_by_hand(grants, count));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_above),
        cmocka_unit_test(test_stood_still),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
