/*
 * Whose mail waits for a rate: told to Redis with each report, by a number (a hash of the name) and
 * the weight; told back is how much of that weight counts here. All on the loop's thread.
 */
#include "redis/ask_private.h"

#include "base/hash.h"

struct limit_tenants {
    struct limit_tenant items[LIMIT_TENANTS];
    size_t count;
    double rest; /* those that there is no room for, as one */
};

static double clamp_weight(double weight)
{
    return weight < 0.001 ? 0.001 : weight > 1e6 ? 1e6 : weight;
}

/* The lightest makes room for a heavier one. */
static void squeeze_in(struct limit_tenants *tenants, uint64_t id, double weight)
{
    struct limit_tenant *lightest = &tenants->items[0];
    for (size_t i = 1; i < tenants->count; i++) {
        if (tenants->items[i].weight < lightest->weight) {
            lightest = &tenants->items[i];
        }
    }
    if (weight > lightest->weight) {
        tenants->rest += lightest->weight;
        *lightest = (struct limit_tenant){id, weight, 1};
    } else {
        tenants->rest += weight;
    }
}

void limit_tenants_add(struct limit_tenants *tenants, uint64_t id, double weight)
{
    weight = clamp_weight(weight);
    for (size_t i = 0; i < tenants->count; i++) {
        if (tenants->items[i].id == id) {
            return;
        }
    }
    if (tenants->count < LIMIT_TENANTS - 1) { /* the last one is for the rest */
        tenants->items[tenants->count++] = (struct limit_tenant){id, weight, 1};
    } else {
        squeeze_in(tenants, id, weight);
    }
}

void redis_limit_add_source(struct limit *limit, struct limit_source *source)
{
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    CHECK(limit->rule.kind == LIMIT_RATE);
    list_push_back(&limit->sources, &source->node);
}

double redis_limit_part(const struct limit *limit, uint64_t id)
{
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    for (size_t i = 0; i < limit->tenant_count; i++) {
        if (limit->tenants[i].id == id) {
            return limit->tenants[i].part;
        }
    }
    return 0;
}

uint64_t redis_limit_told(const struct limit *limit)
{
    CHECK_MAGIC(limit, LIMIT_MAGIC);
    return limit->told;
}

void tenants_tell(struct limit *limit, struct item *item)
{
    struct limit_tenants tenants = {.count = 0};
    list_foreach (node, &limit->sources) {
        struct limit_source *source = CONTAINER_OF(node, struct limit_source, node);
        source->list(source, &tenants);
    }
    if (tenants.rest > 0) {
        uint64_t own = hash_stable(slice_cstr(limit->limiter->holder));
        tenants.items[tenants.count++] = (struct limit_tenant){own, clamp_weight(tenants.rest), 1};
    }
    strbuf_init(&item->weights, ITEM_WEIGHTS_MAX);
    for (size_t i = 0; i < tenants.count; i++) {
        const struct limit_tenant *tenant = &tenants.items[i];
        item->tenants[i] = *tenant;
        (void)strbuf_addf(&item->weights, "%llu:%.3f,", (unsigned long long)tenant->id,
                          tenant->weight);
    }
    item->tenant_count = tenants.count;
    if (tenants.count == 0) {
        (void)strbuf_add_byte(&item->weights, '-');
    }
    CHECK(!item->weights.overflow);
}

/* values: each weight as it counts, in thousandths; 0: nothing new is said. */
void tenants_take_reply(const struct item *item, const int64_t *values)
{
    struct limit *limit = item->limit;
    limit->tenant_count = 0;
    limit->told++;
    for (size_t i = 0; i < item->tenant_count; i++) {
        const struct limit_tenant *told = &item->tenants[i];
        double part = (double)values[i] / 1000.0 / told->weight;
        if (part <= 0) {
            continue;
        }
        limit->tenants[limit->tenant_count++] =
            (struct limit_tenant){told->id, told->weight, part < 1 ? part : 1};
    }
}
