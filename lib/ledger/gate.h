/*
 * The zombie gate: may a final dot be sent now? Asked with CLOCK_BOOTTIME read right before the
 * output of the content's end, so that a process that was stopped, or a machine that slept, finds
 * out before it does harm.
 *
 * While the partition is ours: a new owner can begin at the earliest when the group has thrown us
 * out, a session time-out after it last prolonged our membership. `contact` is the *send* time of
 * the last request that did so and was answered: a heartbeat or a commit of our generation, but not
 * a commit in a transaction, which a group takes from a member without prolonging anything. Half of
 * the time-out as margin is for the dot to reach its peer.
 *
 * After it was released: the new owner waits for us for wait_ms from when it reads our checkpoint,
 * which is after `released`, the instant before the release burst was begun.
 */
#ifndef SLUICE_LEDGER_GATE_H
#define SLUICE_LEDGER_GATE_H

#include "base/clock.h"

enum ledger_hold {
    LEDGER_OWNED,    /* ours */
    LEDGER_RELEASED, /* given away; the mail is among the in-flight ones */
    LEDGER_LOST,     /* taken away: no dot any more */
};

static inline int64_t ledger_gate_margin_us(int64_t session_timeout_us)
{
    return session_timeout_us / 2;
}

/* `contact`: us = 0 when there is none (or the group said that we are no member). */
static inline bool ledger_gate_open(enum ledger_hold hold, struct mono_time now,
                                    struct mono_time contact, struct mono_time released,
                                    int64_t session_timeout_us, int64_t wait_us)
{
    int64_t margin_us = ledger_gate_margin_us(session_timeout_us);
    switch (hold) {
    case LEDGER_OWNED:
        return contact.us > 0 && mono_since_us(now, contact) < session_timeout_us - margin_us;
    case LEDGER_RELEASED: return mono_since_us(now, released) < wait_us - margin_us;
    case LEDGER_LOST: break;
    }
    return false;
}

#endif
