#include "schema/completion.h"

#include "base/mem.h"
#include "schema/completion_private.h"

#define CLASS_UNIT 1000000u
#define SUBJECT_UNIT 1000u
#define JOURNAL_WRITER 1
#define JOURNAL_PLACES 2
#define JOURNAL_ENTRIES 3
#define ENTRY_RECIPIENTS 6
#define ENTRY_OUTCOMES 7
#define OUTCOME_RECIPIENTS 1

#define RULE(owner, member, kind)                                                                  \
    {                                                                                              \
#member, kind, offsetof(struct owner, member)                                              \
    }

static const struct wire_rule place_rules[] = {
    [1] = RULE(ledger_partition, topic, WIRE_KIND_TEXT),
    [2] = RULE(ledger_partition, partition, WIRE_KIND_INT32),
    [3] = RULE(ledger_partition, claim, WIRE_KIND_UINT64),
};
static const struct wire_table place_table = {place_rules, ARRAY_LEN(place_rules)};

static const struct wire_rule entry_rules[] = {
    [1] = RULE(ledger_entry, kind, WIRE_KIND_ENUM),
    [2] = RULE(ledger_entry, place, WIRE_KIND_UINT32),
    [3] = RULE(ledger_entry, offset, WIRE_KIND_INT64),
    [4] = RULE(ledger_entry, length, WIRE_KIND_UINT32),
    [5] = RULE(ledger_entry, turn, WIRE_KIND_UINT32),
};
static const struct wire_table entry_table = {entry_rules, ARRAY_LEN(entry_rules)};

/* An outcome but for its recipients, as it travels. */
struct outcome_wire {
    int result;
    uint32_t code;
    uint32_t enhanced;
    struct slice text;
    int64_t due_ms;
};

static const struct wire_rule outcome_rules[] = {
    [2] = RULE(outcome_wire, result, WIRE_KIND_ENUM),
    [3] = RULE(outcome_wire, code, WIRE_KIND_UINT32),
    [4] = RULE(outcome_wire, enhanced, WIRE_KIND_UINT32),
    [5] = RULE(outcome_wire, text, WIRE_KIND_TEXT),
    [6] = RULE(outcome_wire, due_ms, WIRE_KIND_INT64),
};
static const struct wire_table outcome_table = {outcome_rules, ARRAY_LEN(outcome_rules)};

/* ---- writing ---- */

/* Room for `len` bytes, without remembering that there was none. */
static char *room(struct strbuf *out, size_t len)
{
    if (out->overflow || len > out->max - out->len) {
        return NULL;
    }
    return strbuf_reserve(out, len);
}

static size_t numbers_size(const uint32_t *numbers, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += wire_varint_size(numbers[i]);
    }
    return sum;
}

static size_t packed_size(uint32_t number, const uint32_t *numbers, size_t count)
{
    return count == 0 ? 0 : wire_child_size(number, numbers_size(numbers, count));
}

static char *put_packed(char *at, uint32_t number, const uint32_t *numbers, size_t count)
{
    if (count == 0) {
        return at;
    }
    at = wire_put_child(at, number, numbers_size(numbers, count));
    for (size_t i = 0; i < count; i++) {
        at = wire_put_varint(at, numbers[i]);
    }
    return at;
}

static struct outcome_wire outcome_of(const struct ledger_outcome *outcome)
{
    return (struct outcome_wire){.result = (int)outcome->result,
                                 .code = outcome->code,
                                 .enhanced = outcome->enhanced.klass * CLASS_UNIT +
                                             outcome->enhanced.subject * SUBJECT_UNIT +
                                             outcome->enhanced.detail,
                                 .text = slice_head(outcome->text, LEDGER_TEXT_MAX),
                                 .due_ms = outcome->due_ms};
}

static size_t outcome_size(const struct ledger_outcome *outcome)
{
    struct outcome_wire flat = outcome_of(outcome);
    return packed_size(OUTCOME_RECIPIENTS, outcome->recipients, outcome->recipient_count) +
           wire_size(&outcome_table, &flat);
}

static char *put_outcome(char *at, const struct ledger_outcome *outcome)
{
    struct outcome_wire flat = outcome_of(outcome);
    at = wire_put_child(at, ENTRY_OUTCOMES, outcome_size(outcome));
    at = put_packed(at, OUTCOME_RECIPIENTS, outcome->recipients, outcome->recipient_count);
    return wire_put(&outcome_table, &flat, true, at);
}

bool completion_put_writer(struct strbuf *out, struct slice writer)
{
    size_t size = wire_child_size(JOURNAL_WRITER, writer.len);
    char *at = room(out, size);
    if (at == NULL) {
        return false;
    }
    at = wire_put_child(at, JOURNAL_WRITER, writer.len);
    if (writer.len > 0) {
        memcpy(at, writer.ptr, writer.len);
        wire_text_sanitise(at, writer.len);
    }
    strbuf_commit(out, size);
    return true;
}

