/*
 * What the files of sluicectl why and eta share: the question, the workers' answers, where one
 * message is, and what nobody has read yet.
 */
#ifndef SLUICE_OPS_SLUICECTL_WHY_H
#define SLUICE_OPS_SLUICECTL_WHY_H

#include "base/clock.h"
#include "kafka/finder.h"
#include "kafka/properties.h"
#include "policy/config.h"

#include <jansson.h>

#define WHY_ANSWERS_MAX 4096

struct why_query {
    const char *command; /* "why" or "eta" */
    const char *config_path, *socket;
    const char *site, *route, *tenant, *campaign, *message_id, *recipient;
    int64_t timeout_ms; /* for answers, and for each reading of a topic */
    int64_t since_ms;   /* the message is not older; 0: as its id says */
    bool eta, json;
};

/* ---- asking (why_ask.c) ---- */

struct why_answers {
    json_t *items[WHY_ANSWERS_MAX];
    size_t count, expected; /* 0: nobody has said */
};
void why_answers_free(struct why_answers *answers);

struct why_asking; /* a question that is on its way */
/* By the topic `control`. */
struct why_asking *why_ask(const struct kafka_properties *properties, const char *topic,
                           const char *message_id, struct fault *fault);
/* Until all have answered, or for timeout_ms since the question. */
bool why_gather(struct why_asking *asking, int64_t timeout_ms, struct why_answers *answers,
                struct fault *fault);
void why_asking_free(struct why_asking **asking);
/* By the local socket of one worker. */
bool why_ask_socket(const struct why_query *query, struct why_answers *answers,
                    struct fault *fault);

/* ---- telling (why_print.c) ---- */

const char *why_text(const json_t *object, const char *name); /* "": is not there */
long long why_number(const json_t *object, const char *name);
/* `before`, then the time; nothing for 0. */
void why_print_time(const char *before, long long ms);
void why_print_reasons(const json_t *object);
/* Lanes that the query wants. */
void why_print_lanes(const struct why_query *query, const struct why_answers *answers);

/* ---- what nobody has read (why_backlog.c) ---- */

/* The owner's position in a partition, as the answers tell; else -1. `rate`: records a second that
 * it is read at, 0: not known. */
int64_t why_position(const struct why_answers *answers, const char *topic, int32_t partition,
                     double *rate);
/* Partitions of a topic, with the offset that is read next: by its owner, or the group's commit. */
struct why_unread {
    struct kafka_reader_place *next; /* owned */
    int64_t *end;                    /* owned */
    double *rate;                    /* owned */
    size_t count;
};
bool why_unread_get(struct kafka_finder *finder, const struct why_answers *answers,
                    const char *topic, struct why_unread *unread, struct fault *fault);
void why_unread_free(struct why_unread *unread);
/* Prints how much is unread in streams and tiers. */
bool why_print_backlog(const struct config *config, const struct kafka_properties *properties,
                       const struct why_query *query, const struct why_answers *answers,
                       struct fault *fault);

/* ---- one message (why_message.c, why_find.c) ---- */

/* Exit status. */
int why_message(const struct config *config, const struct kafka_properties *properties,
                const struct why_query *query);
/* By the answers of a socket alone. */
int why_message_here(const struct why_query *query, const struct why_answers *answers);

/* Where a record of the message lies. */
struct why_place {
    bool found, searched_all;
    char topic[256];
    int32_t partition;
    int64_t offset, next; /* next: read or committed next there */
    double rate;
    int64_t due_ms, timestamp_ms;
    uint64_t attempt;
    char last[400];
    char key[400];
    bool decided; /* of a held one: a tombstone came after it */
};
/* Looks for its copy in a tier that it came to at about since_ms and that waits until due_ms;
 * partition -1: in all. */
bool why_find_in_tier(struct kafka_finder *finder, const struct why_answers *answers,
                      const char *topic, int32_t partition, const char *message_id,
                      int64_t since_ms, int64_t due_ms, struct mono_time deadline,
                      struct why_place *place, struct fault *fault);
/* Among held ones. */
bool why_find_held(struct kafka_finder *finder, const char *topic, int32_t partition,
                   const char *message_id, int64_t since_ms, struct mono_time deadline,
                   struct why_place *place, struct fault *fault);
/* In what is unread of the streams. from_ms, to_ms: when it may have been written; 0: at any time.
 */
bool why_find_unread(struct kafka_finder *finder, const struct config *config,
                     const struct why_query *query, const struct why_answers *answers,
                     int64_t from_ms, int64_t to_ms, struct mono_time deadline,
                     struct why_place *place, struct fault *fault);

#endif
