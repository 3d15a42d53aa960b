/*
 * For tests of the producer only.
 */
#ifndef SLUICE_KAFKA_PRODUCER_PRIVATE_H
#define SLUICE_KAFKA_PRODUCER_PRIVATE_H

#include "kafka/producer.h"

/* As if the broker had refused the producer for good (out of order sequence): the next poll makes
 * it anew. */
void kafka_producer_break(struct kafka_producer *producer);

#endif
