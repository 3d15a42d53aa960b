/*
 * The client engine against the server engine: random configurations, capabilities, messages,
 * answers, splits in both directions, answers given late, and links that break. What must hold:
 *  - what the server's owner saw is what the client's owner sent: addresses, parameters, content
 * byte for byte;
 *  - a recipient is DELIVERED exactly if the server's owner said 2xx to the message and to him;
 * after a lost link he may be UNCERTAIN;
 *  - a refusal carries the code and text of the answer that the server's owner gave, in the phase
 * where he gave it;
 *  - every transaction ends, and so does every session.
 */
#include "smtp/client.h"
#include "smtp/server.h"

#include "base/strbuf.h"
#include "unit/smtp/seeded.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

#define MAX_TRANSACTIONS 4
#define MAX_RCPTS 6
#define MAX_PIECES 4
#define SESSIONS 3000
#define CAP_ALL 0x7ffU

/* An answer of the server's owner. */
struct answer {
    uint16_t code; /* 0: none was given */
    uint32_t serial;
};

/* One transaction, as sent and as seen. */
struct record {
    struct smtp_client_transaction sent;
    struct smtp_client_rcpt rcpts[MAX_RCPTS];
    struct slice pieces[MAX_PIECES];
    char text[MAX_PIECES][64];
    char from[64];
    char to[MAX_RCPTS][64];
    bool done;

    struct answer mail, data;
    struct answer rcpt[MAX_RCPTS];
    struct answer message[MAX_RCPTS]; /* LMTP: each; else the first */
    size_t accepted[MAX_RCPTS];       /* indexes, in order */
    size_t accepted_count, answered;
    struct strbuf content;
    bool complete; /* MESSAGE came */
};

struct world {
    struct smtp_client *client;
    struct smtp_server *server;
    struct smtp_client_config client_config;
    struct smtp_server_config server_config;
    struct strbuf to_server, to_client;
    struct mono_time now;
    struct record records[MAX_TRANSACTIONS];
    size_t count, submitted, done;
    struct record *open; /* the server's */
    enum smtp_server_event_type owed;
    size_t owed_rcpt;
    bool client_shakes, server_shakes;
    bool client_closed, server_closed, broken;
    uint32_t trouble_percent; /* of answers that are not 2xx */
    bool cuts;
};

static uint32_t serial;
static size_t seen_delivered, seen_refused, seen_uncertain, seen_none, seen_chunked, seen_tls,
    seen_local;

static struct answer answer(struct world *world, uint16_t good)
{
    static const uint16_t bad[] = {421, 450, 451, 452, 550, 552, 554};
    struct answer given = {.code = good, .serial = ++serial};
    char text[32];
    char enhanced[8];
    if (seeded_chance(world->trouble_percent)) {
        given.code = bad[seeded_below(ARRAY_LEN(bad))];
    }
    snprintf(text, sizeof(text), "answer %u", given.serial);
    snprintf(enhanced, sizeof(enhanced), "%d.7.1", given.code / 100);
    smtp_server_reply(world->server, given.code, enhanced, text);
    return given;
}

static bool accepted(struct answer given)
{
    return given.code >= 200 && given.code < 400;
}

/* The server's owner gives the answer that he owes. */
static void settle(struct world *world)
{
    struct record *record = world->open;
    enum smtp_server_event_type owed = world->owed;
    world->owed = SMTP_SERVER_EVENT_NONE;
    assert_true(record != NULL || owed == SMTP_SERVER_EVENT_AUTH);
    if (owed == SMTP_SERVER_EVENT_AUTH) {
        smtp_server_auth_result(world->server, !seeded_chance(world->trouble_percent),
                                seeded_chance(50));
    } else if (owed == SMTP_SERVER_EVENT_MAIL) {
        record->mail = answer(world, 250);
    } else if (owed == SMTP_SERVER_EVENT_RCPT) {
        record->rcpt[world->owed_rcpt] = answer(world, 250);
        if (accepted(record->rcpt[world->owed_rcpt])) {
            record->accepted[record->accepted_count++] = world->owed_rcpt;
        }
    } else if (owed == SMTP_SERVER_EVENT_DATA) {
        record->data = answer(world, 354);
    } else if (owed == SMTP_SERVER_EVENT_MESSAGE) {
        record->message[record->answered++] = answer(world, 250);
        world->owed = smtp_server_waiting(world->server) ? owed : SMTP_SERVER_EVENT_NONE;
    }
}

static struct slice offered(const struct world *world, uint32_t capability, struct slice value)
{
    return (world->server_config.capabilities & capability) != 0 ? value : SLICE_NULL;
}

