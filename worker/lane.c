#include "worker/lane.h"

#include "worker/delay.h"
#include "worker/lane_private.h"
#include "worker/session.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#define LANE_IDLE_MS 60000
#define LANE_DETACH_AFTER_MS 3000
#define LANE_DETACH_PER_TICK 20000

/* False: the mail itself has to be spilled. Transactional mail takes the place of bulk mail. */
static bool make_room(struct lane *lane, const struct mail *mail, struct mono_time now)
{
    size_t ready = lane->queue.ready;
    if (ready < LANE_MIN_CAPACITY || ready < lane_capacity(lane, now)) {
        return true;
    }
    if (mail->klass != CONFIG_CLASS_TRANSACTIONAL ||
        queue_ready_of(&lane->queue, CONFIG_CLASS_BULK) == 0) {
        return false;
    }
    lane_spill(lane, queue_take_last(&lane->queue), now);
    return true;
}

static void defer_for_trouble(struct lane *lane, struct mail *mail)
{
    const struct report_facts facts = {
        .site = lane->site_name,
        .remote_host = slice_cstr(lane->trouble_host),
    };
    settle_pending(&lane->shard->settler, mail, &lane->trouble, &facts, lane->config);
    settle_round(&lane->shard->settler, &mail);
}

/* False: there is no VIP here to send from; the mail was deferred. */
static bool have_vip(struct lane *lane, struct mail *mail)
{
    char text[160];
    if (lane->vip_count > 0) {
        return true;
    }
    int len = snprintf(text, sizeof(text), "this worker holds no VIP of \"%.*s\"",
                       SLICE_FMT(lane->route));
    const struct smtp_outcome outcome = {
        .result = SMTP_RESULT_DEFERRED,
        .phase = SMTP_PHASE_CONNECT,
        .scope = SMTP_SCOPE_MESSAGE,
        .enhanced = {4, 3, 5},
        .text = slice_of(text, (size_t)len),
    };
    const struct report_facts facts = {.site = lane->site_name};
    settle_pending(&lane->shard->settler, mail, &outcome, &facts, lane->config);
    settle_round(&lane->shard->settler, &mail);
    return false;
}

void lane_note_ready(struct lane *lane)
{
    if (lane->queue.ready == 0) {
        lane->busy_since = (struct mono_time){0};
    } else if (lane->busy_since.us == 0) {
        lane->busy_since = io_loop_now(lane->shard->loop);
        lane->slotless_since = (struct mono_time){0};
        lane->busy_taken = 0;
    }
}

void lane_push(struct shard *shard, struct mail *mail, const struct config_site *fixed)
{
    struct mono_time now = io_loop_now(shard->loop);
    struct lane *lane = lane_for(shard, mail, fixed);
    lane->idle_since = now;
    if (mail->expires_ms == 0) {
        mail->expires_ms = mail->first_seen_ms + lane->config->bounce_after_ms;
    }
    const struct report_facts facts = {.site = lane->site_name};
    struct wall_time wall = wall_now();
    bool in_trouble = mono_before(now, lane->suspended_until);
    /* Where the partition may be another's already, it is for him to say. */
    bool is_expired = settle_is_expired(mail, wall) &&
                      tenure_contact_is_fresh(&shard->worker->tenures, mono_now());
    /* Otherwise they are looked up when a session takes the mail. */
    if ((in_trouble || is_expired) &&
        !settle_suppressed(&shard->settler, mail, shard->suppress, wall)) {
        settle_round(&shard->settler, &mail);
        return;
    }
    if (is_expired) {
        settle_expired(&shard->settler, &mail, &facts);
        return;
    }
    if (!have_vip(lane, mail)) {
        return;
    }
    int64_t early_ms = mail->early ? mail->due_ms - wall.ms : 0;
    /* No tier is that short. */
    bool soon = delay_is_short(early_ms, shard->worker->config->kafka.tier_unit_ms);
    if (early_ms > 0 && (in_trouble || !(soon || lane_is_hungry(lane, mail, now)))) {
        const struct report_wait wait = {.due_ms = mail->due_ms, .exact = true, .spilled = true};
        settle_later(&shard->settler, &mail, &wait);
        return;
    }
    if (in_trouble) {
        defer_for_trouble(lane, mail);
        return;
    }
    if (!make_room(lane, mail, now)) {
        lane_spill(lane, mail, now);
        return;
    }
    mail->queued = now;
    struct queue_flow *flow =
        queue_push(&lane->queue, mail, fair_weight(lane, mail->message.tenant));
    if (flow->parked) {
        lane_spill_parked(lane, flow, now);
        return;
    }
    lane_note_ready(lane);
    lane_kick(lane);
}

void lane_push_back(struct lane *lane, struct mail *mail)
{
    struct shard *shard = lane->shard;
    if (shard_is_leaving(shard, mail) && mail->tenure > 0) {
        shard_return(mail); /* the journal knows what of it is done */
        return;
    }
    if (shard_is_leaving(shard, mail)) {
        /* It was begun, so it cannot be forgotten: what is left of it waits in a tier. */
        const struct report_wait wait = {
            .due_ms = wall_now().ms, .reason = "leaving", .site = lane->site_name};
        settle_later(&shard->settler, &mail, &wait);
        return;
    }
    queue_push_front(&lane->queue, mail, fair_weight(lane, mail->message.tenant));
    lane_note_ready(lane);
    lane_kick(lane);
}

