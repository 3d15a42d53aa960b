/*
 * Caps of a day of UTC, in absolute numbers: what was granted stays so.
 */
#include "redis/ask_private.h"

int64_t limiter_today(const struct limiter_node *node, struct mono_time now)
{
    const int64_t day_us = 86400000000;
    return node->clock.known ? lease_clock_theirs(&node->clock, now) / day_us : -1;
}

/* About a second of use more than what is granted. */
static uint64_t daily_want(struct limit *limit, struct mono_time now)
{
    uint64_t need = limit_need(limit, now);
    uint64_t recent = 2 * limit_recent_use(limit, now);
    return ask_clamp(recent > need ? recent : need, 1, limit->rule.amount);
}

bool daily_item(struct limit *limit, struct mono_time now, struct item *item)
{
    bool new_day = limiter_today(limit->on, now) != limit->day;
    bool wants = limit->on->state == REDIS_UP && !mono_before(now, limit->retry_at) &&
                 (limit->blocked || !list_empty(&limit->waiters));
    bool tells = limit->day >= 0 && !new_day && limit->epoch != limit->on->epoch;
    if (!wants && !tells && !limit->give_back) {
        return false;
    }
    uint64_t granted = limit->give_back ? limit->day_used : limit->day_granted;
    *item =
        (struct item){.limit = limit,
                      .version = limit->version,
                      .op = 'd',
                      .numbers = {(double)limit->rule.amount, (double)++limit->limiter->seq,
                                  (double)limit->day, limit->day < 0 ? -1 : (double)limit->day_used,
                                  limit->day < 0 ? -1 : (double)granted,
                                  wants ? (double)daily_want(limit, now) : 0}};
    limit->day_granted = granted;
    limit->give_back = limit->blocked = false;
    return true;
}

bool daily_needs_call(struct limit *limit, struct mono_time now)
{
    return limit->give_back || limit->epoch != limit->on->epoch ||
           ((limit->blocked || !list_empty(&limit->waiters)) && !mono_before(now, limit->retry_at));
}

/* values: the day, granted, what is left for all, what of it was granted now. */
void daily_take_reply(const struct item *item, const int64_t values[ASK_REPLY_EACH],
                      struct mono_time now)
{
    struct limit *limit = item->limit;
    uint64_t granted = values[1] > 0 ? (uint64_t)values[1] : 0;
    if (item->numbers[2] < 0 || values[0] != limit->day) {
        /* What was granted under our name before is used, for all that we know. */
        bool fresh = limit->day >= 0;
        limit->day = values[0];
        uint64_t now_granted = values[3] > 0 ? (uint64_t)values[3] : 0;
        limit->day_used = fresh ? 0 : granted - ask_clamp(now_granted, 0, granted);
    }
    limit->day_granted = granted;
    limit->epoch = limit->on->epoch;
    limit->retry_at = mono_add_ms(now, granted > limit->day_used ? 0 : 1000);
}
