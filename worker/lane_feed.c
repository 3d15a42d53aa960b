/*
 * Giving the lane's mail to its sessions: whose turn it is, what has to be in hand before a
 * transaction begins, and when sessions are to be used or opened.
 */
#include "worker/lane_private.h"

#include "worker/session.h"
#include "worker/worker.h"

/* While Kafka does not take what we already have to say, or the group does not answer, nothing new
 * is begun. */
static bool is_choked(const struct shard *shard)
{
    return outbox_backlog(shard->outbox) > LANE_OUTBOX_MAX ||
           journal_writer_is_stuck(shard->journal, io_loop_now(shard->loop)) ||
           !tenure_contact_is_fresh(&shard->worker->tenures, io_loop_now(shard->loop));
}

/* The next mail that is still to be sent. Settled on the way: what has expired, and recipients who
 * have been put on the suppression list since. */
static struct mail *next_mail(struct lane *lane)
{
    struct settler *settler = &lane->shard->settler;
    struct wall_time now = wall_now();
    struct mail *mail;
    while ((mail = queue_peek(&lane->queue)) != NULL) {
        if (settle_is_expired(mail, now)) {
            const struct report_facts facts = {.site = lane->site_name};
            mail = queue_take(&lane->queue);
            settle_expired(settler, &mail, &facts);
        } else if (!settle_suppressed(settler, mail, lane->shard->suppress, now)) {
            mail = queue_take(&lane->queue);
            settle_round(settler, &mail);
        } else {
            break;
        }
    }
    return mail;
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

/* False: the session waits for tokens. */
static bool take_tokens(struct lane *lane, struct session *session, const struct mail *mail)
{
    uint64_t count = mail_transaction_size(mail, lane->config);
    struct limit_want wants[ARRAY_LEN(session->rates)];
    if (session->rate_count == 0) {
        return true;
    }
    for (size_t i = 0; i < session->rate_count; i++) {
        /* One transaction of more than a whole interval may have takes the interval. */
        uint64_t most = redis_limit_most(session->rates[i]);
        wants[i] = (struct limit_want){session->rates[i], count < most ? count : most, NULL};
    }
    session->waiter.ready = tokens_ready;
    if (redis_limits_take(lane->shard->limiter, wants, session->rate_count, &session->waiter)) {
        return true;
    }
    session_enter(session, SESSION_THROTTLED);
    return false;
}

void lane_feed(struct lane *lane, struct session *session)
{
    CHECK_MAGIC(lane, LANE_MAGIC);
    CHECK(session->state == SESSION_IDLE);
    struct mail *mail = is_choked(lane->shard) ? NULL : next_mail(lane);
    list_remove(&session->idle_node);
    if (mail == NULL) {
        list_push_front(&lane->idle, &session->idle_node);
        session_idle(session);
        return;
    }
    if (take_tokens(lane, session, mail)) {
        struct mail *taken = queue_take(&lane->queue);
        CHECK(taken == mail);
        lane->busy_taken++;
        if (lane->queue.length == 0) {
            lane->busy_since = (struct mono_time){0};
        }
        session_begin(session, mail);
    }
}

static void kicked(struct io_task *task)
{
    struct lane *lane = CONTAINER_OF(task, struct lane, kick);
    CHECK_MAGIC(lane, LANE_MAGIC);
    lane->kick_set = false;
    if (is_choked(lane->shard)) {
        return; /* the tick tries again */
    }
    while (lane->queue.length > 0 && !list_empty(&lane->idle)) {
        struct session *session = CONTAINER_OF(lane->idle.next, struct session, idle_node);
        if (!yields(session)) {
            lane_feed(lane, session);
            session_flush(session);
        }
    }
    if (lane->queue.length > 0) {
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
        if (session->state == SESSION_IDLE || session->state == SESSION_THROTTLED) {
            (void)yields(session);
        }
    }
}