void lane_session_ready(struct lane *lane)
{
    if (lane->slotless_since.us != 0 && lane->busy_since.us != 0) {
        struct mono_time now = io_loop_now(lane->shard->loop);
        lane->busy_since = mono_add_us(lane->busy_since, mono_since_us(now, lane->slotless_since));
    }
    lane->slotless_since = (struct mono_time){0};
}

/* ---- trouble ---- */

void lane_remember_trouble(struct lane *lane, const struct smtp_outcome *outcome)
{
    struct slice text = slice_head(outcome->text, sizeof(lane->trouble_text) - 1);
    if (text.len > 0 && text.ptr != lane->trouble_text) {
        memcpy(lane->trouble_text, text.ptr, text.len);
    }
    lane->trouble_text[text.len] = '\0';
    lane->trouble = *outcome;
    lane->trouble.text = slice_of(lane->trouble_text, text.len);
}

void lane_suspend(struct lane *lane, const struct smtp_outcome *outcome)
{
    struct mono_time now = io_loop_now(lane->shard->loop);
    struct list waiting;
    struct list *node;
    lane_remember_trouble(lane, outcome);
    lane->trouble.result = SMTP_RESULT_DEFERRED;
    lane->trouble.scope = SMTP_SCOPE_SITE;
    if (lane->trouble.enhanced.klass != 4) {
        lane->trouble.enhanced = (struct smtp_enhanced){4, 4, 1};
    }
    lane->suspended_until = mono_add_ms(now, lane->config->dead_host_ms);
    char quoted[300];
    log_info("lane-suspended", "site=%.*s route=%.*s waiting=%zu reason=%s",
             SLICE_FMT(lane->site_name), SLICE_FMT(lane->route), lane->queue.length,
             log_quote(quoted, sizeof(quoted), lane->trouble.text));
    list_init(&waiting);
    queue_extract_all(&lane->queue, &waiting);
    while ((node = list_pop_front(&waiting)) != NULL) {
        defer_for_trouble(lane, CONTAINER_OF(node, struct mail, node));
    }
    lane_note_ready(lane);
}

void lane_session_failed(struct lane *lane, struct session *session,
                         const struct smtp_outcome *outcome)
{
    struct host_state *host = hosts_find(&lane->hosts, &session->address);
    struct mono_time now = io_loop_now(lane->shard->loop);
    if (host != NULL) {
        host_unreachable(host, now, lane->config->dead_host_ms);
    }
    lane_remember_trouble(lane, outcome);
    memcpy(lane->trouble_host, session->host, sizeof(lane->trouble_host));
}

void lane_session_gone(struct lane *lane, struct session *session)
{
    list_remove(&session->idle_node);
    list_remove(&session->node);
    lane->session_count--;
    session->share->count--;
    if (lane->session_count == 0) {
        fair_rest(lane);
    }
    if (!session->was_ready) {
        session->share->opening--;
    }
    lane->idle_since = io_loop_now(lane->shard->loop);
    /* Those that wait for a connection come first, or a busy lane would take it again and again. */
    lane_wake_starved(lane->shard);
    if (lane->queue.length > 0) {
        lane_kick(lane);
    }
}

/* ---- housekeeping ---- */

/* Payloads that have to wait are copied, because each pins a whole fetch response of up to 1 MB. */
static void detach_old(struct lane *lane, struct mono_time now)
{
    struct mono_time before = mono_add_ms(now, -LANE_DETACH_AFTER_MS);
    queue_foreach_before(&lane->queue, before, LANE_DETACH_PER_TICK, mail_detach_payload);
}

bool lane_tick(struct lane *lane, struct mono_time now)
{
    CHECK_MAGIC(lane, LANE_MAGIC);
    size_t capacity = lane_capacity(lane, now);
    while (lane->queue.ready > LANE_MIN_CAPACITY && lane->queue.ready > capacity) {
        lane_spill(lane, queue_take_last(&lane->queue), now);
    }
    list_foreach_safe (node, after, &lane->queue.parked) {
        lane_spill_parked(lane, CONTAINER_OF(node, struct queue_flow, node), now);
    }
    lane_spill_older(lane, now);
    lane_note_ready(lane);
    flow_limits_sweep(lane, now, false);
    lane_yield_unused(lane);
    fair_tick(lane, now);
    if (lane->queue.length > 0) {
        detach_old(lane, now);
        lane_kick(lane);
        return false;
    }
    return lane->session_count == 0 && !lane->resolving &&
           mono_since_us(now, lane->idle_since) > (int64_t)LANE_IDLE_MS * 1000;
}

void lane_cut(struct lane *lane, bool (*wanted)(const struct mail *mail, const void *context),
              const void *context)
{
    list_foreach_safe (node, after, &lane->sessions) {
        struct session *session = CONTAINER_OF(node, struct session, node);
        if (session->mail != NULL && wanted(session->mail, context)) {
            session_close(session);
        }
    }
}

void lane_foreach_running(struct lane *lane, void (*found)(struct mail *mail, void *owner),
                          void *owner)
{
    list_foreach (node, &lane->sessions) {
        struct session *session = CONTAINER_OF(node, struct session, node);
        if (session->mail != NULL) {
            found(session->mail, owner);
        }
    }
}

void lane_extract(struct lane *lane, bool (*wanted)(const struct mail *mail, const void *context),
                  const void *context, struct list *out)
{
    queue_extract(&lane->queue, wanted, context, out);
    lane_note_ready(lane);
}
