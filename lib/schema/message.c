/*
 * Reading sluice.v1.Message. Three steps, so that a megabyte of content is never touched but by the
 * 8-bit scan:
 *   1. the top-level fields are walked: where content lies, how many bytes the others have, how
 * many recipients;
 *   2. the others are copied into the arena, content is left in the record;
 *   3. the copy is read by the tables of message_tables.c: slices point into it.
 * protobuf-c is not used here, since its strings end at the first NUL: "a@example.com\0…" would
 * pass as an address.
 */
#include "schema/message_private.h"

#include "schema/framing.h"
#include "schema/pairs_private.h"

#include <endian.h>

/* What step 1 finds. */
struct survey {
    size_t other_bytes;
    size_t recipient_count;
    bool broken;
};

static struct survey survey_fields(struct slice record)
{
    struct survey survey = {0};
    struct wire_cursor cursor = wire_cursor_of(record);
    struct wire_field field;
    enum wire_next next;
    while ((next = wire_next(&cursor, &field)) == WIRE_FIELD) {
        if (field.number == MESSAGE_FIELD_CONTENT) {
            continue;
        }
        survey.other_bytes += (size_t)(cursor.at - field.start);
        survey.recipient_count += field.number == MESSAGE_FIELD_RECIPIENTS ? 1 : 0;
    }
    survey.broken = next == WIRE_BROKEN;
    return survey;
}

/* Step 2: the well-formed fields but content, one behind the other; content (the last one) into the
 * message. */
static bool gather_others(struct slice record, char *out, struct message *message)
{
    struct wire_cursor cursor = wire_cursor_of(record);
    struct wire_field field;
    const char *run = record.ptr;
    bool content_ok = true;
    while (wire_next(&cursor, &field) == WIRE_FIELD) {
        if (field.number != MESSAGE_FIELD_CONTENT) {
            continue;
        }
        content_ok = content_ok && field.type == WIRE_BYTES;
        message->content = field.bytes;
        memcpy(out, run, (size_t)(field.start - run));
        out += field.start - run;
        run = cursor.at;
    }
    if (cursor.at > run) {
        memcpy(out, run, (size_t)(cursor.at - run));
    }
    return content_ok;
}

static bool no_memory(struct fault *fault)
{
    return fault_set(fault, FAULT_LIMIT, 0, "record: %s", pairs_problem(PAIRS_NO_MEMORY));
}

static bool wrong_type(struct fault *fault, const char *name)
{
    return fault_set(fault, FAULT_INVALID, 0, "%s: not of the schema's type", name);
}

static bool pairs_fault(struct fault *fault, const char *name, enum pairs_result result)
{
    return fault_set(fault, FAULT_INVALID, 0, "%s: %s", name, pairs_problem(result));
}

static bool read_recipient(struct slice bytes, size_t index, struct arena *arena,
                           struct message_recipient *recipient, struct fault *fault)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    enum wire_next next;
    struct pairs metadata;
    metadata.count = 0;
    while ((next = wire_next(&cursor, &field)) == WIRE_FIELD) {
        const struct wire_rule *rule = wire_rule_of(&message_recipient_table, &field);
        if (rule == NULL) {
            continue;
        }
        if (!wire_matches(rule, &field)) {
            wrong_type(fault, rule->name);
            return message_recipient_fault(fault, index);
        }
        wire_store(rule, &field, recipient);
        if (field.number == RECIPIENT_FIELD_METADATA) {
            enum pairs_result result = pairs_read(&metadata, field.bytes);
            if (result != PAIRS_OK) {
                pairs_fault(fault, rule->name, result);
                return message_recipient_fault(fault, index);
            }
        }
    }
    if (next == WIRE_BROKEN) {
        return fault_set(fault, FAULT_INVALID, 0, "recipients[%zu]: not well-formed protobuf",
                         index);
    }
    return pairs_keep(&metadata, arena, &recipient->metadata, &recipient->metadata_count) ==
               PAIRS_OK ||
           no_memory(fault);
}

/* Children of the message itself. */
struct children {
    struct pairs metadata;
    struct pairs signing;
};

static bool read_child(const struct wire_field *field, const char *name, struct arena *arena,
                       struct message *message, struct children *children, struct fault *fault)
{
    if (field->number == MESSAGE_FIELD_RECIPIENTS) {
        if (message->recipient_count == MESSAGE_RECIPIENTS_MAX) {
            return fault_set(fault, FAULT_INVALID, 0, "recipients: more than %d",
                             MESSAGE_RECIPIENTS_MAX);
        }
        size_t index = message->recipient_count++;
        return read_recipient(field->bytes, index, arena, &message->recipients[index], fault);
    }
    enum pairs_result result = field->number == MESSAGE_FIELD_METADATA
                                   ? pairs_read(&children->metadata, field->bytes)
                                   : pairs_append(&children->signing, field->bytes);
    return result == PAIRS_OK || pairs_fault(fault, name, result);
}

