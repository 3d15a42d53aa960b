/*
 * What goes to Redis and what comes back. Limits that need something are collected during a turn of
 * the loop and go in one call per 32 at its end, so that the hot path never sends. Of each limit at
 * most one request is under way, and it is not freed meanwhile. Slots are reported as absolute
 * counts: a lost reply is mended by the next report.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "redis/limiter_private.h"

enum { BATCH = 32, ARGS_HEAD = 3, ARGS_EACH = 6, KEYS_HEAD = 2, REPLY_HEAD = 3, REPLY_EACH = 3 };
enum { NUMBER_MAX = 32 };
#define FAILED_RETRY_MS 5
#define SLOT_POLL_MS 150

struct item {
    struct limit *limit;
    unsigned version;
    char op; /* as in limiter.lua */
    double args[5];
};

struct batch {
    struct redis_call call;
    struct redis_limiter *limiter;
    int64_t epoch; /* known when it was sent */
    size_t count;
    struct item items[BATCH];
};

/* ---- what a limit needs ---- */

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* Tokens that the first waiter needs together: fewer would lapse while it waits for the rest. */
static uint64_t rate_least(const struct limit *limit)
{
    if (list_empty(&limit->waiters)) {
        return 1;
    }
    const struct limit_waiter *first = CONTAINER_OF(limit->waiters.next, struct limit_waiter, node);
    return lease_needed(&limit->pace, first->n);
}

static uint64_t rate_wants(struct limit *limit, struct mono_time now)
{
    const struct redis_limiter *limiter = limit->limiter;
    if (limiter->state != REDIS_UP || mono_before(now, limit->retry_at) ||
        limit->lease.count + 2 > LEASE_PARTS) {
        return 0;
    }
    uint64_t least = rate_least(limit);
    uint64_t largest = limit->pace.largest > least ? limit->pace.largest : least;
    uint64_t demand = limit->waiting + limit->lease.debt + (limit->poked ? 1 : 0);
    uint64_t recent = limit_recent_use(limit, now);
    uint64_t left = lease_left(&limit->lease, now);
    bool low = left * 2 <= limit->last_grant ||
               mono_since_us(lease_end(&limit->lease, now), now) < LIMITER_PREFETCH_US;
    if (demand > 0) {
        bool more = left < clamp(demand, 1, largest) || low;
        return more ? clamp(demand > 2 * recent ? demand : 2 * recent, least, largest) : 0;
    }
    return recent > 0 && low && largest >= LIMITER_SCARCE ? clamp(recent, 1, largest) : 0;
}

static bool rate_item(struct limit *limit, struct mono_time now, struct item *item)
{
    if (limit->give_back) {
        int64_t end_us, length_us;
        limit->give_back = false;
        if (lease_cut_tail(&limit->lease, now, &end_us, &length_us)) {
            *item = (struct item){
                limit, limit->version, 'g', {(double)end_us, (double)length_us, 0, 0, 0}};
            return true;
        }
    }
    uint64_t want = rate_wants(limit, now);
    limit->poked = false;
    if (want == 0) {
        return false;
    }
    *item = (struct item){limit,
                          limit->version,
                          'r',
                          {limit->pace.step_us, (double)limit->pace.slack_us, (double)want,
                           (double)LIMITER_AHEAD_US, (double)rate_least(limit)}};
    return true;
}

static bool slots_want_shrink(const struct limit *limit, struct mono_time now)
{
    if (limit->held == limit->used || limit->limiter->state == REDIS_DOWN ||
        limit->limiter->state == REDIS_CONNECTING) {
        return false;
    }
    return limit->over || limit_usable(limit) < limit->held ||
           (list_empty(&limit->waiters) && list_empty(&limit->woken) &&
            mono_since_us(now, limit->touched) >= LIMITER_SPARE_MS * 1000);
}

static bool slots_need_report(const struct limit *limit, struct mono_time now)
{
    int64_t every_ms = limit->crowded ? LIMITER_SLOT_LOOK_MS : LIMITER_SLOT_RENEW_MS;
    return limit->held > 0 && (limit->epoch != limit->limiter->epoch ||
                               mono_since_us(now, limit->reported) >= every_ms * 1000);
}

static uint64_t slots_want(const struct limit *limit, struct mono_time now)
{
    uint64_t want = clamp(limit->used + limit->waiting, limit->held,
                          limit->rule.amount > limit->held ? limit->rule.amount : limit->held);
    bool may_ask = limit->limiter->state == REDIS_UP && !mono_before(now, limit->retry_at);
    return may_ask ? want : limit->held;
}

static bool slots_item(struct limit *limit, struct mono_time now, struct item *item)
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
    *item = (struct item){limit,
                          limit->version,
                          's',
                          {(double)limit->rule.amount, (double)limit->held, (double)want,
                           (double)LIMITER_SLOT_TTL_US, 0}};
    return true;
}

