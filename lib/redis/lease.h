/*
 * A rate lease in hand: plain arithmetic on given times, without Redis, timers or clock, so that it
 * can be tested against a model.
 *
 * A limit of N per interval is a sequence of tokens, each with a time of its own, `step` apart;
 * Redis hands every token out once (GCRA on its own clock; ATM Forum TM 4.0, "virtual scheduling").
 * The holder uses a token from its time on and at most `linger` later; then it lapses. So the
 * number used in any window of length W, by all holders together, is at most the number of tokens
 * whose time lies in W + linger:
 *
 *     linger = (burst - 1) · interval / N       gives  N · W / interval + burst,
 *
 * exactly the bound of one token bucket of that burst. With a burst of (nearly) 1 the tolerance
 * would be zero, and every token that meets a busy loop were lost; there linger is 1 % of the
 * interval (at most 500 ms), and the step is stretched by the same 1 %, so that no sliding interval
 * ever sees more than N + burst - 1.
 *
 * Redis' clock is not ours. What is known is that Redis ran the script between sending and the
 * reply. From that come the earliest and the latest reading of our clock that a time of Redis may
 * mean (struct lease_clock): a token is used from the latest on and lapses counted from the
 * earliest, so that a slow reply costs tokens and never gains any.
 */
#ifndef SLUICE_REDIS_LEASE_H
#define SLUICE_REDIS_LEASE_H

#include "base/clock.h"

/* What a rule means in time. */
struct lease_pace {
    double step_us;    /* between two tokens */
    int64_t linger_us; /* a token may be used for so long after its time */
    int64_t slack_us;  /* tokens that Redis may still hand out behind their time: the burst after a
                          pause */
    uint32_t at_once;  /* most tokens to wait for before several are taken at once; more than these
                          become debt */
    uint32_t largest;  /* lease, in tokens, for one of so many holders */
};

/* `amount` per interval; burst 0 means what one second brings. holders >= 1. amount 0 gives a step
 * so long that nothing ever comes. */
void lease_pace_set(struct lease_pace *pace, uint64_t amount, int64_t interval_ms, uint64_t burst,
                    unsigned holders);
/* What one of `holders` may do without Redis: 0.7 · amount / holders, the burst divided as well. */
void lease_pace_share(struct lease_pace *pace, uint64_t amount, int64_t interval_ms, uint64_t burst,
                      unsigned holders);

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

struct lease_part {
    struct mono_time start; /* of token 0 */
    double step_us;
    int64_t linger_us;
    uint32_t count;
    uint32_t used;        /* or lapsed: the next token to hand out */
    bool share;           /* not from Redis */
    int64_t redis_end_us; /* where it ended in Redis' time, to give its tail back */
};

enum { LEASE_PARTS = 16 };

/* Zeroed: nothing in hand. The parts are in the order of their arrival. */
struct lease {
    struct lease_part parts[LEASE_PARTS];
    unsigned count;
    uint64_t debt; /* taken before they were there; what comes pays it first */
};

/* Adds what Redis granted: `count` tokens from `first_us` on, `length_us` long in its time. False:
 * it is useless (too late) or there is no room, and it lapses. */
bool lease_add(struct lease *lease, const struct lease_pace *pace, const struct lease_clock *clock,
               uint32_t count, int64_t first_us, int64_t length_us);
/* From `start` to `end` (or MONO_NEVER) at the pace of a share. The first token comes after `phase`
 * (0…1) of a step. */
void lease_add_share(struct lease *lease, const struct lease_pace *share, struct mono_time start,
                     struct mono_time end, double phase);
void lease_drop_share(struct lease *lease);
bool lease_has_share(const struct lease *lease);
/* Forgets everything but the debt. */
void lease_clear(struct lease *lease);

/* Tokens that may be used now; pays debt, drops what has lapsed. */
uint64_t lease_ready(struct lease *lease, struct mono_time now);
/* Takes n. False: not enough, nothing taken. */
bool lease_take(struct lease *lease, const struct lease_pace *pace, struct mono_time now,
                uint32_t n);
/* What a take was not used for. */
void lease_untake(struct lease *lease, uint32_t n);
/* How many a take of n really waits for (see at_once). */
uint32_t lease_needed(const struct lease_pace *pace, uint32_t n);
/* When n will be ready from what is in hand; MONO_NEVER: not without more. */
struct mono_time lease_when(struct lease *lease, struct mono_time now, uint64_t n);
/* In hand from Redis, ready now or later. */
uint64_t lease_left(struct lease *lease, struct mono_time now);
/* When the last token in hand from Redis comes; `now` when there is none. */
struct mono_time lease_end(const struct lease *lease, struct mono_time now);

/* Cuts off what the newest part from Redis still holds: its end and its length in Redis' time.
 * False: nothing to give. */
bool lease_cut_tail(struct lease *lease, struct mono_time now, int64_t *end_us, int64_t *length_us);

#endif
