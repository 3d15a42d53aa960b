/*
 * The client engine's interface: times, readiness, the order of events. What peers may do to it is
 * in tests/hostile/client.
 */
#include "base/arena.h"
#include "smtp/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct fixture {
    struct smtp_client_config config;
    struct smtp_client *client;
    struct arena *arena;
    struct smtp_client_rcpt rcpts[2];
    struct slice content;
    struct smtp_client_transaction transaction;
    struct mono_time now;
};

static void fixture_begin(struct fixture *fixture)
{
    *fixture = (struct fixture){.now = {1000}};
    fixture->config = (struct smtp_client_config){
        .ehlo_name = SLICE("client.example"), .use_pipelining = true, .use_chunking = true};
    smtp_timeouts_default(&fixture->config.timeouts);
    fixture->client = smtp_client_create(&fixture->config);
    fixture->arena = arena_create(4096, 1 << 20);
    fixture->content = SLICE("Subject: x\r\n\r\nhello\r\n");
    fixture->rcpts[0].address = SLICE("b@example.org");
    fixture->rcpts[1].address = SLICE("c@example.org");
    fixture->transaction = (struct smtp_client_transaction){
        .arena = fixture->arena,
        .mail_from = SLICE("a@example.com"),
        .content = &fixture->content,
        .content_count = 1,
        .rcpts = fixture->rcpts,
        .rcpt_count = 2,
    };
}

static void fixture_end(struct fixture *fixture)
{
    smtp_client_free(&fixture->client);
    assert_null(fixture->client);
    smtp_client_free(&fixture->client);
    arena_free(&fixture->arena);
}

static struct mono_time tick(struct fixture *fixture)
{
    fixture->now = mono_add_us(fixture->now, 10);
    return fixture->now;
}

static size_t flush(struct fixture *fixture)
{
    struct iovec pieces[8];
    size_t all = 0;
    for (;;) {
        size_t len = 0, count = smtp_client_output(fixture->client, pieces, ARRAY_LEN(pieces));
        for (size_t i = 0; i < count; i++) {
            len += pieces[i].iov_len;
        }
        if (len == 0) {
            return all;
        }
        smtp_client_sent(fixture->client, len, tick(fixture));
        all += len;
    }
}

static void say(struct fixture *fixture, struct slice bytes)
{
    flush(fixture);
    smtp_client_input(fixture->client, bytes, tick(fixture));
}

static enum smtp_client_event_type event_of(struct fixture *fixture)
{
    struct smtp_client_event event;
    smtp_client_next_event(fixture->client, &event);
    return event.type;
}

static void open_session(struct fixture *fixture, struct slice ehlo)
{
    smtp_client_start(fixture->client, false, tick(fixture));
    say(fixture, SLICE("220 hi\r\n"));
    assert_false(smtp_client_ready(fixture->client));
    say(fixture, ehlo);
    assert_int_equal(event_of(fixture), SMTP_CLIENT_EVENT_READY);
    assert_true(smtp_client_ready(fixture->client));
}

static const struct slice pipelining = {"250-mx\r\n250 PIPELINING\r\n", 24};
static const struct slice chunking = {"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n", 38};

static void test_times(void **state)
{
    struct fixture fixture;
    struct smtp_client_transaction *transaction = &fixture.transaction;
    (void)state;
    fixture_begin(&fixture);
    open_session(&fixture, pipelining);
    assert_int_equal(smtp_client_capabilities(fixture.client), SMTP_CAP_PIPELINING);
    smtp_client_submit(fixture.client, transaction, tick(&fixture));
    assert_int_equal(transaction->started.us, fixture.now.us);
    assert_false(smtp_client_ready(fixture.client));
    say(&fixture, SLICE("250 ok\r\n"));
    struct mono_time mail = fixture.now;
    say(&fixture, SLICE("250 ok\r\n"));
    say(&fixture, SLICE("250 ok\r\n"));
    struct mono_time rcpt = fixture.now;
    assert_int_equal(smtp_client_phase(fixture.client), SMTP_PHASE_DATA);
    say(&fixture, SLICE("354 go\r\n"));
    struct mono_time data = fixture.now;
    assert_int_equal(transaction->dot_sent.us, 0);
    flush(&fixture);
    struct mono_time dot = fixture.now;
    say(&fixture, SLICE("250 2.0.0 done\r\n"));
    assert_int_equal(transaction->mail_replied.us, mail.us);
    assert_int_equal(transaction->rcpt_replied.us, rcpt.us);
    assert_int_equal(transaction->data_replied.us, data.us);
    assert_int_equal(transaction->dot_sent.us, dot.us);
    assert_int_equal(transaction->finished.us, fixture.now.us);
    assert_int_equal(transaction->size_bytes, fixture.content.len);
    /* Not ready before DONE has been taken: the caller's memory is still lent. */
    assert_false(smtp_client_ready(fixture.client));
    assert_int_equal(event_of(&fixture), SMTP_CLIENT_EVENT_DONE);
    assert_true(smtp_client_ready(fixture.client));
    assert_int_equal(event_of(&fixture), SMTP_CLIENT_EVENT_READY);
    assert_int_equal(event_of(&fixture), SMTP_CLIENT_EVENT_NONE);
    assert_int_equal(smtp_client_transactions(fixture.client), 1);
    fixture_end(&fixture);
}

