/*
 * A rate lease in hand: plain arithmetic on given times, without Redis, timers or clock, so that it
 * can be tested against a model.
 *
 * A limit of N per interval is N slots, each used at most once in an interval: whoever has which
 * slot, and whenever it changes hands, no sliding interval sees more than N. So a holder uses the
 * slots that it has when it likes; nothing lapses while it waits for another limit, and holders can
 * use a limit up to the last slot, each at a steady part of the rate. A slot that was used is free
 * again after the interval and `guard`: the provider counts when mail arrives, and one may be
 * longer on its way than the next.
 *
 * What a holder has is counted, not named: `free` ones, and the busy ones by the time at which they
 * are free again.
 *
 * Beside that the pace: uses are spread evenly over the interval, by a virtual schedule (GCRA) at
 * the holder's share of the rate. It may be behind by what the burst allows, and at least by one
 * use or 5 % of the interval, as a busy loop comes late now and then; of intervals of more than two
 * seconds by 20 % (at most two seconds), as Redis may be late with slots. A take of more than that
 * goes at once and is waited for afterwards.
 *
 * Without Redis a holder goes on with its part of 0.7 of the rate, by the pace alone. It counts
 * what it has used as busy slots all the same, so that it can tell Redis of them afterwards.
 *
 * Redis' clock is not ours. What is known is that Redis ran the script between sending and the
 * reply. From that come the earliest and the latest reading of our clock that a time of Redis may
 * mean (struct lease_clock).
 */
#ifndef SLUICE_REDIS_LEASE_H
#define SLUICE_REDIS_LEASE_H

#include "base/clock.h"

/* Our monotonic clock against Redis' one: ours - theirs lies in [least, most]. Zeroed: nothing
 * known. */
struct lease_clock {
    bool known;
    int64_t least_us, most_us;
    struct mono_time at;
};
/* A reply that says `theirs_us`. False: it contradicts what was known (a clock was set), which is
 * now forgotten. */
bool lease_clock_learn(struct lease_clock *clock, struct mono_time sent, struct mono_time received,
                       int64_t theirs_us);
/* The latest time of ours that theirs can mean. */
struct mono_time lease_clock_latest(const struct lease_clock *clock, int64_t theirs_us);
/* The earliest one. */
struct mono_time lease_clock_earliest(const struct lease_clock *clock, int64_t theirs_us);
/* The latest time of theirs that ours can mean. */
int64_t lease_clock_theirs(const struct lease_clock *clock, struct mono_time ours);

struct lease_busy {
    struct mono_time free_at; /* all of them */
    int64_t first_us;         /* when the first of them would have been */
    uint64_t count;
};

struct lease {
    uint64_t amount, burst; /* of the rule; burst 0: as much as the pace may be behind anyhow */
    int64_t interval_us, guard_us;

    uint64_t held, free;     /* slots; held - free are busy */
    struct lease_busy *busy; /* ring, by time */
    uint32_t first, count, room;
    struct mono_time until; /* then all that is held lapses */
    uint64_t lapsed;        /* so many lapsed last */

    double step_us;      /* between two uses at our share of the rate; 0: no pace is kept */
    double next_us;      /* when the next use is due by that pace */
    double tolerance_us; /* by which it may be early */
    bool alone;          /* without Redis: only the pace counts; all that is held is busy */
    bool stopped; /* … and nothing is to be used any more, as Redis is about to grant again */
    bool past;    /* the busy ones are memories of a lease that ended */
    uint64_t released; /* while alone: busy ones that became free, not told yet */
    uint64_t most;     /* while alone: in an interval, what it held before or its part */
};

/* Zeroed before. Forgets what was held. interval_us > 0; amount 0: nothing ever comes. */
void lease_set_rule(struct lease *lease, uint64_t amount, int64_t interval_us, uint64_t burst);
void lease_free(struct lease *lease);

/* The lease runs until then, and our share of the amount is so many slots in an interval (scarce
 * ones are not paced here: Redis does it). */
void lease_renew(struct lease *lease, struct mono_time now, struct mono_time until, double share);
/* More slots, free from `at` on. */
void lease_grant(struct lease *lease, uint64_t count, struct mono_time now, struct mono_time at);
/* All that is held is gone. */
void lease_lapse(struct lease *lease);
/* From `from` on this holder is alone, one of `holders`: 0.7 · amount / holders. `phase` (0…1) of a
 * step until the first use. Nothing changes when it is so already, but for the number of holders.
 * What is busy is held on to, what is free is gone. */
void lease_go_alone(struct lease *lease, unsigned holders, struct mono_time from, double phase);
/* Its part then, at least one; UINT64_MAX: not alone. */
uint64_t lease_part_alone(const struct lease *lease);
/* Redis knows now what is held. */
void lease_end_alone(struct lease *lease);
/* Busy slots that became free while alone, since this was asked last. */
uint64_t lease_released(struct lease *lease, struct mono_time now);

/* May n be used now? */
bool lease_can(struct lease *lease, struct mono_time now, uint64_t n);
/* Takes n. False: not there, nothing taken. */
bool lease_take(struct lease *lease, struct mono_time now, uint64_t n);
/* What a take was not used for. */
void lease_untake(struct lease *lease, uint64_t n);
/* How many may be used now, one by one. */
uint64_t lease_ready(struct lease *lease, struct mono_time now);
/* When n may be used, with what is held; MONO_NEVER: not without more. */
struct mono_time lease_when(struct lease *lease, struct mono_time now, uint64_t n);
/* Slots that are free, whatever the pace. */
uint64_t lease_unused(struct lease *lease, struct mono_time now);

/* Gives up at most n free slots; how many there were. */
uint64_t lease_give_free(struct lease *lease, struct mono_time now, uint64_t n);
/* Gives up busy slots that are free not before `beyond`, at most n, from the last on: at most `max`
 * entries. Returns how many. */
size_t lease_give_busy(struct lease *lease, struct mono_time beyond, uint64_t n,
                       struct lease_busy *out, size_t max);

#endif
