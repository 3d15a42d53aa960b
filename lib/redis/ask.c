/*
 * What goes to Redis and what comes back. Limits that need something are collected during a turn of
 * the loop and go in one call per 32 at its end, so that the hot path never sends. Of each limit at
 * most one request is under way, and it is not freed meanwhile. Slots are reported as absolute
 * counts: a lost reply is mended by the next report.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"
#include "redis/limiter_private.h"

enum { BATCH = 32, ARGS_HEAD = 4, ARGS_EACH = 12, KEYS_HEAD = 2, REPLY_HEAD = 3, REPLY_EACH = 6 };
enum { NUMBER_MAX = 32, NUMBERS = 9, GIFTS = 64, HANDED_MAX = 2048 };
#define FAILED_RETRY_MS 5
#define SLOT_POLL_MS 150
#define BUCKETS 128 /* limiter.lua knows it too */
/* What may be needed in an interval when so much was used in a while, and nobody had to wait. */
#define DEMAND_FACTOR 2.0

struct item {
    struct limit *limit;
    unsigned version;
    char op; /* as in limiter.lua */
    double numbers[NUMBERS];
    struct strbuf handed;
};

struct batch {
    struct redis_call call;
    struct limiter_node *node;
    int64_t epoch; /* known when it was sent */
    size_t count;
    struct item items[BATCH];
};

/* ---- what a limit needs ---- */

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* With the guard: so long a used slot is busy. */
static int64_t rate_period(const struct limit *limit)
{
    return limit->lease.interval_us + limit->lease.guard_us;
}

/* What the first waiter waits for; 0: nobody waits. */
static uint64_t first_waits_for(const struct limit *limit)
{
    if (list_empty(&limit->waiters)) {
        return 0;
    }
    return CONTAINER_OF(limit->waiters.next, struct limit_waiter, node)->n;
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
    if (limit->epoch != limit->on->epoch || age_us >= LIMITER_RENEW_MS * 1000) {
        return true;
    }
    bool low = rate_period(limit) > LIMITER_HOLD_US && age_us >= LIMITER_LOW_MS * 1000 &&
               lease_unused(&limit->lease, now) * 2 < limit->target;
    return low && limit->target != UINT64_MAX && limit->unreported > 0;
}

static bool rate_wants(struct limit *limit, struct mono_time now)
{
    uint64_t need = first_waits_for(limit);
    bool wants = (need > 0 || limit->blocked) && !mono_before(now, limit->retry_at);
    return wants && (limit->lease.held < limit->target ||
                     lease_when(&limit->lease, now, need).us == INT64_MAX);
}

