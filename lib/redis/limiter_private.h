/* What limiter.c (limits), take.c (takes, waiters), ask.c (what goes to Redis and what comes back)
 * and alone.c (how it goes on without Redis) share.
 */
#ifndef SLUICE_REDIS_LIMITER_PRIVATE_H
#define SLUICE_REDIS_LIMITER_PRIVATE_H

#include "base/map.h"
#include "redis/lease.h"
#include "redis/limiter.h"
#include "redis/tags.h"

#define LIMIT_MAGIC 0x4c494d54u
#define LIMITER_MAGIC 0x4c4d5452u

/* limiter.lua knows it too; here it ends a little sooner, as clocks differ in speed. */
#define LIMITER_LEASE_US 2000000
#define LIMITER_LEASE_MARGIN_US 20000
#define LIMITER_RENEW_MS 450
/* So much of a share is held, and used slots are handed over if they are busy for longer. */
#define LIMITER_HOLD_US 2000000
#define LIMITER_LOW_MS 100 /* a lease that runs low is filled up so often */
#define LIMITER_TICK_MS 200
#define LIMITER_SLOT_TTL_US 15000000
#define LIMITER_SLOT_RENEW_MS 5000
/* While half of the slots or more are in use: to learn soon enough that others want some. */
#define LIMITER_SLOT_LOOK_MS 500
#define LIMITER_SPARE_MS 1000       /* a slot that came back is kept for the next one */
#define LIMITER_SPARE_WANTED_MS 200 /* … while others wait for one */
#define LIMITER_IDLE_MS 1000        /* a lease that nobody uses goes back */
/* … nor needs beside another limit that it waits for, as it said one to three seconds ago. Else two
 * limits of different servers would come and go by turns for ever; that not all wait for equally
 * long breaks the symmetry between holders of which each has what the other one lacks. */
#define LIMITER_WISH_MS 1000
#define LIMITER_HELLO_MS 900 /* while learning */
/* So that it is soon known whether data was lost, or Redis is gone: sooner than a lease ends. */
#define LIMITER_IDLE_HELLO_MS 1500
/* Before the end of learning, so that what was used alone is reported by then. limiter.lua tells of
 * the end early enough, and knows this one, too. */
#define LIMITER_STOP_US 1000000
/* What a call says of how its holder does without Redis; limiter.lua knows them. */
#define LIMITER_WORD_ALONE '2'
#define LIMITER_WORD_STOPPED '3'
#define LIMITER_STRANGER_US 60000000 /* the longest wait of one that begins without Redis */
#define LIMITER_USE_MS 500           /* window in which use is counted */
#define LIMIT_TENANTS 32             /* told of a limit at most */

struct limit_tenant {
    uint64_t id;
    double weight;
    double part; /* of the weight, that counts here */
};

struct limit {
    uint32_t magic;
    struct redis_limiter *limiter;
    struct limiter_node *on;
    struct list node;     /* limiter->limits */
    struct list ask_node; /* on->asking */
    char *redis_key;      /* prefix, hash tag, key */
    struct slice key;     /* within redis_key */
    struct slice whole;   /* redis_key */
    struct limit_rule rule;
    unsigned version; /* of the rule */
    unsigned refs;
    bool in_flight; /* a call about it is under way */

    struct list waiters; /* in the order of their `begin` */
    struct list woken;   /* their ready is called at the end of this turn */
    uint64_t waiting;    /* sum of n of `waiters` */
    uint64_t passed;     /* `begin` of the last one that was woken */
    struct io_task wake;
    struct timer timer;
    struct mono_time retry_at; /* ask not before */
    struct mono_time touched;  /* last take or return */
    uint64_t wished;           /* so many are needed by one that waits for another limit, too */
    struct mono_time wished_until;