static void see_mail(struct world *world, const struct smtp_server_event *event)
{
    struct record *record = NULL;
    for (size_t i = 0; i < world->submitted; i++) {
        if (slice_eq(world->records[i].sent.mail_from, event->address)) {
            record = &world->records[i];
        }
    }
    CHECK(record != NULL);
    assert_int_equal(record->mail.code, 0); /* not a second time */
    assert_true(slice_eq(event->ret, offered(world, SMTP_CAP_DSN, record->sent.ret)));
    assert_true(slice_eq(event->envid, offered(world, SMTP_CAP_DSN, record->sent.envid)));
    assert_int_equal(event->smtputf8, record->sent.smtputf8);
    assert_int_equal(event->body_8bit, record->sent.body_8bit);
    assert_int_equal(event->size_bytes, (world->server_config.capabilities & SMTP_CAP_SIZE) != 0
                                            ? record->sent.size_bytes
                                            : 0);
    world->open = record;
}

static void see_rcpt(struct world *world, const struct smtp_server_event *event)
{
    struct record *record = world->open;
    size_t i = 0;
    assert_non_null(record);
    while (i < record->sent.rcpt_count && !slice_eq(record->rcpts[i].address, event->address)) {
        i++;
    }
    assert_true(i < record->sent.rcpt_count);
    assert_int_equal(record->rcpt[i].code, 0);
    assert_true(slice_eq(event->notify, offered(world, SMTP_CAP_DSN, record->rcpts[i].notify)));
    assert_true(slice_eq(event->orcpt, offered(world, SMTP_CAP_DSN, record->rcpts[i].orcpt)));
    world->owed_rcpt = i;
}

static void see(struct world *world, const struct smtp_server_event *event)
{
    switch (event->type) {
    case SMTP_SERVER_EVENT_MAIL: see_mail(world, event); break;
    case SMTP_SERVER_EVENT_RCPT: see_rcpt(world, event); break;
    case SMTP_SERVER_EVENT_DATA: seen_chunked += event->chunked; break;
    case SMTP_SERVER_EVENT_MESSAGE: world->open->complete = true; break;
    case SMTP_SERVER_EVENT_AUTH:
        assert_true(slice_eq(event->user, world->client_config.auth_user));
        assert_true(slice_eq(event->password, world->client_config.auth_password));
        break;
    case SMTP_SERVER_EVENT_CONTENT: strbuf_add_slice(&world->open->content, event->content); return;
    case SMTP_SERVER_EVENT_STARTTLS: world->server_shakes = true; return;
    case SMTP_SERVER_EVENT_CLOSED: world->server_closed = true; return;
    case SMTP_SERVER_EVENT_EHLO:
    case SMTP_SERVER_EVENT_RESET:
    case SMTP_SERVER_EVENT_NONE: return;
    }
    world->owed = event->type;
}

static void serve(struct world *world)
{
    struct smtp_server_event event;
    do {
        if (world->owed != SMTP_SERVER_EVENT_NONE && seeded_chance(70)) {
            settle(world);
        }
        smtp_server_next_event(world->server, &event);
        see(world, &event);
    } while (event.type != SMTP_SERVER_EVENT_NONE);
    if (world->server_closed) {
        world->owed = SMTP_SERVER_EVENT_NONE;
    }
}

/* Bare CR and bare LF become CRLF, and the last line gets its end. */
static void expected_content(const struct record *record, struct strbuf *out)
{
    char last = '\n';
    for (size_t i = 0; i < record->sent.content_count; i++) {
        for (size_t k = 0; k < record->pieces[i].len; k++) {
            char c = record->pieces[i].ptr[k];
            if (last == '\r' && c != '\n') {
                strbuf_add_byte(out, '\n');
            } else if (c == '\n' && last != '\r') {
                strbuf_add_byte(out, '\r');
            }
            strbuf_add_byte(out, c);
            last = c;
        }
    }
    if (last != '\n') {
        strbuf_add_cstr(out, last == '\r' ? "\n" : "\r\n");
    }
}

static struct answer answer_of_phase(const struct world *world, const struct record *record,
                                     size_t i, enum smtp_phase phase)
{
    if (phase == SMTP_PHASE_MAIL) {
        return record->mail;
    }
    if (phase == SMTP_PHASE_RCPT) {
        return record->rcpt[i];
    }
    if (phase == SMTP_PHASE_DATA) {
        return record->data;
    }
    if (phase != SMTP_PHASE_MESSAGE) {
        return (struct answer){.code = 0};
    }
    if (!record->complete) { /* BDAT: the answer to its first chunk, or the engine's own */
        return record->data;
    }
    for (size_t k = 0; k < record->answered; k++) {
        if (record->accepted[k] == i && world->server_config.lmtp) {
            return record->message[k];
        }
    }
    return world->server_config.lmtp ? (struct answer){.code = 0} : record->message[0];
}

