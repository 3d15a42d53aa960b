/*
 * Consumers without a group, which read partitions that are assigned to them: what reader.c,
 * finder.c and tail.c have in common.
 */
#ifndef SLUICE_KAFKA_READING_PRIVATE_H
#define SLUICE_KAFKA_READING_PRIVATE_H

#include "kafka/conf_private.h"
#include "kafka/reader.h"

struct kafka_reading {
    const char *client_id; /* NULL: the client's own */
    const char *group;     /* assign() wants one, and questions about its offsets; never joined */
    bool group_fixed;      /* the user's properties must not name another */
    bool uncommitted;      /* records of transactions that are open or were aborted, too */
    int partition_bytes;   /* in one response: of a partition, and of all */
    int fetch_bytes;
    int queued_messages; /* of all partitions together; 0: librdkafka's */
    int wait_ms;         /* how long a broker may wait for records */
    int backoff_ms;      /* after an error; 0: librdkafka's */
};

/* NULL: fault is set. Tells the end of each partition. */
rd_kafka_t *kafka_reading_client(const struct kafka_properties *properties,
                                 const struct kafka_reading *reading, struct fault *fault);
/* What a consumer's error message means. False: librdkafka goes on by itself and has logged it. */
bool kafka_reading_failed(const rd_kafka_message_t *message, struct fault *fault);
/* Valid as long as the message. */
struct kafka_reader_record kafka_reading_record(const rd_kafka_message_t *message);

#endif
