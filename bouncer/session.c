#include "bouncer/session.h"

#include "base/log.h"
#include "base/mem.h"
#include "bouncer/mail.h"
#include "smtp/server.h"

#define SESSION_MAGIC 0x62736573u
#define HANDSHAKE_MS 30000
#define MAX_ERRORS 20
/* Recipients that are not ours: then the client is guessing. */
#define MAX_UNKNOWN 50
/* Content comes no slower than a byte a millisecond, beside the time-out that it has anyway. */
#define SLOWEST_BYTES_PER_MS 1
/* Connections that are only told to go away. */
#define TURNED_AWAY_MAX 64
#define WARN_EVERY_MS 10000

struct session {
    uint32_t magic;
    struct bouncer *bouncer;
    const struct bouncer_listener *listener;
    struct list node;
    struct io_conn *conn;
    struct smtp_server *engine;
    struct peer *peer; /* NULL: turned away */
    bool turned_away;
    bool started; /* the greeting was said */
    bool ended;   /* io_conn_finish() was called */
    struct timer timer;
    struct mono_time step; /* when the client last completed something */
    int64_t content_bytes;
    bool in_content;
    bool paused; /* the engine took less than all */
    uint32_t unknown;
    char ehlo[256];
    size_t ehlo_len;
    struct mail *mail; /* the open transaction, or the one that waits for its answer */
    bool submitted;
    char peer_text[IO_ADDRESS_TEXT_MAX];
    struct slice peer_name;
};

static void session_work(struct session *session);

struct session *session_of(struct list *node)
{
    struct session *session = CONTAINER_OF(node, struct session, node);
    CHECK_MAGIC(session, SESSION_MAGIC);
    return session;
}

/* ---- time ---- */

static void timed_out(struct timer *timer, struct mono_time now);

/* When the owner's patience ends: a byte now and then is a sign of life for the engine, but no
 * progress. */
static struct mono_time patience(const struct session *session)
{
    const struct config_bouncer *config = &session->bouncer->config->bouncer;
    if (session->submitted || session->ended) {
        return MONO_NEVER;
    }
    struct mono_time until = mono_add_ms(session->step, config->command_timeout_ms);
    if (session->in_content) {
        until = mono_add_ms(session->step, config->data_timeout_ms +
                                               session->content_bytes / SLOWEST_BYTES_PER_MS);
    }
    return until;
}

static void set_timer(struct session *session)
{
    struct wheel *wheel = io_loop_wheel(session->bouncer->loop);
    if (!session->started || session->ended) {
        wheel_cancel(wheel, &session->timer);
        return;
    }
    struct mono_time due = mono_min(smtp_server_deadline(session->engine), patience(session));
    if (due.us == MONO_NEVER.us) {
        wheel_cancel(wheel, &session->timer);
    } else {
        wheel_set(wheel, &session->timer, due, timed_out);
    }
}

static void timed_out(struct timer *timer, struct mono_time now)
{
    struct session *session = CONTAINER_OF(timer, struct session, timer);
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (!mono_before(now, patience(session))) {
        smtp_server_shutdown(session->engine, "Too slow");
    } else {
        smtp_server_timeout(session->engine, now);
    }
    session_work(session);
    io_conn_flush(session->conn);
}

/* ---- answers ---- */

static void answer(struct session *session, const char *what, const struct mail_reply *reply)
{
    char quoted[MAIL_REPLY_MAX + 100];
    if (reply->code >= 400) {
        session->bouncer->counters.refused += reply->code >= 500;
        session->bouncer->counters.deferred += reply->code < 500;
        log_info("refused", "command=%s code=%u enhanced=%s peer=%.*s reason=%s", what, reply->code,
                 reply->enhanced, SLICE_FMT(session->peer_name),
                 log_quote(quoted, sizeof(quoted), slice_cstr(reply->text)));
    }
    smtp_server_reply(session->engine, reply->code, reply->enhanced, reply->text);
}

/* An answer may have made room for input. */
static void resume(struct session *session)
{
    if (session->paused) {
        io_conn_resume(session->conn);
    }
}

/* ---- the transaction ---- */

static void drop_mail(struct session *session)
{
    if (session->mail == NULL) {
        return;
    }
    if (session->submitted) {
        mail_detach(session->mail);
        session->mail = NULL;
    } else {
        mail_free(&session->mail);
    }
    session->submitted = session->in_content = false;
}

