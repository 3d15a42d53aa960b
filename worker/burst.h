/*
 * Bursts: what the worker writes in transactions (kafka/txn.h). Copies of records into delay tiers,
 * dlq and uncertain, one checkpoint of all that is ours, and the group's offsets: all of it or
 * nothing, and nothing once the group has gone on without us.
 *
 * A usual burst is due half a second after the last one when copies wait, and after a second when
 * only completions changed; when nothing changed there is none. Claims and releases are bursts too:
 * of all partitions at once, when the owner asks for them.
 *
 * One at a time. All calls, and what is told, on the intake thread.
 */
#ifndef SLUICE_WORKER_BURST_H
#define SLUICE_WORKER_BURST_H

#include "kafka/txn.h"
#include "ledger/checkpoint.h"
#include "worker/mail.h"

#define BURST_TELL_MAX 256

struct burst;
struct journal_writer;

enum burst_kind {
    BURST_USUAL,
    BURST_CLAIM,   /* partitions that are given: every one is committed */
    BURST_RELEASE, /* partitions that go: every one is committed as released */
};

/* One of those that a burst is about. */
struct burst_partition {
    struct kafka_partition *partition;
    uint64_t claim;
    const struct offsets *offsets;
    const struct ledger_awaited *awaited; /* ledger/checkpoint.h */
    size_t awaited_count;
};

struct burst_ops {
    /* Its copies are on Kafka: the mail is the owner's again. */
    void (*moved)(void *owner, struct mail *mail);
    /* Its partition has gone before: the mail is the owner's again, nothing was written. */
    void (*gone)(void *owner, struct mail *mail);
    void (*over)(void *owner, enum burst_kind kind, enum kafka_burst_result result);
};

/* `event_fd` is written when there is something to tell. */
struct burst *burst_create(struct worker *worker, const struct burst_ops *ops, void *owner,
                           int event_fd, struct fault *fault);
/* Before the consumer is freed. Waits for the one under way; what waited is dropped: the next owner
 * of its partitions does it. `owner` is not told of that. */
void burst_free(struct burst **burst);
struct kafka_txn *burst_txn(struct burst *burst);

/* Hands over a mail with copies that nothing holds any more. */
void burst_add(struct burst *burst, struct mail *mail);
/* A ticket was completed: the next checkpoint is worth writing. */
void burst_note(struct burst *burst);
bool burst_is_due(const struct burst *burst, struct mono_time now);
bool burst_is_busy(const struct burst *burst);

/* Submits one: of what waits as much as goes in one transaction (not with a claim), and the
 * partitions' state. `done_offset`: where a reader of our journal is to begin. False: not now
 * (fault: FAULT_CLOSED when we are no member of the group). */
bool burst_submit(struct burst *burst, struct kafka_consumer *consumer, enum burst_kind kind,
                  const struct burst_partition *partitions, size_t count, int64_t done_offset,
                  struct fault *fault);

/* Tells what is over: of its mails at most BURST_TELL_MAX, as there are thousands and other mail
 * waits meanwhile. True: there are more. */
bool burst_poll(struct burst *burst);
/* Gives back those whose partitions have gone (not what is in the burst under way). */
void burst_drop_gone(struct burst *burst);

/* States what is known of them (worker/restate.h). */
void burst_restate(const struct burst *burst, struct journal_writer *writer);

#endif
