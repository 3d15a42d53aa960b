#include "worker/session.h"

#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "smtp/xtext.h"

#include <netinet/in.h>

/* A mail whose sessions break that often in a round is deferred. */
#define LOST_SESSIONS_MAX 3

static void pump(struct session *session);
static void deadline_passed(struct timer *timer, struct mono_time now);

static struct wheel *wheel_of(const struct session *session)
{
    return io_loop_wheel(session->lane->shard->loop);
}

static struct mono_time now_of(const struct session *session)
{
    return io_loop_now(session->lane->shard->loop);
}

void session_enter(struct session *session, enum session_state state)
{
    struct lane *lane = session->lane;
    lane->throttled += state == SESSION_THROTTLED ? 1 : 0;
    lane->throttled -= session->state == SESSION_THROTTLED ? 1 : 0;
    if (session->state == SESSION_THROTTLED) {
        redis_limit_wait_cancel(lane->shard->limiter, &session->waiter);
    }
    if (state != SESSION_IDLE) {
        list_remove(&session->idle_node); /* a 421 may end it while it has nothing to do */
    }
    session->state = state;
    if (state == SESSION_CLOSING && session->slot_count > 0 && !session->leaving) {
        session->leaving = true;
        redis_limits_leave(lane->shard->limiter, session->slots, session->slot_count);
    }
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

/* ---- what the journal hears ---- */

static bool is_journaled(const struct mail *mail)
{
    return mail_duplicates(mail) != CONFIG_DUPLICATES_OFF;
}

/* The message may end as far as the journal is concerned: its INTENT is on Kafka. */
static void dot_wanted(struct session *session)
{
    struct shard *shard = session->lane->shard;
    if (journal_writer_is_safe(shard->journal, session->intent)) {
        smtp_client_release_dot(session->client, now_of(session));
    } else {
        list_push_back(&shard->dot_waiting, &session->waiting_node);
    }
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
        smtp_client_release_dot(session->client, now_of(session));
        session_flush(session);
    }
}

/* Who is not sure that its partition is still its own must not let a message end: the next owner
 * may be sending it. Asked right before the bytes go. */
static bool may_end(const struct session *session)
{
    const struct worker *worker = session->lane->shard->worker;
    const struct mail *mail = session->mail;
    int64_t now_us = mono_now().us;
    if (mail == NULL || !is_journaled(mail)) {
        return true;
    }
    if (mail->dot_until_us != 0) {
        return now_us < mail->dot_until_us;
    }
    return mail->ticket.epoch >=
               atomic_load_explicit(&worker->first_epoch, memory_order_acquire) &&
           gate_contact_is_fresh(kafka_consumer_contact_us(worker->consumer), now_us,
                                 worker->config->worker.session_timeout_ms);
}

/* ---- the end of a transaction ---- */

static void mail_came_back(struct session *session, const struct smtp_outcome *lost)
{
    struct settler *settler = &session->lane->shard->settler;
    struct mail *mail = session->mail;
    struct report_facts facts = facts_of(session);
    CHECK(mail != NULL);
    session->mail = NULL;
    if (mail->pending == 0) {
        settle_round(settler, &mail);
        return;
    }
    if (lost == NULL) {
        lane_push_back(session->lane, mail); /* more recipients than one transaction takes */
        return;
    }
    if (++mail->lost_sessions < LOST_SESSIONS_MAX) {
        report_attempt(settler->reporter, mail, lost, &facts);
        lane_push_back(session->lane, mail);
        return;
    }
    struct smtp_outcome deferred = *lost;
    deferred.result = SMTP_RESULT_DEFERRED;
    deferred.scope = SMTP_SCOPE_SESSION;
    if (deferred.enhanced.klass == 0) {
        deferred.enhanced = (struct smtp_enhanced){4, 4, 2};
    }
    settle_pending(settler, mail, &deferred, &facts, session->lane->config);
    settle_round(settler, &mail);
}

static void transaction_done(struct session *session)
{
    struct lane *lane = session->lane;
    struct report_facts facts = facts_of(session);
    const struct smtp_outcome *lost = NULL;
    bool delivered = false;
    for (size_t i = 0; i < session->transaction.rcpt_count; i++) {
        const struct smtp_outcome *outcome = &session->rcpts[i].outcome;
        if (outcome->result == SMTP_RESULT_NONE) {
            lost = outcome;
            journal_writer_note(session->mail, session->indexes[i], outcome);
            continue;
        }
        delivered = delivered || outcome->result == SMTP_RESULT_DELIVERED;
        settle_recipient(&lane->shard->settler, session->mail, session->indexes[i], outcome, &facts,
                         lane->config);
        journal_writer_note(session->mail, session->indexes[i], outcome);
    }
    list_remove(&session->waiting_node);
    if (is_journaled(session->mail)) {
        journal_writer_outcomes(lane->shard->journal, session->mail, session->indexes,
                         session->transaction.rcpt_count);
    }
    struct host_state *host = hosts_find(&lane->hosts, &session->address);
    if (host != NULL && delivered) {
        host_good(host);
    } else if (host != NULL && lost != NULL) {
        host_broke(host, now_of(session), lane->config->dead_host_ms);
    }
    mail_came_back(session, lost);
}

