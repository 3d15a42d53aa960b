/*
 * Cluster-wide limits by leases from Redis (design.md section 6). One limiter per loop (thread);
 * each is a lease holder of its own, named by worker and thread. Nothing here waits: a grant comes
 * from the lease in hand (< 200 ns), or the answer is "until then".
 *
 *   rate limits: GCRA in microseconds of Redis TIME; a lease is about one second of rate (less when
 * scarce), counted on the monotonic clock from when the request was sent; an unused rest is given
 * back. slots:       connections: holder -> n with expiry 15 s, renewed each 5 s; closed before
 * lowered. Holders share them fairly: who has more than its share learns of it within about half a
 * second when another one wants some, and gives up what is free; what is in use its owner closes,
 * see redis_limit_surplus. With fewer slots than holders a slot goes round, every 5 s.
 *
 * The arithmetic of a lease is in lease.h, Redis' side in limiter.lua, the connection in link.h,
 * asking in ask.c.
 *
 * Redis slow (> 50 ms): the lease in hand goes on. Redis dead: each worker keeps to 0.7 · limit /
 * workers (the owner says how many there are), slots freeze at the present count. Data lost (no
 * epoch key): 15 s of learning (slots only what is reported, rates at the share of a dead Redis).
 */
#ifndef SLUICE_REDIS_LIMITER_H
#define SLUICE_REDIS_LIMITER_H

#include "io/loop.h"

struct redis_limiter;

struct redis_options {
    const char *host;            /* address or name */
    uint16_t port;               /* 6379 */
    const char *unix_path;       /* instead of host and port, NULL: none */
    const char *user, *password; /* NULL: none */
    int database;
    const char *key_prefix;     /* "sluice:" */
    int64_t connect_timeout_ms; /* 1000 */
    int64_t command_timeout_ms; /* 500: later the link counts as dead */
};
void redis_options_default(struct redis_options *options);

/* Never NULL for want of a Redis: it goes on trying (100 ms to 2 s). `holder` is unique in the
 * cluster and a word without blanks. A name as host is looked up by the system's resolver, which
 * blocks the loop for that long: prefer an address. SIGPIPE, if it still has its default action, is
 * ignored from here on, as hiredis writes to connections that may be gone. NULL: the options are
 * wrong, fault says how. */
struct redis_limiter *redis_limiter_create(struct io_loop *loop,
                                           const struct redis_options *options, const char *holder,
                                           struct fault *fault);
/* Gives leases back (best effort, no waiting beyond 100 ms), frees. Every limit was put before; not
 * from a callback of it. */
void redis_limiter_free(struct redis_limiter **limiter);

/* Workers (threads) that share the limits now, as Kafka's group tells; at least 1. */
void redis_limiter_set_holders(struct redis_limiter *limiter, unsigned holders);

enum limit_kind {
    LIMIT_RATE,  /* `amount` per `interval_ms`, e.g. 1000 messages per 1000 ms */
    LIMIT_SLOTS, /* `amount` at the same time */
};

struct limit_rule {
    enum limit_kind kind;
    uint64_t amount;
    int64_t interval_ms; /* LIMIT_RATE */
    uint64_t burst; /* LIMIT_RATE: most at once; 0: as much as one second of the rate brings, at
                       least 1 */
};

/* A limit by its key ("site:gmail.com:msg", "vip:V1:site:gmail.com:conn"); the same key on all
 * workers is one limit. Created on first use, counted by reference; a rule that differs from the
 * present one replaces it. */
struct limit;
struct limit *redis_limit_get(struct redis_limiter *limiter, struct slice key,
                              const struct limit_rule *rule);
void redis_limit_put(struct limit **limit);

/* Who waits for several limits at once; lies in the caller's struct, zeroed before its first use
 * but for `ready`. */
struct limit_waiter {
    struct list node; /* linked exactly while it waits */
    /* Try again now; from the loop, never before the take that set it up returned, once per wait.
     * It may take, return, cancel, get and put, but not free the limiter. */
    void (*ready)(struct limit_waiter *waiter);
    struct mono_time
        until; /* the earliest time at which all would grant, as far as known; for "why" */
    struct limit *blocking; /* which one said no (the last one to grant); valid while it waits */
    uint32_t n;             /* what it waits for */
    bool woken;             /* tokens are promised to it: ready comes at the end of this turn */
};

/* Takes `n` from every limit of `limits` (rates) or one slot each (slots), all or none; each limit
 * stands there once. True: granted. False: nothing was taken and waiter->ready will be called when
 * it is worth trying again (or never, if it is cancelled). Waiters of one limit are woken in the
 * order in which they came, as many as there are tokens, and whoever comes new stands behind them.
 * A waiter that still waits is taken off first. More than half the burst at once is granted when
 * that half is there, and the rest is paid off before the next grant. */
bool redis_limits_take(struct redis_limiter *limiter, struct limit *const *limits, size_t count,
                       uint32_t n, struct limit_waiter *waiter);
/* Gives back: slots always when the connection is closed (n does not matter: one each); rate tokens
 * only when nothing was sent. A token may have lapsed meanwhile, then it is lost. */
void redis_limits_return(struct redis_limiter *limiter, struct limit *const *limits, size_t count,
                         uint32_t n);
/* More slots are in use here than this holder's share, while others wait for one: the owner should
 * give one back as soon as it can, say so with redis_limits_leave, and then ask again. Those that
 * are leaving already are not counted, so it never asks for more than the surplus. No I/O. False
 * for rates. */
bool redis_limit_surplus(const struct limit *limit);
/* One slot of each is about to be given back (its connection is being closed, for whatever reason),
 * by redis_limits_left instead of redis_limits_return. */
void redis_limits_leave(struct redis_limiter *limiter, struct limit *const *limits, size_t count);
void redis_limits_left(struct redis_limiter *limiter, struct limit *const *limits, size_t count);
void redis_limit_wait_cancel(struct redis_limiter *limiter, struct limit_waiter *waiter);

/* The key as it was given, without prefix; lives as long as the limit. */
struct slice redis_limit_key(const struct limit *limit);
/* For status: how much is in hand, in use. */
enum redis_state { REDIS_CONNECTING, REDIS_UP, REDIS_LEARNING, REDIS_DOWN };
enum redis_state redis_limiter_state(const struct redis_limiter *limiter);
/* Commands sent for limits since it was created. */
uint64_t redis_limiter_calls(const struct redis_limiter *limiter);

#endif
