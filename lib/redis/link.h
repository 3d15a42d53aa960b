/*
 * The connection to Redis: hiredis' asynchronous interface on our loop, with what version 0.14
 * lacks: time limits for connecting and for commands, and coming back (100 ms to 2 s, doubling,
 * with jitter). It logs in (AUTH with or without a user), chooses the database and loads the script
 * before it says that it is up. Private to this folder.
 *
 * Every call ends exactly once, by its `done`, and never before redis_link_call() returned: with
 * the reply's integers, or with NULL when it was lost (whether Redis ran it is then unknown). After
 * NOSCRIPT the script is loaded again; any other error reply (LOADING, READONLY, OOM…) ends the
 * connection, as a fresh one may do better.
 */
#ifndef SLUICE_REDIS_LINK_H
#define SLUICE_REDIS_LINK_H

#include "redis/limiter.h"

struct redis_link;

enum { REDIS_LINK_ARGS = 512 };

struct redis_link_owner {
    void (*up)(struct redis_link_owner *owner);
    /* Also after a first attempt that failed; all calls have ended before. Not called by
     * redis_link_free(). */
    void (*down)(struct redis_link_owner *owner);
};

struct redis_call {
    struct list node;
    struct mono_time sent;
    /* `values` live until it returns. It owns the call from here on. */
    void (*done)(struct redis_call *call, const int64_t *values, size_t count);
};

/* Starts connecting. The options' strings are copied; the owner and the script's text must outlive
 * it. NULL: fault says why. */
struct redis_link *redis_link_create(struct io_loop *loop, const struct redis_options *options,
                                     struct slice script, struct redis_link_owner *owner,
                                     struct fault *fault);
/* Waits at most wait_ms for the replies to what was sent, then ends all calls and frees. Not from a
 * callback of it. */
void redis_link_free(struct redis_link **link, int64_t wait_ms);

bool redis_link_is_up(const struct redis_link *link);

/* EVALSHA of the script with these arguments: `keys` of them are keys. Only while it is up; at most
 * REDIS_LINK_ARGS arguments, which are copied. */
void redis_link_call(struct redis_link *link, struct redis_call *call, size_t keys,
                     const struct slice *args, size_t count);

/* Calls made since it was created, for measuring. */
uint64_t redis_link_calls(const struct redis_link *link);

#endif
