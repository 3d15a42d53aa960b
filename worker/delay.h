/*
 * Waiting (design.md section 4): when a mail is tried again, and which delay tier takes it there.
 *
 * A retry may come up to an eighth later than the schedule says when that saves hops: usual
 * schedules (15m, 30m, 1h…) then take a single one. A time that was promised (not_before, expiry)
 * is never overshot: it is approached by hops, and the rest that is shorter than the first tier is
 * waited for in memory.
 */
#ifndef SLUICE_WORKER_DELAY_H
#define SLUICE_WORKER_DELAY_H

#include "policy/config.h"
#include "worker/copy.h"

/* How long to wait after attempt number `attempt` (from 1) failed. Schedule of the site, its last
 * entry repeats. */
int64_t delay_retry_wait_ms(const struct config_site *site, uint32_t attempt);

/* True when the rest of a wait is waited for in memory rather than by another hop. */
bool delay_is_short(int64_t rest_ms, int64_t unit_ms);

struct delay_request {
    int64_t due_ms;   /* wall clock */
    uint32_t attempt; /* of the next round */
    bool exact;
    bool spilled; /* it may come earlier */
    bool slow;    /* … even by less than the first tier */
};

/* Adds a copy of the mail, with all recipients that are pending or deferred, to the tier for that
 * time. */
void delay_send(struct mail *mail, const struct delay_request *request);

/* Adds a copy that sends a mail that was not begun on to a tier as it came: same attempt, same
 * recipients, due at due_ms (0: as it was, or if nobody has read that yet, after the first tier).
 * Works whether it was decoded or not. */
void delay_forward(struct mail *mail, int64_t due_ms);

/* Adds a copy to the topic of those of whom nobody knows what became of them, with the recipients
 * that are held. */
void delay_hold(struct mail *mail);

#endif
