/*
 * A session's transactions: from a mail to the engine, and from the engine's outcomes to what
 * follows from them.
 */
#include "worker/session_private.h"

#include "worker/unsubscribe.h"
#include "worker/worker.h"

#include "base/mem.h"
#include "smtp/xtext.h"

/* A mail whose sessions break that often in a round is deferred. */
#define LOST_SESSIONS_MAX 3

/* ---- the beginning ---- */

/* RFC 3461 values travel decoded in the record; absent if empty or if there is no room for them. */
static struct slice xtext(struct arena *arena, struct slice value)
{
    struct strbuf encoded;
    struct slice copy = SLICE_NULL;
    if (value.len == 0) {
        return SLICE_NULL;
    }
    strbuf_init(&encoded, value.len * 3);
    if (smtp_xtext_encode(value, &encoded)) {
        copy = arena_copy(arena, strbuf_slice(&encoded));
    }
    strbuf_free(&encoded);
    return copy;
}

/* "addr-type;address": only the address is encoded. */
static struct slice orcpt_xtext(struct arena *arena, struct slice value)
{
    struct strbuf whole;
    struct slice rest = value;
    struct slice copy = SLICE_NULL;
    if (value.len == 0) {
        return SLICE_NULL;
    }
    strbuf_init(&whole, value.len * 3 + 1);
    strbuf_add_slice(&whole, slice_cut(&rest, ';'));
    strbuf_add_byte(&whole, ';');
    if (smtp_xtext_encode(rest, &whole)) {
        copy = arena_copy(arena, strbuf_slice(&whole));
    }
    strbuf_free(&whole);
    return copy;
}

static void room_for(struct session *session, size_t count)
{
    if (count > session->rcpt_room) {
        session->rcpts = mem_realloc(session->rcpts, count * sizeof(*session->rcpts));
        session->indexes = mem_realloc(session->indexes, count * sizeof(*session->indexes));
        session->rcpt_room = count;
    }
}

static bool is_journaled(const struct mail *mail)
{
    return mail_duplicates(mail) != CONFIG_DUPLICATES_OFF;
}

static void say_intent(struct session *session, size_t count)
{
    struct shard *shard = session->lane->shard;
    struct mail *mail = session->mail;
    session->intent = journal_writer_intent(shard->journal, mail, session->indexes, count);
    if (!list_linked(&mail->journal_node)) {
        list_push_back(&shard->journaled, &mail->journal_node);
    }
}

/* The pieces of what goes out, the last ones of session->content; returns how many. */
static size_t set_content(struct session *session, struct mail *mail)
{
    session->content[0] = SLICE_NULL;
    session->content[1] = mail->message.content;
    if (mail->unsubscribe) {
        session->content[0] =
            unsubscribe_fields(session->lane->shard->return_paths, mail, session->indexes[0],
                               slice_cstr(session->vip->vip->config->name));
    }
    return session->content[0].len > 0 ? 2 : 1;
}

void session_begin(struct session *session, struct mail *mail, size_t count)
{
    const struct message *message = &mail->message;
    CHECK_MAGIC(session, SESSION_MAGIC);
    CHECK(session->state == SESSION_IDLE || session->state == SESSION_THROTTLED);
    CHECK(session->mail == NULL && count > 0);
    room_for(session, count);
    count = mail_pending(mail, session->indexes, count);
    for (size_t i = 0; i < count; i++) {
        const struct message_recipient *recipient = &message->recipients[session->indexes[i]];
        session->rcpts[i] = (struct smtp_client_rcpt){
            .address = recipient->address,
            .notify = recipient->dsn_notify.len > 0 ? recipient->dsn_notify : SLICE_NULL,
            .orcpt = orcpt_xtext(mail->arena, recipient->dsn_orcpt),
        };
    }
    struct slice mail_from = message->mail_from;
    if (mail->verp_domain != NULL) {
        mail_from = return_path_write(
            session->lane->shard->return_paths, mail, &message->recipients[session->indexes[0]],
            slice_cstr(session->vip->vip->config->name), slice_cstr(session->host));
    }
    size_t pieces = set_content(session, mail);
    session->transaction = (struct smtp_client_transaction){
        .arena = mail->arena,
        .mail_from = mail_from,
        .ret = message->dsn_ret.len > 0 ? message->dsn_ret : SLICE_NULL,
        .envid = xtext(mail->arena, message->dsn_envid),
        .smtputf8 = message->smtputf8,
        .requiretls = message->requiretls,
        .body_8bit = message->content_8bit,
        .hold_dot = mail_duplicates(mail) == CONFIG_DUPLICATES_NEVER,
        .content = &session->content[ARRAY_LEN(session->content) - pieces],
        .content_count = pieces,
        .rcpts = session->rcpts,
        .rcpt_count = count,
    };
    mail->begun = true;
    session->mail = mail;
    if (is_journaled(mail)) {
        say_intent(session, count);
    }
    session_enter(session, SESSION_BUSY);
    session->transactions++;
    wheel_cancel(session_wheel(session), &session->timer);
    smtp_client_submit(session->client, &session->transaction, session_now(session));
}

/* ---- facts for events ---- */

static int64_t between(struct mono_time from, struct mono_time to)
{
    return from.us > 0 && to.us > from.us ? mono_since_us(to, from) : 0;
}

