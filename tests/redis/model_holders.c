/* See model.h: the holders, what they take, what befalls them. */
#include "tests/redis/model.h"

#include "base/mem.h"
#include "base/random.h"
#include "redis/limiter_private.h"

#include <stdio.h>

#define WAITERS 4

struct holder;

struct use {
    struct limit_waiter waiter;
    struct holder *holder;
    int64_t free_at_us; /* it holds a slot until then; 0: none */
    int64_t rests_until_us;
    bool leaving;
};

struct holder {
    struct io_loop loop;
    struct redis_limiter *limiter;
    struct redis_link *link;
    int64_t offset_us, wall_us; /* of its clocks */
    struct limit *limits[LIMITS_MAX];
    struct use uses[WAITERS];
};

static struct holder holders[HOLDERS_MAX];
static unsigned born;

static void runs(const struct holder *holder)
{
    sim.offset_us = holder->offset_us;
    sim.wall_us = holder->wall_us;
}

/* ---- what they take ---- */

/* What can be taken at once, where a transaction can be made smaller. */
static uint64_t at_once(const struct holder *holder)
{
    uint64_t n = 1 + random_below(scene->n);
    for (size_t k = 0; k < scene->rule_count; k++) {
        uint64_t most = redis_limit_at_once(holder->limits[k]);
        n = scene->rules[k].kind != LIMIT_SLOTS && most < n ? most : n;
    }
    return n;
}

static int alone(const struct holder *holder)
{
    const struct limit *limit = holder->limits[0];
    return limit->rule.kind == LIMIT_RATE && limit->lease.alone ? (int)(holder - holders) : -1;
}

static void try_take(struct use *use)
{
    struct holder *holder = use->holder;
    struct limit_want wants[LIMITS_MAX];
    for (int i = 0; i < 50 && use->free_at_us == 0 && sim.now_us >= use->rests_until_us; i++) {
        uint64_t n = at_once(holder);
        bool slot = false;
        for (size_t k = 0; k < scene->rule_count; k++) {
            bool is_slot = scene->rules[k].kind == LIMIT_SLOTS;
            wants[k] = (struct limit_want){.limit = holder->limits[k], .n = is_slot ? 1 : n};
            slot = slot || is_slot;
        }
        if (!redis_limits_take(holder->limiter, wants, scene->rule_count, &use->waiter)) {
            return;
        }
        judge_take(n, alone(holder));
        if (slot) {
            use->free_at_us = sim.now_us + 20000 + random_below(1000000);
        }
        if (scene->idle && chance(0.01)) {
            use->rests_until_us = sim.now_us + random_below(5000000);
        }
    }
}

static void ready(struct limit_waiter *waiter)
{
    try_take(CONTAINER_OF(waiter, struct use, waiter));
}

/* A slot goes back when its work is done, or sooner when others are to have it. */
static void give_back(struct holder *holder, struct use *use)
{
    for (size_t k = 0; k < scene->rule_count; k++) {
        struct limit *limit = holder->limits[k];
        if (scene->rules[k].kind != LIMIT_SLOTS) {
            continue;
        }
        if (sim.now_us < use->free_at_us && (use->leaving || !redis_limit_surplus(limit))) {
            return;
        }
        if (sim.now_us < use->free_at_us) {
            redis_limits_leave(holder->limiter, &limit, 1);
            use->leaving = true;
            use->free_at_us = sim.now_us + 5000;
            return;
        }
        judge_slot_is_free(); /* the connection is closed, then it is said */
        use->free_at_us = 0;
        if (use->leaving) {
            use->leaving = false;
            redis_limits_left(holder->limiter, &limit, 1);
        } else {
            redis_limits_return(holder->limiter, &(struct limit_want){.limit = limit, .n = 1}, 1);
        }
    }
}

static void holder_begin(struct holder *holder)
{
    struct redis_options options;
    struct fault fault;
    char name[32];
    *holder = (struct holder){.offset_us = (int64_t)random_below(2000000000)};
    if (scene->reborn) {
        holder->wall_us = ((int64_t)random_below(7200000) - 3600000) * 1000;
    }
    runs(holder);
    list_init(&holder->loop.tasks);
    holder->loop.wheel = wheel_create(mono_now());
    redis_options_default(&options);
    (void)snprintf(name, sizeof(name), "w%u",
                   scene->reborn ? (unsigned)(holder - holders) : born++);
    holder->limiter = redis_limiter_create(&holder->loop, &options, name, &fault);
    holder->link = link_last();
    redis_limiter_set_holders(holder->limiter, scene->holders);
    for (size_t k = 0; k < scene->rule_count; k++) {
        char key[24];
        (void)snprintf(key, sizeof(key), "k%zu", k);
        holder->limits[k] = redis_limit_get(holder->limiter, slice_cstr(key), &scene->rules[k]);
    }
    for (size_t i = 0; i < WAITERS; i++) {
        holder->uses[i].holder = holder;
        holder->uses[i].waiter.ready = ready;
    }
}

