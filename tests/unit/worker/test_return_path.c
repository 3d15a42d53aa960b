/* The time in return paths: the same for every attempt, so that greylisting lets them pass. */
#include "worker/return_path.h"

#include "unit/cmocka_all.h"
#include "worker/mail.h"

static const struct wall_time NOW = {INT64_C(1795500000000)};
static const struct wall_time LATER = {INT64_C(1795500900000)};

static void the_same_for_every_attempt(void **state)
{
    const struct mail mail = {.first_seen_ms = NOW.ms - 5000, .due_ms = LATER.ms};
    (void)state;
    assert_true(return_path_time(&mail, NOW) == NOW.ms - 5000);
    assert_true(return_path_time(&mail, LATER) == NOW.ms - 5000);
}

/* Mail that waited for its time is not as old as that. */
static void scheduled(void **state)
{
    struct mail mail = {.first_seen_ms = NOW.ms - 900000};
    (void)state;
    mail.message.not_before_ms = NOW.ms;
    assert_true(return_path_time(&mail, NOW) == NOW.ms);
    assert_true(return_path_time(&mail, LATER) == NOW.ms);
}

/* A token of the future would not be believed. */
static void never_of_the_future(void **state)
{
    const struct mail mail = {.first_seen_ms = LATER.ms};
    (void)state;
    assert_true(return_path_time(&mail, NOW) == NOW.ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_for_every_attempt),
        cmocka_unit_test(scheduled),
        cmocka_unit_test(never_of_the_future),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
