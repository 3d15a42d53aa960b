/*
 * What goes to Redis and what comes back. Limits that need something are collected during a turn of
 * the loop and go in one call per 32 at its end, so that the hot path never sends. Of each limit at
 * most one request is under way, and it is not freed meanwhile. Slots are reported as absolute
 * counts: a lost reply is mended by the next report.
 */
#include "redis/ask_private.h"

#include "base/log.h"
#include "base/mem.h"

enum { BATCH = 32, ARGS_HEAD = 5, ARGS_EACH = 12, KEYS_HEAD = 2, REPLY_HEAD = 3, NUMBER_MAX = 32 };
#define FAILED_RETRY_MS 5
#define CAME_LATE (-1) /* limiter.lua knows it too */

struct batch {
    struct redis_call call;
    struct limiter_node *node;
    int64_t epoch; /* known when it was sent */
    char word;     /* limiter_word() */
    size_t count;
    struct item items[BATCH];
};

/* ---- what is to be asked ---- */

static bool make_item(struct limit *limit, struct mono_time now, struct item *item)
{
    switch (limit->rule.kind) {
    case LIMIT_RATE: return window_item(limit, now, item);
    case LIMIT_SLOTS: return slots_item(limit, now, item);
    case LIMIT_DAILY: return daily_item(limit, now, item);
    }
    return false;
}

static bool needs_call(struct limit *limit, struct mono_time now)
{
    switch (limit->rule.kind) {
    case LIMIT_RATE: return window_needs_call(limit, now);
    case LIMIT_SLOTS: return slots_needs_call(limit, now);
    case LIMIT_DAILY: return daily_needs_call(limit, now);
    }
    return false;
}

void limit_ask(struct limit *limit, struct mono_time now)
{
    struct limiter_node *node = limit->on;
    if (limit->in_flight || list_linked(&limit->ask_node) || limit->limiter->freeing ||
        !redis_tag_is_up(node->tag) || !needs_call(limit, now)) {
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
    node->heard = batch->call.sent;
    node->was_alone = node->was_alone && batch->word != LIMITER_WORD_ALONE;
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
    size_t len = REPLY_HEAD + batch->count * ASK_REPLY_EACH;
    for (size_t i = 0; i < batch->count; i++) {
        len += batch->items[i].tenant_count;
    }
    return len;
}

/* Redis knows a younger call under our name. It is not ours, of which one at a time is under way:
 * the process before had that name, and our clock has been set back. We go on above it, and say
 * again what we hold. */
static void came_late(struct limit *limit, int64_t last, struct mono_time now)
{
    struct redis_limiter *limiter = limit->limiter;
    limiter->seq = last > limiter->seq ? last : limiter->seq;
    limit->epoch = 0;
    limit->retry_at = now;
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
    size_t at = REPLY_HEAD;
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = &batch->items[i];
        const int64_t *mine = good ? &values[at] : NULL;
        at += ASK_REPLY_EACH + item->tenant_count;
        item->limit->in_flight = false;
        strbuf_free(&item->handed);
        strbuf_free(&item->weights);
        if (node->limiter->freeing) {
            continue;
        }
        if (!good) {
            item->limit->retry_at = mono_add_ms(now, FAILED_RETRY_MS);
        } else if (mine[0] == CAME_LATE) {
            came_late(item->limit, mine[1], now);
        } else if (item->op == 'w') {
            window_take_reply(item, mine, call, now);
            tenants_take_reply(item, mine + ASK_REPLY_EACH);
        } else if (item->op == 's') {
            slots_take_reply(item, mine, call, now);
        } else {
            daily_take_reply(item, mine, now);
        }
        limit_pump(item->limit);
    }
    if (!node->limiter->freeing && node->state == REDIS_LEARNING &&
        batch->word != LIMITER_WORD_STOPPED && limiter_word(node, now) == LIMITER_WORD_STOPPED) {
        limiter_say_hello(node); /* Redis waits for that word */
    }
    mem_free(batch);
}

/* ---- sending ---- */

struct args {
    struct slice args[REDIS_LINK_ARGS];
    size_t count;
    char numbers[BATCH * ASK_NUMBERS + 2][NUMBER_MAX];
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
    for (size_t k = 0; k < ASK_NUMBERS; k++) {
        if (item->op == 'w' && k == ASK_NUMBERS - 1) {
            args->args[args->count++] = strbuf_slice(&item->handed);
            args->args[args->count++] = strbuf_slice(&item->weights);
        }
        add_number(args, item->numbers[k]);
    }
    for (size_t k = ASK_NUMBERS + 1; item->op != 'w' && k < ARGS_EACH; k++) {
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
    batch->word = limiter_word(node, now);
    args->args[args->count++] = slice_of(&batch->word, 1);
    add_number(args,
               clock->known ? (double)now.us - (double)(clock->least_us + clock->most_us) / 2 : 0);
    args->args[args->count++] = redis_tag_server(node->tag);
    for (size_t i = 0; i < batch->count; i++) {
        add_item(args, &batch->items[i]);
    }
    batch->epoch = node->epoch;
    batch->call.done = on_done;
    node->hello = false;
    node->hello_sent = now;
    redis_tag_call(node->tag, &batch->call, KEYS_HEAD + batch->count, args->args, args->count);
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
        if (!redis_tag_is_up(node->tag)) {
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
    if (batch == NULL && node->hello && redis_tag_is_up(node->tag)) {
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
        return limit->give_back && limit->on->epoch != 0 && make_item(limit, now, item);
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
    if (!redis_tag_is_up(node->tag)) {
        return;
    }
    limiter_stop_for_good(node);
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
    if (batch != NULL && (batch->count > 0 || node->state == REDIS_LEARNING)) {
        send_batch(batch);
    } else {
        mem_free(batch);
    }
}
