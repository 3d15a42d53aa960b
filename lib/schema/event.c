/*
 * struct event to and from sluice.v1.Event, without allocation on the way out: sizes first, then
 * one write into the buffer. Text of peers goes into events, so what is not UTF-8 becomes '?' byte
 * by byte, which keeps the size.
 */
#include "schema/event_private.h"

#include "schema/pairs_private.h"

#define EVENT_TEXT_MAX 2048

static bool has_attempt(enum event_type type)
{
    return type != EVENT_NONE && event_what_table(type) == NULL;
}

/* The recipient's entry of the same name wins. */
static bool overridden(const struct event *event, struct slice name)
{
    for (size_t i = 0; i < event->recipient_metadata_count; i++) {
        if (slice_eq(event->recipient_metadata[i].name, name)) {
            return true;
        }
    }
    return false;
}

static size_t metadata_size(const struct event *event)
{
    size_t sum = 0;
    for (size_t i = 0; i < event->metadata_count; i++) {
        const struct message_pair *pair = &event->metadata[i];
        if (!overridden(event, pair->name)) {
            sum += wire_pair_size(EVENT_FIELD_METADATA, pair->name, pair->value);
        }
    }
    for (size_t i = 0; i < event->recipient_metadata_count; i++) {
        const struct message_pair *pair = &event->recipient_metadata[i];
        sum += wire_pair_size(EVENT_FIELD_METADATA, pair->name, pair->value);
    }
    return sum;
}

static char *put_metadata(const struct event *event, char *out)
{
    for (size_t i = 0; i < event->metadata_count; i++) {
        const struct message_pair *pair = &event->metadata[i];
        if (!overridden(event, pair->name)) {
            out = wire_put_pair(out, EVENT_FIELD_METADATA, pair->name, pair->value, true);
        }
    }
    for (size_t i = 0; i < event->recipient_metadata_count; i++) {
        const struct message_pair *pair = &event->recipient_metadata[i];
        out = wire_put_pair(out, EVENT_FIELD_METADATA, pair->name, pair->value, true);
    }
    return out;
}

/* At most EVENT_TEXT_MAX bytes, not cut inside a UTF-8 sequence. */
static struct slice bounded_text(struct slice text)
{
    if (text.len <= EVENT_TEXT_MAX) {
        return text;
    }
    size_t len = EVENT_TEXT_MAX;
    while (len > EVENT_TEXT_MAX - 4 && ((uint8_t)text.ptr[len] & 0xc0) == 0x80) {
        len--;
    }
    return slice_head(text, len);
}

static bool encode_bounded(const struct event *event, struct strbuf *out)
{
    const struct wire_table *table = event_what_table(event->type);
    struct event_attempt attempt;
    size_t attempt_bytes = 0;
    size_t what_bytes = 0;
    if (has_attempt(event->type)) {
        attempt = event->attempt;
        attempt.text = bounded_text(attempt.text);
        attempt_bytes = wire_size(&event_attempt_table, &attempt);
        what_bytes = wire_child_size(EVENT_FIELD_ATTEMPT, attempt_bytes);
    } else if (table != NULL) {
        what_bytes = wire_size(table, event);
    }
    size_t total = wire_size(&event_table, event) + metadata_size(event);
    if (event->type != EVENT_NONE) {
        total += wire_child_size(event_what_number(event->type), what_bytes);
    }
    char *start = strbuf_reserve(out, total);
    if (start == NULL) {
        return false;
    }
    char *at = put_metadata(event, wire_put(&event_table, event, true, start));
    if (event->type != EVENT_NONE) {
        at = wire_put_child(at, event_what_number(event->type), what_bytes);
    }
    if (has_attempt(event->type)) {
        at = wire_put_child(at, EVENT_FIELD_ATTEMPT, attempt_bytes);
        at = wire_put(&event_attempt_table, &attempt, true, at);
    } else if (table != NULL) {
        at = wire_put(table, event, true, at);
    }
    CHECK((size_t)(at - start) == total);
    strbuf_commit(out, total);
    return true;
}

