/*
 * The whole of serve with librdkafka's mock broker: what its sessions and its web server say to
 * those who do not keep to any protocol, and that both go on serving. The loop runs on a thread of
 * its own, as do HTTP, Kafka and the table.
 */
#include "bouncer/daemon.h"

#include "base/mem.h"
#include "base/random.h"
#include "mail/unsubscribe.h"
#include "policy/verp_keys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/cmocka_all.h"
#include "unit/temp.h"

#define PATIENCE_S 30
#define REPLY_MAX ((size_t)64 * 1024)
#define ROUNDS 60
#define GARBAGE_MAX 3000

static char path[TEMP_NAME_MAX];
static struct config *config;
static struct bouncer bouncer;
static pthread_t thread;
static uint16_t smtp_port, http_port;
static char reply[REPLY_MAX + 1];

static uint64_t random_state;

static uint32_t below(uint32_t bound)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)((z ^ (z >> 27)) >> 33) % bound;
}

/* SLUICE_SEED repeats a run. */
static void seed(void)
{
    const char *given = getenv("SLUICE_SEED");
    random_state = given != NULL ? strtoull(given, NULL, 10) : random_below(UINT32_MAX);
    print_message("SLUICE_SEED=%llu\n", (unsigned long long)random_state);
}

/* ---- a client ---- */

static int connect_to(uint16_t port)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* It may have closed already. */
static void say(int fd, const void *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t sent = send(fd, (const char *)bytes + at, len - at, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        at += (size_t)sent;
    }
}

/* All that comes until the other side closes; a time-out fails. Closes. */
static size_t hear(int fd)
{
    size_t len = 0;
    ssize_t got;
    while (len < REPLY_MAX && (got = recv(fd, reply + len, REPLY_MAX - len, 0)) != 0) {
        if (got < 0) {
            assert_int_not_equal(errno, EAGAIN);
            break; /* reset */
        }
        len += (size_t)got;
    }
    reply[len] = '\0';
    close(fd);
    return len;
}

static const char *talk(uint16_t port, const void *bytes, size_t len)
{
    int fd = connect_to(port);
    say(fd, bytes, len);
    shutdown(fd, SHUT_WR);
    (void)hear(fd);
    return reply;
}

static const char *talk_text(uint16_t port, const char *text)
{
    return talk(port, text, strlen(text));
}

static void assert_starts(const char *text, const char *wanted)
{
    if (strncmp(text, wanted, strlen(wanted)) != 0) {
        fail_msg("\"%.200s\" instead of \"%s\"", text, wanted);
    }
}

static void assert_has(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL) {
        fail_msg("\"%.400s\" without \"%s\"", text, wanted);
    }
}

/* ---- SMTP ---- */

static void assert_serves(void)
{
    const char *said =
        talk_text(smtp_port, "EHLO mx.example\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\n"
                             "QUIT\r\n");
    assert_starts(said, "220 ");
    assert_has(said, "\r\n250 2.1.5 ");
    assert_has(said, "\r\n221 ");
}

/* Every line is a reply, and none of them takes a mail. */
static void assert_replies(const char *said)
{
    for (const char *line = said; *line != '\0';) {
        const char *end = strstr(line, "\r\n");
        assert_non_null(end);
        assert_true(end - line >= 4 && line[0] >= '2' && line[0] <= '5' && strchr(" -", line[3]));
        assert_false(strncmp(line, "354", 3) == 0);
        line = end + 2;
    }
}

static void smtp_garbage(void **state)
{
    char bytes[GARBAGE_MAX];
    (void)state;
    seed();
    for (int i = 0; i < ROUNDS; i++) {
        size_t len = below(GARBAGE_MAX - 1) + 1;
        for (size_t at = 0; at < len; at++) {
            bytes[at] = below(8) == 0 ? '\n' : (char)below(256);
        }
        const char *said = talk(smtp_port, bytes, len);
        assert_starts(said, "220 ");
        assert_replies(said);
    }
    assert_serves();
}

