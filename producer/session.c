#include "producer/session.h"

#include "base/log.h"
#include "base/mem.h"
#include "producer/mail.h"

#define SESSION_MAGIC 0x73657373u

struct session {
    uint32_t magic;
    struct producer *producer;
    struct smtpd_session smtp;
    struct auth_job *auth;
    char *login;       /* whom the running or finished AUTH is for */
    struct slice user; /* of `login`; absent: not logged in */
    struct mail *mail; /* the open transaction, or the one that Kafka has */
    bool submitted;
};

/* ---- answers ---- */

static void answer(struct session *session, const char *what, const struct mail_reply *reply)
{
    char quoted[MAIL_REPLY_MAX + 100], user[200];
    if (reply->code >= 400) {
        session->producer->counters.refused += reply->code >= 500;
        session->producer->counters.deferred += reply->code < 500;
        log_info("refused", "command=%s code=%u enhanced=%s peer=%.*s user=%s reason=%s", what,
                 reply->code, reply->enhanced, SLICE_FMT(session->smtp.peer_name),
                 log_quote(user, sizeof(user), session->user),
                 log_quote(quoted, sizeof(quoted), slice_cstr(reply->text)));
    }
    smtp_server_reply(session->smtp.engine, reply->code, reply->enhanced, reply->text);
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
    }
    log_write(ok ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "login", "ok=%d user=%s peer=%.*s", ok,
              log_quote(user, sizeof(user), slice_cstr(session->login)),
              SLICE_FMT(session->smtp.peer_name));
    smtpd_auth_result(&session->smtp, ok, false);
}

static void login_checked(void *owner, bool ok)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    session->auth = NULL;
    login_result(session, ok);
    smtpd_answered(&session->smtp);
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
        log_warn("login", "ok=0 peer=%.*s reason=\"too many wait\"",
                 SLICE_FMT(session->smtp.peer_name));
        smtpd_auth_result(&session->smtp, false, true);
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
    session->submitted = false;
}

static void on_mail(struct session *session, const struct smtp_server_event *event)
{
    struct producer *producer = session->producer;
    struct mail_reply reply;
    struct mail_open open = {
        .user = session->user,
        .tenant = slice_cstr(producer->config->producer.default_tenant),
        .peer = session->smtp.peer_name,
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
        smtp_server_reply(session->smtp.engine, 250, "2.1.0", "Ok");
    }
}

static void on_rcpt(struct session *session, const struct smtp_server_event *event)
{
    struct mail_reply reply;
    CHECK(session->mail != NULL && !session->submitted);
    if (mail_add_recipient(session->mail, event->address, event->notify, event->orcpt, &reply)) {
        smtp_server_reply(session->smtp.engine, 250, "2.1.5", "Ok");
    } else {
        answer(session, "RCPT", &reply);
    }
}

static void on_data(struct session *session)
{
    struct mail_reply reply;
    CHECK(session->mail != NULL && !session->submitted);
    if (mail_begin_content(session->mail, &reply)) {
        smtpd_take_content(&session->smtp);
    } else {
        answer(session, "DATA", &reply);
    }
}

static void stored(void *owner, struct mail *mail, const struct mail_reply *reply)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    CHECK(session->mail == mail && session->submitted);
    session->mail = NULL;
    session->submitted = false;
    if (reply->code == 250) {
        session->producer->counters.accepted++;
    }
    answer(session, "DATA", reply);
    smtpd_answered(&session->smtp);
}

static void on_message(struct session *session)
{
    struct producer *producer = session->producer;
    struct mail_reply reply;
    struct tls_facts facts;
    bool secure = io_conn_facts(session->smtp.conn, &facts);
    struct header_trace trace = {
        .ehlo_name = session->smtp.ehlo,
        .client = session->smtp.peer_name,
        .host_name = producer->smtpd.host_name,
        .tls_version = secure ? slice_cstr(facts.version) : SLICE_NULL,
        .tls_cipher = secure ? slice_cstr(facts.cipher) : SLICE_NULL,
        .authenticated = session->user.ptr != NULL,
        .smtputf8 = session->mail->smtputf8,
        .now = wall_now(),
    };
    if (mail_submit(session->mail, &trace, stored, session, &reply)) {
        session->submitted = true;
        return;
    }
    mail_free(&session->mail);
    answer(session, "DATA", &reply);
}