static bool delivered_by_server(const struct world *world, const struct record *record, size_t i)
{
    bool taken = accepted(record->rcpt[i]);
    return taken && record->complete &&
           accepted(answer_of_phase(world, record, i, SMTP_PHASE_MESSAGE));
}

/* LMTP: a 421 to one recipient leaves those behind him without an answer. */
static bool lmtp_left_alone(const struct world *world, const struct record *record)
{
    struct answer last =
        record->answered > 0 ? record->message[record->answered - 1] : record->data;
    return world->server_config.lmtp && last.code == 421;
}

static void check_rcpt(const struct world *world, const struct record *record, size_t i)
{
    const struct smtp_outcome *outcome = &record->rcpts[i].outcome;
    struct answer given = answer_of_phase(world, record, i, outcome->phase);
    bool delivered = delivered_by_server(world, record, i);
    switch (outcome->result) {
    case SMTP_RESULT_DELIVERED:
        seen_delivered++;
        assert_true(delivered);
        break;
    case SMTP_RESULT_UNCERTAIN:
        seen_uncertain++;
        assert_true(world->broken || lmtp_left_alone(world, record));
        return;
    case SMTP_RESULT_NONE:
        seen_none++;
        assert_false(delivered);
        return;
    case SMTP_RESULT_DEFERRED:
    case SMTP_RESULT_BOUNCED:
        seen_refused++;
        assert_false(delivered);
        break;
    }
    if (outcome->code == 0) { /* refused by the client engine itself */
        seen_local++;
        assert_int_equal(record->mail.code, 0);
        return;
    }
    if (outcome->phase == SMTP_PHASE_MESSAGE || outcome->phase == SMTP_PHASE_DATA ||
        outcome->phase == SMTP_PHASE_RCPT || outcome->phase == SMTP_PHASE_MAIL) {
        char text[32];
        assert_int_not_equal(given.code, 0);
        assert_int_equal(outcome->code, given.code);
        snprintf(text, sizeof(text), "answer %u", given.serial);
        assert_true(slice_eq(outcome->text, slice_cstr(text)));
        bool codes = (world->server_config.capabilities & SMTP_CAP_ENHANCEDSTATUSCODES) != 0;
        assert_true(!codes || (outcome->enhanced.klass == given.code / 100 &&
                               outcome->enhanced.subject == 7));
    }
}

static void check_record(const struct world *world, const struct record *record)
{
    struct strbuf expected;
    strbuf_init(&expected, 10000);
    expected_content(record, &expected);
    if (record->complete) {
        assert_true(slice_eq(strbuf_slice(&record->content), strbuf_slice(&expected)));
        assert_int_equal(record->sent.size_bytes, expected.len);
    } else {
        assert_true(slice_starts_with(strbuf_slice(&expected), strbuf_slice(&record->content)));
    }
    for (size_t i = 0; i < record->sent.rcpt_count; i++) {
        check_rcpt(world, record, i);
    }
    strbuf_free(&expected);
}

static void submit(struct world *world)
{
    if (world->submitted == world->count) {
        smtp_client_quit(world->client, world->now);
        return;
    }
    smtp_client_submit(world->client, &world->records[world->submitted++].sent, world->now);
}

static void drive(struct world *world)
{
    struct smtp_client_event event;
    for (;;) {
        smtp_client_next_event(world->client, &event);
        switch (event.type) {
        case SMTP_CLIENT_EVENT_NONE: return;
        case SMTP_CLIENT_EVENT_STARTTLS: world->client_shakes = true; break;
        case SMTP_CLIENT_EVENT_READY: submit(world); break;
        case SMTP_CLIENT_EVENT_DOT: smtp_client_release_dot(world->client, world->now); break;
        case SMTP_CLIENT_EVENT_CLOSED: world->client_closed = true; break;
        case SMTP_CLIENT_EVENT_DONE: {
            struct record *record = CONTAINER_OF(event.transaction, struct record, sent);
            assert_false(record->done);
            record->done = true;
            world->done++;
        }
        }
    }
}

