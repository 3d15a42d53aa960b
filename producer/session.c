#include "producer/session.h"

#include "base/log.h"
#include "base/mem.h"
#include "producer/mail.h"
#include "smtp/server.h"

#define SESSION_MAGIC 0x73657373u
#define HANDSHAKE_MS 30000
#define MAX_ERRORS 20
/* Content comes no slower than a byte a millisecond, beside the time-out that it has anyway. */
#define SLOWEST_BYTES_PER_MS 1
/* Connections that are only told to go away. */
#define TURNED_AWAY_MAX 64
#define WARN_EVERY_MS 10000

struct session {
    uint32_t magic;
    struct producer *producer;
    const struct producer_listener *listener;
    struct list node;
    struct io_conn *conn;
    struct smtp_server *engine;
    struct peer *peer; /* NULL: turned away */
    bool turned_away;
    bool started; /* the greeting was said */
    bool ended;   /* io_conn_finish() was called */
    bool working; /* in session_work(): no need to begin another */
    struct timer timer;
    struct mono_time step; /* when the client last completed something */
    struct mono_time login_by;
    int64_t content_bytes;
    bool in_content;
    bool paused; /* the engine took less than all */
    struct auth_job *auth;
    char *login;       /* whom the running or finished AUTH is for */
    struct slice user; /* of `login`; absent: not logged in */
    char ehlo[256];
    size_t ehlo_len;
    struct mail *mail; /* the open transaction, or the one that Kafka has */
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
    const struct config_producer *config = &session->producer->config->producer;
    if (session->submitted || session->auth != NULL || session->ended) {
        return MONO_NEVER;
    }
    struct mono_time until = mono_add_ms(session->step, config->command_timeout_ms);
    if (session->in_content) {
        until = mono_add_ms(session->step, config->data_timeout_ms +
                                               session->content_bytes / SLOWEST_BYTES_PER_MS);
    }
    return mono_min(until, session->login_by);
}

