/*
 * See limiter.h: taking and returning, those who wait, and whom to wake. All on the loop's thread.
 */
#include "redis/limiter_private.h"

#include "base/random.h"

/* While nothing is known about when: the tick looks again anyhow. */
#define UNKNOWN_US 250000

/* ---- one limit ---- */

uint64_t limit_recent_use(struct limit *limit, struct mono_time now)
{
    int64_t age_us = mono_since_us(now, limit->use_since);
    if (age_us >= LIMITER_USE_MS * 1000) {
        limit->use_before = age_us >= 2 * LIMITER_USE_MS * 1000 ? 0 : limit->use_now;
        limit->use_now = 0;
        limit->use_since = now;
    }
    return limit->use_before + limit->use_now;
}

uint64_t limit_need(const struct limit *limit, struct mono_time now)
{
    if (!list_empty(&limit->waiters)) {
        return CONTAINER_OF(limit->waiters.next, struct limit_waiter, node)->n;
    }
    return mono_before(now, limit->wished_until) ? limit->wished : 0;
}

uint64_t limit_usable(const struct limit *limit)
{
    bool shared = limit->on->state == REDIS_UP && limit->keep < limit->held;
    return shared ? limit->keep : limit->held;
}

static bool day_is_over(const struct limit *limit, struct mono_time now)
{
    int64_t today = limiter_today(limit->on, now);
    return limit->day < 0 || (today >= 0 && today != limit->day);
}

/* Would it grant n now? */
static bool limit_grants(struct limit *limit, struct mono_time now, uint64_t n)
{
    switch (limit->rule.kind) {
    case LIMIT_RATE: return lease_can(&limit->lease, now, n);
    case LIMIT_SLOTS: return limit->used < limit_usable(limit);
    case LIMIT_DAILY: return !day_is_over(limit, now) && limit->day_used + n <= limit->day_granted;
    }
    return false;
}

/* When it would, as far as known; later than now. */
static struct mono_time limit_when(struct limit *limit, struct mono_time now, uint64_t n)
{
    struct mono_time when =
        limit->rule.kind == LIMIT_RATE ? lease_when(&limit->lease, now, n) : MONO_NEVER;
    if (when.us == INT64_MAX && mono_before(now, limit->retry_at)) {
        when = limit->retry_at;
    }
    if (when.us == INT64_MAX) {
        when = mono_add_us(now, limit->on->state == REDIS_UP ? 1000 : UNKNOWN_US);
    }
    return mono_before(now, when) ? when : mono_add_us(now, 1000);
}

static void limit_take(struct limit *limit, struct mono_time now, uint64_t n)
{
    limit->touched = now;
    limit->wished = 0;
    if (limit->rule.kind == LIMIT_SLOTS) {
        CHECK(limit->used < limit->held);
        limit->used++;
        return;
    }
    if (limit->rule.kind == LIMIT_RATE) {
        CHECK(lease_take(&limit->lease, now, n));
        limit->unreported += n;
    } else {
        limit->day_used += n;
    }
    (void)limit_recent_use(limit, now);
    limit->use_now += n;
    if (!limit->in_flight && !list_linked(&limit->ask_node)) {
        limit_ask(limit, now);
    }
}

static uint64_t waiter_weight(const struct limit *limit, const struct limit_waiter *waiter)
{
    return limit->rule.kind == LIMIT_SLOTS ? 1 : waiter->n;
}

void limit_wake(struct io_task *task)
{
    struct limit *limit = CONTAINER_OF(task, struct limit, wake);
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    struct list *node;
    while ((node = list_pop_front(&limit->woken)) != NULL) {
        struct limit_waiter *waiter = CONTAINER_OF(node, struct limit_waiter, node);
        waiter->blocking = NULL;
        waiter->turn = limit;
        waiter->ready(waiter);
    }
    limit_pump(limit);
}

/* How much can be promised now. */
static uint64_t limit_there(struct limit *limit, struct mono_time now)
{
    switch (limit->rule.kind) {
    case LIMIT_RATE: return lease_ready(&limit->lease, now);
    case LIMIT_SLOTS: {
        uint64_t usable = limit_usable(limit);
        return usable > limit->used ? usable - limit->used : 0;
    }
    case LIMIT_DAILY: return day_is_over(limit, now) ? 0 : limit->day_granted - limit->day_used;
    }
    return 0;
}

