/*
 * What ask.c (calls and their replies) needs to know of each kind of limit: ask_window.c (rates),
 * ask_slots.c (connections), ask_daily.c (caps of a day).
 */
#ifndef SLUICE_REDIS_ASK_PRIVATE_H
#define SLUICE_REDIS_ASK_PRIVATE_H

#include "base/strbuf.h"
#include "redis/limiter_private.h"

enum { ASK_NUMBERS = 9, ASK_REPLY_EACH = 6 };
#define ITEM_WEIGHTS_MAX 2048

/* What is asked for one limit. */
struct item {
    struct limit *limit;
    unsigned version;
    bool stopped; /* the lease was, so it is all that was used */
    char op;      /* as in limiter.lua */
    double numbers[ASK_NUMBERS];
    struct strbuf handed, weights; /* of a window */
    struct limit_tenant tenants[LIMIT_TENANTS];
    size_t tenant_count;
};

static inline uint64_t ask_clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* Is there something to ask? */
bool window_needs_call(struct limit *limit, struct mono_time now);
bool slots_needs_call(struct limit *limit, struct mono_time now);
bool daily_needs_call(struct limit *limit, struct mono_time now);

/* What; false: nothing. What is given up is taken off at once. */
bool window_item(struct limit *limit, struct mono_time now, struct item *item);
bool slots_item(struct limit *limit, struct mono_time now, struct item *item);
bool daily_item(struct limit *limit, struct mono_time now, struct item *item);

/* Whose mail waits for a rate, and what the reply says of each. */
void tenants_tell(struct limit *limit, struct item *item);
void tenants_take_reply(const struct item *item, const int64_t *values);

/* The numbers of the reply that are about it. */
void window_take_reply(const struct item *item, const int64_t values[ASK_REPLY_EACH],
                       const struct redis_call *call, struct mono_time now);
void slots_take_reply(const struct item *item, const int64_t values[ASK_REPLY_EACH],
                      const struct redis_call *call, struct mono_time now);
void daily_take_reply(const struct item *item, const int64_t values[ASK_REPLY_EACH],
                      struct mono_time now);

#endif
