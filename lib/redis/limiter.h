/*
 * Cluster-wide limits by leases from Redis (docs/architecture.md). One limiter per loop (thread);
 * each is a lease holder of its own, named by worker and thread. Nothing here waits: a grant comes
 * from the lease in hand (< 200 ns), or the answer is "until then".
 *
 *   rates: N in any interval, of messages, recipients, connections or bytes. A holder has its fair
 * part of the N slots, or two seconds' worth of it, for 2 s, renewed each 500 ms; an unused rest is
 * given back.
 *   slots: connections: holder -> n with expiry 15 s, renewed each 5 s; closed before lowered.
 * Holders share them fairly: who has more than its share learns of it within about half a second
 * when another one wants some, and gives up what is free; what is in use its owner closes, see
 * redis_limit_surplus; what it has for later, see redis_limit_is_wanted. With fewer slots than
 * holders a slot goes round, every 5 s.
 *   daily caps: N in a day of UTC, counted in absolute numbers for each holder.
 *
 * The arithmetic of a lease is in lease.h, Redis' side in limiter.lua, the connection in link.h,
 * asking in ask.c.
 *
 * Redis slow: the lease in hand goes on. Redis dead: when the leases have ended each worker keeps
 * to 0.7 · limit / workers (the owner says how many there are), slots freeze at the present count,
 * daily caps end with what was granted. Data lost (no epoch key): up to 15 s of learning, in which
 * leases in hand go on and nothing more is granted.
 */
#ifndef SLUICE_REDIS_LIMITER_H
#define SLUICE_REDIS_LIMITER_H

#include "io/loop.h"
#include "redis/options.h"

struct redis_limiter;

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
    LIMIT_DAILY, /* `amount` in a day of UTC */
};

struct limit_rule {
    enum limit_kind kind;
    uint64_t amount;
    int64_t interval_ms; /* LIMIT_RATE */
    uint64_t burst; /* LIMIT_RATE: most at once behind a pause, within the amount; 0: hardly any */
};

/* Whose mail waits for a rate. Redis divides a rate among the holders by the sums of their tenants'
 * weights; the weight of a tenant whose mail waits at several holders counts with an equal part at
 * each. So each tenant has its part of the rate wherever its mail lies, if a holder divides its own
 * share by weight times redis_limit_part(). */
struct limit_tenants;
struct limit_source {
    struct list node; /* linked while it is one of a limit's; take it off before the limit is put */
    /* Adds the tenants whose mail waits, each time before Redis is told. */
    void (*list)(struct limit_source *source, struct limit_tenants *tenants);
};
/* `id` is a hash of the tenant's name, the same on all holders. Beyond 31 of them the lightest
 * count as one that no other holder has. The second call for an id changes nothing. */
void limit_tenants_add(struct limit_tenants *tenants, uint64_t id, double weight);

/* A limit by its key ("site:gmail.com:msg", "vip:V1:site:gmail.com:conn"); the same key on all
 * workers is one limit. Created on first use, counted by reference; a rule that differs from the
 * present one replaces it. */
struct limit;
struct limit *redis_limit_get(struct redis_limiter *limiter, struct slice key,
                              const struct limit_rule *rule);
void redis_limit_put(struct limit **limit);

/* Of a rate only. */
void redis_limit_add_source(struct limit *limit, struct limit_source *source);
/* How much of the tenant's weight counts here: 1 when its mail waits nowhere else; 0: Redis was not
 * told of it. */
double redis_limit_part(const struct limit *limit, uint64_t id);
/* Rises whenever Redis has said parts anew. */
uint64_t redis_limit_told(const struct limit *limit);

/* Who waits for several limits at once; lies in the caller's struct, zeroed before its first use
 * but for `ready`. */
struct limit_line;
struct limit_waiter {
    struct list node; /* linked exactly while it waits */
    /* Try again now; from the loop, never before the take that set it up returned, once per wait.
     * It may take, return, cancel, get and put, but not free the limiter. */
    void (*ready)(struct limit_waiter *waiter);
    struct mono_time
        until; /* the earliest time at which all would grant, as far as known; for "why" */
    struct limit *blocking; /* which one said no (the last one to grant); valid while it waits */
    uint64_t n;             /* what it waits for there */
    bool woken;             /* tokens are promised to it: ready comes at the end of this turn */
    /* Its turn came at this limit (only to be compared), and it has taken nothing since: at its
     * next take it stands before the others. Set before ready; the caller may forget it. */
    const struct limit *turn;
    uint64_t begin; /* its place among those who wait: see struct limit_line */
    struct limit_line *line;
};

