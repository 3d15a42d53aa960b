#include "unit/io/harness.h"

#include <poll.h>

#define BIG ((size_t)50 << 20)

static bool client_has_echo(struct world *world)
{
    return world->client.in.len >= 100000;
}

static void echo_over(const char *listen_on)
{
    struct world *world = world_create();
    char *bytes = pattern_make(100000);
    struct sockaddr_storage here, there;
    world_listen(world, listen_on, 0);
    world->server.echo = true;
    world->client.out = slice_of(bytes, 100000);
    world->client.out_piece = 777;
    end_connect(&world->client);
    world_run_until(world, client_has_echo);
    assert_int_equal(world->client.connected, 1);
    assert_true(slice_eq(strbuf_slice(&world->client.in), slice_of(bytes, 100000)));

    assert_true(io_conn_remote(world->client.conn, &there));
    assert_memory_equal(&there, &world->address, world->address_len);
    assert_true(io_conn_local(world->client.conn, &here));
    assert_true(io_conn_remote(world->server.conn, &there));
    assert_memory_equal(&there, &here, world->address_len);
    world_free(world);
    mem_free(bytes);
}

static void echo_ipv4(void **state)
{
    (void)state;
    echo_over("127.0.0.1:0");
}

static void echo_ipv6(void **state)
{
    (void)state;
    echo_over("[::1]:0");
}

/* One event answers many inputs with one write. */
static size_t answer_later(struct end *end, struct slice bytes)
{
    strbuf_add_slice(&end->in, bytes);
    end->out = SLICE("220 go\r\n");
    io_conn_flush(end->conn); /* inside an event: only at its end */
    assert_int_equal(end->sents, 0);
    return bytes.len;
}

static bool client_got_some(struct world *world)
{
    return world->client.in.len > 0;
}

static void flush_inside_an_event_waits_for_its_end(void **state)
{
    (void)state;
    struct world *world = world_create();
    world_listen(world, "127.0.0.1:0", 0);
    world->server.on_input = answer_later;
    world->client.out = SLICE("EHLO x\r\n");
    end_connect(&world->client);
    world_run_until(world, client_got_some);
    assert_int_equal(world->server.sents, 1);
    assert_true(slice_eq(strbuf_slice(&world->client.in), SLICE("220 go\r\n")));
    world_free(world);
}

static bool client_connected(struct world *world)
{
    return world->client.connected > 0 && world->accepted > 0;
}

static void flush_outside_writes_at_once(void **state)
{
    (void)state;
    struct world *world = world_create();
    world_listen(world, "127.0.0.1:0", 0);
    end_connect(&world->client);
    world_run_until(world, client_connected);
    world->server.out = SLICE("220 hello\r\n");
    io_conn_flush(world->server.conn);
    assert_int_equal(world->server.out.len, 0);
    world_run_until(world, client_got_some);
    world_free(world);
}

struct slow_reader {
    int fd;
    size_t got;
    struct io_watch *watch;
    struct io_loop *loop;
};

static void read_slowly(struct io_watch *watch, void *owner, unsigned events)
{
    struct slow_reader *reader = owner;
    char buffer[3000];
    (void)watch;
    (void)events;
    ssize_t got = read(reader->fd, buffer, sizeof(buffer));
    assert_true(got > 0);
    for (ssize_t i = 0; i < got; i++) {
        if (buffer[i] != pattern_at(reader->got + (size_t)i)) {
            fail_msg("byte %zu is wrong", reader->got + (size_t)i);
        }
    }
    reader->got += (size_t)got;
    if (reader->got == BIG) {
        io_loop_stop(reader->loop);
    }
}

