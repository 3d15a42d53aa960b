/*
 * Server engine: interface, input and time.
 *
 * Commands are copied into hold[] and parsed there one by one; content is taken straight from the
 * owner's bytes, unless it came together with commands. pump() is the heart: it goes on while no
 * event is queued, no answer owed and the peer reads its replies.
 */
#include "smtp/server_private.h"

#include "base/mem.h"

struct smtp_server *smtp_server_create(const struct smtp_server_config *config)
{
    struct smtp_server *server = mem_zalloc(sizeof(*server));
    server->magic = SMTP_SERVER_MAGIC;
    server->config = *config;
    strbuf_init(&server->out, SERVER_OUTPUT_MAX);
    strbuf_init(&server->after, SERVER_OUTPUT_MAX);
    return server;
}

void smtp_server_free(struct smtp_server **pointer)
{
    struct smtp_server *server = *pointer;
    if (server == NULL) {
        return;
    }
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    strbuf_free(&server->out);
    strbuf_free(&server->after);
    explicit_bzero(server, sizeof(*server));
    mem_free(server);
    *pointer = NULL;
}

static void alive(struct smtp_server *server, struct mono_time now)
{
    server->active = now;
    server->stale = false;
}

void smtp_server_start(struct smtp_server *server, bool secure, struct slice refuse,
                       struct mono_time now)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    CHECK(server->state == SERVER_NEW);
    server_set_state(server, SERVER_COMMAND);
    server->secure = secure;
    alive(server, now);
    if (refuse.ptr != NULL) {
        server_write_raw(server, refuse);
        server_write_raw(server, SLICE("\r\n"));
        server_end(server);
        return;
    }
    server_write_raw(server, SLICE("220 "));
    server_write_raw(server, server->config.host_name);
    if (server->config.greeting.len > 0) {
        server_write_raw(server, SLICE(" "));
        server_write_raw(server, server->config.greeting);
    }
    server_write_raw(server, SLICE("\r\n"));
}

/* How many bytes went into hold[]. */
static size_t hold_append(struct smtp_server *server, struct slice bytes)
{
    if (server->hold_start > 0 && server->event_count == 0 && server->await == SERVER_AWAIT_NONE) {
        size_t len = server->hold_end - server->hold_start;
        memmove(server->hold, server->hold + server->hold_start, len);
        server->hold_scanned -= server->hold_start;
        server->hold_start = 0;
        server->hold_end = len;
    }
    bytes = slice_head(bytes, sizeof(server->hold) - server->hold_end);
    if (bytes.ptr != NULL) {
        memcpy(server->hold + server->hold_end, bytes.ptr, bytes.len);
        server->hold_end += bytes.len;
    }
    return bytes.len;
}

static bool in_auth(const struct smtp_server *server)
{
    return server->state == SERVER_AUTH_PLAIN || server->state == SERVER_AUTH_USER ||
           server->state == SERVER_AUTH_PASSWORD;
}

static void line_too_long(struct smtp_server *server)
{
    bool auth = in_auth(server);
    server_set_state(server, SERVER_COMMAND);
    server_error(server, 500, auth ? "5.5.6" : "5.5.2",
                 "Line is too long"); /* RFC 4954 section 6 */
}

/* Looks at a part of a line that is too long to be kept. */
static void swallow(struct smtp_server *server, size_t start, size_t end)
{
    server->skip_line = true;
    for (size_t i = start; i < end; i++) {
        if (server->skip_cr) {
            server->skip_wrong = "Bare CR is not allowed";
        } else if (server->hold[i] == '\0') {
            server->skip_wrong = "NUL is not allowed";
        }
        server->skip_cr = server->hold[i] == '\r';
    }
}

/* What is wrong with the bytes of a line that ends with a LF; NULL: nothing. */
static const char *wrong_bytes(const struct smtp_server *server, struct slice line)
{
    bool cr = server->skip_line ? server->skip_cr : line.len > 0 && line.ptr[line.len - 1] == '\r';
    if (!cr) {
        return "Bare LF is not allowed";
    }
    if (server->skip_line) {
        return server->skip_wrong;
    }
    if (memchr(line.ptr, '\r', line.len - 1) != NULL) {
        return "Bare CR is not allowed";
    }
    return memchr(line.ptr, '\0', line.len) != NULL ? "NUL is not allowed" : NULL;
}

/* A line in [start, end), where end is the LF. */
static void take_line(struct smtp_server *server, size_t start, size_t end)
{
    struct slice line = slice_of(server->hold + start, end - start);
    if (server->skip_line) {
        swallow(server, start, end);
    }
    const char *wrong = wrong_bytes(server, line);
    bool skipped = server->skip_line;
    server->skip_line = server->skip_cr = false;
    server->skip_wrong = NULL;
    if (wrong != NULL) {
        server_bye(server, 500, "5.5.2", wrong);
        return;
    }
    if (skipped || line.len + 1 > SERVER_LINE_MAX) {
        line_too_long(server);
        return;
    }
    line.len--;
    if (in_auth(server)) {
        server_auth_line(server, line);
    } else {
        server_take_command(server, line);
    }
}

