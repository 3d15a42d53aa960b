/*
 * Taking over: from partitions that the group gives to records that may be read
 * (docs/completion.md, lib/ledger/takeover.h).
 *
 *   given        who owned what, by the metadata of what is committed
 *   fencing      owners that have not released are shut out; what they had open is aborted
 *   looking      what is committed after that, which counts
 *   checkpoints  the owners' slots of moved, committed records only
 *   journals     … and of done, everything
 *   stating      what was inherited is in our own journal, acknowledged
 *   claiming     a burst commits every partition as ours
 *   begun        records are read; what earlier owners may still be sending is awaited
 *
 * Until then nothing of the partitions is read. All on the intake thread; nothing blocks.
 */
#ifndef SLUICE_WORKER_CLAIMS_H
#define SLUICE_WORKER_CLAIMS_H

#include "worker/burst.h"
#include "worker/inherited.h"
#include "worker/restate.h"

struct claims;

/* Lent for the claim's life. */
struct claims_parts {
    struct worker *worker;
    struct kafka_consumer *consumer;
    struct burst *burst;
    struct journal_writer *journal; /* the intake thread's */
    struct inherited *inherited;
    struct restate *restate;
    int event_fd; /* written when there is something to do */
    /* Whatever this worker has said of an earlier assignment is on Kafka. */
    bool (*is_said)(const void *owner);
    /* What was awaited is settled: the record is in the table without being awaited. */
    void (*settled)(void *owner, struct inherited_record *record);
    void *owner;
};

struct claims *claims_create(const struct claims_parts *parts, struct fault *fault);
/* After the burst was freed, which tells what became of the fencings; before the consumer. */
void claims_free(struct claims **claims);

/* As the consumer tells it (ops->given). */
void claims_given(struct claims *claims, const struct kafka_given *given, size_t count,
                  bool settled);
/* The partitions have gone, whatever the claim had come to. */
void claims_drop(struct claims *claims);
/* A claim burst is over. */
void claims_burst_over(struct claims *claims, enum kafka_burst_result result);
/* Often. */
void claims_serve(struct claims *claims, struct mono_time now);

/* What is still awaited of earlier owners of that partition, for our own checkpoints: at most
 * `max`, returns how many in all. Valid until claims_serve(). */
size_t claims_awaiting(const struct claims *claims, const struct kafka_partition *partition,
                       struct ledger_awaited *out, size_t max);
/* A record that was awaited and closed by its earlier owner is complete with us too. */
void claims_complete(struct claims *claims, const struct inherited_record *record);

#endif
