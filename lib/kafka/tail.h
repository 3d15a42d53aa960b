/*
 * Reading single partitions from known offsets to their end and beyond, without a group: what a new
 * owner reads of `done` and `moved`. One thread; partitions come and go at any time.
 */
#ifndef SLUICE_KAFKA_TAIL_H
#define SLUICE_KAFKA_TAIL_H

#include "kafka/reader.h"

struct kafka_tail;

/* `committed`: only what committed transactions wrote (and what was written outside of any). */
struct kafka_tail *kafka_tail_create(const struct kafka_properties *properties,
                                     const char *client_id, bool committed, struct fault *fault);
void kafka_tail_free(struct kafka_tail **tail);
/* The first reading of a topic stalls about a second: does that now, within timeout_ms. */
bool kafka_tail_warm_up(struct kafka_tail *tail, const char *topic, int timeout_ms,
                        struct fault *fault);

/* From that offset on, or from the lowest there is when it lies below. False: reads it already, or
 * librdkafka's reason. */
bool kafka_tail_start(struct kafka_tail *tail, const char *topic, int32_t partition, int64_t from,
                      struct fault *fault);
/* How many partitions the topic has; -1: not known, or there is no such topic (FAULT_NOT_FOUND). */
int kafka_tail_partitions(struct kafka_tail *tail, const char *topic, int timeout_ms,
                          struct fault *fault);
/* Nothing of it is told after this. */
void kafka_tail_stop(struct kafka_tail *tail, const char *topic, int32_t partition);

enum kafka_tail_event {
    KAFKA_TAIL_NONE,
    KAFKA_TAIL_RECORD, /* valid until the next call */
    /* Once per start: everything up to the high watermark that the partition had after its start
     * has been told; `committed` also waits for the transactions that were open there. Topic,
     * partition and offset (behind the last one) are set. The partition is followed further. */
    KAFKA_TAIL_END,
    KAFKA_TAIL_FAILED, /* topic or right missing, …: `fault` */
};

enum kafka_tail_event kafka_tail_next(struct kafka_tail *tail, int timeout_ms,
                                      struct kafka_reader_record *record, struct fault *fault);
/* eventfd written when there is something to read after there was nothing: drain until NONE. */
void kafka_tail_notify(struct kafka_tail *tail, int event_fd);

#endif