static void on_mail(struct session *session, const struct smtp_server_event *event)
{
    struct mail_reply reply;
    drop_mail(session);
    session->mail = mail_create(session->bouncer, event->address, event->size_bytes, &reply);
    if (session->mail == NULL) {
        answer(session, "MAIL", &reply);
    } else {
        smtp_server_reply(session->engine, 250, "2.1.0", "Ok");
    }
}

static void on_rcpt(struct session *session, const struct smtp_server_event *event)
{
    struct mail_reply reply;
    CHECK(session->mail != NULL && !session->submitted);
    if (mail_add_recipient(session->mail, event->address, &reply)) {
        smtp_server_reply(session->engine, 250, "2.1.5", "Ok");
        return;
    }
    session->unknown += reply.code == 550;
    if (session->unknown > MAX_UNKNOWN) {
        mail_reply_set(&reply, 421, "4.7.0", "Too many unknown recipients");
    }
    answer(session, "RCPT", &reply);
}

static void on_data(struct session *session)
{
    struct mail_reply reply;
    struct tls_facts facts;
    const struct mail_peer peer = {
        .address = session->peer_name,
        .name = slice_of(session->ehlo, session->ehlo_len),
        .secure = io_conn_facts(session->conn, &facts),
    };
    CHECK(session->mail != NULL && !session->submitted);
    if (!mail_begin_content(session->mail, &peer, &reply)) {
        answer(session, "DATA", &reply);
        return;
    }
    session->in_content = true;
    session->content_bytes = 0;
    smtp_server_reply(session->engine, 354, NULL, "End data with <CR><LF>.<CR><LF>");
}

static void stored(void *owner, struct mail *mail, const struct mail_reply *reply)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    CHECK(session->mail == mail && session->submitted);
    session->mail = NULL;
    session->submitted = false;
    session->step = io_loop_now(session->bouncer->loop);
    if (reply->code == 250) {
        session->bouncer->counters.accepted++;
    }
    answer(session, "DATA", reply);
    session_work(session);
    resume(session);
    io_conn_flush(session->conn);
}

static void on_message(struct session *session)
{
    struct mail_reply reply;
    session->in_content = false;
    if (mail_submit(session->mail, stored, session, &reply)) {
        session->submitted = true;
        return;
    }
    mail_free(&session->mail);
    answer(session, "DATA", &reply);
}

/* ---- the engine ---- */

/* Why the engine ended the session: its last words are still in the output. */
static void log_end(struct session *session)
{
    char quoted[300];
    struct iovec piece;
    struct slice last = SLICE_NULL;
    if (smtp_server_output(session->engine, &piece, 1) == 1) {
        struct slice rest = slice_trim(slice_of(piece.iov_base, piece.iov_len));
        while (rest.len > 0 && (rest.ptr[rest.len - 1] == '\n' || rest.ptr[rest.len - 1] == '\r')) {
            rest.len--;
        }
        ptrdiff_t lf = slice_rfind_byte(rest, '\n');
        last = slice_skip(rest, (size_t)(lf + 1));
    }
    /* Those that are turned away have a line of their own, not each one. */
    bool trouble =
        session->peer != NULL && last.len > 0 && (last.ptr[0] == '4' || last.ptr[0] == '5');
    log_write(trouble ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "session-ended",
              "peer=%.*s transactions=%u last=%s", SLICE_FMT(session->peer_name),
              smtp_server_transactions(session->engine), log_quote(quoted, sizeof(quoted), last));
}

static void on_event(struct session *session, const struct smtp_server_event *event)
{
    session->step = io_loop_now(session->bouncer->loop);
    switch (event->type) {
    case SMTP_SERVER_EVENT_NONE: break;
    case SMTP_SERVER_EVENT_EHLO:
        session->ehlo_len = slice_head(event->name, sizeof(session->ehlo)).len;
        if (session->ehlo_len > 0) {
            memcpy(session->ehlo, event->name.ptr, session->ehlo_len);
        }
        break;
    case SMTP_SERVER_EVENT_STARTTLS:
        io_conn_start_tls(session->conn, session->bouncer->tls, NULL, HANDSHAKE_MS);
        break;
    case SMTP_SERVER_EVENT_AUTH: smtp_server_auth_result(session->engine, false, false); break;
    case SMTP_SERVER_EVENT_MAIL: on_mail(session, event); break;
    case SMTP_SERVER_EVENT_RCPT: on_rcpt(session, event); break;
    case SMTP_SERVER_EVENT_DATA: on_data(session); break;
    case SMTP_SERVER_EVENT_CONTENT: break; /* taken care of by the caller */
    case SMTP_SERVER_EVENT_MESSAGE: on_message(session); break;
    case SMTP_SERVER_EVENT_RESET: drop_mail(session); break;
    case SMTP_SERVER_EVENT_CLOSED:
        log_end(session);
        session->ended = true;
        io_conn_finish(session->conn);
        break;
    }
}

