/*
 * The client engine as a whole: the first bytes choose the configuration, the rest is what the peer
 * says, in random splits, with the transport taking random amounts, and now and then a time-out or
 * a lost link. Two messages are sent, if it comes to that. Whatever happens: one DONE per message,
 * one CLOSED, and outcomes that fit what was sent.
 */
#include "base/arena.h"
#include "base/mem.h"
#include "smtp/client.h"

#define RCPTS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct smtp_client *client;
    struct arena *arena;
    struct smtp_client_transaction transaction;
    struct smtp_client_rcpt rcpts[RCPTS];
    struct slice content;
    struct mono_time now;
    size_t submitted, finished, closed;
    bool dot_due;
};

static void check_done(const struct run *run, const struct smtp_client_transaction *transaction)
{
    CHECK(transaction == &run->transaction);
    for (size_t i = 0; i < transaction->rcpt_count; i++) {
        const struct smtp_outcome *outcome = &transaction->rcpts[i].outcome;
        bool past_dot = transaction->dot_sent.us != 0;
        CHECK(outcome->result != SMTP_RESULT_DELIVERED || (past_dot && outcome->code / 100 == 2));
        CHECK(outcome->result != SMTP_RESULT_UNCERTAIN || past_dot);
        CHECK(outcome->result != SMTP_RESULT_DEFERRED || outcome->code / 100 == 4);
        CHECK(outcome->result != SMTP_RESULT_BOUNCED || outcome->code == 0 ||
              outcome->code / 100 == 5);
        CHECK(outcome->result != SMTP_RESULT_NONE || outcome->scope >= SMTP_SCOPE_SESSION);
        CHECK(slice_is_utf8(outcome->text) && !slice_has_control(outcome->text));
    }
}

static void submit(struct run *run)
{
    if (run->submitted == 2) {
        smtp_client_quit(run->client, run->now);
        return;
    }
    run->submitted++;
    run->dot_due = false;
    smtp_client_submit(run->client, &run->transaction, run->now);
}

static void drain_events(struct run *run)
{
    struct smtp_client_event event;
    for (;;) {
        smtp_client_next_event(run->client, &event);
        CHECK(run->closed == 0 || event.type == SMTP_CLIENT_EVENT_NONE);
        switch (event.type) {
        case SMTP_CLIENT_EVENT_NONE: return;
        case SMTP_CLIENT_EVENT_STARTTLS:
            smtp_client_tls_done(run->client, true, SLICE_NULL, run->now);
            break;
        case SMTP_CLIENT_EVENT_READY: submit(run); break;
        case SMTP_CLIENT_EVENT_DOT:
            CHECK(!run->dot_due);
            run->dot_due = true;
            break;
        case SMTP_CLIENT_EVENT_DONE:
            run->finished++;
            check_done(run, event.transaction);
            break;
        case SMTP_CLIENT_EVENT_CLOSED:
            run->closed++;
            CHECK(run->finished == run->submitted);
            break;
        }
    }
}

/* The transport takes at most `max` bytes. */
static void take(struct run *run, size_t max)
{
    struct iovec pieces[4];
    size_t count = smtp_client_output(run->client, pieces, ARRAY_LEN(pieces)), len = 0;
    for (size_t i = 0; i < count; i++) {
        CHECK(pieces[i].iov_len > 0);
        len += pieces[i].iov_len;
    }
    if (count > 0) {
        smtp_client_sent(run->client, len < max ? len : max, run->now);
    }
    drain_events(run);
}

static void prepare(struct run *run, uint8_t flags, uint8_t more)
{
    struct smtp_client_config config = {
        .ehlo_name = SLICE("client.example"),
        .lmtp = (flags & 1) != 0,
        .use_pipelining = (flags & 4) != 0,
        .use_chunking = (flags & 8) != 0,
        .tls = (enum smtp_tls_policy)((flags >> 4) % 3),
    };
    if ((flags & 0x40) != 0) {
        config.auth_user = SLICE("user");
        config.auth_password = SLICE("secret");
    }
    smtp_timeouts_default(&config.timeouts);
    run->client = smtp_client_create(&config);
    run->arena = arena_create(1024, 1 << 20);
    run->now = (struct mono_time){1};
    run->content = (more & 4) != 0 ? SLICE("Subject: x\n\n.dot\rend") : SLICE("hello\r\n");
    run->transaction = (struct smtp_client_transaction){
        .arena = run->arena,
        .mail_from = SLICE("a@example.com"),
        .hold_dot = (flags & 2) != 0,
        .content = &run->content,
        .content_count = 1,
        .rcpts = run->rcpts,
        .rcpt_count = 1u + (more & 3u) % RCPTS,
    };
    for (size_t i = 0; i < RCPTS; i++) {
        run->rcpts[i].address = SLICE("b@example.org");
    }
    smtp_client_start(run->client, (flags & 0x80) != 0, run->now);
}

/* Two bytes of orders, then that many of the peer's words. */
static void play(struct run *run, const uint8_t *data, size_t size)
{
    while (size >= 2 && run->closed == 0) {
        uint8_t order = data[0];
        size_t len = data[1] < size - 2 ? data[1] : size - 2;
        char *copy = mem_strndup((const char *)data + 2, len);
        run->now = mono_add_ms(run->now, order);
        smtp_client_input(run->client, slice_of(copy, len), run->now);
        mem_free(copy);
        drain_events(run);
        for (unsigned i = order & 7u; i > 0; i--) {
            take(run, i == 7 ? SIZE_MAX : i * 5u);
        }
        if (run->dot_due && (order & 0x18) != 0) {
            run->dot_due = false;
            smtp_client_release_dot(run->client, run->now);
        }
        if (order == 0xff) {
            smtp_client_timeout(run->client, smtp_client_deadline(run->client));
        } else if (order == 0xfe) {
            smtp_client_quit(run->client, run->now);
        }
        drain_events(run);
        data += 2 + len;
        size -= 2 + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run run = {0};
    if (size < 2) {
        return 0;
    }
    prepare(&run, data[0], data[1]);
    play(&run, data + 2, size - 2);
    smtp_client_lost(run.client, SLICE("end of input"), run.now);
    drain_events(&run);
    CHECK(run.closed == 1 && run.finished == run.submitted);
    smtp_client_free(&run.client);
    arena_free(&run.arena);
    return 0;
}
