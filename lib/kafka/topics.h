/*
 * The topics of Sluice (design.md section 2): their names, kinds and settings, and making or
 * verifying them.
 */
#ifndef SLUICE_KAFKA_TOPICS_H
#define SLUICE_KAFKA_TOPICS_H

#include "kafka/properties.h"

#define KAFKA_TIERS 12 /* d.00 … d.11: 30 s · 2^k */
#define KAFKA_TOPIC_NAME_MAX 249

/* Delay of a tier in milliseconds when unit_ms (30000 by default) is the delay of tier 0. */
int64_t kafka_tier_delay_ms(unsigned tier, int64_t unit_ms);
/* The tier with the longest delay that is <= wait_ms (tier 0 when even that is longer). */
unsigned kafka_tier_for(int64_t wait_ms, int64_t unit_ms);

struct kafka_topic_plan {
    const char *prefix;         /* "sluice." */
    const char *const *streams; /* "tx", "bulk", …: topics q.tx, q.bulk */
    size_t stream_count;
    int shards;           /* partitions of q.*, d.*, dlq, uncertain */
    int event_partitions; /* log, bounces, feedback */
    int slots;            /* done, moved */
    int replication_factor;
    int min_insync_replicas;
    int64_t max_message_bytes; /* 26 MiB by default */
    int64_t retention_ms;      /* 7 d; dlq 30 d */
};

enum kafka_topic_state {
    KAFKA_TOPIC_OK,
    KAFKA_TOPIC_CREATED,
    KAFKA_TOPIC_MISSING,
    KAFKA_TOPIC_WRONG
};

/* One line per topic: state and, when WRONG, what differs ("partitions: 8, wanted 16";
 * "max.message.bytes: …"). */
typedef void (*kafka_topic_report)(void *owner, const char *topic, enum kafka_topic_state state,
                                   const char *detail);

/* Makes those that are missing and waits until they can be used (metadata known, every partition
 * has a leader). Existing ones are verified. Blocking. False: the cluster cannot be reached or
 * refused; or one is WRONG. */
bool kafka_topics_create(const struct kafka_properties *properties,
                         const struct kafka_topic_plan *plan, kafka_topic_report report,
                         void *owner, struct fault *fault);
/* Only looks. False when one is missing or wrong. */
bool kafka_topics_check(const struct kafka_properties *properties,
                        const struct kafka_topic_plan *plan, kafka_topic_report report, void *owner,
                        struct fault *fault);

#endif