/* False: there is no whole line. */
static bool next_line(struct smtp_server *server)
{
    const char *from = server->hold + server->hold_scanned;
    const char *lf = memchr(from, '\n', server->hold_end - server->hold_scanned);
    if (lf == NULL) {
        server->hold_scanned = server->hold_end;
        if (server->skip_line || server->hold_end - server->hold_start > SERVER_LINE_MAX) {
            swallow(server, server->hold_start, server->hold_end);
            server->hold_start = server->hold_end;
        }
        return false;
    }
    size_t start = server->hold_start;
    size_t end = (size_t)(lf - server->hold);
    server->hold_start = server->hold_scanned = end + 1;
    take_line(server, start, end);
    return true;
}

/* Content that came together with commands. */
static bool content_of_hold(struct smtp_server *server)
{
    size_t len = server->hold_end - server->hold_start;
    if (len == 0) {
        return false;
    }
    size_t taken = server_content_take(server, slice_of(server->hold + server->hold_start, len));
    server->hold_start += taken;
    server->hold_scanned = server->hold_start;
    return taken > 0;
}

/* Works off what is held, up to the next event. */
static void pump(struct smtp_server *server)
{
    bool progress = true;
    while (progress && server->event_count == 0 && server->await == SERVER_AWAIT_NONE &&
           server->out.len < SERVER_OUTPUT_BLOCK) {
        switch (server->state) {
        case SERVER_COMMAND:
        case SERVER_AUTH_PLAIN:
        case SERVER_AUTH_USER:
        case SERVER_AUTH_PASSWORD: progress = next_line(server); break;
        case SERVER_DATA:
        case SERVER_BDAT: progress = content_of_hold(server); break;
        case SERVER_NEW:
        case SERVER_TLS_REPLY:
        case SERVER_TLS_HANDSHAKE:
        case SERVER_CLOSED: progress = false; break;
        }
    }
}

size_t smtp_server_input(struct smtp_server *server, struct slice bytes, struct mono_time now)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    CHECK(server->state != SERVER_NEW);
    size_t taken = 0;
    alive(server, now);
    while (taken < bytes.len) {
        size_t len = 0;
        struct slice rest = slice_skip(bytes, taken);
        if (server->state == SERVER_CLOSED) {
            return bytes.len;
        }
        if (server->state == SERVER_TLS_REPLY || server->state == SERVER_TLS_HANDSHAKE) {
            server_end(server); /* plain text behind STARTTLS: see do_starttls() */
            return bytes.len;
        }
        if (server_takes_content(server) && server->hold_start == server->hold_end) {
            len = server_content_take(server, rest);
        } else {
            len = hold_append(server, rest);
        }
        taken += len;
        server->unread = taken < bytes.len;
        pump(server);
        if (len == 0) {
            break;
        }
    }
    return taken;
}

void smtp_server_next_event(struct smtp_server *server, struct smtp_server_event *event)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    *event = (struct smtp_server_event){.type = SMTP_SERVER_EVENT_NONE};
    pump(server);
    if (server->event_count == 0) {
        return;
    }
    const struct server_event *next = &server->events[server->event_first];
    const struct smtp_command *command = &server->command;
    server->event_first = (server->event_first + 1) % SERVER_EVENTS;
    server->event_count--;
    event->type = next->type;
    switch (next->type) {
    case SMTP_SERVER_EVENT_EHLO: event->name = next->bytes; break;
    case SMTP_SERVER_EVENT_CONTENT: event->content = next->bytes; break;
    case SMTP_SERVER_EVENT_AUTH:
        event->user = server->user;
        event->password = server->password;
        break;
    case SMTP_SERVER_EVENT_MAIL:
        event->address = command->address;
        event->ret = command->ret;
        event->envid = command->envid;
        event->size_bytes = command->size_bytes;
        event->body_8bit = command->body_8bit;
        event->smtputf8 = command->smtputf8;
        event->requiretls = command->requiretls;
        break;
    case SMTP_SERVER_EVENT_RCPT:
        event->address = command->address;
        event->notify = command->notify;
        event->orcpt = command->orcpt;
        break;
    case SMTP_SERVER_EVENT_DATA: event->chunked = command->verb == SMTP_COMMAND_BDAT; break;
    case SMTP_SERVER_EVENT_NONE:
    case SMTP_SERVER_EVENT_STARTTLS:
    case SMTP_SERVER_EVENT_MESSAGE:
    case SMTP_SERVER_EVENT_RESET:
    case SMTP_SERVER_EVENT_CLOSED: break;
    }
}