bool completion_put_place(struct strbuf *out, const struct ledger_partition *place)
{
    size_t inner = wire_size(&place_table, place);
    size_t size = wire_child_size(JOURNAL_PLACES, inner);
    char *at = room(out, size);
    if (at == NULL) {
        return false;
    }
    wire_put(&place_table, place, true, wire_put_child(at, JOURNAL_PLACES, inner));
    strbuf_commit(out, size);
    return true;
}

bool completion_put_entry(struct strbuf *out, const struct ledger_entry *entry)
{
    size_t inner = wire_size(&entry_table, entry) +
                   packed_size(ENTRY_RECIPIENTS, entry->recipients, entry->recipient_count);
    for (size_t i = 0; i < entry->outcome_count; i++) {
        inner += wire_child_size(ENTRY_OUTCOMES, outcome_size(&entry->outcomes[i]));
    }
    size_t size = wire_child_size(JOURNAL_ENTRIES, inner);
    char *at = room(out, size);
    if (at == NULL) {
        return false;
    }
    at = wire_put_child(at, JOURNAL_ENTRIES, inner);
    at = wire_put(&entry_table, entry, false, at);
    at = put_packed(at, ENTRY_RECIPIENTS, entry->recipients, entry->recipient_count);
    for (size_t i = 0; i < entry->outcome_count; i++) {
        at = put_outcome(at, &entry->outcomes[i]);
    }
    strbuf_commit(out, size);
    return true;
}

/* ---- reading a journal ---- */

struct completion_reader {
    struct wire_cursor at;
    struct ledger_partition *places;
    size_t place_count, place_capacity;
    size_t recipient_count, outcome_count, outcome_recipient_count;
    uint32_t recipients[MESSAGE_RECIPIENTS_MAX];
    struct ledger_outcome outcomes[MESSAGE_RECIPIENTS_MAX];
    uint32_t outcome_recipients[MESSAGE_RECIPIENTS_MAX];
};

struct completion_reader *completion_reader_create(void)
{
    return mem_zalloc(sizeof(struct completion_reader));
}

void completion_reader_free(struct completion_reader **reader)
{
    if (*reader != NULL) {
        mem_free((*reader)->places);
        mem_free(*reader);
        *reader = NULL;
    }
}

bool completion_writer(struct slice record, struct slice *writer)
{
    struct wire_cursor cursor = wire_cursor_of(record);
    struct wire_field field;
    while (wire_next(&cursor, &field) == WIRE_FIELD) {
        if (field.number == JOURNAL_WRITER) {
            *writer = field.bytes;
            return field.type == WIRE_BYTES && field.bytes.len > 0 &&
                   field.bytes.len <= LEDGER_NAME_MAX;
        }
    }
    return false;
}

void completion_read(struct completion_reader *reader, struct slice record)
{
    reader->at = wire_cursor_of(record);
    reader->place_count = 0;
}

bool completion_members(const struct wire_table *table, struct slice bytes, void *base)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    enum wire_next next;
    while ((next = wire_next(&cursor, &field)) == WIRE_FIELD) {
        const struct wire_rule *rule = wire_rule_of(table, &field);
        if (rule == NULL) {
            continue;
        }
        if (!wire_matches(rule, &field)) {
            return false;
        }
        wire_store(rule, &field, base);
    }
    return next == WIRE_END;
}

/* A repeated number, packed or not, behind the `*count` that are there. */
static bool read_recipients(const struct wire_field *field, uint32_t *out, size_t *count)
{
    struct wire_cursor cursor = wire_cursor_of(field->bytes);
    uint64_t value = field->value;
    bool single = field->type == WIRE_VARINT;
    if (!single && field->type != WIRE_BYTES) {
        return false;
    }
    while (single || cursor.at != cursor.end) {
        if ((!single && !wire_varint(&cursor, &value)) || value >= MESSAGE_RECIPIENTS_MAX ||
            *count == MESSAGE_RECIPIENTS_MAX) {
            return false;
        }
        out[(*count)++] = (uint32_t)value;
        single = false;
    }
    return true;
}

static bool read_place(struct completion_reader *reader, struct slice bytes)
{
    struct ledger_partition place = {.topic = SLICE_NULL};
    if (!completion_members(&place_table, bytes, &place) || place.topic.len == 0 ||
        place.topic.len > LEDGER_NAME_MAX || place.partition < 0 ||
        reader->place_count == LEDGER_PLACES_MAX) {
        return false;
    }
    if (reader->place_count == reader->place_capacity) {
        reader->place_capacity = reader->place_capacity == 0 ? 16 : reader->place_capacity * 2;
        reader->places =
            mem_realloc(reader->places, reader->place_capacity * sizeof(*reader->places));
    }
    reader->places[reader->place_count++] = place;
    return true;
}

