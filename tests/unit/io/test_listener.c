#include "unit/io/harness.h"

#include <sys/resource.h>

#define CLIENTS 3

/* Accepted connections of these tests: the owner is a slot. */
struct slot {
    struct world *world;
    struct io_conn *conn;
};

static struct slot slots[CLIENTS];
static struct slot *next_slot;

static size_t slot_input(struct io_conn *conn, void *owner, struct slice bytes)
{
    (void)conn;
    (void)owner;
    return bytes.len;
}

static void slot_closed(struct io_conn *conn, void *owner, const struct fault *fault)
{
    struct slot *slot = owner;
    (void)conn;
    (void)fault;
    slot->conn = NULL;
}

static const struct io_conn_ops slot_ops = {.input = slot_input, .closed = slot_closed};

static void into_slot(struct world *world, struct io_conn *conn)
{
    struct slot *slot = next_slot++;
    assert_true(slot < slots + CLIENTS);
    slot->world = world;
    slot->conn = conn;
    io_conn_set_owner(conn, &slot_ops, slot);
}

static void slots_reset(void)
{
    memset(slots, 0, sizeof(slots));
    next_slot = slots;
}

static void slots_free(void)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        io_conn_free(&slots[i].conn);
    }
}

static bool ticked(struct world *world)
{
    return ++world->client.number > 10;
}

static bool all_accepted(struct world *world)
{
    return world->accepted == CLIENTS;
}

static void beyond_the_bound_connections_wait(void **state)
{
    (void)state;
    struct world *world = world_create();
    int fds[CLIENTS];
    slots_reset();
    world->on_accept = into_slot;
    world_listen(world, "127.0.0.1:0", 2);
    for (size_t i = 0; i < CLIENTS; i++) {
        fds[i] = raw_connect(world);
    }
    world_run_until(world, ticked);
    assert_int_equal(world->accepted, 2);
    close(fds[0]); /* its place goes to the one that waits */
    world_run_until(world, all_accepted);
    assert_null(slots[0].conn);
    slots_free();
    close(fds[1]);
    close(fds[2]);
    world_free(world);
}

static void rests_without_descriptors(void **state)
{
    (void)state;
    struct world *world = world_create();
    struct rlimit limit, low;
    int fds[CLIENTS];
    slots_reset();
    world->on_accept = into_slot;
    world_listen(world, "127.0.0.1:0", 0);
    for (size_t i = 0; i < CLIENTS; i++) {
        fds[i] = raw_connect(world);
    }
    int next_fd = dup(0);
    close(next_fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = (struct rlimit){.rlim_cur = (rlim_t)next_fd, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    world_run_until(world, ticked);
    assert_int_equal(world->accepted, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    world_run_until(world, all_accepted);
    slots_free();
    for (size_t i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
    world_free(world);
}

static void free_at_once(struct world *world, struct io_conn *conn)
{
    (void)conn; /* gets no owner: closed by the listener */
    io_listener_free(&world->listener);
}

static bool any_accepted(struct world *world)
{
    return world->accepted > 0;
}

static void the_callback_may_free_the_listener(void **state)
{
    (void)state;
    struct world *world = world_create();
    char byte;
    world->on_accept = free_at_once;
    world_listen(world, "127.0.0.1:0", 0);
    int fd = raw_connect(world);
    world_run_until(world, any_accepted);
    assert_null(world->listener);
    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
    world_free(world);
}

static void connections_outlive_the_listener(void **state)
{
    (void)state;
    struct world *world = world_create();
    world_listen(world, "127.0.0.1:0", 1);
    int fd = raw_connect(world);
    world_run_until(world, any_accepted);
    io_listener_free(&world->listener);
    close(fd);
    world_run_until(world, server_closed);
    assert_int_equal(world->server.fault.kind, FAULT_CLOSED);
    world_free(world);
}

static struct io_listener *listen_again(struct world *world, bool reuse_port, struct fault *fault)
{
    struct io_listener_options options = {.local = (struct sockaddr *)&world->address,
                                          .local_len = world->address_len,
                                          .reuse_port = reuse_port};
    return io_listen(world->loop, &options, world_accepted, world, fault);
}

static void a_taken_port_is_a_fault(void **state)
{
    (void)state;
    struct world *world = world_create();
    struct fault fault = {0};
    world_listen(world, "[::1]:0", 0);
    assert_null(listen_again(world, false, &fault));
    assert_int_equal(fault.code, EADDRINUSE);
    assert_non_null(strstr(fault.text, "::1 port "));
    io_listener_free(&world->listener);
    world->listener = listen_again(world, true, &fault);
    assert_non_null(world->listener);
    struct io_listener *second = listen_again(world, true, &fault);
    assert_non_null(second);
    io_listener_free(&second);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beyond_the_bound_connections_wait),
        cmocka_unit_test(rests_without_descriptors),
        cmocka_unit_test(the_callback_may_free_the_listener),
        cmocka_unit_test(connections_outlive_the_listener),
        cmocka_unit_test(a_taken_port_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
