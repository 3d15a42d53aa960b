#include "worker/why.h"

#include "worker/lane.h"
#include "worker/session.h"
#include "worker/worker.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "schema/json.h"

#define ANSWER_MAX_BYTES ((size_t)900 * 1024) /* a record's default maximum is a megabyte */
#define LANE_MAX_BYTES ((size_t)64 * 1024)    /* what there is no room for is left out */

struct writer {
    struct strbuf *out;
    struct mono_time now;
    size_t count; /* in the list that is being written */
};

/* Our monotonic time as the wall's. */
static int64_t wall_ms(const struct writer *writer, struct mono_time at)
{
    return wall_now().ms + mono_since_us(at, writer->now) / 1000;
}

static void add_text(struct strbuf *out, const char *name, struct slice value)
{
    (void)strbuf_addf(out, "\"%s\":", name);
    json_add_string(out, value);
}

/* `until` before now: nobody knows. */
static void add_reason(struct writer *writer, const char *reason, const struct limit *limit,
                       struct mono_time until, struct slice detail)
{
    strbuf_add_cstr(writer->out, writer->count++ > 0 ? ",{" : "{");
    add_text(writer->out, "reason", slice_cstr(reason));
    if (limit != NULL) {
        strbuf_add_cstr(writer->out, ",");
        add_text(writer->out, "limit", redis_limit_key(limit));
    }
    if (mono_before(writer->now, until) && until.us != INT64_MAX) {
        (void)strbuf_addf(writer->out, ",\"until_ms\":%lld", (long long)wall_ms(writer, until));
    }
    if (detail.len > 0) {
        strbuf_add_cstr(writer->out, ",");
        add_text(writer->out, "detail", detail);
    }
    strbuf_add_cstr(writer->out, "}");
}

static void add_waiter(struct writer *writer, const char *reason, const struct limit_waiter *waiter,
                       struct slice detail)
{
    if (list_linked(&waiter->node) && waiter->blocking != NULL) {
        add_reason(writer, reason, waiter->blocking, waiter->until, detail);
    }
}

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

static void add_reasons(struct writer *writer, const struct lane *lane)
{
    const struct limit_waiter *throttled = first_throttled(lane);
    writer->count = 0;
    strbuf_add_cstr(writer->out, ",\"reasons\":[");
    if (lane->vip_count == 0) {
        add_reason(writer, "no-vip", NULL, writer->now, lane->route);
    }
    if (mono_before(writer->now, lane->suspended_until)) {
        add_reason(writer, "suspended", NULL, lane->suspended_until, lane->trouble.text);
    }
    if (lane->resolving) {
        add_reason(writer, "dns", NULL, writer->now, lane->site_name);
    }
    if (throttled != NULL) {
        add_waiter(writer, "limit", throttled, SLICE_NULL);
    }
    if (lane->waiting_for_slot) {
        add_waiter(writer, "connection", &lane->slot_waiter, SLICE_NULL);
    }
    if (list_linked(&lane->starved_node)) {
        add_reason(writer, "worker-connections", NULL, writer->now, SLICE_NULL);
    }
    if (lane->opening > 0) {
        add_reason(writer, "connecting", NULL, writer->now, SLICE_NULL);
    }
    if (timer_is_set(&lane->shard->unchoke)) {
        add_reason(writer, "worker-choked", NULL, writer->now, SLICE_NULL);
    }
    list_foreach (node, &lane->queue.parked) {
        const struct queue_flow *flow = CONTAINER_OF(node, struct queue_flow, node);
        if (flow->limits != NULL) {
            add_waiter(writer, "limit", &flow->limits->waiter, queue_first(flow)->message.tenant);
        }
    }
    if (lane->queue.length > 0 && writer->count == 0) {
        add_reason(writer, "turn", NULL, writer->now, SLICE_NULL); /* every session is busy */
    }
    strbuf_add_cstr(writer->out, "]");
}

static void add_flow(void *owner, const struct queue_flow *flow)
{
    struct writer *writer = owner;
    const struct message *message = &queue_first(flow)->message;
    strbuf_add_cstr(writer->out, writer->count++ > 0 ? ",{" : "{");
    add_text(writer->out, "tenant", message->tenant);
    strbuf_add_cstr(writer->out, ",");
    add_text(writer->out, "campaign", message->campaign);
    (void)strbuf_addf(writer->out, ",\"waiting\":%zu,\"parked\":%s}", flow->length,
                      flow->parked ? "true" : "false");
}

