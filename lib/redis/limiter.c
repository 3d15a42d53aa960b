/*
 * See limiter.h: limits by key, taking and returning, waiters, the tick that keeps things going.
 * What goes to Redis is in ask.c. All on the loop's thread. A limit is freed by the tick only, when
 * nobody refers to it and nothing of it is in hand or under way; so a pointer to it stays good
 * during any callback.
 */
#include "redis/limiter_private.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#include <signal.h>

#define KEY_MAX 1024
/* A token of a scarce rate is not asked for while another limit says no for longer than this. */
#define POKE_WITHIN_US 500000
/* While nothing is known about when: the tick looks again anyhow. */
#define UNKNOWN_US 250000

void redis_options_default(struct redis_options *options)
{
    *options = (struct redis_options){.host = "127.0.0.1",
                                      .port = 6379,
                                      .key_prefix = "sluice:",
                                      .connect_timeout_ms = 1000,
                                      .command_timeout_ms = 500};
}

/* ---- state and shares ---- */

static double random_phase(void)
{
    /* Half a step to one and a half: on average the share, and not all holders in the same moment.
     */
    return 0.5 + (double)random_below(1000000) / 1e6;
}

static void limit_refresh_share(struct limit *limit, struct mono_time now)
{
    const struct redis_limiter *limiter = limit->limiter;
    if (limit->rule.kind != LIMIT_RATE) {
        return;
    }
    if (limiter->state == REDIS_UP || limiter->state == REDIS_CONNECTING) {
        lease_drop_share(&limit->lease);
        return;
    }
    struct mono_time start = mono_before(now, limiter->share_from) ? limiter->share_from : now;
    struct mono_time end = limiter->state == REDIS_LEARNING
                               ? lease_clock_earliest(&limiter->clock, limiter->till_us)
                               : MONO_NEVER;
    lease_add_share(&limit->lease, &limit->share_pace, start, end, random_phase());
}

void limiter_refresh_shares(struct redis_limiter *limiter)
{
    struct mono_time now = mono_now();
    list_foreach (node, &limiter->limits) {
        struct limit *limit = CONTAINER_OF(node, struct limit, node);
        limit_refresh_share(limit, now);
        limit_pump(limit);
    }
}

static const char *state_name(enum redis_state state)
{
    switch (state) {
    case REDIS_CONNECTING: return "connecting";
    case REDIS_UP: return "up";
    case REDIS_LEARNING: return "learning";
    case REDIS_DOWN: return "down";
    }
    return "?";
}

void limiter_set_state(struct redis_limiter *limiter, enum redis_state state)
{
    if (limiter->state == state) {
        return;
    }
    log_debug("redis-state", "holder=%s from=%s to=%s", limiter->holder, state_name(limiter->state),
              state_name(state));
    limiter->state = state;
    limiter_refresh_shares(limiter);
}

static void on_link_up(struct redis_link_owner *owner)
{
    struct redis_limiter *limiter = CONTAINER_OF(owner, struct redis_limiter, link_owner);
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    struct mono_time now = mono_now();
    list_foreach (node, &limiter->limits) {
        struct limit *limit = CONTAINER_OF(node, struct limit, node);
        limit->epoch = 0; /* say again what is held: it may have expired */
        limit->keep = UINT64_MAX;
        limit->retry_at = now;
        limit_ask(limit, now);
    }
    limiter_say_hello(limiter);
}

static void on_link_down(struct redis_link_owner *owner)
{
    struct redis_limiter *limiter = CONTAINER_OF(owner, struct redis_limiter, link_owner);
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    limiter_set_state(limiter, REDIS_DOWN);
}

enum redis_state redis_limiter_state(const struct redis_limiter *limiter)
{
    return limiter->state;
}

uint64_t redis_limiter_calls(const struct redis_limiter *limiter)
{
    return redis_link_calls(limiter->link);
}

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

uint64_t limit_usable(const struct limit *limit)
{
    bool shared = limit->limiter->state == REDIS_UP && limit->keep < limit->held;
    return shared ? limit->keep : limit->held;
}

/* Would it grant n now? */
static bool limit_grants(struct limit *limit, struct mono_time now, uint32_t n)
{
    if (limit->rule.kind == LIMIT_SLOTS) {
        return limit->used < limit_usable(limit);
    }
    return lease_ready(&limit->lease, now) >= lease_needed(&limit->pace, n);
}