static struct report_facts facts_of(const struct session *session)
{
    const struct smtp_client_transaction *tx = &session->transaction;
    struct report_facts facts = {
        .site = session->lane->site_name,
        .vip = slice_cstr(session->vip->vip->config->name),
        .remote_host = slice_cstr(session->host),
        .remote_address = slice_cstr(session->remote_text),
        .local_address = slice_cstr(session->local_text),
        .tls_version = slice_cstr(session->tls.version),
        .tls_cipher = slice_cstr(session->tls.cipher),
        .tls_verified = session->tls.verified,
    };
    if (session->transactions <= 1) {
        facts.connect_us = between(session->started, session->connected);
    }
    if (session->mail != NULL) {
        facts.mail_us = between(tx->started, tx->mail_replied);
        facts.rcpt_us = between(tx->mail_replied, tx->rcpt_replied);
        facts.data_us = between(tx->rcpt_replied, tx->data_replied);
        facts.dot_us = between(tx->dot_sent, tx->finished);
        facts.total_us = between(tx->started, tx->finished);
        facts.bytes = tx->size_bytes;
    }
    return facts;
}

/* ---- the end of a message ---- */

void session_txn_hold_dot(struct session *session)
{
    struct shard *shard = session->lane->shard;
    if (journal_writer_is_safe(shard->journal, session->intent)) {
        smtp_client_release_dot(session->client, session_now(session));
    } else {
        list_push_back(&shard->dot_waiting, &session->waiting_node);
        journal_writer_hurry(shard->journal, session->intent);
    }
}

bool session_txn_is_said(struct session *session)
{
    struct shard *shard = session->lane->shard;
    if (journal_writer_is_safe(shard->journal, session->intent)) {
        return true;
    }
    list_push_back(&shard->dot_waiting, &session->waiting_node);
    journal_writer_hurry(shard->journal, session->intent);
    return false;
}

void session_release_dots(struct shard *shard)
{
    struct list ready;
    struct list *node;
    list_init(&ready);
    list_foreach_safe (found, after, &shard->dot_waiting) {
        struct session *session = CONTAINER_OF(found, struct session, waiting_node);
        if (journal_writer_is_safe(shard->journal, session->intent)) {
            list_remove(found);
            list_push_back(&ready, found);
        }
    }
    while ((node = list_pop_front(&ready)) != NULL) {
        struct session *session = CONTAINER_OF(node, struct session, waiting_node);
        if (session->mail == NULL) {
            session_go_on(session);
            continue;
        }
        smtp_client_release_dot(session->client, session_now(session));
        session_flush(session);
    }
}

bool session_txn_may_end(const struct session *session)
{
    const struct mail *mail = session->mail;
    CHECK(mail != NULL);
    journal_writer_hurry(session->lane->shard->journal, session->intent);
    return tenure_may_end(&mail->worker->tenures, mail->tenure, mail->in_flight, mono_now());
}

/* ---- the end of a transaction ---- */

/* The session broke before the message was taken: another is to try, or when that has happened
 * often its pending recipients are deferred. */
static void note_lost(struct session *session, const struct smtp_outcome *lost,
                      const struct report_facts *facts)
{
    struct settler *settler = &session->lane->shard->settler;
    struct mail *mail = session->mail;
    if (session->withheld) {
        return; /* our own doing */
    }
    if (++mail->lost_sessions < LOST_SESSIONS_MAX) {
        report_attempt(settler->reporter, mail, lost, facts);
        return;
    }
    struct smtp_outcome deferred = *lost;
    deferred.result = SMTP_RESULT_DEFERRED;
    deferred.scope = SMTP_SCOPE_SESSION;
    if (deferred.enhanced.klass == 0) {
        deferred.enhanced = (struct smtp_enhanced){4, 4, 2};
    }
    settle_pending(settler, mail, &deferred, facts, session->lane->config);
}

/* What became of each, also when nothing did: a DONE for every INTENT. */
static void say_done(struct session *session)
{
    struct mail *mail = session->mail;
    size_t count = session->transaction.rcpt_count;
    for (size_t i = 0; i < count; i++) {
        journal_note(mail, session->indexes[i], &session->rcpts[i].outcome);
    }
    journal_writer_done(session->lane->shard->journal, mail, session->indexes, count);
}

static void mail_is_through(struct session *session)
{
    struct mail *mail = session->mail;
    session->mail = NULL;
    lane_session_rests(session->lane, session);
    if (mail->pending == 0) {
        settle_round(&session->lane->shard->settler, &mail);
    } else {
        /* More recipients than one transaction takes, or another session is to try. */
        lane_push_back(session->lane, mail);
    }
}

void session_txn_done(struct session *session)
{
    struct lane *lane = session->lane;
    struct report_facts facts = facts_of(session);
    const struct smtp_outcome *lost = NULL;
    bool delivered = false;
    CHECK(session->mail != NULL);
    list_remove(&session->waiting_node);
    for (size_t i = 0; i < session->transaction.rcpt_count; i++) {
        struct smtp_outcome *outcome = &session->rcpts[i].outcome;
        if (outcome->result == SMTP_RESULT_NONE) {
            lost = outcome;
            continue;
        }
        if (outcome->result == SMTP_RESULT_BOUNCED &&
            report_may_pass(lane->shard->settler.reporter, session->mail, session->indexes[i],
                            outcome, &facts)) {
            outcome->result = SMTP_RESULT_DEFERRED;
        }
        delivered = delivered || outcome->result == SMTP_RESULT_DELIVERED;
        settle_recipient(&lane->shard->settler, session->mail, session->indexes[i], outcome, &facts,
                         lane->config);
    }
    struct host_state *host = hosts_find(&lane->hosts, &session->address);
    if (host != NULL && delivered) {
        host_good(host);
    } else if (host != NULL && lost != NULL && !session->withheld) {
        host_broke(host, session_now(session), lane->config->dead_host_ms);
    }
    if (lost != NULL) {
        note_lost(session, lost, &facts);
    }
    if (is_journaled(session->mail)) {
        say_done(session);
    }
    mail_is_through(session);
}
