#include "unit/io/certificate.h"

#include <openssl/ssl.h>
#include <pthread.h>

#define NAME "mx.example.test"
#define HANDSHAKE_MS 10000

static struct certificate certificate, other_certificate;

static int make_certificates(void **state)
{
    (void)state;
    certificate_make(&certificate, "DNS:" NAME ",IP:127.0.0.1");
    certificate_make(&other_certificate, "DNS:" NAME);
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    certificate_remove(&certificate);
    certificate_remove(&other_certificate);
    return 0;
}

static struct tls_context *server_context(const char *min_version)
{
    struct fault fault;
    struct tls_server_options options = {.certificate_file = certificate.certificate_file,
                                         .key_file = certificate.key_file,
                                         .min_version = min_version};
    struct tls_context *context = tls_server_context(&options, &fault);
    if (context == NULL) {
        fail_msg("%s", fault.text);
    }
    return context;
}

static struct tls_context *client_context(enum tls_verify verify, const char *ca_file)
{
    struct fault fault;
    struct tls_client_options options = {.verify = verify, .ca_file = ca_file};
    struct tls_context *context = tls_client_context(&options, &fault);
    if (context == NULL) {
        fail_msg("%s", fault.text);
    }
    return context;
}

static const char *client_name;
static int64_t server_timeout_ms;

static void accept_tls(struct world *world, struct io_conn *conn)
{
    assert_null(world->server.conn);
    world->server.conn = conn;
    io_conn_set_owner(conn, &end_ops, &world->server);
    io_conn_start_tls(conn, world->server_tls, NULL, server_timeout_ms);
}

static void connected_tls(struct end *end)
{
    io_conn_start_tls(end->conn, end->world->client_tls, client_name, HANDSHAKE_MS);
    assert_int_equal(end->secured, 0);
}

/* Not before: what output() gives before the handshake is plain text. */
static void say_ten(struct end *end)
{
    end->out = SLICE("0123456789");
}

static struct world *tls_world(enum tls_verify verify)
{
    struct world *world = world_create();
    client_name = NAME;
    server_timeout_ms = HANDSHAKE_MS;
    world_listen(world, "127.0.0.1:0", 0);
    world->server_tls = server_context(NULL);
    world->client_tls = client_context(verify, certificate.certificate_file);
    world->on_accept = accept_tls;
    world->client.on_connected = connected_tls;
    return world;
}

static bool client_got_ten(struct world *world)
{
    return world->client.in.len >= 10;
}

static void client_and_server_talk(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NAME);
    struct tls_facts facts;
    world->client.on_secured = say_ten;
    world->client.out_piece = 3;
    world->server.echo = true;
    end_connect(&world->client);
    assert_false(io_conn_facts(world->client.conn, &facts));
    world_run_until(world, client_got_ten);
    assert_true(slice_eq(strbuf_slice(&world->client.in), SLICE("0123456789")));
    assert_int_equal(world->client.secured, 1);
    assert_true(world->client.secured_ok);
    assert_true(io_conn_facts(world->client.conn, &facts));
    assert_string_equal(facts.version, "TLSv1.3");
    assert_true(strlen(facts.cipher) > 0);
    assert_true(facts.verified);
    assert_false(facts.resumed);
    assert_string_equal(facts.peer_subject, "O=Sluice test");
    assert_true(io_conn_facts(world->server.conn, &facts));
    assert_false(facts.verified);
    assert_string_equal(facts.peer_subject, "");

    /* close_notify, seen by the peer as the end of the stream */
    io_conn_finish(world->client.conn);
    world_run_until(world, both_closed);
    assert_int_equal(world->client.fault.kind, FAULT_NONE);
    assert_string_equal(world->client.facts.version, "TLSv1.3"); /* still there in closed() */
    assert_int_equal(world->server.fault.kind, FAULT_CLOSED);
    world_free(world);
}

/* Starts both handshakes of a second or later connection in one world. */
static void connect_again(struct world *world)
{
    struct end *ends[] = {&world->client, &world->server};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        ends[i]->secured = 0;
        ends[i]->closed = 0;
        ends[i]->connected = 0;
        strbuf_reset(&ends[i]->in);
    }
    world->client.on_secured = say_ten;
    world->server.echo = true;
    end_connect(&world->client);
    world_run_until(world, client_got_ten);
}

