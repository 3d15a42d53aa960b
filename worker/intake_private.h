/*
 * Between intake.c (the thread), tiers.c (heads of delay tiers) and evict.c (partitions that go).
 */
#ifndef SLUICE_WORKER_INTAKE_PRIVATE_H
#define SLUICE_WORKER_INTAKE_PRIVATE_H

#include "worker/intake.h"
#include "worker/journal.h"

#define INTAKE_MAGIC 0x494e5441u
/* How long running transactions of a revoked partition may take to finish. */
#define EVICT_REBALANCE_MS 10000

struct intake {
    uint32_t magic;
    struct worker *worker;
    struct io_loop *loop;
    struct mailbox *mailbox;
    struct outbox *outbox;
    struct journal_writer *journal; /* CLOSED, and what no shard has */
    struct kafka_consumer *consumer;
    int event_fd; /* written by librdkafka's queues and intake_wake() */
    struct io_watch *watch;
    struct timer serve, stats;

    struct kafka_partition **assigned;
    size_t assigned_count;
    struct list held;     /* mails of tiers that are not due */
    struct list returned; /* mails that shards gave back while their partitions go */
    struct list settled;  /* mails that are through, but for what Kafka has to acknowledge */

    atomic_int drain_asked; /* no bool: compilers read neighbouring ones at once */
    bool draining;
    bool failed;
    bool blocked; /* the budget stopped intake */
};

/* One turn of the loop and of Kafka's work. Not from inside the loop. */
void intake_turn(struct intake *intake);
/* Makes the next turn come at once; any thread. */
void intake_wake(struct intake *intake);
void intake_to_shard(struct intake *intake, struct mail *mail);

/* A record of a delay tier: held until the tier's delay is over, then delivered, held for a short
 * rest, or sent on. */
void tiers_take(struct intake *intake, struct mail *mail);
/* Takes those of leaving partitions (all while draining) off the hold and appends them to
 * intake->returned. */
void tiers_return(struct intake *intake);
void tiers_release_all(struct intake *intake);

/* Empties partitions; waits up to wait_ms for what is running. `lost`: another owner has them
 * already, nothing is moved. */
void evict_partitions(struct intake *intake, struct kafka_partition *const *partitions,
                      size_t count, int64_t wait_ms, bool lost);

#endif