bool event_encode(const struct event *event, struct strbuf *out)
{
    if (event->returned.text.len <= EVENT_TEXT_MAX) {
        return encode_bounded(event, out);
    }
    struct event bounded = *event;
    bounded.returned.text = bounded_text(event->returned.text);
    return encode_bounded(&bounded, out);
}

static bool broken(struct fault *fault, const char *name)
{
    return fault_set(fault, FAULT_INVALID, 0, "%s: not well-formed, or not of the schema's type",
                     name);
}

/* Fields of one message into `base` by `table`; CHILDs are left out. */
static bool read_table(struct slice bytes, const struct wire_table *table, void *base)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    enum wire_next next;
    while ((next = wire_next(&cursor, &field)) == WIRE_FIELD) {
        const struct wire_rule *rule = wire_rule_of(table, &field);
        if (rule != NULL && !wire_matches(rule, &field)) {
            return false;
        }
        if (rule != NULL) {
            wire_store(rule, &field, base);
        }
    }
    return next == WIRE_END;
}

static bool read_attempt(struct slice bytes, struct event_attempt *attempt)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    enum wire_next next;
    while ((next = wire_next(&cursor, &field)) == WIRE_FIELD) {
        if (field.number != EVENT_FIELD_ATTEMPT) {
            continue;
        }
        if (field.type != WIRE_BYTES || !read_table(field.bytes, &event_attempt_table, attempt)) {
            return false;
        }
    }
    return next == WIRE_END;
}

/* A kind of the oneof: the last one wins, and the same kind twice is merged, as protobuf says. */
static bool read_what(const struct wire_field *field, struct event *event)
{
    enum event_type type = (enum event_type)(field->number - EVENT_FIELD_WHAT + 1);
    if (type != event->type) {
        event->type = type;
        event->attempt = (struct event_attempt){0};
        memset(&event->received, 0, sizeof(event->received));
        memset(&event->usage, 0, sizeof(event->usage));
        memset(&event->postponed, 0, sizeof(event->postponed));
        event->returned = (struct event_returned){0};
        event->reason = event->detail = event->action = event->actor = SLICE_NULL;
    }
    const struct wire_table *table = event_what_table(type);
    return table != NULL ? read_table(field->bytes, table, event)
                         : read_attempt(field->bytes, &event->attempt);
}

static bool read_event(struct slice record, struct pairs *metadata, struct event *event,
                       struct fault *fault)
{
    struct wire_cursor cursor = wire_cursor_of(record);
    struct wire_field field;
    enum wire_next next;
    while ((next = wire_next(&cursor, &field)) == WIRE_FIELD) {
        const struct wire_rule *rule = wire_rule_of(&event_table, &field);
        bool ok = true;
        if (rule == NULL) {
            continue;
        }
        if (!wire_matches(rule, &field)) {
            ok = false;
        } else if (field.number == EVENT_FIELD_METADATA) {
            ok = pairs_read(metadata, field.bytes) == PAIRS_OK;
        } else if (rule->kind == WIRE_KIND_CHILD) {
            ok = read_what(&field, event);
        } else {
            wire_store(rule, &field, event);
        }
        if (!ok) {
            return broken(fault, rule->name);
        }
    }
    return next == WIRE_END || broken(fault, "record");
}

bool event_decode(struct slice record, struct arena *arena, struct event *event,
                  struct fault *fault)
{
    struct pairs metadata;
    metadata.count = 0;
    *event = (struct event){0};
    struct slice copy = arena_copy(arena, record);
    if (copy.ptr == NULL) {
        return fault_set(fault, FAULT_LIMIT, 0, "record: %s", pairs_problem(PAIRS_NO_MEMORY));
    }
    if (!read_event(copy, &metadata, event, fault)) {
        return false;
    }
    return pairs_keep(&metadata, arena, &event->metadata, &event->metadata_count) == PAIRS_OK ||
           fault_set(fault, FAULT_LIMIT, 0, "metadata: %s", pairs_problem(PAIRS_NO_MEMORY));
}
