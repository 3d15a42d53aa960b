/*
 * What the tests of this room share: a world (loop, listener, watchdog) and ends, which are owners
 * of connections that remember what happened to them and whose behaviour a test changes by hooks.
 */
#ifndef SLUICE_TESTS_IO_HARNESS_H
#define SLUICE_TESTS_IO_HARNESS_H

#include "base/mem.h"
#include "base/strbuf.h"
#include "io/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_MS 60000
#define TICK_MS 5

struct world;

struct end {
    struct world *world;
    struct io_conn *conn;
    struct strbuf in;
    struct slice out; /* what is left to write */
    size_t out_piece; /* 0: one piece for all; else pieces of this size */
    unsigned connected, secured, closed, inputs, outputs, sents;
    bool secured_ok;
    struct fault fault, secure_fault;
    struct tls_facts facts; /* as they were in closed() */
    bool echo;              /* what comes in is what goes out */
    struct strbuf echoed;
    void (*on_connected)(struct end *end);
    /* Returns how much is taken; NULL: all, into `in`. */
    size_t (*on_input)(struct end *end, struct slice bytes);
    void (*on_output)(struct end *end);
    void (*on_sent)(struct end *end);
    void (*on_secured)(struct end *end);
    void (*on_closed)(struct end *end);
    struct timer timer;
    int number;
};

struct world {
    struct io_loop *loop;
    struct io_listener *listener;
    struct sockaddr_storage address; /* of the listener */
    socklen_t address_len;
    struct end client, server;
    struct tls_context *client_tls, *server_tls;
    unsigned accepted;
    void (*on_accept)(struct world *world, struct io_conn *conn);
    bool (*done)(struct world *world);
    struct timer watchdog, tick;
};

static inline void world_look(struct world *world)
{
    if (world->done != NULL && world->done(world)) {
        io_loop_stop(world->loop);
    }
}

static inline void end_connected(struct io_conn *conn, void *owner)
{
    struct end *end = owner;
    assert_ptr_equal(end->conn, conn);
    end->connected++;
    if (end->on_connected != NULL) {
        end->on_connected(end);
    }
    world_look(end->world);
}

static inline size_t end_input(struct io_conn *conn, void *owner, struct slice bytes)
{
    struct end *end = owner;
    assert_ptr_equal(end->conn, conn);
    assert_true(bytes.len > 0);
    size_t taken = bytes.len;
    end->inputs++;
    if (end->on_input != NULL) {
        taken = end->on_input(end, bytes);
    } else if (end->echo) {
        assert_true(strbuf_add_slice(&end->echoed, bytes));
    } else {
        assert_true(strbuf_add_slice(&end->in, bytes));
    }
    world_look(end->world);
    return taken;
}

static inline size_t end_output(struct io_conn *conn, void *owner, struct iovec *pieces, size_t max)
{
    struct end *end = owner;
    assert_ptr_equal(end->conn, conn);
    struct slice rest = end->echo ? strbuf_slice(&end->echoed) : end->out;
    size_t count = 0;
    end->outputs++;
    if (end->on_output != NULL) {
        end->on_output(end);
        if (end->conn == NULL) {
            return 0;
        }
    }
    while (rest.len > 0 && count < max) {
        struct slice piece = end->out_piece == 0 ? rest : slice_head(rest, end->out_piece);
        union {
            const char *in;
            void *out;
        } pointer = {.in = piece.ptr};
        pieces[count++] = (struct iovec){pointer.out, piece.len};
        rest = slice_skip(rest, piece.len);
    }
    return count;
}

static inline void end_sent(struct io_conn *conn, void *owner, size_t len)
{
    struct end *end = owner;
    assert_ptr_equal(end->conn, conn);
    assert_true(len > 0);
    end->sents++;
    if (end->echo) {
        strbuf_consume(&end->echoed, len);
    } else {
        assert_true(len <= end->out.len);
        end->out = slice_skip(end->out, len);
    }
    if (end->on_sent != NULL) {
        end->on_sent(end);
    }
    world_look(end->world);
}

static inline void end_secured(struct io_conn *conn, void *owner, bool ok,
                               const struct fault *fault)
{
    struct end *end = owner;
    assert_ptr_equal(end->conn, conn);
    end->secured++;
    end->secured_ok = ok;
    end->secure_fault = *fault;
    assert_int_equal(ok, fault->kind == FAULT_NONE);
    if (end->on_secured != NULL) {
        end->on_secured(end);
    }
    world_look(end->world);
}

static inline void end_closed(struct io_conn *conn, void *owner, const struct fault *fault)
{
    struct end *end = owner;
    assert_ptr_equal(end->conn, conn);
    end->closed++;
    end->fault = *fault;
    io_conn_facts(conn, &end->facts);
    if (end->on_closed != NULL) {
        end->on_closed(end);
    }
    end->conn = NULL;
    world_look(end->world);
}

static const struct io_conn_ops end_ops = {.connected = end_connected,
                                           .input = end_input,
                                           .output = end_output,
                                           .sent = end_sent,
                                           .secured = end_secured,
                                           .closed = end_closed};

static inline void end_init(struct end *end, struct world *world)
{
    memset(end, 0, sizeof(*end));
    end->world = world;
    strbuf_init(&end->in, (size_t)128 << 20);
    strbuf_init(&end->echoed, (size_t)128 << 20);
}

