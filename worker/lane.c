#include "worker/lane.h"

#include "worker/lane_private.h"
#include "worker/session.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#define LANE_IDLE_MS 60000
#define LANE_MIN_CAPACITY 64
#define LANE_MAX_CAPACITY 1000000000 /* more is no bound */
#define LANE_CAPACITY_SECONDS 60
/* No mail waits longer in memory, so that what is committed keeps moving; but what is next in turn
 * waits twice as long, so that the lane has something to send until what was spilled comes back. */
#define LANE_MAX_WAIT_MS 60000
#define SPILL_STEP_MAX_MS 3600000.0
/* A rate that was only measured is not believed for longer than that. */
#define SPILL_MEASURED_MAX_MS 14400000
/* Below this part of its share of the limits it is something else that holds the lane. */
#define SPILL_CERTAIN_PART 0.7
/* How long a lane has to be busy until its share is known. */
#define SPILL_SHARE_AFTER_MS 3000
/* A lane that waits for a slot is judged nevertheless after so long: its mail must not pile up. */
#define LANE_SLOT_PATIENCE_MS 30000
/* A lane is not judged by its speed before it has been busy for that long: connections, slots and
 * shares of rates take their time. When memory is half full it is judged sooner. */
#define LANE_JUDGE_AFTER_MS 30000
#define LANE_JUDGE_SOONER_MS 5000
#define LANE_JUDGE_SOONER_PERCENT 50
/* When memory is so full a lane holds this many seconds of its rate. */
#define LANE_TIGHT_PERCENT 80
#define LANE_TIGHT_SECONDS 15
/* … and no less than it sends until what is spilled can come back, and a little more. */
#define LANE_TIGHT_BEYOND_TIER_SECONDS 5
#define LANE_DETACH_AFTER_MS 3000
#define LANE_DETACH_PER_TICK 20000

/* Recipients per second that the limits allow at most, each by `of`; 0: no limit. */
static double limited_rate(const struct lane *lane, double (*of)(const struct bounds *bounds))
{
    double rate = of(&lane->bounds);
    double vips = 0;
    for (size_t i = 0; i < lane->vip_count; i++) {
        if (lane->vips[i].bounds.rate == 0) {
            return rate;
        }
        vips += of(&lane->vips[i].bounds);
    }
    return vips > 0 && (rate == 0 || vips < rate) ? vips : rate;
}

/* How long it has had a backlog, without the time in which it waited for its first slot: others had
 * them all, which says nothing about its speed. */
static int64_t judged_us(const struct lane *lane, struct mono_time now)
{
    if (lane->slotless_since.us != 0 &&
        mono_since_us(now, lane->slotless_since) < (int64_t)LANE_SLOT_PATIENCE_MS * 1000) {
        now = lane->slotless_since;
    }
    return lane->busy_since.us == 0 ? 0 : mono_since_us(now, lane->busy_since);
}

static bool is_judged_sooner(const struct lane *lane, struct mono_time now)
{
    return judged_us(lane, now) < (int64_t)LANE_JUDGE_AFTER_MS * 1000 &&
           worker_pressure_percent(lane->shard->worker) >= LANE_JUDGE_SOONER_PERCENT;
}

/* Mails per second while there was a backlog. 0: not known yet. */
static double measured_rate(const struct lane *lane, struct mono_time now)
{
    int64_t us = judged_us(lane, now);
    int64_t after_ms = is_judged_sooner(lane, now) ? LANE_JUDGE_SOONER_MS : LANE_JUDGE_AFTER_MS;
    if (us == 0 || us < after_ms * 1000) {
        return 0;
    }
    double rate = (double)lane->busy_taken * 1e6 / (double)us;
    return rate > 0.01 ? rate : 0.01;
}

double lane_rate(const struct lane *lane, struct mono_time now)
{
    double limited = limited_rate(lane, bounds_rate);
    double rate = measured_rate(lane, now);
    return limited > 0 && (rate == 0 || limited < rate) ? limited : rate;
}

static double tight_seconds(const struct lane *lane)
{
    int64_t unit_ms = lane->shard->worker->config->kafka.tier_unit_ms;
    double seconds = (double)unit_ms / 1000 + LANE_TIGHT_BEYOND_TIER_SECONDS;
    return seconds < LANE_TIGHT_SECONDS      ? LANE_TIGHT_SECONDS
           : seconds > LANE_CAPACITY_SECONDS ? LANE_CAPACITY_SECONDS
                                             : seconds;
}

