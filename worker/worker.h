/*
 * What all threads of one worker share: configuration (immutable), the two producers (thread-safe),
 * the memory budget (atomics), counters, and the threads themselves. Made by main before the
 * threads start, freed after they have ended.
 */
#ifndef SLUICE_WORKER_WORKER_H
#define SLUICE_WORKER_WORKER_H

#include "kafka/producer.h"
#include "kafka/topics.h"
#include "policy/config.h"
#include "schema/completion.h"
#include "worker/mail.h"
#include "worker/tenure.h"

struct classify_rules;
struct console;
struct intake;

/* A VIP that this worker holds: its addresses, parsed and proved by a bind test at start. */
struct worker_vip {
    const struct config_vip *config;
    bool has_ipv4, has_ipv6;
    struct sockaddr_storage ipv4, ipv6;
};

/* Names of topics with the prefix, made once. */
struct worker_topics {
    char control[KAFKA_TOPIC_NAME_MAX + 1];
    char log[KAFKA_TOPIC_NAME_MAX + 1];
    char bounces[KAFKA_TOPIC_NAME_MAX + 1];
    char facts[KAFKA_TOPIC_NAME_MAX + 1];
    char dlq[KAFKA_TOPIC_NAME_MAX + 1];
    char done[KAFKA_TOPIC_NAME_MAX + 1];
    char moved[KAFKA_TOPIC_NAME_MAX + 1];
    char uncertain[KAFKA_TOPIC_NAME_MAX + 1];
    char suppression[KAFKA_TOPIC_NAME_MAX + 1];
    char reports[KAFKA_TOPIC_NAME_MAX + 1]; /* the queue for what senders are told */
    char tiers[KAFKA_TIERS][KAFKA_TOPIC_NAME_MAX + 1];
};

enum worker_counter {
    WORKER_TAKEN,     /* records taken from Kafka */
    WORKER_DELIVERED, /* recipients, as all that follow */
    WORKER_DEFERRED,
    WORKER_BOUNCED,
    WORKER_EXPIRED,
    WORKER_DROPPED,
    WORKER_UNCERTAIN,
    WORKER_SPILLED,   /* mails, as those that follow */
    WORKER_REWRITTEN, /* came from a delay tier and went to one again without having been tried */
    WORKER_CONNECTIONS,
    WORKER_COUNTERS,
};

struct worker {
    const struct config *config;
    char name[128];
    char node[128];
    char transactional_id[LEDGER_NAME_MAX + 1]; /* what the other workers know this one by */
    int32_t slot;                               /* its partition of done and moved */
    struct worker_topics topics;

    struct worker_vip *vips; /* held */
    size_t vip_count;

    struct kafka_producer *events;  /* log, bounces: a ticket waits for it, mail does not */
    struct kafka_producer *journal; /* our slot of done */
    int64_t journal_end;            /* behind the last batch known to be there; intake thread */
    struct suppress_follow *suppress;
    struct classify_rules *rules; /* what refusals mean; reloaded by main */
    struct verp_keys *keys;       /* of signed return paths; reloaded by main */

    struct tenures tenures;
    struct intake *intake;
    struct console *console; /* NULL: none is configured, or it could not be opened */
    struct shard **shards;
    uint32_t shard_count;

    atomic_llong messages; /* in memory */
    atomic_llong bytes;
    atomic_uint connections;
    atomic_ullong counters[WORKER_COUNTERS];
};

static inline void worker_count(struct worker *worker, enum worker_counter counter, uint32_t n)
{
    atomic_fetch_add_explicit(&worker->counters[counter], n, memory_order_relaxed);
}

/* Fills worker->topics. */
void worker_name_topics(struct worker *worker);
/* From the worker's name: its transactional id and its slot. */
void worker_name_slot(struct worker *worker);
/* Finds the VIPs that this machine can send from. False: there is none. */
bool worker_hold_vips(struct worker *worker, struct fault *fault);
/* Part of the memory budget in use, in percent; above 100 intake of bulk stops. */
unsigned worker_pressure_percent(const struct worker *worker);

#endif