/* When it would, as far as known; later than now. */
static struct mono_time limit_when(struct limit *limit, struct mono_time now, uint32_t n)
{
    struct mono_time when = MONO_NEVER;
    if (limit->rule.kind == LIMIT_RATE) {
        when = lease_when(&limit->lease, now, lease_needed(&limit->pace, n));
        if (when.us == INT64_MAX && mono_before(now, limit->retry_at)) {
            when = mono_add_us(limit->retry_at, LIMITER_AHEAD_US);
        }
    } else if (mono_before(now, limit->retry_at)) {
        when = limit->retry_at;
    }
    if (when.us == INT64_MAX) {
        when = mono_add_us(now, limit->limiter->state == REDIS_UP ? 1000 : UNKNOWN_US);
    }
    return mono_before(now, when) ? when : mono_add_us(now, 1000);
}

static void limit_take(struct limit *limit, struct mono_time now, uint32_t n)
{
    limit->touched = now;
    if (limit->rule.kind == LIMIT_SLOTS) {
        CHECK(limit->used < limit->held);
        limit->used++;
        return;
    }
    CHECK(lease_take(&limit->lease, &limit->pace, now, n));
    (void)limit_recent_use(limit, now);
    limit->use_now += n;
    if (!limit->in_flight && !list_linked(&limit->ask_node)) {
        limit_ask(limit, now);
    }
}

static uint32_t waiter_weight(const struct limit *limit, const struct limit_waiter *waiter)
{
    return limit->rule.kind == LIMIT_SLOTS ? 1 : waiter->n;
}

static void on_wake(struct io_task *task)
{
    struct limit *limit = CONTAINER_OF(task, struct limit, wake);
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    struct redis_limiter *limiter = limit->limiter;
    struct list *node;
    while ((node = list_pop_front(&limit->woken)) != NULL) {
        struct limit_waiter *waiter = CONTAINER_OF(node, struct limit_waiter, node);
        waiter->blocking = NULL;
        limiter->waking = waiter;
        waiter->ready(waiter);
        limiter->waking = NULL;
    }
    limit_pump(limit);
}

/* Promises what is there to those who came first. */
static void wake_waiters(struct limit *limit, struct mono_time now)
{
    if (!list_empty(&limit->woken)) {
        return; /* they take first, then it is looked at again */
    }
    uint64_t there;
    if (limit->rule.kind == LIMIT_SLOTS) {
        uint64_t usable = limit_usable(limit);
        there = usable > limit->used ? usable - limit->used : 0;
    } else {
        there = lease_ready(&limit->lease, now);
    }
    while (there > 0 && !list_empty(&limit->waiters)) {
        struct limit_waiter *waiter = CONTAINER_OF(limit->waiters.next, struct limit_waiter, node);
        uint32_t weight = waiter_weight(limit, waiter);
        uint32_t needed = limit->rule.kind == LIMIT_SLOTS ? 1 : lease_needed(&limit->pace, weight);
        if (needed > there) {
            break;
        }
        there -= weight < there ? weight : there;
        list_remove(&waiter->node);
        limit->waiting -= weight;
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

static void enqueue(struct limit *limit, struct limit_waiter *waiter, struct mono_time until,
                    uint32_t n)
{
    waiter->n = n;
    waiter->until = until;
    waiter->blocking = limit;
    waiter->woken = false;
    list_push_back(&limit->waiters, &waiter->node);
    limit->waiting += waiter_weight(limit, waiter);
    if (limit->waiters.next == &waiter->node) {
        limit_pump(limit);
    } else {
        limit_ask(limit, mono_now());
    }
}

/* The waiter waits for `blocking`; the others that lack something get it meanwhile, if it would not
 * lapse. */
static void poke_others(struct limit *const *limits, size_t count, const struct limit *blocking,
                        struct mono_time until, struct mono_time now, uint32_t n)
{
    bool soon = mono_since_us(until, now) <= POKE_WITHIN_US;
    for (size_t i = 0; i < count; i++) {
        struct limit *limit = limits[i];
        if (limit != blocking && soon && limit->rule.kind == LIMIT_RATE &&
            !limit_grants(limit, now, n)) {
            limit->poked = true;
            limit_ask(limit, now);
        }
    }
}

bool redis_limits_take(struct redis_limiter *limiter, struct limit *const *limits, size_t count,
                       uint32_t n, struct limit_waiter *waiter)
{
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    struct mono_time now = mono_now();
    struct mono_time until = now;
    struct limit *blocking = NULL;
    bool first = limiter->waking == waiter;
    redis_limit_wait_cancel(limiter, waiter);
    for (size_t i = 0; i < count; i++) {
        struct limit *limit = limits[i];
        CHECK_MAGIC(limit, LIMIT_MAGIC);
        bool behind = !first && (!list_empty(&limit->waiters) || !list_empty(&limit->woken));
        if (behind || !limit_grants(limit, now, n)) {
            struct mono_time when = limit_when(limit, now, n);
            if (blocking == NULL || mono_before(until, when)) {
                blocking = limit;
                until = when;
            }
        }
    }
    if (first) {
        limiter->waking = NULL;
    }
    if (blocking == NULL) {
        for (size_t i = 0; i < count; i++) {
            limit_take(limits[i], now, n);
        }
        return true;
    }
    enqueue(blocking, waiter, until, n);
    poke_others(limits, count, blocking, until, now, n);
    return false;
}

void redis_limits_return(struct redis_limiter *limiter, struct limit *const *limits, size_t count,
                         uint32_t n)
{
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    for (size_t i = 0; i < count; i++) {
        struct limit *limit = limits[i];
        CHECK_MAGIC(limit, LIMIT_MAGIC);
        if (limit->rule.kind == LIMIT_SLOTS) {
            CHECK(limit->used > 0);
            limit->used--;
            limit->touched = mono_now();
        } else {
            lease_untake(&limit->lease, n);
        }
        limit_pump(limit);
    }
}

bool redis_limit_surplus(const struct limit *limit)
{
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    return limit->rule.kind == LIMIT_SLOTS && limit->used - limit->leaving > limit_usable(limit);
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
    }
    redis_limits_return(limiter, limits, count, 1);
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
        limit->waiting -= waiter_weight(limit, waiter);
    }
}

