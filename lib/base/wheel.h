/*
 * Hierarchical timer wheel (Varghese and Lauck 1987, scheme 7): O(1) set and cancel, milliseconds,
 * 4 levels of 256 slots, which spans 2^32 ms; later deadlines wait in the last slot and are put
 * back. Intrusive: the timer lies in its owner. One wheel per loop; not thread-safe. A timer never
 * fires early, and fires from wheel_advance() only. A callback may set or cancel any timer, its own
 * included.
 */
#ifndef SLUICE_BASE_WHEEL_H
#define SLUICE_BASE_WHEEL_H

#include "base/clock.h"
#include "base/list.h"

struct wheel;
struct timer;

typedef void (*timer_callback)(struct timer *timer, struct mono_time now);

struct timer {
    struct list node;
    int64_t due_ms;
    timer_callback callback;
};

struct wheel *wheel_create(struct mono_time now);
/* No timer may be set any more. */
void wheel_free(struct wheel **wheel);

/* The timer must be zeroed before its first use. Setting one that is set moves it. */
void wheel_set(struct wheel *wheel, struct timer *timer, struct mono_time due,
               timer_callback callback);
void wheel_cancel(struct wheel *wheel, struct timer *timer);
static inline bool timer_is_set(const struct timer *timer)
{
    return list_linked(&timer->node);
}

/* Fires all that is due. */
void wheel_advance(struct wheel *wheel, struct mono_time now);

/* A time not later than the next firing; MONO_NEVER when nothing is set. */
struct mono_time wheel_next(const struct wheel *wheel);

#endif