/* Mails that are held at that rate. */
static size_t capacity_at(const struct lane *lane, double rate)
{
    bool tight = worker_pressure_percent(lane->shard->worker) >= LANE_TIGHT_PERCENT;
    double capacity = rate * (tight ? tight_seconds(lane) : LANE_CAPACITY_SECONDS);
    if (capacity == 0 || capacity >= (double)LANE_MAX_CAPACITY) {
        return SIZE_MAX;
    }
    return capacity < LANE_MIN_CAPACITY ? LANE_MIN_CAPACITY : (size_t)capacity;
}

/* An equal part, among the lanes, of what may be in memory before it is tight. */
static size_t fair_room(const struct lane *lane)
{
    const struct worker *worker = lane->shard->worker;
    unsigned pressure = worker_pressure_percent(worker);
    long long messages = atomic_load_explicit(&worker->messages, memory_order_relaxed);
    size_t lanes = lane->shard->lanes.count > 0 ? lane->shard->lanes.count : 1;
    size_t shards = worker->shard_count > 0 ? worker->shard_count : 1;
    return messages <= 0 || pressure == 0
               ? 0
               : (size_t)messages * LANE_TIGHT_PERCENT / pressure / shards / lanes;
}

size_t lane_capacity(const struct lane *lane, struct mono_time now)
{
    size_t limited = capacity_at(lane, limited_rate(lane, bounds_rate));
    size_t measured = capacity_at(lane, measured_rate(lane, now));
    /* A few seconds in which everybody was slow say little: it is those who take most of the
     * memory whom they are held against. */
    if (measured != SIZE_MAX && is_judged_sooner(lane, now) && measured < fair_room(lane)) {
        measured = fair_room(lane);
    }
    return limited < measured ? limited : measured;
}

/* Mails that are sent at that rate until what is spilled now can come back. */
static size_t lane_keep(const struct lane *lane, double rate)
{
    double seconds = (double)lane->shard->worker->config->kafka.tier_unit_ms / 1000.0;
    double keep = rate * seconds + 1;
    return keep < (double)LANE_MAX_CAPACITY ? (size_t)keep : LANE_MAX_CAPACITY;
}

/* To a tier, with the time at which its turn will have come: when the `ahead` mails that stay are
 * gone, which is held to be within 60 s, and then one after the other: V = max(V, now + that) +
 * 1/rate (design.md section 4). */
static void spill_at(struct lane *lane, struct mail *mail, double rate, size_t ahead,
                     const char *reason, int64_t *until_ms)
{
    double wait_ms = rate > 0 ? (double)ahead * 1000.0 / rate : 0;
    int64_t longest = LANE_CAPACITY_SECONDS * 1000;
    int64_t wait = wait_ms < (double)longest ? (int64_t)wait_ms : longest;
    int64_t unit = lane->shard->worker->config->kafka.tier_unit_ms;
    int64_t earliest = wall_now().ms + (wait > unit ? wait : unit);
    double step_ms = rate > 0 ? 1000.0 / rate : 1;
    step_ms = step_ms < 1 ? 1 : step_ms > SPILL_STEP_MAX_MS ? SPILL_STEP_MAX_MS : step_ms;
    *until_ms = (*until_ms > earliest ? *until_ms : earliest) + (int64_t)step_ms;
    bool expires = mail->expires_ms > 0 && mail->expires_ms < *until_ms;
    const struct report_wait waits = {.due_ms = expires ? mail->expires_ms : *until_ms,
                                      .exact = expires,
                                      .spilled = true,
                                      .reason = reason,
                                      .site = lane->site_name};
    settle_later(&lane->shard->settler, &mail, &waits);
}

/* What of its limits is this worker's share, once that is known; 0: no limit. */
static double shared_rate(const struct lane *lane, struct mono_time now)
{
    if (lane->busy_since.us == 0 ||
        mono_since_us(now, lane->busy_since) < (int64_t)SPILL_SHARE_AFTER_MS * 1000) {
        return limited_rate(lane, bounds_rate);
    }
    return limited_rate(lane, bounds_share);
}

/* By the lane's rate. A measured one that is well below its share of the limits may be better soon,
 * so V begins anew after some hours of it: the mails come back spread over these, rather than after
 * days or never. */
