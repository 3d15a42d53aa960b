/*
 * See limiter.h: limits by key, taking and returning, waiters, the tick that keeps things going.
 * What goes to Redis is in ask.c. All on the loop's thread. A limit is freed by the tick only, when
 * nobody refers to it and nothing of it is in hand or under way; so a pointer to it stays good
 * during any callback.
 */
#include "redis/limiter_private.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#include <signal.h>

#define KEY_MAX 1024
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

/* So that not all holders begin in the same moment. */
static double random_phase(void)
{
    return (double)random_below(1000000) / 1e6;
}

/* A share without Redis begins when all leases have ended, and goes on while Redis learns. */
static void limit_refresh_share(struct limit *limit, struct mono_time now)
{
    const struct limiter_node *node = limit->on;
    if (limit->rule.kind != LIMIT_RATE) {
        return;
    }
    bool begins = node->state == REDIS_DOWN && !mono_before(now, node->share_from);
    if (node->state == REDIS_UP) {
        lease_end_alone(&limit->lease);
    } else if (begins || limit->lease.alone) {
        lease_go_alone(&limit->lease, limit->limiter->holders, now, random_phase());
    }
}

void limiter_refresh_shares(struct limiter_node *node)
{
    struct mono_time now = mono_now();
    list_foreach (entry, &node->limiter->limits) {
        struct limit *limit = CONTAINER_OF(entry, struct limit, node);
        if (limit->on == node) {
            limit_refresh_share(limit, now);
            limit_pump(limit);
        }
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

void limiter_set_state(struct limiter_node *node, enum redis_state state)
{
    if (node->state == state) {
        return;
    }
    log_debug("redis-state", "holder=%s tag=%s from=%s to=%s", node->limiter->holder, node->prefix,
              state_name(node->state), state_name(state));
    node->state = state;
    limiter_refresh_shares(node);
}

static void on_link_up(struct redis_link_owner *owner)
{
    struct limiter_node *node = CONTAINER_OF(owner, struct limiter_node, link_owner);
    CHECK_MAGIC(node->limiter, LIMITER_MAGIC);
    struct mono_time now = mono_now();
    list_foreach (entry, &node->limiter->limits) {
        struct limit *limit = CONTAINER_OF(entry, struct limit, node);
        if (limit->on == node) {
            limit->epoch = 0; /* say again what is held: it may have expired */
            limit->keep = UINT64_MAX;
            limit->retry_at = now;
            limit_ask(limit, now);
        }
    }
    limiter_say_hello(node);
}

static void on_link_down(struct redis_link_owner *owner)
{
    struct limiter_node *node = CONTAINER_OF(owner, struct limiter_node, link_owner);
    CHECK_MAGIC(node->limiter, LIMITER_MAGIC);
    limiter_set_state(node, REDIS_DOWN);
}

/* The worst of all. */
enum redis_state redis_limiter_state(const struct redis_limiter *limiter)
{
    static const int rank[] = {
        [REDIS_UP] = 0, [REDIS_LEARNING] = 1, [REDIS_CONNECTING] = 2, [REDIS_DOWN] = 3};
    enum redis_state worst = REDIS_UP;
    for (size_t i = 0; i < limiter->node_count; i++) {
        enum redis_state state = limiter->nodes[i].state;
        worst = rank[state] > rank[worst] ? state : worst;
    }
    return worst;
}

uint64_t redis_limiter_calls(const struct redis_limiter *limiter)
{
    uint64_t calls = 0;
    for (size_t i = 0; i < limiter->node_count; i++) {
        calls += redis_link_calls(limiter->nodes[i].link);
    }
    return calls;
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
                    uint64_t n)
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

/* The waiter waits for `blocking`; the others that lack something get it meanwhile. */
static void poke_others(const struct limit_want *wants, size_t count, const struct limit *blocking,
                        struct mono_time now)
{
    for (size_t i = 0; i < count; i++) {
        struct limit *limit = wants[i].limit;
        if (limit != blocking && limit->rule.kind != LIMIT_SLOTS &&
            !limit_grants(limit, now, wants[i].n)) {
            limit->blocked = true;
            limit_ask(limit, now);
        }
    }
}

bool redis_limits_take(struct redis_limiter *limiter, const struct limit_want *wants, size_t count,
                       struct limit_waiter *waiter)
{
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    struct mono_time now = mono_now();
    struct mono_time until = now;
    const struct limit_want *blocking = NULL;
    bool first = limiter->waking == waiter;
    redis_limit_wait_cancel(limiter, waiter);
    for (size_t i = 0; i < count; i++) {
        struct limit *limit = wants[i].limit;
        CHECK_MAGIC(limit, LIMIT_MAGIC);
        bool behind = !first && (!list_empty(&limit->waiters) || !list_empty(&limit->woken));
        if (behind || !limit_grants(limit, now, wants[i].n)) {
            struct mono_time when = limit_when(limit, now, wants[i].n);
            if (blocking == NULL || mono_before(until, when)) {
                blocking = &wants[i];
                until = when;
            }
        }
    }
    if (first) {
        limiter->waking = NULL;
    }
    if (blocking == NULL) {
        for (size_t i = 0; i < count; i++) {
            limit_take(wants[i].limit, now, wants[i].n);
        }
        return true;
    }
    blocking->limit->blocked = true;
    enqueue(blocking->limit, waiter, until, blocking->n);
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

uint64_t redis_limit_most(const struct limit *limit)
{
    return limit->rule.kind == LIMIT_SLOTS ? 1 : limit->rule.amount;
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
        redis_limits_return(limiter, &(struct limit_want){limits[i], 1}, 1);
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
        limit->waiting -= waiter_weight(limit, waiter);
    }
}

/* ---- limits by key ---- */

static bool rule_equal(const struct limit_rule *a, const struct limit_rule *b)
{
    return a->kind == b->kind && a->amount == b->amount && a->burst == b->burst &&
           (a->kind != LIMIT_RATE || a->interval_ms == b->interval_ms);
}

/* Kind and interval stand in Redis' key: what is kept there of one means nothing to another. */
static void name_key(struct limit *limit, struct slice key, const struct limit_rule *rule)
{
    static const char kinds[] = {[LIMIT_RATE] = 'w', [LIMIT_SLOTS] = 's', [LIMIT_DAILY] = 'd'};
    int64_t interval_ms = rule->kind == LIMIT_RATE ? rule->interval_ms : 0;
    size_t size = strlen(limit->on->prefix) + 32 + key.len;
    char *name = mem_zalloc(size);
    int len = snprintf(name, size, "%s%c%lld:%.*s", limit->on->prefix, kinds[rule->kind],
                       (long long)interval_ms, SLICE_FMT(key));
    CHECK(len > 0 && (size_t)len < size);
    if (limit->redis_key != NULL) {
        (void)map_remove(&limit->limiter->by_key, limit->key);
        mem_free(limit->redis_key);
    }
    limit->redis_key = name;
    limit->whole = slice_of(name, (size_t)len);
    limit->key = slice_skip(limit->whole, (size_t)len - key.len);
    map_put(&limit->limiter->by_key, limit->key, limit);
}

static void set_rule(struct limit *limit, const struct limit_rule *rule)
{
    struct mono_time now = mono_now();
    CHECK(rule->kind == limit->rule.kind || limit->version == 0);
    if (rule->interval_ms != limit->rule.interval_ms) {
        name_key(limit, limit->key, rule);
    }
    limit->rule = *rule;
    limit->version++;
    limit->retry_at = now;
    limit->keep = UINT64_MAX;
    limit->target = UINT64_MAX;
    limit->day = -1;
    if (rule->kind == LIMIT_RATE) {
        lease_set_rule(&limit->lease, rule->amount, rule->interval_ms * 1000, rule->burst);
    }
    limit->over = rule->kind == LIMIT_SLOTS && limit->held > rule->amount;
    limit_refresh_share(limit, now);
    limit_pump(limit);
}

static struct limit *limit_create(struct redis_limiter *limiter, struct slice key,
                                  const struct limit_rule *rule)
{
    struct limit *limit = mem_zalloc(sizeof(*limit));
    limit->magic = LIMIT_MAGIC;
    limit->limiter = limiter;
    limit->on = &limiter->nodes[hash_stable(key) % limiter->node_count];
    limit->rule.kind = rule->kind;
    name_key(limit, key, rule);
    list_init(&limit->waiters);
    list_init(&limit->woken);
    limit->wake.run = on_wake;
    limit->touched = mono_now();
    limit->use_since = limit->touched;
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
    lease_free(&limit->lease);
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
        limit = limit_create(limiter, key, rule);
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
           limit->held == 0 && limit->used == 0 && limit->lease.held == 0 &&
           mono_since_us(now, limit->touched) > (int64_t)LIMITER_SLOT_RENEW_MS * 1000;
}

static void tick_limit(struct limit *limit, struct mono_time now)
{
    bool idle = list_empty(&limit->waiters) && list_empty(&limit->woken) &&
                mono_since_us(now, limit->touched) > LIMITER_IDLE_MS * 1000;
    if (limit->on->state == REDIS_DOWN) {
        limit_refresh_share(limit, now);
    } else if (idle && limit->on->state == REDIS_UP) {
        limit->give_back = limit->rule.kind == LIMIT_RATE ? limit->lease.held > 0
                                                          : limit->day_granted > limit->day_used;
    }
    limit_pump(limit);
}

static void on_tick(struct timer *timer, struct mono_time now)
{
    struct redis_limiter *limiter = CONTAINER_OF(timer, struct redis_limiter, tick);
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    list_foreach_safe (node, after, &limiter->limits) {
        struct limit *limit = CONTAINER_OF(node, struct limit, node);
        if (limit_idle(limit, now)) {
            limit_free(limit);
        } else {
            tick_limit(limit, now);
        }
    }
    for (size_t i = 0; i < limiter->node_count; i++) {
        struct limiter_node *node = &limiter->nodes[i];
        if (node->state == REDIS_LEARNING &&
            (mono_since_us(now, node->hello_sent) >= LIMITER_HELLO_MS * 1000 ||
             !mono_before(now, lease_clock_latest(&node->clock, node->till_us)))) {
            limiter_say_hello(node);
        }
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
    for (size_t i = 0; i < limiter->node_count; i++) {
        limiter_refresh_shares(&limiter->nodes[i]);
    }
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

static bool open_node(struct redis_limiter *limiter, struct limiter_node *node, size_t tag,
                      const struct redis_options *options, struct fault *fault)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "{%zu}:", tag);
    node->limiter = limiter;
    node->prefix = joined(options->key_prefix == NULL ? "" : options->key_prefix, text);
    node->epoch_key = joined(node->prefix, "epoch");
    node->holders_key = joined(node->prefix, "holders");
    node->state = REDIS_CONNECTING;
    node->share_from = mono_now();
    list_init(&node->asking);
    node->flush.run = limiter_flush;
    node->link_owner = (struct redis_link_owner){on_link_up, on_link_down};
    node->link = redis_link_create(limiter->loop, options, &node->link_owner, fault);
    return node->link != NULL;
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
    limiter->seq = wall_now().ms * 1000; /* above that of the one before under this name */
    limiter->node_count = 1;
    limiter->nodes = mem_calloc(limiter->node_count, sizeof(*limiter->nodes));
    map_init(&limiter->by_key);
    list_init(&limiter->limits);
    for (size_t i = 0; i < limiter->node_count; i++) {
        if (!open_node(limiter, &limiter->nodes[i], i, options, fault)) {
            redis_limiter_free(&limiter);
            return NULL;
        }
    }
    ignore_sigpipe();
    wheel_set(io_loop_wheel(loop), &limiter->tick, mono_add_ms(mono_now(), LIMITER_TICK_MS),
              on_tick);
    return limiter;
}

static void close_node(struct limiter_node *node)
{
    io_task_cancel(&node->flush);
    mem_free(node->prefix);
    mem_free(node->epoch_key);
    mem_free(node->holders_key);
}

void redis_limiter_free(struct redis_limiter **handle)
{
    struct redis_limiter *limiter = *handle;
    if (limiter == NULL) {
        return;
    }
    CHECK_MAGIC(limiter, LIMITER_MAGIC);
    for (size_t i = 0; i < limiter->node_count; i++) {
        if (limiter->nodes[i].link != NULL) {
            limiter_give_all_back(&limiter->nodes[i]);
        }
    }
    limiter->freeing = true;
    for (size_t i = 0; i < limiter->node_count; i++) {
        if (limiter->nodes[i].link != NULL) {
            redis_link_free(&limiter->nodes[i].link, 100);
        }
    }
    list_foreach_safe (node, after, &limiter->limits) {
        limit_free(CONTAINER_OF(node, struct limit, node));
    }
    for (size_t i = 0; i < limiter->node_count; i++) {
        close_node(&limiter->nodes[i]);
    }
    wheel_cancel(io_loop_wheel(limiter->loop), &limiter->tick);
    map_free(&limiter->by_key);
    mem_free(limiter->nodes);
    mem_free(limiter->holder);
    limiter->magic = 0;
    mem_free(limiter);
    *handle = NULL;
}
