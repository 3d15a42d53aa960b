/*
 * Waits of librdkafka that do not depend on the time of day. Its timed waits are told an absolute
 * time of day (cnd_timedwait), so that a clock that is set back by an hour while one runs makes it
 * an hour longer: timers of that client stand still, and a transaction that was about to be tried
 * again hangs. Here such a wait is turned into one by the monotonic clock when it begins. The
 * program's cnd_timedwait is the one that librdkafka gets; libc's types are the same for both kinds
 * of threads.
 */
#include "kafka/conf_private.h"

#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "the same in libc");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "the same in libc");

static int64_t ns_of(const struct timespec *time)
{
    return (int64_t)time->tv_sec * SECOND_NS + time->tv_nsec;
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until)
{
    struct timespec day, steady;
    (void)timespec_get(&day, TIME_UTC); /* as librdkafka asks for it */
    (void)clock_gettime(CLOCK_MONOTONIC, &steady);
    int64_t left_ns = ns_of(until) - ns_of(&day);
    int64_t end_ns = ns_of(&steady) + (left_ns > 0 ? left_ns : 0);
    const struct timespec end = {.tv_sec = (time_t)(end_ns / SECOND_NS),
                                 .tv_nsec = (long)(end_ns % SECOND_NS)};
    int error = pthread_cond_clockwait((pthread_cond_t *)(void *)condition,
                                       (pthread_mutex_t *)(void *)mutex, CLOCK_MONOTONIC, &end);
    return error == 0 ? thrd_success : error == ETIMEDOUT ? thrd_timedout : thrd_error;
}

void kafka_steady(void)
{
}