/* Promises what is there to those who came first. */
static void wake_waiters(struct limit *limit, struct mono_time now)
{
    if (!list_empty(&limit->woken)) {
        return; /* they take first, then it is looked at again */
    }
    uint64_t there = limit_there(limit, now);
    while (there > 0 && !list_empty(&limit->waiters)) {
        struct limit_waiter *waiter = CONTAINER_OF(limit->waiters.next, struct limit_waiter, node);
        uint64_t weight = waiter_weight(limit, waiter);
        /* A take that is more than the pace of this moment goes at once all the same. */
        if (weight > there && !(list_empty(&limit->woken) && limit_grants(limit, now, weight))) {
            break;
        }
        there -= weight < there ? weight : there;
        list_remove(&waiter->node);
        limit->waiting -= weight;
        limit->passed = waiter->begin > limit->passed ? waiter->begin : limit->passed;
        waiter->woken = true;
        list_push_back(&limit->woken, &waiter->node);
    }
    if (!list_empty(&limit->woken)) {
        io_loop_defer(limit->limiter->loop, &limit->wake);
    }
}

static void on_limit_timer(struct timer *timer, struct mono_time now)
{
    struct limit *limit = CONTAINER_OF(timer, struct limit, timer);
    (void)now;
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    limit_pump(limit);
}

void limit_pump(struct limit *limit)
{
    struct mono_time now = mono_now();
    struct wheel *wheel = io_loop_wheel(limit->limiter->loop);
    wake_waiters(limit, now);
    limit_ask(limit, now);
    if (list_empty(&limit->waiters) || !list_empty(&limit->woken)) {
        wheel_cancel(wheel, &limit->timer);
        return;
    }
    const struct limit_waiter *first = CONTAINER_OF(limit->waiters.next, struct limit_waiter, node);
    struct mono_time when = limit_when(limit, now, first->n);
    if (mono_before(now, limit->retry_at)) {
        when = mono_min(when, limit->retry_at);
    } else if (limit->in_flight && limit->rule.kind == LIMIT_SLOTS) {
        when = mono_add_us(now, UNKNOWN_US);
    }
    wheel_set(wheel, &limit->timer, when, on_limit_timer);
}

/* ---- take, return, wait ---- */

/* Start-time fair queuing (Goyal, Vin, Cheng, 1996): whoever waits begins where the last one of its
 * line ends, but not before what has passed already. Nearly all stand behind those who came before
 * them, so the place is looked for from the end. */
static void stand_in_line(struct limit *limit, struct limit_waiter *waiter, struct limit_line *line)
{
    struct list *before = limit->waiters.prev;
    waiter->line = line;
    waiter->begin = limit->passed;
    if (line != NULL) {
        waiter->begin = line->end > limit->passed ? line->end : limit->passed;
        line->end = waiter->begin + waiter_weight(limit, waiter);
    }
    while (before != &limit->waiters &&
           CONTAINER_OF(before, struct limit_waiter, node)->begin > waiter->begin) {
        before = before->prev;
    }
    list_push_front(before, &waiter->node);
}

static void enqueue(const struct limit_want *want, struct limit_waiter *waiter,
                    struct mono_time until)
{
    struct limit *limit = want->limit;
    waiter->n = want->n;
    waiter->until = until;
    waiter->blocking = limit;
    waiter->woken = false;
    if (waiter->turn == limit) {
        waiter->line = NULL;
        list_push_front(&limit->waiters, &waiter->node);
    } else {
        stand_in_line(limit, waiter, want->line);
    }
    waiter->turn = NULL;
    limit->waiting += waiter_weight(limit, waiter);
    if (limit->waiters.next == &waiter->node) {
        limit_pump(limit);
    } else {
        limit_ask(limit, mono_now());
    }
}

/* The waiter waits for `blocking`; the others keep what they have for it, and get what they lack.
 */
static void poke_others(const struct limit_want *wants, size_t count, const struct limit *blocking,
                        struct mono_time now)
{
    struct mono_time until =
        mono_add_ms(now, LIMITER_WISH_MS + (int64_t)random_below(2 * LIMITER_WISH_MS));
    for (size_t i = 0; i < count; i++) {
        struct limit *limit = wants[i].limit;
        if (limit == blocking || limit->rule.kind == LIMIT_SLOTS) {
            continue;
        }
        limit->wished = wants[i].n;
        limit->wished_until = until;
        if (!limit_grants(limit, now, wants[i].n)) {
            limit->blocked = true;
            limit_ask(limit, now);
        }
    }
}

/* Who waits for it. */
static struct limit_waiter *waiter_of(const struct limit_want *want, struct limit_waiter *fallback)
{
    return want->waiter != NULL ? want->waiter : fallback;
}

static bool grants(const struct limit_want *want, const struct limit_waiter *waiter,
                   struct mono_time now)
{
    struct limit *limit = want->limit;
    bool queue = !list_empty(&limit->waiters) || !list_empty(&limit->woken);
    return (waiter->turn != NULL || !queue) && limit_grants(limit, now, want->n);
}

static void take_all(const struct limit_want *wants, size_t count, struct limit_waiter *waiter,
                     struct mono_time now)
{
    for (size_t i = 0; i < count; i++) {
        limit_take(wants[i].limit, now, wants[i].n);
        waiter_of(&wants[i], waiter)->turn = NULL;
    }
    waiter->turn = NULL;
}

