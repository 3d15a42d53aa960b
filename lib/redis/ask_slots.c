/*
 * Connections: how many are held, how many are wanted, and what the reply says.
 */
#include "base/random.h"
#include "redis/ask_private.h"

#define SLOT_POLL_MS 150
#define SLOT_POLL_DUE_MS 30

static bool slots_want_shrink(const struct limit *limit, struct mono_time now)
{
    if (limit->held == limit->used || limit->on->state == REDIS_DOWN ||
        limit->on->state == REDIS_CONNECTING) {
        return false;
    }
    int64_t spare_ms = limit->wanted ? LIMITER_SPARE_WANTED_MS : LIMITER_SPARE_MS;
    return limit->over || limit_usable(limit) < limit->held ||
           (list_empty(&limit->waiters) && list_empty(&limit->woken) &&
            mono_since_us(now, limit->touched) >= spare_ms * 1000);
}

static bool slots_need_report(const struct limit *limit, struct mono_time now)
{
    int64_t every_ms = limit->crowded ? LIMITER_SLOT_LOOK_MS : LIMITER_SLOT_RENEW_MS;
    return limit->held > 0 && (limit->epoch != limit->on->epoch ||
                               mono_since_us(now, limit->reported) >= every_ms * 1000);
}

static uint64_t slots_want(const struct limit *limit, struct mono_time now)
{
    uint64_t want = ask_clamp(limit->used + limit->waiting, limit->held,
                              limit->rule.amount > limit->held ? limit->rule.amount : limit->held);
    bool may_ask = limit->on->state == REDIS_UP && !mono_before(now, limit->retry_at);
    return may_ask ? want : limit->held;
}

bool slots_item(struct limit *limit, struct mono_time now, struct item *item)
{
    bool shrink = slots_want_shrink(limit, now);
    uint64_t want = slots_want(limit, now);
    if (!shrink && want == limit->held && !slots_need_report(limit, now)) {
        return false;
    }
    if (shrink) {
        /* Lowered here before it is lowered there. */
        uint64_t usable = limit_usable(limit);
        bool surplus = usable < limit->held && !limit->over;
        limit->held = surplus && usable > limit->used ? usable : limit->used;
        want = limit->held;
    }
    *item =
        (struct item){.limit = limit,
                      .version = limit->version,
                      .op = 's',
                      .numbers = {(double)limit->rule.amount, (double)++limit->limiter->seq,
                                  (double)limit->held, (double)want, (double)LIMITER_SLOT_TTL_US}};
    return true;
}

bool slots_needs_call(struct limit *limit, struct mono_time now)
{
    return slots_want_shrink(limit, now) || slots_need_report(limit, now) ||
           slots_want(limit, now) != limit->held;
}

/* Nobody tells us when another one lets go. Who is next looks often while that is likely: a holder
 * hears of it within LIMITER_SLOT_LOOK_MS and ends what it has begun, which may take long. */
static struct mono_time slots_next_look(const struct limit *limit, struct mono_time now)
{
    int64_t ms = SLOT_POLL_MS;
    if (limit->due) {
        int64_t part_ms = mono_since_us(now, limit->due_since) / 8000;
        ms = (int64_t)ask_clamp((uint64_t)part_ms, SLOT_POLL_DUE_MS, SLOT_POLL_MS);
    }
    return mono_add_ms(now, ms + (int64_t)random_below((uint32_t)ms));
}

void slots_take_reply(const struct item *item, const int64_t values[ASK_REPLY_EACH],
                      const struct redis_call *call, struct mono_time now)
{
    struct limit *limit = item->limit;
    uint64_t mine = values[0] > 0 ? (uint64_t)values[0] : 0;
    mine = mine < limit->used ? limit->used : mine;
    bool wanted_more = item->numbers[3] > (double)mine;
    if (mine > limit->held) {
        /* Fresh: kept for a while, as who waits for it may need one of another limit first. Given
         * back at once, two limits that are needed together would come and go by turns for ever. */
        limit->touched = now;
    }
    limit->held = mine;
    limit->over = mine + (uint64_t)values[1] > limit->rule.amount;
    limit->crowded = 2 * (mine + (uint64_t)values[1]) >= limit->rule.amount;
    limit->wanted = values[3] > 0;
    limit->keep = limit->on->state == REDIS_UP && values[2] >= 0 && item->version == limit->version
                      ? (uint64_t)values[2]
                      : UINT64_MAX;
    limit->reported = call->sent;
    limit->epoch = limit->on->epoch;
    bool due = wanted_more && limit->keep != UINT64_MAX && limit->keep > mine;
    limit->due_since = due && !limit->due ? now : limit->due_since;
    limit->due = due;
    limit->retry_at = wanted_more ? slots_next_look(limit, now) : now;
}
