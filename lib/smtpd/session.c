#include "smtpd/session_private.h"

#include "base/log.h"

#define SESSION_MAGIC 0x73657373u
#define HANDSHAKE_MS 30000
#define MAX_ERRORS 20
/* Content comes no slower than a byte a millisecond, beside the time-out that it has anyway. */
#define SLOWEST_BYTES_PER_MS 1

static void session_work(struct smtpd_session *session);

struct smtpd_session *smtpd_session_of(struct list *node)
{
    struct smtpd_session *session = CONTAINER_OF(node, struct smtpd_session, node);
    CHECK_MAGIC(session, SESSION_MAGIC);
    return session;
}

static struct mono_time session_now(const struct smtpd_session *session)
{
    return io_loop_now(session->smtpd->loop);
}

/* ---- time ---- */

static void timed_out(struct timer *timer, struct mono_time now);

/* When the owner's patience ends: a byte now and then is a sign of life for the engine, but no
 * progress. */
static struct mono_time patience(struct smtpd_session *session)
{
    const struct smtpd *smtpd = session->smtpd;
    if (session->ended || smtpd->ops->state(session) == SMTPD_WORKING) {
        return MONO_NEVER;
    }
    struct mono_time until = mono_add_ms(session->step, smtpd->command_timeout_ms);
    if (session->in_content) {
        until = mono_add_ms(session->step,
                            smtpd->data_timeout_ms + session->content_bytes / SLOWEST_BYTES_PER_MS);
    }
    return mono_min(until, session->login_by);
}

static void set_timer(struct smtpd_session *session)
{
    struct wheel *wheel = io_loop_wheel(session->smtpd->loop);
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
    struct smtpd_session *session = CONTAINER_OF(timer, struct smtpd_session, timer);
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (!mono_before(now, patience(session))) {
        smtp_server_shutdown(session->engine, "Too slow");
    } else {
        smtp_server_timeout(session->engine, now);
    }
    session_work(session);
    io_conn_flush(session->conn);
}

/* ---- the engine ---- */

static void on_event(struct smtpd_session *session, const struct smtp_server_event *event)
{
    const struct smtpd *smtpd = session->smtpd;
    session->step = session_now(session);
    switch (event->type) {
    case SMTP_SERVER_EVENT_EHLO:
        session->ehlo.len = slice_head(event->name, sizeof(session->ehlo_text)).len;
        if (session->ehlo.len > 0) {
            memcpy(session->ehlo_text, event->name.ptr, session->ehlo.len);
        }
        break;
    case SMTP_SERVER_EVENT_STARTTLS:
        io_conn_start_tls(session->conn, smtpd->tls, NULL, HANDSHAKE_MS);
        break;
    case SMTP_SERVER_EVENT_MESSAGE:
    case SMTP_SERVER_EVENT_RESET: session->in_content = false; break;
    case SMTP_SERVER_EVENT_NONE:
    case SMTP_SERVER_EVENT_AUTH:
    case SMTP_SERVER_EVENT_MAIL:
    case SMTP_SERVER_EVENT_RCPT:
    case SMTP_SERVER_EVENT_DATA:
    case SMTP_SERVER_EVENT_CONTENT:
    case SMTP_SERVER_EVENT_CLOSED: break;
    }
    smtpd->ops->event(session, event);
    if (event->type == SMTP_SERVER_EVENT_CLOSED) {
        session->ended = true;
        io_conn_finish(session->conn);
    }
}

static bool is_to_go(struct smtpd_session *session)
{
    const struct smtpd *smtpd = session->smtpd;
    return smtpd->draining && !session->ended && smtpd->ops->state(session) == SMTPD_IDLE;
}

/* Takes events until there are none. True: there were some. */
static bool take_events(struct smtpd_session *session)
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
            session->smtpd->ops->content(session, event.content);
        } else {
            on_event(session, &event);
        }
        if (is_to_go(session)) {
            smtp_server_shutdown(session->engine, "Shutting down");
        }
    }
    return any;
}

/* After every call of the engine. */
static void session_work(struct smtpd_session *session)
{
    take_events(session);
    if (session->started && is_to_go(session)) {
        smtp_server_shutdown(session->engine, "Shutting down");
        take_events(session);
    }
    set_timer(session);
}

/* An answer may have made room for input. */
static void resume(struct smtpd_session *session)
{
    if (session->paused) {
        io_conn_resume(session->conn);
    }
}

/* ---- the owner's calls ---- */

void smtpd_take_content(struct smtpd_session *session)
{
    session->in_content = true;
    session->content_bytes = 0;
    smtp_server_reply(session->engine, 354, NULL, "End data with <CR><LF>.<CR><LF>");
}

void smtpd_auth_result(struct smtpd_session *session, bool ok, bool temporary_failure)
{
    if (ok) {
        session->login_by = MONO_NEVER;
    }
    smtp_server_auth_result(session->engine, ok, temporary_failure);
}

void smtpd_answered(struct smtpd_session *session)
{
    CHECK_MAGIC(session, SESSION_MAGIC);
    session->step = session_now(session);
    session_work(session);
    resume(session);
    io_conn_flush(session->conn);
}