/* Takes events until there are none. True: there were some. */
static bool take_events(struct session *session)
{
    bool any = false;
    for (;;) {
        struct smtp_server_event event;
        smtp_server_next_event(session->engine, &event);
        if (event.type == SMTP_SERVER_EVENT_NONE) {
            break;
        }
        any = true;
        if (event.type == SMTP_SERVER_EVENT_CONTENT) {
            session->content_bytes += (int64_t)event.content.len;
            mail_add_content(session->mail, event.content);
        } else {
            on_event(session, &event);
        }
        if (session->bouncer->draining && session->mail == NULL && !session->ended) {
            smtp_server_shutdown(session->engine, "Shutting down");
        }
    }
    return any;
}

/* After every call of the engine. */
static void session_work(struct session *session)
{
    take_events(session);
    if (session->bouncer->draining && session->mail == NULL && session->started &&
        !session->ended) {
        smtp_server_shutdown(session->engine, "Shutting down");
        take_events(session);
    }
    set_timer(session);
}

/* ---- the connection ---- */

static void start(struct session *session, bool secure)
{
    struct mono_time now = io_loop_now(session->bouncer->loop);
    session->started = true;
    session->step = now;
    struct slice refuse = SLICE_NULL;
    if (session->bouncer->draining) {
        refuse = SLICE("421 4.3.2 Shutting down");
    } else if (session->turned_away) {
        refuse = SLICE("421 4.3.2 Too many connections, try again later");
    } else if (session->peer == NULL) {
        refuse = SLICE("421 4.7.0 Too many connections from your address");
    }
    smtp_server_start(session->engine, secure, refuse, now);
    session_work(session);
}

static size_t on_input(struct io_conn *conn, void *owner, struct slice bytes)
{
    struct session *session = owner;
    size_t taken = 0;
    (void)conn;
    CHECK_MAGIC(session, SESSION_MAGIC);
    for (;;) {
        size_t len = smtp_server_input(session->engine, slice_skip(bytes, taken),
                                       io_loop_now(session->bouncer->loop));
        taken += len;
        bool any = take_events(session);
        if (taken == bytes.len || (len == 0 && !any)) {
            break;
        }
    }
    session->paused = taken < bytes.len;
    session_work(session);
    return taken;
}

static size_t on_output(struct io_conn *conn, void *owner, struct iovec *pieces, size_t max)
{
    struct session *session = owner;
    (void)conn;
    CHECK_MAGIC(session, SESSION_MAGIC);
    return smtp_server_output(session->engine, pieces, max);
}

static void on_sent(struct io_conn *conn, void *owner, size_t len)
{
    struct session *session = owner;
    struct iovec piece;
    (void)conn;
    CHECK_MAGIC(session, SESSION_MAGIC);
    smtp_server_sent(session->engine, len, io_loop_now(session->bouncer->loop));
    if (smtp_server_output(session->engine, &piece, 1) == 0) {
        session->step = session->in_content ? session->step : io_loop_now(session->bouncer->loop);
        session_work(session);
        resume(session);
    }
}

static void on_secured(struct io_conn *conn, void *owner, bool ok, const struct fault *fault)
{
    struct session *session = owner;
    char quoted[FAULT_TEXT_MAX + 100];
    (void)conn;
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (!ok) {
        log_info("tls-failed", "peer=%.*s reason=%s", SLICE_FMT(session->peer_name),
                 log_quote(quoted, sizeof(quoted), slice_cstr(fault->text)));
    }
    if (session->started) {
        smtp_server_tls_done(session->engine, ok, io_loop_now(session->bouncer->loop));
        session_work(session);
    } else if (ok) {
        start(session, true);
    }
}

static void session_free(struct session *session)
{
    struct bouncer *bouncer = session->bouncer;
    wheel_cancel(io_loop_wheel(bouncer->loop), &session->timer);
    drop_mail(session);
    peers_leave(&bouncer->peers, &session->peer);
    list_remove(&session->node);
    bouncer->session_count--;
    smtp_server_free(&session->engine);
    session->magic = 0;
    mem_free(session);
}

