/*
 * Builds the suppression list: a thread follows the events of the topics bounces and feedback,
 * applies the rules of the configuration's `suppression`, and writes entries to the topic
 * suppression (lib/suppress/build.h).
 *
 * One builder works at a time, however many bouncers run. It writes its progress each second into
 * the topic itself, behind the entries that belong to it, so that what it has read and what it has
 * written cannot part. The others follow; when no progress was heard of for LEASE_MS, one claims
 * the topic with the next epoch, and the first record of an epoch says whose it is. A builder
 * writes entries only while it has read back progress of its own within half of that time, so one
 * that was stopped and goes on finds out first.
 */
#ifndef SLUICE_BOUNCER_BUILDER_H
#define SLUICE_BOUNCER_BUILDER_H

#include "kafka/properties.h"
#include "policy/config.h"

struct builder;

/* Starts the thread, which tries to reach Kafka until it can. The configuration must outlive it. */
struct builder *builder_start(const struct config *config,
                              const struct kafka_properties *properties);
/* Waits until what was begun is written, so that another can take over at once. Nulls, takes NULL.
 */
void builder_stop(struct builder **builder);

#endif
