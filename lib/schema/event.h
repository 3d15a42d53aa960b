/*
 * Events: our struct to sluice.v1.Event and back, and to JSON lines for people and tools.
 */
#ifndef SLUICE_SCHEMA_EVENT_H
#define SLUICE_SCHEMA_EVENT_H

#include "base/strbuf.h"
#include "schema/message.h"

enum event_type {
    EVENT_NONE = 0,
    EVENT_RECEIVED,
    EVENT_ATTEMPT,
    EVENT_DELIVERED,
    EVENT_DEFERRED,
    EVENT_BOUNCED,
    EVENT_EXPIRED,
    EVENT_DROPPED,
    EVENT_UNCERTAIN,
    EVENT_ADMIN,
    EVENT_BOUNCED_LATE,
    EVENT_COMPLAINT,
    EVENT_UNSUBSCRIBED,
    EVENT_AUTO_REPLY,
    EVENT_RETURNED,
    EVENT_USAGE,
    EVENT_POSTPONED,
    EVENT_LAST = EVENT_POSTPONED,
};
const char *event_type_name(enum event_type type); /* "received" … */

/* Numbers of phase and scope are those of smtp/outcome.h, which equal the schema's. */
struct event_attempt {
    uint32_t code;
    struct slice enhanced, text;
    int phase, scope;
    struct slice remote_host, remote_address, local_address, tls_version, tls_cipher;
    bool tls_verified;
    uint32_t number;
    int64_t queue_time_ms;
    int64_t connect_us, mail_us, rcpt_us, data_us, dot_us, total_us;
    uint64_t bytes;
    int64_t next_attempt_ms;
    struct slice bounce_class, disposition, blame, rule, cause_key, rules_version, provider;
    uint32_t confidence;
};

/* What a mail that came back says. */
struct event_returned {
    struct slice bounce_class, disposition;
    uint32_t confidence;
    struct slice rule;
    uint32_t code;
    struct slice enhanced, text;
    struct slice reported_recipient, reporting_mta, remote_mta, feedback_type, list, source;
    struct slice peer_address, peer_name, received_by, report_id;
    struct slice matched, suspicious;
    bool was_uncertain;
    int64_t sent_ms, age_ms;
    uint64_t bytes;
    struct slice blame, cause_key, rules_version, provider;
};

struct event {
    enum event_type type;
    struct slice event_id; /* UUID text */
    int64_t time_ms;
    struct slice node, worker, message_id, tenant, campaign, klass, recipient, site, vip, mail_from,
        stream;
    const struct message_pair *metadata; /* of the message */
    size_t metadata_count;
    const struct message_pair *recipient_metadata; /* wins over the message's of the same name */
    size_t recipient_metadata_count;
    uint32_t recipient_count;
    struct event_attempt attempt; /* types ATTEMPT to EXPIRED, UNCERTAIN */
    struct {
        struct slice topic;
        int32_t partition;
        int64_t offset;
        uint64_t bytes;
    } received;
    struct slice reason, detail;    /* DROPPED; POSTPONED: reason; ADMIN: detail */
    struct slice action, actor;     /* ADMIN */
    struct event_returned returned; /* types BOUNCED_LATE to RETURNED */
    struct {
        int64_t since_ms;
        uint64_t messages, bytes, borrowed;
    } usage;
    struct {
        int64_t due_ms;
        uint32_t number;
        struct slice topic;
        int32_t partition;
        int64_t offset;
        struct slice route;
    } postponed;
};

/* Appends the encoded event; false: the buffer's maximum. Allocates nothing else; text that is not
 * UTF-8 is sanitised. */
bool event_encode(const struct event *event, struct strbuf *out);

/* Slices point into the arena. */
bool event_decode(struct slice record, struct arena *arena, struct event *event,
                  struct fault *fault);

/* One JSON object without a line end; keys as in event.proto, the oneof as "type" beside its fields
 * under its own name. */
bool event_to_json(const struct event *event, struct strbuf *out);

#endif
