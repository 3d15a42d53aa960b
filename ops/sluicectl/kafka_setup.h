/*
 * The configuration's Kafka section in the words of lib/kafka, for every command that talks to
 * Kafka.
 */
#ifndef SLUICE_OPS_SLUICECTL_KAFKA_SETUP_H
#define SLUICE_OPS_SLUICECTL_KAFKA_SETUP_H

#include "kafka/properties.h"
#include "policy/config.h"

/* bootstrap.servers first, then the file's properties. The strings are those of the configuration,
 * which must live on; the array is freed by kafka_setup_free(). */
struct kafka_properties kafka_setup_properties(const struct config *config);
void kafka_setup_free(struct kafka_properties *properties);

#endif