static bool connect_facts(struct world *world, bool finish)
{
    struct tls_facts facts;
    connect_again(world);
    assert_true(io_conn_facts(world->client.conn, &facts));
    if (finish) {
        io_conn_finish(world->client.conn);
        world_run_until(world, both_closed);
    } else {
        io_conn_free(&world->client.conn); /* cut short; the session stays good */
        world_run_until(world, server_closed);
    }
    assert_true(facts.verified);
    assert_string_equal(facts.peer_subject, "O=Sluice test");
    return facts.resumed;
}

static void sessions_are_resumed(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NAME);
    assert_false(connect_facts(world, true));
    assert_true(connect_facts(world, false));
    assert_true(connect_facts(world, true));
    assert_true(connect_facts(world, true));
    client_name = "MX.example.test."; /* the same name */
    assert_true(connect_facts(world, true));
    client_name = "127.0.0.1"; /* another name at the same address: a session of its own */
    assert_false(connect_facts(world, true));
    assert_true(connect_facts(world, true));
    world_free(world);
}

static bool name_resumes(struct world *world, unsigned number)
{
    struct tls_facts facts;
    char name[32];
    snprintf(name, sizeof(name), "mx%u.example.test", number);
    client_name = name;
    connect_again(world);
    assert_true(io_conn_facts(world->client.conn, &facts));
    io_conn_free(&world->client.conn);
    io_conn_free(&world->server.conn);
    return facts.resumed;
}

/* 1024 are kept; the one not used for longest goes first. */
static void sessions_are_bounded(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NONE);
    for (unsigned i = 0; i < 1024; i++) {
        assert_false(name_resumes(world, i));
    }
    assert_true(name_resumes(world, 0)); /* used: 1 is the oldest now */
    assert_false(name_resumes(world, 1024));
    assert_true(name_resumes(world, 0));
    assert_true(name_resumes(world, 1024));
    assert_false(name_resumes(world, 1));
    world_free(world);
}

static void least_versions(void **state)
{
    (void)state;
    static const char *const versions[] = {"1.0", "1.2", "1.3"};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct world *world = tls_world(TLS_VERIFY_NAME);
        tls_context_free(&world->server_tls);
        world->server_tls = server_context(versions[i]);
        assert_false(connect_facts(world, true));
        assert_true(connect_facts(world, true));
        world_free(world);
    }
}

#define OLD_ROUNDS 2

struct old_server {
    int listen_fd;
    SSL_CTX *ssl_ctx;
};

/* A blocking OpenSSL server of TLS 1.2 that echoes one read per connection. */
static void *serve_old(void *argument)
{
    const struct old_server *server = argument;
    for (int i = 0; i < OLD_ROUNDS; i++) {
        char bytes[64];
        int fd = accept(server->listen_fd, NULL, NULL);
        SSL *ssl = SSL_new(server->ssl_ctx);
        SSL_set_fd(ssl, fd);
        int len = SSL_accept(ssl) == 1 ? SSL_read(ssl, bytes, sizeof(bytes)) : 0;
        if (len > 0) {
            SSL_write(ssl, bytes, len);
        }
        SSL_shutdown(ssl);
        SSL_free(ssl);
        close(fd);
    }
    return NULL;
}

static void old_server_listen(struct old_server *server, struct world *world)
{
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    world->address_len = sizeof(local);
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listen_fd, (struct sockaddr *)&local, sizeof(local)), 0);
    assert_int_equal(listen(server->listen_fd, 8), 0);
    assert_int_equal(
        getsockname(server->listen_fd, (struct sockaddr *)&world->address, &world->address_len), 0);
    server->ssl_ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_max_proto_version(server->ssl_ctx, TLS1_2_VERSION);
    assert_int_equal(
        SSL_CTX_use_certificate_chain_file(server->ssl_ctx, certificate.certificate_file), 1);
    assert_int_equal(
        SSL_CTX_use_PrivateKey_file(server->ssl_ctx, certificate.key_file, SSL_FILETYPE_PEM), 1);
}

