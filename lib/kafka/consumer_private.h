/*
 * The consumer's inside. These share it: consumer.c (life, service), consumer_commit.c (commits of
 * our own), consumer_group.c (rebalances, where a partition starts), consumer_claim.c (claim mode:
 * what is given), consumer_contact.c (claim mode: contact with the group), consumer_take.c
 * (records, tickets, holding partitions back), consumer_recover.c (a new client for a static
 * member). All on the consumer's one thread.
 */
#ifndef SLUICE_KAFKA_CONSUMER_PRIVATE_H
#define SLUICE_KAFKA_CONSUMER_PRIVATE_H

#include "kafka/conf_private.h"
#include "kafka/consumer.h"
#include "kafka/misplace_private.h"
#include "ledger/offsets.h"

#include "base/list.h"

#include <stdatomic.h>

#define CONSUMER_MAGIC 0x6b636f6eu
#define PARTITION_MAGIC 0x6b706172u
/* Of a question to the group's coordinator: as long as the option may be. When such a question
 * times out before the coordinator is found, librdkafka (2.0.2) aborts the process as soon as it is
 * found (its issue 4605). One that is under way when the brokers come back is answered then. */
#define KAFKA_ASK_TIMEOUT_MS (3600 * 1000)

/* One per partition that was ever assigned; lives as long as the consumer, so that a late ticket
 * points at something. */
struct kafka_partition {
    uint32_t magic;
    uint32_t epoch; /* of this assignment; grows with each */
    struct kafka_topic *topic;
    int32_t id;
    bool assigned;
    bool held;        /* by the owner: nothing is handed out */
    bool paused;      /* in librdkafka, by us, because the stash is full */
    bool misplaced;   /* its position does not exist at the broker: must be assigned anew */
    int64_t position; /* the offset wanted next from librdkafka */
    int64_t highest_complete;
    atomic_bool leaving;
    int64_t committed; /* the last offset given to a commit; -1 none */
    uint64_t claim;    /* claim mode: as the owner gave it */
    struct offsets offsets;
    struct list stash; /* of struct stashed: taken from librdkafka, not yet handed out */
    size_t stash_bytes;
    struct list ready; /* on the class's list: a stash and not held */
};

struct kafka_topic {
    char *name;
    enum kafka_source source;
    int index;
    struct kafka_partition **partitions; /* by id; NULL: never assigned */
    size_t partition_count;
};

struct source_queue {
    rd_kafka_queue_t *queue;
    struct list ready; /* of partitions with a stash to hand out first */
    size_t assigned;
    size_t stash_limit;       /* bytes per partition */
    struct kafka_topic *last; /* topic of the last record: most often the next one's too */
};

enum claim_phase {
    CLAIM_NONE,  /* nothing is pending */
    CLAIM_ASK,   /* the committed offsets are to be asked for */
    CLAIM_ASKED, /* the answer is awaited */
    CLAIM_TOLD,  /* the owner knows and will begin, or look again */
};

#define CONTACT_PULSES 8 /* under way at most */

/* Only used in claim mode, ops->given. */
struct consumer_claim {
    enum claim_phase phase;
    bool settled;
    struct mono_time ask_at; /* not before */
    uintptr_t asking;        /* number of the question: the answer to an earlier one is dropped */
    char *group_id;
    rd_kafka_queue_t *answers; /* to questions and pulses */
    /* The generation that the present assignment came with, as librdkafka writes it; NULL: none, or
     * it is known to be gone. `generation_number` counts them, so that a late answer is not taken
     * for one of this. */
    void *generation;
    size_t generation_size;
    uint64_t generation_number;
    char *contact_topic;
    int32_t contact_partition;
    int session_timeout_ms;
    struct mono_time next_pulse, next_look;
    uintptr_t pulse;      /* number of the last one */
    unsigned pulses_open; /* of this generation, without an answer */
    struct {
        int64_t sent_us;
        uint64_t generation_number;
    } pulses[CONTACT_PULSES]; /* by number */
    atomic_llong contact_us;
};

enum recover_phase {
    RECOVER_NONE,
    RECOVER_FENCED,  /* all is lost; the client is to be replaced */
    RECOVER_ASKING,  /* who holds our name; the new client is no member yet */
    RECOVER_UNHEARD, /* the client is to be replaced, and to join at once */
};

#define RECOVER_IDS 16

/* Only used by static members, `name`. */
struct consumer_recover {
    enum recover_phase phase;
    char *name, *instance_id; /* the owner's, and as the group has it */
    char *ids[RECOVER_IDS];   /* that the group knew us by, the last ones */
    size_t id_next;
    struct mono_time next_look;
    rd_kafka_queue_t *answers; /* to the question who the members are */
    bool is_asked;
    uintptr_t asking; /* number of the question */
    struct mono_time asked, ask_at;
    bool is_stranger; /* an id that we never had holds our name */
    struct mono_time stranger_since;
    bool is_settled; /* the group has told what is ours, and has not taken it away since */
    int answers_in_turn, patience_times; /* of the brokers, while it waits for that */
    struct list retired;                 /* former clients */
    uint64_t count;
};