    /* LIMIT_RATE */
    struct lease lease;
    uint64_t target; /* slots that Redis wants us to hold; UINT64_MAX: not known */
    bool settled;    /* alone and stopped, and Redis knows all that was used */
    bool blocked;    /* said no since it was last reported */
    bool give_back;
    uint64_t unreported;          /* taken since the last report */
    uint64_t use_now, use_before; /* taken in this window and the one before */
    struct mono_time use_since;
    struct list sources;                        /* who can say whose mail waits here */
    struct limit_tenant tenants[LIMIT_TENANTS]; /* as told last */
    size_t tenant_count;
    uint64_t told; /* how often */

    /* LIMIT_DAILY */
    int64_t day; /* that the numbers are of; -1: none */
    uint64_t day_granted, day_used;

    /* LIMIT_SLOTS */
    uint64_t held, used; /* used <= held */
    uint64_t leaving;    /* of `used`: about to come back */
    uint64_t keep;       /* more than that others are to have; UINT64_MAX: not known */
    bool over;           /* cluster-wide more are held than the rule allows */
    bool crowded;        /* cluster-wide half of them or more are held */
    bool wanted;         /* other holders wait for some */
    bool due;            /* others are about to give back what it is to have */
    struct mono_time due_since, reported;
    int64_t epoch; /* in which it was reported */
};

/* What belongs to one hash tag: its keys lie on one server (tags.h), and no other tag's matter to
 * it. */
struct limiter_node {
    struct redis_limiter *limiter;
    struct redis_tag *tag;
    struct redis_tag_owner tag_owner;
    char *prefix; /* with the tag */
    char *epoch_key, *holders_key;
    enum redis_state state;

    struct list asking;
    struct io_task flush;
    struct lease_clock clock;
    int64_t epoch;          /* 0: not known */
    int64_t till_us;        /* end of learning, Redis' time */
    struct mono_time heard; /* when the last call was sent that was answered */
    struct mono_time lost;  /* when the way to it was found closed */
    struct mono_time hello_sent;
    bool hello;     /* a call goes out even without limits */
    bool was_alone; /* and Redis does not know yet */
};

struct redis_limiter {
    uint32_t magic;
    struct io_loop *loop;
    char *holder;
    unsigned holders;
    bool freeing;
    int64_t seq; /* of the last call */

    struct redis_tags *tags;
    struct limiter_node *nodes; /* one for each tag */
    size_t node_count;
    struct map by_key;
    struct list limits;
    struct timer tick;
};

/* ---- take.c ---- */
/* Wakes whom it can, asks for more, sets the timer. */
void limit_pump(struct limit *limit);
/* Lets those that were promised something take it. */
void limit_wake(struct io_task *task);
/* What the first waiter waits for, or one that waits for another limit; 0: nobody. */
uint64_t limit_need(const struct limit *limit, struct mono_time now);
/* How many slots may be in use here, taken ones and those to take. */
uint64_t limit_usable(const struct limit *limit);
/* Taken lately: half a second to a second. */
uint64_t limit_recent_use(struct limit *limit, struct mono_time now);

/* ---- alone.c ---- */
void limiter_set_state(struct limiter_node *node, enum redis_state state);
/* Gives a rate the share that the state calls for, or takes it away. */
void limit_refresh_share(struct limit *limit, struct mono_time now);
/* … each rate. */
void limiter_refresh_shares(struct limiter_node *node);
/* This holder is about to leave: what it says now is its last word. */
void limiter_stop_for_good(struct limiter_node *node);
/* What a call that is sent now says of it. */
char limiter_word(const struct limiter_node *node, struct mono_time now);

/* ---- ask.c ---- */
/* Puts it on the list for the end of this turn, if there is something to ask. */
void limit_ask(struct limit *limit, struct mono_time now);
void limiter_flush(struct io_task *task);
void limiter_say_hello(struct limiter_node *node);
/* Everything back to Redis. */
void limiter_give_all_back(struct limiter_node *node);
/* The day that it is there; -1: not known. */
int64_t limiter_today(const struct limiter_node *node, struct mono_time now);

#endif