static void tls_1_2_with_a_plain_openssl_server(void **state)
{
    (void)state;
    struct old_server server;
    pthread_t thread;
    struct world *world = tls_world(TLS_VERIFY_NAME);
    old_server_listen(&server, world);
    assert_int_equal(pthread_create(&thread, NULL, serve_old, &server), 0);
    for (int i = 0; i < OLD_ROUNDS; i++) {
        world->client.closed = 0;
        world->client.connected = 0;
        world->client.secured = 0;
        strbuf_reset(&world->client.in);
        world->client.on_secured = say_ten;
        end_connect(&world->client);
        world_run_until(world, client_closed); /* the server leaves after its echo */
        assert_true(slice_eq(strbuf_slice(&world->client.in), SLICE("0123456789")));
        assert_int_equal(world->client.fault.kind, FAULT_CLOSED);
        assert_string_equal(world->client.facts.version, "TLSv1.2");
        assert_true(world->client.facts.verified);
        assert_int_equal(world->client.facts.resumed, i > 0);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    SSL_CTX_free(server.ssl_ctx);
    close(server.listen_fd);
    world_free(world);
}

static void a_wrong_name_is_refused(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NAME);
    client_name = "other.example.test";
    end_connect(&world->client);
    world_run_until(world, both_closed);
    assert_int_equal(world->client.secured, 1);
    assert_false(world->client.secured_ok);
    assert_int_equal(world->client.secure_fault.kind, FAULT_REFUSED);
    assert_non_null(strstr(world->client.fault.text, "hostname mismatch"));
    assert_int_equal(world->client.inputs + world->client.sents, 0);
    world_free(world);
}

static void an_unknown_authority_is_refused(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NAME);
    tls_context_free(&world->client_tls);
    world->client_tls = client_context(TLS_VERIFY_NAME, other_certificate.certificate_file);
    end_connect(&world->client);
    world_run_until(world, both_closed);
    assert_false(world->client.secured_ok);
    assert_int_equal(world->client.secure_fault.kind, FAULT_REFUSED);
    assert_int_equal(world->server.secured, 1);
    assert_false(world->server.secured_ok);
    world_free(world);
}

static void opportunistic_takes_any_but_says_so(void **state)
{
    (void)state;
    struct tls_facts facts;
    struct world *world = tls_world(TLS_VERIFY_NONE);
    client_name = "other.example.test";
    end_connect(&world->client);
    world_run_until(world, both_secured);
    assert_true(world->client.secured_ok);
    assert_true(io_conn_facts(world->client.conn, &facts));
    assert_false(facts.verified);
    world_free(world);
}

static void verification_needs_a_name(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NAME);
    client_name = NULL;
    end_connect(&world->client);
    world_run_until(world, both_closed);
    assert_int_equal(world->client.secured, 1);
    assert_int_equal(world->client.fault.kind, FAULT_INVALID);
    world_free(world);
}

/* A dialogue as of SMTP: the client says A, the server answers B and both go over to TLS. */
static size_t server_upgrades(struct end *end, struct slice bytes)
{
    if (end->secured == 0) {
        assert_true(slice_eq(bytes, SLICE("STARTTLS\r\n")));
        end->out = SLICE("220 go\r\n");
        io_conn_start_tls(end->conn, end->world->server_tls, NULL, server_timeout_ms);
    } else {
        strbuf_add_slice(&end->in, bytes);
        end->out = SLICE("250 hello\r\n");
    }
    return bytes.len;
}

static size_t client_upgrades(struct end *end, struct slice bytes)
{
    if (end->secured == 0) {
        assert_true(slice_eq(bytes, SLICE("220 go\r\n")));
        io_conn_start_tls(end->conn, end->world->client_tls, client_name, HANDSHAKE_MS);
    } else {
        strbuf_add_slice(&end->in, bytes);
    }
    return bytes.len;
}

static void say_ehlo(struct end *end)
{
    end->out = SLICE("EHLO again\r\n");
}

static void upgrades_in_the_middle(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NAME);
    world->on_accept = NULL;
    world->client.on_connected = NULL;
    world->server.on_input = server_upgrades;
    world->client.on_input = client_upgrades;
    world->client.on_secured = say_ehlo;
    world->client.out = SLICE("STARTTLS\r\n");
    end_connect(&world->client);
    world_run_until(world, client_got_ten);
    assert_true(world->client.secured_ok && world->server.secured_ok);
    assert_true(slice_eq(strbuf_slice(&world->server.in), SLICE("EHLO again\r\n")));
    assert_true(slice_eq(strbuf_slice(&world->client.in), SLICE("250 hello\r\n")));
    world_free(world);
}

