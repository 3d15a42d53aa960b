/*
 * What the files of libsluice share: the handle, a publication, and the way from the public structs
 * of sluice.h to those of lib/schema.
 */
#ifndef SLUICE_SLUICE_PRIVATE_H
#define SLUICE_SLUICE_PRIVATE_H

#include "base/arena.h"
#include "base/fault.h"
#include "kafka/producer.h"
#include "policy/config.h"
#include "redis/limiter.h"
#include "schema/message.h"
#include "sluice/sluice.h"

#include <pthread.h>
#include <stdatomic.h>

#define SLUICE_MAGIC 0x736c7563u
#define PUBLICATION_MAGIC 0x70756231u

struct keyed;
struct keeper;
struct suppress_checker;
struct suppress_follow;

struct sluice {
    uint32_t magic;
    char *prefix;
    struct kafka_producer *producer;
    struct kafka_properties properties; /* own copies */
    struct redis_options redis;         /* own copies */
    bool has_redis;
    struct config *config;          /* NULL: opened without one */
    pthread_mutex_t mutex;          /* guards what follows */
    struct keeper *keeper;          /* made with the first message that has a key */
    struct suppress_follow *follow; /* NULL: the suppression list is not wanted */
    char *suppression_topic;
    /* NULL until the list is there. Used with the mutex. */
    struct suppress_checker *_Atomic checker;
};

/* One block of memory that Kafka's client borrows until its report. */
struct publication {
    uint32_t magic;
    struct kafka_delivery delivery;
    sluice_delivered callback;
    void *opaque;
    struct keyed *keyed; /* NULL: it has no key */
    bool unguarded;
    char id[UUID_TEXT_LEN + 1];
    size_t bytes;
    uint8_t record[];
};

/* Fills *error (may be NULL) from a fault and returns its result. */
enum sluice_result error_from_fault(struct sluice_error *error, const struct fault *fault);

/* The message in schema's form, its arrays in the arena, its text still the caller's; and checked.
 */
bool convert_message(const struct sluice_message *given, struct arena *arena,
                     struct message *message, struct fault *fault);

/* Room for the arrays of one message. */
#define CONVERT_FIRST_BYTES ((size_t)2048)
#define CONVERT_MAX_BYTES ((size_t)4 * 1024 * 1024)

/* ---- publish.c ---- */
/* False: Kafka's client has not taken it, it is still the caller's. */
bool publication_send(struct sluice *sluice, struct publication *publication, const char *topic,
                      struct slice key, struct fault *fault);
/* Calls back and frees. `fault` NULL: it is there. */
void publication_end(struct publication *publication, int32_t partition, int64_t offset,
                     bool recognised, const struct fault *fault);

/* ---- redis.c ---- */
/* The options are copied. Before the first message with a key. */
void redis_set(struct sluice *sluice, const struct redis_options *options);

/* ---- suppressed.c ---- */
/* The first recipient from there on who is on the list, and *error (may be NULL) says so; their
 * count: none is. */
size_t suppressed_next(struct sluice *sluice, const struct message *message, size_t from,
                       struct sluice_error *error);
/* The list is not followed any more. */
void suppressed_free(struct sluice *sluice);

/* ---- keyed.c: publications with an idempotency key; any thread unless it says otherwise ---- */
/* False: the fault says why, the publication is still the caller's. */
bool keyed_publish(struct sluice *sluice, struct publication *publication, const char *topic,
                   struct slice key, struct fault *fault);
/* Kafka's report, on the polling thread; before publication_end(). */
void keyed_reported(struct publication *publication, int32_t partition, int64_t offset,
                    bool stored);
/* Ends those that never came to Kafka's client, on the polling thread. Returns how many. */
int keyed_poll(struct sluice *sluice);
/* How many have neither been given to Kafka's client nor ended. */
int keyed_open(struct sluice *sluice);
/* Nothing is given to Kafka's client any more; what is open ends by the next keyed_poll(). */
void keyed_stop(struct sluice *sluice);
/* After the last report. */
void keyed_free(struct sluice *sluice);

#endif
