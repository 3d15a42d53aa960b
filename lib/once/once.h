/*
 * A message that comes again is not stored again. Publishers claim a message by an id that is
 * derived from its idempotency key before they produce it, and say afterwards where it lies; for 24
 * hours whoever claims it again is told so. Redis remembers (redis/once.h). A claim whose holder
 * has died is resolved by Kafka itself: the partitions are read from the time of the claim on for
 * the header with the id, once when the claim is met and, if it was not found, once more after the
 * holder's time has run out; then the claim passes on.
 *
 * What this cannot do: without Redis, or when Redis has lost its data, nothing is recognised. A
 * publisher that stood still for longer than it had said it would need, and goes on then, may store
 * a second one. Claims that were answered UNGUARDED are counted and logged.
 *
 * One object per loop; the search has a thread of its own while it lasts.
 */
#ifndef SLUICE_ONCE_ONCE_H
#define SLUICE_ONCE_ONCE_H

#include "io/loop.h"
#include "kafka/properties.h"
#include "redis/limiter.h"

struct once;

struct once_options {
    struct redis_options redis;
    struct kafka_properties kafka; /* must outlive it */
    int64_t hold_ms; /* from a claim to the end of all trying to store the message, and some */
};

enum once_result {
    ONCE_YOURS,     /* store it; then once_stored() or once_not_stored() */
    ONCE_UNGUARDED, /* the same, but nobody can tell whether it is the first: Redis is away */
    ONCE_STORED,    /* it lies there already: partition and offset */
    ONCE_UNKNOWN,   /* another publisher may still be storing it: ask again later */
};

/* Lies in the caller's struct; zeroed, and the first part filled, before the claim. */
struct once_claim {
    struct slice id;    /* of the message: what its header HEADER_ID says */
    struct slice topic; /* NUL-terminated */
    struct slice key;   /* the record's */
    int64_t patience_ms;
    /* Exactly once per claim, never before the call returned. */
    void (*answered)(struct once_claim *claim, enum once_result result);

    int32_t partition; /* STORED */
    int64_t offset;
    int64_t token; /* ours, for once_stored() and once_not_stored() */
    /* lib/once's own */
    struct once *once;
    struct list node;
    struct timer timer;
    struct once_ask *ask;   /* of Redis, under way */
    struct once_item *item; /* of the search that runs */
    struct mono_time until;
    int64_t other;                /* token of the claim that stands in the way; 0: none met */
    int64_t age_ms, left_ms;      /* of that, when Redis was asked last */
    int64_t looked, looked_after; /* for the message of that token; after its time had run out */
};

struct once_counters {
    uint64_t claims, recognised, unguarded, unknown, searches;
};

/* NULL: the options are wrong. */
struct once *once_create(struct io_loop *loop, const struct once_options *options,
                         struct fault *fault);
/* Gives up first. Waits for a search that runs (it is told to stop). */
void once_free(struct once **once);

void once_claim(struct once *once, struct once_claim *claim);
/* Every open claim is answered with UNKNOWN, now; those to come are, too. */
void once_give_up(struct once *once);

/* Best effort: what does not arrive is found by looking. */
void once_stored(struct once *once, struct slice id, int64_t token, int32_t partition,
                 int64_t offset);
/* Nothing was handed to Kafka's client, or it has refused it for good. */
void once_not_stored(struct once *once, struct slice id, int64_t token);

const struct once_counters *once_counters(const struct once *once);

#endif
