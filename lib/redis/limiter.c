/*
 * See limiter.h: limits by key, and the tick that keeps things going. Taking and waiting is in
 * take.c, what goes to Redis in ask.c, going on without it in alone.c. All on the loop's thread. A
 * limit is freed by the tick only, when nobody refers to it and nothing of it is in hand or under
 * way; so a pointer to it stays good during any callback.
 */
#include "redis/limiter_private.h"

#include "redis/script.h"

#include "base/log.h"
#include "base/mem.h"

#include <signal.h>

#define KEY_MAX 1024
#define FREE_WAIT_MS 100

/* ---- the way to Redis ---- */

static void on_way_up(struct redis_tag_owner *owner)
{
    struct limiter_node *node = CONTAINER_OF(owner, struct limiter_node, tag_owner);
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

static void on_way_down(struct redis_tag_owner *owner)
{
    struct limiter_node *node = CONTAINER_OF(owner, struct limiter_node, tag_owner);
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
    return redis_tags_calls(limiter->tags);
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
    limit->on = &limiter->nodes[redis_tags_of(limiter->tags, key)];
    limit->rule.kind = rule->kind;
    name_key(limit, key, rule);
    list_init(&limit->waiters);
    list_init(&limit->woken);
    list_init(&limit->sources);
    limit->wake.run = limit_wake;
    limit->touched = mono_now();
    limit->use_since = limit->touched;
    list_push_back(&limiter->limits, &limit->node);
    return limit;
}

static void limit_free(struct limit *limit)
{
    CHECK(limit->refs == 0 && list_empty(&limit->waiters) && list_empty(&limit->woken));
    CHECK(list_empty(&limit->sources));
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
    bool idle = list_empty(&limit->woken) && limit_need(limit, now) == 0 &&
                mono_since_us(now, limit->touched) > LIMITER_IDLE_MS * 1000;
    if (limit->on->state == REDIS_DOWN || limit->lease.alone) {
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
        int64_t silent_us = mono_since_us(now, node->hello_sent);
        bool learning = node->state == REDIS_LEARNING;
        bool over = learning && !mono_before(now, lease_clock_latest(&node->clock, node->till_us));
        if (over || silent_us >= (learning ? LIMITER_HELLO_MS : LIMITER_IDLE_HELLO_MS) * 1000) {
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

static void open_node(struct redis_limiter *limiter, struct limiter_node *node,
                      struct redis_tag *tag, const char *key_prefix)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%s:", redis_tag_text(tag));
    node->limiter = limiter;
    node->prefix = joined(key_prefix == NULL ? "" : key_prefix, text);
    node->epoch_key = joined(node->prefix, "epoch");
    node->holders_key = joined(node->prefix, "holders");
    node->state = REDIS_CONNECTING;
    node->heard = node->lost = mono_now();
    list_init(&node->asking);
    node->flush.run = limiter_flush;
    node->tag = tag;
    node->tag_owner = (struct redis_tag_owner){on_way_up, on_way_down};
    redis_tag_own(tag, &node->tag_owner);
}

struct redis_limiter *redis_limiter_create(struct io_loop *loop,
                                           const struct redis_options *options, const char *holder,
                                           struct fault *fault)
{
    struct redis_tags *tags =
        redis_tags_create(loop, options, slice_of(redis_limiter_lua, redis_limiter_lua_len), fault);
    if (tags == NULL) {
        return NULL;
    }
    struct redis_limiter *limiter = mem_zalloc(sizeof(*limiter));
    limiter->magic = LIMITER_MAGIC;
    limiter->loop = loop;
    limiter->holders = 1;
    limiter->holder = mem_strdup(holder);
    limiter->seq = wall_now().ms * 1000; /* above that of the one before under this name */
    limiter->tags = tags;
    limiter->node_count = redis_tags_count(tags);
    limiter->nodes = mem_calloc(limiter->node_count, sizeof(*limiter->nodes));
    map_init(&limiter->by_key);
    list_init(&limiter->limits);
    for (size_t i = 0; i < limiter->node_count; i++) {
        open_node(limiter, &limiter->nodes[i], redis_tags_at(tags, i), options->key_prefix);
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
        limiter_give_all_back(&limiter->nodes[i]);
    }
    limiter->freeing = true;
    redis_tags_free(&limiter->tags, FREE_WAIT_MS);
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
