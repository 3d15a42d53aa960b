/*
 * Between burst.c (mails with copies, the life of a burst) and burst_checkpoint.c (what it says of
 * partitions).
 */
#ifndef SLUICE_WORKER_BURST_PRIVATE_H
#define SLUICE_WORKER_BURST_PRIVATE_H

#include "worker/burst.h"

#include "base/map.h"

#define BURST_MAGIC 0x42525354u

/* When a partition was committed last: what is old is committed again, so that its next owner has
 * little to read (ledger/takeover.h). */
struct renewal {
    const struct kafka_partition *partition; /* the key */
    struct mono_time at;
};

/* An open offset whose copies are in the burst. */
struct moved {
    const struct kafka_partition *partition;
    int64_t offset;
};

struct burst {
    uint32_t magic;
    struct worker *worker;
    const struct burst_ops *ops;
    void *owner;
    struct kafka_txn *txn;
    bool closing; /* the owner is not told any more */

    struct list waiting; /* mails, oldest first */
    size_t waiting_bytes;
    bool changed; /* completions, since the last one was begun */
    bool urgent;  /* more waited than went into the last one */
    struct mono_time last_end;
    size_t copies_max;   /* of the next one */
    unsigned failures;   /* one after the other */
    struct map renewals; /* by partition; kept as long as the consumer keeps those */

    /* The one under way; kept as it is until it is over, since the transaction's thread reads it.
     */
    struct kafka_burst kafka;
    enum burst_kind kind;
    struct mono_time began;
    struct list mails;
    struct list moved_mails; /* of the last one, not yet told: it is not over until they are */
    size_t mail_bytes;
    struct kafka_record_out *records;
    struct strbuf checkpoint_text;
    struct kafka_record_out checkpoint;
    struct kafka_burst_offset *offsets;
    uint64_t *claims;    /* of the offsets' partitions */
    struct moved *moved; /* sorted when the checkpoint is written */
    size_t moved_count;
};

/* Fills checkpoint, offsets and claims. False: there is no room for so much. */
bool burst_write_checkpoint(struct burst *burst, const struct burst_partition *partitions,
                            size_t count, int64_t done_offset);
/* kafka_burst.metadata: on the transaction's thread. */
void burst_write_metadata(struct kafka_burst *kafka, size_t index, int64_t checkpoint_offset,
                          char *out, size_t size);
/* The burst has committed that partition. */
void burst_renew(struct burst *burst, const struct kafka_partition *partition);

#endif
