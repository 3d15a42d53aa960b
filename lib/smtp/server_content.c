/*
 * Server engine: DATA (RFC 5321 section 4.1.1.4) and BDAT (RFC 3030). Content goes to the owner as
 * slices of what came in. Content that is not wanted (refused, over the limit, no transaction) is
 * swallowed, and its reply waits in `after` until it is over, so that replies never overtake what
 * they answer.
 */
#include "smtp/server_private.h"

void server_data_start(struct smtp_server *server)
{
    if (!server->mail_open || server->chunking) {
        server_out_of_sequence(
            server, 503, server->chunking ? "DATA does not go with BDAT" : "Need MAIL before DATA");
        return;
    }
    if (server->rcpt_count == 0) { /* pipelined behind refused recipients: nobody's fault */
        server_write(server, 554, "5.5.1", "No valid recipients");
        return;
    }
    server_ask(server, SERVER_AWAIT_DATA, SMTP_SERVER_EVENT_DATA);
}

/* Replies that the end of this content calls for (RFC 2033 section 4.2). */
static uint32_t replies_at_end(const struct smtp_server *server)
{
    bool last = server->state != SERVER_BDAT || server->chunk_last;
    return server->config.lmtp && last ? server->rcpt_count : 1;
}

static void message_end(struct smtp_server *server)
{
    server_set_state(server, SERVER_COMMAND);
    server->replies_owed = server->config.lmtp ? server->rcpt_count : 1;
    server_ask(server, SERVER_AWAIT_MESSAGE, SMTP_SERVER_EVENT_MESSAGE);
}

/* The end of swallowed content. */
static void discard_end(struct smtp_server *server)
{
    server_set_state(server, SERVER_COMMAND);
    server->discard = false;
    server_write_raw(server, strbuf_slice(&server->after));
    strbuf_reset(&server->after);
}

static void bad_content(struct smtp_server *server, const char *what)
{
    char text[64];
    snprintf(text, sizeof(text), "%s in message content", what);
    server_bye(server, 554, "5.5.2", text);
}

static void chunk_end(struct smtp_server *server)
{
    if (server->discard) {
        discard_end(server);
    } else if (!server->chunk_last) {
        char text[48];
        snprintf(text, sizeof(text), "%llu octets received",
                 (unsigned long long)server->chunk_bytes);
        server_set_state(server, SERVER_COMMAND);
        server_write(server, 250, "2.0.0", text);
    } else if (!smtp_unstuff_complete(&server->unstuff)) {
        bad_content(server, "bare CR");
    } else {
        message_end(server);
    }
}

/* Swallows this chunk, then says what is in `after`. */
static void chunk_discard(struct smtp_server *server)
{
    server->discard = true;
    server_set_state(server, SERVER_BDAT);
    if (server->chunk_left == 0) {
        chunk_end(server);
    }
}

/* Whatever is wrong with a BDAT, its bytes follow and must be taken (RFC 3030 section 2). */
void server_bdat_start(struct smtp_server *server)
{
    const char *text = NULL;
    uint16_t code = 503;
    server->chunk_bytes = server->chunk_left = server->command.chunk_bytes;
    server->chunk_last = server->command.last;
    if ((server->config.capabilities & SMTP_CAP_CHUNKING) == 0) {
        code = 502;
        text = "BDAT is not offered";
    } else if (!server->mail_open) {
        text = "Need MAIL before BDAT";
    } else if (server->rcpt_count == 0) {
        code = 554;
        text = "No valid recipients";
    }
    if (text != NULL) {
        bool fault = !server->lenient && code != 554;
        if (fault && !server_count_error(server)) {
            return;
        }
        server_write_after(server, 1, code, "5.5.1", text);
        chunk_discard(server);
        return;
    }
    if (!server->chunking) {
        server_ask(server, SERVER_AWAIT_DATA, SMTP_SERVER_EVENT_DATA);
        return;
    }
    server_set_state(server, SERVER_BDAT);
    if (server->chunk_left == 0) {
        chunk_end(server);
    }
}

static void bdat_answer(struct smtp_server *server, uint16_t code, const char *enhanced,
                        const char *text)
{
    server_set_state(server, SERVER_BDAT);
    if (code >= 400) {
        server_write_after(server, replies_at_end(server), code, enhanced, text);
        server_drop_transaction(server);
        server->lenient = true;
        chunk_discard(server);
        return;
    }
    server->chunking = true;
    smtp_unstuff_init(&server->unstuff, false);
    if (server->chunk_left == 0) {
        chunk_end(server);
    }
}

void server_data_answer(struct smtp_server *server, uint16_t code, const char *enhanced,
                        const char *text)
{
    if (server->command.verb == SMTP_COMMAND_BDAT) {
        bdat_answer(server, code, enhanced, text);
        return;
    }
    if (server_more_input(server)) { /* RFC 2920 section 3.1: DATA is the last of a group */
        server_bye(server, 503, "5.5.0", "Content was sent before the reply to DATA");
        return;
    }
    server_write(server, code, enhanced, text);
    if (code >= 400) {
        server_drop_transaction(server);
        return;
    }
    smtp_unstuff_init(&server->unstuff, true);
    server_set_state(server, SERVER_DATA);
}

static void too_big(struct smtp_server *server)
{
    server_write_after(server, replies_at_end(server), 552, "5.3.4", "Message is too big");
    server_drop_transaction(server);
    server->lenient = true;
    server->discard = true;
}

static void give_content(struct smtp_server *server, struct slice piece)
{
    uint64_t max = server->config.max_message_bytes;
    server->content_bytes += piece.len;
    if (max != 0 && server->content_bytes > max) {
        too_big(server);
        return;
    }
    server_push(server, SMTP_SERVER_EVENT_CONTENT, piece);
}

/* Runs the decoder over `bytes` until they are used, the message ends or the ring is full; returns
 * what was taken. */
static size_t decode(struct smtp_server *server, struct slice bytes)
{
    struct slice rest = bytes;
    while (server->event_count < SERVER_CONTENT_EVENTS) {
        struct slice piece;
        switch (smtp_unstuff_next(&server->unstuff, &rest, &piece)) {
        case SMTP_UNSTUFF_PIECE:
            if (!server->discard) {
                give_content(server, piece);
            }
            break;
        case SMTP_UNSTUFF_MORE: return bytes.len;
        case SMTP_UNSTUFF_END:
            if (server->discard) {
                discard_end(server);
            } else {
                message_end(server);
            }
            return bytes.len - rest.len;
        case SMTP_UNSTUFF_BAD: bad_content(server, server->unstuff.wrong); return bytes.len;
        }
    }
    return bytes.len - rest.len;
}

size_t server_content_take(struct smtp_server *server, struct slice bytes)
{
    if (server->state == SERVER_DATA) {
        return decode(server, bytes);
    }
    size_t len = bytes.len < server->chunk_left ? bytes.len : (size_t)server->chunk_left;
    size_t taken = server->discard ? len : decode(server, slice_head(bytes, len));
    server->chunk_left -= taken;
    if (server->chunk_left == 0 && server->state == SERVER_BDAT) {
        chunk_end(server);
    }
    return taken;
}
