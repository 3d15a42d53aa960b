#include "schema/suppression.h"

#include "schema/wire.h"

#define TEXT_MAX 500 /* of each text: an event may tell what a stranger wrote, however long */
#define FIELD_STRIKES 11
#define FIELD_POSITIONS 4

#define RULE(owner, member, kind)                                                                  \
    {                                                                                              \
#member, kind, offsetof(struct owner, member)                                              \
    }

static const struct wire_rule entry_rules[] = {
    [1] = RULE(suppression, reason, WIRE_KIND_ENUM),
    [2] = RULE(suppression, time_ms, WIRE_KIND_INT64),
    [3] = RULE(suppression, expires_ms, WIRE_KIND_INT64),
    [4] = RULE(suppression, bounce_class, WIRE_KIND_TEXT),
    [5] = RULE(suppression, event_id, WIRE_KIND_TEXT),
    [6] = RULE(suppression, message_id, WIRE_KIND_TEXT),
    [7] = RULE(suppression, campaign, WIRE_KIND_TEXT),
    [8] = RULE(suppression, actor, WIRE_KIND_TEXT),
    [9] = RULE(suppression, note, WIRE_KIND_TEXT),
    [10] = RULE(suppression, removed_ms, WIRE_KIND_INT64),
    [FIELD_STRIKES] = {"strikes", WIRE_KIND_CHILD, 0},
    [12] = RULE(suppression, full_first_ms, WIRE_KIND_INT64),
    [13] = RULE(suppression, full_last_ms, WIRE_KIND_INT64),
    [14] = RULE(suppression, epoch, WIRE_KIND_UINT64),
};
static const struct wire_table entry_table = {entry_rules, ARRAY_LEN(entry_rules)};

static const struct wire_rule strike_rules[] = {
    [1] = RULE(suppression_strike, time_ms, WIRE_KIND_INT64),
    [2] = RULE(suppression_strike, event, WIRE_KIND_UINT64),
};
static const struct wire_table strike_table = {strike_rules, ARRAY_LEN(strike_rules)};

static const struct wire_rule progress_rules[] = {
    [1] = RULE(suppression_progress, builder, WIRE_KIND_TEXT),
    [2] = RULE(suppression_progress, epoch, WIRE_KIND_UINT64),
    [3] = RULE(suppression_progress, time_ms, WIRE_KIND_INT64),
    [FIELD_POSITIONS] = {"positions", WIRE_KIND_CHILD, 0},
};
static const struct wire_table progress_table = {progress_rules, ARRAY_LEN(progress_rules)};

static const struct wire_rule position_rules[] = {
    [1] = RULE(suppression_position, topic, WIRE_KIND_TEXT),
    [2] = RULE(suppression_position, partition, WIRE_KIND_INT32),
    [3] = RULE(suppression_position, next_offset, WIRE_KIND_INT64),
};
static const struct wire_table position_table = {position_rules, ARRAY_LEN(position_rules)};

static const char *const reasons[SUPPRESSION_REASON_COUNT] = {
    "none", "hard", "repeated", "mailbox-full", "complaint", "unsubscribed", "manual", "imported",
};

const char *suppression_reason_name(int reason)
{
    return reason >= 0 && reason < SUPPRESSION_REASON_COUNT ? reasons[reason] : "other";
}

bool suppression_reason_parse(struct slice name, int *reason)
{
    for (int i = 0; i < SUPPRESSION_REASON_COUNT; i++) {
        if (slice_eq(name, slice_cstr(reasons[i]))) {
            *reason = i;
            return true;
        }
    }
    return false;
}

/* ---- writing ---- */

/* A repeated message: `size` bytes apart, each by `table`. */
static size_t children_size(const struct wire_table *table, uint32_t number, const void *items,
                            size_t size, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += wire_child_size(number, wire_size(table, (const char *)items + i * size));
    }
    return sum;
}

static char *put_children(const struct wire_table *table, uint32_t number, const void *items,
                          size_t size, size_t count, char *at)
{
    for (size_t i = 0; i < count; i++) {
        const void *item = (const char *)items + i * size;
        at = wire_put_child(at, number, wire_size(table, item));
        at = wire_put(table, item, true, at);
    }
    return at;
}

/* At most TEXT_MAX bytes, and no character of UTF-8 in part. */
static void cut(struct slice *text)
{
    size_t len = TEXT_MAX;
    if (text->len <= len) {
        return;
    }
    while (len > 0 && ((unsigned char)text->ptr[len] & 0xc0) == 0x80) {
        len--;
    }
    *text = slice_head(*text, len);
}