/* `killed`: without a word to anybody. */
static void holder_end(struct holder *holder, bool killed)
{
    if (killed) {
        link_kill(holder->link);
    }
    runs(holder);
    for (size_t i = 0; i < WAITERS; i++) {
        struct use *use = &holder->uses[i];
        redis_limit_wait_cancel(holder->limiter, &use->waiter);
        if (use->free_at_us != 0) {
            use->free_at_us = sim.now_us;
            give_back(holder, use);
        }
    }
    for (size_t k = 0; k < scene->rule_count; k++) {
        redis_limit_put(&holder->limits[k]);
    }
    redis_limiter_free(&holder->limiter);
    wheel_free(&holder->loop.wheel);
}

/* ---- what happens ---- */

/* Its replica takes over; it lacks what was done last, and its clock is its own. */
static void fail_over(void)
{
    server.fails_over_us = 0;
    server.dead_until_us = sim.now_us + 100000 + random_below(4000000);
    sim.jump_us += (int64_t)random_below(1000000) - 500000;
    server_take_over();
    server_rename();
    for (unsigned i = 0; i < scene->holders; i++) {
        runs(&holders[i]);
        link_break(holders[i].link);
    }
}

static void some_fault(void)
{
    static const char *const names[] = {"flush", "stop", "kill", "jump", "late", "fail over"};
    if (scene->faults && chance(0.0002)) {
        /* What a dead holder has used is known to Redis alone: where holders die, and an interval
         * is longer than learning takes, Redis stays. */
        bool stays = scene->deaths && scene->rules[0].interval_ms > 1000;
        uint32_t which = stays ? 4 : random_below(6);
        trace(names[which]);
        switch (which) {
        case 0: server_forget(); break;
        case 1: server.stands_until_us = sim.now_us + random_below(4000000); break;
        case 2:
            server.dead_until_us = sim.now_us + random_below(6000000);
            server_forget();
            break;
        case 3:
            sim.jump_us += (int64_t)random_below(7200000) * 1000 - (int64_t)3600 * 1000000;
            break;
        case 4: server.late = server.late > 0 ? 0 : 0.2; break;
        default:
            server_replicate();
            server.fails_over_us = sim.now_us + 1 + random_below(1000000);
            break;
        }
    }
    if (scene->deaths && chance(0.0002)) {
        struct holder *holder = &holders[random_below(scene->holders)];
        bool killed = chance(0.5);
        trace(killed ? "holder killed" : "holder leaves");
        holder_end(holder, killed);
        holder_begin(holder);
    }
}

void holders_step(void)
{
    some_fault();
    if (server.fails_over_us != 0 && sim.now_us >= server.fails_over_us) {
        fail_over();
    }
    for (size_t i = 0; i < 8; i++) { /* replies that are due, one after the other */
        wires_move();
    }
    for (unsigned i = 0; i < scene->holders; i++) {
        struct holder *holder = &holders[i];
        runs(holder);
        link_watch(holder->link);
        judge_alone(i, alone(holder) >= 0);
        wheel_advance(holder->loop.wheel, mono_now());
        loop_run_tasks(&holder->loop);
        for (size_t k = 0; k < WAITERS; k++) {
            struct use *use = &holder->uses[k];
            if (use->free_at_us != 0) {
                give_back(holder, use);
            }
            if (use->free_at_us == 0 && !list_linked(&use->waiter.node)) {
                try_take(use);
            }
        }
        loop_run_tasks(&holder->loop);
    }
    sim.now_us += STEP_US;
}

void holders_begin(void)
{
    for (unsigned i = 0; i < scene->holders; i++) {
        holder_begin(&holders[i]);
    }
}

void holders_end(void)
{
    for (unsigned i = 0; i < scene->holders; i++) {
        holder_end(&holders[i], false);
    }
}
