/*
 * An event as one JSON object (RFC 8259) on one line. Keys as in event.proto; members with their
 * default value are left out, but for event_id, time_ms and type; phases and scopes by their names.
 * What is not UTF-8 becomes '?'.
 */
#include "schema/event_private.h"
#include "schema/json.h"

#include "smtp/outcome.h"

struct writer {
    struct strbuf *out;
    bool first; /* no member of the open object yet */
};

static void add_key(struct writer *writer, const char *name)
{
    strbuf_add_cstr(writer->out, writer->first ? "\"" : ",\"");
    strbuf_add_cstr(writer->out, name);
    strbuf_add_cstr(writer->out, "\":");
    writer->first = false;
}

static void open_object(struct writer *writer)
{
    strbuf_add_byte(writer->out, '{');
    writer->first = true;
}

static void close_object(struct writer *writer)
{
    strbuf_add_byte(writer->out, '}');
    writer->first = false;
}

static void add_enum(struct writer *writer, const char *name, int value)
{
    bool phase = strcmp(name, "phase") == 0;
    bool known = phase ? value <= SMTP_PHASE_IDLE : value <= SMTP_SCOPE_SITE;
    add_key(writer, name);
    if (value < 0 || !known) { /* a later version's */
        json_add_signed(writer->out, value);
        return;
    }
    json_add_string(writer->out, slice_cstr(phase ? smtp_phase_name((enum smtp_phase)value)
                                                  : smtp_scope_name((enum smtp_scope)value)));
}

static void add_member(struct writer *writer, const struct wire_rule *rule, const void *base)
{
    const char *member = (const char *)base + rule->offset;
    struct slice text = SLICE_NULL;
    int64_t number = 0;
    uint32_t narrow = 0;
    int32_t negative = 0;
    bool truth = false;
    switch (rule->kind) {
    case WIRE_KIND_TEXT:
    case WIRE_KIND_BLOB:
        memcpy(&text, member, sizeof(text));
        if (text.len > 0) {
            add_key(writer, rule->name);
            json_add_string(writer->out, text);
        }
        return;
    case WIRE_KIND_BOOL:
        memcpy(&truth, member, sizeof(truth));
        if (truth) {
            add_key(writer, rule->name);
            strbuf_add_cstr(writer->out, "true");
        }
        return;
    case WIRE_KIND_ENUM:
        memcpy(&negative, member, sizeof(negative));
        if (negative != 0) {
            add_enum(writer, rule->name, negative);
        }
        return;
    case WIRE_KIND_INT64:
    case WIRE_KIND_UINT64: memcpy(&number, member, sizeof(number)); break;
    case WIRE_KIND_UINT32:
        memcpy(&narrow, member, sizeof(narrow));
        number = narrow;
        break;
    case WIRE_KIND_INT32:
        memcpy(&negative, member, sizeof(negative));
        number = negative;
        break;
    case WIRE_KIND_NONE:
    case WIRE_KIND_CHILD: return;
    }
    if (number != 0) {
        add_key(writer, rule->name);
        if (rule->kind == WIRE_KIND_UINT64) {
            json_add_unsigned(writer->out, (uint64_t)number);
        } else {
            json_add_signed(writer->out, number);
        }
    }
}

static void add_table(struct writer *writer, const struct wire_table *table, const void *base)
{
    for (uint32_t n = 1; n < table->count; n++) {
        add_member(writer, &table->rules[n], base);
    }
}

static void add_pair(struct writer *writer, const struct message_pair *pair)
{
    strbuf_add_cstr(writer->out, writer->first ? "" : ",");
    json_add_string(writer->out, pair->name);
    strbuf_add_byte(writer->out, ':');
    json_add_string(writer->out, pair->value);
    writer->first = false;
}

/* Those of the message that the recipient's do not replace, then the recipient's. */
static void add_metadata(struct writer *writer, const struct event *event)
{
    if (event->metadata_count + event->recipient_metadata_count == 0) {
        return;
    }
    add_key(writer, "metadata");
    open_object(writer);
    for (size_t i = 0; i < event->metadata_count; i++) {
        bool replaced = false;
        for (size_t j = 0; j < event->recipient_metadata_count; j++) {
            replaced =
                replaced || slice_eq(event->recipient_metadata[j].name, event->metadata[i].name);
        }
        if (!replaced) {
            add_pair(writer, &event->metadata[i]);
        }
    }
    for (size_t i = 0; i < event->recipient_metadata_count; i++) {
        add_pair(writer, &event->recipient_metadata[i]);
    }
    close_object(writer);
}

static void add_what(struct writer *writer, const struct event *event)
{
    const struct wire_table *table = event_what_table(event->type);
    add_key(writer, event_type_name(event->type));
    open_object(writer);
    if (table != NULL) {
        add_table(writer, table, event);
    } else {
        add_key(writer, "attempt");
        open_object(writer);
        add_table(writer, &event_attempt_table, &event->attempt);
        close_object(writer);
    }
    close_object(writer);
}

bool event_to_json(const struct event *event, struct strbuf *out)
{
    struct writer writer = {.out = out};
    open_object(&writer);
    add_key(&writer, "event_id");
    json_add_string(out, event->event_id);
    add_key(&writer, "time_ms");
    json_add_signed(out, event->time_ms);
    add_key(&writer, "type");
    json_add_string(out, slice_cstr(event_type_name(event->type)));
    for (uint32_t n = 3; n < event_table.count; n++) {
        add_member(&writer, &event_table.rules[n], event);
    }
    add_metadata(&writer, event);
    if (event->type != EVENT_NONE) {
        add_what(&writer, event);
    }
    close_object(&writer);
    return !out->overflow;
}