static void partial_writes_to_a_tiny_receive_buffer(void **state)
{
    (void)state;
    struct world *world = world_create();
    struct fault fault;
    int size = 4096;
    char *bytes = pattern_make(BIG);
    world_listen(world, "127.0.0.1:0", 0);
    world->server.out = slice_of(bytes, BIG);
    world->server.out_piece = 5000;
    struct slow_reader reader = {.loop = world->loop};
    reader.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(reader.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
    assert_int_equal(connect(reader.fd, (struct sockaddr *)&world->address, world->address_len), 0);
    reader.watch = io_watch_create(world->loop, reader.fd, read_slowly, &reader, &fault);
    assert_non_null(reader.watch);
    io_watch_set(reader.watch, IO_READABLE);
    io_loop_run(world->loop);
    assert_int_equal(reader.got, BIG);
    assert_int_equal(world->server.out.len, 0);
    io_watch_free(&reader.watch);
    close(reader.fd);
    world_free(world);
    mem_free(bytes);
}

static void resume_later(struct timer *timer, struct mono_time now)
{
    struct end *end = CONTAINER_OF(timer, struct end, timer);
    (void)now;
    if (end->conn != NULL) {
        io_conn_resume(end->conn);
    }
}

/* Takes a third, then pauses: now and then for a while, else with a resume in the same breath. */
static size_t take_a_third(struct end *end, struct slice bytes)
{
    size_t taken = bytes.len < 3 ? bytes.len : bytes.len / 3;
    strbuf_add(&end->in, bytes.ptr, taken);
    if (taken < bytes.len) {
        if (++end->number % 50 == 0) {
            wheel_set(io_loop_wheel(end->world->loop), &end->timer,
                      mono_add_ms(io_loop_now(end->world->loop), 1), resume_later);
        } else {
            io_conn_resume(end->conn);
        }
    }
    return taken;
}

static void pauses_and_resumes(void **state)
{
    (void)state;
    struct world *world = world_create();
    size_t len = 3000000;
    char *bytes = pattern_make(len);
    world_listen(world, "127.0.0.1:0", 0);
    world->client.out = slice_of(bytes, len);
    world->server.on_input = take_a_third;
    end_connect(&world->client);
    world_run_until(world, client_connected);
    io_conn_finish(world->client.conn);
    world_run_until(world, both_closed);
    assert_int_equal(world->client.fault.kind, FAULT_NONE);
    assert_int_equal(world->server.fault.kind, FAULT_CLOSED);
    assert_true(slice_eq(strbuf_slice(&world->server.in), slice_of(bytes, len)));
    world_free(world);
    mem_free(bytes);
}

static size_t take_nothing(struct end *end, struct slice bytes)
{
    assert_int_equal(end->inputs, 1); /* paused: not offered again by itself */
    assert_true(bytes.len > 0);
    return 0;
}

static bool server_paused(struct world *world)
{
    return world->server.inputs == 1 && ++world->server.number > 20;
}

static void stays_paused_until_resumed(void **state)
{
    (void)state;
    struct world *world = world_create();
    world_listen(world, "127.0.0.1:0", 0);
    world->client.out = SLICE("0123456789");
    world->server.on_input = take_nothing;
    end_connect(&world->client);
    world_run_until(world, server_paused);
    assert_int_equal(world->server.inputs, 1);
    world->server.on_input = NULL;
    io_conn_resume(world->server.conn);
    io_conn_finish(world->client.conn);
    world_run_until(world, both_closed);
    assert_true(slice_eq(strbuf_slice(&world->server.in), SLICE("0123456789")));
    world_free(world);
}

static void finish_in_input(struct world *world, struct io_conn *conn)
{
    world->server.conn = conn;
    io_conn_set_owner(conn, &end_ops, &world->server);
    world->server.out = SLICE("554 no\r\n");
    io_conn_finish(conn);
}

/* The peer goes on sending, which must not turn our last words into a reset. */
static void last_words_survive_unread_input(void **state)
{
    (void)state;
    struct world *world = world_create();
    char chunk[4096] = {0};
    char reply[64];
    size_t len = 0;
    world_listen(world, "127.0.0.1:0", 0);
    world->on_accept = finish_in_input;
    int fd = raw_connect(world);
    assert_int_equal(write(fd, chunk, sizeof(chunk)), sizeof(chunk));
    world_run_until(world, server_closed);
    assert_int_equal(world->server.fault.kind, FAULT_NONE);
    assert_int_equal(world->server.inputs, 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL), sizeof(chunk));
    }
    ssize_t got;
    while ((got = read(fd, reply + len, sizeof(reply) - len)) > 0) {
        len += (size_t)got;
    }
    assert_int_equal(got, 0);
    assert_true(slice_eq(slice_of(reply, len), SLICE("554 no\r\n")));
    close(fd);
    world_free(world);
}

