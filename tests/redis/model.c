/*
 * The limiter against a simple exact model: several holders and a Redis that is Lua in this
 * process, all in simulated time. Requests and replies are late or lost, Redis stands still, dies,
 * forgets everything, and its clock is set; holders die and begin anew. The model is what a
 * provider would count: no interval sees more than the amount, there are never more connections
 * than slots, no day more than its cap. Without faults the limit must also be used.
 *
 *   redis_model [SEED [RUNS]]     the seed of a run that failed is printed
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"
#include "redis/limiter.h"
#include "redis/link.h"
#include "redis/script.h"
#include "tests/redis/simulated.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HOLDERS_MAX 8
#define WAITERS 4
#define LIMITS_MAX 2
#define STEP_US 1000
#define TIMEOUT_US 500000
#define VALUES_MAX 256
#define DAY_US ((int64_t)86400 * 1000000)

/* ---- Redis ---- */

static struct {
    lua_State *lua;
    int64_t stands_until_us; /* SIGSTOP */
    int64_t dead_until_us;   /* killed: empty when it is back */
    double lost, late;       /* part of the requests and replies */
    bool gives_up;           /* late means so late that nobody waits any more */
    int64_t fails_over_us;   /* then its replica begins, which is behind; 0: never */
    char name[16];           /* another one for another server */
} server;

static int lua_clock(lua_State *lua)
{
    lua_pushnumber(lua, (double)(START_US + sim_us + jump_us));
    return 1;
}

static void must(int status)
{
    if (status != 0) {
        fprintf(stderr, "Lua: %s\n", lua_tostring(server.lua, -1));
        abort();
    }
}

static void server_open(const char *fake)
{
    server.lua = luaL_newstate();
    luaL_openlibs(server.lua);
    lua_pushcfunction(server.lua, lua_clock);
    lua_setglobal(server.lua, "clock_us");
    must(luaL_dofile(server.lua, fake));
    must(luaL_loadbuffer(server.lua, redis_limiter_lua, redis_limiter_lua_len, "limiter.lua"));
    lua_setglobal(server.lua, "limiter");
}

static void server_do(const char *what)
{
    lua_getglobal(server.lua, what);
    must(lua_pcall(server.lua, 0, 0, 0));
}

static void server_forget(void)
{
    server_do("flushall");
}

static void server_rename(void)
{
    static unsigned number;
    (void)snprintf(server.name, sizeof(server.name), "%u", ++number);
}

static void set_strings(const char *name, const struct strbuf *args, size_t from, size_t to)
{
    lua_newtable(server.lua);
    for (size_t i = from; i < to; i++) {
        lua_pushlstring(server.lua, args[i].ptr, args[i].len);
        lua_rawseti(server.lua, -2, (int)(i - from + 1));
    }
    lua_setglobal(server.lua, name);
}

/* ---- links ---- */

/* A request on its way; it lives longer than its call if that was given up. */
struct wire {
    struct list node; /* in wires */
    struct redis_link *link;
    struct redis_call *call; /* NULL: nobody waits for it any more */
    struct strbuf *args;
    size_t count, keys;
    int64_t at_us; /* arrives at the server, or (if executed) back */
    int64_t sent_us;
    bool executed, lost;
    int64_t values[VALUES_MAX];
    size_t value_count;
};

struct redis_link {
    struct redis_link_owner *owner;
    bool up;
    int64_t offset_us; /* of its holder's clock */
    int64_t up_at_us;
    int64_t last_at_us; /* requests of one connection keep their order */
    uint64_t calls;
};

static struct list wires;
static struct redis_link *last_link; /* that was made */

struct redis_link *redis_link_create(const struct redis_setup *setup, const char *host,
                                     uint16_t port, struct redis_link_owner *owner)
{
    struct redis_link *link = mem_zalloc(sizeof(*link));
    (void)setup;
    (void)host;
    (void)port;
    link->owner = owner;
    link->up_at_us = sim_us + 1000 + random_below(5000);
    link->offset_us = offset_us;
    last_link = link;
    return link;
}