bool suppression_encode(const struct suppression *given, struct strbuf *out)
{
    struct suppression entry = *given;
    struct slice *const texts[] = {&entry.bounce_class, &entry.event_id, &entry.message_id,
                                   &entry.campaign,     &entry.actor,    &entry.note};
    CHECK(entry.strike_count <= SUPPRESSION_STRIKES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cut(texts[i]);
    }
    size_t total = wire_size(&entry_table, &entry) +
                   children_size(&strike_table, FIELD_STRIKES, entry.strikes,
                                 sizeof(entry.strikes[0]), entry.strike_count);
    char *start = strbuf_reserve(out, total);
    if (start == NULL) {
        return false;
    }
    char *at = wire_put(&entry_table, &entry, true, start);
    at = put_children(&strike_table, FIELD_STRIKES, entry.strikes, sizeof(entry.strikes[0]),
                      entry.strike_count, at);
    CHECK((size_t)(at - start) == total);
    strbuf_commit(out, total);
    return true;
}

bool suppression_progress_encode(const struct suppression_progress *progress,
                                 const struct suppression_position *positions, size_t count,
                                 struct strbuf *out)
{
    size_t total =
        wire_size(&progress_table, progress) +
        children_size(&position_table, FIELD_POSITIONS, positions, sizeof(*positions), count);
    char *start = strbuf_reserve(out, total);
    if (start == NULL) {
        return false;
    }
    char *at = wire_put(&progress_table, progress, true, start);
    at = put_children(&position_table, FIELD_POSITIONS, positions, sizeof(*positions), count, at);
    CHECK((size_t)(at - start) == total);
    strbuf_commit(out, total);
    return true;
}

/* ---- reading ---- */

/* Fields into `base`; `child` is given each repeated message. False: not well-formed. */
struct reading {
    const struct wire_table *table;
    void *base;
    bool (*child)(void *owner, struct slice bytes);
    void *owner;
};

static bool read_fields(struct slice bytes, const struct reading *reading, const char **broken)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    enum wire_next next;
    while ((next = wire_next(&cursor, &field)) == WIRE_FIELD) {
        const struct wire_rule *rule = wire_rule_of(reading->table, &field);
        if (rule == NULL) {
            continue;
        }
        *broken = rule->name;
        if (!wire_matches(rule, &field) ||
            (rule->kind == WIRE_KIND_CHILD &&
             (reading->child == NULL || !reading->child(reading->owner, field.bytes)))) {
            return false;
        }
        wire_store(rule, &field, reading->base);
    }
    *broken = "record";
    return next == WIRE_END;
}

static bool broken_fault(struct fault *fault, const char *name)
{
    return fault_set(fault, FAULT_INVALID, 0, "%s: not well-formed, or not of the schema's type",
                     name);
}

static bool add_strike(void *owner, struct slice bytes)
{
    struct suppression *entry = owner;
    struct suppression_strike strike = {0};
    const struct reading reading = {&strike_table, &strike, NULL, NULL};
    const char *broken;
    if (!read_fields(bytes, &reading, &broken)) {
        return false;
    }
    if (entry->strike_count == SUPPRESSION_STRIKES_MAX) {
        memmove(&entry->strikes[0], &entry->strikes[1],
                (SUPPRESSION_STRIKES_MAX - 1) * sizeof(strike));
        entry->strike_count--;
    }
    entry->strikes[entry->strike_count++] = strike;
    return true;
}

bool suppression_decode(struct slice record, struct suppression *entry, struct fault *fault)
{
    const struct reading reading = {&entry_table, entry, add_strike, entry};
    const char *broken;
    *entry = (struct suppression){0};
    return read_fields(record, &reading, &broken) || broken_fault(fault, broken);
}

struct positions {
    suppression_position_found found;
    void *owner;
    size_t count;
};

static bool give_position(void *owner, struct slice bytes)
{
    struct positions *positions = owner;
    struct suppression_position position = {0};
    const struct reading reading = {&position_table, &position, NULL, NULL};
    const char *broken;
    if (!read_fields(bytes, &reading, &broken) || ++positions->count > SUPPRESSION_POSITIONS_MAX) {
        return false;
    }
    positions->found(positions->owner, &position);
    return true;
}

bool suppression_progress_decode(struct slice record, struct suppression_progress *progress,
                                 suppression_position_found found, void *owner, struct fault *fault)
{
    struct positions positions = {found, owner, 0};
    const struct reading reading = {&progress_table, progress, give_position, &positions};
    const char *broken;
    *progress = (struct suppression_progress){0};
    return read_fields(record, &reading, &broken) || broken_fault(fault, broken);
}
