/*
 * What a thread writes into the topic `done`: which mails are about to be sent, what became of
 * them, which records are complete (lib/ledger/journal.h; docs/architecture.md, "Completion").
 *
 * One writer per thread. Entries are gathered for a few ms into one Kafka record, a batch, because a
 * record costs more than a microsecond and an entry a tenth of that. Batches reach the worker's slot
 * in the order in which they were begun, also when Kafka failed to take one. Acknowledgements come
 * on the intake thread and go to the writer's own by mailbox.
 */
#ifndef SLUICE_WORKER_JOURNAL_H
#define SLUICE_WORKER_JOURNAL_H

#include "io/loop.h"
#include "ledger/journal.h"
#include "worker/mail.h"

struct journal_writer;

/* `acknowledged` is called on the loop's thread when journal_writer_safe() has grown. */
struct journal_writer *journal_writer_create(struct worker *worker, struct io_loop *loop,
                                             int64_t linger_ms, void (*acknowledged)(void *owner),
                                             void *owner, struct fault *fault);
/* After worker->journal was freed. */
void journal_writer_free(struct journal_writer **writer);

/* Writes an empty batch, so that the slot's end is known before anything else is said. Returns the
 * mark behind it. */
uint64_t journal_writer_begin(struct journal_writer *writer);
/* A place in what this thread has said: everything appended so far lies before it. */
uint64_t journal_writer_mark(const struct journal_writer *writer);
/* True when everything before that mark is on Kafka. */
bool journal_writer_is_safe(const struct journal_writer *writer, uint64_t mark);
/* Begins a new batch now rather than when the linger is over. */
void journal_writer_flush(struct journal_writer *writer);
/* Batches that Kafka has not acknowledged: while there are many, nothing new should be begun. */
size_t journal_writer_backlog(const struct journal_writer *writer);

/* A transaction begins for these recipients of the mail. Returns the mark behind it. */
uint64_t journal_writer_intent(struct journal_writer *writer, struct mail *mail,
                        const uint32_t *recipients, size_t count);
/* Sets what became of one of them in mail->rcpts, after it was settled (NONE: it was not sent). The
 * text must live as long as the mail. */
void journal_writer_note(struct mail *mail, uint32_t index, const struct smtp_outcome *outcome);
/* It is over for these: what became of each stands in mail->rcpts. */
void journal_writer_outcomes(struct journal_writer *writer, struct mail *mail, const uint32_t *recipients, size_t count);
/* Everything that follows from the record is on Kafka. */
void journal_writer_closed(struct journal_writer *writer, const struct mail *mail);
/* Its partition was given away, and we are through with it: what is left to do the next owner does. */
void journal_writer_left(struct journal_writer *writer, const struct mail *mail);
void journal_writer_state(struct journal_writer *writer, const struct ledger_place *place,
                          const struct ledger_state *state);
/* Says again all that was said about an open mail. */
void journal_writer_restate(struct journal_writer *writer, const struct mail *mail);

#endif
