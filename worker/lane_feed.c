/*
 * Giving the lane's mail to its sessions: whose turn it is, what has to be in hand before a
 * transaction begins, and when sessions are to be used or opened.
 */
#include "worker/lane_private.h"

#include "worker/session.h"
#include "worker/worker.h"

/* The oldest mail of the flow that is still to be sent; NULL: none is, and the flow is gone.
 * Settled on the way: recipients who have been put on the suppression list since, and what has
 * expired. */
static struct mail *first_mail(struct lane *lane, struct queue_flow *flow)
{
    struct settler *settler = &lane->shard->settler;
    struct wall_time now = wall_now();
    for (size_t left = flow->length; left > 0; left--) {
        struct mail *mail = queue_first(flow);
        if (!settle_suppressed(settler, mail, lane->shard->suppress, now)) {
            mail = queue_take_of(&lane->queue, flow);
            settle_round(settler, &mail);
        } else if (settle_is_expired(mail, now)) {
            const struct report_facts facts = {.site = lane->site_name};
            mail = queue_take_of(&lane->queue, flow);
            settle_expired(settler, &mail, &facts);
        } else {
            return mail;
        }
    }
    return NULL;
}

static struct queue_flow *next_flow(struct lane *lane, bool transactional)
{
    struct queue_flow *flow;
    while ((flow = queue_flow_in_turn(&lane->queue, transactional)) != NULL &&
           first_mail(lane, flow) == NULL) {
    }
    lane_note_ready(lane);
    return flow;
}

/* Others are to have its slot: it ends rather than take another mail. */
static bool yields(struct session *session)
{
    bool surplus = session_is_surplus(session);
    if (surplus) {
        session_quit(session);
    }
    return surplus;
}

static void tokens_ready(struct limit_waiter *waiter)
{
    struct session *session = CONTAINER_OF(waiter, struct session, waiter);
    CHECK_MAGIC(session, SESSION_MAGIC);
    CHECK(session->state == SESSION_THROTTLED);
    session_enter(session, SESSION_IDLE);
    if (!yields(session)) {
        lane_feed(session->lane, session);
        session_flush(session);
    }
}

static void flow_ready(struct limit_waiter *waiter);

/* Recipients of the next transaction: what all limits can grant at once. */
static size_t transaction_size(const struct session *session, const struct flow_limits *limits,
                               const struct mail *mail)
{
    const struct bounds *all[] = {&session->lane->bounds, &session->vip->bounds,
                                  limits == NULL ? NULL : &limits->bounds};
    uint64_t most = UINT64_MAX;
    for (size_t i = 0; i < ARRAY_LEN(all) && all[i] != NULL; i++) {
        most = all[i]->per_transaction < most ? all[i]->per_transaction : most;
        uint64_t at_once = bounds_at_once(all[i]);
        most = at_once < most ? at_once : most;
    }
    return mail_transaction_size(mail, most);
}

enum taken {
    TAKEN,
    SESSION_WAITS, /* for what the lane or the VIP may send */
    FLOW_WAITS,    /* for what its tenant, campaign or stream may send; it is parked */
};

/* Takes all that a transaction of `count` recipients needs. */
static enum taken take_tokens(struct session *session, struct queue_flow *flow,
                              struct flow_limits *limits, size_t count)
{
    struct lane *lane = session->lane;
    struct bounds *bounds[] = {&lane->bounds, &session->vip->bounds,
                               limits == NULL ? NULL : &limits->bounds};
    const struct bounds_need need = {count, queue_first(flow)->message.content.len};
    struct limit_want *wants = lane_want_room(lane, bounds[1], bounds[2]);
    size_t n = bounds_wants(bounds[0], BOUNDS_SENDING, &need, NULL, wants);
    n += bounds_wants(bounds[1], BOUNDS_SENDING, &need, NULL, wants + n);
    if (limits != NULL) {
        n += bounds_wants(bounds[2], BOUNDS_SENDING | BOUNDS_HELD, &need, &limits->waiter,
                          wants + n);
    }
    session->waiter.ready = tokens_ready;
    if (n == 0 || redis_limits_take(lane->shard->limiter, wants, n, &session->waiter)) {
        return TAKEN;
    }
    if (list_linked(&session->waiter.node)) {
        fair_note_wait(lane, session->waiter.blocking);
        session_enter(session, SESSION_THROTTLED);
        return SESSION_WAITS;
    }
    queue_park(&lane->queue, flow);
    lane_note_ready(lane);
    return FLOW_WAITS;
}

