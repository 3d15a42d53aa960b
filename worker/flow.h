/*
 * What binds the flows of a lane: the limits of their tenant, campaign and stream. A flow that has
 * to wait for one is parked in the queue, with a waiter of its own, and nobody waits with it. What
 * is known of a flow is kept for a while when its mail is gone, as more may come.
 *
 * Ownership: the lane's map owns them; a queue_flow and the sessions that are sending mail of it
 * point to one.
 */
#ifndef SLUICE_WORKER_FLOW_H
#define SLUICE_WORKER_FLOW_H

#include "worker/bounds.h"
#include "worker/queue.h"

struct lane;

struct flow_limits {
    struct lane *lane;
    struct bounds bounds;
    struct limit_waiter waiter;
    struct queue_flow *flow; /* its mail that waits; NULL: none does */
    uint32_t running;        /* transactions */
    int64_t spill_until_ms;  /* wall clock up to which spilled mail has been given its time */
    struct mono_time used;
    struct slice key; /* in `name` */
    char name[];
};

/* Of the queue's flow; made if it is not there. NULL: no limit is about mail. `ready` is for the
 * waiter. */
struct flow_limits *flow_limits_of(struct lane *lane, struct queue_flow *flow,
                                   void (*ready)(struct limit_waiter *waiter));
/* The flow has no mail in the queue any more. */
void flow_limits_leave(struct flow_limits *limits);
/* Forgets those that have not been used for a while; all: whatever it is. */
void flow_limits_sweep(struct lane *lane, struct mono_time now, bool all);

#endif