bool redis_link_is_up(const struct redis_link *link)
{
    return link->up;
}

struct slice redis_link_server(const struct redis_link *link)
{
    (void)link;
    return slice_cstr(server.name);
}

/* Of a cluster only. */
void redis_link_resend(struct redis_link *link, struct redis_call *call, bool asking)
{
    (void)link;
    (void)call;
    (void)asking;
    CHECK(false);
}

void redis_link_ask_slots(struct redis_link *link)
{
    (void)link;
    CHECK(false);
}

void redis_call_lost(struct redis_call *call)
{
    (void)call;
    CHECK(false);
}

uint64_t redis_link_calls(const struct redis_link *link)
{
    return link->calls;
}

static int64_t delay(void)
{
    /* A link that is given up makes its holder go on alone while others do not: for rates that is
     * an overshoot which is accepted, so there nothing is later than the time that is waited. */
    return chance(server.late) ? 20000 + random_below(server.gives_up ? 1500000 : 200000)
                               : 100 + random_below(3000);
}

void redis_link_call(struct redis_link *link, struct redis_call *call, size_t keys,
                     const struct slice *args, size_t count)
{
    struct wire *wire = mem_zalloc(sizeof(*wire));
    CHECK(link->up);
    call->sent = mono_now();
    wire->link = link;
    wire->call = call;
    wire->keys = keys;
    wire->count = count;
    wire->args = mem_calloc(count, sizeof(*wire->args));
    for (size_t i = 0; i < count; i++) {
        strbuf_init(&wire->args[i], args[i].len + 1);
        (void)strbuf_add_slice(&wire->args[i], args[i]);
    }
    int64_t at = sim_us + delay();
    link->last_at_us = at > link->last_at_us ? at : link->last_at_us + 1;
    wire->at_us = link->last_at_us;
    wire->sent_us = sim_us;
    wire->lost = chance(server.lost);
    link->calls++;
    list_push_back(&wires, &wire->node);
}

static void wire_free(struct wire *wire)
{
    list_remove(&wire->node);
    for (size_t i = 0; i < wire->count; i++) {
        strbuf_free(&wire->args[i]);
    }
    mem_free(wire->args);
    mem_free(wire);
}

static void execute(struct wire *wire)
{
    lua_State *lua = server.lua;
    set_strings("KEYS", wire->args, 0, wire->keys);
    set_strings("ARGV", wire->args, wire->keys, wire->count);
    lua_getglobal(lua, "limiter");
    must(lua_pcall(lua, 0, 1, 0));
    wire->value_count = (size_t)lua_objlen(lua, -1);
    CHECK(wire->value_count <= VALUES_MAX);
    for (size_t i = 0; i < wire->value_count; i++) {
        lua_rawgeti(lua, -1, (int)i + 1);
        wire->values[i] = (int64_t)lua_tonumber(lua, -1);
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
    wire->executed = true;
    wire->at_us = sim_us + delay();
}

/* All calls end, then the owner hears of it. */
static void link_fail(struct redis_link *link)
{
    link->up = false;
    list_foreach_safe (node, after, &wires) {
        struct wire *wire = CONTAINER_OF(node, struct wire, node);
        if (wire->link == link && wire->call != NULL) {
            struct redis_call *call = wire->call;
            wire->call = NULL;
            call->done(call, NULL, 0);
        }
    }
    link->up_at_us = sim_us + 100000 + random_below(400000);
    link->owner->down(link->owner);
}

void redis_link_free(struct redis_link **link, int64_t wait_ms)
{
    (void)wait_ms;
    (*link)->up = false;
    list_foreach_safe (node, after, &wires) {
        struct wire *wire = CONTAINER_OF(node, struct wire, node);
        if (wire->link == *link) {
            struct redis_call *call = wire->call;
            wire->call = NULL;
            wire->link = NULL; /* it may still be executed */
            if (call != NULL) {
                call->done(call, NULL, 0);
            }
        }
    }
    mem_free(*link);
    *link = NULL;
}

static bool server_answers(void)
{
    return sim_us >= server.dead_until_us && sim_us >= server.stands_until_us;
}

/* ---- the holders ---- */

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
    int64_t offset_us;
    bool alive;
    struct limit *limits[LIMITS_MAX];
    struct use uses[WAITERS];
};

