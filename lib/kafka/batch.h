/*
 * Transactions of a tool: records that are written all or none, by one process at a time. Opening
 * ends whatever a process with the same transactional id has under way, and no call of that process
 * succeeds afterwards; so what is read after opening cannot be changed by another one of the id.
 * All calls block; one thread.
 */
#ifndef SLUICE_KAFKA_BATCH_H
#define SLUICE_KAFKA_BATCH_H

#include "kafka/producer.h"

struct kafka_batch;

/* NULL: the fault. */
struct kafka_batch *kafka_batch_open(const struct kafka_properties *properties,
                                     const char *transactional_id, const char *client_id,
                                     int timeout_ms, struct fault *fault);
/* What was not committed is aborted. */
void kafka_batch_free(struct kafka_batch **batch);

/* Everything is copied. `delivery` must be NULL. False: the whole batch is to be given up. */
bool kafka_batch_add(struct kafka_batch *batch, const struct kafka_record_out *record,
                     struct fault *fault);

enum kafka_batch_result {
    KAFKA_BATCH_COMMITTED, /* also when there was nothing to commit */
    KAFKA_BATCH_ABORTED,   /* nothing of it was written */
    KAFKA_BATCH_UNKNOWN,   /* the answer did not come: open again and look */
};
/* The fault of what is not committed: FAULT_CLOSED when another process has opened the id. After
 * anything but COMMITTED the batch can only be freed. */
enum kafka_batch_result kafka_batch_commit(struct kafka_batch *batch, int timeout_ms,
                                           struct fault *fault);

#endif
