/*
 * Rates: when a lease is to be renewed, filled up or given back, and what the reply says.
 */
#include "base/random.h"
#include "redis/ask_private.h"

enum { GIFTS = 64, HANDED_MAX = 2048 };
#define BUCKETS 128 /* limiter.lua knows it too */
/* What may be needed in an interval when so much was used in a while, and nobody had to wait. */
#define DEMAND_FACTOR 2.0

static int64_t rate_period(const struct limit *limit)
{
    return limit->lease.interval_us + limit->lease.guard_us;
}

/* Slots that it could use in a period. */
static double rate_demand(struct limit *limit, struct mono_time now)
{
    uint64_t amount = limit->rule.amount;
    if (limit->give_back) {
        return 0;
    }
    if (limit->blocked || !list_empty(&limit->waiters)) {
        return (double)amount;
    }
    double recent = (double)limit_recent_use(limit, now);
    double demand = recent * DEMAND_FACTOR * (double)rate_period(limit) / (LIMITER_USE_MS * 1000.0);
    double need = (double)limit_need(limit, now);
    demand = demand > need ? demand : need;
    return demand > (double)amount ? (double)amount : demand;
}

static uint64_t rate_surplus(const struct limit *limit)
{
    return limit->target < limit->lease.held ? limit->lease.held - limit->target : 0;
}

static bool rate_report_is_due(struct limit *limit, struct mono_time now)
{
    const struct lease *lease = &limit->lease;
    int64_t age_us = mono_since_us(now, limit->reported);
    if (lease->held == 0) {
        return false;
    }
    if (limit->epoch != limit->on->epoch || age_us >= LIMITER_RENEW_MS * 1000 ||
        (lease->alone && lease->stopped && !limit->settled)) {
        return true;
    }
    bool low = rate_period(limit) > LIMITER_HOLD_US && age_us >= LIMITER_LOW_MS * 1000 &&
               lease_unused(&limit->lease, now) * 2 < limit->target;
    return low && limit->target != UINT64_MAX && limit->unreported > 0;
}

static bool rate_wants(struct limit *limit, struct mono_time now)
{
    uint64_t need = limit_need(limit, now);
    bool wants = (need > 0 || limit->blocked) && !mono_before(now, limit->retry_at);
    return wants && (limit->lease.held < limit->target ||
                     lease_when(&limit->lease, now, need).us == INT64_MAX);
}

bool window_needs_call(struct limit *limit, struct mono_time now)
{
    switch (limit->on->state) {
    case REDIS_CONNECTING: return !list_empty(&limit->waiters);
    case REDIS_UP:
        return limit->give_back || rate_surplus(limit) > 0 || rate_report_is_due(limit, now) ||
               rate_wants(limit, now);
    case REDIS_LEARNING: return limit->give_back || rate_report_is_due(limit, now);
    case REDIS_DOWN: return false;
    }
    return false;
}

/* Busy slots change hands with the time at which they are free, in buckets of Redis' clock. */
static void write_handed(const struct limit *limit, const struct lease_busy *gifts, size_t count,
                         struct strbuf *out)
{
    int64_t width = (rate_period(limit) + BUCKETS - 1) / BUCKETS;
    int64_t last = -1;
    uint64_t sum = 0;
    for (size_t i = 0; i <= count; i++) {
        int64_t theirs =
            i < count ? lease_clock_theirs(&limit->on->clock, gifts[i].free_at) : -width;
        int64_t bucket = (theirs + width - 1) / width;
        if (bucket != last && sum > 0) {
            (void)strbuf_addf(out, "%lld:%llu,", (long long)last, (unsigned long long)sum);
            sum = 0;
        }
        last = bucket;
        sum += i < count ? gifts[i].count : 0;
    }
}

/* Takes off what is given up, and says so. */
static uint64_t give_up(struct limit *limit, struct mono_time now, struct strbuf *handed)
{
    struct lease_busy gifts[GIFTS];
    struct lease *lease = &limit->lease;
    bool up = limit->on->state == REDIS_UP;
    uint64_t surplus = !up ? 0 : limit->give_back ? lease->held : rate_surplus(limit);
    uint64_t freed = lease_give_free(lease, now, surplus);
    size_t count = 0;
    if (limit->on->clock.known && up) {
        count = lease_give_busy(lease, now, surplus - freed, gifts, GIFTS);
        if (rate_period(limit) > LIMITER_HOLD_US) {
            count += lease_give_busy(lease, mono_add_us(now, LIMITER_HOLD_US), UINT64_MAX,
                                     &gifts[count], GIFTS - count);
        }
    }
    strbuf_init(handed, HANDED_MAX);
    write_handed(limit, gifts, count, handed);
    if (handed->len == 0) {
        (void)strbuf_add_byte(handed, '-');
    }
    return freed;
}

bool window_item(struct limit *limit, struct mono_time now, struct item *item)
{
    if (!window_needs_call(limit, now)) {
        return false;
    }
    *item = (struct item){.limit = limit,
                          .version = limit->version,
                          .stopped = limit->lease.alone && limit->lease.stopped,
                          .op = 'w'};
    uint64_t freed = lease_released(&limit->lease, now);
    freed += give_up(limit, now, &item->handed);
    tenants_tell(limit, item);
    const double numbers[ASK_NUMBERS] = {
        (double)limit->rule.amount,    (double)rate_period(limit),
        (double)++limit->limiter->seq, (double)limit->lease.held,
        rate_demand(limit, now),       (double)limit_need(limit, now),
        (double)limit->unreported,     (double)freed,
        (double)limit->rule.burst};
    memcpy(item->numbers, numbers, sizeof(numbers));
    limit->give_back = limit->blocked = false;
    limit->unreported = 0;
    return true;
}

/* values: held now, granted, when those are free, to hold, share in thousandths, ask again after.
 */
void window_take_reply(const struct item *item, const int64_t values[ASK_REPLY_EACH],
                       const struct redis_call *call, struct mono_time now)
{
    struct limit *limit = item->limit;
    struct lease *lease = &limit->lease;
    uint64_t granted = values[1] > 0 ? (uint64_t)values[1] : 0;
    limit->reported = call->sent;
    limit->epoch = limit->on->epoch;
    limit->settled = item->stopped && lease->stopped;
    /* A few milliseconds apart, so that the holders do not all come at once. */
    limit->retry_at = mono_add_us(now, values[5] + (int64_t)random_below(2000));
    struct mono_time until = mono_add_us(call->sent, LIMITER_LEASE_US - LIMITER_LEASE_MARGIN_US);
    if (lease->alone) {
        lease->until = until;
    }
    if (item->version != limit->version || lease->alone) {
        return; /* what was granted is given up by the next report */
    }
    if (values[0] < 0 || (uint64_t)values[0] < lease->held + granted) {
        lease_lapse(lease); /* it came too late: others have them by now */
    }
    if (granted > 0) {
        struct mono_time at =
            values[2] > 0 ? lease_clock_latest(&limit->on->clock, values[2]) : now;
        lease_grant(lease, granted, now, at);
    }
    limit->target = values[3] < 0 ? 0 : (uint64_t)values[3];
    if (values[4] >= 0) {
        /* What is held is to be used: the target is rounded, the share is not. */
        double period = (double)rate_period(limit);
        double held_us = period < LIMITER_HOLD_US ? period : LIMITER_HOLD_US;
        double by_target = (double)limit->target * period / held_us;
        double share = (double)values[4] / 1000.0;
        lease_renew(lease, now, until, share > by_target ? share : by_target);
    } else {
        lease->until = until;
    }
}