bool smtpd_last_words(const struct smtpd_session *session, struct slice *last)
{
    struct iovec piece;
    *last = SLICE_NULL;
    if (smtp_server_output(session->engine, &piece, 1) == 1) {
        struct slice rest = slice_trim(slice_of(piece.iov_base, piece.iov_len));
        while (rest.len > 0 && (rest.ptr[rest.len - 1] == '\n' || rest.ptr[rest.len - 1] == '\r')) {
            rest.len--;
        }
        ptrdiff_t lf = slice_rfind_byte(rest, '\n');
        *last = slice_skip(rest, (size_t)(lf + 1));
    }
    /* Those that are turned away have a line of their own, not each one. */
    return session->peer != NULL && last->len > 0 && (last->ptr[0] == '4' || last->ptr[0] == '5');
}

/* ---- the connection ---- */

static void start(struct smtpd_session *session, bool secure)
{
    const struct smtpd *smtpd = session->smtpd;
    struct mono_time now = session_now(session);
    session->started = true;
    session->step = now;
    session->login_by =
        session->auth_required ? mono_add_ms(now, smtpd->command_timeout_ms) : MONO_NEVER;
    struct slice refuse = SLICE_NULL;
    if (smtpd->draining) {
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
    struct smtpd_session *session = owner;
    size_t taken = 0;
    (void)conn;
    CHECK_MAGIC(session, SESSION_MAGIC);
    for (;;) {
        size_t len =
            smtp_server_input(session->engine, slice_skip(bytes, taken), session_now(session));
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
    struct smtpd_session *session = owner;
    (void)conn;
    CHECK_MAGIC(session, SESSION_MAGIC);
    return smtp_server_output(session->engine, pieces, max);
}

static void on_sent(struct io_conn *conn, void *owner, size_t len)
{
    struct smtpd_session *session = owner;
    struct iovec piece;
    (void)conn;
    CHECK_MAGIC(session, SESSION_MAGIC);
    smtp_server_sent(session->engine, len, session_now(session));
    if (smtp_server_output(session->engine, &piece, 1) == 0) {
        session->step = session->in_content ? session->step : session_now(session);
        session_work(session);
        resume(session);
    }
}

static void on_secured(struct io_conn *conn, void *owner, bool ok, const struct fault *fault)
{
    struct smtpd_session *session = owner;
    char quoted[FAULT_TEXT_MAX + 100];
    (void)conn;
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (!ok) {
        log_info("tls-failed", "peer=%.*s reason=%s", SLICE_FMT(session->peer_name),
                 log_quote(quoted, sizeof(quoted), slice_cstr(fault->text)));
    }
    if (session->started) {
        smtp_server_tls_done(session->engine, ok, session_now(session));
        session_work(session);
    } else if (ok) {
        start(session, true);
    }
}

static void session_free(struct smtpd_session *session)
{
    struct smtpd *smtpd = session->smtpd;
    wheel_cancel(io_loop_wheel(smtpd->loop), &session->timer);
    peers_leave(&smtpd->peers, &session->peer);
    list_remove(&session->node);
    smtpd->session_count--;
    smtp_server_free(&session->engine);
    session->magic = 0;
    smtpd->ops->free(session);
}

static void on_closed(struct io_conn *conn, void *owner, const struct fault *fault)
{
    struct smtpd_session *session = owner;
    struct smtpd *smtpd = session->smtpd;
    (void)conn;
    (void)fault;
    CHECK_MAGIC(session, SESSION_MAGIC);
    session_free(session);
    smtpd->ops->gone(smtpd);
}

static const struct io_conn_ops conn_ops = {
    .input = on_input,
    .output = on_output,
    .sent = on_sent,
    .secured = on_secured,
    .closed = on_closed,
};

/* ---- life ---- */

void smtpd_session_open(struct smtpd_listener *listener, struct io_conn *conn,
                        const struct sockaddr_storage *address, struct peer *peer, bool full)
{
    struct smtpd *smtpd = listener->smtpd;
    struct smtp_server_config config = {
        .host_name = smtpd->host_name,
        .greeting = SLICE("ESMTP Sluice"),
        .capabilities = SMTP_CAP_PIPELINING | SMTP_CAP_CHUNKING | SMTP_CAP_SIZE |
                        SMTP_CAP_8BITMIME | SMTP_CAP_SMTPUTF8 | SMTP_CAP_ENHANCEDSTATUSCODES |
                        (smtpd->tls != NULL ? SMTP_CAP_STARTTLS : 0u),
        .max_errors = MAX_ERRORS,
        .command_timeout_ms = smtpd->command_timeout_ms,
        .data_timeout_ms = smtpd->data_timeout_ms,
    };
    struct smtpd_session *session = smtpd->ops->create(smtpd, listener, &config);
    session->magic = SESSION_MAGIC;
    session->smtpd = smtpd;
    session->conn = conn;
    session->turned_away = full;
    session->peer = peer;
    session->peer_name = io_address_format((const struct sockaddr *)address, session->peer_text);
    session->ehlo = slice_of(session->ehlo_text, 0);
    session->auth_required = config.auth_required;
    session->engine = smtp_server_create(&config);
    list_push_back(&smtpd->sessions, &session->node);
    smtpd->session_count++;
    io_conn_set_owner(conn, &conn_ops, session);
    if (listener->implicit_tls) {
        io_conn_start_tls(conn, smtpd->tls, NULL, HANDSHAKE_MS);
    } else {
        start(session, false);
    }
}

void smtpd_session_drain(struct smtpd_session *session)
{
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (session->started) {
        session_work(session);
        io_conn_flush(session->conn);
    }
}

void smtpd_session_abort(struct smtpd_session *session)
{
    CHECK_MAGIC(session, SESSION_MAGIC);
    io_conn_free(&session->conn);
    session_free(session);
}