static size_t upgrade_but_leave_the_rest(struct end *end, struct slice bytes)
{
    if (end->inputs == 1) {
        io_conn_start_tls(end->conn, end->world->server_tls, NULL, server_timeout_ms);
        return 10; /* "STARTTLS\r\n" */
    }
    strbuf_add_slice(&end->in, bytes);
    return 0;
}

/* RFC 3207: what an attacker put behind STARTTLS in plain must not survive the handshake. */
static void plain_text_behind_starttls_ends_it(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NONE);
    world->on_accept = NULL;
    world->server.on_input = upgrade_but_leave_the_rest;
    int fd = raw_connect(world);
    assert_int_equal(write(fd, "STARTTLS\r\nRSET\r\n", 16), 16);
    world_run_until(world, server_closed);
    assert_true(slice_eq(strbuf_slice(&world->server.in), SLICE("RSET\r\n"))); /* was offered */
    assert_int_equal(world->server.fault.kind, FAULT_INVALID);
    assert_int_equal(world->server.secured, 1);
    assert_false(world->server.secured_ok);
    close(fd);
    world_free(world);
}

static void start_when_plain_is_there(struct timer *timer, struct mono_time now)
{
    struct end *end = CONTAINER_OF(timer, struct end, timer);
    (void)now;
    connected_tls(end);
}

static void inject(struct timer *timer, struct mono_time now)
{
    struct end *end = CONTAINER_OF(timer, struct end, timer);
    (void)now;
    end->out = SLICE("250 injected\r\n");
    io_conn_flush(end->conn);
}

/* Reads the 220 twice, once as what was left, and then does not read on until the injected reply
 * has come. */
static size_t leave_the_go(struct end *end, struct slice bytes)
{
    struct wheel *wheel = io_loop_wheel(end->world->loop);
    if (end->inputs == 1) {
        struct end *server = &end->world->server;
        wheel_set(wheel, &server->timer, mono_add_ms(mono_now(), 5), inject);
        wheel_set(wheel, &end->timer, mono_add_ms(mono_now(), 50), start_when_plain_is_there);
        return 0;
    }
    strbuf_add_slice(&end->in, bytes);
    return bytes.len;
}

static void say_go(struct world *world, struct io_conn *conn)
{
    world->server.conn = conn;
    io_conn_set_owner(conn, &end_ops, &world->server);
    world->server.out = SLICE("220 go\r\n");
}

/* CVE-2011-0411 the other way round: replies that an attacker put in before the handshake. */
static void a_server_that_speaks_before_the_handshake_is_refused(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NONE);
    world->on_accept = say_go;
    world->client.on_connected = NULL;
    world->client.on_input = leave_the_go;
    end_connect(&world->client);
    world_run_until(world, client_closed);
    assert_true(slice_eq(strbuf_slice(&world->client.in), SLICE("220 go\r\n250 injected\r\n")));
    assert_int_equal(world->client.secured, 1);
    assert_false(world->client.secured_ok);
    assert_int_equal(world->client.fault.kind, FAULT_INVALID);
    world_free(world);
}

static bool server_has_all(struct world *world)
{
    return world->server.in.len >= (size_t)20000000;
}

static size_t take_half(struct end *end, struct slice bytes)
{
    size_t taken = (bytes.len + 1) / 2;
    strbuf_add(&end->in, bytes.ptr, taken);
    if (taken < bytes.len) {
        io_conn_resume(end->conn);
    }
    return taken;
}

static void much_goes_through_in_any_pieces(void **state)
{
    (void)state;
    static const size_t pieces[] = {0, 700, 16384, 16500};
    size_t len = 20000000;
    char *bytes = pattern_make(len);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct world *world = tls_world(TLS_VERIFY_NONE);
        world->client.out_piece = pieces[i];
        world->server.on_input = take_half;
        end_connect(&world->client);
        world_run_until(world, both_secured);
        world->client.out = slice_of(bytes, len);
        io_conn_flush(world->client.conn);
        world_run_until(world, server_has_all);
        assert_true(slice_eq(strbuf_slice(&world->server.in), slice_of(bytes, len)));
        world_free(world);
    }
    mem_free(bytes);
}

