/*
 * The transactional producer. A burst is one transaction: records, the checkpoint, the group's
 * offsets, commit. It runs on a thread of its own, one at a time; the owner's thread submits and
 * polls.
 *
 * What became of a burst is always known when it is told. Where the brokers' answer is lost, or the
 * producer went fatal, it is made anew with the same transactional id, which ends the old
 * transaction one way or the other; whether the checkpoint's record can then be read
 * (read_committed) says which. That takes as long as the brokers are away, and no other burst runs
 * before.
 */
#ifndef SLUICE_KAFKA_TXN_H
#define SLUICE_KAFKA_TXN_H

#include "base/list.h"
#include "kafka/consumer.h"
#include "kafka/producer.h"

struct kafka_txn;

#define KAFKA_METADATA_MAX 4096 /* bytes of an offset's metadata: what a broker takes */

enum kafka_burst_result {
    KAFKA_BURST_COMMITTED,
    KAFKA_BURST_ABORTED, /* nothing of it happened; may be submitted again */
    KAFKA_BURST_LOST,    /* nothing of it happened, and our generation of the group is gone */
    KAFKA_BURST_UNKNOWN, /* only from kafka_txn_free(): there was no time to find out */
};

struct kafka_burst_offset {
    struct kafka_partition *partition; /* given to us or assigned */
    int64_t offset;
};

/* Kept by the owner, with all it points to, until done() has been called. */
struct kafka_burst {
    /* Nothing is copied, whatever `borrow_value` says; `delivery` must be NULL. */
    const struct kafka_record_out *records;
    size_t record_count;
    const struct kafka_record_out *checkpoint; /* its partition must be named */
    const struct kafka_burst_offset *offsets;  /* at least one: it is what fences a zombie */
    size_t offset_count;
    /* On the transaction's thread, when it is known where the checkpoint lies: the metadata of an
     * offset, ASCII, ended by NUL, shorter than KAFKA_METADATA_MAX. */
    void (*metadata)(struct kafka_burst *burst, size_t index, int64_t checkpoint_offset, char *out,
                     size_t size);
    /* From kafka_txn_poll(), once. `fault` says why it is not COMMITTED. */
    void (*done)(struct kafka_burst *burst, enum kafka_burst_result result,
                 int64_t checkpoint_offset, const struct fault *fault);
};

struct kafka_txn_options {
    const char *transactional_id;
    const char *client_id;
    const char *compression;
    int transaction_timeout_ms; /* 10000: how long brokers let a burst be open */
    int64_t max_message_bytes;
    int64_t queue_max_kbytes; /* bound of one burst */
};
void kafka_txn_options_default(struct kafka_txn_options *options);

/* Starts the thread, which initialises the id at once: a transaction that an earlier process of the
 * same id left open is aborted. Bursts and fencings wait for that. */
struct kafka_txn *kafka_txn_create(const struct kafka_properties *properties,
                                   const struct kafka_txn_options *options, struct fault *fault);
/* Waits up to wait_ms for the burst under way, then tells it as UNKNOWN; fencings that are not done
 * are told with a fault. */
void kafka_txn_free(struct kafka_txn **txn, int wait_ms);

/* The id is ours: whoever had it before is fenced. */
bool kafka_txn_ready(const struct kafka_txn *txn);

/* Takes the generation that the consumer's present assignment came with. False: FAULT_LIMIT a burst
 * is under way, FAULT_CLOSED the consumer is no member (any more) of its group, FAULT_INVALID.
 * done() is not called then. When it is COMMITTED, the partitions' committed offsets follow;
 * contact with the group it is not: a commit in a transaction does not prolong the membership. */
bool kafka_txn_submit(struct kafka_txn *txn, struct kafka_consumer *consumer,
                      struct kafka_burst *burst, struct fault *fault);
bool kafka_txn_busy(const struct kafka_txn *txn);

/* Ends whatever transaction the producer with that id has open, at once, and makes every further
 * call of it fail. Tried until it is done. */
struct kafka_fencing {
    struct list node;
    const char *transactional_id;
    void (*done)(struct kafka_fencing *fencing, const struct fault *fault); /* NULL: fenced */
};
void kafka_txn_fence(struct kafka_txn *txn, struct kafka_fencing *fencing);

/* Tells what is done; the owner's thread only. Returns how much. */
int kafka_txn_poll(struct kafka_txn *txn);
/* The eventfd is written whenever there is something to tell. */
void kafka_txn_notify(struct kafka_txn *txn, int event_fd);

struct kafka_txn_counts {
    uint64_t committed, aborted, lost;
    uint64_t resolved; /* of these: found out by looking for the checkpoint */
    uint64_t recreated;
};
void kafka_txn_counts(struct kafka_txn *txn, struct kafka_txn_counts *counts);

#endif