/* ---- the end of a session ---- */

static void reap(struct io_task *task)
{
    struct session *session = CONTAINER_OF(task, struct session, reaper);
    CHECK_MAGIC(session, SESSION_MAGIC);
    CHECK(session->gone && session->mail == NULL);
    list_remove(&session->node);
    smtp_client_free(&session->client);
    mem_free(session->rcpts);
    mem_free(session->indexes);
    session->magic = 0;
    mem_free(session);
}

/* Leaves the lane now; memory goes at the end of the turn, since we may be inside one of its
 * callbacks. */
static void session_gone(struct session *session)
{
    struct lane *lane = session->lane;
    struct shard *shard = lane->shard;
    if (session->gone) {
        return;
    }
    session->gone = true;
    CHECK(session->mail == NULL);
    wheel_cancel(wheel_of(session), &session->timer);
    io_conn_free(&session->conn);
    session_enter(session, SESSION_CLOSING);
    if (session->slot_count > 0) {
        redis_limits_left(shard->limiter, session->slots, session->slot_count);
    }
    atomic_fetch_sub_explicit(&shard->worker->connections, 1, memory_order_relaxed);
    lane_session_gone(lane, session);
    list_push_back(&shard->dying, &session->node);
    session->reaper.run = reap;
    io_loop_defer(shard->loop, &session->reaper);
}

void session_reap_all(struct shard *shard)
{
    list_foreach_safe (node, after, &shard->dying) {
        struct session *session = CONTAINER_OF(node, struct session, node);
        io_task_cancel(&session->reaper);
        reap(&session->reaper);
    }
}

static void session_over(struct session *session, const struct smtp_outcome *outcome)
{
    struct lane *lane = session->lane;
    if (session->was_ready || session->state == SESSION_CLOSING) {
        return;
    }
    if (smtp_client_tls_failed(session->client) && lane->config->tls == CONFIG_TLS_OPPORTUNISTIC) {
        struct host_state *host = hosts_find(&lane->hosts, &session->address);
        if (host != NULL) {
            host->clear_until = mono_add_ms(now_of(session), 600000);
        }
        return;
    }
    lane_session_failed(lane, session, outcome);
}

/* ---- driving the engine ---- */

static void set_deadline(struct session *session)
{
    struct mono_time due;
    if (session->gone) {
        return;
    }
    if (session->state == SESSION_IDLE) {
        return; /* its timer is the idle time */
    }
    due = smtp_client_deadline(session->client);
    if (due.us == INT64_MAX) {
        wheel_cancel(wheel_of(session), &session->timer);
        return;
    }
    /* A timer that is set for earlier looks again when it fires: cheaper than moving it for every
     * command. */
    if (!timer_is_set(&session->timer) || session->timer.due_ms * 1000 > due.us) {
        wheel_set(wheel_of(session), &session->timer, due, deadline_passed);
    }
}

static void deadline_passed(struct timer *timer, struct mono_time now)
{
    struct session *session = CONTAINER_OF(timer, struct session, timer);
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (session->state == SESSION_IDLE) {
        session_quit(session);
        return;
    }
    if (!mono_before(now, smtp_client_deadline(session->client))) {
        smtp_client_timeout(session->client, now);
        pump(session);
        if (!session->gone && session->conn != NULL) {
            io_conn_flush(session->conn);
        }
        return;
    }
    set_deadline(session);
}

static void became_ready(struct session *session)
{
    struct lane *lane = session->lane;
    if (!session->was_ready) {
        session->was_ready = true;
        session->first_ready = now_of(session);
        lane->opening--;
        lane_session_ready(lane);
        struct host_state *host = hosts_find(&lane->hosts, &session->address);
        if (host != NULL) {
            host->dead_until = (struct mono_time){0};
        }
    }
    uint32_t most = lane->config->max_msg_per_connection;
    if ((most > 0 && session->transactions >= most) || session_is_surplus(session)) {
        session_enter(session, SESSION_CLOSING);
        smtp_client_quit(session->client, now_of(session));
        return;
    }
    session_enter(session, SESSION_IDLE);
    lane_feed(lane, session);
}

static void start_tls(struct session *session)
{
    const struct lane *lane = session->lane;
    struct tls_context *context =
        lane->config->tls_verify ? lane->shard->tls_verified : lane->shard->tls_any;
    io_conn_start_tls(session->conn, context, session->host, lane->config->starttls_timeout_ms);
}

