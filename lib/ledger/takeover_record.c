/* What is known of one record, and how that becomes a ledger_state: see takeover.h. */
#include "ledger/takeover_private.h"

#include "base/mem.h"

#include <string.h>

/* Two words of a map's entry, and what an allocation costs. */
#define RECORD_OVERHEAD 96

static struct slice key_of(const int64_t *offset)
{
    return slice_of(offset, sizeof(*offset));
}

struct fold_record *fold_record_find(const struct fold_partition *partition, int64_t offset)
{
    return map_get(&partition->records, key_of(&offset));
}

static bool charge(struct takeover *takeover, struct fold_record *record, size_t bytes)
{
    if (!fold_charge(takeover, record->partition, bytes)) {
        return false;
    }
    record->bytes += bytes;
    return true;
}

struct fold_record *fold_record_make(struct takeover *takeover, struct fold_partition *partition,
                                     int64_t offset)
{
    struct fold_record *record = fold_record_find(partition, offset);
    if (record != NULL) {
        return record;
    }
    if (!fold_charge(takeover, partition, sizeof(*record) + RECORD_OVERHEAD)) {
        return NULL;
    }
    record = mem_zalloc(sizeof(*record));
    record->offset = offset;
    record->group = FOLD_NONE;
    record->partition = partition;
    record->bytes = sizeof(*record) + RECORD_OVERHEAD;
    map_put(&partition->records, key_of(&record->offset), record);
    return record;
}

static void release(struct fold_outcome *outcome)
{
    if (outcome != NULL && --outcome->users == 0) {
        mem_free(outcome);
    }
}

void fold_record_free(struct fold_record *record)
{
    for (size_t i = 0; i < record->count; i++) {
        release(record->recipients[i].outcome);
    }
    mem_free(record->recipients);
    mem_free(record);
}

void fold_record_drop(struct takeover *takeover, struct fold_record *record)
{
    takeover->bytes -= record->bytes;
    map_remove(&record->partition->records, key_of(&record->offset));
    fold_record_free(record);
}

/* The recipient's place, made when it is new (turn 0). NULL: over the limit. */
static struct fold_recipient *recipient_of(struct takeover *takeover, struct fold_record *record,
                                           uint32_t index)
{
    size_t at = 0;
    for (size_t end = record->count; at < end;) {
        size_t middle = at + (end - at) / 2;
        if (record->recipients[middle].index < index) {
            at = middle + 1;
        } else {
            end = middle;
        }
    }
    if (at < record->count && record->recipients[at].index == index) {
        return &record->recipients[at];
    }
    if (!charge(takeover, record, sizeof(*record->recipients))) {
        return NULL;
    }
    record->recipients = fold_grow(record->recipients, record->count, &record->capacity,
                                   sizeof(*record->recipients));
    memmove(record->recipients + at + 1, record->recipients + at,
            (record->count - at) * sizeof(*record->recipients));
    record->recipients[at] = (struct fold_recipient){.index = index};
    record->count++;
    return &record->recipients[at];
}

static void take_intent(struct takeover *takeover, struct fold_record *record,
                        const struct ledger_entry *entry)
{
    for (size_t i = 0; i < entry->recipient_count; i++) {
        struct fold_recipient *recipient = recipient_of(takeover, record, entry->recipients[i]);
        if (recipient != NULL && entry->turn > recipient->turn) {
            release(recipient->outcome);
            recipient->outcome = NULL;
            recipient->turn = entry->turn;
        }
    }
}

static struct fold_outcome *outcome_make(struct takeover *takeover, struct fold_record *record,
                                         const struct ledger_outcome *from)
{
    if (!charge(takeover, record, sizeof(struct fold_outcome) + from->text.len)) {
        return NULL;
    }
    struct fold_outcome *outcome = mem_zalloc(sizeof(*outcome) + from->text.len);
    outcome->result = from->result;
    outcome->code = from->code;
    outcome->enhanced = from->enhanced;
    outcome->due_ms = from->due_ms;
    outcome->text_len = from->text.len;
    if (from->text.len > 0) {
        memcpy(outcome->text, from->text.ptr, from->text.len);
    }
    return outcome;
}

static void take_outcome(struct takeover *takeover, struct fold_record *record, uint32_t turn,
                         const struct ledger_outcome *from)
{
    struct fold_outcome *outcome = NULL;
    for (size_t i = 0; i < from->recipient_count; i++) {
        struct fold_recipient *recipient = recipient_of(takeover, record, from->recipients[i]);
        if (recipient == NULL || turn < recipient->turn ||
            (turn == recipient->turn && recipient->outcome != NULL)) {
            continue;
        }
        if (outcome == NULL && (outcome = outcome_make(takeover, record, from)) == NULL) {
            return;
        }
        release(recipient->outcome);
        outcome->users++;
        recipient->outcome = outcome;
        recipient->turn = turn;
    }
}