/* For BDAT, data_replied is when the first content byte went out. */
static void test_times_chunking(void **state)
{
    struct fixture fixture;
    struct iovec pieces[4];
    (void)state;
    fixture_begin(&fixture);
    open_session(&fixture, chunking);
    smtp_client_submit(fixture.client, &fixture.transaction, tick(&fixture));
    /* Everything in one output: the commands and the owner's own bytes. */
    assert_int_equal(smtp_client_output(fixture.client, pieces, ARRAY_LEN(pieces)), 2);
    assert_ptr_equal(pieces[1].iov_base, fixture.content.ptr);
    assert_int_equal(pieces[1].iov_len, fixture.content.len);
    smtp_client_sent(fixture.client, pieces[0].iov_len, tick(&fixture));
    assert_int_equal(fixture.transaction.data_replied.us, 0);
    smtp_client_sent(fixture.client, 1, tick(&fixture));
    assert_int_equal(fixture.transaction.data_replied.us, fixture.now.us);
    smtp_client_sent(fixture.client, pieces[1].iov_len - 1, tick(&fixture));
    assert_int_equal(fixture.transaction.dot_sent.us, fixture.now.us);
    fixture_end(&fixture);
}

/* A full arena costs the text, not the outcome. */
static void test_arena_full(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_begin(&fixture);
    open_session(&fixture, chunking);
    while (arena_try_alloc(fixture.arena, 16) != NULL) {
    }
    smtp_client_submit(fixture.client, &fixture.transaction, tick(&fixture));
    say(&fixture, SLICE("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 2.0.0 done\r\n"));
    assert_int_equal(event_of(&fixture), SMTP_CLIENT_EVENT_DONE);
    assert_int_equal(fixture.rcpts[0].outcome.result, SMTP_RESULT_DELIVERED);
    assert_int_equal(fixture.rcpts[0].outcome.text.len, 0);
    assert_int_equal(fixture.rcpts[1].outcome.result, SMTP_RESULT_BOUNCED);
    assert_int_equal(fixture.rcpts[1].outcome.text.len, 0);
    fixture_end(&fixture);
}

/* The end of a session: one CLOSED, and nothing has an effect afterwards. */
static void test_after_end(void **state)
{
    struct fixture fixture;
    struct iovec piece;
    (void)state;
    fixture_begin(&fixture);
    open_session(&fixture, pipelining);
    smtp_client_lost(fixture.client, SLICE("reset"), tick(&fixture));
    assert_int_equal(event_of(&fixture), SMTP_CLIENT_EVENT_CLOSED);
    smtp_client_lost(fixture.client, SLICE("reset"), tick(&fixture));
    smtp_client_timeout(fixture.client, MONO_NEVER);
    smtp_client_quit(fixture.client, tick(&fixture));
    smtp_client_release_dot(fixture.client, tick(&fixture));
    smtp_client_tls_done(fixture.client, true, SLICE_NULL, tick(&fixture));
    smtp_client_input(fixture.client, SLICE("250 ok\r\n"), tick(&fixture));
    assert_int_equal(event_of(&fixture), SMTP_CLIENT_EVENT_NONE);
    assert_int_equal(smtp_client_output(fixture.client, &piece, 1), 0);
    assert_int_equal(smtp_client_deadline(fixture.client).us, MONO_NEVER.us);
    assert_false(smtp_client_ready(fixture.client));
    fixture_end(&fixture);
}

/* A session that waits for nothing has no deadline that could pass. */
static void test_no_deadline(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_begin(&fixture);
    open_session(&fixture, pipelining);
    assert_int_equal(smtp_client_deadline(fixture.client).us, MONO_NEVER.us);
    smtp_client_timeout(fixture.client, MONO_NEVER);
    assert_int_equal(event_of(&fixture), SMTP_CLIENT_EVENT_NONE);
    assert_true(smtp_client_ready(fixture.client));
    fixture_end(&fixture);
}

/* Lost before it was up: a matter of the site. */
static void test_never_connected(void **state)
{
    struct fixture fixture;
    struct smtp_client_event event;
    (void)state;
    fixture_begin(&fixture);
    smtp_client_lost(fixture.client, SLICE("connection refused"), tick(&fixture));
    smtp_client_next_event(fixture.client, &event);
    assert_int_equal(event.type, SMTP_CLIENT_EVENT_CLOSED);
    assert_int_equal(event.outcome->result, SMTP_RESULT_DEFERRED);
    assert_int_equal(event.outcome->phase, SMTP_PHASE_CONNECT);
    assert_int_equal(event.outcome->scope, SMTP_SCOPE_SITE);
    assert_true(slice_find(event.outcome->text, SLICE("connection refused")) >= 0);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),           cmocka_unit_test(test_times_chunking),
        cmocka_unit_test(test_arena_full),      cmocka_unit_test(test_after_end),
        cmocka_unit_test(test_never_connected), cmocka_unit_test(test_no_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
