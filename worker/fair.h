/*
 * What the tenants of a lane have of the rates that they share with others: by their contracted
 * rates, within the lane and in the whole cluster. The limiter is told whose mail waits here, Redis
 * divides a rate among the workers accordingly, and the lane's queue divides what comes in the same
 * proportion: a tenant whose mail waits at three workers has a third of its weight at each.
 */
#ifndef SLUICE_WORKER_FAIR_H
#define SLUICE_WORKER_FAIR_H

#include "redis/limiter.h"
#include "worker/queue.h"

struct lane;
struct usage;

struct fair {
    struct fair_source *sources; /* one for each rate of the lane and its VIPs */
    size_t count;
    const struct limit *scarce; /* the rate that a session of the lane waited for last; or NULL */
    uint64_t told;              /* redis_limit_told() by which the queue has its weights */
    struct map taken;           /* tenant -> struct fair_taken, since fair_account() */
    struct mono_time looked;
};

/* When the lane has its limits, and before it puts them. */
void fair_begin(struct lane *lane);
void fair_end(struct lane *lane);

/* The weight of a tenant here now, as the queue wants it. */
uint32_t fair_weight(const struct lane *lane, struct slice tenant);
/* Of the tenant so many recipients are being sent to. */
void fair_took(struct lane *lane, struct slice tenant, size_t recipients);
/* Each second, while the rate is scarce: what a tenant's own part of it comes to. That is the limit
 * by its weight among all contracts, wherever its mail lies. */
void fair_tick(struct lane *lane, struct mono_time now);
/* Each minute: what tenants had beyond their own parts goes to `usage`. */
void fair_account(struct lane *lane, struct usage *usage);
/* No session is left: what the lane has in hand of rates others may use now. */
void fair_rest(struct lane *lane);
/* A session waits for it: tenants have weights by what Redis said last. */
void fair_note_wait(struct lane *lane, const struct limit *limit);
#endif