static void move_to_server(struct world *world)
{
    struct iovec pieces[8];
    size_t n = smtp_client_output(world->client, pieces, 1 + seeded_below(8));
    size_t budget = seeded_chance(30) ? 1 + seeded_below(20) : 100000;
    size_t sent = 0;
    for (size_t i = 0; i < n && sent < budget; i++) {
        size_t len = pieces[i].iov_len < budget - sent ? pieces[i].iov_len : budget - sent;
        strbuf_add(&world->to_server, pieces[i].iov_base, len);
        sent += len;
    }
    if (sent > 0) {
        smtp_client_sent(world->client, sent, world->now);
    }
    drive(world);
    size_t len = 1 + seeded_below(seeded_chance(30) ? 8 : 5000);
    struct slice bytes = slice_head(strbuf_slice(&world->to_server), len);
    if (bytes.len > 0) {
        char *copy = malloc(bytes.len); /* so that a late look at it is found */
        assert_non_null(copy);
        memcpy(copy, bytes.ptr, bytes.len);
        size_t taken = smtp_server_input(world->server, slice_of(copy, bytes.len), world->now);
        serve(world);
        free(copy);
        strbuf_consume(&world->to_server, taken);
    }
    serve(world);
}

static void move_to_client(struct world *world)
{
    struct iovec piece;
    if (smtp_server_output(world->server, &piece, 1) > 0) {
        size_t len = seeded_chance(30) ? 1 + seeded_below(10) : piece.iov_len;
        len = len < piece.iov_len ? len : piece.iov_len;
        strbuf_add(&world->to_client, piece.iov_base, len);
        smtp_server_sent(world->server, len, world->now);
        serve(world);
    }
    struct slice bytes =
        slice_head(strbuf_slice(&world->to_client), 1 + seeded_below(seeded_chance(30) ? 8 : 5000));
    if (bytes.len > 0) {
        smtp_client_input(world->client, bytes, world->now);
        strbuf_consume(&world->to_client, bytes.len);
    }
    drive(world);
}

static void shake_hands(struct world *world)
{
    if (world->client_shakes && world->server_shakes) {
        bool ok = !seeded_chance(world->trouble_percent);
        world->client_shakes = world->server_shakes = false;
        assert_int_equal(world->to_server.len + world->to_client.len, 0);
        smtp_server_tls_done(world->server, ok, world->now);
        smtp_client_tls_done(world->client, ok, SLICE("no handshake"), world->now);
        seen_tls += ok;
    }
}

static bool has_output(struct world *world)
{
    struct iovec piece;
    return smtp_server_output(world->server, &piece, 1) > 0 || world->to_client.len > 0;
}

/* A link that is closed on one side is lost on the other, when all that was written has arrived; a
 * broken one at once. */
static void close_links(struct world *world)
{
    if (world->cuts && !world->broken && seeded_chance(1)) {
        world->broken = true;
        strbuf_reset(&world->to_client);
        strbuf_reset(&world->to_server);
        smtp_server_lost(world->server, world->now);
        smtp_client_lost(world->client, SLICE("link lost"), world->now);
    } else if (world->server_closed && !world->client_closed && !has_output(world)) {
        world->broken = true;
        smtp_client_lost(world->client, SLICE("closed by the peer"), world->now);
    } else if (world->client_closed && !world->server_closed && world->to_server.len == 0 &&
               world->owed == SMTP_SERVER_EVENT_NONE) {
        struct iovec piece;
        if (smtp_client_output(world->client, &piece, 1) == 0) {
            smtp_server_lost(world->server, world->now);
        }
    }
}

static void make_record(struct world *world, size_t index)
{
    static const char *const parts[] = {"Subject: x\r\n", "\r\n",  ".",    "..",
                                        "text",           "\n",    "\r",   ".\r\n",
                                        "\r\n.\r\n",      "\n.\n", "\r.\r"};
    static const char *const notify[] = {NULL, "NEVER", "SUCCESS,FAILURE"};
    struct record *record = &world->records[index];
    bool wide = seeded_chance(10);
    record->sent.smtputf8 = seeded_chance(10);
    record->sent.hold_dot = seeded_chance(30);
    record->sent.body_8bit = wide;
    snprintf(record->from, sizeof(record->from), "sender-%zu@%sexample.com", index,
             record->sent.smtputf8 ? "\xc3\xa9." : "");
    record->sent.mail_from = index == 0 && seeded_chance(20) ? SLICE("") : slice_cstr(record->from);
    record->sent.ret = seeded_chance(20) ? SLICE("HDRS") : SLICE_NULL;
    record->sent.envid = seeded_chance(20) ? SLICE("id+2Bx") : SLICE_NULL;
    record->sent.content = record->pieces;
    record->sent.content_count = seeded_below(MAX_PIECES + 1);
    record->sent.rcpts = record->rcpts;
    record->sent.rcpt_count = 1 + seeded_below(MAX_RCPTS);
    record->sent.arena = arena_create(1024, 1 << 20);
    strbuf_init(&record->content, 10000);
    for (size_t i = 0; i < record->sent.content_count; i++) {
        struct strbuf text;
        strbuf_init(&text, sizeof(record->text[i]));
        for (uint32_t n = seeded_below(6); n > 0; n--) {
            strbuf_add_cstr(&text,
                            wide && n == 1 ? "\xc3\xa9" : parts[seeded_below(ARRAY_LEN(parts))]);
        }
        memcpy(record->text[i], text.len > 0 ? text.ptr : "", text.len);
        record->pieces[i] = slice_of(record->text[i], text.len);
        strbuf_free(&text);
    }
    for (size_t i = 0; i < record->sent.rcpt_count; i++) {
        snprintf(record->to[i], sizeof(record->to[i]), "\"r %zu\"@t%zu.example", i, index);
        record->rcpts[i].address = slice_cstr(record->to[i]);
        record->rcpts[i].notify = slice_cstr(notify[seeded_below(ARRAY_LEN(notify))]);
        record->rcpts[i].orcpt = seeded_chance(20) ? SLICE("rfc822;a+20b") : SLICE_NULL;
    }
}