static void set_timer(struct session *session)
{
    struct wheel *wheel = io_loop_wheel(session->producer->loop);
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
    char quoted[MAIL_REPLY_MAX + 100], user[200];
    if (reply->code >= 400) {
        session->producer->counters.refused += reply->code >= 500;
        session->producer->counters.deferred += reply->code < 500;
        log_info("refused", "command=%s code=%u enhanced=%s peer=%.*s user=%s reason=%s", what,
                 reply->code, reply->enhanced, SLICE_FMT(session->peer_name),
                 log_quote(user, sizeof(user), session->user),
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

/* ---- logging in ---- */

static void login_result(struct session *session, bool ok)
{
    char user[200];
    struct producer *producer = session->producer;
    producer->counters.logins += ok;
    producer->counters.bad_logins += !ok;
    if (ok) {
        session->user = slice_cstr(session->login);
        session->login_by = MONO_NEVER;
    }
    log_write(ok ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "login", "ok=%d user=%s peer=%.*s", ok,
              log_quote(user, sizeof(user), slice_cstr(session->login)),
              SLICE_FMT(session->peer_name));
    smtp_server_auth_result(session->engine, ok, false);
}

static void login_checked(void *owner, bool ok)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    session->auth = NULL;
    session->step = io_loop_now(session->producer->loop);
    login_result(session, ok);
    session_work(session);
    resume(session);
    io_conn_flush(session->conn);
}

static void on_auth(struct session *session, const struct smtp_server_event *event)
{
    struct auth *auth = session->producer->auth;
    mem_free(session->login);
    session->login = mem_strndup(event->user.ptr, event->user.len);
    session->user = SLICE_NULL;
    if (auth_recent(auth, event->user, event->password)) {
        login_result(session, true);
        return;
    }
    session->auth = auth_start(auth, event->user, event->password, login_checked, session);
    if (session->auth == NULL) {
        log_warn("login", "ok=0 peer=%.*s reason=\"too many wait\"", SLICE_FMT(session->peer_name));
        smtp_server_auth_result(session->engine, false, true);
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
    struct producer *producer = session->producer;
    struct mail_reply reply;
    struct mail_open open = {
        .user = session->user,
        .tenant = slice_cstr(producer->config->producer.default_tenant),
        .peer = session->peer_name,
        .mail_from = event->address,
        .ret = event->ret,
        .envid = event->envid,
        .smtputf8 = event->smtputf8,
        .requiretls = event->requiretls,
        .size_bytes = event->size_bytes,
    };
    drop_mail(session);
    const struct user *user =
        session->user.ptr == NULL ? NULL : auth_user(producer->auth, session->user);
    if (user != NULL) {
        open.tenant = slice_cstr(user->tenant);
    }
    if (session->user.ptr != NULL && user == NULL) {
        mail_reply_set(&reply, 421, "4.7.0", "Your user does not exist any more");
        answer(session, "MAIL", &reply);
    } else if (open.tenant.len == 0) { /* the configuration's rules should not allow it */
        mail_reply_set(&reply, 530, "5.7.0", "Authentication is needed first");
        answer(session, "MAIL", &reply);
    } else if ((session->mail = mail_create(producer, &open, &reply)) == NULL) {
        answer(session, "MAIL", &reply);
    } else {
        smtp_server_reply(session->engine, 250, "2.1.0", "Ok");
    }
}

static void on_rcpt(struct session *session, const struct smtp_server_event *event)
{
    struct mail_reply reply;
    CHECK(session->mail != NULL && !session->submitted);
    if (mail_add_recipient(session->mail, event->address, event->notify, event->orcpt, &reply)) {
        smtp_server_reply(session->engine, 250, "2.1.5", "Ok");
    } else {
        answer(session, "RCPT", &reply);
    }
}

static void on_data(struct session *session)
{
    struct mail_reply reply;
    CHECK(session->mail != NULL && !session->submitted);
    if (!mail_begin_content(session->mail, &reply)) {
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
    session->step = io_loop_now(session->producer->loop);
    if (reply->code == 250) {
        session->producer->counters.accepted++;
    }
    answer(session, "DATA", reply);
    session_work(session);
    resume(session);
    io_conn_flush(session->conn);
}

static void on_message(struct session *session)
{
    struct producer *producer = session->producer;
    struct mail_reply reply;
    struct tls_facts facts;
    bool secure = io_conn_facts(session->conn, &facts);
    struct header_trace trace = {
        .ehlo_name = slice_of(session->ehlo, session->ehlo_len),
        .client = session->peer_name,
        .host_name = producer->host_name,
        .tls_version = secure ? slice_cstr(facts.version) : SLICE_NULL,
        .tls_cipher = secure ? slice_cstr(facts.cipher) : SLICE_NULL,
        .authenticated = session->user.ptr != NULL,
        .smtputf8 = session->mail->smtputf8,
        .now = wall_now(),
    };
    session->in_content = false;
    if (mail_submit(session->mail, &trace, stored, session, &reply)) {
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
    char quoted[300], user[200];
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
              "peer=%.*s user=%s transactions=%u last=%s", SLICE_FMT(session->peer_name),
              log_quote(user, sizeof(user), session->user),
              smtp_server_transactions(session->engine), log_quote(quoted, sizeof(quoted), last));
}

static void on_event(struct session *session, const struct smtp_server_event *event)
{
    session->step = io_loop_now(session->producer->loop);
    switch (event->type) {
    case SMTP_SERVER_EVENT_NONE: break;
    case SMTP_SERVER_EVENT_EHLO:
        session->ehlo_len = slice_head(event->name, sizeof(session->ehlo)).len;
        if (session->ehlo_len > 0) {
            memcpy(session->ehlo, event->name.ptr, session->ehlo_len);
        }
        break;
    case SMTP_SERVER_EVENT_STARTTLS:
        session->user = SLICE_NULL;
        io_conn_start_tls(session->conn, session->producer->tls, NULL, HANDSHAKE_MS);
        break;
    case SMTP_SERVER_EVENT_AUTH: on_auth(session, event); break;
    case SMTP_SERVER_EVENT_MAIL: on_mail(session, event); break;
    case SMTP_SERVER_EVENT_RCPT: on_rcpt(session, event); break;
    case SMTP_SERVER_EVENT_DATA: on_data(session); break;
    case SMTP_SERVER_EVENT_CONTENT: break; /* taken care of by the caller */
    case SMTP_SERVER_EVENT_MESSAGE: on_message(session); break;
    case SMTP_SERVER_EVENT_RESET: drop_mail(session); break;
    case SMTP_SERVER_EVENT_CLOSED:
        log_end(session);
        auth_cancel(&session->auth);
        session->ended = true;
        io_conn_finish(session->conn);
        break;
    }
}

static bool is_idle(const struct session *session)
{
    return session->mail == NULL && session->auth == NULL;
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
        if (session->producer->draining && is_idle(session) && !session->ended) {
            smtp_server_shutdown(session->engine, "Shutting down");
        }
    }
    return any;
}

/* After every call of the engine. */
static void session_work(struct session *session)
{
    take_events(session);
    if (session->producer->draining && is_idle(session) && session->started && !session->ended) {
        smtp_server_shutdown(session->engine, "Shutting down");
        take_events(session);
    }
    set_timer(session);
}

/* ---- the connection ---- */

static void start(struct session *session, bool secure)
{
    const struct config_producer *config = &session->producer->config->producer;
    struct mono_time now = io_loop_now(session->producer->loop);
    session->started = true;
    session->step = now;
    session->login_by = MONO_NEVER;
    if (!session->listener->loopback || config->auth_required) {
        session->login_by = mono_add_ms(now, config->command_timeout_ms);
    }
    struct slice refuse = SLICE_NULL;
    if (session->producer->draining) {
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
                                       io_loop_now(session->producer->loop));
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
    smtp_server_sent(session->engine, len, io_loop_now(session->producer->loop));
    if (smtp_server_output(session->engine, &piece, 1) == 0) {
        session->step = session->in_content ? session->step : io_loop_now(session->producer->loop);
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
        smtp_server_tls_done(session->engine, ok, io_loop_now(session->producer->loop));
        session_work(session);
    } else if (ok) {
        start(session, true);
    }
}

static void session_free(struct session *session)
{
    struct producer *producer = session->producer;
    wheel_cancel(io_loop_wheel(producer->loop), &session->timer);
    auth_cancel(&session->auth);
    drop_mail(session);
    peers_leave(&producer->peers, &session->peer);
    list_remove(&session->node);
    producer->session_count--;
    smtp_server_free(&session->engine);
    mem_free(session->login);
    session->magic = 0;
    mem_free(session);
}

static void on_closed(struct io_conn *conn, void *owner, const struct fault *fault)
{
    struct session *session = owner;
    struct producer *producer = session->producer;
    (void)conn;
    (void)fault;
    CHECK_MAGIC(session, SESSION_MAGIC);
    session_free(session);
    producer_check_drained(producer);
}

static const struct io_conn_ops conn_ops = {
    .input = on_input,
    .output = on_output,
    .sent = on_sent,
    .secured = on_secured,
    .closed = on_closed,
};

static struct smtp_server *make_engine(const struct producer_listener *listener)
{
    const struct producer *producer = listener->producer;
    const struct config_producer *config = &producer->config->producer;
    uint32_t capabilities = SMTP_CAP_PIPELINING | SMTP_CAP_CHUNKING | SMTP_CAP_SIZE |
                            SMTP_CAP_8BITMIME | SMTP_CAP_SMTPUTF8 | SMTP_CAP_DSN |
                            SMTP_CAP_ENHANCEDSTATUSCODES;
    if (producer->tls != NULL) {
        capabilities |= SMTP_CAP_STARTTLS | SMTP_CAP_REQUIRETLS;
    }
    if (config->users_file != NULL) {
        capabilities |= SMTP_CAP_AUTH_PLAIN | SMTP_CAP_AUTH_LOGIN;
    }
    const struct smtp_server_config how = {
        .host_name = producer->host_name,
        .greeting = SLICE("ESMTP Sluice"),
        .capabilities = capabilities,
        .auth_needs_tls = !listener->loopback,
        .auth_required = !listener->loopback || config->auth_required,
        .max_message_bytes = (uint64_t)producer->max_message_bytes,
        .max_recipients = config->max_recipients,
        .max_errors = MAX_ERRORS,
        .command_timeout_ms = config->command_timeout_ms,
        .data_timeout_ms = config->data_timeout_ms,
    };
    return smtp_server_create(&how);
}

/* Says so, but not for each one of a flood. */
static void count_turned_away(struct producer *producer, const struct sockaddr_storage *address)
{
    char text[IO_ADDRESS_TEXT_MAX];
    struct mono_time now = io_loop_now(producer->loop);
    producer->counters.refused_connections++;
    if (mono_before(now, producer->next_warning)) {
        return;
    }
    producer->next_warning = mono_add_ms(now, WARN_EVERY_MS);
    struct slice name = io_address_format((const struct sockaddr *)address, text);
    log_warn("too-many-connections", "sessions=%zu peer=%.*s refused_connections=%llu",
             producer->session_count, SLICE_FMT(name),
             (unsigned long long)producer->counters.refused_connections);
}

void session_accept(struct producer_listener *listener, struct io_conn *conn)
{
    struct producer *producer = listener->producer;
    const struct config_producer *config = &producer->config->producer;
    struct sockaddr_storage address;
    bool full = producer->session_count >= config->max_connections;
    producer->counters.connections++;
    if (!io_conn_remote(conn, &address) ||
        producer->session_count >= config->max_connections + (size_t)TURNED_AWAY_MAX) {
        return; /* no owner: it is closed */
    }
    struct peer *peer =
        full ? NULL : peers_enter(&producer->peers, &address, config->max_connections_per_peer);
    if (peer == NULL) {
        count_turned_away(producer, &address);
    }
    if (peer == NULL && listener->implicit_tls) {
        return; /* no handshake for a refusal */
    }
    struct session *session = mem_zalloc(sizeof(*session));
    session->magic = SESSION_MAGIC;
    session->producer = producer;
    session->listener = listener;
    session->conn = conn;
    session->turned_away = full;
    session->peer = peer;
    session->peer_name = io_address_format((const struct sockaddr *)&address, session->peer_text);
    session->engine = make_engine(listener);
    list_push_back(&producer->sessions, &session->node);
    producer->session_count++;
    io_conn_set_owner(conn, &conn_ops, session);
    if (listener->implicit_tls) {
        io_conn_start_tls(conn, producer->tls, NULL, HANDSHAKE_MS);
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
