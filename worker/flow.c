#include "worker/flow.h"

#include "worker/lane.h"
#include "worker/worker.h"

#include "base/mem.h"

#define FLOW_IDLE_MS 30000

static struct flow_limits *make(struct lane *lane, const struct queue_flow *flow,
                                void (*ready)(struct limit_waiter *waiter))
{
    const struct mail *mail = queue_first(flow);
    struct config_subject subject;
    struct flow_limits *limits = mem_zalloc(sizeof(*limits) + flow->name_len);
    lane_subject(lane, &subject);
    subject.tenant = mail->message.tenant;
    subject.campaign = mail->message.campaign;
    subject.stream = mail->stream == NULL ? SLICE("") : slice_cstr(mail->stream->name);
    limits->lane = lane;
    limits->waiter.ready = ready;
    memcpy(limits->name, flow->name, flow->name_len);
    limits->key = slice_of(limits->name, flow->name_len);
    bounds_make(&limits->bounds, lane->shard->limiter, lane->shard->worker->config, &subject,
                CONFIG_LEVEL_MAIL);
    map_put(&lane->flows, limits->key, limits);
    return limits;
}

struct flow_limits *flow_limits_of(struct lane *lane, struct queue_flow *flow,
                                   void (*ready)(struct limit_waiter *waiter))
{
    if (flow->limits != NULL || !lane->limits_mail) {
        return flow->limits;
    }
    struct flow_limits *limits = map_get(&lane->flows, slice_of(flow->name, flow->name_len));
    if (limits == NULL) {
        limits = make(lane, flow, ready);
    }
    CHECK(limits->flow == NULL);
    limits->flow = flow;
    limits->used = io_loop_now(lane->shard->loop);
    flow->limits = limits;
    return limits;
}

void flow_limits_leave(struct flow_limits *limits)
{
    limits->flow->limits = NULL;
    limits->flow = NULL;
    limits->waiter.turn = NULL;
    limits->used = io_loop_now(limits->lane->shard->loop);
    if (limits->lane->shard->limiter != NULL) {
        redis_limit_wait_cancel(limits->lane->shard->limiter, &limits->waiter);
    }
}

void flow_limits_sweep(struct lane *lane, struct mono_time now, bool all)
{
    struct flow_limits *limits;
    size_t cursor = 0;
    while ((limits = map_next(&lane->flows, &cursor)) != NULL) {
        if (limits->flow != NULL || limits->running > 0 ||
            (!all && mono_since_us(now, limits->used) < (int64_t)FLOW_IDLE_MS * 1000)) {
            CHECK(!all);
            continue;
        }
        map_remove(&lane->flows, limits->key);
        bounds_free(&limits->bounds);
        mem_free(limits);
        cursor = all ? 0 : cursor - 1; /* another one may stand in its place */
    }
}
