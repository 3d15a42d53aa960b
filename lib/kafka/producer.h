/*
 * Producing with acks=all, idempotent. Thread-safe to produce from any thread; delivery reports
 * come from kafka_producer_poll() on the polling thread only, exactly one per accepted record. An
 * idempotent producer that goes fatal is made anew inside: what it had not acknowledged is reported
 * as failed (FAULT_TEMPORARY), and the owner may produce it again.
 */
#ifndef SLUICE_KAFKA_PRODUCER_H
#define SLUICE_KAFKA_PRODUCER_H

#include "kafka/properties.h"

struct kafka_producer;

struct kafka_header {
    const char *name;
    struct slice value;
};

/* A delivery: intrusive, kept by the owner until the report. */
struct kafka_delivery {
    /* `fault` NULL: acknowledged; partition and offset are known. */
    void (*done)(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                 const struct fault *fault);
};

struct kafka_record_out {
    const char *topic;
    int32_t partition;  /* -1: by the key (murmur2_random, as Java clients do) */
    struct slice key;   /* absent: none */
    struct slice value; /* copied by the producer unless `borrow_value` */
    bool borrow_value;  /* the owner keeps the value's bytes until the report */
    const struct kafka_header *headers;
    size_t header_count;
    struct kafka_delivery
        *delivery; /* NULL: nobody wants to know (errors are counted and logged) */
};

struct kafka_producer_options {
    const char *client_id;
    int linger_ms;
    const char *compression; /* "lz4", "zstd", "none" */
    int64_t max_message_bytes;
    int queue_max_messages; /* bound of what is not yet acknowledged */
    int64_t queue_max_kbytes;
    int delivery_timeout_ms; /* how long one record may be tried; then its report is FAULT_TIMEOUT
                              */
};
void kafka_producer_options_default(struct kafka_producer_options *options);

struct kafka_producer *kafka_producer_create(const struct kafka_properties *properties,
                                             const struct kafka_producer_options *options,
                                             struct fault *fault);
/* Flushes for up to flush_ms, reports the rest as failed, frees. */
void kafka_producer_free(struct kafka_producer **producer, int flush_ms);

/* False: FAULT_LIMIT (queue full: poll and try again), FAULT_INVALID (too large, unknown topic),
 * FAULT_TEMPORARY. */
bool kafka_producer_send(struct kafka_producer *producer, const struct kafka_record_out *record,
                         struct fault *fault);

/* Runs delivery reports; waits up to timeout_ms for the first. Returns how many. */
int kafka_producer_poll(struct kafka_producer *producer, int timeout_ms);
/* From any thread: the poll that waits now, or else the next one, returns at once. */
void kafka_producer_wake(struct kafka_producer *producer);
/* Writes 8 bytes (value 1) to this eventfd whenever reports are waiting after there were none:
 * drain by polling until 0. */
void kafka_producer_notify(struct kafka_producer *producer, int event_fd);
/* True when all was acknowledged (or failed) within the time; keeps polling. */
bool kafka_producer_flush(struct kafka_producer *producer, int timeout_ms);
/* Records not yet reported. */
int kafka_producer_pending(struct kafka_producer *producer);
/* The first produce after start stalls about a second (metadata, producer id): does that now by
 * touching the topics. */
bool kafka_producer_warm_up(struct kafka_producer *producer, const char *const *topics,
                            size_t count, int timeout_ms, struct fault *fault);

#endif
