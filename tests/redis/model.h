/*
 * The limiter in simulated time: several holders, the real code of lib/redis, and a Redis that is
 * Lua in this process. What its parts share.
 *
 *   simulated.c      time and chance, the loop
 *   model_redis.c    Redis with the limiter's script, the links to it
 *   model_holders.c  the holders, what they take, what befalls them
 *   model_judge.c    the exact model: what a provider would count
 *   model.c          the scenes
 */
#ifndef SLUICE_TESTS_REDIS_MODEL_H
#define SLUICE_TESTS_REDIS_MODEL_H

#include "redis/limiter.h"
#include "redis/link.h"
#include "tests/redis/simulated.h"

#define HOLDERS_MAX 8
#define LIMITS_MAX 2
#define STEP_US 1000
#define DAY_US ((int64_t)86400 * 1000000)

struct scene {
    const char *name;
    struct limit_rule rules[LIMITS_MAX];
    size_t rule_count;
    unsigned holders;
    uint32_t n; /* at most so many at once */
    int64_t seconds;
    bool faults;   /* of network and Redis */
    bool deaths;   /* of holders */
    bool idle;     /* holders have nothing to do now and then */
    double least;  /* use, in percent of the first limit; 0: it does not matter */
    bool unheard;  /* requests and replies are lost or so late that a link is given up: of rates,
                      what a holder without a link takes is judged apart */
    bool reborn;   /* who begins anew has the name of the one before, and its host's clock of the
                      day may have been set */
    bool midnight; /* comes in the middle */
};
extern const struct scene *scene;

/* ---- model_redis.c ---- */

struct server {
    int64_t stands_until_us; /* SIGSTOP */
    int64_t dead_until_us;   /* killed: empty when it is back */
    double lost, late;       /* part of the requests and replies */
    bool gives_up;           /* late means so late that nobody waits any more */
    int64_t fails_over_us;   /* then its replica begins, which is behind; 0: never */
    char name[16];           /* another one for another server */
};
extern struct server server;

void server_open(const char *fake);
void server_close(void);
void server_forget(void);
void server_rename(void);
/* A replica gets all that there is; it takes over with that. */
void server_replicate(void);
void server_take_over(void);

/* The one that was made last. */
struct redis_link *link_last(void);
void link_watch(struct redis_link *link);
/* It breaks, if it stands. */
void link_break(struct redis_link *link);
/* Its process dies: nothing that is on its way arrives, nothing more goes out. */
void link_kill(struct redis_link *link);
void wires_init(void);
void wires_move(void);
void wires_clear(void);

/* ---- model_holders.c ---- */

void holders_begin(void);
void holders_end(void);
/* All that happens in STEP_US. */
void holders_step(void);

/* ---- model_judge.c ---- */

extern bool tracing;
void trace(const char *what);
void judge_begin(void);
/* From now on its use counts. */
void judge_measure(void);
/* `alone`: without a link by a holder of that number; else -1. Of a slot: a connection begins. */
void judge_take(uint64_t n, int alone);
void judge_slot_is_free(void);
/* Whether it has a link; each step. */
void judge_alone(unsigned holder, bool is_alone);
/* Prints what there was. */
void judge_end(void);
void judge_close(void);
bool judge_is_content(void);

#endif
