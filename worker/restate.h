/*
 * Stating again: every few seconds all threads write the state of everything open into their
 * journals, so that a reader of our slot may begin late. No assumption about time is made. A round:
 *
 *   1. E is where the slot ends, as far as is known
 *   2. the intake thread states what it will give to shards
 *   3. every shard states what it has, and answers when that is on Kafka
 *   4. the intake thread states what came home and is not over (in this order: what came home
 *      meanwhile was stated by nobody else)
 *   5. when that is on Kafka, nothing that lies before E is needed any more
 */
#ifndef SLUICE_WORKER_RESTATE_H
#define SLUICE_WORKER_RESTATE_H

#include "worker/journal.h"

struct restate;

struct restate_ops {
    void (*inherited)(void *owner); /* state what no shard has yet */
    void (*home)(void *owner);      /* state what came home */
};

/* Writes a first batch, so that the slot's end is known. */
struct restate *restate_create(struct worker *worker, struct journal_writer *journal,
                               const struct restate_ops *ops, void *owner);
void restate_free(struct restate **restate);

/* False: our slot's end is not known yet; nothing may be claimed before. */
bool restate_is_ready(struct restate *restate);
/* Where a reader of our slot of done is to begin. */
int64_t restate_done_offset(const struct restate *restate);
/* Begins and ends rounds. Often. */
void restate_serve(struct restate *restate, struct mono_time now);
/* A shard has stated everything, and it is on Kafka. */
void restate_answered(struct restate *restate);

#endif
