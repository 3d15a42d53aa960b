/*
 * librdkafka's timed waits are told a time of day. With a time of day that is an hour ahead of the
 * kernel's, as before a step back, a wait that trusted it would take that hour.
 */
#include "kafka/properties.h"

#include <setjmp.h>
#include <stdarg.h>
#include <threads.h>
#include <time.h>

#include <cmocka.h>

#define AHEAD_S 3600

/* libc's, for librdkafka and lib/kafka as well as for us. */
int timespec_get(struct timespec *now, int base)
{
    (void)clock_gettime(CLOCK_REALTIME, now);
    now->tv_sec += AHEAD_S;
    return base;
}

static void test_clock_ahead(void **state)
{
    cnd_t condition;
    mtx_t mutex;
    struct timespec until;
    struct kafka_properties copy;
    const struct kafka_properties none = {NULL, 0};
    (void)state;
    kafka_properties_copy(&copy, &none); /* links the room */
    kafka_properties_free(&copy);
    assert_int_equal(cnd_init(&condition), thrd_success);
    assert_int_equal(mtx_init(&mutex, mtx_plain), thrd_success);
    assert_int_equal(timespec_get(&until, TIME_UTC), TIME_UTC);
    until.tv_sec += 1;
    assert_int_equal(mtx_lock(&mutex), thrd_success);
    assert_int_equal(cnd_timedwait(&condition, &mutex, &until), thrd_timedout);
    until.tv_sec -= 10; /* over already */
    assert_int_equal(cnd_timedwait(&condition, &mutex, &until), thrd_timedout);
    assert_int_equal(mtx_unlock(&mutex), thrd_success);
    cnd_destroy(&condition);
    mtx_destroy(&mutex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clock_ahead)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
