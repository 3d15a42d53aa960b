#include "bouncer/session.h"

#include "base/log.h"
#include "base/mem.h"
#include "bouncer/mail.h"

#define SESSION_MAGIC 0x62736573u
/* Recipients that are not ours: then the client is guessing. */
#define MAX_UNKNOWN 50

struct session {
    uint32_t magic;
    struct bouncer *bouncer;
    struct smtpd_session smtp;
    uint32_t unknown;
    struct mail *mail; /* the open transaction, or the one that waits for its answer */
    bool submitted;
};

/* ---- answers ---- */

static void answer(struct session *session, const char *what, const struct mail_reply *reply)
{
    char quoted[MAIL_REPLY_MAX + 100];
    if (reply->code >= 400) {
        session->bouncer->counters.refused += reply->code >= 500;
        session->bouncer->counters.deferred += reply->code < 500;
        log_info("refused", "command=%s code=%u enhanced=%s peer=%.*s reason=%s", what, reply->code,
                 reply->enhanced, SLICE_FMT(session->smtp.peer_name),
                 log_quote(quoted, sizeof(quoted), slice_cstr(reply->text)));
    }
    smtp_server_reply(session->smtp.engine, reply->code, reply->enhanced, reply->text);
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
    struct mail_reply reply;
    drop_mail(session);
    session->mail = mail_create(session->bouncer, event->address, event->size_bytes, &reply);
    if (session->mail == NULL) {
        answer(session, "MAIL", &reply);
    } else {
        smtp_server_reply(session->smtp.engine, 250, "2.1.0", "Ok");
    }
}

static void on_rcpt(struct session *session, const struct smtp_server_event *event)
{
    struct mail_reply reply;
    CHECK(session->mail != NULL && !session->submitted);
    if (mail_add_recipient(session->mail, event->address, &reply)) {
        smtp_server_reply(session->smtp.engine, 250, "2.1.5", "Ok");
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
        .address = session->smtp.peer_name,
        .name = session->smtp.ehlo,
        .secure = io_conn_facts(session->smtp.conn, &facts),
    };
    CHECK(session->mail != NULL && !session->submitted);
    if (mail_begin_content(session->mail, &peer, &reply)) {
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
        session->bouncer->counters.accepted++;
    }
    answer(session, "DATA", reply);
    smtpd_answered(&session->smtp);
}

static void on_message(struct session *session)
{
    struct mail_reply reply;
    if (mail_submit(session->mail, stored, session, &reply)) {
        session->submitted = true;
        return;
    }
    mail_free(&session->mail);
    answer(session, "DATA", &reply);
}

static void on_closed(struct session *session)
{
    char quoted[300];
    struct slice last;
    bool trouble = smtpd_last_words(&session->smtp, &last);
    log_write(trouble ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "session-ended",
              "peer=%.*s transactions=%u last=%s", SLICE_FMT(session->smtp.peer_name),
              smtp_server_transactions(session->smtp.engine),
              log_quote(quoted, sizeof(quoted), last));
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
    struct bouncer *bouncer = CONTAINER_OF(smtpd, struct bouncer, smtpd);
    const struct config_bouncer *own = &bouncer->config->bouncer;
    struct session *session = mem_zalloc(sizeof(*session));
    (void)listener;
    session->magic = SESSION_MAGIC;
    session->bouncer = bouncer;
    config->max_message_bytes = (uint64_t)own->max_message_bytes;
    config->max_recipients = own->max_recipients;
    return &session->smtp;
}

static void session_event(struct smtpd_session *smtp, const struct smtp_server_event *event)
{
    struct session *session = session_of(smtp);
    switch (event->type) {
    case SMTP_SERVER_EVENT_NONE:
    case SMTP_SERVER_EVENT_EHLO:
    case SMTP_SERVER_EVENT_STARTTLS:
    case SMTP_SERVER_EVENT_CONTENT: break;
    case SMTP_SERVER_EVENT_AUTH: smtpd_auth_result(smtp, false, false); break;
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
    if (session->submitted) {
        return SMTPD_WORKING;
    }
    return session->mail != NULL ? SMTPD_OPEN : SMTPD_IDLE;
}

static void session_free(struct smtpd_session *smtp)
{
    struct session *session = session_of(smtp);
    drop_mail(session);
    session->magic = 0;
    mem_free(session);
}

static void session_gone(struct smtpd *smtpd)
{
    bouncer_check_drained(CONTAINER_OF(smtpd, struct bouncer, smtpd));
}

const struct smtpd_ops session_ops = {
    .create = session_create,
    .event = session_event,
    .content = session_content,
    .state = session_state,
    .free = session_free,
    .gone = session_gone,
};