struct kafka_consumer {
    uint32_t magic;
    rd_kafka_t *rk;
    rd_kafka_conf_t *conf; /* for another one */
    const struct kafka_consumer_ops *ops;
    void *owner;
    struct kafka_topic *topics;
    size_t topic_count;
    struct source_queue queues[KAFKA_SOURCES];
    rd_kafka_topic_partition_list_t *pending; /* given by the group, not yet assigned */
    struct mono_time pending_retry;
    bool reassign;  /* some partition is misplaced */
    bool reforward; /* assigned anew since the last rebalance */
    size_t assigned_count;
    size_t open_tickets;
    uint64_t pauses;
    uint32_t epoch;
    int commit_interval_ms;
    struct mono_time next_commit;
    bool commit_in_flight;
    struct mono_time commit_expires; /* the one in flight is not waited for any longer */
    bool stopped;                    /* hands out no more */
    bool closing;                    /* the owner is not called any more */
    bool failed;                     /* fatal was told */
    int event_fd;
    struct consumer_claim claim;
    struct consumer_recover recover;
    struct kafka_log_limit error_limit, commit_limit;
};

static inline bool consumer_claims(const struct kafka_consumer *consumer)
{
    return consumer->ops->given != NULL;
}

struct kafka_topic *consumer_topic(struct kafka_consumer *consumer, const char *name);
/* Made when it is new. */
struct kafka_partition *consumer_partition(struct kafka_topic *topic, int32_t id);
void consumer_tell_fatal(struct kafka_consumer *consumer);

/* consumer.c: errors that librdkafka hands over as a message. */
void consumer_error(struct kafka_consumer *consumer, const rd_kafka_message_t *message);
/* The consumer is of no use any more: told once. */
void consumer_fail(struct kafka_consumer *consumer, const struct fault *fault);
/* A client like the present one, its queues, and its joining the group. */
rd_kafka_t *consumer_client_new(const struct kafka_consumer *consumer, struct fault *fault);
void consumer_queues_open(struct kafka_consumer *consumer);
void consumer_queues_close(struct kafka_consumer *consumer);
bool consumer_subscribe(struct kafka_consumer *consumer, struct fault *fault);

/* consumer_commit.c */
void consumer_commit_async(struct kafka_consumer *consumer, struct mono_time now);
/* Commits what moved and waits. */
bool consumer_commit_sync(struct kafka_consumer *consumer, int timeout_ms, struct fault *fault);
/* librdkafka's callback. */
void consumer_commit_done(rd_kafka_t *rk, rd_kafka_resp_err_t error,
                          rd_kafka_topic_partition_list_t *list, void *opaque);

/* consumer_group.c */
void consumer_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t event,
                        rd_kafka_topic_partition_list_t *partitions, void *opaque);
/* Finishes an assignment that waits for its offsets, and puts misplaced partitions right. */
void consumer_group_serve(struct kafka_consumer *consumer, struct mono_time now);

void consumer_partition_begin(struct kafka_consumer *consumer, struct kafka_partition *partition,
                              int64_t start);
/* Reads `list`, whose partitions have begun, and tells the owner. */
void consumer_assign(struct kafka_consumer *consumer, rd_kafka_topic_partition_list_t *list);

/* consumer_claim.c */
void claim_init(struct kafka_consumer *consumer, const struct kafka_consumer_options *options);
/* After librdkafka's consumer was destroyed. */
void claim_release(struct kafka_consumer *consumer);
/* `pending` was given by the group. */
void claim_given(struct kafka_consumer *consumer);
/* `pending` was taken away. */
void claim_given_back(struct kafka_consumer *consumer);
void claim_serve(struct kafka_consumer *consumer, struct mono_time now);

/* consumer_contact.c */
/* Partitions are given: the generation begins. */
void contact_begin(struct kafka_consumer *consumer);
/* The generation ends with this; lost: it had ended before. */
void contact_end(struct kafka_consumer *consumer);
/* For bursts; NULL: we are no member. The caller's. */
rd_kafka_consumer_group_metadata_t *contact_generation(const struct kafka_consumer *consumer,
                                                       uint64_t *number);
void contact_gone(struct kafka_consumer *consumer, uint64_t generation_number);
/* Looks whether the generation is still ours, and tells the group that we are alive. */
void contact_serve(struct kafka_consumer *consumer, struct mono_time now);
/* What it said to that. */
void contact_answered(struct kafka_consumer *consumer, rd_kafka_event_t *event);

/* consumer_recover.c */
void recover_init(struct kafka_consumer *consumer, const struct kafka_consumer_options *options);
/* After librdkafka's consumer was destroyed, and when all records were freed. */
void recover_release(struct kafka_consumer *consumer);
/* Another has our name, as the group says. What is ours is to be lost before recover_serve(). */
void recover_fenced(struct kafka_consumer *consumer);
/* The group has told what is ours, or has taken it away. */
void recover_settled(struct kafka_consumer *consumer, bool is_settled);
void recover_serve(struct kafka_consumer *consumer, struct mono_time now);

/* consumer_take.c */
void consumer_stash_drop(struct kafka_partition *partition);
struct kafka_consumer *consumer_of(rd_kafka_t *rk);

#endif