/* Takes what the engine has to tell until there is nothing more. */
static void pump(struct session *session)
{
    struct smtp_client_event event;
    while (!session->gone) {
        smtp_client_next_event(session->client, &event);
        switch (event.type) {
        case SMTP_CLIENT_EVENT_NONE: set_deadline(session); return;
        case SMTP_CLIENT_EVENT_STARTTLS: start_tls(session); break;
        case SMTP_CLIENT_EVENT_READY: became_ready(session); break;
        case SMTP_CLIENT_EVENT_DOT: dot_wanted(session); break;
        case SMTP_CLIENT_EVENT_DONE: transaction_done(session); break;
        case SMTP_CLIENT_EVENT_CLOSED:
            session_over(session, event.outcome);
            session_enter(session, SESSION_CLOSING);
            if (session->conn == NULL) {
                session_gone(session);
                return;
            }
            io_conn_finish(session->conn);
            break;
        }
    }
}

/* ---- the connection's callbacks ---- */

static void on_connected(struct io_conn *conn, void *owner)
{
    struct session *session = owner;
    struct sockaddr_storage local;
    CHECK_MAGIC(session, SESSION_MAGIC);
    session->connected = now_of(session);
    if (io_conn_local(conn, &local)) {
        io_address_format((const struct sockaddr *)&local, session->local_text);
    }
    smtp_client_start(session->client, false, session->connected);
    pump(session);
}

static size_t on_input(struct io_conn *conn, void *owner, struct slice bytes)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    (void)conn;
    smtp_client_input(session->client, bytes, now_of(session));
    pump(session);
    return bytes.len;
}

static size_t on_output(struct io_conn *conn, void *owner, struct iovec *pieces, size_t max)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    (void)conn;
    size_t count = smtp_client_output(session->client, pieces, max);
    if (count > 0 && smtp_client_is_ending(session->client) && !may_end(session)) {
        log_warn("dot-withheld", "id=%.*s", SLICE_FMT(session->mail->message.id));
        session_close(session);
        return 0;
    }
    return count;
}

static void on_sent(struct io_conn *conn, void *owner, size_t len)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    (void)conn;
    smtp_client_sent(session->client, len, now_of(session));
    set_deadline(session);
}

static void on_secured(struct io_conn *conn, void *owner, bool ok, const struct fault *fault)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    session->secure = ok;
    if (ok) {
        io_conn_facts(conn, &session->tls);
    }
    smtp_client_tls_done(session->client, ok, ok ? SLICE_NULL : slice_cstr(fault->text),
                         now_of(session));
    pump(session);
}

static void on_closed(struct io_conn *conn, void *owner, const struct fault *fault)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    (void)conn;
    session->conn = NULL; /* frees itself after this call */
    smtp_client_lost(session->client, slice_cstr(fault == NULL ? "closed" : fault->text),
                     now_of(session));
    pump(session);
    session_gone(session);
}

static const struct io_conn_ops conn_ops = {
    .connected = on_connected,
    .input = on_input,
    .output = on_output,
    .sent = on_sent,
    .secured = on_secured,
    .closed = on_closed,
};

/* ---- what the lane asks for ---- */

static void configure(const struct session *session, bool clear, struct smtp_client_config *engine)
{
    const struct config_site *site = session->lane->config;
    *engine = (struct smtp_client_config){
        .ehlo_name = slice_cstr(session->vip->vip->config->ehlo_name),
        .use_pipelining = site->use_pipelining,
        .use_chunking = site->use_chunking,
    };
    switch (site->tls) {
    case CONFIG_TLS_NEVER: engine->tls = SMTP_TLS_NEVER; break;
    case CONFIG_TLS_OPPORTUNISTIC:
        engine->tls = clear ? SMTP_TLS_NEVER : SMTP_TLS_OPPORTUNISTIC;
        break;
    case CONFIG_TLS_REQUIRED: engine->tls = SMTP_TLS_REQUIRED; break;
    }
    engine->timeouts = (struct smtp_timeouts){
        .greeting_ms = site->greeting_timeout_ms,
        .ehlo_ms = site->ehlo_timeout_ms,
        .starttls_ms = site->starttls_timeout_ms,
        .mail_ms = site->mail_timeout_ms,
        .rcpt_ms = site->rcpt_timeout_ms,
        .data_ms = site->data_timeout_ms,
        .block_ms = site->block_timeout_ms,
        .dot_ms = site->dot_timeout_ms,
        .quit_ms = site->quit_timeout_ms,
    };
}