static void smtp_wrong_words(void **state)
{
    static const struct {
        const char *say, *wanted;
    } cases[] = {
        {"RCPT TO:<postmaster>\r\n", "\r\n503 "},
        {"EHLO x\r\nDATA\r\n", "\r\n503 "},
        {"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<user@elsewhere.example>\r\n", "\r\n550 5.1.1"},
        {"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<@a,@b:postmaster@back.test>\r\nRSET\r\n",
         "\r\n250 2.0.0"},
        {"EHLO x\r\nMAIL FROM:<> SIZE=99999999999999999999\r\n", "\r\n5"},
        {"EHLO x\r\nMAIL FROM:<> NOSUCH=1\r\n", "\r\n5"},
        {"EHLO x\r\nAUTH PLAIN AGEAYg==\r\n", "\r\n5"},
        {"EHLO x\r\nMAIL FROM:<a@b\r\n", "\r\n501 "},
        {"EHLO x\nMAIL FROM:<>\n", "220 "},
    };
    char *line = mem_zalloc(200001);
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_has(talk_text(smtp_port, cases[i].say), cases[i].wanted);
    }
    memset(line, 'A', 200000); /* a line without an end */
    assert_replies(talk(smtp_port, line, 200000));
    for (size_t i = 0; i < 200000; i += 6) { /* the client guesses */
        memcpy(line + i, "HUH?\r\n", i + 6 <= 200000 ? 6 : 200000 - i);
    }
    assert_has(talk(smtp_port, line, 120000), "\r\n421 ");
    mem_free(line);
    assert_serves();
}

/* Cut off in the midst of everything: no mail is taken, and nothing stays behind. */
static void smtp_cut_off(void **state)
{
    static const char whole[] = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<fbl@back.test>\r\nDATA\r\n"
                                "Subject: a report\r\n\r\nwhat\r\n";
    (void)state;
    for (size_t len = 1; len < sizeof(whole); len += 3) {
        const char *said = talk(smtp_port, whole, len);
        assert_null(strstr(said, "queued as"));
    }
    const char *said =
        talk_text(smtp_port, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<fbl@back.test>\r\nDATA\r\n"
                             "Subject: x\r\n\r\na\n.\nMAIL FROM:<smuggled@x.example>\r\n");
    assert_null(strstr(said, "queued as"));
    assert_serves();
}

/* ---- HTTP ---- */

static const char *post(const char *where, const char *body)
{
    char text[3000];
    snprintf(text, sizeof(text),
             "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: "
             "application/x-www-form-urlencoded\r\nContent-Length: %zu\r\n\r\n%s",
             where, strlen(body), body);
    int fd = connect_to(http_port); /* an early end of the client's side would end the request */
    say(fd, text, strlen(text));
    (void)hear(fd);
    return reply;
}

static void link_for(const char *address, struct wall_time now, char out[500])
{
    char local[VERP_LOCAL_LEN + 1];
    const struct verp_token token = {.purpose = VERP_UNSUBSCRIBE,
                                     .message = uuid_v7(now),
                                     .sent_ms = now.ms - 1000,
                                     .recipient = verp_recipient(slice_cstr(address)),
                                     .facts = 1};
    assert_true(verp_sign(bouncer.keys, &token, now, local));
    snprintf(out, 500, "/u/%s/%s", local, address);
}

static void http_wrong(void **state)
{
    static const char *const places[] = {"/", "/u/", "/u/x/y", "/u/%00/%/%zz", "/u//", "*"};
    char where[500], *body = mem_zalloc(2001);
    (void)state;
    link_for("user@example.org", wall_now(), where);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        assert_has(post(places[i], "List-Unsubscribe=One-Click"), " 404 ");
    }
    assert_has(post(where, "hello"), " 400 ");
    memset(body, 'x', 2000);
    assert_has(post(where, body), " 413 ");
    mem_free(body);
    assert_has(post(where, "List-Unsubscribe=One-Click"), " 503 "); /* its facts are not known */
    where[10] = where[10] == 'a' ? 'b' : 'a';
    assert_has(post(where, "List-Unsubscribe=One-Click"), " 404 ");
    link_for("user@example.org", (struct wall_time){wall_now().ms - INT64_C(86400000) * 800},
             where);
    assert_has(post(where, "List-Unsubscribe=One-Click"), " 404 "); /* too old */
    link_for("user@example.org", wall_now(), where);
    memcpy(where + strlen(where) - 3, "net", 4);
    assert_has(post(where, "List-Unsubscribe=One-Click"), " 404 "); /* for another address */
}

