/*
 * The topics of Sluice (design.md section 2): their names, kinds and settings, and making or
 * verifying them.
 */
#ifndef SLUICE_KAFKA_TOPICS_H
#define SLUICE_KAFKA_TOPICS_H

#include "kafka/properties.h"

#define KAFKA_TIERS 12 /* at most: d.00 … d.11: 30 s · 2^k */
#define KAFKA_TOPIC_NAME_MAX 249

/* Delay of a tier in milliseconds when unit_ms (30000 by default) is the delay of tier 0. */
int64_t kafka_tier_delay_ms(unsigned tier, int64_t unit_ms);
/* Of the first `tiers`: the one with the longest delay that is <= wait_ms (tier 0 when even that is
 * longer). */
unsigned kafka_tier_for(int64_t wait_ms, int64_t unit_ms, unsigned tiers);
/* The tier that a worker puts a wait into, of the first `tiers`: up to an eighth longer where that
 * saves hops; `exact`: never later than wait_ms unless that is shorter than tier 0. */
unsigned kafka_tier_chosen(int64_t wait_ms, int64_t unit_ms, unsigned tiers, bool exact);

struct kafka_topic_plan {
    const char *prefix;         /* "sluice." */
    const char *const *streams; /* "tx", "bulk", …: topics q.tx, q.bulk */
    size_t stream_count;
    unsigned tiers;       /* 1 … KAFKA_TIERS */
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
    KAFKA_TOPIC_WRONG,
    /* only of a migration */
    KAFKA_TOPIC_CHANGED, /* partitions were added, or settings put right */
    KAFKA_TOPIC_WAITS,   /* not in the plan, and cannot be deleted yet */
    KAFKA_TOPIC_DELETED, /* was not in the plan, and had nothing to read */
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

/*
 * Makes the topics what the plan says while workers run; nothing that waits is lost, and wherever
 * it is ended it can be begun again. What is missing is made, what has too few partitions gets more
 * (where copies go first; then, after settle_ms, so that every producer knows of it, the streams),
 * settings are put right. Tiers and streams that the plan does not have are deleted once nothing is
 * left to read in them and no member of `group` has them: before the last look at that they are
 * closed to writers. Kafka cannot take partitions away: that stays WRONG.
 */
struct kafka_migration {
    const struct kafka_topic_plan *plan;
    const char *group;
    int settle_ms;
    bool deletes; /* else what could be deleted only WAITS */
};
enum kafka_migrated {
    KAFKA_MIGRATED,
    KAFKA_MIGRATION_WAITS, /* to be called again later */
    KAFKA_MIGRATION_FAILED,
};
enum kafka_migrated kafka_topics_migrate(const struct kafka_properties *properties,
                                         const struct kafka_migration *migration,
                                         kafka_topic_report report, void *owner,
                                         struct fault *fault);

/* In how many partitions of the topic there are records at or behind what the group has committed
 * (with those of transactions that were open when it began); 0 also when there is no such topic;
 * -1: the fault. */
int kafka_topic_waiting(const struct kafka_properties *properties, const char *group,
                        const char *topic, int timeout_ms, struct fault *fault);

#endif
