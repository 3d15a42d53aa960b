/*
 * Where a message is, by the events about it in the order of the log: which of its recipients are
 * finished, until when the others wait and why, and in which delay tier its record must be at a
 * given time. Pure: no Kafka, no clock.
 */
#ifndef SLUICE_OPS_TRACE_TRACE_H
#define SLUICE_OPS_TRACE_TRACE_H

#include "base/arena.h"
#include "schema/event.h"

#define TRACE_RECIPIENTS_MAX MESSAGE_RECIPIENTS_MAX

/* What an event says; texts are in the trace's arena. */
struct trace_fact {
    enum event_type type;
    int64_t time_ms;
    struct slice event_id, recipient, site, vip, stream, host;
    int scope;             /* as in smtp/outcome.h */
    uint32_t code, number; /* number: of the attempt; POSTPONED: of the one that follows */
    struct slice enhanced, text, reason;
    int64_t next_ms; /* DEFERRED, POSTPONED, UNCERTAIN: when it is tried again; 0: never told */
};

struct trace {
    struct arena *arena;
    struct slice message_id;
    bool seen;           /* any event */
    int64_t received_ms; /* 0: was not told */
    struct slice topic;  /* of its first record; len 0: not known */
    int32_t partition;
    int64_t offset;
    uint32_t recipient_count; /* 0: not known */
    struct slice tenant, campaign, klass;
    struct trace_fact last;        /* the last one that decides */
    struct trace_fact *recipients; /* of each that has one, the last event */
    size_t known;
    bool postponed; /* the last event moved all that are left to a tier */
    bool put_back;  /* an operator has put back what was held */
};

/* `id` is copied. */
void trace_init(struct trace *trace, struct slice id);
void trace_free(struct trace *trace);
/* One more event; those about other messages are passed over. False: no room. */
bool trace_add(struct trace *trace, const struct event *event);

enum trace_state {
    TRACE_NOTHING, /* no event */
    TRACE_TAKEN,   /* was read from its stream (again): at a worker, or to be read again */
    TRACE_WAITS,   /* in a delay tier until trace_due() */
    TRACE_HELD,    /* nobody knows whether it was delivered, and it is not tried again by itself */
    TRACE_FINISHED,
};
enum trace_state trace_state(const struct trace *trace);
/* WAITS: when it is due, and by which event. */
const struct trace_fact *trace_wait(const struct trace *trace);
/* Time before which no further event about it can come, as all its recipients are accounted for; 0:
 * any may come. So a reader of the log may go on from there. */
int64_t trace_quiet_until(const struct trace *trace);

/* In which tier the copy is that was written at placed_ms. */
struct trace_tier {
    bool in_tier; /* else: it is due, or in a worker's memory for a rest shorter than tier 0 */
    unsigned tier;
    int64_t since_ms; /* … there since */
    unsigned hops;    /* tiers before */
};
void trace_tier_at(int64_t placed_ms, int64_t due_ms, bool exact, int64_t now_ms, int64_t unit_ms,
                   unsigned tiers, struct trace_tier *out);

#endif
