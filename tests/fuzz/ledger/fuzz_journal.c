/* Any bytes as a batch of a journal: what is read goes through a journal of ours and is read again
 * the same. */
#include "ledger/journal.h"

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of the list that its kind has. */
static size_t recipients_of(const struct ledger_entry *entry)
{
    size_t sum = entry->kind == LEDGER_INTENT ? entry->recipient_count : 0;
    for (size_t i = 0; entry->kind == LEDGER_DONE && i < entry->outcome_count; i++) {
        sum += entry->outcomes[i].recipient_count + entry->outcomes[i].text.len;
    }
    return sum;
}

static bool append(struct journal *journal, const struct ledger_entry *entry,
                   const struct ledger_place *place)
{
    switch (entry->kind) {
    case LEDGER_INTENT:
        return journal_intent(journal, place, entry->turn, entry->recipients,
                              entry->recipient_count);
    case LEDGER_DONE:
        return journal_done(journal, place, entry->turn, entry->outcomes, entry->outcome_count);
    case LEDGER_CLOSED: return journal_closed(journal, place, entry->length);
    case LEDGER_LEFT: return journal_left(journal, place, entry->turn);
    case LEDGER_NOTHING: break;
    }
    return false;
}

static void round_trip(struct completion_reader *reader, const struct ledger_entry *entry,
                       const struct ledger_partition *partition)
{
    struct journal *journal = journal_create("w", JOURNAL_BATCH_MIN);
    char *topic = mem_strndup(partition->topic.ptr, partition->topic.len);
    const struct ledger_place place = {topic, partition->partition, partition->claim,
                                       entry->offset};
    struct ledger_entry back;
    struct ledger_partition where;
    if (strlen(topic) == partition->topic.len && topic[0] != '\0') {
        CHECK(append(journal, entry, &place));
        completion_read(reader, journal_take(journal));
        CHECK(completion_next(reader, &back, &where) == COMPLETION_ENTRY);
        CHECK(back.kind == entry->kind && back.offset == entry->offset &&
              where.claim == partition->claim && recipients_of(&back) == recipients_of(entry));
        CHECK(completion_next(reader, &back, &where) == COMPLETION_END);
    }
    mem_free(topic);
    journal_free(&journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct completion_reader *reader = completion_reader_create();
    struct completion_reader *second = completion_reader_create();
    struct ledger_entry entry;
    struct ledger_partition place;
    struct slice writer;
    enum completion_next next;
    int most = 20; /* the rest is only read */
    (void)completion_writer(slice_of(data, size), &writer);
    completion_read(reader, slice_of(data, size));
    while ((next = completion_next(reader, &entry, &place)) != COMPLETION_END) {
        if (next == COMPLETION_ENTRY && entry.kind != LEDGER_NOTHING && most-- > 0) {
            round_trip(second, &entry, &place);
        }
    }
    completion_reader_free(&second);
    completion_reader_free(&reader);
    return 0;
}
