/*
 * Test rig of the SMTP server engine: feeds text, answers by codes set beforehand, and writes down
 * every event and every byte of output as text, so that a test compares two strings.
 */
#ifndef SLUICE_TESTS_SERVER_RIG_H
#define SLUICE_TESTS_SERVER_RIG_H

#include "base/strbuf.h"
#include "smtp/server.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

#define RIG_ALL_CAPABILITIES                                                                       \
    (SMTP_CAP_PIPELINING | SMTP_CAP_CHUNKING | SMTP_CAP_SIZE | SMTP_CAP_8BITMIME |                 \
     SMTP_CAP_SMTPUTF8 | SMTP_CAP_DSN | SMTP_CAP_STARTTLS | SMTP_CAP_ENHANCEDSTATUSCODES |         \
     SMTP_CAP_REQUIRETLS | SMTP_CAP_AUTH_PLAIN | SMTP_CAP_AUTH_LOGIN)

struct rig {
    struct smtp_server *server;
    struct strbuf out;     /* since the last rig_expect() */
    struct strbuf log;     /* events, since the last rig_expect() */
    struct strbuf content; /* adjacent CONTENT events joined */
    struct mono_time now;
    size_t step;   /* bytes offered at once, 0: all */
    size_t writes; /* output calls that gave something */
    bool manual;   /* do not answer */
    bool deaf;     /* do not take output */
    bool closed;
    struct slice left;                        /* input that was not taken */
    uint16_t mail, rcpt, data, message, auth; /* answers */
};

static inline struct smtp_server_config rig_config(void)
{
    return (struct smtp_server_config){
        .host_name = SLICE("mx.example"),
        .greeting = SLICE("ESMTP test"),
        .capabilities = RIG_ALL_CAPABILITIES,
        .auth_needs_tls = true,
        .max_message_bytes = 1000,
        .max_recipients = 3,
        .command_timeout_ms = 300000,
        .data_timeout_ms = 180000,
    };
}

static inline void rig_flush_content(struct rig *rig)
{
    if (rig->content.len > 0) {
        strbuf_add_cstr(&rig->log, "CONTENT ");
        strbuf_add_slice(&rig->log, strbuf_slice(&rig->content));
        strbuf_add_cstr(&rig->log, "\n");
        strbuf_reset(&rig->content);
    }
}

static inline void rig_answer(struct rig *rig, uint16_t code)
{
    if (!rig->manual) {
        char enhanced[8];
        snprintf(enhanced, sizeof(enhanced), "%d.9.9", code / 100);
        smtp_server_reply(rig->server, code, enhanced, "said");
    }
}

static inline void rig_log_event(struct rig *rig, const struct smtp_server_event *event)
{
    struct strbuf *log = &rig->log;
    switch (event->type) {
    case SMTP_SERVER_EVENT_EHLO: strbuf_addf(log, "EHLO %.*s\n", SLICE_FMT(event->name)); break;
    case SMTP_SERVER_EVENT_STARTTLS: strbuf_add_cstr(log, "STARTTLS\n"); break;
    case SMTP_SERVER_EVENT_AUTH:
        strbuf_addf(log, "AUTH %.*s %.*s\n", SLICE_FMT(event->user), SLICE_FMT(event->password));
        break;
    case SMTP_SERVER_EVENT_MAIL:
        strbuf_addf(log, "MAIL <%.*s>", SLICE_FMT(event->address));
        strbuf_addf(log, "%s%s%s", event->body_8bit ? " 8bit" : "", event->smtputf8 ? " utf8" : "",
                    event->requiretls ? " requiretls" : "");
        strbuf_addf(log, " %.*s %.*s\n", SLICE_FMT(event->ret), SLICE_FMT(event->envid));
        break;
    case SMTP_SERVER_EVENT_RCPT:
        strbuf_addf(log, "RCPT <%.*s> %.*s %.*s\n", SLICE_FMT(event->address),
                    SLICE_FMT(event->notify), SLICE_FMT(event->orcpt));
        break;
    case SMTP_SERVER_EVENT_DATA: strbuf_addf(log, "%s\n", event->chunked ? "BDAT" : "DATA"); break;
    case SMTP_SERVER_EVENT_MESSAGE: strbuf_add_cstr(log, "MESSAGE\n"); break;
    case SMTP_SERVER_EVENT_RESET: strbuf_add_cstr(log, "RESET\n"); break;
    case SMTP_SERVER_EVENT_CLOSED: strbuf_add_cstr(log, "CLOSED\n"); break;
    case SMTP_SERVER_EVENT_NONE:
    case SMTP_SERVER_EVENT_CONTENT: break;
    }
}