/* Step 3. Stops at the first thing that is wrong; what stands before it is in the message then. */
static bool read_fields(struct slice others, struct arena *arena, struct message *message,
                        struct fault *fault)
{
    struct wire_cursor cursor = wire_cursor_of(others);
    struct wire_field field;
    struct children children;
    children.metadata.count = 0;
    children.signing.count = 0;
    bool ok = true;
    while (ok && wire_next(&cursor, &field) == WIRE_FIELD) {
        const struct wire_rule *rule = wire_rule_of(&message_table, &field);
        if (rule == NULL) {
            continue;
        }
        if (!wire_matches(rule, &field)) {
            ok = wrong_type(fault, rule->name);
        } else if (rule->kind == WIRE_KIND_CHILD) {
            ok = read_child(&field, rule->name, arena, message, &children, fault);
        } else {
            wire_store(rule, &field, message);
        }
    }
    if (pairs_keep(&children.metadata, arena, &message->metadata, &message->metadata_count) !=
            PAIRS_OK ||
        pairs_keep(&children.signing, arena, &message->signing, &message->signing_count) !=
            PAIRS_OK) {
        return ok && no_memory(fault);
    }
    return ok;
}

void message_id_of_key(struct slice tenant, struct slice key, char out[UUID_TEXT_LEN + 1])
{
    /* Neither may hold a NUL, so no two pairs give the same text. */
    char text[MESSAGE_TENANT_MAX + MESSAGE_KEY_MAX + 8];
    int used =
        snprintf(text, sizeof(text), "key%c%.*s%c%.*s", 0, SLICE_FMT(tenant), 0, SLICE_FMT(key));
    CHECK(used > 0 && (size_t)used < sizeof(text));
    struct uuid id = uuid_derive(slice_of(text, (size_t)used));
    uuid_format(&id, out);
}

static struct uuid id_of_place(const struct message_origin *origin)
{
    char key[300];
    uint64_t place[2] = {htole64((uint64_t)(int64_t)origin->partition),
                         htole64((uint64_t)origin->offset)};
    size_t topic_bytes = origin->topic.len < sizeof(key) - sizeof(place)
                             ? origin->topic.len
                             : sizeof(key) - sizeof(place);
    memcpy(key, place, sizeof(place));
    if (topic_bytes > 0) {
        memcpy(key + sizeof(place), origin->topic.ptr, topic_bytes);
    }
    return uuid_derive(slice_of(key, sizeof(place) + topic_bytes));
}

/* The same id each time the record is read. `by_key`: each time the message is published. */
static bool derive_id(const struct message_origin *origin, bool by_key, struct arena *arena,
                      struct message *message)
{
    char *text = arena_try_alloc(arena, UUID_TEXT_LEN + 1);
    if (text == NULL) {
        return false;
    }
    if (by_key) {
        message_id_of_key(message->tenant, message->idempotency_key, text);
    } else {
        struct uuid id = id_of_place(origin);
        uuid_format(&id, text);
    }
    message->id = slice_of(text, UUID_TEXT_LEN);
    return true;
}

static bool read_record(struct slice record, struct arena *arena, struct message *message,
                        struct fault *fault)
{
    struct slice bytes;
    uint32_t schema_id;
    if (record.len == 0) {
        return fault_set(fault, FAULT_INVALID, 0, "record: empty");
    }
    if (!framing_strip(record, &bytes, &schema_id)) {
        return fault_set(fault, FAULT_INVALID, 0, "record: broken Confluent frame");
    }
    struct survey survey = survey_fields(bytes);
    size_t recipients = survey.recipient_count < MESSAGE_RECIPIENTS_MAX ? survey.recipient_count
                                                                        : MESSAGE_RECIPIENTS_MAX;
    size_t recipient_bytes = recipients * sizeof(*message->recipients);
    char *others = arena_try_alloc(arena, survey.other_bytes);
    message->recipients = arena_try_alloc(arena, recipient_bytes);
    if (others == NULL || message->recipients == NULL) {
        return no_memory(fault);
    }
    memset(message->recipients, 0, recipient_bytes);
    bool content_ok = gather_others(bytes, others, message);
    if (!read_fields(slice_of(others, survey.other_bytes), arena, message, fault)) {
        return false;
    }
    if (survey.broken) {
        return fault_set(fault, FAULT_INVALID, 0, "record: not well-formed protobuf");
    }
    return content_ok || wrong_type(fault, "content");
}

bool message_decode(struct slice record, const struct message_origin *origin, struct arena *arena,
                    struct message *message, struct fault *fault)
{
    *message = (struct message){0};
    bool ok = read_record(record, arena, message, fault);
    if (ok) {
        ok = message_validate(message, arena, fault);
    }
    struct uuid id;
    if (message->id.len == 0 || (!ok && !uuid_parse(message->id, &id))) {
        bool by_key = ok && message->idempotency_key.len > 0;
        return derive_id(origin, by_key, arena, message) ? ok : no_memory(fault);
    }
    return ok;
}
