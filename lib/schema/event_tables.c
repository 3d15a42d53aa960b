#include "schema/event_private.h"

#define EVENT_RULE(name, kind, member)                                                             \
    {                                                                                              \
        name, kind, offsetof(struct event, member)                                                 \
    }
#define ATTEMPT_RULE(member, kind)                                                                 \
    {                                                                                              \
#member, kind, offsetof(struct event_attempt, member)                                      \
    }

static const struct wire_rule event_rules[] = {
    [1] = EVENT_RULE("event_id", WIRE_KIND_TEXT, event_id),
    [2] = EVENT_RULE("time_ms", WIRE_KIND_INT64, time_ms),
    [3] = EVENT_RULE("node", WIRE_KIND_TEXT, node),
    [4] = EVENT_RULE("worker", WIRE_KIND_TEXT, worker),
    [5] = EVENT_RULE("message_id", WIRE_KIND_TEXT, message_id),
    [6] = EVENT_RULE("tenant", WIRE_KIND_TEXT, tenant),
    [7] = EVENT_RULE("campaign", WIRE_KIND_TEXT, campaign),
    [8] = EVENT_RULE("class", WIRE_KIND_TEXT, klass),
    [9] = EVENT_RULE("recipient", WIRE_KIND_TEXT, recipient),
    [10] = EVENT_RULE("site", WIRE_KIND_TEXT, site),
    [11] = EVENT_RULE("vip", WIRE_KIND_TEXT, vip),
    [EVENT_FIELD_METADATA] = {"metadata", WIRE_KIND_CHILD, 0},
    [13] = EVENT_RULE("mail_from", WIRE_KIND_TEXT, mail_from),
    [14] = EVENT_RULE("stream", WIRE_KIND_TEXT, stream),
    [15] = EVENT_RULE("recipient_count", WIRE_KIND_UINT32, recipient_count),
    [EVENT_FIELD_WHAT] = {"received", WIRE_KIND_CHILD, 0},
    [21] = {"attempt", WIRE_KIND_CHILD, 0},
    [22] = {"delivered", WIRE_KIND_CHILD, 0},
    [23] = {"deferred", WIRE_KIND_CHILD, 0},
    [24] = {"bounced", WIRE_KIND_CHILD, 0},
    [25] = {"expired", WIRE_KIND_CHILD, 0},
    [26] = {"dropped", WIRE_KIND_CHILD, 0},
    [27] = {"uncertain", WIRE_KIND_CHILD, 0},
    [28] = {"admin", WIRE_KIND_CHILD, 0},
    [29] = {"bounced_late", WIRE_KIND_CHILD, 0},
    [30] = {"complaint", WIRE_KIND_CHILD, 0},
    [31] = {"unsubscribed", WIRE_KIND_CHILD, 0},
    [32] = {"auto_reply", WIRE_KIND_CHILD, 0},
    [33] = {"returned", WIRE_KIND_CHILD, 0},
    [34] = {"usage", WIRE_KIND_CHILD, 0},
    [35] = {"postponed", WIRE_KIND_CHILD, 0},
};
const struct wire_table event_table = {event_rules, ARRAY_LEN(event_rules)};

