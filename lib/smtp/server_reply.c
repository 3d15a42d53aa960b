/*
 * Server engine: replies into the output buffer, the event ring, and the two ends: of a transaction
 * and of the session. Replies that become ready together lie together, so that they leave in one
 * write (RFC 2920 section 3.2).
 */
#include "smtp/server_private.h"

/* One transition point, so that CLOSED is final. */
void server_set_state(struct smtp_server *server, enum server_state state)
{
    if (server->state != SERVER_CLOSED) {
        server->state = state;
    }
}

void server_push(struct smtp_server *server, enum smtp_server_event_type type, struct slice bytes)
{
    if (server->state == SERVER_CLOSED) {
        return;
    }
    CHECK(server->event_count < SERVER_EVENTS);
    uint32_t at = (server->event_first + server->event_count) % SERVER_EVENTS;
    server->events[at] = (struct server_event){.type = type, .bytes = bytes};
    server->event_count++;
}

void server_ask(struct smtp_server *server, enum server_await await,
                enum smtp_server_event_type type)
{
    if (server->state != SERVER_CLOSED) {
        server_push(server, type, SLICE_NULL);
        server->await = await;
    }
}

static char *put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

/* Reply-line = Reply-code [ SP textstring ] CRLF                    (RFC 5321 section 4.2)
 * textstring with the enhanced code in front for 2xx, 4xx and 5xx     (RFC 2034 section 4) */
static void format_reply(struct smtp_server *server, struct strbuf *to, uint16_t code,
                         const char *enhanced, const char *text)
{
    size_t enhanced_len = enhanced == NULL ? 0 : strlen(enhanced);
    size_t text_len = text == NULL ? 0 : strnlen(text, SERVER_REPLY_TEXT_MAX);
    CHECK(code >= 200 && code < 600 && enhanced_len < 16);
    if ((server->offered & SMTP_CAP_ENHANCEDSTATUSCODES) == 0 || code / 100 == 3) {
        enhanced_len = 0;
    }
    char *start = strbuf_reserve(to, 8 + enhanced_len + text_len);
    if (start == NULL) {
        return;
    }
    char *at = start;
    *at++ = (char)('0' + code / 100);
    *at++ = (char)('0' + code / 10 % 10);
    *at++ = (char)('0' + code % 10);
    *at++ = ' ';
    if (enhanced_len > 0) {
        at = put(at, enhanced, enhanced_len);
        *at++ = ' ';
    }
    for (size_t i = 0; i < text_len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool fine = (c >= ' ' && c < 0x7f) || (c >= 0x80 && server->smtputf8);
        *at++ = fine ? text[i] : '?';
    }
    at = put(at, "\r\n", 2);
    strbuf_commit(to, (size_t)(at - start));
}

/* A peer that has more replies to read than fit has lost its place in the dialogue. */
static void end_on_overflow(struct smtp_server *server, const struct strbuf *buf)
{
    if (buf->overflow) {
        server_end(server);
    }
}

void server_write(struct smtp_server *server, uint16_t code, const char *enhanced, const char *text)
{
    if (server->state != SERVER_CLOSED) {
        format_reply(server, &server->out, code, enhanced, text);
        end_on_overflow(server, &server->out);
    }
}

void server_write_after(struct smtp_server *server, uint32_t copies, uint16_t code,
                        const char *enhanced, const char *text)
{
    for (uint32_t i = 0; i < copies; i++) {
        format_reply(server, &server->after, code, enhanced, text);
    }
    end_on_overflow(server, &server->after);
}

void server_write_raw(struct smtp_server *server, struct slice lines)
{
    if (server->state != SERVER_CLOSED) {
        strbuf_add_slice(&server->out, lines);
        end_on_overflow(server, &server->out);
    }
}

bool server_count_error(struct smtp_server *server)
{
    server->errors++;
    if (server->config.max_errors != 0 && server->errors > server->config.max_errors) {
        server_bye(server, 421, "4.7.0", "Too many errors");
        return false;
    }
    return true;
}

void server_error(struct smtp_server *server, uint16_t code, const char *enhanced, const char *text)
{
    if (server_count_error(server)) {
        server_write(server, code, enhanced, text);
    }
}

void server_out_of_sequence(struct smtp_server *server, uint16_t code, const char *text)
{
    if (server->lenient) {
        server_write(server, code, "5.5.1", text);
    } else {
        server_error(server, code, "5.5.1", text);
    }
}

void server_bye(struct smtp_server *server, uint16_t code, const char *enhanced, const char *text)
{
    server_write(server, code, enhanced, text);
    server_end(server);
}

void server_end(struct smtp_server *server)
{
    if (server->state == SERVER_CLOSED) {
        return;
    }
    server_drop_transaction(server);
    server_push(server, SMTP_SERVER_EVENT_CLOSED, SLICE_NULL);
    server->state = SERVER_CLOSED;
    if (server->await == SERVER_AWAIT_AUTH) {
        server_auth_wipe(server);
    }
    server->await = SERVER_AWAIT_NONE;
}

void server_drop_transaction(struct smtp_server *server)
{
    if (server->mail_open) {
        server_push(server, SMTP_SERVER_EVENT_RESET, SLICE_NULL);
    }
    server_forget_transaction(server);
}

void server_forget_transaction(struct smtp_server *server)
{
    server->mail_open = false;
    server->smtputf8 = false;
    server->chunking = false;
    server->rcpt_count = 0;
    server->content_bytes = 0;
}
