/*
 * Two kinds of time that cannot be mixed up: monotonic time for waiting and measuring, wall time
 * for records and people. Monotonic time is CLOCK_BOOTTIME, so that a suspended machine notices
 * that time has passed.
 */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include "base/slice.h"

struct mono_time {
    int64_t us; /* microseconds since some fixed point of this boot */
};

struct wall_time {
    int64_t ms; /* milliseconds since 1970-01-01T00:00:00Z */
};

#define MONO_NEVER ((struct mono_time){INT64_MAX})

struct mono_time mono_now(void);
struct wall_time wall_now(void);

static inline struct mono_time mono_add_ms(struct mono_time t, int64_t ms)
{
    return t.us == INT64_MAX ? t : (struct mono_time){t.us + ms * 1000};
}

static inline struct mono_time mono_add_us(struct mono_time t, int64_t us)
{
    return t.us == INT64_MAX ? t : (struct mono_time){t.us + us};
}

/* later - earlier */
static inline int64_t mono_since_us(struct mono_time later, struct mono_time earlier)
{
    return later.us - earlier.us;
}

static inline bool mono_before(struct mono_time a, struct mono_time b)
{
    return a.us < b.us;
}

static inline struct mono_time mono_min(struct mono_time a, struct mono_time b)
{
    return a.us < b.us ? a : b;
}

#define WALL_TEXT_MAX 32
/* RFC 3339 in UTC with milliseconds: 2026-11-22T02:26:53.123Z. */
struct slice wall_time_format(struct wall_time t, char out[WALL_TEXT_MAX]);
/* That form with or without the fraction, or a date alone, which is its midnight in UTC. False:
 * neither. */
bool wall_time_parse(struct slice text, struct wall_time *t);

/* "90s", "15m", "2h", "3d", "500ms", "1h30m"; a bare number is seconds. False: not a duration, or
 * over 10 years. */
bool duration_parse_ms(struct slice text, int64_t *ms);

#endif
