/*
 * How much mail a lane holds, by how fast it is, and when what it does not hold comes back. The
 * comments speak of V: the time up to which spilled mail has been given its time (spill_until_ms).
 */
#include "worker/lane_private.h"

#include "worker/worker.h"

#define LANE_MAX_CAPACITY 1000000000 /* more is no bound */
#define LANE_CAPACITY_SECONDS 60
/* No mail waits longer in memory, so that what is committed keeps moving; but what is next in turn
 * waits twice as long, so that the lane has something to send until what was spilled comes back. */
#define LANE_MAX_WAIT_MS 60000
#define SPILL_STEP_MAX_MS 3600000.0
#define LANE_KEEP_BESIDE 4
/* A rate that was only measured is not believed for longer than that. */
#define SPILL_MEASURED_MAX_MS 14400000
/* Below this part of its share of the limits it is something else that holds the lane. In its first
 * minutes that may well be us, busy with a campaign that begins: mail that comes back too early is
 * written once more, but mail that comes back too late leaves the site idle. */
#define SPILL_CERTAIN_PART 0.7
#define SPILL_CERTAIN_AFTER_MS 180000
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

/* Mails that are sent at that rate until what is spilled now can come back, and a few: a slow
 * site's turns come unevenly. */
static size_t keep_of(const struct lane *lane, double rate)
{
    double seconds = (double)lane->shard->worker->config->kafka.tier_unit_ms / 1000.0;
    double keep = rate * seconds + LANE_KEEP_BESIDE;
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
                                      .slow = rate * (double)unit / 1000 < LANE_MIN_CAPACITY,
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

struct spill_rate {
    double per_s;
    bool certain;
};

/* At which what is spilled now is held to come back. */
static struct spill_rate spill_rate(const struct lane *lane, struct mono_time now)
{
    double share = shared_rate(lane, now);
    double measured = measured_rate(lane, now);
    bool young = judged_us(lane, now) < (int64_t)SPILL_CERTAIN_AFTER_MS * 1000;
    bool certain = share > 0 && (measured == 0 || young || measured >= SPILL_CERTAIN_PART * share);
    return (struct spill_rate){certain ? share : measured, certain};
}

/* By the lane's rate. A measured one that is well below its share of the limits may be better soon,
 * so V begins anew after some hours of it: the mails come back spread over these, rather than after
 * days or never. */
void lane_spill(struct lane *lane, struct mail *mail, struct mono_time now)
{
    struct spill_rate rate = spill_rate(lane, now);
    int64_t *until_ms = &lane->spill_until_ms[mail->klass];
    bool first = mail->klass == CONFIG_CLASS_TRANSACTIONAL;
    size_t ahead = first ? queue_ready_of(&lane->queue, mail->klass) : lane->queue.ready;
    if (!rate.certain && *until_ms > wall_now().ms + SPILL_MEASURED_MAX_MS) {
        *until_ms = 0;
    }
    spill_at(lane, mail, rate.per_s, ahead, "lane-full", until_ms);
}

/* A spilled mail whose time has not come is taken nevertheless if the lane will have nothing to
 * send before what is spilled now can come back: its rate was less when that time was worked out,
 * or others have no mail for the site any more. */
bool lane_is_hungry(const struct lane *lane, const struct mail *mail, struct mono_time now)
{
    const struct queue_flow *flow = queue_flow_for(&lane->queue, mail);
    if (flow != NULL && flow->parked) {
        return flow->length < keep_of(lane, flow->limits->bounds.rate);
    }
    double rate = lane_rate(lane, now);
    return rate == 0 || lane->queue.ready < LANE_MIN_CAPACITY ||
           lane->queue.ready < keep_of(lane, rate);
}

void lane_spill_parked(struct lane *lane, struct queue_flow *flow, struct mono_time now)
{
    struct flow_limits *limits = flow->limits;
    size_t capacity = capacity_at(lane, limits->bounds.rate);
    size_t length = flow->length; /* the flow goes with its last mail */
    double rate = limits->bounds.rate;
    if (mono_since_us(now, queue_first(flow)->queued) > (int64_t)LANE_MAX_WAIT_MS * 1000) {
        capacity = keep_of(lane, rate);
    }
    for (; length > capacity; length--) {
        spill_at(lane, queue_take_last_of(&lane->queue, flow), rate, length, "limit-full",
                 &limits->spill_until_ms);
    }
    struct mono_time oldest = mono_add_ms(now, -2 * LANE_MAX_WAIT_MS);
    int64_t until_ms = 0; /* as in lane_spill_older */
    for (; length > 0 && mono_before(queue_first(flow)->queued, oldest); length--) {
        spill_at(lane, queue_take_of(&lane->queue, flow), rate, 0, "limit-full", &until_ms);
    }
}

void lane_spill_older(struct lane *lane, struct mono_time now)
{
    struct list older;
    struct list *node;
    int64_t until_ms = 0;
    list_init(&older);
    /* They are next in turn, and stay so: V is of those that were spilled before them, but come
     * after them. */
    queue_extract_before(&lane->queue, mono_add_ms(now, -2 * LANE_MAX_WAIT_MS), 0, &older);
    while ((node = list_pop_front(&older)) != NULL) {
        spill_at(lane, CONTAINER_OF(node, struct mail, node), spill_rate(lane, now).per_s, 0,
                 "lane-full", &until_ms);
    }
    queue_extract_before(&lane->queue, mono_add_ms(now, -LANE_MAX_WAIT_MS),
                         keep_of(lane, lane_rate(lane, now)), &older);
    while ((node = list_pop_front(&older)) != NULL) {
        lane_spill(lane, CONTAINER_OF(node, struct mail, node), now);
    }
}