static bool server_has_ten(struct world *world)
{
    return world->server.in.len == 10;
}

static void peer_reset_is_told(void **state)
{
    (void)state;
    struct world *world = world_create();
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    world_listen(world, "127.0.0.1:0", 0);
    int fd = raw_connect(world);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    world_run_until(world, server_has_ten);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(fd);
    world_run_until(world, server_closed);
    assert_int_equal(world->server.fault.kind, FAULT_CLOSED);
    assert_int_equal(world->server.fault.code, ECONNRESET);
    world_free(world);
}

/* A reset behind the last reply: the reply still comes in. */
static void bytes_before_a_reset_are_read(void **state)
{
    (void)state;
    struct world *world = world_create();
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    world_listen(world, "127.0.0.1:0", 0);
    int fd = raw_connect(world);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    usleep(1000);
    close(fd);
    world_run_until(world, server_closed);
    assert_int_equal(world->server.closed, 1);
    assert_true(slice_eq(strbuf_slice(&world->server.in), SLICE("0123456789")));
    world_free(world);
}

/* A port that nobody listens on, because the listener that had it is gone. */
static void world_listen_nowhere(struct world *world)
{
    world_listen(world, "127.0.0.1:0", 0);
    io_listener_free(&world->listener);
}

static void connect_refused(void **state)
{
    (void)state;
    struct world *world = world_create();
    world_listen_nowhere(world);
    end_connect(&world->client); /* closed() not from inside */
    world_run_until(world, client_closed);
    assert_int_equal(world->client.connected, 0);
    assert_int_equal(world->client.closed, 1);
    assert_int_equal(world->client.fault.kind, FAULT_REFUSED);
    assert_int_equal(world->client.fault.code, ECONNREFUSED);
    world_free(world);
}

static void connect_times_out(void **state)
{
    (void)state;
    struct world *world = world_create();
    struct fault fault;
    socklen_t len = sizeof(world->address);
    int fillers[8];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof(local)), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&world->address, &len), 0);
    world->address_len = len;
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fillers[i], (struct sockaddr *)&world->address, len);
    }
    assert_non_null(end_try_connect(&world->client, NULL, 200, &fault));
    world_run_until(world, client_closed);
    assert_int_equal(world->client.fault.kind, FAULT_TIMEOUT);
    assert_int_equal(world->client.connected, 0);
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
        close(fillers[i]);
    }
    close(fd);
    world_free(world);
}

static void binds_locally(void **state)
{
    (void)state;
    struct world *world = world_create();
    struct fault fault;
    struct sockaddr_storage remote;
    char text[IO_ADDRESS_TEXT_MAX];
    world_listen(world, "127.0.0.1:0", 0);
    assert_non_null(end_try_connect(&world->client, "127.0.0.77:0", 1000, &fault));
    world_run_until(world, client_connected);
    assert_true(io_conn_remote(world->server.conn, &remote));
    io_address_format((struct sockaddr *)&remote, text);
    assert_string_equal(text, "127.0.0.77");
    assert_int_not_equal(io_address_port((struct sockaddr *)&remote), 0);
    world_free(world);
}

static void refuses_foreign_local_addresses(void **state)
{
    (void)state;
    struct world *world = world_create();
    struct fault fault = {0};
    world_listen(world, "127.0.0.1:0", 0);
    assert_null(end_try_connect(&world->client, "192.0.2.77:0", 1000, &fault));
    assert_int_equal(fault.code, EADDRNOTAVAIL);
    assert_non_null(strstr(fault.text, "192.0.2.77"));
    assert_null(end_try_connect(&world->client, "[::1]:0", 1000, &fault)); /* other family */
    assert_int_not_equal(fault.kind, FAULT_NONE);
    assert_int_equal(world->client.closed, 0);
    world_free(world);
}