static void on_closed(struct session *session)
{
    char quoted[300], user[200];
    struct slice last;
    bool trouble = smtpd_last_words(&session->smtp, &last);
    log_write(trouble ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "session-ended",
              "peer=%.*s user=%s transactions=%u last=%s", SLICE_FMT(session->smtp.peer_name),
              log_quote(user, sizeof(user), session->user),
              smtp_server_transactions(session->smtp.engine),
              log_quote(quoted, sizeof(quoted), last));
    auth_cancel(&session->auth);
}

/* ---- what the server asks for ---- */

static struct session *session_of(struct smtpd_session *smtp)
{
    struct session *session = CONTAINER_OF(smtp, struct session, smtp);
    CHECK_MAGIC(session, SESSION_MAGIC);
    return session;
}

static struct smtpd_session *session_create(struct smtpd *smtpd,
                                            const struct smtpd_listener *listener,
                                            struct smtp_server_config *config)
{
    struct producer *producer = CONTAINER_OF(smtpd, struct producer, smtpd);
    const struct config_producer *own = &producer->config->producer;
    struct session *session = mem_zalloc(sizeof(*session));
    session->magic = SESSION_MAGIC;
    session->producer = producer;
    config->capabilities |= SMTP_CAP_DSN;
    if (smtpd->tls != NULL) {
        config->capabilities |= SMTP_CAP_REQUIRETLS;
    }
    if (own->users_file != NULL) {
        config->capabilities |= SMTP_CAP_AUTH_PLAIN | SMTP_CAP_AUTH_LOGIN;
    }
    config->auth_needs_tls = !listener->loopback;
    config->auth_required = !listener->loopback || own->auth_required;
    config->max_message_bytes = (uint64_t)producer->max_message_bytes;
    config->max_recipients = own->max_recipients;
    return &session->smtp;
}

static void session_event(struct smtpd_session *smtp, const struct smtp_server_event *event)
{
    struct session *session = session_of(smtp);
    switch (event->type) {
    case SMTP_SERVER_EVENT_NONE:
    case SMTP_SERVER_EVENT_EHLO:
    case SMTP_SERVER_EVENT_CONTENT: break;
    case SMTP_SERVER_EVENT_STARTTLS: session->user = SLICE_NULL; break;
    case SMTP_SERVER_EVENT_AUTH: on_auth(session, event); break;
    case SMTP_SERVER_EVENT_MAIL: on_mail(session, event); break;
    case SMTP_SERVER_EVENT_RCPT: on_rcpt(session, event); break;
    case SMTP_SERVER_EVENT_DATA: on_data(session); break;
    case SMTP_SERVER_EVENT_MESSAGE: on_message(session); break;
    case SMTP_SERVER_EVENT_RESET: drop_mail(session); break;
    case SMTP_SERVER_EVENT_CLOSED: on_closed(session); break;
    }
}

static void session_content(struct smtpd_session *smtp, struct slice piece)
{
    mail_add_content(session_of(smtp)->mail, piece);
}

static enum smtpd_state session_state(struct smtpd_session *smtp)
{
    const struct session *session = session_of(smtp);
    if (session->submitted || session->auth != NULL) {
        return SMTPD_WORKING;
    }
    return session->mail != NULL ? SMTPD_OPEN : SMTPD_IDLE;
}

static void session_free(struct smtpd_session *smtp)
{
    struct session *session = session_of(smtp);
    auth_cancel(&session->auth);
    drop_mail(session);
    mem_free(session->login);
    session->magic = 0;
    mem_free(session);
}

static void session_gone(struct smtpd *smtpd)
{
    producer_check_drained(CONTAINER_OF(smtpd, struct producer, smtpd));
}

const struct smtpd_ops session_ops = {
    .create = session_create,
    .event = session_event,
    .content = session_content,
    .state = session_state,
    .free = session_free,
    .gone = session_gone,
};
