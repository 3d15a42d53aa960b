/* Lanes in the answers to `why`: what they have, and what keeps it. */
#include "worker/why_private.h"

#include "worker/session.h"
#include "worker/worker.h"

/* A limit keeps all sessions of a lane waiting: one of them tells. */
static const struct limit_waiter *first_throttled(const struct lane *lane)
{
    list_foreach (node, &lane->sessions) {
        const struct session *session = CONTAINER_OF(node, struct session, node);
        if (session->state == SESSION_THROTTLED && list_linked(&session->waiter.node)) {
            return &session->waiter;
        }
    }
    return NULL;
}

static void add_spill(struct why_writer *writer, int64_t until_ms, struct slice detail)
{
    int64_t left_ms = until_ms - wall_now().ms;
    if (left_ms > 0) {
        why_add_reason(writer, "spill", NULL, mono_add_ms(writer->now, left_ms), detail);
    }
}

/* Up to when its spilled mail has been given its time. */
static int64_t spilled_until_ms(const struct lane *lane)
{
    int64_t until_ms = 0;
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        until_ms = lane->spill_until_ms[i] > until_ms ? lane->spill_until_ms[i] : until_ms;
    }
    return until_ms;
}

/* What keeps it from having sessions. */
static void add_opening(struct why_writer *writer, const struct lane *lane)
{
    if (lane->resolving) {
        why_add_reason(writer, "dns", NULL, writer->now, lane->site_name);
    }
    const struct lane_share *open = &lane->shares[LANE_OPEN];
    const struct lane_share *reserved = &lane->shares[LANE_RESERVED];
    if (open->waiting && lane->queue.ready > 0) {
        why_add_waiter(writer, "connection", &open->waiter, SLICE_NULL);
    }
    if (reserved->waiting && queue_ready_of(&lane->queue, CONFIG_CLASS_TRANSACTIONAL) > 0) {
        why_add_waiter(writer, "connection", &reserved->waiter, SLICE("transactional"));
    }
    if (open->count >= open->most && open->most < reserved->most &&
        queue_ready_of(&lane->queue, CONFIG_CLASS_BULK) > 0) {
        why_add_reason(writer, "reserved", NULL, writer->now, SLICE("bulk"));
    }
    if (list_linked(&lane->starved_node)) {
        why_add_reason(writer, "worker-connections", NULL, writer->now, SLICE_NULL);
    }
    if (open->opening + reserved->opening > 0) {
        why_add_reason(writer, "connecting", NULL, writer->now, SLICE_NULL);
    }
}

void why_add_lane_reasons(struct why_writer *writer, const struct lane *lane)
{
    const struct limit_waiter *throttled = first_throttled(lane);
    const struct queue_class *classes = lane->queue.classes;
    if (lane->vip_count == 0) {
        why_add_reason(writer, "no-vip", NULL, writer->now, lane->route);
    }
    if (mono_before(writer->now, lane->suspended_until)) {
        why_add_reason(writer, "suspended", NULL, lane->suspended_until, lane->trouble.text);
    }
    if (throttled != NULL) {
        why_add_waiter(writer, "limit", throttled, SLICE_NULL);
    }
    add_opening(writer, lane);
    if (timer_is_set(&lane->shard->unchoke)) {
        why_add_reason(writer, "worker-choked", NULL, writer->now, SLICE_NULL);
    }
    if (classes[CONFIG_CLASS_TRANSACTIONAL].ready > 0 && classes[CONFIG_CLASS_BULK].ready > 0) {
        char text[64];
        int len = snprintf(text, sizeof(text), "%zu transactional mails go before bulk",
                           classes[CONFIG_CLASS_TRANSACTIONAL].ready);
        why_add_reason(writer, "priority", NULL, writer->now, slice_of(text, (size_t)len));
    }
    add_spill(writer, spilled_until_ms(lane), SLICE_NULL);
}

static void add_reasons(struct why_writer *writer, const struct lane *lane)
{
    writer->count = 0;
    strbuf_add_cstr(writer->out, ",\"reasons\":[");
    why_add_lane_reasons(writer, lane);
    list_foreach (node, &lane->queue.parked) {
        const struct queue_flow *flow = CONTAINER_OF(node, struct queue_flow, node);
        if (flow->limits != NULL) {
            struct slice tenant = queue_first(flow)->message.tenant;
            why_add_waiter(writer, "limit", &flow->limits->waiter, tenant);
            add_spill(writer, flow->limits->spill_until_ms, tenant);
        }
    }
    if (lane->queue.ready > 0 && writer->count == 0) {
        why_add_reason(writer, "turn", NULL, writer->now, SLICE_NULL); /* every session is busy */
    }
    strbuf_add_cstr(writer->out, "]");
}

static void add_flow(void *owner, const struct queue_flow *flow)
{
    struct why_writer *writer = owner;
    const struct mail *first = queue_first(flow);
    strbuf_add_cstr(writer->out, writer->count++ > 0 ? ",{" : "{");
    why_add_text(writer->out, "tenant", first->message.tenant);
    strbuf_add_cstr(writer->out, ",");
    why_add_text(writer->out, "campaign", first->message.campaign);
    (void)strbuf_addf(writer->out, ",\"class\":\"%s\",\"waiting\":%zu,\"parked\":%s}",
                      first->klass == CONFIG_CLASS_BULK ? "bulk" : "transactional", flow->length,
                      flow->parked ? "true" : "false");
}

void why_add_lane(struct why_writer *writer, const struct lane *lane)
{
    uint32_t running = 0;
    list_foreach (node, &lane->sessions) {
        running += CONTAINER_OF(node, struct session, node)->mail != NULL ? 1 : 0;
    }
    strbuf_add_cstr(writer->out, "{");
    why_add_text(writer->out, "site", lane->site_name);
    strbuf_add_cstr(writer->out, ",");
    why_add_text(writer->out, "route", lane->route);
    (void)strbuf_addf(writer->out,
                      ",\"waiting\":%zu,\"ready\":%zu,\"transactional\":%zu,\"running\":%u,"
                      "\"sessions\":%u,\"rate\":%.3f,\"spilled_until_ms\":%lld",
                      lane->queue.length, lane->queue.ready,
                      lane->queue.classes[CONFIG_CLASS_TRANSACTIONAL].ready, running,
                      lane->session_count, lane_rate(lane, writer->now),
                      (long long)spilled_until_ms(lane));
    add_reasons(writer, lane);
    strbuf_add_cstr(writer->out, ",\"flows\":[");
    writer->count = 0;
    queue_foreach_flow(&lane->queue, add_flow, writer);
    strbuf_add_cstr(writer->out, "]}");
}