/* ---- limits by key ---- */

static bool rule_equal(const struct limit_rule *a, const struct limit_rule *b)
{
    return a->kind == b->kind && a->amount == b->amount && a->burst == b->burst &&
           (a->kind == LIMIT_SLOTS || a->interval_ms == b->interval_ms);
}

static void set_paces(struct limit *limit)
{
    const struct limit_rule *rule = &limit->rule;
    if (rule->kind == LIMIT_RATE) {
        unsigned holders = limit->limiter->holders;
        lease_pace_set(&limit->pace, rule->amount, rule->interval_ms, rule->burst, holders);
        lease_pace_share(&limit->share_pace, rule->amount, rule->interval_ms, rule->burst, holders);
    }
}

static void set_rule(struct limit *limit, const struct limit_rule *rule)
{
    struct mono_time now = mono_now();
    CHECK(rule->kind == limit->rule.kind || limit->version == 0);
    limit->rule = *rule;
    limit->version++;
    limit->retry_at = now;
    limit->last_grant = 0;
    limit->keep = UINT64_MAX;
    lease_clear(&limit->lease);
    set_paces(limit);
    limit->over = rule->kind == LIMIT_SLOTS && limit->held > rule->amount;
    limit_refresh_share(limit, now);
    limit_pump(limit);
}

/* The kind stands in Redis' key, so that a rate never meets the hash of slots of the same name. */
static struct limit *limit_create(struct redis_limiter *limiter, struct slice key,
                                  enum limit_kind kind)
{
    struct limit *limit = mem_zalloc(sizeof(*limit));
    size_t before = strlen(limiter->prefix);
    limit->magic = LIMIT_MAGIC;
    limit->limiter = limiter;
    limit->rule.kind = kind;
    size_t size = before + 2 + key.len + 1;
    limit->redis_key = mem_zalloc(size);
    (void)snprintf(limit->redis_key, size, "%s%s%.*s", limiter->prefix,
                   kind == LIMIT_RATE ? "r:" : "s:", SLICE_FMT(key));
    limit->whole = slice_of(limit->redis_key, size - 1);
    limit->key = slice_skip(limit->whole, before + 2);
    list_init(&limit->waiters);
    list_init(&limit->woken);
    limit->wake.run = on_wake;
    limit->touched = mono_now();
    limit->use_since = limit->touched;
    map_put(&limiter->by_key, limit->key, limit);
    list_push_back(&limiter->limits, &limit->node);
    return limit;
}

static void limit_free(struct limit *limit)
{
    CHECK(limit->refs == 0 && list_empty(&limit->waiters) && list_empty(&limit->woken));
    wheel_cancel(io_loop_wheel(limit->limiter->loop), &limit->timer);
    io_task_cancel(&limit->wake);
    list_remove(&limit->ask_node);
    list_remove(&limit->node);
    (void)map_remove(&limit->limiter->by_key, limit->key);
    limit->magic = 0;
    mem_free(limit->redis_key);
    mem_free(limit);
}

struct limit *redis_limit_get(struct redis_limiter *limiter, struct slice key,
                              const struct limit_rule *rule)
{
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    CHECK(key.len > 0 && key.len <= KEY_MAX && !slice_has_control(key));
    struct limit *limit = map_get(&limiter->by_key, key);
    if (limit == NULL) {
        limit = limit_create(limiter, key, rule->kind);
    }
    if (limit->version == 0 || !rule_equal(&limit->rule, rule)) {
        set_rule(limit, rule);
    }
    limit->refs++;
    return limit;
}

void redis_limit_put(struct limit **handle)
{
    struct limit *limit = *handle;
    if (limit == NULL) {
        return;
    }
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    CHECK(limit->refs > 0);
    limit->refs--;
    *handle = NULL;
}