void fold_record_take(struct takeover *takeover, struct fold_record *record,
                      const struct ledger_entry *entry)
{
    switch (entry->kind) {
    case LEDGER_INTENT: take_intent(takeover, record, entry); break;
    case LEDGER_DONE:
        for (size_t i = 0; i < entry->outcome_count; i++) {
            take_outcome(takeover, record, entry->turn, &entry->outcomes[i]);
        }
        break;
    case LEDGER_LEFT:
        record->left = true;
        record->left_turn = entry->turn > record->left_turn ? entry->turn : record->left_turn;
        return;
    case LEDGER_CLOSED:
    case LEDGER_NOTHING: return;
    }
    record->turn = entry->turn > record->turn ? entry->turn : record->turn;
}

bool fold_record_in_doubt(const struct fold_record *record)
{
    for (size_t i = 0; i < record->count; i++) {
        if (record->recipients[i].outcome == NULL) {
            return true;
        }
    }
    return false;
}

/* ---- states ---- */

static bool result_is_final(enum ledger_result result)
{
    switch (result) {
    case LEDGER_DELIVERED:
    case LEDGER_BOUNCED:
    case LEDGER_EXPIRED:
    case LEDGER_DROPPED: return true;
    case LEDGER_UNTRIED:
    case LEDGER_DEFERRED:
    case LEDGER_UNCERTAIN: break;
    }
    return false;
}

enum told_as { AS_FRESH, AS_OUTCOME, AS_IN_DOUBT };

/* Suspect: what came after it may be lost, unless nothing can. */
static enum told_as told_as(const struct fold_outcome *outcome, bool suspect)
{
    if (outcome == NULL || (suspect && !result_is_final(outcome->result))) {
        return AS_IN_DOUBT;
    }
    return outcome->result == LEDGER_UNTRIED ? AS_FRESH : AS_OUTCOME;
}

static void add_outcome(struct fold_states *states, struct fold_outcome *outcome)
{
    if (outcome->out == 0) {
        states->outcomes = fold_grow(states->outcomes, states->outcome_count,
                                     &states->outcome_capacity, sizeof(*states->outcomes));
        states->outcomes[states->outcome_count++] =
            (struct ledger_outcome){.result = outcome->result,
                                    .code = outcome->code,
                                    .enhanced = outcome->enhanced,
                                    .text = slice_of(outcome->text, outcome->text_len),
                                    .due_ms = outcome->due_ms};
        outcome->out = states->outcome_count;
        outcome->at = SIZE_MAX;
    }
    states->outcomes[outcome->out - 1].recipient_count++;
}

/* Behind the recipients that are there: those of each outcome, then those in doubt. */
static void add_recipients(struct fold_states *states, const struct fold_record *record,
                           bool suspect, size_t in_doubt, size_t settled)
{
    size_t next = states->recipient_count;
    size_t doubt = next + settled;
    while (states->recipient_capacity < doubt + in_doubt) {
        states->recipients = fold_grow(states->recipients, states->recipient_capacity,
                                       &states->recipient_capacity, sizeof(*states->recipients));
    }
    for (size_t i = 0; i < record->count; i++) {
        struct fold_outcome *outcome = record->recipients[i].outcome;
        switch (told_as(outcome, suspect)) {
        case AS_FRESH: break;
        case AS_IN_DOUBT: states->recipients[doubt++] = record->recipients[i].index; break;
        case AS_OUTCOME:
            if (outcome->at == SIZE_MAX) {
                outcome->at = next;
                next += states->outcomes[outcome->out - 1].recipient_count;
            }
            states->recipients[outcome->at++] = record->recipients[i].index;
            break;
        }
    }
    states->recipient_count += settled + in_doubt;
}

void fold_states_add(struct fold_states *states, const struct fold_record *record, bool suspect,
                     struct ledger_state *state)
{
    size_t first = states->outcome_count;
    size_t in_doubt = 0;
    size_t settled = 0;
    for (size_t i = 0; i < record->count; i++) {
        enum told_as as = told_as(record->recipients[i].outcome, suspect);
        in_doubt += as == AS_IN_DOUBT;
        if (as == AS_OUTCOME) {
            add_outcome(states, record->recipients[i].outcome);
            settled++;
        }
    }
    add_recipients(states, record, suspect, in_doubt, settled);
    for (size_t i = 0; i < record->count; i++) {
        if (record->recipients[i].outcome != NULL) {
            record->recipients[i].outcome->out = 0;
        }
    }
    *state = (struct ledger_state){.turn = record->turn,
                                   .outcome_count = states->outcome_count - first,
                                   .in_doubt_count = in_doubt};
}

void fold_states_point(const struct fold_states *states, struct fold_point *point,
                       struct ledger_state *state)
{
    if (state->outcome_count > 0) {
        state->outcomes = &states->outcomes[point->outcome];
    }
    for (size_t i = 0; i < state->outcome_count; i++) {
        struct ledger_outcome *outcome = &states->outcomes[point->outcome++];
        outcome->recipients = &states->recipients[point->recipient];
        point->recipient += outcome->recipient_count;
    }
    if (state->in_doubt_count > 0) {
        state->in_doubt = &states->recipients[point->recipient];
        point->recipient += state->in_doubt_count;
    }
}

void fold_states_free(struct fold_states *states)
{
    mem_free(states->outcomes);
    mem_free(states->recipients);
    *states = (struct fold_states){.outcomes = NULL};
}
