/*
 * The worker's consumer: one group over all streams and delay tiers, `range` assignor, explicit
 * tickets instead of stored offsets. All calls on one thread (the Kafka thread).
 *
 * Partitions are drained by source class, each its own queue: transactional streams, bulk streams,
 * tiers. So intake can take transactional records while bulk has to wait, with no pause/resume
 * (which throws fetched records away). A tier's partition is paused only while its head is held.
 *
 * Ticket: opened for each record taken. Tickets finish in any order and on that same thread; the
 * watermark is the lowest unfinished offset, and only it is committed (about once a second and at
 * revocation).
 *
 * With ops->given the owner commits, not the consumer (claim mode): what is given by the group is
 * told with what was last committed for it; nothing is read before kafka_consumer_begin() says
 * where to start and what is complete above that; offsets are committed by bursts (txn.h) only.
 */
#ifndef SLUICE_KAFKA_CONSUMER_H
#define SLUICE_KAFKA_CONSUMER_H

#include "base/clock.h"
#include "kafka/properties.h"
#include "ledger/offsets.h"

struct kafka_consumer;
struct kafka_partition; /* one assigned partition: offsets, open tickets, pause state, epoch */

enum kafka_source {
    KAFKA_SOURCE_TX = 0,
    KAFKA_SOURCE_BULK,
    KAFKA_SOURCE_TIER,
    KAFKA_SOURCES,
};

struct kafka_subscription {
    const char *topic;
    enum kafka_source source;
    int index; /* the owner's: number of the stream or tier */
};

/* A record taken. The payload is librdkafka's memory: it pins a whole fetch response (up to 1 MB)
 * until kafka_record_free(). May be freed from any thread. The ticket lives on independently. */
struct kafka_record {
    struct kafka_partition *partition;
    enum kafka_source source;
    int index;         /* of the subscription */
    const char *topic; /* valid while the consumer lives */
    int32_t partition_id;
    int64_t offset;
    int64_t timestamp_ms; /* of the record (for tiers LogAppendTime); -1 none */
    struct slice key;
    struct slice value;
    void *handle; /* what kafka_record_free() gives back; NULL after it */
    bool copied;  /* was held back: `handle` is a copy of ours, which pins nothing beside itself */
};
void kafka_record_free(struct kafka_record *record); /* only the payload and headers; idempotent */
/* A header of a record not yet freed; false: absent. The last one of that name wins. */
bool kafka_record_header(const struct kafka_record *record, const char *name, struct slice *value);

struct kafka_ticket {
    struct kafka_partition *partition;
    uint32_t epoch; /* of the assignment: a ticket of an earlier one completes to nothing */
    int64_t offset;
    uint64_t claim; /* of the partition when the record was taken; 0 without claim mode */
};

/* A partition of the group's topics, as it was last committed. */
struct kafka_given {
    struct kafka_partition *partition;
    bool mine;            /* given to us; the others are told for their metadata */
    int64_t committed;    /* -1: never */
    int64_t lowest;       /* the lowest offset there is; only of `mine` */
    int64_t highest;      /* behind the last one that can be read; only of `mine` */
    const char *metadata; /* of the commit, "" none; valid during the call */
};

/* Where a partition of ours starts. */
struct kafka_start {
    struct kafka_partition *partition;
    int64_t offset;
    uint64_t claim; /* what tickets and the owner's journal name this ownership by */
    const struct offsets_run *runs; /* complete above `offset`: sorted, apart; copied */
    size_t run_count;
};

struct kafka_consumer_ops {
    /* Rebalance, on the consumer's thread, from inside kafka_consumer_serve(). Revoked: stop
     * beginning new work for these partitions; what completes before this returns is still
     * committed. */
    void (*assigned)(void *owner, struct kafka_partition *const *partitions, size_t count);
    void (*revoked)(void *owner, struct kafka_partition *const *partitions, size_t count,
                    bool lost);
    /* A fault of the group: FAULT_FATAL means the consumer is of no use any more. */
    void (*failed)(void *owner, const struct fault *fault);
    /* Claim mode; all from inside kafka_consumer_serve(). Given: first with `settled` false: what a
     * dead owner's open transaction would commit is not in it. After such owners were fenced,
     * kafka_consumer_look() brings it again with `settled` true, and that is what counts. */
    void (*given)(void *owner, const struct kafka_given *given, size_t count, bool settled);
    /* Taken away before kafka_consumer_begin(). */
    void (*given_back)(void *owner);
};