static void garbage_instead_of_a_handshake(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NONE);
    int fd = raw_connect(world);
    assert_int_equal(write(fd, "EHLO in plain\r\n", 15), 15);
    world_run_until(world, server_closed);
    assert_int_equal(world->server.fault.kind, FAULT_INVALID);
    assert_false(world->server.secured_ok);
    assert_int_equal(world->server.inputs, 0);
    close(fd);
    world_free(world);
}

static void handshake_times_out(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NONE);
    server_timeout_ms = 50;
    int fd = raw_connect(world);
    world_run_until(world, server_closed);
    assert_int_equal(world->server.secure_fault.kind, FAULT_TIMEOUT);
    assert_int_equal(world->server.fault.kind, FAULT_TIMEOUT);
    close(fd);
    world_free(world);
}

static void peer_leaves_in_the_handshake(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NONE);
    int fd = raw_connect(world);
    close(fd);
    world_run_until(world, server_closed);
    assert_int_equal(world->server.secured, 1);
    assert_int_equal(world->server.secure_fault.kind, FAULT_CLOSED);
    world_free(world);
}

static void free_it(struct end *end)
{
    io_conn_free(&end->conn);
}

static bool server_gone(struct world *world)
{
    return world->server.secured == 1 && world->server.conn == NULL;
}

static void free_inside_secured(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NONE);
    world->server.on_secured = free_it;
    end_connect(&world->client);
    world_run_until(world, client_closed);
    assert_int_equal(world->server.closed, 0);
    world_free(world);

    world = tls_world(TLS_VERIFY_NONE);
    server_timeout_ms = 20;
    world->server.on_secured = free_it; /* on failure: no closed() follows */
    int fd = raw_connect(world);
    world_run_until(world, server_gone);
    assert_int_equal(world->server.closed, 0);
    close(fd);
    world_free(world);
}

static void contexts_may_go_before_connections(void **state)
{
    (void)state;
    struct world *world = tls_world(TLS_VERIFY_NAME);
    end_connect(&world->client);
    world_run_until(world, both_secured);
    tls_context_free(&world->client_tls);
    tls_context_free(&world->server_tls);
    world->server.echo = true;
    world->client.out = SLICE("0123456789");
    io_conn_flush(world->client.conn);
    world_run_until(world, client_got_ten); /* also takes the session tickets */
    world_free(world);
}

static void bad_settings_are_faults(void **state)
{
    (void)state;
    struct fault fault;
    struct tls_server_options server = {.certificate_file = "/nonexistent.pem",
                                        .key_file = certificate.key_file};
    assert_null(tls_server_context(&server, &fault));
    assert_non_null(strstr(fault.text, "/nonexistent.pem"));
    server.certificate_file = certificate.certificate_file;
    server.key_file = other_certificate.key_file;
    assert_null(tls_server_context(&server, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    struct tls_client_options client = {.min_version = "2.0"};
    assert_null(tls_client_context(&client, &fault));
    assert_non_null(strstr(fault.text, "2.0"));
    client = (struct tls_client_options){.ca_file = "/nonexistent.pem"};
    assert_null(tls_client_context(&client, &fault));
    client = (struct tls_client_options){.verify = TLS_VERIFY_NAME}; /* the system's authorities */
    struct tls_context *context = tls_client_context(&client, &fault);
    assert_non_null(context);
    tls_context_free(&context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_and_server_talk),
        cmocka_unit_test(sessions_are_resumed),
        cmocka_unit_test(sessions_are_bounded),
        cmocka_unit_test(least_versions),
        cmocka_unit_test(tls_1_2_with_a_plain_openssl_server),
        cmocka_unit_test(a_wrong_name_is_refused),
        cmocka_unit_test(an_unknown_authority_is_refused),
        cmocka_unit_test(opportunistic_takes_any_but_says_so),
        cmocka_unit_test(verification_needs_a_name),
        cmocka_unit_test(upgrades_in_the_middle),
        cmocka_unit_test(plain_text_behind_starttls_ends_it),
        cmocka_unit_test(a_server_that_speaks_before_the_handshake_is_refused),
        cmocka_unit_test(much_goes_through_in_any_pieces),
        cmocka_unit_test(garbage_instead_of_a_handshake),
        cmocka_unit_test(handshake_times_out),
        cmocka_unit_test(peer_leaves_in_the_handshake),
        cmocka_unit_test(free_inside_secured),
        cmocka_unit_test(contexts_may_go_before_connections),
        cmocka_unit_test(bad_settings_are_faults),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