struct scene {
    const char *name;
    struct limit_rule rules[LIMITS_MAX];
    size_t rule_count;
    unsigned holders;
    uint32_t n; /* at most so many at once */
    int64_t seconds;
    bool faults;  /* of network and Redis */
    bool deaths;  /* of holders */
    bool idle;    /* holders have nothing to do now and then */
    double least; /* use, in percent of the first limit; 0: it does not matter */
};

struct taken {
    int64_t at_us;
    uint64_t n;
};

static const struct scene *scene;
static struct holder holders[HOLDERS_MAX];
static unsigned born;
static struct taken *log_of_takes;
static size_t log_count, log_room;
static uint64_t in_use, day_sum;
static int64_t day_now;
static uint64_t problems;

static void complain(const char *what, uint64_t seen, uint64_t amount)
{
    if (problems++ < 5) {
        printf("%s: %s: %llu of %llu after %.3f s\n", scene->name, what, (unsigned long long)seen,
               (unsigned long long)amount, (double)sim_us / 1e6);
    }
}

static void note(uint64_t n)
{
    if (log_count == log_room) {
        log_room = log_room == 0 ? 1024 : 2 * log_room;
        log_of_takes = mem_realloc(log_of_takes, log_room * sizeof(*log_of_takes));
    }
    log_of_takes[log_count++] = (struct taken){sim_us, n};
    for (size_t i = 0; i < scene->rule_count; i++) {
        const struct limit_rule *rule = &scene->rules[i];
        if (rule->kind == LIMIT_SLOTS && ++in_use > rule->amount) {
            complain("connections", in_use, rule->amount);
        }
        int64_t today = (START_US + sim_us) / DAY_US;
        if (rule->kind == LIMIT_DAILY) {
            day_sum = (today == day_now ? day_sum : 0) + n;
            day_now = today;
            if (day_sum > rule->amount) {
                complain("a day", day_sum, rule->amount);
            }
        }
    }
}

