/* See model.h: Redis with the limiter's script, the links to it. */
#include "tests/redis/model.h"

#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"
#include "redis/script.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_US 500000
#define VALUES_MAX 256

/* ---- Redis ---- */

struct server server;
static lua_State *engine;

static int lua_clock(lua_State *lua)
{
    lua_pushnumber(lua, (double)(sim.start_us + sim.now_us + sim.jump_us));
    return 1;
}

void server_close(void)
{
    lua_close(engine);
}

static void must(int status)
{
    if (status != 0) {
        fprintf(stderr, "Lua: %s\n", lua_tostring(engine, -1));
        abort();
    }
}

void server_open(const char *fake)
{
    engine = luaL_newstate();
    luaL_openlibs(engine);
    lua_pushcfunction(engine, lua_clock);
    lua_setglobal(engine, "clock_us");
    must(luaL_dofile(engine, fake));
    must(luaL_loadbuffer(engine, redis_limiter_lua, redis_limiter_lua_len, "limiter.lua"));
    lua_setglobal(engine, "limiter");
}

static void server_do(const char *what)
{
    lua_getglobal(engine, what);
    must(lua_pcall(engine, 0, 0, 0));
}

void server_forget(void)
{
    server_do("flushall");
}

void server_replicate(void)
{
    server_do("replicate");
}

void server_take_over(void)
{
    server_do("take_over");
}

void server_rename(void)
{
    static unsigned number;
    (void)snprintf(server.name, sizeof(server.name), "%u", ++number);
}

static void set_strings(const char *name, const struct strbuf *args, size_t from, size_t to)
{
    lua_newtable(engine);
    for (size_t i = from; i < to; i++) {
        lua_pushlstring(engine, args[i].ptr, args[i].len);
        lua_rawseti(engine, -2, (int)(i - from + 1));
    }
    lua_setglobal(engine, name);
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
    int64_t offset_us, wall_us; /* of its holder's clocks */
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
    link->up_at_us = sim.now_us + 1000 + random_below(5000);
    link->offset_us = sim.offset_us;
    link->wall_us = sim.wall_us;
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
    int64_t at = sim.now_us + delay();
    link->last_at_us = at > link->last_at_us ? at : link->last_at_us + 1;
    wire->at_us = link->last_at_us;
    wire->sent_us = sim.now_us;
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
    lua_State *lua = engine;
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
    wire->at_us = sim.now_us + delay();
}

/* All calls end, then the owner hears of it. */
void link_break(struct redis_link *link)
{
    if (!link->up) {
        return;
    }
    link->up = false;
    list_foreach_safe (node, after, &wires) {
        struct wire *wire = CONTAINER_OF(node, struct wire, node);
        if (wire->link == link && wire->call != NULL) {
            struct redis_call *call = wire->call;
            wire->call = NULL;
            call->done(call, NULL, 0);
        }
    }
    link->up_at_us = sim.now_us + 100000 + random_below(400000);
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

void link_kill(struct redis_link *link)
{
    link->up = false;
    list_foreach (node, &wires) {
        struct wire *wire = CONTAINER_OF(node, struct wire, node);
        wire->lost = wire->lost || (wire->link == link && !wire->executed);
    }
}

struct redis_link *link_last(void)
{
    return last_link;
}

static bool server_answers(void)
{
    return sim.now_us >= server.dead_until_us && sim.now_us >= server.stands_until_us;
}

void wires_move(void)
{
    list_foreach_safe (node, after, &wires) {
        struct wire *wire = CONTAINER_OF(node, struct wire, node);
        bool answers = server_answers();
        if (wire->at_us > sim.now_us || (!wire->executed && sim.now_us < server.stands_until_us)) {
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
                sim.offset_us = wire->link->offset_us;
                sim.wall_us = wire->link->wall_us;
                call->done(call, wire->values, wire->value_count);
            }
            wire_free(wire);
            return; /* the list may have changed */
        }
    }
}

void link_watch(struct redis_link *link)
{
    if (!link->up && sim.now_us >= link->up_at_us) {
        if (server_answers()) {
            link->up = true;
            link->owner->up(link->owner);
        } else {
            link->up_at_us = sim.now_us + 500000;
            link->owner->down(link->owner);
        }
        return;
    }
    list_foreach (node, &wires) {
        const struct wire *wire = CONTAINER_OF(node, struct wire, node);
        if (wire->link == link && wire->call != NULL && sim.now_us - wire->sent_us >= TIMEOUT_US) {
            link_break(link);
            return;
        }
    }
}

void wires_init(void)
{
    list_init(&wires);
}

void wires_clear(void)
{
    list_foreach_safe (node, after, &wires) {
        wire_free(CONTAINER_OF(node, struct wire, node));
    }
}
