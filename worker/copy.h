/*
 * Copies of a mail's record that are still to be written to other topics: delay tiers, dlq,
 * uncertain. Whoever owns the mail adds them; they go out with a burst (worker/burst.h) when
 * nothing else holds the mail any more, so that a copy says that everything else which follows from
 * its record is on Kafka.
 */
#ifndef SLUICE_WORKER_COPY_H
#define SLUICE_WORKER_COPY_H

#include "kafka/producer.h"
#include "worker/mail.h"

#define COPY_HEADERS_MAX 13

struct copy {
    struct list node; /* in mail.copies */
    const char *topic;
    struct slice key; /* ptr NULL: the record's own */
    size_t value_len; /* so much of the record's value */
    size_t header_count;
    struct kafka_header headers[];
};

/* The whole payload, or of a dead letter as much as Kafka surely takes, to the same shard of
 * `topic`, which must outlive the worker. Key and headers are copied. */
void copy_add(struct mail *mail, const char *topic, struct slice key,
              const struct kafka_header *headers, size_t header_count);
/* The record to produce; valid while the mail and the copy are. */
struct kafka_record_out copy_record(const struct mail *mail, const struct copy *copy);
/* Drops what was not written. */
void copies_free(struct mail *mail);

#endif