static inline void rig_answer_event(struct rig *rig, const struct smtp_server_event *event)
{
    switch (event->type) {
    case SMTP_SERVER_EVENT_AUTH:
        if (!rig->manual) {
            smtp_server_auth_result(rig->server, rig->auth == 235, rig->auth == 454);
        }
        break;
    case SMTP_SERVER_EVENT_MAIL: rig_answer(rig, rig->mail); break;
    case SMTP_SERVER_EVENT_RCPT: rig_answer(rig, rig->rcpt); break;
    case SMTP_SERVER_EVENT_DATA: rig_answer(rig, rig->data); break;
    case SMTP_SERVER_EVENT_MESSAGE:
        do { /* LMTP: one for each recipient */
            rig_answer(rig, rig->message);
        } while (!rig->manual && smtp_server_waiting(rig->server));
        break;
    case SMTP_SERVER_EVENT_CLOSED:
        assert_false(rig->closed);
        rig->closed = true;
        break;
    case SMTP_SERVER_EVENT_EHLO:
    case SMTP_SERVER_EVENT_STARTTLS:
    case SMTP_SERVER_EVENT_RESET:
    case SMTP_SERVER_EVENT_NONE:
    case SMTP_SERVER_EVENT_CONTENT: break;
    }
}

static inline void rig_drain(struct rig *rig)
{
    struct smtp_server_event event;
    for (;;) {
        smtp_server_next_event(rig->server, &event);
        if (event.type == SMTP_SERVER_EVENT_NONE) {
            return;
        }
        assert_false(rig->closed); /* nothing comes behind CLOSED */
        if (event.type == SMTP_SERVER_EVENT_CONTENT) {
            assert_true(event.content.len > 0);
            strbuf_add_slice(&rig->content, event.content);
            continue;
        }
        rig_flush_content(rig);
        rig_log_event(rig, &event);
        rig_answer_event(rig, &event);
    }
}

static inline void rig_write(struct rig *rig)
{
    struct iovec piece;
    while (!rig->deaf && smtp_server_output(rig->server, &piece, 1) > 0) {
        rig->writes++;
        strbuf_add(&rig->out, piece.iov_base, piece.iov_len);
        smtp_server_sent(rig->server, piece.iov_len, rig->now);
        rig_drain(rig);
    }
}

/* Offers `left` as long as the engine takes something. */
static inline void rig_offer(struct rig *rig)
{
    for (;;) {
        size_t step = rig->step == 0 ? rig->left.len : rig->step;
        struct slice head = slice_head(rig->left, step);
        /* A copy of the exact size, so that reads past the end and too late are found. */
        char *copy = malloc(head.len + 1);
        CHECK(copy != NULL && (head.len == 0 || head.ptr != NULL));
        for (size_t i = 0; i < head.len; i++) {
            copy[i] = head.ptr[i];
        }
        size_t taken = smtp_server_input(rig->server, slice_of(copy, head.len), rig->now);
        assert_true(taken <= head.len);
        rig_drain(rig);
        free(copy);
        rig_write(rig);
        rig->left = slice_skip(rig->left, taken);
        if (taken == 0 || rig->left.len == 0) {
            return;
        }
    }
}

static inline void rig_feed(struct rig *rig, struct slice bytes)
{
    assert_int_equal(rig->left.len, 0);
    rig->left = bytes;
    rig_offer(rig);
}

static inline void rig_say(struct rig *rig, const char *text)
{
    rig_feed(rig, slice_cstr(text));
}

/* Compares with what came since the last call; NULL: whatever. */
static inline void rig_expect(struct rig *rig, const char *out, const char *log)
{
    rig_flush_content(rig);
    if (out != NULL) {
        assert_string_equal(rig->out.ptr == NULL ? "" : rig->out.ptr, out);
    }
    if (log != NULL) {
        assert_string_equal(rig->log.ptr == NULL ? "" : rig->log.ptr, log);
    }
    strbuf_reset(&rig->out);
    strbuf_reset(&rig->log);
    rig->writes = 0;
}

static inline void rig_open(struct rig *rig, const struct smtp_server_config *config, bool secure)
{
    *rig = (struct rig){.mail = 250, .rcpt = 250, .data = 354, .message = 250, .auth = 235};
    rig->now = (struct mono_time){1000000};
    strbuf_init(&rig->out, 10000000);
    strbuf_init(&rig->log, 10000000);
    strbuf_init(&rig->content, 10000000);
    rig->server = smtp_server_create(config);
    smtp_server_start(rig->server, secure, SLICE_NULL, rig->now);
    rig_drain(rig);
    rig_write(rig);
}

/* Open, greeted, and past EHLO. */
static inline void rig_hello(struct rig *rig, const struct smtp_server_config *config, bool secure)
{
    rig_open(rig, config, secure);
    rig_say(rig, config->lmtp ? "LHLO client.example\r\n" : "EHLO client.example\r\n");
    rig_expect(rig, NULL, "EHLO client.example\n");
}

static inline void rig_close(struct rig *rig)
{
    strbuf_free(&rig->out);
    strbuf_free(&rig->log);
    strbuf_free(&rig->content);
    smtp_server_free(&rig->server);
    assert_null(rig->server);
}

#endif