static void on_closed(struct io_conn *conn, void *owner, const struct fault *fault)
{
    struct session *session = owner;
    struct bouncer *bouncer = session->bouncer;
    (void)conn;
    (void)fault;
    CHECK_MAGIC(session, SESSION_MAGIC);
    session_free(session);
    bouncer_check_drained(bouncer);
}

static const struct io_conn_ops conn_ops = {
    .input = on_input,
    .output = on_output,
    .sent = on_sent,
    .secured = on_secured,
    .closed = on_closed,
};

static struct smtp_server *make_engine(const struct bouncer_listener *listener)
{
    const struct bouncer *bouncer = listener->bouncer;
    const struct config_bouncer *config = &bouncer->config->bouncer;
    uint32_t capabilities = SMTP_CAP_PIPELINING | SMTP_CAP_CHUNKING | SMTP_CAP_SIZE |
                            SMTP_CAP_8BITMIME | SMTP_CAP_SMTPUTF8 | SMTP_CAP_ENHANCEDSTATUSCODES;
    if (bouncer->tls != NULL) {
        capabilities |= SMTP_CAP_STARTTLS;
    }
    const struct smtp_server_config how = {
        .host_name = bouncer->host_name,
        .greeting = SLICE("ESMTP Sluice"),
        .capabilities = capabilities,
        .max_message_bytes = (uint64_t)config->max_message_bytes,
        .max_recipients = config->max_recipients,
        .max_errors = MAX_ERRORS,
        .command_timeout_ms = config->command_timeout_ms,
        .data_timeout_ms = config->data_timeout_ms,
    };
    return smtp_server_create(&how);
}

/* Says so, but not for each one of a flood. */
static void count_turned_away(struct bouncer *bouncer, const struct sockaddr_storage *address)
{
    char text[IO_ADDRESS_TEXT_MAX];
    struct mono_time now = io_loop_now(bouncer->loop);
    bouncer->counters.refused_connections++;
    if (mono_before(now, bouncer->next_warning)) {
        return;
    }
    bouncer->next_warning = mono_add_ms(now, WARN_EVERY_MS);
    struct slice name = io_address_format((const struct sockaddr *)address, text);
    log_warn("too-many-connections", "sessions=%zu peer=%.*s refused_connections=%llu",
             bouncer->session_count, SLICE_FMT(name),
             (unsigned long long)bouncer->counters.refused_connections);
}

void session_accept(struct bouncer_listener *listener, struct io_conn *conn)
{
    struct bouncer *bouncer = listener->bouncer;
    const struct config_bouncer *config = &bouncer->config->bouncer;
    struct sockaddr_storage address;
    bool full = bouncer->session_count >= config->max_connections;
    bouncer->counters.connections++;
    if (!io_conn_remote(conn, &address) ||
        bouncer->session_count >= config->max_connections + (size_t)TURNED_AWAY_MAX) {
        return; /* no owner: it is closed */
    }
    struct peer *peer =
        full ? NULL : peers_enter(&bouncer->peers, &address, config->max_connections_per_peer);
    if (peer == NULL) {
        count_turned_away(bouncer, &address);
    }
    if (peer == NULL && listener->implicit_tls) {
        return; /* no handshake for a refusal */
    }
    struct session *session = mem_zalloc(sizeof(*session));
    session->magic = SESSION_MAGIC;
    session->bouncer = bouncer;
    session->listener = listener;
    session->conn = conn;
    session->turned_away = full;
    session->peer = peer;
    session->peer_name = io_address_format((const struct sockaddr *)&address, session->peer_text);
    session->engine = make_engine(listener);
    list_push_back(&bouncer->sessions, &session->node);
    bouncer->session_count++;
    io_conn_set_owner(conn, &conn_ops, session);
    if (listener->implicit_tls) {
        io_conn_start_tls(conn, bouncer->tls, NULL, HANDSHAKE_MS);
    } else {
        start(session, false);
    }
}

void session_drain(struct session *session)
{
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (session->started) {
        session_work(session);
        io_conn_flush(session->conn);
    }
}

void session_abort(struct session *session)
{
    CHECK_MAGIC(session, SESSION_MAGIC);
    io_conn_free(&session->conn);
    session_free(session);
}
