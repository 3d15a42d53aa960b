#include "worker/fair.h"

#include "worker/lane.h"
#include "worker/worker.h"

#include "base/hash.h"
#include "base/mem.h"

/* A contract of so many recipients an hour is a weight of one; no contract counts as 10,000/h. */
#define UNIT_PER_HOUR 100000.0
#define LEAST_WEIGHT 0.1
#define MOST_WEIGHT 1000.0
/* Mail that has not waited for so long is no backlog: its tenant uses less than its part. */
#define BACKLOG_AFTER_MS 500

struct fair_taken {
    uint64_t count;
    double own; /* what its own part was meanwhile, while its mail waited */
    size_t name_len;
    char name[];
};

struct fair_source {
    struct limit_source source;
    struct limit *limit;
    struct lane *lane;
};

static double contracted(const struct lane *lane, struct slice name)
{
    const struct config_tenant *tenant = config_tenant_named(lane->shard->worker->config, name);
    if (tenant == NULL || tenant->rate.amount == 0) {
        return LEAST_WEIGHT;
    }
    double per_hour = (double)tenant->rate.amount * 3600000.0 / (double)tenant->rate.interval_ms;
    double weight = per_hour / UNIT_PER_HOUR;
    return weight < LEAST_WEIGHT ? LEAST_WEIGHT : weight > MOST_WEIGHT ? MOST_WEIGHT : weight;
}

uint32_t fair_weight(const struct lane *lane, struct slice tenant)
{
    const struct limit *scarce = lane->fair.scarce;
    double weight = contracted(lane, tenant);
    double part = scarce == NULL ? 0 : redis_limit_part(scarce, hash_stable(tenant));
    weight *= part > 0 ? part : 1;
    weight *= QUEUE_WEIGHT_ONE;
    return weight < QUEUE_WEIGHT_LEAST ? QUEUE_WEIGHT_LEAST : (uint32_t)weight;
}

struct teller {
    const struct lane *lane;
    struct limit_tenants *tenants;
    struct mono_time before; /* what waits since then is a backlog */
    bool all, any;
};

static void tell(void *owner, struct slice name, const struct mail *first)
{
    struct teller *teller = owner;
    if (teller->all || mono_before(first->queued, teller->before)) {
        teller->any = true;
        limit_tenants_add(teller->tenants, hash_stable(name), contracted(teller->lane, name));
    }
}

static void list_tenants(struct limit_source *source, struct limit_tenants *tenants)
{
    struct lane *lane = CONTAINER_OF(source, struct fair_source, source)->lane;
    struct teller teller = {.lane = lane, .tenants = tenants};
    CHECK_MAGIC(lane, LANE_MAGIC);
    teller.before = mono_add_ms(io_loop_now(lane->shard->loop), -BACKLOG_AFTER_MS);
    queue_foreach_tenant(&lane->queue, tell, &teller);
    if (!teller.any) { /* a lane that has just begun: whoever has mail */
        teller.all = true;
        queue_foreach_tenant(&lane->queue, tell, &teller);
    }
}

static void watch(struct lane *lane, const struct bounds *bounds)
{
    for (size_t i = 0; i < bounds->count; i++) {
        const struct bound *bound = &bounds->items[i];
        if (bound->kind != CONFIG_LIMIT_RECIPIENTS && bound->kind != CONFIG_LIMIT_BYTES) {
            continue;
        }
        struct fair_source *source = &lane->fair.sources[lane->fair.count++];
        *source = (struct fair_source){{.list = list_tenants}, bound->limit, lane};
        redis_limit_add_source(bound->limit, &source->source);
    }
}

void fair_begin(struct lane *lane)
{
    size_t room = lane->bounds.count;
    for (size_t i = 0; i < lane->vip_count; i++) {
        room += lane->vips[i].bounds.count;
    }
    lane->fair = (struct fair){.sources = mem_calloc(room + 1, sizeof(*lane->fair.sources)),
                               .looked = io_loop_now(lane->shard->loop)};
    map_init(&lane->fair.taken);
    watch(lane, &lane->bounds);
    for (size_t i = 0; i < lane->vip_count; i++) {
        watch(lane, &lane->vips[i].bounds);
    }
}

void fair_end(struct lane *lane)
{
    for (size_t i = 0; i < lane->fair.count; i++) {
        list_remove(&lane->fair.sources[i].source.node);
    }
    fair_account(lane, reporter_usage(lane->shard->reporter));
    map_free(&lane->fair.taken);
    mem_free(lane->fair.sources);
    lane->fair = (struct fair){0};
}

/* ---- what is borrowed ---- */

void fair_took(struct lane *lane, struct slice name, size_t recipients)
{
    if (lane->fair.scarce == NULL) {
        return;
    }
    struct fair_taken *taken = map_get(&lane->fair.taken, name);
    if (taken == NULL) {
        taken = mem_zalloc(sizeof(*taken) + name.len + 1);
        taken->name_len = name.len;
        if (name.len > 0) {
            memcpy(taken->name, name.ptr, name.len);
        }
        map_put(&lane->fair.taken, slice_of(taken->name, name.len), taken);
    }
    taken->count += recipients;
}

/* Recipients a second; 0 while its mail does not wait. */
static double own_part(const struct lane *lane, struct slice tenant)
{
    const struct config *config = lane->shard->worker->config;
    const struct limit *scarce = lane->fair.scarce;
    double sum = config_tenant_named(config, tenant) == NULL ? LEAST_WEIGHT : 0;
    for (size_t i = 0; i < config->tenant_count; i++) {
        sum += contracted(lane, slice_cstr(config->tenants[i].name));
    }
    return redis_limit_rate(scarce) * contracted(lane, tenant) / sum *
           redis_limit_part(scarce, hash_stable(tenant));
}

void fair_tick(struct lane *lane, struct mono_time now)
{
    double seconds = (double)mono_since_us(now, lane->fair.looked) / 1e6;
    struct fair_taken *taken;
    size_t cursor = 0;
    while ((taken = map_next(&lane->fair.taken, &cursor)) != NULL) {
        taken->own += own_part(lane, slice_of(taken->name, taken->name_len)) * seconds;
    }
    lane->fair.looked = now;
}

void fair_account(struct lane *lane, struct usage *usage)
{
    struct fair_taken *taken;
    size_t cursor = 0;
    while ((taken = map_next(&lane->fair.taken, &cursor)) != NULL) {
        struct slice name = slice_of(taken->name, taken->name_len);
        if (taken->own > 0 && (double)taken->count > taken->own) {
            usage_borrowed(usage, name, (uint64_t)((double)taken->count - taken->own));
        }
        (void)map_remove(&lane->fair.taken, name);
        mem_free(taken);
        cursor = 0;
    }
}

/* ---- weights ---- */

static uint32_t weight_here(void *owner, struct slice tenant)
{
    return fair_weight(owner, tenant);
}

void fair_note_wait(struct lane *lane, const struct limit *limit)
{
    for (size_t i = 0; i < lane->fair.count; i++) {
        if (lane->fair.sources[i].limit == limit) {
            if (limit != lane->fair.scarce || redis_limit_told(limit) != lane->fair.told) {
                lane->fair.scarce = limit;
                lane->fair.told = redis_limit_told(limit);
                queue_weigh(&lane->queue, weight_here, lane);
            }
        }
    }
}

void fair_rest(struct lane *lane)
{
    for (size_t i = 0; i < lane->fair.count; i++) {
        redis_limit_rest(lane->fair.sources[i].limit);
    }
}
