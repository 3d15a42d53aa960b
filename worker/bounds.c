#include "worker/bounds.h"

#include "base/mem.h"

#define NAME_MAX_BYTES 1024
#define DAY_SECONDS 86400.0
/* A share that is less than that part of a rate is one of a worker that has asked for nothing. */
#define SHARERS_MOST 1000

static struct limit_rule rule_of(const struct config_limit *limit)
{
    switch (limit->kind) {
    case CONFIG_LIMIT_CONNECTIONS:
        return (struct limit_rule){.kind = LIMIT_SLOTS, .amount = limit->amount - limit->reserved};
    case CONFIG_LIMIT_DAILY:
        return (struct limit_rule){.kind = LIMIT_DAILY, .amount = limit->amount};
    case CONFIG_LIMIT_CONNECTS:
    case CONFIG_LIMIT_RECIPIENTS:
    case CONFIG_LIMIT_BYTES:
    case CONFIG_LIMIT_PER_CONNECTION:
    case CONFIG_LIMIT_PER_TRANSACTION:
    case CONFIG_LIMIT_KINDS: break;
    }
    return (struct limit_rule){.kind = LIMIT_RATE,
                               .amount = limit->amount,
                               .interval_ms = limit->interval_ms,
                               .burst = limit->burst};
}

static void least(uint64_t *value, uint64_t other)
{
    *value = other < *value ? other : *value;
}

static void add(struct bounds *bounds, struct redis_limiter *limiter,
                const struct config_limit *limit, const struct config_subject *subject)
{
    const struct limit_rule rule = rule_of(limit);
    struct strbuf name;
    CHECK(limiter != NULL);
    strbuf_init(&name, NAME_MAX_BYTES);
    config_limit_name(limit, subject, &name);
    struct bound *bound = &bounds->items[bounds->count++];
    *bound = (struct bound){.kind = limit->kind};
    bound->limit = redis_limit_get(limiter, strbuf_slice(&name), &rule);
    if (limit->reserved > 0) {
        const struct limit_rule reserved = {.kind = LIMIT_SLOTS, .amount = limit->reserved};
        (void)strbuf_add_cstr(&name, "-reserved");
        bound->reserved = redis_limit_get(limiter, strbuf_slice(&name), &reserved);
    }
    CHECK(!name.overflow);
    strbuf_free(&name);
}

/* Recipients in a second at most. */
static void slow_down(struct bounds *bounds, const struct config_limit *limit)
{
    double seconds =
        limit->kind == CONFIG_LIMIT_DAILY ? DAY_SECONDS : (double)limit->interval_ms / 1000.0;
    double rate = (double)limit->amount / seconds;
    bounds->rate = bounds->rate == 0 || rate < bounds->rate ? rate : bounds->rate;
}

void bounds_make(struct bounds *bounds, struct redis_limiter *limiter, const struct config *config,
                 const struct config_subject *subject, enum config_limit_level level)
{
    size_t count;
    struct config_binding *bindings = config_limits_for(config, subject, level, &count);
    *bounds = (struct bounds){.per_connection = UINT64_MAX, .per_transaction = UINT64_MAX};
    bounds->items = mem_calloc(count + 1, sizeof(*bounds->items));
    for (size_t i = 0; i < count; i++) {
        const struct config_limit *limit = bindings[i].limit;
        if (bindings[i].by != NULL || limit->amount == 0) {
            continue;
        }
        switch (limit->kind) {
        case CONFIG_LIMIT_PER_CONNECTION: least(&bounds->per_connection, limit->amount); break;
        case CONFIG_LIMIT_PER_TRANSACTION: least(&bounds->per_transaction, limit->amount); break;
        case CONFIG_LIMIT_RECIPIENTS:
        case CONFIG_LIMIT_DAILY:
            slow_down(bounds, limit);
            add(bounds, limiter, limit, subject);
            break;
        case CONFIG_LIMIT_CONNECTIONS:
        case CONFIG_LIMIT_CONNECTS:
        case CONFIG_LIMIT_BYTES: add(bounds, limiter, limit, subject); break;
        case CONFIG_LIMIT_KINDS: break;
        }
    }
    mem_free(bindings);
}

void bounds_free(struct bounds *bounds)
{
    for (size_t i = 0; i < bounds->count; i++) {
        redis_limit_put(&bounds->items[i].limit);
        if (bounds->items[i].reserved != NULL) {
            redis_limit_put(&bounds->items[i].reserved);
        }
    }
    mem_free(bounds->items);
    *bounds = (struct bounds){0};
}

uint64_t bounds_at_once(const struct bounds *bounds)
{
    uint64_t most = UINT64_MAX;
    for (size_t i = 0; i < bounds->count; i++) {
        const struct bound *bound = &bounds->items[i];
        if (bound->kind == CONFIG_LIMIT_RECIPIENTS || bound->kind == CONFIG_LIMIT_DAILY) {
            least(&most, redis_limit_at_once(bound->limit));
        }
    }
    return most;
}

size_t bounds_wants(struct bounds *bounds, unsigned kinds, const struct bounds_need *need,
                    struct limit_waiter *waiter, struct limit_want *out)
{
    size_t count = 0;
    for (size_t i = 0; i < bounds->count; i++) {
        struct bound *bound = &bounds->items[i];
        if ((kinds >> bound->kind & 1u) == 0) {
            continue;
        }
        uint64_t n = 1;
        if (bound->kind == CONFIG_LIMIT_RECIPIENTS || bound->kind == CONFIG_LIMIT_DAILY) {
            n = need->recipients;
        } else if (bound->kind == CONFIG_LIMIT_BYTES) {
            /* A message that is larger than a whole interval may have takes the interval. */
            n = need->bytes > 0 ? need->bytes : 1;
            least(&n, redis_limit_most(bound->limit));
        }
        bool reserved = (kinds & BOUNDS_RESERVED) != 0 && bound->reserved != NULL;
        out[count++] = (struct limit_want){bound_slots(bound, reserved), n, waiter,
                                           reserved ? &bound->reserved_line : &bound->line};
    }
    return count;
}

double bounds_rate(const struct bounds *bounds)
{
    return bounds->rate;
}

double bounds_share(const struct bounds *bounds)
{
    double rate = bounds->rate;
    for (size_t i = 0; i < bounds->count; i++) {
        if (bounds->items[i].kind == CONFIG_LIMIT_RECIPIENTS) {
            double share = redis_limit_share(bounds->items[i].limit);
            rate = share < rate && share * SHARERS_MOST > rate ? share : rate;
        }
    }
    return rate;
}

struct limit *bound_slots(const struct bound *bound, bool reserved)
{
    return reserved && bound->reserved != NULL ? bound->reserved : bound->limit;
}