static void spill(struct lane *lane, struct mail *mail, struct mono_time now)
{
    double share = shared_rate(lane, now);
    double measured = measured_rate(lane, now);
    bool certain = share > 0 && (measured == 0 || is_judged_sooner(lane, now) ||
                                 measured >= SPILL_CERTAIN_PART * share);
    int64_t *until_ms = &lane->spill_until_ms[mail->klass];
    bool first = mail->klass == CONFIG_CLASS_TRANSACTIONAL;
    size_t ahead = first ? queue_ready_of(&lane->queue, mail->klass) : lane->queue.ready;
    if (!certain && *until_ms > wall_now().ms + SPILL_MEASURED_MAX_MS) {
        *until_ms = 0;
    }
    spill_at(lane, mail, certain ? share : measured, ahead, "lane-full", until_ms);
}

/* A spilled mail whose time has not come is taken nevertheless if the lane will have nothing to
 * send before what is spilled now can come back: its rate was less when that time was worked out,
 * or others have no mail for the site any more. */
static bool is_hungry(const struct lane *lane, const struct mail *mail, struct mono_time now)
{
    const struct queue_flow *flow = queue_flow_for(&lane->queue, mail);
    if (flow != NULL && flow->parked) {
        return flow->length < lane_keep(lane, flow->limits->bounds.rate);
    }
    double rate = lane_rate(lane, now);
    return rate == 0 || lane->queue.ready < LANE_MIN_CAPACITY ||
           lane->queue.ready < lane_keep(lane, rate);
}

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
    spill(lane, queue_take_last(&lane->queue), now);
    return true;
}

/* What a parked flow holds beyond 60 s of its own limits, or has held for so long. */
static void spill_parked(struct lane *lane, struct queue_flow *flow, struct mono_time now)
{
    struct flow_limits *limits = flow->limits;
    size_t capacity = capacity_at(lane, limits->bounds.rate);
    size_t length = flow->length; /* the flow goes with its last mail */
    double rate = limits->bounds.rate;
    if (mono_since_us(now, queue_first(flow)->queued) > (int64_t)LANE_MAX_WAIT_MS * 1000) {
        capacity = lane_keep(lane, rate);
    }
    for (; length > capacity; length--) {
        spill_at(lane, queue_take_last_of(&lane->queue, flow), rate, length, "limit-full",
                 &limits->spill_until_ms);
    }
    struct mono_time oldest = mono_add_ms(now, -2 * LANE_MAX_WAIT_MS);
    for (; length > 0 && mono_before(queue_first(flow)->queued, oldest); length--) {
        spill_at(lane, queue_take_of(&lane->queue, flow), rate, length, "limit-full",
                 &limits->spill_until_ms);
    }
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
    if (mail->early && mail->due_ms > wall.ms && (in_trouble || !is_hungry(lane, mail, now))) {
        const struct report_wait wait = {.due_ms = mail->due_ms, .exact = true, .spilled = true};
        settle_later(&shard->settler, &mail, &wait);
        return;
    }
    if (in_trouble) {
        defer_for_trouble(lane, mail);
        return;
    }
    if (!make_room(lane, mail, now)) {
        spill(lane, mail, now);
        return;
    }
    mail->queued = now;
    struct queue_flow *flow =
        queue_push(&lane->queue, mail, fair_weight(lane, mail->message.tenant));
    if (flow->parked) {
        spill_parked(lane, flow, now);
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

static void spill_older(struct lane *lane, struct mono_time now)
{
    struct list older;
    struct list *node;
    list_init(&older);
    queue_extract_before(&lane->queue, mono_add_ms(now, -2 * LANE_MAX_WAIT_MS), 0, &older);
    queue_extract_before(&lane->queue, mono_add_ms(now, -LANE_MAX_WAIT_MS),
                         lane_keep(lane, lane_rate(lane, now)), &older);
    while ((node = list_pop_front(&older)) != NULL) {
        spill(lane, CONTAINER_OF(node, struct mail, node), now);
    }
}

bool lane_tick(struct lane *lane, struct mono_time now)
{
    CHECK_MAGIC(lane, LANE_MAGIC);
    size_t capacity = lane_capacity(lane, now);
    while (lane->queue.ready > LANE_MIN_CAPACITY && lane->queue.ready > capacity) {
        spill(lane, queue_take_last(&lane->queue), now);
    }
    list_foreach_safe (node, after, &lane->queue.parked) {
        spill_parked(lane, CONTAINER_OF(node, struct queue_flow, node), now);
    }
    spill_older(lane, now);
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