/* Those that belong together at one limit (the sessions of a lane), so that a limit which others
 * need too is shared by lines and not by heads: whatever a line has waiting, it gets as much as
 * each of the other lines that wait. Zeroed before its first use; outlives its waiters. */
struct limit_line {
    uint64_t end; /* where its last one is through, counted in what the limit has let pass */
};

/* n of a limit: recipients, messages, connections or bytes of a rate or a daily cap; a slot is one.
 * `waiter`: who waits when it is this limit that says no; NULL: the one of the take. `line`: to
 * which it belongs; NULL: to one of its own. */
struct limit_want {
    struct limit *limit;
    uint64_t n;
    struct limit_waiter *waiter;
    struct limit_line *line;
};

/* Takes what is wanted of every limit, all or none; each limit stands there once. True: granted.
 * False: nothing was taken; the waiter of the limit that grants last waits, and its ready will be
 * called when it is worth trying again (or never, if it is cancelled). Waiters of one limit are
 * woken by turns of their lines, in a line in the order in which they came, as many as there is
 * something for, and nobody who comes new takes before them; who had its turn there and could not
 * use it stands before all. A waiter that
 * still waits is taken off first. More than redis_limit_most() is never granted. */
bool redis_limits_take(struct redis_limiter *limiter, const struct limit_want *wants, size_t count,
                       struct limit_waiter *waiter);
/* Gives back: slots always when the connection is closed; of the others only what was not used at
 * all. */
void redis_limits_return(struct redis_limiter *limiter, const struct limit_want *wants,
                         size_t count);
/* Of a rate: so much in a second. */
double redis_limit_rate(const struct limit *limit);
/* How much of it in a second is this holder's at present, by what it asked for lately; 0: not
 * known.
 */
double redis_limit_share(const struct limit *limit);
/* The most that can ever be taken at once. */
uint64_t redis_limit_most(const struct limit *limit);
/* … where what is taken can be made smaller: no more than this holder's part while it goes on
 * without Redis. What cannot (the bytes of a message) goes all the same, and the next ones wait for
 * it. */
uint64_t redis_limit_at_once(const struct limit *limit);
/* More slots are in use here than this holder's share, while others wait for one: the owner should
 * give one back as soon as it can, say so with redis_limits_leave, and then ask again. Those that
 * are leaving already are not counted, so it never asks for more than the surplus. No I/O. False
 * for rates. */
bool redis_limit_surplus(const struct limit *limit);
/* Others wait for a slot, as far as known (half a second ago while half of them or more are in
 * use): one that is in use for nothing should be given back soon. No I/O. False for rates. */
bool redis_limit_is_wanted(const struct limit *limit);
/* One slot of each is about to be given back (its connection is being closed, for whatever reason),
 * by redis_limits_left instead of redis_limits_return. */
void redis_limits_leave(struct redis_limiter *limiter, struct limit *const *limits, size_t count);
void redis_limits_left(struct redis_limiter *limiter, struct limit *const *limits, size_t count);
/* Whoever took of it takes nothing for a while (its last connection has ended): what is in hand
 * goes back at once, unless somebody waits for it. Nothing for slots. */
void redis_limit_rest(struct limit *limit);
void redis_limit_wait_cancel(struct redis_limiter *limiter, struct limit_waiter *waiter);

/* The key as it was given, without prefix; lives as long as the limit. */
struct slice redis_limit_key(const struct limit *limit);
/* For status: how much is in hand, in use. */
enum redis_state { REDIS_CONNECTING, REDIS_UP, REDIS_LEARNING, REDIS_DOWN };
enum redis_state redis_limiter_state(const struct redis_limiter *limiter);
/* Commands sent for limits since it was created. */
uint64_t redis_limiter_calls(const struct redis_limiter *limiter);

#endif