static bool rate_needs_call(struct limit *limit, struct mono_time now)
{
    switch (limit->on->state) {
    case REDIS_CONNECTING: return !list_empty(&limit->waiters);
    case REDIS_UP:
        return limit->give_back || rate_surplus(limit) > 0 || rate_report_is_due(limit, now) ||
               rate_wants(limit, now);
    case REDIS_LEARNING: return rate_report_is_due(limit, now);
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

static bool rate_item(struct limit *limit, struct mono_time now, struct item *item)
{
    if (!rate_needs_call(limit, now)) {
        return false;
    }
    *item = (struct item){.limit = limit, .version = limit->version, .op = 'w'};
    uint64_t freed = give_up(limit, now, &item->handed);
    const double numbers[NUMBERS] = {(double)limit->rule.amount,    (double)rate_period(limit),
                                     (double)++limit->limiter->seq, (double)limit->lease.held,
                                     rate_demand(limit, now),       (double)first_waits_for(limit),
                                     (double)limit->unreported,     (double)freed,
                                     (double)limit->rule.burst};
    memcpy(item->numbers, numbers, sizeof(numbers));
    limit->give_back = limit->blocked = false;
    limit->unreported = 0;
    return true;
}

/* ---- daily caps ---- */

int64_t limiter_today(const struct limiter_node *node, struct mono_time now)
{
    const int64_t day_us = 86400000000;
    return node->clock.known ? lease_clock_theirs(&node->clock, now) / day_us : -1;
}

/* About a second of use more than what is granted. */
static uint64_t daily_want(struct limit *limit, struct mono_time now)
{
    uint64_t need = first_waits_for(limit);
    uint64_t recent = 2 * limit_recent_use(limit, now);
    return clamp(recent > need ? recent : need, 1, limit->rule.amount);
}

static bool daily_item(struct limit *limit, struct mono_time now, struct item *item)
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

/* ---- connections ---- */

static bool slots_want_shrink(const struct limit *limit, struct mono_time now)
{
    if (limit->held == limit->used || limit->on->state == REDIS_DOWN ||
        limit->on->state == REDIS_CONNECTING) {
        return false;
    }
    return limit->over || limit_usable(limit) < limit->held ||
           (list_empty(&limit->waiters) && list_empty(&limit->woken) &&
            mono_since_us(now, limit->touched) >= LIMITER_SPARE_MS * 1000);
}

static bool slots_need_report(const struct limit *limit, struct mono_time now)
{
    int64_t every_ms = limit->crowded ? LIMITER_SLOT_LOOK_MS : LIMITER_SLOT_RENEW_MS;
    return limit->held > 0 && (limit->epoch != limit->on->epoch ||
                               mono_since_us(now, limit->reported) >= every_ms * 1000);
}

static uint64_t slots_want(const struct limit *limit, struct mono_time now)
{
    uint64_t want = clamp(limit->used + limit->waiting, limit->held,
                          limit->rule.amount > limit->held ? limit->rule.amount : limit->held);
    bool may_ask = limit->on->state == REDIS_UP && !mono_before(now, limit->retry_at);
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
    *item =
        (struct item){.limit = limit,
                      .version = limit->version,
                      .op = 's',
                      .numbers = {(double)limit->rule.amount, (double)++limit->limiter->seq,
                                  (double)limit->held, (double)want, (double)LIMITER_SLOT_TTL_US}};
    return true;
}

static bool make_item(struct limit *limit, struct mono_time now, struct item *item)
{
    switch (limit->rule.kind) {
    case LIMIT_RATE: return rate_item(limit, now, item);
    case LIMIT_SLOTS: return slots_item(limit, now, item);
    case LIMIT_DAILY: return daily_item(limit, now, item);
    }
    return false;
}

static bool needs_call(struct limit *limit, struct mono_time now)
{
    switch (limit->rule.kind) {
    case LIMIT_RATE: return rate_needs_call(limit, now);
    case LIMIT_SLOTS:
        return slots_want_shrink(limit, now) || slots_need_report(limit, now) ||
               slots_want(limit, now) != limit->held;
    case LIMIT_DAILY:
        return limit->give_back || limit->epoch != limit->on->epoch ||
               ((limit->blocked || !list_empty(&limit->waiters)) &&
                !mono_before(now, limit->retry_at));
    }
    return false;
}

void limit_ask(struct limit *limit, struct mono_time now)
{
    struct limiter_node *node = limit->on;
    if (limit->in_flight || list_linked(&limit->ask_node) || limit->limiter->freeing ||
        !redis_link_is_up(node->link) || !needs_call(limit, now)) {
        return;
    }
    list_push_back(&node->asking, &limit->ask_node);
    io_loop_defer(limit->limiter->loop, &node->flush);
}

void limiter_say_hello(struct limiter_node *node)
{
    node->hello = true;
    io_loop_defer(node->limiter->loop, &node->flush);
}

/* ---- replies ---- */

/* values: held now, granted, when those are free, to hold, share in thousandths, ask again after.
 */
static void take_rate_reply(const struct item *item, const int64_t values[REPLY_EACH],
                            const struct redis_call *call, struct mono_time now)
{
    struct limit *limit = item->limit;
    struct lease *lease = &limit->lease;
    uint64_t granted = values[1] > 0 ? (uint64_t)values[1] : 0;
    limit->reported = call->sent;
    limit->epoch = limit->on->epoch;
    /* A few milliseconds apart, so that the holders do not all come at once. */
    limit->retry_at = mono_add_us(now, values[5] + (int64_t)random_below(2000));
    if (item->version != limit->version || lease->alone) {
        return; /* what was granted is given up by the next report */
    }
    if (values[0] < 0 || (uint64_t)values[0] < lease->held + granted) {
        lease_lapse(lease); /* it came too late: others have them by now */
    }
    struct mono_time until = mono_add_us(call->sent, LIMITER_LEASE_US - LIMITER_LEASE_MARGIN_US);
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

/* values: the day, granted, what is left for all. */
static void take_daily_reply(const struct item *item, const int64_t values[REPLY_EACH],
                             struct mono_time now)
{
    struct limit *limit = item->limit;
    uint64_t granted = values[1] > 0 ? (uint64_t)values[1] : 0;
    if (item->numbers[2] < 0 || values[0] != limit->day) {
        /* What was granted under our name before is used, for all that we know. */
        bool fresh = limit->day >= 0;
        limit->day = values[0];
        uint64_t asked = (uint64_t)item->numbers[5];
        limit->day_used = fresh ? 0 : granted - clamp(asked, 0, granted);
    }
    limit->day_granted = granted;
    limit->epoch = limit->on->epoch;
    limit->retry_at = mono_add_ms(now, granted > limit->day_used ? 0 : 1000);
}

static void take_slots_reply(const struct item *item, const int64_t values[REPLY_EACH],
                             const struct redis_call *call, struct mono_time now)
{
    struct limit *limit = item->limit;
    uint64_t mine = values[0] > 0 ? (uint64_t)values[0] : 0;
    mine = mine < limit->used ? limit->used : mine;
    bool wanted_more = item->numbers[3] > (double)mine;
    limit->held = mine;
    limit->over = mine + (uint64_t)values[1] > limit->rule.amount;
    limit->crowded = 2 * (mine + (uint64_t)values[1]) >= limit->rule.amount;
    limit->keep = limit->on->state == REDIS_UP && values[2] >= 0 && item->version == limit->version
                      ? (uint64_t)values[2]
                      : UINT64_MAX;
    limit->reported = call->sent;
    limit->epoch = limit->on->epoch;
    /* Nobody tells us when another one lets go. */
    limit->retry_at =
        wanted_more ? mono_add_ms(now, SLOT_POLL_MS + (int64_t)random_below(SLOT_POLL_MS)) : now;
}

/* Everything that is held is said again. */
static void report_all(struct limiter_node *node, struct mono_time now)
{
    list_foreach (entry, &node->limiter->limits) {
        struct limit *limit = CONTAINER_OF(entry, struct limit, node);
        if (limit->on == node) {
            limit_ask(limit, now);
        }
    }
}

/* The head of every reply: Redis' clock, whose data it is, whether it still learns. */
static void take_head(struct limiter_node *node, const struct batch *batch, const int64_t *values,
                      struct mono_time now)
{
    (void)lease_clock_learn(&node->clock, batch->call.sent, now, values[0]);
    node->share_from = mono_add_us(batch->call.sent, LIMITER_LEASE_US);
    bool lost = node->epoch != values[1];
    if (lost && node->epoch != 0) {
        log_warn("redis-data-lost", "holder=%s tag=%s", node->limiter->holder, node->prefix);
    }
    node->epoch = values[1];
    bool learning = values[2] > values[0];
    node->till_us = values[2];
    limiter_set_state(node, learning ? REDIS_LEARNING : REDIS_UP);
    if (lost) {
        report_all(node, now);
    }
    if (learning && batch->epoch != node->epoch) {
        limiter_say_hello(node); /* to say that all is reported */
    }
}

static size_t reply_len(const struct batch *batch)
{
    return REPLY_HEAD + batch->count * REPLY_EACH;
}

static void on_done(struct redis_call *call, const int64_t *values, size_t count)
{
    struct batch *batch = CONTAINER_OF(call, struct batch, call);
    struct limiter_node *node = batch->node;
    CHECK_MAGIC(node->limiter, LIMITER_MAGIC);
    struct mono_time now = mono_now();
    bool good = values != NULL && count == reply_len(batch);
    if (good && !node->limiter->freeing) {
        take_head(node, batch, values, now);
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = &batch->items[i];
        const int64_t *mine = good ? &values[REPLY_HEAD + i * REPLY_EACH] : NULL;
        item->limit->in_flight = false;
        strbuf_free(&item->handed);
        if (node->limiter->freeing) {
            continue;
        }
        if (!good) {
            item->limit->retry_at = mono_add_ms(now, FAILED_RETRY_MS);
        } else if (item->op == 'w') {
            take_rate_reply(item, mine, call, now);
        } else if (item->op == 's') {
            take_slots_reply(item, mine, call, now);
        } else {
            take_daily_reply(item, mine, now);
        }
        limit_pump(item->limit);
    }
    mem_free(batch);
}

/* ---- sending ---- */

static bool all_is_reported(const struct limiter_node *node)
{
    if (node->epoch == 0) {
        return false;
    }
    list_foreach (entry, &node->limiter->limits) {
        const struct limit *limit = CONTAINER_OF(entry, struct limit, node);
        bool holds = limit->held > 0 || limit->lease.held > 0 || limit->day_granted > 0;
        if (limit->on == node && holds && limit->epoch != node->epoch) {
            return false;
        }
    }
    return true;
}

struct args {
    struct slice args[REDIS_LINK_ARGS];
    size_t count;
    char numbers[BATCH * NUMBERS + 2][NUMBER_MAX];
    size_t used;
};

static void add_number(struct args *args, double value)
{
    char *out = args->numbers[args->used++];
    args->args[args->count++] = slice_of(out, (size_t)snprintf(out, NUMBER_MAX, "%.3f", value));
}

/* As limiter.lua wants them: numbers, but for the two texts of a window. */
static void add_item(struct args *args, const struct item *item)
{
    args->args[args->count++] = slice_of(&item->op, 1);
    for (size_t k = 0; k < NUMBERS; k++) {
        if (item->op == 'w' && k == NUMBERS - 1) {
            args->args[args->count++] = strbuf_slice(&item->handed);
            args->args[args->count++] = SLICE("-");
        }
        add_number(args, item->numbers[k]);
    }
    for (size_t k = NUMBERS + 1; item->op != 'w' && k < ARGS_EACH; k++) {
        args->args[args->count++] = SLICE("0");
    }
}

static void send_batch(struct batch *batch)
{
    struct limiter_node *node = batch->node;
    struct args *args = mem_zalloc(sizeof(*args));
    struct mono_time now = mono_now();
    const struct lease_clock *clock = &node->clock;
    args->args[args->count++] = slice_cstr(node->epoch_key);
    args->args[args->count++] = slice_cstr(node->holders_key);
    for (size_t i = 0; i < batch->count; i++) {
        args->args[args->count++] = batch->items[i].limit->whole;
    }
    args->args[args->count++] = slice_cstr(node->limiter->holder);
    add_number(args, node->limiter->holders);
    args->args[args->count++] = all_is_reported(node) ? SLICE("1") : SLICE("0");
    add_number(args,
               clock->known ? (double)now.us - (double)(clock->least_us + clock->most_us) / 2 : 0);
    for (size_t i = 0; i < batch->count; i++) {
        add_item(args, &batch->items[i]);
    }
    batch->epoch = node->epoch;
    batch->call.done = on_done;
    node->hello = false;
    node->hello_sent = now;
    redis_link_call(node->link, &batch->call, KEYS_HEAD + batch->count, args->args, args->count);
    mem_free(args);
}

static struct batch *new_batch(struct limiter_node *node)
{
    struct batch *batch = mem_zalloc(sizeof(*batch));
    batch->node = node;
    return batch;
}

void limiter_flush(struct io_task *task)
{
    struct limiter_node *node = CONTAINER_OF(task, struct limiter_node, flush);
    CHECK_MAGIC(node->limiter, LIMITER_MAGIC);
    struct mono_time now = mono_now();
    struct batch *batch = NULL;
    struct list *entry;
    while ((entry = list_pop_front(&node->asking)) != NULL) {
        struct limit *limit = CONTAINER_OF(entry, struct limit, ask_node);
        if (!redis_link_is_up(node->link)) {
            continue;
        }
        if (batch == NULL) {
            batch = new_batch(node);
        }
        if (make_item(limit, now, &batch->items[batch->count])) {
            limit->in_flight = true;
            batch->count++;
        }
        if (batch->count == BATCH) {
            send_batch(batch);
            batch = NULL;
        }
    }
    if (batch == NULL && node->hello && redis_link_is_up(node->link)) {
        batch = new_batch(node);
    }
    if (batch != NULL && (batch->count > 0 || node->hello)) {
        send_batch(batch);
    } else {
        mem_free(batch);
    }
}

static bool last_item(struct limit *limit, struct mono_time now, struct item *item)
{
    switch (limit->rule.kind) {
    case LIMIT_RATE:
    case LIMIT_DAILY:
        limit->give_back = limit->lease.held > 0 || limit->day_granted > limit->day_used;
        return limit->give_back && limit->on->state == REDIS_UP && make_item(limit, now, item);
    case LIMIT_SLOTS: break;
    }
    *item = (struct item){.limit = limit,
                          .version = limit->version,
                          .op = 's',
                          .numbers = {(double)limit->rule.amount, (double)++limit->limiter->seq}};
    return limit->held > 0 || limit->in_flight;
}

void limiter_give_all_back(struct limiter_node *node)
{
    struct mono_time now = mono_now();
    struct batch *batch = NULL;
    if (!redis_link_is_up(node->link)) {
        return;
    }
    list_foreach (entry, &node->limiter->limits) {
        struct limit *limit = CONTAINER_OF(entry, struct limit, node);
        if (limit->on != node) {
            continue;
        }
        if (batch == NULL) {
            batch = new_batch(node);
        }
        if (last_item(limit, now, &batch->items[batch->count])) {
            batch->count++;
        }
        if (batch->count == BATCH) {
            send_batch(batch);
            batch = NULL;
        }
    }
    if (batch != NULL && batch->count > 0) {
        send_batch(batch);
    } else {
        mem_free(batch);
    }
}