static bool needs_call(struct limit *limit, struct mono_time now)
{
    if (limit->rule.kind == LIMIT_SLOTS) {
        return slots_want_shrink(limit, now) || slots_need_report(limit, now) ||
               slots_want(limit, now) != limit->held;
    }
    return limit->give_back || rate_wants(limit, now) > 0;
}

void limit_ask(struct limit *limit, struct mono_time now)
{
    struct redis_limiter *limiter = limit->limiter;
    if (limit->in_flight || list_linked(&limit->ask_node) || limiter->freeing ||
        !redis_link_is_up(limiter->link) || !needs_call(limit, now)) {
        return;
    }
    list_push_back(&limiter->asking, &limit->ask_node);
    io_loop_defer(limiter->loop, &limiter->flush);
}

void limiter_say_hello(struct redis_limiter *limiter)
{
    limiter->hello = true;
    io_loop_defer(limiter->loop, &limiter->flush);
}

/* ---- replies ---- */

static void take_rate_reply(struct redis_limiter *limiter, const struct item *item,
                            const int64_t values[REPLY_EACH], struct mono_time now)
{
    struct limit *limit = item->limit;
    if (values[0] <= 0) {
        /* A few milliseconds apart, so that the holders do not all come at once. */
        limit->retry_at = mono_add_us(now, values[2] + (int64_t)random_below(2000));
        return;
    }
    limit->retry_at = now;
    limit->last_grant = (uint32_t)values[0];
    if (item->version == limit->version) {
        (void)lease_add(&limit->lease, &limit->pace, &limiter->clock, (uint32_t)values[0],
                        values[1], values[2]);
    }
}

static void take_slots_reply(struct redis_limiter *limiter, const struct item *item,
                             const int64_t values[REPLY_EACH], const struct redis_call *call,
                             struct mono_time now)
{
    struct limit *limit = item->limit;
    uint64_t mine = values[0] > 0 ? (uint64_t)values[0] : 0;
    mine = mine < limit->used ? limit->used : mine;
    bool wanted_more = item->args[2] > (double)mine;
    limit->held = mine;
    limit->over = mine + (uint64_t)values[1] > limit->rule.amount;
    limit->crowded = 2 * (mine + (uint64_t)values[1]) >= limit->rule.amount;
    limit->keep = limiter->state == REDIS_UP && values[2] >= 0 && item->version == limit->version
                      ? (uint64_t)values[2]
                      : UINT64_MAX;
    limit->reported = call->sent;
    limit->epoch = limiter->epoch;
    /* Nobody tells us when another one lets go. */
    limit->retry_at =
        wanted_more ? mono_add_ms(now, SLOT_POLL_MS + (int64_t)random_below(SLOT_POLL_MS)) : now;
}

/* The head of every reply: Redis' clock, whose data it is, whether it still learns. */
static void take_head(struct redis_limiter *limiter, const struct batch *batch,
                      const int64_t *values, struct mono_time now)
{
    (void)lease_clock_learn(&limiter->clock, batch->call.sent, now, values[0]);
    if (limiter->epoch != values[1]) {
        if (limiter->epoch != 0) {
            log_warn("redis-data-lost", "holder=%s", limiter->holder);
        }
        limiter->epoch = values[1];
        if (limiter->state == REDIS_UP) {
            /* Emptied under our hands: what the others hold of it reaches so far. */
            limiter->share_from = mono_add_us(now, LIMITER_AHEAD_US);
        }
    } else if (limiter->state == REDIS_UP) {
        limiter->share_from = mono_add_us(batch->call.sent, LIMITER_AHEAD_US);
    }
    bool learning = values[2] > values[0];
    bool moved = limiter->till_us != values[2];
    limiter->till_us = values[2];
    if (learning && moved && limiter->state == REDIS_LEARNING) {
        limiter_refresh_shares(limiter); /* they end at the new time */
    }
    limiter_set_state(limiter, learning ? REDIS_LEARNING : REDIS_UP);
    if (learning && batch->epoch != limiter->epoch) {
        limiter_say_hello(limiter); /* to say that all is reported */
    }
}

static void on_done(struct redis_call *call, const int64_t *values, size_t count)
{
    struct batch *batch = CONTAINER_OF(call, struct batch, call);
    struct redis_limiter *limiter = batch->limiter;
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    struct mono_time now = mono_now();
    bool good = values != NULL && count == REPLY_HEAD + batch->count * REPLY_EACH;
    if (good && !limiter->freeing) {
        take_head(limiter, batch, values, now);
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = &batch->items[i];
        item->limit->in_flight = false;
        if (limiter->freeing) {
            continue;
        }
        if (!good) {
            item->limit->retry_at = mono_add_ms(now, FAILED_RETRY_MS);
        } else if (item->op == 'r') {
            take_rate_reply(limiter, item, &values[REPLY_HEAD + i * REPLY_EACH], now);
        } else if (item->op == 's') {
            take_slots_reply(limiter, item, &values[REPLY_HEAD + i * REPLY_EACH], call, now);
        }
        limit_pump(item->limit);
    }
    mem_free(batch);
}