static inline void end_clear(struct end *end)
{
    io_conn_free(&end->conn);
    strbuf_free(&end->in);
    strbuf_free(&end->echoed);
}

static inline void world_accepted(struct io_listener *listener, void *owner, struct io_conn *conn)
{
    struct world *world = owner;
    assert_ptr_equal(world->listener, listener);
    world->accepted++;
    if (world->on_accept != NULL) {
        world->on_accept(world, conn);
    } else {
        assert_null(world->server.conn);
        world->server.conn = conn;
        io_conn_set_owner(conn, &end_ops, &world->server);
    }
    world_look(world);
}

static inline void world_watchdog(struct timer *timer, struct mono_time now)
{
    struct world *world = CONTAINER_OF(timer, struct world, watchdog);
    (void)now;
    fail_msg("the test hangs: client connected=%u secured=%u inputs=%u closed=%u (%s), server "
             "accepted=%u secured=%u inputs=%u closed=%u (%s)",
             world->client.connected, world->client.secured, world->client.inputs,
             world->client.closed, world->client.fault.text, world->accepted, world->server.secured,
             world->server.inputs, world->server.closed, world->server.fault.text);
}

static inline void world_tick(struct timer *timer, struct mono_time now)
{
    struct world *world = CONTAINER_OF(timer, struct world, tick);
    wheel_set(io_loop_wheel(world->loop), timer, mono_add_ms(now, TICK_MS), world_tick);
    world_look(world);
}

static inline void world_listen(struct world *world, const char *address, uint32_t max_connections)
{
    struct fault fault;
    struct sockaddr_storage local;
    socklen_t len;
    assert_true(io_address_parse(slice_cstr(address), 0, &local, &len, &fault));
    struct io_listener_options options = {
        .local = (struct sockaddr *)&local, .local_len = len, .max_connections = max_connections};
    world->listener = io_listen(world->loop, &options, world_accepted, world, &fault);
    if (world->listener == NULL) {
        fail_msg("%s", fault.text);
    }
    assert_true(io_listener_local(world->listener, &world->address));
    world->address_len = len;
}

static inline struct world *world_create(void)
{
    struct world *world = mem_zalloc(sizeof(*world));
    struct fault fault;
    world->loop = io_loop_create(&fault);
    assert_non_null(world->loop);
    end_init(&world->client, world);
    end_init(&world->server, world);
    struct wheel *wheel = io_loop_wheel(world->loop);
    wheel_set(wheel, &world->watchdog, mono_add_ms(mono_now(), WATCHDOG_MS), world_watchdog);
    wheel_set(wheel, &world->tick, mono_add_ms(mono_now(), TICK_MS), world_tick);
    return world;
}

static inline void world_free(struct world *world)
{
    struct wheel *wheel = io_loop_wheel(world->loop);
    end_clear(&world->client);
    end_clear(&world->server);
    wheel_cancel(wheel, &world->client.timer);
    wheel_cancel(wheel, &world->server.timer);
    wheel_cancel(wheel, &world->watchdog);
    wheel_cancel(wheel, &world->tick);
    io_listener_free(&world->listener);
    tls_context_free(&world->client_tls);
    tls_context_free(&world->server_tls);
    io_loop_free(&world->loop);
    mem_free(world);
}

static inline void world_run_until(struct world *world, bool (*done)(struct world *world))
{
    world->done = done;
    io_loop_run(world->loop);
    world->done = NULL;
}

static inline struct io_conn *end_try_connect(struct end *end, const char *local,
                                              int64_t timeout_ms, struct fault *fault)
{
    struct sockaddr_storage bound;
    struct io_conn_connect how = {.remote = (struct sockaddr *)&end->world->address,
                                  .remote_len = end->world->address_len,
                                  .timeout_ms = timeout_ms};
    if (local != NULL) {
        assert_true(io_address_parse(slice_cstr(local), 0, &bound, &how.local_len, fault));
        how.local = (struct sockaddr *)&bound;
    }
    end->conn = io_conn_connect(end->world->loop, &how, &end_ops, end, fault);
    return end->conn;
}

static inline void end_connect(struct end *end)
{
    struct fault fault;
    if (end_try_connect(end, NULL, 10000, &fault) == NULL) {
        fail_msg("%s", fault.text);
    }
    assert_int_equal(end->connected, 0);
    assert_int_equal(end->closed, 0);
}

/* A blocking client socket outside the loop, connected to the world's listener. */
static inline int raw_connect(struct world *world)
{
    int fd = socket(world->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&world->address, world->address_len), 0);
    return fd;
}

static inline bool client_closed(struct world *world)
{
    return world->client.closed > 0;
}

static inline bool server_closed(struct world *world)
{
    return world->server.closed > 0;
}

static inline bool both_closed(struct world *world)
{
    return world->client.closed > 0 && world->server.closed > 0;
}

static inline bool both_secured(struct world *world)
{
    return world->client.secured > 0 && world->server.secured > 0;
}

/* A byte pattern that shows a lost, doubled or moved byte. */
static inline char pattern_at(size_t position)
{
    return (char)((position * 2654435761u) >> 13);
}

static inline char *pattern_make(size_t len)
{
    char *bytes = mem_try_alloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = pattern_at(i);
    }
    return bytes;
}

#endif