static void message_answer(struct smtp_server *server, uint16_t code, const char *enhanced,
                           const char *text)
{
    server_write(server, code, enhanced, text);
    server->replies_owed--;
    if (server->replies_owed > 0 && code != 421 && server->state != SERVER_CLOSED) {
        server->await = SERVER_AWAIT_MESSAGE;
        return;
    }
    server_forget_transaction(server);
}

void smtp_server_reply(struct smtp_server *server, uint16_t code, const char *enhanced,
                       const char *text)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    if (server->state == SERVER_CLOSED) {
        return;
    }
    enum server_await await = server->await;
    bool ok = code < 300;
    CHECK(await != SERVER_AWAIT_NONE && await != SERVER_AWAIT_AUTH); /* somebody asked for it */
    server->await = SERVER_AWAIT_NONE;
    server->stale = true;
    switch (await) {
    case SERVER_AWAIT_MAIL:
        server->mail_open = ok;
        server->lenient = !ok;
        server->smtputf8 = ok && server->command.smtputf8;
        server->transactions += ok;
        server_write(server, code, enhanced, text);
        break;
    case SERVER_AWAIT_RCPT:
        server->rcpt_count += ok;
        server_write(server, code, enhanced, text);
        break;
    case SERVER_AWAIT_DATA:
        if (code != 421) {
            server_data_answer(server, code, enhanced, text);
        } else {
            server_write(server, code, enhanced, text);
        }
        break;
    case SERVER_AWAIT_MESSAGE: message_answer(server, code, enhanced, text); break;
    case SERVER_AWAIT_NONE:
    case SERVER_AWAIT_AUTH: break;
    }
    if (code == 421) {
        server_end(server);
    }
}

size_t smtp_server_output(struct smtp_server *server, struct iovec *pieces, size_t max)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    if (server->out.len == 0 || max == 0) {
        return 0;
    }
    pieces[0] = (struct iovec){.iov_base = server->out.ptr, .iov_len = server->out.len};
    return 1;
}

void smtp_server_sent(struct smtp_server *server, size_t len, struct mono_time now)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    strbuf_consume(&server->out, len);
    alive(server, now);
    if (server->out.len == 0 && server->state == SERVER_TLS_REPLY) {
        server_push(server, SMTP_SERVER_EVENT_STARTTLS, SLICE_NULL);
        server_set_state(server, SERVER_TLS_HANDSHAKE);
    }
}

/* 0: none. */
static int64_t time_limit_ms(const struct smtp_server *server)
{
    if (server->await != SERVER_AWAIT_NONE || server->state == SERVER_CLOSED ||
        server->state == SERVER_NEW) {
        return 0;
    }
    return server_takes_content(server) ? server->config.data_timeout_ms
                                        : server->config.command_timeout_ms;
}

struct mono_time smtp_server_deadline(const struct smtp_server *server)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    int64_t limit_ms = time_limit_ms(server);
    if (limit_ms <= 0) {
        return MONO_NEVER;
    }
    /* After an answer without a time: at once, so that timeout() learns what time it is. */
    return server->stale ? server->active : mono_add_ms(server->active, limit_ms);
}

void smtp_server_timeout(struct smtp_server *server, struct mono_time now)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    if (server->stale) {
        alive(server, now);
    }
    if (mono_before(now, smtp_server_deadline(server))) {
        return;
    }
    if (server->state == SERVER_TLS_HANDSHAKE) {
        server_end(server);
    } else {
        server_bye(server, 421, "4.4.2", "Timed out");
    }
}

void smtp_server_lost(struct smtp_server *server, struct mono_time now)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    alive(server, now);
    strbuf_reset(&server->out);
    server_end(server);
}

void smtp_server_tls_done(struct smtp_server *server, bool ok, struct mono_time now)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    alive(server, now);
    if (server->state == SERVER_CLOSED) {
        return;
    }
    CHECK(server->state == SERVER_TLS_HANDSHAKE);
    if (!ok) {
        server_end(server);
        return;
    }
    server->secure = true;
    server->hello = false;
    server->authenticated = false;
    server->lenient = false;
    server->offered = 0;
    server_set_state(server, SERVER_COMMAND);
}

void smtp_server_shutdown(struct smtp_server *server, const char *text)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    if (server->state == SERVER_TLS_HANDSHAKE) {
        server_end(server);
    } else if (server->state != SERVER_CLOSED) {
        server_bye(server, 421, "4.3.2", text);
    }
}

bool smtp_server_waiting(const struct smtp_server *server)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    return server->await != SERVER_AWAIT_NONE;
}

bool smtp_server_secure(const struct smtp_server *server)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    return server->secure;
}

bool smtp_server_authenticated(const struct smtp_server *server)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    return server->authenticated;
}

uint32_t smtp_server_transactions(const struct smtp_server *server)
{
    CHECK_MAGIC(server, SMTP_SERVER_MAGIC);
    return server->transactions;
}
