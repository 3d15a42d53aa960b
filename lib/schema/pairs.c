#include "schema/pairs_private.h"

#include "schema/message_private.h"

static bool read_entry(struct slice entry, struct message_pair *pair)
{
    struct wire_cursor cursor = wire_cursor_of(entry);
    struct wire_field field;
    enum wire_next next;
    *pair = (struct message_pair){SLICE(""), SLICE("")};
    while ((next = wire_next(&cursor, &field)) == WIRE_FIELD) {
        const struct wire_rule *rule = wire_rule_of(&message_pair_table, &field);
        if (rule == NULL) {
            continue;
        }
        if (!wire_matches(rule, &field)) {
            return false;
        }
        wire_store(rule, &field, pair);
    }
    return next == WIRE_END;
}

enum pairs_result pairs_append(struct pairs *pairs, struct slice entry)
{
    struct message_pair pair;
    if (!read_entry(entry, &pair)) {
        return PAIRS_BROKEN;
    }
    if (pairs->count == PAIRS_MAX) {
        return PAIRS_FULL;
    }
    pairs->items[pairs->count++] = pair;
    return PAIRS_OK;
}

enum pairs_result pairs_read(struct pairs *pairs, struct slice entry)
{
    struct message_pair pair;
    if (!read_entry(entry, &pair)) {
        return PAIRS_BROKEN;
    }
    for (size_t i = 0; i < pairs->count; i++) {
        if (slice_eq(pairs->items[i].name, pair.name)) {
            pairs->items[i].value = pair.value;
            return PAIRS_OK;
        }
    }
    if (pairs->count == PAIRS_MAX) {
        return PAIRS_FULL;
    }
    pairs->items[pairs->count++] = pair;
    return PAIRS_OK;
}

enum pairs_result pairs_keep(const struct pairs *pairs, struct arena *arena,
                             const struct message_pair **items, size_t *count)
{
    if (pairs->count == 0) {
        return PAIRS_OK;
    }
    struct message_pair *copy = arena_try_alloc(arena, pairs->count * sizeof(*copy));
    if (copy == NULL) {
        return PAIRS_NO_MEMORY;
    }
    memcpy(copy, pairs->items, pairs->count * sizeof(*copy));
    *items = copy;
    *count = pairs->count;
    return PAIRS_OK;
}

const char *pairs_problem(enum pairs_result result)
{
    switch (result) {
    case PAIRS_OK: break;
    case PAIRS_BROKEN: return "an entry is not well-formed protobuf";
    case PAIRS_FULL: return "too many entries";
    case PAIRS_NO_MEMORY: return "no room left for this record";
    }
    return "";
}