static void http_garbage(void **state)
{
    char bytes[GARBAGE_MAX];
    (void)state;
    seed();
    for (int i = 0; i < ROUNDS; i++) {
        size_t len = below(GARBAGE_MAX - 1) + 1;
        for (size_t at = 0; at < len; at++) {
            bytes[at] = below(8) == 0 ? '\n' : (char)below(256);
        }
        if (below(2) == 0 && len > 20) {
            const struct slice start = SLICE("POST /u/a/b HTTP/1.1");
            memcpy(bytes, start.ptr, start.len);
        }
        const char *said = talk(http_port, bytes, len);
        assert_true(*said == '\0' || strncmp(said, "HTTP/1.", 7) == 0);
        assert_null(strstr(said, " 200 "));
    }
    assert_has(post("/", ""), " 404 ");
}

/* A good one is answered when Kafka has its event; the second is the same. */
static void http_leave(void **state)
{
    const struct event facts = {.tenant = SLICE("shop"), .klass = SLICE("bulk")};
    struct verp_token token = {.purpose = VERP_UNSUBSCRIBE, .sent_ms = wall_now().ms - 1000};
    char key[FACTS_KEY_LEN + 1], local[VERP_LOCAL_LEN + 1], where[500];
    struct strbuf value;
    (void)state;
    strbuf_init(&value, 4096);
    assert_true(facts_encode(&facts, 0, key, &value));
    table_add_facts(bouncer.table, slice_cstr(key), strbuf_slice(&value));
    strbuf_free(&value);
    token.message = uuid_v7(wall_now());
    token.recipient = verp_recipient(SLICE("ann@example.org"));
    token.facts = facts_number(facts_hash(&facts));
    assert_true(verp_sign(bouncer.keys, &token, wall_now(), local));
    snprintf(where, sizeof(where), "/u/%s/ann%%40example.org/news", local);
    assert_has(post(where, "List-Unsubscribe=One-Click"), " 200 ");
    assert_has(post(where, "List-Unsubscribe=One-Click"), " 200 ");
}

/* ---- life ---- */

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void write_config(void)
{
    int fd = mkstemp(temp_name(path));
    FILE *file = fd < 0 ? NULL : fdopen(fd, "we");
    assert_non_null(file);
    fprintf(file,
            "kafka: {bootstrap-servers: '127.0.0.1:1', properties: {test.mock.num.brokers: '1'}}\n"
            "vips: [{name: v1, source-ipv4: 127.0.0.1, ehlo-name: a.example}]\n"
            "pools: [{name: main, members: [v1]}]\n"
            "verp: {domains: [back.test], keys: [{id: 0, secret: 'a secret of this test'}]}\n"
            "unsubscribe: {url: 'https://leave.test/u', listeners: ['127.0.0.1:%u']}\n"
            "bouncer:\n  listeners: ['127.0.0.1:%u']\n  host-name: mx.back.test\n"
            "  log-level: error\n"
            "  addresses: [{address: fbl@back.test, kind: feedback}]\n",
            http_port, smtp_port);
    assert_int_equal(fclose(file), 0);
}

static void *serve(void *argument)
{
    bouncer_run(argument);
    return NULL;
}

static int open_all(void **state)
{
    struct fault fault = {0};
    (void)state;
    smtp_port = free_port();
    http_port = free_port();
    write_config();
    config = config_load(path, &fault);
    if (config == NULL || !bouncer_open(&bouncer, config, path, &fault)) {
        print_error("%s\n", fault.text);
        return 1;
    }
    return pthread_create(&thread, NULL, serve, &bouncer);
}

/* SIGTERM drains, as in service. */
static int close_all(void **state)
{
    (void)state;
    kill(getpid(), SIGTERM);
    pthread_join(thread, NULL);
    bool drained = bouncer.smtpd.session_count == 0;
    bouncer_close(&bouncer);
    config_free(&config);
    unlink(path);
    return drained ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smtp_garbage), cmocka_unit_test(smtp_wrong_words),
        cmocka_unit_test(smtp_cut_off), cmocka_unit_test(http_wrong),
        cmocka_unit_test(http_garbage), cmocka_unit_test(http_leave),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
