/*
 * What Redis remembers of messages that were published with an idempotency key: that one is being
 * stored, or where it lies, for 24 hours (once.lua). On one loop, by connections of its own. It
 * decides nothing: see lib/once.
 */
#ifndef SLUICE_REDIS_ONCE_H
#define SLUICE_REDIS_ONCE_H

#include "redis/limiter.h"

struct redis_once;

struct redis_once_owner {
    /* Some way has opened or closed: see redis_once_way(). When one has closed, all that went there
     * has been answered before. */
    void (*changed)(struct redis_once_owner *owner);
};

/* NULL: the options are wrong, fault says how. SIGPIPE must be ignored, as an io_loop does. */
struct redis_once *redis_once_create(struct io_loop *loop, const struct redis_options *options,
                                     struct redis_once_owner *owner, struct fault *fault);
/* What was asked is answered with LOST; waits at most 100 ms for what was told. Not from a callback
 * of it. */
void redis_once_free(struct redis_once **once);
/* Of the server that a message's key is on. Unknown: before the first attempt to reach it has
 * ended. */
enum redis_once_way { REDIS_ONCE_UNKNOWN, REDIS_ONCE_UP, REDIS_ONCE_DOWN };
enum redis_once_way redis_once_way(const struct redis_once *once, struct slice id);
/* All of them. */
bool redis_once_is_up(const struct redis_once *once);

enum redis_once_state {
    REDIS_ONCE_LOST,    /* the connection broke: nobody knows */
    REDIS_ONCE_CLAIMED, /* it is ours to store */
    REDIS_ONCE_STORED,  /* partition, offset */
    REDIS_ONCE_PENDING, /* token, age_ms, left_ms: another one may be storing it */
};

struct redis_once_answer {
    enum redis_once_state state;
    int64_t partition, offset;
    int64_t token, age_ms, left_ms;
};

/* Exactly one answer, never before the call returned; it may free the object around this. */
struct redis_once_ask {
    void (*answered)(struct redis_once_ask *ask, const struct redis_once_answer *answer);
};

#define REDIS_ONCE_TOKEN_MAX ((INT64_C(1) << 52) - 1)

/* Only while the way of the id is up, all three. `token`: 1 to REDIS_ONCE_TOKEN_MAX, the claimer's
 * own. `seen`: 0, or the token of a claim that has run out and whose message was looked for and not
 * found. */
void redis_once_claim(struct redis_once *once, struct redis_once_ask *ask, struct slice id,
                      int64_t token, int64_t hold_ms, int64_t seen);
/* Best effort: what is lost is found by looking. */
void redis_once_done(struct redis_once *once, struct slice id, int64_t token, int64_t partition,
                     int64_t offset);
void redis_once_drop(struct redis_once *once, struct slice id, int64_t token);

#endif
