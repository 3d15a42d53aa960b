/*
 * Writing entries of the suppression list by hand, and telling it as admin events.
 */
#ifndef SLUICE_OPS_SLUICECTL_SUPPRESSION_WRITE_H
#define SLUICE_OPS_SLUICECTL_SUPPRESSION_WRITE_H

#include "kafka/producer.h"
#include "kafka/topics.h"
#include "ops/sluicectl/suppression.h"

struct suppression_change {
    const struct config *config;
    const struct suppression_options *options;
    struct kafka_producer *producer; /* NULL: --check */
    struct kafka_delivery delivery;
    char suppression_topic[KAFKA_TOPIC_NAME_MAX + 1], log_topic[KAFKA_TOPIC_NAME_MAX + 1];
    int64_t now_ms;
    uint64_t sent, acknowledged, failed;
    struct strbuf value;
    struct fault fault; /* why Kafka did not take one */
};

/* Call suppression_change_close() in either case. */
bool suppression_change_open(struct suppression_change *change, const struct config *config,
                             const struct suppression_options *options);
/* Waits for what was sent. False: not all is on Kafka, which was told. */
bool suppression_change_close(struct suppression_change *change);

bool suppression_send_entry(struct suppression_change *change, const struct suppress_key *key,
                            const struct suppression *entry);
/* Tells in the log who did what, so that the list's history can be read there. */
bool suppression_send_event(struct suppression_change *change, const char *action,
                            const struct suppress_key *key, struct slice detail);

/* By the options: whom it concerns, and what stands in the entry. */
struct suppress_key suppression_key_of(const struct suppression_options *options,
                                       struct slice address);
struct suppression suppression_by_hand(const struct suppression_change *change, int fallback);

#endif
