/*
 * Tenures: what may still be done with the mail of partitions that come and go.
 *
 * A tenure lasts from an assignment to its revocation: the group gives and takes all partitions
 * together (eager protocol), so one number says under which of them a record was taken
 * (mail->tenure). It begins OWNED and goes on to LEAVING and RELEASED, or to LOST. The intake
 * thread changes it; the shards ask before they begin a mail, and the sessions right before the
 * output of a message's end (the zombie gate, ledger/gate.h).
 *
 * Number 0 is no tenure: the worker does not claim its partitions, and everything is allowed.
 */
#ifndef SLUICE_WORKER_TENURE_H
#define SLUICE_WORKER_TENURE_H

#include "base/clock.h"
#include "kafka/consumer.h"

#include <stdatomic.h>

/* More of them in the time that a transaction may take: the oldest count as lost. */
#define TENURES_KEPT 64
/* How long the next owner waits for what is in flight; what a release's checkpoint says. */
#define TENURE_WAIT_MS 60000

enum tenure_state {
    TENURE_OWNED,    /* ours: messages may end while the contact with the group is fresh */
    TENURE_LEAVING,  /* the same, but nothing is begun any more */
    TENURE_RELEASED, /* given away: what was in flight (mail->in_flight) may end for a while */
    TENURE_LOST,     /* no message may end */
};

struct tenures {
    const struct kafka_consumer *consumer; /* whose contact counts; set before threads start */
    int64_t session_timeout_us;
    uint32_t last; /* number of the one that began last; intake thread */
    struct {
        atomic_ullong state; /* number * 4 + enum tenure_state */
        atomic_llong left_us;
    } kept[TENURES_KEPT]; /* by number */
};

/* ---- intake thread ---- */

/* Partitions were assigned: returns the number for what is taken of them. */
uint32_t tenure_begin(struct tenures *tenures);
/* They go, or the worker drains: to be called before SHARD_RETURN and SHARD_DRAIN. The time from
 * which the next owner's waiting is reckoned starts here. Nothing if it is not owned any more: what
 * was released has its time already. */
void tenure_leave(struct tenures *tenures);
/* The burst that releases them, with all that the shards named as in flight, is committed. */
void tenure_released(struct tenures *tenures);
/* They are another's, or that is not known. */
void tenure_lost(struct tenures *tenures);

/* ---- any thread ---- */

bool tenure_is_owned(const struct tenures *tenures, uint32_t number);
/* True while the group was in contact with us so lately that partitions of ours cannot be
 * another's. Without it nothing should be begun. */
bool tenure_contact_is_fresh(const struct tenures *tenures, struct mono_time now);
/* The gate. `now` was read right before. */
bool tenure_may_end(const struct tenures *tenures, uint32_t number, bool in_flight,
                    struct mono_time now);

#endif
