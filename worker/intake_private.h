/*
 * Between intake.c (the thread, taking), intake_home.c (what comes back), intake_group.c
 * (partitions that come, bursts of all that are ours), tiers.c (heads of delay tiers) and evict.c
 * (partitions that go).
 */
#ifndef SLUICE_WORKER_INTAKE_PRIVATE_H
#define SLUICE_WORKER_INTAKE_PRIVATE_H

#include "worker/claims.h"
#include "worker/intake.h"
#include "worker/journal.h"
#include "worker/pace.h"
#include "worker/restate.h"

#define INTAKE_MAGIC 0x494e5441u

struct intake {
    uint32_t magic;
    struct worker *worker;
    struct io_loop *loop;
    struct mailbox *mailbox;
    struct outbox *outbox;
    struct journal_writer *journal; /* CLOSED, and what no shard has */
    struct kafka_consumer *consumer;
    struct burst *burst;
    struct claims *claims;
    struct restate *restate;
    struct inherited *inherited;
    int event_fd; /* written by librdkafka's queues and intake_wake() */
    struct io_watch *watch;
    struct timer serve, stats;
    struct mono_time next_skipped; /* when to look for what was skipped */

    struct kafka_partition **assigned;
    size_t assigned_count;
    struct pace pace;    /* of those */
    unsigned workers;    /* in the cluster, as far as known */
    struct list held;    /* mails of tiers that are not due */
    struct list awaited; /* mails that an earlier owner may still be sending */
    struct list settled; /* mails that are through, but for what Kafka has to acknowledge */

    /* Partitions that go (evict.c). */
    int64_t eviction;         /* number of the last one: answers to earlier ones are dropped */
    uint32_t answers_missing; /* of shards */
    struct kafka_ticket *in_flight; /* was in transactions when they answered */
    size_t in_flight_count;
    bool releasing; /* the release burst is under way */
    enum kafka_burst_result released;

    atomic_int drain_asked; /* no bool: compilers read neighbouring ones at once */
    bool draining;
    bool failed;
    bool blocked; /* the budget stopped intake */
};

/* One turn of the loop and of Kafka's work. Not from inside the loop. */
void intake_turn(struct intake *intake);
/* Delivery reports and ends of bursts. */
void intake_poll(struct intake *intake);
/* Makes the next turn come at once; any thread. */
void intake_wake(struct intake *intake);
void intake_to_shard(struct intake *intake, struct mail *mail);
/* What intake itself holds back was not begun: the next owner reads it. */
void intake_forget_held(struct intake *intake);

/* intake_home.c */
void intake_letter_arrived(struct letter *letter, void *owner);
extern const struct burst_ops intake_burst_ops;
/* Nothing of the mail is of interest any more: it is freed, and what it kept from being taken is
 * taken. */
void intake_mail_over(struct intake *intake, struct mail *mail);

/* intake_group.c */
extern const struct kafka_consumer_ops intake_group_ops;
/* A usual burst, when one is due. */
void intake_burst(struct intake *intake, struct mono_time now);
/* One of all that is ours, with what is in flight when it is a release. */
bool intake_submit(struct intake *intake, enum burst_kind kind, struct fault *fault);

/* Those that the configuration has, and of the others those where records wait still: written when
 * it had them. */
bool tiers_subscribe(struct worker *worker, const struct kafka_properties *properties,
                     struct kafka_subscription *subscriptions, size_t *count, struct fault *fault);
/* A record of a delay tier: held until the tier's delay is over, then delivered, held for a short
 * rest, or sent on. */
void tiers_take(struct intake *intake, struct mail *mail);
void tiers_release_all(struct intake *intake);

/* The group takes all partitions: a short time for what is in transactions, then they are released;
 * another has them already when they are `lost`. */
void evict_partitions(struct intake *intake, bool lost);
/* The worker ends: the same with all the time that worker.drain-timeout gives. */
void evict_drain(struct intake *intake);
/* A shard has given back what was not begun. */
void evict_answered(struct intake *intake, const struct shard_answer *answer);
void evict_burst_over(struct intake *intake, enum kafka_burst_result result);

#endif
