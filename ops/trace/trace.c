#include "ops/trace/trace.h"

#include "base/mem.h"
#include "kafka/topics.h"

#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)16 * 1024 * 1024)

void trace_init(struct trace *trace, struct slice id)
{
    *trace = (struct trace){.arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES)};
    CHECK(trace->arena != NULL);
    trace->message_id = arena_copy(trace->arena, id);
}

void trace_free(struct trace *trace)
{
    mem_free(trace->recipients);
    arena_free(&trace->arena);
    *trace = (struct trace){0};
}

static bool is_final(const struct trace_fact *fact)
{
    return fact->type == EVENT_DELIVERED || fact->type == EVENT_BOUNCED ||
           fact->type == EVENT_EXPIRED || fact->type == EVENT_DROPPED;
}

static struct trace_fact fact_of(struct trace *trace, const struct event *event)
{
    struct arena *arena = trace->arena;
    bool postponed = event->type == EVENT_POSTPONED;
    return (struct trace_fact){
        .type = event->type,
        .time_ms = event->time_ms,
        .event_id = arena_copy(arena, event->event_id),
        .recipient = arena_copy(arena, event->recipient),
        .site = arena_copy(arena, event->site),
        .vip = arena_copy(arena, postponed ? event->postponed.route : event->vip),
        .stream = arena_copy(arena, event->stream),
        .host = arena_copy(arena, event->attempt.remote_host),
        .scope = event->attempt.scope,
        .code = event->attempt.code,
        .number = postponed ? event->postponed.number : event->attempt.number,
        .enhanced = arena_copy(arena, event->attempt.enhanced),
        .text = arena_copy(arena, event->type == EVENT_DROPPED || event->type == EVENT_ADMIN
                                      ? event->detail
                                      : event->attempt.text),
        .reason = arena_copy(arena, event->type == EVENT_ADMIN ? event->action : event->reason),
        .next_ms = postponed ? event->postponed.due_ms : event->attempt.next_attempt_ms,
    };
}

/* Its place; made if it is not there. NULL: there are more than a message can have. */
static struct trace_fact *place_of(struct trace *trace, struct slice recipient)
{
    for (size_t i = 0; i < trace->known; i++) {
        if (slice_eq(trace->recipients[i].recipient, recipient)) {
            return &trace->recipients[i];
        }
    }
    if (trace->known == TRACE_RECIPIENTS_MAX) {
        return NULL;
    }
    trace->recipients =
        mem_realloc(trace->recipients, (trace->known + 1) * sizeof(*trace->recipients));
    return &trace->recipients[trace->known++];
}

static void note_place(struct trace *trace, struct slice topic, int32_t partition, int64_t offset)
{
    trace->topic = arena_copy(trace->arena, topic);
    trace->partition = partition;
    trace->offset = offset;
}

static bool note_outcome(struct trace *trace, const struct event *event)
{
    struct trace_fact fact = fact_of(trace, event);
    trace->last = fact;
    trace->postponed = trace->put_back = false;
    struct trace_fact *place = place_of(trace, fact.recipient);
    if (place == NULL) {
        return false;
    }
    *place = fact;
    return true;
}

bool trace_add(struct trace *trace, const struct event *event)
{
    if (!slice_eq_nocase(event->message_id, trace->message_id)) {
        return true;
    }
    trace->seen = true;
    if (trace->tenant.len == 0) {
        trace->tenant = arena_copy(trace->arena, event->tenant);
        trace->campaign = arena_copy(trace->arena, event->campaign);
        trace->klass = arena_copy(trace->arena, event->klass);
    }
    if (event->recipient_count > 0) {
        trace->recipient_count = event->recipient_count;
    }
    switch (event->type) {
    case EVENT_RECEIVED:
        trace->received_ms = event->time_ms;
        note_place(trace, event->received.topic, event->received.partition, event->received.offset);
        return true;
    case EVENT_POSTPONED:
        trace->last = fact_of(trace, event);
        trace->postponed = true;
        note_place(trace, event->postponed.topic, event->postponed.partition,
                   event->postponed.offset);
        return true;
    case EVENT_DELIVERED:
    case EVENT_DEFERRED:
    case EVENT_BOUNCED:
    case EVENT_EXPIRED:
    case EVENT_DROPPED:
    case EVENT_UNCERTAIN: return note_outcome(trace, event);
    case EVENT_ADMIN:
        trace->last = fact_of(trace, event);
        trace->put_back = true;
        return true;
    case EVENT_ATTEMPT: trace->postponed = false; return true;
    case EVENT_BOUNCED_LATE:
    case EVENT_COMPLAINT:
    case EVENT_UNSUBSCRIBED:
    case EVENT_AUTO_REPLY:
    case EVENT_RETURNED:
    case EVENT_NONE:
    case EVENT_USAGE: break;
    }
    return true;
}

/* Recipients whose last event is of that kind: final ones, ones that are tried again, held ones. */
struct tally {
    size_t final, again, held;
    const struct trace_fact *next; /* of those tried again: the earliest */
};

static struct tally tally_of(const struct trace *trace)
{
    struct tally tally = {0};
    for (size_t i = 0; i < trace->known; i++) {
        const struct trace_fact *fact = &trace->recipients[i];
        if (is_final(fact)) {
            tally.final++;
        } else if (fact->next_ms > 0) {
            tally.again++;
            tally.next =
                tally.next == NULL || fact->next_ms < tally.next->next_ms ? fact : tally.next;
        } else {
            tally.held++;
        }
    }
    return tally;
}

enum trace_state trace_state(const struct trace *trace)
{
    struct tally tally = tally_of(trace);
    if (!trace->seen) {
        return TRACE_NOTHING;
    }
    if (trace->postponed) {
        return TRACE_WAITS;
    }
    if (trace->put_back || trace->known == 0 || trace->known < trace->recipient_count) {
        return TRACE_TAKEN; /* a transaction for the others may run */
    }
    return tally.again > 0 ? TRACE_WAITS : tally.held > 0 ? TRACE_HELD : TRACE_FINISHED;
}

const struct trace_fact *trace_wait(const struct trace *trace)
{
    return trace->postponed ? &trace->last : tally_of(trace).next;
}

int64_t trace_quiet_until(const struct trace *trace)
{
    bool complete = trace->postponed || trace->recipient_count > 0;
    return complete && trace_state(trace) == TRACE_WAITS ? trace_wait(trace)->next_ms : 0;
}

void trace_tier_at(int64_t placed_ms, int64_t due_ms, bool exact, int64_t now_ms, int64_t unit_ms,
                   unsigned tiers, struct trace_tier *out)
{
    int64_t at = placed_ms;
    *out = (struct trace_tier){.since_ms = placed_ms};
    for (;;) {
        unsigned tier = kafka_tier_chosen(due_ms - at, unit_ms, tiers, exact);
        int64_t leaves = at + kafka_tier_delay_ms(tier, unit_ms);
        leaves = due_ms < leaves ? due_ms : leaves; /* a time that was promised is kept */
        out->tier = tier;
        out->since_ms = at;
        out->in_tier = now_ms < leaves;
        if (out->in_tier || due_ms - leaves < unit_ms) {
            return;
        }
        at = leaves;
        exact = true;
        out->hops++;
    }
}
