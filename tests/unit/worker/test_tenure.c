/* Tenures: what may be begun, and what may end, from assignment to release or loss. */
#include "worker/tenure.h"

#include "unit/cmocka_all.h"

#define SECOND ((int64_t)1000000)
#define TIMEOUT (6 * SECOND)

static int64_t contact_us;

int64_t kafka_consumer_contact_us(const struct kafka_consumer *consumer)
{
    (void)consumer;
    return contact_us;
}

static struct tenures tenures;
static struct mono_time now;

static int set_up(void **state)
{
    static char consumer; /* never looked into */
    (void)state;
    memset(&tenures, 0, sizeof(tenures));
    tenures.consumer = (const struct kafka_consumer *)(const void *)&consumer;
    tenures.session_timeout_us = TIMEOUT;
    now = mono_now();
    contact_us = now.us;
    return 0;
}

static struct mono_time in(int64_t us)
{
    return mono_add_us(now, us);
}

static void test_without_claims(void **state)
{
    (void)state;
    tenures.consumer = NULL;
    tenure_leave(&tenures);
    tenure_lost(&tenures);
    assert_true(tenure_is_owned(&tenures, 0));
    assert_true(tenure_contact_is_fresh(&tenures, now));
    assert_true(tenure_may_end(&tenures, 0, false, now));
}

/* A process that was stopped finds out: contact older than the time-out less its margin. */
static void test_contact(void **state)
{
    (void)state;
    uint32_t number = tenure_begin(&tenures);
    assert_true(tenure_is_owned(&tenures, number));
    assert_true(tenure_may_end(&tenures, number, false, in(TIMEOUT / 2 - 1)));
    assert_false(tenure_may_end(&tenures, number, false, in(TIMEOUT / 2)));
    assert_false(tenure_may_end(&tenures, number, true, in(3600 * SECOND)));
    assert_false(tenure_contact_is_fresh(&tenures, in(TIMEOUT / 2)));
    contact_us = 0; /* the group said that we are no member */
    assert_false(tenure_may_end(&tenures, number, true, now));
    assert_false(tenure_contact_is_fresh(&tenures, now));
}

static void test_release(void **state)
{
    (void)state;
    uint32_t number = tenure_begin(&tenures);
    tenure_leave(&tenures);
    assert_false(tenure_is_owned(&tenures, number));
    assert_true(tenure_may_end(&tenures, number, true, now));
    contact_us = 0; /* not committed yet: without contact it may be lost */
    assert_false(tenure_may_end(&tenures, number, true, now));

    tenure_released(&tenures);
    int64_t wait = (int64_t)TENURE_WAIT_MS * 1000;
    assert_false(tenure_is_owned(&tenures, number));
    assert_true(tenure_may_end(&tenures, number, true, in(wait - TIMEOUT / 2 - 1)));
    assert_false(tenure_may_end(&tenures, number, true, in(wait)));
    assert_false(tenure_may_end(&tenures, number, false, now)); /* nobody waits for it */

    /* Its time is not begun anew by a drain. */
    contact_us = now.us;
    tenure_leave(&tenures);
    assert_true(tenure_may_end(&tenures, number, true, now));
    assert_false(tenure_may_end(&tenures, number, false, now));
    contact_us = 0;

    /* What comes after it has its own state. */
    uint32_t next = tenure_begin(&tenures);
    contact_us = now.us;
    assert_true(tenure_may_end(&tenures, next, false, now));
    tenure_lost(&tenures);
    tenure_leave(&tenures);
    assert_false(tenure_is_owned(&tenures, next));
    assert_false(tenure_may_end(&tenures, next, true, now));
    assert_true(tenure_may_end(&tenures, number, true, in(SECOND)));
}

/* One that nobody remembers is lost. */
static void test_forgotten(void **state)
{
    (void)state;
    uint32_t first = tenure_begin(&tenures);
    for (int i = 0; i < TENURES_KEPT - 1; i++) {
        tenure_begin(&tenures);
    }
    assert_true(tenure_is_owned(&tenures, first));
    tenure_begin(&tenures);
    assert_false(tenure_is_owned(&tenures, first));
    assert_false(tenure_may_end(&tenures, first, true, now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_without_claims, set_up),
        cmocka_unit_test_setup(test_contact, set_up),
        cmocka_unit_test_setup(test_release, set_up),
        cmocka_unit_test_setup(test_forgotten, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
