/*
 * For tests of the consumer only.
 */
#ifndef SLUICE_KAFKA_MISPLACE_PRIVATE_H
#define SLUICE_KAFKA_MISPLACE_PRIVATE_H

#include "kafka/consumer.h"

/* Commits this offset when the consumer is freed, whether it exists or not. No record is handed out
 * after this. */
void kafka_consumer_misplace(struct kafka_consumer *consumer, struct kafka_partition *partition,
                             int64_t offset);

#endif
