/*
 * One record to librdkafka, as all producers of this room give it.
 */
#ifndef SLUICE_KAFKA_PRODUCE_PRIVATE_H
#define SLUICE_KAFKA_PRODUCE_PRIVATE_H

#include "kafka/producer.h"

#include <librdkafka/rdkafka.h>

/* `topic` NULL: looked up by the record's name of it. `copy`: the value's bytes are librdkafka's
 * own afterwards; those of the key and of headers always are. An absent value is a tombstone. */
rd_kafka_error_t *kafka_produce(rd_kafka_t *rk, rd_kafka_topic_t *topic,
                                const struct kafka_record_out *record, bool copy, void *opaque);

#endif