static const struct wire_rule attempt_rules[] = {
    [1] = ATTEMPT_RULE(code, WIRE_KIND_UINT32),
    [2] = ATTEMPT_RULE(enhanced, WIRE_KIND_TEXT),
    [3] = ATTEMPT_RULE(text, WIRE_KIND_TEXT),
    [4] = ATTEMPT_RULE(phase, WIRE_KIND_ENUM),
    [5] = ATTEMPT_RULE(scope, WIRE_KIND_ENUM),
    [6] = ATTEMPT_RULE(remote_host, WIRE_KIND_TEXT),
    [7] = ATTEMPT_RULE(remote_address, WIRE_KIND_TEXT),
    [8] = ATTEMPT_RULE(local_address, WIRE_KIND_TEXT),
    [9] = ATTEMPT_RULE(tls_version, WIRE_KIND_TEXT),
    [10] = ATTEMPT_RULE(tls_cipher, WIRE_KIND_TEXT),
    [11] = ATTEMPT_RULE(tls_verified, WIRE_KIND_BOOL),
    [12] = ATTEMPT_RULE(number, WIRE_KIND_UINT32),
    [13] = ATTEMPT_RULE(queue_time_ms, WIRE_KIND_INT64),
    [14] = ATTEMPT_RULE(connect_us, WIRE_KIND_INT64),
    [15] = ATTEMPT_RULE(mail_us, WIRE_KIND_INT64),
    [16] = ATTEMPT_RULE(rcpt_us, WIRE_KIND_INT64),
    [17] = ATTEMPT_RULE(data_us, WIRE_KIND_INT64),
    [18] = ATTEMPT_RULE(dot_us, WIRE_KIND_INT64),
    [19] = ATTEMPT_RULE(total_us, WIRE_KIND_INT64),
    [20] = ATTEMPT_RULE(bytes, WIRE_KIND_UINT64),
    [21] = ATTEMPT_RULE(next_attempt_ms, WIRE_KIND_INT64),
    [22] = ATTEMPT_RULE(bounce_class, WIRE_KIND_TEXT),
    [23] = ATTEMPT_RULE(disposition, WIRE_KIND_TEXT),
    [24] = ATTEMPT_RULE(blame, WIRE_KIND_TEXT),
    [25] = ATTEMPT_RULE(rule, WIRE_KIND_TEXT),
    [26] = ATTEMPT_RULE(cause_key, WIRE_KIND_TEXT),
    [27] = ATTEMPT_RULE(rules_version, WIRE_KIND_TEXT),
    [28] = ATTEMPT_RULE(provider, WIRE_KIND_TEXT),
    [29] = ATTEMPT_RULE(confidence, WIRE_KIND_UINT32),
};
const struct wire_table event_attempt_table = {attempt_rules, ARRAY_LEN(attempt_rules)};

static const struct wire_rule received_rules[] = {
    [1] = EVENT_RULE("topic", WIRE_KIND_TEXT, received.topic),
    [2] = EVENT_RULE("partition", WIRE_KIND_INT32, received.partition),
    [3] = EVENT_RULE("offset", WIRE_KIND_INT64, received.offset),
    [4] = EVENT_RULE("bytes", WIRE_KIND_UINT64, received.bytes),
};
const struct wire_table event_received_table = {received_rules, ARRAY_LEN(received_rules)};

static const struct wire_rule dropped_rules[] = {
    [1] = EVENT_RULE("reason", WIRE_KIND_TEXT, reason),
    [2] = EVENT_RULE("detail", WIRE_KIND_TEXT, detail),
};
const struct wire_table event_dropped_table = {dropped_rules, ARRAY_LEN(dropped_rules)};

static const struct wire_rule admin_rules[] = {
    [1] = EVENT_RULE("action", WIRE_KIND_TEXT, action),
    [2] = EVENT_RULE("actor", WIRE_KIND_TEXT, actor),
    [3] = EVENT_RULE("detail", WIRE_KIND_TEXT, detail),
};
const struct wire_table event_admin_table = {admin_rules, ARRAY_LEN(admin_rules)};

#define RETURNED_RULE(member, kind)                                                                \
    {                                                                                              \
#member, kind, offsetof(struct event, returned.member)                                     \
    }