static void add_lane(struct writer *writer, const struct lane *lane)
{
    uint32_t running = 0;
    list_foreach (node, &lane->sessions) {
        running += CONTAINER_OF(node, struct session, node)->mail != NULL ? 1 : 0;
    }
    add_text(writer->out, "site", lane->site_name);
    strbuf_add_cstr(writer->out, ",");
    add_text(writer->out, "route", lane->route);
    (void)strbuf_addf(writer->out,
                      ",\"waiting\":%zu,\"ready\":%zu,\"running\":%u,\"sessions\":%u,"
                      "\"rate\":%.3f,\"spilled_until_ms\":%lld",
                      lane->queue.length, lane->queue.ready, running, lane->session_count,
                      lane_rate(lane, writer->now), (long long)lane->spill_until_ms);
    add_reasons(writer, lane);
    strbuf_add_cstr(writer->out, ",\"flows\":[");
    writer->count = 0;
    queue_foreach_flow(&lane->queue, add_flow, writer);
    strbuf_add_cstr(writer->out, "]}");
}

/* ---- one message ---- */

struct search {
    uint64_t about;
    bool found;
};

static void look(void *owner, const struct queue_flow *flow)
{
    struct search *search = owner;
    list_foreach (node, &flow->mails) {
        const struct mail *mail = CONTAINER_OF(node, struct mail, node);
        search->found = search->found || hash_stable(mail->message.id) == search->about;
    }
}

static bool is_running(const struct lane *lane, uint64_t about)
{
    list_foreach (node, &lane->sessions) {
        const struct session *session = CONTAINER_OF(node, struct session, node);
        if (session->mail != NULL && hash_stable(session->mail->message.id) == about) {
            return true;
        }
    }
    return false;
}

static void add_message(struct strbuf *out, const struct shard *shard, uint64_t about)
{
    struct lane *lane;
    size_t cursor = 0;
    while (about != 0 && (lane = map_next(&shard->lanes, &cursor)) != NULL) {
        struct search search = {about, false};
        bool running = is_running(lane, about);
        queue_foreach_flow(&lane->queue, look, &search);
        if (running || search.found) {
            strbuf_add_cstr(out, ",\"message\":{");
            add_text(out, "state", running ? SLICE("sending") : SLICE("waiting"));
            strbuf_add_cstr(out, ",");
            add_text(out, "site", lane->site_name);
            strbuf_add_cstr(out, ",");
            add_text(out, "route", lane->route);
            strbuf_add_cstr(out, "}");
            return;
        }
    }
}

/* ---- the answer ---- */

static void send_answer(struct shard *shard, const struct strbuf *answer)
{
    struct worker *worker = shard->worker;
    char key[sizeof(worker->name) + 32];
    struct fault fault;
    int len = snprintf(key, sizeof(key), "why/%s/%u", worker->name, shard->index);
    const struct kafka_record_out record = {.topic = worker->topics.control,
                                            .partition = -1,
                                            .key = slice_of(key, (size_t)len),
                                            .value = strbuf_slice(answer)};
    if (!kafka_producer_send(worker->events, &record, &fault)) {
        log_warn("why-unanswered", "shard=%u reason=\"%s\"", shard->index, fault.text);
    }
}

void why_answer(struct shard *shard, uint64_t number, uint64_t about)
{
    struct strbuf answer, entry;
    struct lane *lane;
    size_t cursor = 0, count = 0;
    strbuf_init(&answer, ANSWER_MAX_BYTES + 2 * LANE_MAX_BYTES);
    strbuf_init(&entry, LANE_MAX_BYTES);
    (void)strbuf_addf(&answer, "{\"request\":%llu,", (unsigned long long)number);
    add_text(&answer, "worker", slice_cstr(shard->worker->name));
    (void)strbuf_addf(&answer, ",\"shard\":%u,\"answers\":%u", shard->index, shard->holders);
    add_message(&answer, shard, about);
    strbuf_add_cstr(&answer, ",\"lanes\":[");
    while ((lane = map_next(&shard->lanes, &cursor)) != NULL && answer.len < ANSWER_MAX_BYTES) {
        struct writer writer = {.out = &entry, .now = io_loop_now(shard->loop)};
        strbuf_reset(&entry);
        strbuf_add_cstr(&entry, count > 0 ? ",{" : "{");
        add_lane(&writer, lane);
        if (!entry.overflow) {
            (void)strbuf_add_slice(&answer, strbuf_slice(&entry));
            count++;
        }
    }
    strbuf_add_cstr(&answer, "]}");
    CHECK(!answer.overflow);
    send_answer(shard, &answer);
    strbuf_free(&entry);
    strbuf_free(&answer);
}
