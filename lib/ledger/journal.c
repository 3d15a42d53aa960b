#include "ledger/journal.h"

#include "base/mem.h"

#include <string.h>

struct journal_place {
    char *topic; /* owned */
    int32_t partition;
    uint64_t claim;
};

struct journal {
    struct strbuf out;
    char *writer;
    struct journal_place *places;
    size_t place_count, place_capacity;
    size_t entries;
    bool taken; /* the batch lies with the owner: the next append begins a new one */
};

/* How far the batch was, to go back there. */
struct journal_mark {
    size_t len, place_count, entries;
};

struct journal *journal_create(const char *writer, size_t max_bytes)
{
    CHECK(max_bytes >= JOURNAL_BATCH_MIN && strlen(writer) <= LEDGER_NAME_MAX);
    struct journal *journal = mem_zalloc(sizeof(*journal));
    journal->writer = mem_strdup(writer);
    strbuf_init(&journal->out, max_bytes);
    return journal;
}

static void places_drop(struct journal *journal, size_t keep)
{
    while (journal->place_count > keep) {
        mem_free(journal->places[--journal->place_count].topic);
    }
}

/* Where the batch stands; a taken one is dropped first. */
static struct journal_mark begin(struct journal *journal)
{
    if (journal->taken) {
        places_drop(journal, 0);
        strbuf_reset(&journal->out);
        journal->entries = 0;
        journal->taken = false;
    }
    return (struct journal_mark){journal->out.len, journal->place_count, journal->entries};
}

static bool back(struct journal *journal, struct journal_mark mark)
{
    places_drop(journal, mark.place_count);
    journal->entries = mark.entries;
    journal->out.len = mark.len;
    if (journal->out.ptr != NULL) {
        journal->out.ptr[mark.len] = '\0';
    }
    return false;
}

void journal_free(struct journal **journal)
{
    if (*journal != NULL) {
        places_drop(*journal, 0);
        strbuf_free(&(*journal)->out);
        mem_free((*journal)->places);
        mem_free((*journal)->writer);
        mem_free(*journal);
        *journal = NULL;
    }
}

/* Index of the place, put into the batch when it is new there. */
static bool find_place(struct journal *journal, const struct ledger_place *place, uint32_t *index)
{
    for (size_t i = journal->place_count; i-- > 0;) {
        const struct journal_place *known = &journal->places[i];
        if (known->partition == place->partition && known->claim == place->claim &&
            strcmp(known->topic, place->topic) == 0) {
            *index = (uint32_t)i;
            return true;
        }
    }
    struct ledger_partition partition = {slice_cstr(place->topic), place->partition, place->claim};
    if (journal->place_count == LEDGER_PLACES_MAX ||
        !completion_put_place(&journal->out, &partition)) {
        return false;
    }
    if (journal->place_count == journal->place_capacity) {
        journal->place_capacity = journal->place_capacity == 0 ? 16 : journal->place_capacity * 2;
        journal->places =
            mem_realloc(journal->places, journal->place_capacity * sizeof(*journal->places));
    }
    *index = (uint32_t)journal->place_count;
    journal->places[journal->place_count++] =
        (struct journal_place){mem_strdup(place->topic), place->partition, place->claim};
    return true;
}

/* False: the batch is as it was. */
static bool append(struct journal *journal, const struct ledger_place *place,
                   struct ledger_entry entry)
{
    struct journal_mark mark = begin(journal);
    entry.offset = place->offset;
    if ((mark.len == 0 && !completion_put_writer(&journal->out, slice_cstr(journal->writer))) ||
        !find_place(journal, place, &entry.place) || !completion_put_entry(&journal->out, &entry)) {
        return back(journal, mark);
    }
    journal->entries++;
    return true;
}

bool journal_intent(struct journal *journal, const struct ledger_place *place, uint32_t turn,
                    const uint32_t *recipients, size_t count)
{
    return append(journal, place,
                  (struct ledger_entry){.kind = LEDGER_INTENT,
                                        .turn = turn,
                                        .recipients = recipients,
                                        .recipient_count = count});
}

bool journal_done(struct journal *journal, const struct ledger_place *place, uint32_t turn,
                  const struct ledger_outcome *outcomes, size_t count)
{
    return append(
        journal, place,
        (struct ledger_entry){
            .kind = LEDGER_DONE, .turn = turn, .outcomes = outcomes, .outcome_count = count});
}

bool journal_closed(struct journal *journal, const struct ledger_place *place, uint32_t length)
{
    return append(journal, place, (struct ledger_entry){.kind = LEDGER_CLOSED, .length = length});
}

bool journal_left(struct journal *journal, const struct ledger_place *place, uint32_t turn)
{
    return append(journal, place, (struct ledger_entry){.kind = LEDGER_LEFT, .turn = turn});
}

bool journal_state(struct journal *journal, const struct ledger_place *place,
                   const struct ledger_state *state)
{
    struct journal_mark mark = begin(journal);
    if ((state->in_doubt_count > 0 &&
         !journal_intent(journal, place, state->turn, state->in_doubt, state->in_doubt_count)) ||
        (state->outcome_count > 0 &&
         !journal_done(journal, place, state->turn, state->outcomes, state->outcome_count))) {
        return back(journal, mark);
    }
    return true;
}

size_t journal_entries(const struct journal *journal)
{
    return journal->taken ? 0 : journal->entries;
}

size_t journal_size(const struct journal *journal)
{
    return journal_entries(journal) == 0 ? 0 : journal->out.len;
}

struct slice journal_take(struct journal *journal)
{
    if (journal_size(journal) == 0) {
        return SLICE_NULL;
    }
    journal->taken = true;
    return strbuf_slice(&journal->out);
}