static void try_take(struct use *use)
{
    struct holder *holder = use->holder;
    struct limit_want wants[LIMITS_MAX];
    for (int i = 0; i < 50 && use->free_at_us == 0 && sim_us >= use->rests_until_us; i++) {
        uint64_t n = 1 + random_below(scene->n);
        bool slot = false;
        for (size_t k = 0; k < scene->rule_count; k++) {
            bool is_slot = scene->rules[k].kind == LIMIT_SLOTS;
            wants[k] = (struct limit_want){.limit = holder->limits[k], .n = is_slot ? 1 : n};
            slot = slot || is_slot;
        }
        if (!redis_limits_take(holder->limiter, wants, scene->rule_count, &use->waiter)) {
            return;
        }
        note(n);
        if (slot) {
            use->free_at_us = sim_us + 20000 + random_below(1000000);
        }
        if (scene->idle && chance(0.01)) {
            use->rests_until_us = sim_us + random_below(5000000);
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
        if (sim_us < use->free_at_us && (use->leaving || !redis_limit_surplus(limit))) {
            return;
        }
        if (sim_us < use->free_at_us) {
            redis_limits_leave(holder->limiter, &limit, 1);
            use->leaving = true;
            use->free_at_us = sim_us + 5000;
            return;
        }
        in_use--; /* the connection is closed, then it is said */
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
    *holder = (struct holder){.alive = true, .offset_us = (int64_t)random_below(2000000000)};
    offset_us = holder->offset_us;
    list_init(&holder->loop.tasks);
    holder->loop.wheel = wheel_create(mono_now());
    redis_options_default(&options);
    (void)snprintf(name, sizeof(name), "w%u", born++);
    holder->limiter = redis_limiter_create(&holder->loop, &options, name, &fault);
    holder->link = last_link;
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
    offset_us = holder->offset_us;
    for (size_t i = 0; i < WAITERS; i++) {
        struct use *use = &holder->uses[i];
        redis_limit_wait_cancel(holder->limiter, &use->waiter);
        if (use->free_at_us != 0) {
            use->free_at_us = sim_us;
            give_back(holder, use);
        }
    }
    for (size_t k = 0; k < scene->rule_count; k++) {
        redis_limit_put(&holder->limits[k]);
    }
    if (killed) {
        list_foreach_safe (node, after, &wires) {
            struct wire *wire = CONTAINER_OF(node, struct wire, node);
            if (wire->link != NULL && wire->link == holder->link && !wire->executed) {
                wire->lost = true;
            }
        }
    }
    redis_limiter_free(&holder->limiter);
    wheel_free(&holder->loop.wheel);
    holder->alive = false;
}

/* ---- what happens ---- */

static void move_wires(void)
{
    list_foreach_safe (node, after, &wires) {
        struct wire *wire = CONTAINER_OF(node, struct wire, node);
        bool answers = server_answers();
        if (wire->at_us > sim_us || (!wire->executed && sim_us < server.stands_until_us)) {
            continue;
        }
        if (wire->lost || (!wire->executed && !answers)) {
            wire->lost = true; /* its caller finds out by the time that passes */
            if (wire->call == NULL) {
                wire_free(wire);
            }
        } else if (!wire->executed) {
            execute(wire);
            wire->lost = chance(server.lost);
        } else {
            struct redis_call *call = wire->call;
            wire->call = NULL;
            if (call != NULL) {
                offset_us = wire->link->offset_us;
                call->done(call, wire->values, wire->value_count);
            }
            wire_free(wire);
            return; /* the list may have changed */
        }
    }
}

static void watch_links(struct redis_link *link)
{
    if (!link->up && sim_us >= link->up_at_us) {
        if (server_answers()) {
            link->up = true;
            link->owner->up(link->owner);
        } else {
            link->up_at_us = sim_us + 500000;
            link->owner->down(link->owner);
        }
        return;
    }
    list_foreach (node, &wires) {
        const struct wire *wire = CONTAINER_OF(node, struct wire, node);
        if (wire->link == link && wire->call != NULL && sim_us - wire->sent_us >= TIMEOUT_US) {
            link_fail(link);
            return;
        }
    }
}

/* Its replica takes over; it lacks what was done last, and its clock is its own. */
static void fail_over(void)
{
    server.fails_over_us = 0;
    server.dead_until_us = sim_us + 100000 + random_below(4000000);
    jump_us += (int64_t)random_below(1000000) - 500000;
    server_do("take_over");
    server_rename();
    for (unsigned i = 0; i < scene->holders; i++) {
        offset_us = holders[i].offset_us;
        if (holders[i].link->up) {
            link_fail(holders[i].link);
        }
    }
}

static bool tracing;

static void trace(const char *what)
{
    if (tracing) {
        printf("    %.3f %s\n", (double)sim_us / 1e6, what);
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
        case 1: server.stands_until_us = sim_us + random_below(4000000); break;
        case 2:
            server.dead_until_us = sim_us + random_below(6000000);
            server_forget();
            break;
        case 3: jump_us += (int64_t)random_below(7200000) * 1000 - (int64_t)3600 * 1000000; break;
        case 4: server.late = server.late > 0 ? 0 : 0.2; break;
        default:
            server_do("replicate");
            server.fails_over_us = sim_us + 1 + random_below(1000000);
            break;
        }
    }
    if (scene->deaths && chance(0.0002)) {
        struct holder *holder = &holders[random_below(scene->holders)];
        bool killed = chance(0.5);
        trace(killed ? "holder killed" : "holder leaves");
        if (killed) {
            holder->link->up = false; /* nothing of its end reaches Redis */
        }
        holder_end(holder, killed);
        holder_begin(holder);
    }
}

static void step(void)
{
    some_fault();
    if (server.fails_over_us != 0 && sim_us >= server.fails_over_us) {
        fail_over();
    }
    for (size_t i = 0; i < 8; i++) { /* replies that are due, one after the other */
        move_wires();
    }
    for (unsigned i = 0; i < scene->holders; i++) {
        struct holder *holder = &holders[i];
        offset_us = holder->offset_us;
        watch_links(holder->link);
        wheel_advance(holder->loop.wheel, mono_now());
        run_tasks(&holder->loop);
        for (size_t k = 0; k < WAITERS; k++) {
            struct use *use = &holder->uses[k];
            if (use->free_at_us != 0) {
                give_back(holder, use);
            }
            if (use->free_at_us == 0 && !list_linked(&use->waiter.node)) {
                try_take(use);
            }
        }
        run_tasks(&holder->loop);
    }
    sim_us += STEP_US;
}

/* ---- the judge ---- */

/* When it was most. */
static void trace_most(const struct limit_rule *rule, uint64_t most)
{
    uint64_t within = 0;
    size_t first = 0;
    for (size_t i = 0; i < log_count; i++) {
        within += log_of_takes[i].n;
        while (log_of_takes[first].at_us <= log_of_takes[i].at_us - rule->interval_ms * 1000) {
            within -= log_of_takes[first++].n;
        }
        if (within == most && tracing) {
            printf("    most at %.3f\n", (double)log_of_takes[i].at_us / 1e6);
            break;
        }
    }
}

static void check_windows(const struct limit_rule *rule)
{
    uint64_t within = 0;
    uint64_t most = 0;
    size_t first = 0;
    for (size_t i = 0; i < log_count; i++) {
        within += log_of_takes[i].n;
        while (log_of_takes[first].at_us <= log_of_takes[i].at_us - rule->interval_ms * 1000) {
            within -= log_of_takes[first++].n;
        }
        most = within > most ? within : most;
    }
    if (tracing) {
        size_t at = 0;
        for (int64_t from = log_of_takes[0].at_us; at < log_count; from += 1000000) {
            uint64_t sum = 0;
            for (; at < log_count && log_of_takes[at].at_us < from + 1000000; at++) {
                sum += log_of_takes[at].n;
            }
            printf("    %.3f: %llu\n", (double)from / 1e6, (unsigned long long)sum);
        }
    }
    if (most > rule->amount) {
        trace_most(rule, most);
        complain("an interval", most, rule->amount);
    }
}

static double use_percent(void)
{
    const struct limit_rule *rule = &scene->rules[0];
    uint64_t sum = 0;
    for (size_t i = 0; i < log_count; i++) {
        sum += log_of_takes[i].n;
    }
    double intervals = (double)scene->seconds * 1000.0 / (double)rule->interval_ms;
    return 100.0 * (double)sum / ((double)rule->amount * intervals);
}

static void play(const struct scene *wanted)
{
    scene = wanted;
    sim_us = 10000000;
    jump_us = 0;
    log_count = 0;
    in_use = day_sum = 0;
    list_init(&wires);
    server_forget();
    server_rename();
    server.fails_over_us = 0;
    server.stands_until_us = server.dead_until_us = 0;
    server.gives_up = scene->rules[0].kind != LIMIT_RATE;
    server.lost = scene->faults && scene->rules[0].kind != LIMIT_RATE ? 0.01 : 0;
    server.late = 0;
    for (unsigned i = 0; i < scene->holders; i++) {
        holder_begin(&holders[i]);
    }
    /* Learning, and the interval in which a limit that nobody knew comes up to its amount. */
    int64_t begin = sim_us + 16000000 +
                    (scene->rules[0].kind == LIMIT_RATE ? scene->rules[0].interval_ms * 1000 : 0);
    size_t before = 0;
    while (sim_us < begin + scene->seconds * 1000000) {
        before = sim_us < begin ? log_count : before;
        step();
    }
    for (size_t k = 0; k < scene->rule_count; k++) {
        if (scene->rules[k].kind == LIMIT_RATE) {
            check_windows(&scene->rules[k]);
        }
    }
    size_t all = log_count;
    memmove(log_of_takes, log_of_takes + before, (all - before) * sizeof(*log_of_takes));
    log_count = all - before;
    if (scene->least > 0 && use_percent() < scene->least) {
        complain("used in percent", (uint64_t)use_percent(), (uint64_t)scene->least);
    }
    printf("  %-34s %zu takes%s", scene->name, all, scene->rules[0].kind == LIMIT_RATE ? "" : "\n");
    if (scene->rules[0].kind == LIMIT_RATE) {
        printf(", use %.1f %%\n", use_percent());
    }
    for (unsigned i = 0; i < scene->holders; i++) {
        holder_end(&holders[i], false);
    }
    list_foreach_safe (node, after, &wires) {
        wire_free(CONTAINER_OF(node, struct wire, node));
    }
}

static const struct scene scenes[] = {
    {"100/s", {{LIMIT_RATE, 100, 1000, 0}}, 1, 8, 1, 20, false, false, false, 95},
    {"30/min", {{LIMIT_RATE, 30, 60000, 0}}, 1, 8, 1, 120, false, false, false, 90},
    {"1000/s, up to 7 at once", {{LIMIT_RATE, 1000, 1000, 0}}, 1, 4, 7, 20, false, false, true, 80},
    {"100/s with 700/10s",
     {{LIMIT_RATE, 700, 10000, 0}, {LIMIT_RATE, 100, 1000, 0}},
     2,
     8,
     1,
     60,
     false,
     false,
     false,
     85},
    {"100/s, faults", {{LIMIT_RATE, 100, 1000, 0}}, 1, 8, 1, 60, true, false, false, 0},
    {"100/s, faults and deaths", {{LIMIT_RATE, 100, 1000, 0}}, 1, 8, 1, 60, true, true, true, 0},
    {"30/min, faults", {{LIMIT_RATE, 30, 60000, 0}}, 1, 8, 1, 240, true, false, false, 0},
    {"30/min, faults and deaths", {{LIMIT_RATE, 30, 60000, 0}}, 1, 8, 1, 240, true, true, false, 0},
    {"200/10s, up to 5, faults", {{LIMIT_RATE, 200, 10000, 0}}, 1, 5, 5, 60, true, true, true, 0},
    {"5 connections", {{LIMIT_SLOTS, 5, 0, 0}}, 1, 8, 1, 40, false, false, false, 0},
    {"5 connections, faults", {{LIMIT_SLOTS, 5, 0, 0}}, 1, 8, 1, 60, true, false, false, 0},
    {"5 connections, faults and deaths",
     {{LIMIT_SLOTS, 5, 0, 0}},
     1,
     8,
     1,
     60,
     true,
     true,
     true,
     0},
    {"500 a day", {{LIMIT_DAILY, 500, 0, 0}}, 1, 4, 3, 30, false, true, false, 0},
    {"500 a day, faults", {{LIMIT_DAILY, 500, 0, 0}}, 1, 4, 3, 60, true, false, false, 0},
};

int main(int argc, char **argv)
{
    uint64_t base = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    unsigned runs = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
    const char *source = getenv("SLUICE_SOURCE_DIR");
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/tests/redis/fake.lua", source == NULL ? "." : source);
    server_open(path);
    tracing = getenv("TRACE") != NULL;
    log_setup("model", tracing ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    for (unsigned run = 0; run < runs && problems == 0; run++) {
        uint64_t number = base + run;
        printf("seed %llu\n", (unsigned long long)number);
        for (size_t i = 0; i < ARRAY_LEN(scenes) && problems == 0; i++) {
            seed = number * 1000 + i;
            play(&scenes[i]);
        }
    }
    lua_close(server.lua);
    mem_free(log_of_takes);
    return problems > 0;
}