struct slice redis_limit_key(const struct limit *limit)
{
    return limit->key;
}

/* ---- the limiter ---- */

static bool limit_idle(const struct limit *limit, struct mono_time now)
{
    return limit->refs == 0 && !limit->in_flight && !list_linked(&limit->ask_node) &&
           limit->held == 0 && limit->used == 0 &&
           mono_since_us(now, limit->touched) > (int64_t)LIMITER_SLOT_RENEW_MS * 1000;
}

static void on_tick(struct timer *timer, struct mono_time now)
{
    struct redis_limiter *limiter = CONTAINER_OF(timer, struct redis_limiter, tick);
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    list_foreach_safe (node, after, &limiter->limits) {
        struct limit *limit = CONTAINER_OF(node, struct limit, node);
        if (limit_idle(limit, now)) {
            limit_free(limit);
            continue;
        }
        if (limit->rule.kind == LIMIT_RATE && limiter->state == REDIS_UP &&
            list_empty(&limit->waiters) &&
            mono_since_us(now, limit->touched) > LIMITER_IDLE_MS * 1000 &&
            lease_left(&limit->lease, now) > 0) {
            limit->give_back = true;
        }
        limit_pump(limit);
    }
    if (limiter->state == REDIS_LEARNING &&
        (mono_since_us(now, limiter->hello_sent) >= LIMITER_HELLO_MS * 1000 ||
         !mono_before(now, lease_clock_latest(&limiter->clock, limiter->till_us)))) {
        limiter_say_hello(limiter);
    }
    wheel_set(io_loop_wheel(limiter->loop), timer, mono_add_ms(now, LIMITER_TICK_MS), on_tick);
}

void redis_limiter_set_holders(struct redis_limiter *limiter, unsigned holders)
{
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    holders = holders == 0 ? 1 : holders;
    if (holders == limiter->holders) {
        return;
    }
    limiter->holders = holders;
    list_foreach (node, &limiter->limits) {
        set_paces(CONTAINER_OF(node, struct limit, node));
    }
    limiter_refresh_shares(limiter);
}

static void ignore_sigpipe(void)
{
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &action, NULL);
    }
}

static char *joined(const char *a, const char *b)
{
    size_t size = strlen(a) + strlen(b) + 1;
    char *text = mem_zalloc(size);
    (void)snprintf(text, size, "%s%s", a, b);
    return text;
}

struct redis_limiter *redis_limiter_create(struct io_loop *loop,
                                           const struct redis_options *options, const char *holder,
                                           struct fault *fault)
{
    struct redis_limiter *limiter = mem_zalloc(sizeof(*limiter));
    limiter->magic = LIMITER_MAGIC;
    limiter->loop = loop;
    limiter->holders = 1;
    limiter->holder = mem_strdup(holder);
    /* The hash tag: one slot of a Redis Cluster for all keys of a call. Several shards would be
     * several tags. */
    limiter->prefix = joined(options->key_prefix == NULL ? "" : options->key_prefix, "{0}:");
    limiter->epoch_key = joined(limiter->prefix, "epoch");
    limiter->holders_key = joined(limiter->prefix, "holders");
    limiter->state = REDIS_CONNECTING;
    limiter->share_from = mono_now();
    map_init(&limiter->by_key);
    list_init(&limiter->limits);
    list_init(&limiter->asking);
    limiter->flush.run = limiter_flush;
    limiter->link_owner = (struct redis_link_owner){on_link_up, on_link_down};
    limiter->link = redis_link_create(loop, options, &limiter->link_owner, fault);
    if (limiter->link == NULL) {
        redis_limiter_free(&limiter);
        return NULL;
    }
    ignore_sigpipe();
    wheel_set(io_loop_wheel(loop), &limiter->tick, mono_add_ms(mono_now(), LIMITER_TICK_MS),
              on_tick);
    return limiter;
}

void redis_limiter_free(struct redis_limiter **handle)
{
    struct redis_limiter *limiter = *handle;
    if (limiter == NULL) {
        return;
    }
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    if (limiter->link != NULL) {
        limiter_give_all_back(limiter);
        limiter->freeing = true;
        redis_link_free(&limiter->link, 100);
    }
    list_foreach_safe (node, after, &limiter->limits) {
        limit_free(CONTAINER_OF(node, struct limit, node));
    }
    io_task_cancel(&limiter->flush);
    wheel_cancel(io_loop_wheel(limiter->loop), &limiter->tick);
    map_free(&limiter->by_key);
    mem_free(limiter->holder);
    mem_free(limiter->prefix);
    mem_free(limiter->epoch_key);
    mem_free(limiter->holders_key);
    limiter->magic = 0;
    mem_free(limiter);
    *handle = NULL;
}