/* Begins with the flow's first mail if what it needs is there. `in_turn`: it is the one in turn. */
static enum taken try_flow(struct session *session, struct queue_flow *flow, bool in_turn)
{
    struct lane *lane = session->lane;
    struct flow_limits *limits = flow_limits_of(lane, flow, flow_ready);
    size_t count = transaction_size(session, limits, queue_first(flow));
    enum taken taken = take_tokens(session, flow, limits, count);
    if (taken != TAKEN) {
        return taken;
    }
    struct mail *mail =
        in_turn ? queue_take_turn(&lane->queue, flow) : queue_take_of(&lane->queue, flow);
    lane->busy_taken++;
    fair_took(lane, mail->message.tenant, count);
    lane_note_ready(lane);
    if (limits != NULL) {
        limits->running++;
        session->flow = limits;
    }
    session_begin(session, mail, count);
    return TAKEN;
}

/* One that has nothing to do and by which mail of that class may go; NULL: none. */
static struct session *idle_session(const struct lane *lane, enum config_class klass)
{
    const struct list *open = &lane->shares[LANE_OPEN].idle;
    const struct list *reserved = &lane->shares[LANE_RESERVED].idle;
    bool keep = klass != CONFIG_CLASS_TRANSACTIONAL || list_empty(reserved);
    const struct list *idle = keep ? open : reserved;
    return list_empty(idle) ? NULL : CONTAINER_OF(idle->next, struct session, idle_node);
}

/* Its turn for a limit of its own has come: it goes by a session that has nothing to do, else by
 * the next one. */
static void flow_ready(struct limit_waiter *waiter)
{
    struct flow_limits *limits = CONTAINER_OF(waiter, struct flow_limits, waiter);
    struct lane *lane = limits->lane;
    CHECK_MAGIC(lane, LANE_MAGIC);
    struct queue_flow *flow = limits->flow;
    queue_unpark(&lane->queue, flow);
    lane_note_ready(lane);
    lane_kick(lane);
    struct session *session = idle_session(lane, queue_first(flow)->klass);
    if (session == NULL || shard_is_choked(lane->shard)) {
        return;
    }
    if (yields(session) || first_mail(lane, flow) == NULL) {
        return;
    }
    list_remove(&session->idle_node);
    if (try_flow(session, flow, false) == FLOW_WAITS) {
        list_push_front(&session->share->idle, &session->idle_node);
    }
    session_flush(session);
}

void lane_session_rests(struct lane *lane, struct session *session)
{
    static const struct bounds_need one = {1, 1};
    struct flow_limits *limits = session->flow;
    if (limits == NULL) {
        return;
    }
    session->flow = NULL;
    CHECK(limits->running > 0);
    limits->running--;
    limits->used = io_loop_now(lane->shard->loop);
    struct limit_want *wants = lane_want_room(lane, &limits->bounds, NULL);
    size_t n = bounds_wants(&limits->bounds, BOUNDS_HELD, &one, NULL, wants);
    if (n > 0) {
        redis_limits_return(lane->shard->limiter, wants, n);
    }
}

void lane_feed(struct lane *lane, struct session *session)
{
    CHECK_MAGIC(lane, LANE_MAGIC);
    CHECK(session->state == SESSION_IDLE);
    struct queue_flow *flow = NULL;
    list_remove(&session->idle_node);
    while (!shard_is_choked(lane->shard) &&
           (flow = next_flow(lane, session_is_reserved(session))) != NULL) {
        if (try_flow(session, flow, true) != FLOW_WAITS) {
            return;
        }
    }
    session->waiter.turn = NULL;
    list_push_front(&session->share->idle, &session->idle_node);
    session_idle(session);
}

/* Transactional mail first by the sessions that only it may use. */
static struct session *session_for_mail(const struct lane *lane)
{
    struct session *session = NULL;
    if (queue_ready_of(&lane->queue, CONFIG_CLASS_TRANSACTIONAL) > 0) {
        session = idle_session(lane, CONFIG_CLASS_TRANSACTIONAL);
    }
    if (session == NULL && lane->queue.ready > 0) {
        session = idle_session(lane, CONFIG_CLASS_BULK);
    }
    return session;
}

static void kicked(struct io_task *task)
{
    struct lane *lane = CONTAINER_OF(task, struct lane, kick);
    CHECK_MAGIC(lane, LANE_MAGIC);
    lane->kick_set = false;
    struct session *session;
    while (!shard_is_choked(lane->shard) && (session = session_for_mail(lane)) != NULL) {
        if (!yields(session)) {
            lane_feed(lane, session);
            session_flush(session);
        }
    }
    if (lane->queue.ready > 0 && !shard_is_choked(lane->shard)) {
        lane_open_sessions(lane);
    }
}

void lane_kick(struct lane *lane)
{
    if (!lane->kick_set) {
        lane->kick_set = true;
        lane->kick.run = kicked;
        io_loop_defer(lane->shard->loop, &lane->kick);
    }
}

void lane_yield_unused(struct lane *lane)
{
    list_foreach_safe (node, after, &lane->sessions) {
        struct session *session = CONTAINER_OF(node, struct session, node);
        bool idle = session->state == SESSION_IDLE;
        if ((idle || session->state == SESSION_THROTTLED) && !yields(session) && idle) {
            session_spare(session);
        }
    }
}