static void free_it(struct end *end)
{
    io_conn_free(&end->conn);
    end->number = 1;
}

static size_t free_in_input(struct end *end, struct slice bytes)
{
    free_it(end);
    return end->world->accepted > 1 ? 0 : bytes.len;
}

static bool client_freed(struct world *world)
{
    return world->client.number == 1 && (world->server.closed == 1 || world->accepted == 0);
}

enum where { IN_CONNECTED, IN_INPUT, IN_OUTPUT, IN_SENT, IN_CLOSED };

static void free_in(enum where where)
{
    struct world *world = world_create();
    struct end *client = &world->client;
    world_listen(world, "127.0.0.1:0", 0);
    client->out = SLICE("0123456789");
    world->server.out = SLICE("220 x\r\n");
    switch (where) {
    case IN_CONNECTED: client->on_connected = free_it; break;
    case IN_INPUT: client->on_input = free_in_input; break;
    case IN_OUTPUT: client->on_output = free_it; break;
    case IN_SENT: client->on_sent = free_it; break;
    case IN_CLOSED:
        io_listener_free(&world->listener);
        client->on_closed = free_it;
        break;
    }
    end_connect(client);
    world_run_until(world, client_freed);
    assert_int_equal(client->closed, where == IN_CLOSED ? 1 : 0);
    world_free(world);
}

static void free_inside_callbacks(void **state)
{
    (void)state;
    free_in(IN_CONNECTED);
    free_in(IN_INPUT);
    free_in(IN_OUTPUT);
    free_in(IN_SENT);
    free_in(IN_CLOSED);
}

static void free_inside_flush(void **state)
{
    (void)state;
    struct world *world = world_create();
    world_listen(world, "127.0.0.1:0", 0);
    end_connect(&world->client);
    world_run_until(world, client_connected);
    world->client.out = SLICE("x");
    world->client.on_sent = free_it;
    io_conn_flush(world->client.conn);
    assert_null(world->client.conn);
    world_run_until(world, server_closed);
    assert_int_equal(world->client.closed, 0);
    world_free(world);
}

static void free_while_connecting(void **state)
{
    (void)state;
    struct world *world = world_create();
    world_listen(world, "127.0.0.1:0", 0);
    end_connect(&world->client);
    io_conn_free(&world->client.conn);
    assert_null(world->client.conn);
    io_listener_free(&world->listener);
    world_listen_nowhere(world);
    end_connect(&world->client); /* refused, and freed before that is told */
    io_conn_free(&world->client.conn);
    world_free(world);
}

static void finish_before_the_connection_is_up(void **state)
{
    (void)state;
    struct world *world = world_create();
    world_listen(world, "127.0.0.1:0", 0);
    world->client.out = SLICE("QUIT\r\n");
    end_connect(&world->client);
    io_conn_finish(world->client.conn);
    assert_int_equal(world->client.closed, 0);
    world_run_until(world, both_closed);
    assert_int_equal(world->client.fault.kind, FAULT_NONE);
    assert_true(slice_eq(strbuf_slice(&world->server.in), SLICE("QUIT\r\n")));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_ipv4),
        cmocka_unit_test(echo_ipv6),
        cmocka_unit_test(flush_inside_an_event_waits_for_its_end),
        cmocka_unit_test(flush_outside_writes_at_once),
        cmocka_unit_test(partial_writes_to_a_tiny_receive_buffer),
        cmocka_unit_test(pauses_and_resumes),
        cmocka_unit_test(stays_paused_until_resumed),
        cmocka_unit_test(last_words_survive_unread_input),
        cmocka_unit_test(peer_reset_is_told),
        cmocka_unit_test(bytes_before_a_reset_are_read),
        cmocka_unit_test(connect_refused),
        cmocka_unit_test(connect_times_out),
        cmocka_unit_test(binds_locally),
        cmocka_unit_test(refuses_foreign_local_addresses),
        cmocka_unit_test(free_inside_callbacks),
        cmocka_unit_test(free_inside_flush),
        cmocka_unit_test(free_while_connecting),
        cmocka_unit_test(finish_before_the_connection_is_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
