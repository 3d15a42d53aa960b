/* What limiter.c (limits, takes, waiters) and ask.c (what goes to Redis and what comes back) share.
 */
#ifndef SLUICE_REDIS_LIMITER_PRIVATE_H
#define SLUICE_REDIS_LIMITER_PRIVATE_H

#include "base/map.h"
#include "redis/lease.h"
#include "redis/limiter.h"
#include "redis/link.h"

#define LIMIT_MAGIC 0x4c494d54u
#define LIMITER_MAGIC 0x4c4d5452u

/* How far into the future Redis hands out tokens. */
#define LIMITER_AHEAD_US 1000000
/* With less than this in hand (from Redis, in time) the next lease is asked for. */
#define LIMITER_PREFETCH_US 200000
#define LIMITER_TICK_MS 200
#define LIMITER_SLOT_TTL_US 15000000
#define LIMITER_SLOT_RENEW_MS 5000
/* While half of the slots or more are in use: to learn soon enough that others want some. */
#define LIMITER_SLOT_LOOK_MS 500
#define LIMITER_SPARE_MS 1000 /* a slot that came back is kept for the next one */
#define LIMITER_IDLE_MS 300   /* a lease that nobody uses goes back */
#define LIMITER_HELLO_MS 900  /* while learning */
#define LIMITER_USE_MS 500    /* window in which use is counted */
/* Below this lease size tokens are scarce: asked for only when somebody waits. */
#define LIMITER_SCARCE 8

struct limit {
    uint32_t magic;
    struct redis_limiter *limiter;
    struct list node;     /* limiter->limits */
    struct list ask_node; /* limiter->asking */
    char *redis_key;      /* prefix, hash tag, key */
    struct slice key;     /* within redis_key */
    struct slice whole;   /* redis_key */
    struct limit_rule rule;
    unsigned version; /* of the rule */
    unsigned refs;
    bool in_flight; /* a call about it is under way */

    struct list waiters; /* in order of arrival */
    struct list woken;   /* their ready is called at the end of this turn */
    uint64_t waiting;    /* sum of n of `waiters` */
    struct io_task wake;
    struct timer timer;
    struct mono_time retry_at; /* ask not before */
    struct mono_time touched;  /* last take or return */

    /* LIMIT_RATE */
    struct lease_pace pace, share_pace;
    struct lease lease;
    uint32_t last_grant; /* tokens */
    bool poked;          /* a take met too little here although it waits elsewhere */
    bool give_back;
    uint64_t use_now, use_before; /* tokens taken in this window and the one before */
    struct mono_time use_since;

    /* LIMIT_SLOTS */
    uint64_t held, used; /* used <= held */
    uint64_t leaving;    /* of `used`: about to come back */
    uint64_t keep;       /* more than that others are to have; UINT64_MAX: not known */
    bool over;           /* cluster-wide more are held than the rule allows */
    bool crowded;        /* cluster-wide half of them or more are held */
    struct mono_time reported;
    int64_t epoch; /* in which it was reported */
};

struct redis_limiter {
    uint32_t magic;
    struct io_loop *loop;
    struct redis_link *link;
    struct redis_link_owner link_owner;
    char *holder, *prefix;
    char *epoch_key, *holders_key;
    unsigned holders;
    enum redis_state state;
    bool freeing;

    struct map by_key;
    struct list limits;
    struct list asking;
    struct io_task flush;
    struct timer tick;
    struct limit_waiter *waking; /* whose ready runs now and has taken nothing yet */

    struct lease_clock clock;
    int64_t epoch;               /* 0: not known */
    int64_t till_us;             /* end of learning, Redis' time */
    struct mono_time share_from; /* not earlier, as others may hold leases up to then */
    struct mono_time hello_sent;
    bool hello; /* a call goes out even without limits */
};

/* ---- limiter.c ---- */
/* Wakes whom it can, asks for more, sets the timer. */
void limit_pump(struct limit *limit);
void limiter_set_state(struct redis_limiter *limiter, enum redis_state state);
/* Gives each rate the share that the state calls for, or takes it away. */
void limiter_refresh_shares(struct redis_limiter *limiter);
/* How many slots may be in use here, taken ones and those to take. */
uint64_t limit_usable(const struct limit *limit);
/* Tokens taken lately: half a second to a second. */
uint64_t limit_recent_use(struct limit *limit, struct mono_time now);

/* ---- ask.c ---- */
/* Puts it on the list for the end of this turn, if there is something to ask. */
void limit_ask(struct limit *limit, struct mono_time now);
void limiter_flush(struct io_task *task);
void limiter_say_hello(struct redis_limiter *limiter);
/* Everything back to Redis. */
void limiter_give_all_back(struct redis_limiter *limiter);

#endif