bool redis_limits_take(struct redis_limiter *limiter, const struct limit_want *wants, size_t count,
                       struct limit_waiter *waiter)
{
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    struct mono_time now = mono_now();
    struct mono_time until = now;
    const struct limit_want *blocking = NULL;
    redis_limit_wait_cancel(limiter, waiter);
    for (size_t i = 0; i < count; i++) {
        struct limit *limit = wants[i].limit;
        CHECK_MAGIC(limit, LIMIT_MAGIC);
        redis_limit_wait_cancel(limiter, waiter_of(&wants[i], waiter));
        if (!grants(&wants[i], waiter_of(&wants[i], waiter), now)) {
            struct mono_time when = limit_when(limit, now, wants[i].n);
            if (blocking == NULL || mono_before(until, when)) {
                blocking = &wants[i];
                until = when;
            }
        }
    }
    if (blocking == NULL) {
        take_all(wants, count, waiter, now);
        return true;
    }
    blocking->limit->blocked = true;
    enqueue(blocking, waiter_of(blocking, waiter), until);
    poke_others(wants, count, blocking->limit, now);
    return false;
}

void redis_limits_return(struct redis_limiter *limiter, const struct limit_want *wants,
                         size_t count)
{
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    for (size_t i = 0; i < count; i++) {
        struct limit *limit = wants[i].limit;
        uint64_t n = wants[i].n;
        CHECK_MAGIC(limit, LIMIT_MAGIC);
        switch (limit->rule.kind) {
        case LIMIT_SLOTS:
            CHECK(limit->used > 0);
            limit->used--;
            limit->touched = mono_now();
            break;
        case LIMIT_RATE:
            lease_untake(&limit->lease, n);
            limit->unreported -= n < limit->unreported ? n : limit->unreported;
            break;
        case LIMIT_DAILY: limit->day_used -= n < limit->day_used ? n : limit->day_used; break;
        }
        limit_pump(limit);
    }
}

double redis_limit_rate(const struct limit *limit)
{
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    CHECK(limit->rule.kind == LIMIT_RATE);
    return (double)limit->rule.amount * 1000.0 / (double)limit->rule.interval_ms;
}

double redis_limit_share(const struct limit *limit)
{
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    CHECK(limit->rule.kind == LIMIT_RATE);
    return limit->lease.step_us > 0 ? 1e6 / limit->lease.step_us : 0;
}

uint64_t redis_limit_most(const struct limit *limit)
{
    return limit->rule.kind == LIMIT_SLOTS ? 1 : limit->rule.amount;
}

uint64_t redis_limit_at_once(const struct limit *limit)
{
    uint64_t most = redis_limit_most(limit);
    uint64_t part = limit->rule.kind == LIMIT_RATE ? lease_part_alone(&limit->lease) : most;
    return part < most ? part : most;
}

bool redis_limit_surplus(const struct limit *limit)
{
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    return limit->rule.kind == LIMIT_SLOTS && limit->used - limit->leaving > limit_usable(limit);
}

bool redis_limit_is_wanted(const struct limit *limit)
{
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    return limit->rule.kind == LIMIT_SLOTS && limit->on->state == REDIS_UP && limit->wanted;
}

void redis_limits_leave(struct redis_limiter *limiter, struct limit *const *limits, size_t count)
{
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    for (size_t i = 0; i < count; i++) {
        CHECK_MAGIC(limits[i], LIMIT_MAGIC);
        CHECK(limits[i]->rule.kind == LIMIT_SLOTS && limits[i]->leaving < limits[i]->used);
        limits[i]->leaving++;
    }
}

void redis_limits_left(struct redis_limiter *limiter, struct limit *const *limits, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK_MAGIC(limits[i], LIMIT_MAGIC);
        CHECK(limits[i]->leaving > 0);
        limits[i]->leaving--;
        redis_limits_return(limiter, &(struct limit_want){.limit = limits[i], .n = 1}, 1);
    }
}

void redis_limit_rest(struct limit *limit)
{
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    if (limit->rule.kind == LIMIT_RATE && limit->lease.held > 0 && limit->on->state == REDIS_UP &&
        list_empty(&limit->waiters) && list_empty(&limit->woken)) {
        limit->give_back = true;
        limit_ask(limit, mono_now());
    }
}

void redis_limit_wait_cancel(struct redis_limiter *limiter, struct limit_waiter *waiter)
{
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    if (!list_linked(&waiter->node)) {
        return;
    }
    struct limit *limit = waiter->blocking;
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    list_remove(&waiter->node);
    waiter->blocking = NULL;
    if (!waiter->woken) {
        uint64_t weight = waiter_weight(limit, waiter);
        limit->waiting -= weight;
        if (waiter->line != NULL && waiter->line->end == waiter->begin + weight) {
            waiter->line->end = waiter->begin; /* who asks again and again does not fall behind */
        }
    }
}