struct session *session_open(struct lane *lane, struct lane_vip *vip, const struct host_state *host,
                             bool clear, struct fault *fault)
{
    struct session *session = mem_zalloc(sizeof(*session));
    struct smtp_client_config engine;
    session->magic = SESSION_MAGIC;
    session->lane = lane;
    session->vip = vip;
    session->state = SESSION_OPENING;
    session->address = host->address;
    session->started = io_loop_now(lane->shard->loop);
    memcpy(session->host, host->name, sizeof(session->host));
    io_address_format((const struct sockaddr *)&host->address, session->remote_text);

    bool v4 = host->address.ss_family == AF_INET;
    const struct io_conn_connect how = {
        .remote = (const struct sockaddr *)&session->address,
        .remote_len = host->len,
        .local = (const struct sockaddr *)(v4 ? &vip->vip->ipv4 : &vip->vip->ipv6),
        .local_len = v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6),
        .timeout_ms = lane->config->connect_timeout_ms,
    };
    session->conn = io_conn_connect(lane->shard->loop, &how, &conn_ops, session, fault);
    if (session->conn == NULL) {
        session->magic = 0;
        mem_free(session);
        return NULL;
    }
    configure(session, clear, &engine);
    session->client = smtp_client_create(&engine);
    if (lane->site_slots != NULL) {
        session->slots[session->slot_count++] = lane->site_slots;
    }
    if (vip->slots != NULL) {
        session->slots[session->slot_count++] = vip->slots;
    }
    if (lane->site_rate != NULL) {
        session->rates[session->rate_count++] = lane->site_rate;
    }
    if (vip->rate != NULL) {
        session->rates[session->rate_count++] = vip->rate;
    }
    list_push_back(&lane->sessions, &session->node);
    lane->session_count++;
    lane->opening++;
    atomic_fetch_add_explicit(&lane->shard->worker->connections, 1, memory_order_relaxed);
    worker_count(lane->shard->worker, WORKER_CONNECTIONS, 1);
    return session;
}

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

void session_begin(struct session *session, struct mail *mail)
{
    const struct message *message = &mail->message;
    size_t count = mail_transaction_size(mail, session->lane->config);
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
            session->lane->shard->return_paths, mail, session->rcpts[0].address,
            slice_cstr(session->vip->vip->config->name), slice_cstr(session->host));
    }
    session->content = message->content;
    session->transaction = (struct smtp_client_transaction){
        .arena = mail->arena,
        .mail_from = mail_from,
        .ret = message->dsn_ret.len > 0 ? message->dsn_ret : SLICE_NULL,
        .envid = xtext(mail->arena, message->dsn_envid),
        .smtputf8 = message->smtputf8,
        .requiretls = message->requiretls,
        .body_8bit = message->content_8bit,
        .hold_dot = mail_duplicates(mail) == CONFIG_DUPLICATES_NEVER,
        .content = &session->content,
        .content_count = 1,
        .rcpts = session->rcpts,
        .rcpt_count = count,
    };
    session->mail = mail;
    if (is_journaled(mail)) {
        struct shard *shard = session->lane->shard;
        session->intent = journal_writer_intent(shard->journal, mail, session->indexes, count);
        if (!list_linked(&mail->journal_node)) {
            list_push_back(&shard->journaled, &mail->journal_node);
        }
    }
    session_enter(session, SESSION_BUSY);
    session->transactions++;
    wheel_cancel(wheel_of(session), &session->timer);
    smtp_client_submit(session->client, &session->transaction, now_of(session));
}

void session_flush(struct session *session)
{
    pump(session);
    if (!session->gone && session->conn != NULL) {
        io_conn_flush(session->conn);
    }
}

void session_idle(struct session *session)
{
    wheel_set(wheel_of(session), &session->timer,
              mono_add_ms(now_of(session), session->lane->config->connection_idle_timeout_ms),
              deadline_passed);
}

bool session_is_surplus(const struct session *session)
{
    /* A slot that goes round too fast for a slow greeting would never carry a mail. */
    if (session->transactions == 0 && session->lane->queue.length > 0) {
        return false;
    }
    for (size_t i = 0; i < session->slot_count; i++) {
        if (redis_limit_surplus(session->slots[i])) {
            return true;
        }
    }
    return false;
}

void session_quit(struct session *session)
{
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (session->gone || session->state == SESSION_CLOSING) {
        return;
    }
    list_remove(&session->idle_node);
    session_enter(session, SESSION_CLOSING);
    smtp_client_quit(session->client, now_of(session));
    session_flush(session);
}

void session_close(struct session *session)
{
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (session->gone) {
        return;
    }
    session_enter(session, SESSION_CLOSING); /* our own wish: not a failure of the host */
    io_conn_free(&session->conn);
    smtp_client_lost(session->client, SLICE("closed by us"), now_of(session));
    pump(session);
    session_gone(session);
}