static void make_world(struct world *world)
{
    bool lmtp = seeded_chance(15);
    *world = (struct world){.now = {1000000}};
    world->client_config = (struct smtp_client_config){
        .ehlo_name = SLICE("client.example"),
        .lmtp = lmtp,
        .tls = seeded_chance(50) ? SMTP_TLS_OPPORTUNISTIC : SMTP_TLS_NEVER,
        .use_pipelining = seeded_chance(70),
        .use_chunking = seeded_chance(60),
        .auth_user = seeded_chance(20) ? SLICE("user") : SLICE_NULL,
        .auth_password = SLICE("pass word"),
    };
    smtp_timeouts_default(&world->client_config.timeouts);
    uint32_t capabilities = seeded_chance(50) ? CAP_ALL : seeded_below(CAP_ALL + 1);
    world->server_config = (struct smtp_server_config){
        .host_name = SLICE("server.example"),
        .greeting = SLICE("ESMTP"),
        .lmtp = lmtp,
        .capabilities = capabilities,
        .max_message_bytes = 100000,
        .command_timeout_ms = 300000,
        .data_timeout_ms = 180000,
    };
    world->trouble_percent = seeded_chance(40) ? 0 : seeded_below(40);
    world->cuts = seeded_chance(20);
    world->count = seeded_below(MAX_TRANSACTIONS + 1);
    for (size_t i = 0; i < world->count; i++) {
        make_record(world, i);
    }
    strbuf_init(&world->to_server, 1 << 20);
    strbuf_init(&world->to_client, 1 << 20);
    world->client = smtp_client_create(&world->client_config);
    world->server = smtp_server_create(&world->server_config);
}

static void end_world(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        strbuf_free(&world->records[i].content);
        arena_free(&world->records[i].sent.arena);
    }
    strbuf_free(&world->to_server);
    strbuf_free(&world->to_client);
    smtp_client_free(&world->client);
    smtp_server_free(&world->server);
}

static void test_session(void)
{
    struct world world;
    make_world(&world);
    smtp_client_start(world.client, false, world.now);
    smtp_server_start(world.server, false, SLICE_NULL, world.now);
    for (size_t rounds = 0; !world.client_closed || !world.server_closed; rounds++) {
        assert_true(rounds < 200000); /* else both wait for each other */
        world.now = mono_add_us(world.now, 10);
        move_to_server(&world);
        move_to_client(&world);
        shake_hands(&world);
        close_links(&world);
        serve(&world);
        drive(&world);
    }
    assert_int_equal(world.done, world.submitted);
    for (size_t i = 0; i < world.submitted; i++) {
        check_record(&world, &world.records[i]);
    }
    end_world(&world);
}

static void test_engines(void **state)
{
    (void)state;
    seeded_start("test_engines");
    for (size_t i = 0; i < SESSIONS; i++) {
        test_session();
    }
    printf("delivered %zu, refused %zu (by the client itself %zu), uncertain %zu, not tried %zu; "
           "by BDAT %zu, TLS %zu\n",
           seen_delivered, seen_refused, seen_local, seen_uncertain, seen_none, seen_chunked,
           seen_tls);
    assert_true(seen_delivered > SESSIONS && seen_refused > SESSIONS / 2 && seen_none > 0 &&
                seen_local > 0);
    assert_true(seen_chunked > SESSIONS / 10 && seen_tls > SESSIONS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_engines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