/* ---- sending ---- */

static bool all_slots_reported(const struct redis_limiter *limiter)
{
    if (limiter->epoch == 0) {
        return false;
    }
    list_foreach (node, &limiter->limits) {
        const struct limit *limit = CONTAINER_OF(node, struct limit, node);
        if (limit->rule.kind == LIMIT_SLOTS && limit->held > 0 && limit->epoch != limiter->epoch) {
            return false;
        }
    }
    return true;
}

static struct slice number(char out[NUMBER_MAX], double value)
{
    return slice_of(out, (size_t)snprintf(out, NUMBER_MAX, "%.6f", value));
}

static void send_batch(struct batch *batch)
{
    struct redis_limiter *limiter = batch->limiter;
    char numbers[BATCH * 5 + 1][NUMBER_MAX];
    struct slice args[REDIS_LINK_ARGS];
    size_t n = 0, used = 0;
    args[n++] = slice_cstr(limiter->epoch_key);
    args[n++] = slice_cstr(limiter->holders_key);
    for (size_t i = 0; i < batch->count; i++) {
        args[n++] = batch->items[i].limit->whole;
    }
    args[n++] = slice_cstr(limiter->holder);
    args[n++] = number(numbers[used++], limiter->holders);
    args[n++] = all_slots_reported(limiter) ? SLICE("1") : SLICE("0");
    for (size_t i = 0; i < batch->count; i++) {
        const struct item *item = &batch->items[i];
        args[n++] = slice_of(&item->op, 1);
        for (size_t k = 0; k < ARRAY_LEN(item->args); k++) {
            args[n++] = number(numbers[used++], item->args[k]);
        }
    }
    batch->epoch = limiter->epoch;
    batch->call.done = on_done;
    limiter->hello = false;
    limiter->hello_sent = mono_now();
    redis_link_call(limiter->link, &batch->call, KEYS_HEAD + batch->count, args, n);
}

static struct batch *new_batch(struct redis_limiter *limiter)
{
    struct batch *batch = mem_zalloc(sizeof(*batch));
    batch->limiter = limiter;
    return batch;
}

void limiter_flush(struct io_task *task)
{
    struct redis_limiter *limiter = CONTAINER_OF(task, struct redis_limiter, flush);
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    struct mono_time now = mono_now();
    struct batch *batch = NULL;
    struct list *node;
    while ((node = list_pop_front(&limiter->asking)) != NULL) {
        struct limit *limit = CONTAINER_OF(node, struct limit, ask_node);
        if (!redis_link_is_up(limiter->link)) {
            continue;
        }
        if (batch == NULL) {
            batch = new_batch(limiter);
        }
        struct item *item = &batch->items[batch->count];
        bool needed = limit->rule.kind == LIMIT_SLOTS ? slots_item(limit, now, item)
                                                      : rate_item(limit, now, item);
        if (needed) {
            limit->in_flight = true;
            batch->count++;
        }
        if (batch->count == BATCH) {
            send_batch(batch);
            batch = NULL;
        }
    }
    if (batch == NULL && limiter->hello && redis_link_is_up(limiter->link)) {
        batch = new_batch(limiter);
    }
    if (batch != NULL && (batch->count > 0 || limiter->hello)) {
        send_batch(batch);
    } else {
        mem_free(batch);
    }
}

void limiter_give_all_back(struct redis_limiter *limiter)
{
    struct mono_time now = mono_now();
    struct batch *batch = NULL;
    if (!redis_link_is_up(limiter->link)) {
        return;
    }
    list_foreach (node, &limiter->limits) {
        struct limit *limit = CONTAINER_OF(node, struct limit, node);
        int64_t end_us, length_us;
        struct item item = {limit, limit->version, 's', {(double)limit->rule.amount, 0, 0, 0, 0}};
        if (limit->rule.kind == LIMIT_RATE) {
            if (!lease_cut_tail(&limit->lease, now, &end_us, &length_us)) {
                continue;
            }
            item = (struct item){
                limit, limit->version, 'g', {(double)end_us, (double)length_us, 0, 0, 0}};
        } else if (limit->held == 0 && !limit->in_flight) {
            continue;
        }
        if (batch == NULL) {
            batch = new_batch(limiter);
        }
        batch->items[batch->count++] = item;
        if (batch->count == BATCH) {
            send_batch(batch);
            batch = NULL;
        }
    }
    if (batch != NULL) {
        send_batch(batch);
    }
}