struct kafka_consumer_options {
    const char *group_id;
    const char *client_id;
    /* Static membership: a process of that name which dies and comes again within the session
     * time-out, subscribed to the same topics, goes on with its partitions, and the others notice
     * nothing. If the former one lives still, it is fenced: its partitions are lost, and when the
     * other is seen to live, it fails for good (FAULT_FATAL). Fenced though no other has the name,
     * by brokers that have forgotten its last id, it joins again by itself. NULL: dynamic
     * membership. */
    const char *group_instance_id;
    const struct kafka_subscription *subscriptions;
    size_t subscription_count;
    int64_t queued_max_kbytes; /* per source class */
    int64_t max_message_bytes;
    int commit_interval_ms; /* 1000 */
    int session_timeout_ms; /* 45000; heartbeats each eighth of it, 1 s at most. Without claims a
                               lost partition repeats mail: no shorter than brokers are away */
    /* Claim mode: the partition on which the group's contact is proven each second by a commit of
     * offset 0. It must not be one that the group reads. NULL: no contact is kept. */
    const char *contact_topic;
    int32_t contact_partition;
};
void kafka_consumer_options_default(struct kafka_consumer_options *options);

struct kafka_consumer *kafka_consumer_create(const struct kafka_properties *properties,
                                             const struct kafka_consumer_options *options,
                                             const struct kafka_consumer_ops *ops, void *owner,
                                             struct fault *fault);
/* Commits the watermarks, leaves the group, frees. Open tickets become void. Every record must have
 * been freed before: librdkafka waits for them. ops are not called any more. */
void kafka_consumer_free(struct kafka_consumer **consumer);

/* eventfd written when anything waits after there was nothing. */
void kafka_consumer_notify(struct kafka_consumer *consumer, int event_fd);

/* Group events, errors, periodic commits. Call at least every 100 ms or when notified. Never blocks
 * for long. */
void kafka_consumer_serve(struct kafka_consumer *consumer, struct mono_time now);

/* The next record of that class without waiting; false: none now. Opens its ticket. */
bool kafka_consumer_take(struct kafka_consumer *consumer, enum kafka_source source,
                         struct kafka_record *record);

static inline struct kafka_ticket kafka_record_ticket_of(struct kafka_partition *partition,
                                                         uint32_t epoch, int64_t offset)
{
    return (struct kafka_ticket){partition, epoch, offset, 0};
}
struct kafka_ticket kafka_record_ticket(const struct kafka_record *record);

/* In any order; a second completion of the same ticket is a bug of ours. */
void kafka_ticket_complete(struct kafka_consumer *consumer, struct kafka_ticket ticket);
/* Claim mode: reads `starts`, which must be all that was given as `mine`. False: they were taken
 * away meanwhile, or are read already. ops->assigned is called before it returns. */
bool kafka_consumer_begin(struct kafka_consumer *consumer, const struct kafka_start *starts,
                          size_t count);
/* Claim mode, between given and begin: fetches again what is committed. */
void kafka_consumer_look(struct kafka_consumer *consumer);
/* Claim mode: when a commit was sent that the brokers took from a member of our generation, by
 * which they also prolonged the membership (CLOCK_BOOTTIME, µs, before the sending); 0: never, or
 * the group said that we are no member. Any thread. */
int64_t kafka_consumer_contact_us(const struct kafka_consumer *consumer);

/* True while the partition is still ours under that ticket's epoch. Only on the Kafka thread. */
bool kafka_ticket_valid(const struct kafka_ticket *ticket);

/* Tier partitions: no further record of it is handed out (its head is held by the owner) until
 * resumed. */
void kafka_partition_pause(struct kafka_consumer *consumer, struct kafka_partition *partition);
void kafka_partition_resume(struct kafka_consumer *consumer, struct kafka_partition *partition);

/* True from the moment the group takes the partition away until it is assigned again. Any thread:
 * what was not begun is to be given back rather than begun. */
bool kafka_partition_is_leaving(const struct kafka_partition *partition);
/* The highest offset completed in this assignment; start - 1 when none was. */
int64_t kafka_partition_highest_complete(const struct kafka_partition *partition);
const char *kafka_partition_topic(const struct kafka_partition *partition);
int32_t kafka_partition_id(const struct kafka_partition *partition);
/* Of an assigned partition: valid until it is revoked. */
const struct offsets *kafka_partition_offsets(const struct kafka_partition *partition);
uint64_t kafka_partition_claim(const struct kafka_partition *partition);
/* What was committed last and successfully; -1 none. */
int64_t kafka_partition_committed(const struct kafka_partition *partition);
size_t kafka_partition_open_tickets(const struct kafka_partition *partition);
/* True when every ticket of every assigned partition is complete. */
bool kafka_consumer_idle(const struct kafka_consumer *consumer);
/* Commits the watermarks now and waits up to timeout_ms. */
bool kafka_consumer_commit(struct kafka_consumer *consumer, int timeout_ms, struct fault *fault);
/* Stops handing out records (drain); group membership stays. */
void kafka_consumer_stop_intake(struct kafka_consumer *consumer);

/* How often librdkafka itself had to be paused because much was held back (what it had fetched is
 * fetched again): a metric. */
uint64_t kafka_consumer_pauses(const struct kafka_consumer *consumer);
/* How often a static member had to join anew with another client, fenced or unheard. */
uint64_t kafka_consumer_recoveries(const struct kafka_consumer *consumer);

#endif
