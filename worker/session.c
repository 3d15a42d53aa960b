#include "worker/session_private.h"

#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#include <netinet/in.h>

/* An unused connection whose slot others wait for is kept for so long. */
#define WANTED_IDLE_MS 200

static void pump(struct session *session);
static void deadline_passed(struct timer *timer, struct mono_time now);

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
    if (state == SESSION_CLOSING) {
        list_remove(&session->waiting_node); /* nothing is begun any more */
    }
    if (state == SESSION_CLOSING && session->slot_count > 0 && !session->leaving) {
        session->leaving = true;
        redis_limits_leave(lane->shard->limiter, session->slots, session->slot_count);
    }
}

/* ---- the end of a session ---- */

static void reap(struct io_task *task)
{
    struct session *session = CONTAINER_OF(task, struct session, reaper);
    CHECK_MAGIC(session, SESSION_MAGIC);
    CHECK(session->gone && session->mail == NULL);
    list_remove(&session->node);
    smtp_client_free(&session->client);
    mem_free(session->slots);
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
    wheel_cancel(session_wheel(session), &session->timer);
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
            host->clear_until = mono_add_ms(session_now(session), 600000);
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
        wheel_cancel(session_wheel(session), &session->timer);
        return;
    }
    /* A timer that is set for earlier looks again when it fires: cheaper than moving it for every
     * command. */
    if (!timer_is_set(&session->timer) || session->timer.due_ms * 1000 > due.us) {
        wheel_set(session_wheel(session), &session->timer, due, deadline_passed);
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
        session->first_ready = session_now(session);
        session->share->opening--;
        lane_session_ready(lane);
        struct host_state *host = hosts_find(&lane->hosts, &session->address);
        if (host != NULL) {
            host->dead_until = (struct mono_time){0};
        }
    }
    if (session->transactions >= session->most_transactions || session_is_surplus(session)) {
        session_enter(session, SESSION_CLOSING);
        smtp_client_quit(session->client, session_now(session));
        return;
    }
    if (session_txn_is_said(session)) {
        session_enter(session, SESSION_IDLE);
        lane_feed(lane, session);
    }
}

void session_go_on(struct session *session)
{
    CHECK_MAGIC(session, SESSION_MAGIC);
    became_ready(session);
    session_flush(session);
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
        case SMTP_CLIENT_EVENT_DOT: session_txn_hold_dot(session); break;
        case SMTP_CLIENT_EVENT_DONE: session_txn_done(session); break;
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
    session->connected = session_now(session);
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
    smtp_client_input(session->client, bytes, session_now(session));
    pump(session);
    return bytes.len;
}

static size_t on_output(struct io_conn *conn, void *owner, struct iovec *pieces, size_t max)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    (void)conn;
    size_t count = smtp_client_output(session->client, pieces, max);
    if (count > 0 && smtp_client_is_ending(session->client) && !session_txn_may_end(session)) {
        log_warn("dot-withheld", "id=%.*s remote=%s", SLICE_FMT(session->mail->message.id),
                 session->remote_text);
        session->withheld = true;
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
    smtp_client_sent(session->client, len, session_now(session));
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
                         session_now(session));
    pump(session);
}

static void on_closed(struct io_conn *conn, void *owner, const struct fault *fault)
{
    struct session *session = owner;
    CHECK_MAGIC(session, SESSION_MAGIC);
    (void)conn;
    session->conn = NULL; /* frees itself after this call */
    smtp_client_lost(session->client, slice_cstr(fault == NULL ? "closed" : fault->text),
                     session_now(session));
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

/* What it holds while it lives, and for how many transactions that is. */
static void set_limits(struct session *session)
{
    const struct bounds *all[] = {&session->lane->bounds, &session->vip->bounds};
    session->slots = mem_calloc(all[0]->count + all[1]->count + 1, sizeof(struct limit *));
    session->most_transactions = UINT64_MAX;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        uint64_t most = all[i]->per_connection;
        session->most_transactions =
            most < session->most_transactions ? most : session->most_transactions;
        for (size_t k = 0; k < all[i]->count; k++) {
            if (all[i]->items[k].kind == CONFIG_LIMIT_CONNECTIONS) {
                session->slots[session->slot_count++] =
                    bound_slots(&all[i]->items[k], session_is_reserved(session));
            }
        }
    }
}

struct session *session_open(struct lane_share *share, struct lane_vip *vip,
                             const struct host_state *host, bool clear, struct fault *fault)
{
    struct lane *lane = share->lane;
    struct session *session = mem_zalloc(sizeof(*session));
    struct smtp_client_config engine;
    session->magic = SESSION_MAGIC;
    session->lane = lane;
    session->share = share;
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
    set_limits(session);
    list_push_back(&lane->sessions, &session->node);
    lane->session_count++;
    share->count++;
    share->opening++;
    atomic_fetch_add_explicit(&lane->shard->worker->connections, 1, memory_order_relaxed);
    worker_count(lane->shard->worker, WORKER_CONNECTIONS, 1);
    return session;
}

void session_flush(struct session *session)
{
    pump(session);
    if (!session->gone && session->conn != NULL) {
        io_conn_flush(session->conn);
    }
}

static bool any_slot(const struct session *session, bool (*is)(const struct limit *limit))
{
    for (size_t i = 0; i < session->slot_count; i++) {
        if (is(session->slots[i])) {
            return true;
        }
    }
    return false;
}

static void quit_after(struct session *session, int64_t ms)
{
    wheel_set(session_wheel(session), &session->timer, mono_add_ms(session_now(session), ms),
              deadline_passed);
}

void session_idle(struct session *session)
{
    quit_after(session, session->lane->config->connection_idle_timeout_ms);
    session_spare(session);
}

void session_spare(struct session *session)
{
    CHECK(session->state == SESSION_IDLE);
    int64_t soon_ms = session_now(session).us / 1000 + WANTED_IDLE_MS;
    if (session->timer.due_ms > soon_ms && any_slot(session, redis_limit_is_wanted)) {
        quit_after(session, WANTED_IDLE_MS);
    }
}

bool session_is_reserved(const struct session *session)
{
    return session->share == &session->lane->shares[LANE_RESERVED];
}

/* Is there mail that could go by it now? */
static bool has_mail(const struct session *session)
{
    const struct queue *queue = &session->lane->queue;
    return session_is_reserved(session) ? queue_ready_of(queue, CONFIG_CLASS_TRANSACTIONAL) > 0
                                        : queue->ready > 0;
}

bool session_is_surplus(const struct session *session)
{
    /* A slot that goes round too fast for a slow greeting would never carry a mail. */
    if (session->transactions == 0 && has_mail(session)) {
        return false;
    }
    return any_slot(session, redis_limit_surplus);
}

void session_quit(struct session *session)
{
    CHECK_MAGIC(session, SESSION_MAGIC);
    if (session->gone || session->state == SESSION_CLOSING) {
        return;
    }
    list_remove(&session->idle_node);
    session_enter(session, SESSION_CLOSING);
    smtp_client_quit(session->client, session_now(session));
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
    smtp_client_lost(session->client, SLICE("closed by us"), session_now(session));
    pump(session);
    session_gone(session);
}