static const struct wire_rule returned_rules[] = {
    [1] = RETURNED_RULE(bounce_class, WIRE_KIND_TEXT),
    [2] = RETURNED_RULE(disposition, WIRE_KIND_TEXT),
    [3] = RETURNED_RULE(confidence, WIRE_KIND_UINT32),
    [4] = RETURNED_RULE(rule, WIRE_KIND_TEXT),
    [5] = RETURNED_RULE(code, WIRE_KIND_UINT32),
    [6] = RETURNED_RULE(enhanced, WIRE_KIND_TEXT),
    [7] = RETURNED_RULE(text, WIRE_KIND_TEXT),
    [8] = RETURNED_RULE(reported_recipient, WIRE_KIND_TEXT),
    [9] = RETURNED_RULE(reporting_mta, WIRE_KIND_TEXT),
    [10] = RETURNED_RULE(remote_mta, WIRE_KIND_TEXT),
    [11] = RETURNED_RULE(feedback_type, WIRE_KIND_TEXT),
    [12] = RETURNED_RULE(list, WIRE_KIND_TEXT),
    [13] = RETURNED_RULE(source, WIRE_KIND_TEXT),
    [14] = RETURNED_RULE(peer_address, WIRE_KIND_TEXT),
    [15] = RETURNED_RULE(peer_name, WIRE_KIND_TEXT),
    [16] = RETURNED_RULE(received_by, WIRE_KIND_TEXT),
    [17] = RETURNED_RULE(report_id, WIRE_KIND_TEXT),
    [18] = RETURNED_RULE(matched, WIRE_KIND_TEXT),
    [19] = RETURNED_RULE(suspicious, WIRE_KIND_TEXT),
    [20] = RETURNED_RULE(was_uncertain, WIRE_KIND_BOOL),
    [21] = RETURNED_RULE(sent_ms, WIRE_KIND_INT64),
    [22] = RETURNED_RULE(age_ms, WIRE_KIND_INT64),
    [23] = RETURNED_RULE(bytes, WIRE_KIND_UINT64),
    [24] = RETURNED_RULE(blame, WIRE_KIND_TEXT),
    [25] = RETURNED_RULE(cause_key, WIRE_KIND_TEXT),
    [26] = RETURNED_RULE(rules_version, WIRE_KIND_TEXT),
    [27] = RETURNED_RULE(provider, WIRE_KIND_TEXT),
};
const struct wire_table event_returned_table = {returned_rules, ARRAY_LEN(returned_rules)};

static const struct wire_rule usage_rules[] = {
    [1] = EVENT_RULE("since_ms", WIRE_KIND_INT64, usage.since_ms),
    [2] = EVENT_RULE("messages", WIRE_KIND_UINT64, usage.messages),
    [3] = EVENT_RULE("bytes", WIRE_KIND_UINT64, usage.bytes),
    [4] = EVENT_RULE("borrowed", WIRE_KIND_UINT64, usage.borrowed),
};
const struct wire_table event_usage_table = {usage_rules, ARRAY_LEN(usage_rules)};

static const struct wire_rule postponed_rules[] = {
    [1] = EVENT_RULE("reason", WIRE_KIND_TEXT, reason),
    [2] = EVENT_RULE("due_ms", WIRE_KIND_INT64, postponed.due_ms),
    [3] = EVENT_RULE("number", WIRE_KIND_UINT32, postponed.number),
    [4] = EVENT_RULE("topic", WIRE_KIND_TEXT, postponed.topic),
    [5] = EVENT_RULE("partition", WIRE_KIND_INT32, postponed.partition),
    [6] = EVENT_RULE("offset", WIRE_KIND_INT64, postponed.offset),
    [7] = EVENT_RULE("route", WIRE_KIND_TEXT, postponed.route),
};
const struct wire_table event_postponed_table = {postponed_rules, ARRAY_LEN(postponed_rules)};

const struct wire_table *event_what_table(enum event_type type)
{
    switch (type) {
    case EVENT_RECEIVED: return &event_received_table;
    case EVENT_DROPPED: return &event_dropped_table;
    case EVENT_ADMIN: return &event_admin_table;
    case EVENT_BOUNCED_LATE:
    case EVENT_COMPLAINT:
    case EVENT_UNSUBSCRIBED:
    case EVENT_AUTO_REPLY:
    case EVENT_RETURNED: return &event_returned_table;
    case EVENT_USAGE: return &event_usage_table;
    case EVENT_POSTPONED: return &event_postponed_table;
    case EVENT_NONE:
    case EVENT_ATTEMPT:
    case EVENT_DELIVERED:
    case EVENT_DEFERRED:
    case EVENT_BOUNCED:
    case EVENT_EXPIRED:
    case EVENT_UNCERTAIN: break;
    }
    return NULL;
}

const char *event_type_name(enum event_type type)
{
    uint32_t number = event_what_number(type);
    if (type == EVENT_NONE || number >= ARRAY_LEN(event_rules)) {
        return "none";
    }
    return event_rules[number].name;
}