static bool read_outcome(struct completion_reader *reader, struct slice bytes)
{
    struct outcome_wire flat = {.result = LEDGER_UNTRIED};
    if (reader->outcome_count == MESSAGE_RECIPIENTS_MAX ||
        !completion_members(&outcome_table, bytes, &flat) || flat.result < LEDGER_UNTRIED ||
        flat.result > LEDGER_UNCERTAIN || flat.code > UINT16_MAX ||
        flat.enhanced >= 10 * CLASS_UNIT) {
        return false;
    }
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    size_t first = reader->outcome_recipient_count;
    while (wire_next(&cursor, &field) == WIRE_FIELD) {
        if (field.number == OUTCOME_RECIPIENTS &&
            !read_recipients(&field, reader->outcome_recipients,
                             &reader->outcome_recipient_count)) {
            return false;
        }
    }
    reader->outcomes[reader->outcome_count++] = (struct ledger_outcome){
        .recipients = reader->outcome_recipients + first,
        .recipient_count = reader->outcome_recipient_count - first,
        .result = (enum ledger_result)flat.result,
        .code = (uint16_t)flat.code,
        .enhanced = {.klass = (uint8_t)(flat.enhanced / CLASS_UNIT),
                     .subject = (uint16_t)(flat.enhanced / SUBJECT_UNIT % SUBJECT_UNIT),
                     .detail = (uint16_t)(flat.enhanced % SUBJECT_UNIT)},
        .text = slice_head(flat.text, LEDGER_TEXT_MAX),
        .due_ms = flat.due_ms};
    return true;
}

static bool read_lists(struct completion_reader *reader, struct slice bytes)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    reader->recipient_count = reader->outcome_count = reader->outcome_recipient_count = 0;
    while (wire_next(&cursor, &field) == WIRE_FIELD) {
        if (field.number == ENTRY_RECIPIENTS &&
            !read_recipients(&field, reader->recipients, &reader->recipient_count)) {
            return false;
        }
        if (field.number == ENTRY_OUTCOMES &&
            (field.type != WIRE_BYTES || !read_outcome(reader, field.bytes))) {
            return false;
        }
    }
    return true;
}

static bool entry_sound(const struct ledger_entry *entry)
{
    switch (entry->kind) {
    case LEDGER_INTENT: return entry->turn > 0 && entry->recipient_count > 0;
    case LEDGER_DONE: return entry->turn > 0 && entry->outcome_count > 0;
    case LEDGER_CLOSED: return entry->offset <= INT64_MAX - (int64_t)entry->length;
    case LEDGER_LEFT:
    case LEDGER_NOTHING: break;
    }
    return true;
}

static bool read_entry(struct completion_reader *reader, struct slice bytes,
                       struct ledger_entry *entry, struct ledger_partition *place)
{
    int kind;
    *entry = (struct ledger_entry){.kind = LEDGER_NOTHING};
    *place = (struct ledger_partition){.topic = SLICE_NULL};
    if (!completion_members(&entry_table, bytes, entry)) {
        return false;
    }
    memcpy(&kind, &entry->kind, sizeof(kind)); /* may be none of the enum's */
    if (kind <= LEDGER_NOTHING || kind > LEDGER_LEFT) {
        *entry = (struct ledger_entry){.kind = LEDGER_NOTHING};
        return true;
    }
    if (entry->place >= reader->place_count || entry->offset < 0 || !read_lists(reader, bytes)) {
        return false;
    }
    *place = reader->places[entry->place];
    entry->length = kind == LEDGER_CLOSED && entry->length == 0 ? 1 : entry->length;
    entry->recipients = reader->recipients;
    entry->recipient_count = reader->recipient_count;
    entry->outcomes = reader->outcomes;
    entry->outcome_count = reader->outcome_count;
    return entry_sound(entry);
}

enum completion_next completion_next(struct completion_reader *reader, struct ledger_entry *entry,
                                     struct ledger_partition *place)
{
    struct wire_field field;
    enum wire_next next;
    while ((next = wire_next(&reader->at, &field)) == WIRE_FIELD) {
        bool ours = field.number >= JOURNAL_WRITER && field.number <= JOURNAL_ENTRIES;
        if ((ours && field.type != WIRE_BYTES) ||
            (field.number == JOURNAL_PLACES && !read_place(reader, field.bytes))) {
            break;
        }
        if (field.number == JOURNAL_ENTRIES) {
            return read_entry(reader, field.bytes, entry, place) ? COMPLETION_ENTRY
                                                                 : COMPLETION_BROKEN_ENTRY;
        }
    }
    if (next == WIRE_END) {
        return COMPLETION_END;
    }
    reader->at.at = reader->at.end; /* asked again: the end */
    return COMPLETION_BROKEN;
}
