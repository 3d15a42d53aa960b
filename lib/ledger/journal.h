/*
 * A thread's journal: entries gathered into a batch, which becomes one record of the topic done in
 * the worker's slot. One owner, one thread; no I/O, no clock: who owns it takes the batch every few
 * milliseconds and produces it.
 *
 * The rules that make the log worth reading (docs/guarantees.md says what follows from them):
 *
 *  - Every transaction of a mail has a `turn`, one more than the last (a mail with inherited state
 *    goes on from ledger_state.turn + 1). INTENT and DONE of a transaction carry it. So entries
 *    commute: of each recipient the highest turn counts, and DONE wins over INTENT of the same.
 *  - A DONE for each INTENT, also when nothing came of it (LEDGER_UNTRIED).
 *  - CLOSED once everything that follows from the record is acknowledged or committed. LEFT instead
 *    when the partition was given away and something is left to do (deferred copies, recipients not
 *    tried): the new owner goes on at once instead of waiting. LEFT names the mail's last turn (0:
 *    none was begun), because it may overtake entries of another thread.
 *  - Restating: a mail with entries has always exactly one thread that restates it. Whoever hands
 *    it to another thread states it again in its own journal *before* posting it, unless the last
 *    entry of the mail is still in the batch not taken yet; either way that batch is taken and
 *    produced before the mail is posted. Else it could be in a mailbox while both say "restated",
 *    and its entries would lie before done_offset; or what the next thread says would come before
 *    what was said first. (On the last way, to the thread that closes it, this is not needed:
 *    mailboxes keep order, so it arrives there before the giver's "restated k", is complete by
 *    then, and stands in the checkpoint.)
 */
#ifndef SLUICE_LEDGER_JOURNAL_H
#define SLUICE_LEDGER_JOURNAL_H

#include "schema/completion.h"

/* The record that an entry speaks of. `topic` is NUL-terminated. */
struct ledger_place {
    const char *topic;
    int32_t partition;
    uint64_t claim;
    int64_t offset;
};

/* What is known of a record that is not complete. Recipients that appear nowhere: nothing was
 * begun. */
struct ledger_state {
    uint32_t turn;                         /* the highest seen */
    const struct ledger_outcome *outcomes; /* settled, or deferred (due_ms) */
    size_t outcome_count;
    const uint32_t *in_doubt; /* INTENT without DONE */
    size_t in_doubt_count;
};

struct journal;

#define JOURNAL_BATCH_MIN (LEDGER_ENTRY_MAX + 1024)

/* `writer`: the transactional id; `max_bytes` of a batch, at least JOURNAL_BATCH_MIN, so that every
 * entry fits into an empty one. */
struct journal *journal_create(const char *writer, size_t max_bytes);
void journal_free(struct journal **journal);

/* False: the batch is full; take it and call again (it fits then). */
bool journal_intent(struct journal *journal, const struct ledger_place *place, uint32_t turn,
                    const uint32_t *recipients, size_t count);
bool journal_done(struct journal *journal, const struct ledger_place *place, uint32_t turn,
                  const struct ledger_outcome *outcomes, size_t count);
/* `length` offsets from place->offset on. */
bool journal_closed(struct journal *journal, const struct ledger_place *place, uint32_t length);
bool journal_left(struct journal *journal, const struct ledger_place *place, uint32_t turn);
/* Everything of the state again: at most one INTENT and one DONE, both or none. */
bool journal_state(struct journal *journal, const struct ledger_place *place,
                   const struct ledger_state *state);

size_t journal_entries(const struct journal *journal); /* in the batch */
size_t journal_size(const struct journal *journal);    /* its bytes; 0: nothing to take */

/* The batch; valid until the next append, which begins a new one. Absent: empty. */
struct slice journal_take(struct journal *journal);

#endif
