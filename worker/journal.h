/*
 * What a thread writes into the topic `done`: which mails are about to be sent, what became of
 * them, which records are complete (lib/ledger/journal.h; docs/completion.md).
 *
 * One writer for each thread, all on the producer worker->journal, into the worker's slot. Entries
 * are gathered for a few ms into a batch, which becomes one Kafka record. What Kafka does not take
 * is offered again until it does; entries commute, so the order of batches does not matter.
 *
 * Acknowledgements come on the intake thread and go to the writer's own thread by mailbox. All
 * calls are made on the writer's thread; its own list keeps what is not on Kafka yet.
 */
#ifndef SLUICE_WORKER_JOURNAL_H
#define SLUICE_WORKER_JOURNAL_H

#include "io/loop.h"
#include "ledger/journal.h"
#include "worker/mail.h"

struct journal_writer;

/* A batch goes when it is that old, or large, or so long after somebody began to wait for it. Each
 * costs two threads and librdkafka's some wake-ups, more than all its entries. */
#define JOURNAL_LINGER_MS 10
#define JOURNAL_HURRY_MS 2
/* … on the intake thread, whose entries nobody waits for. */
#define JOURNAL_CLOSED_LINGER_MS 20

/* `safer` is called on the loop's thread when more marks are safe than before. */
struct journal_writer *journal_writer_create(struct worker *worker, struct io_loop *loop,
                                             int64_t linger_ms, void (*safer)(void *owner),
                                             void *owner, struct fault *fault);
/* After worker->journal was freed (which tells what became of the batches under way). */
void journal_writer_free(struct journal_writer **writer);

/* Writes a batch without entries, so that worker->journal_end is known. Returns the mark behind it.
 */
uint64_t journal_writer_begin(struct journal_writer *writer);
/* A place in what this writer has said: everything appended so far lies before it. */
uint64_t journal_writer_mark(const struct journal_writer *writer);
/* True when everything before that mark is on Kafka. */
bool journal_writer_is_safe(const struct journal_writer *writer, uint64_t mark);
/* The batch before that mark is waited for, or should not be long on its way. */
void journal_writer_hurry(struct journal_writer *writer, uint64_t mark);
/* Sends the batch now rather than when it is old enough. */
void journal_writer_flush(struct journal_writer *writer);
/* Kafka has not taken something for a second: nothing new should be begun, or a crash could repeat
 * more than it must. */
bool journal_writer_is_stuck(const struct journal_writer *writer, struct mono_time now);

/* ---- entries ---- */

/* The topic's name in it lives as long as the consumer. */
struct ledger_place journal_place(const struct mail *mail);

/* A transaction begins for these recipients of the mail: its next turn. Returns the mark behind it.
 */
uint64_t journal_writer_intent(struct journal_writer *writer, struct mail *mail,
                               const uint32_t *recipients, size_t count);
/* Sets what became of one of them in mail->rcpts, after it was settled or left pending (a result of
 * NONE). The text of any other must live as long as the mail. */
void journal_note(struct mail *mail, uint32_t index, const struct smtp_outcome *outcome);
/* The transaction is over: what became of each stands in mail->rcpts. */
void journal_writer_done(struct journal_writer *writer, struct mail *mail,
                         const uint32_t *recipients, size_t count);
/* Everything that follows from the record is on Kafka, and its ticket is complete. */
void journal_writer_closed(struct journal_writer *writer, const struct mail *mail);
/* Its partition was given away and we do no more for it; what is left to do the next owner does.
 */
void journal_writer_left(struct journal_writer *writer, const struct mail *mail);
/* Says again all that was said about an open mail; nothing if nothing was. */
void journal_writer_restate(struct journal_writer *writer, const struct mail *mail);
/* The same of a record that is no mail (yet): inherited, from a takeover's result. */
void journal_writer_state(struct journal_writer *writer, const struct ledger_place *place,
                          const struct ledger_state *state);

#endif
