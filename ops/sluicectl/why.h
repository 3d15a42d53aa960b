/*
 * What the files of sluicectl why and eta share: the question, the workers' answers, where one
 * message is, and what nobody has read yet.
 */
#ifndef SLUICE_OPS_SLUICECTL_WHY_H
#define SLUICE_OPS_SLUICECTL_WHY_H

#include "base/clock.h"
#include "kafka/finder.h"
#include "kafka/properties.h"
#include "kafka/topics.h"
#include "policy/config.h"

#include <jansson.h>

#define WHY_ANSWERS_MAX 4096
#define WHY_LEFT_LEAST_MS 200 /* what a question to a broker gets when the time is over */

/* Exit statuses beside 0 and 1. */
enum { WHY_USAGE = 2, WHY_INCOMPLETE = 3 };

struct why_query {
    const char *command; /* "why" or "eta" */
    const char *config_path, *socket;
    const char *site, *route, *tenant, *campaign, *message_id, *recipient;
    int64_t timeout_ms; /* for all of it */
    struct mono_time deadline;
    int64_t since_ms; /* the message is not older; 0: as its id says */
    bool eta, json;
};
/* What a call may take so that all is over in time; never less than WHY_LEFT_LEAST_MS. */
int why_left_ms(struct mono_time deadline);

/* ---- asking (why_ask.c) ---- */

struct why_answers {
    json_t *items[WHY_ANSWERS_MAX];
    size_t count, expected; /* 0: nobody has said */
};
bool why_answers_complete(const struct why_answers *answers);
void why_answers_free(struct why_answers *answers);

struct why_asking; /* a question that is on its way */
/* By the topic `control`, in a thread of its own: until all have answered, one has the message, or
 * the deadline. All is lent until why_ask_end(); the answers are not to be looked at before. */
struct why_asking *why_ask(const struct kafka_properties *properties, const char *topic,
                           const char *message_id, struct mono_time deadline,
                           struct why_answers *answers);
/* An answer tells where the message is. */
bool why_ask_found(const struct why_asking *asking);
/* No more answers come. */
bool why_ask_over(const struct why_asking *asking);
/* Nobody wants to know any more. */
void why_ask_enough(struct why_asking *asking);
/* Waits for the end. False: it could not be asked. */
bool why_ask_end(struct why_asking **asking, struct fault *fault);
/* By the local socket of one worker. */
bool why_ask_socket(const struct why_query *query, struct why_answers *answers,
                    struct fault *fault);

/* ---- telling (why_print.c) ---- */

const char *why_text(const json_t *object, const char *name); /* "": is not there */
long long why_number(const json_t *object, const char *name);
/* `before`, then the time; nothing for 0. */
void why_print_time(const char *before, long long ms);
void why_print_reasons(const json_t *object);
/* Mails of the lane that are asked for. */
long long why_waiting(const struct why_query *query, const json_t *lane);
/* Lanes that the query wants. */
void why_print_lanes(const struct why_query *query, const struct why_answers *answers);

/* ---- what nobody has read (why_unread.c, why_backlog.c) ---- */

/* The owner's position in a partition, as the answers tell; else -1. `rate`: records a second that
 * it is read at, 0: not known. */
int64_t why_position(const struct why_answers *answers, const char *topic, int32_t partition,
                     double *rate);
struct why_topic {
    char name[KAFKA_TOPIC_NAME_MAX + 1];
    bool tier;           /* a delay tier, else a stream */
    size_t first, count; /* its partitions, in the arrays below */
};
struct why_unread {
    struct why_topic *topics; /* owned; streams first */
    size_t topic_count;
    struct kafka_reader_place *next; /* owned; committed, or the first one there is */
    int64_t *end;                    /* owned */
    double *rate;                    /* owned; at which they are read, 0: not known */
    size_t count;
};
/* Streams, and delay tiers if wanted. To be freed in any case. */
bool why_unread_get(struct kafka_finder *finder, const struct config *config, bool with_tiers,
                    struct mono_time deadline, struct why_unread *unread, struct fault *fault);
/* Puts in how far workers have read. */
void why_unread_settle(struct why_unread *unread, const struct why_answers *answers);
/* Of one of the places: at most so many records. */
int64_t why_unread_of(const struct why_unread *unread, size_t place);
void why_unread_free(struct why_unread *unread);
void why_print_backlog(const struct why_query *query, const struct why_unread *unread);

/* ---- one message (why_message.c) ---- */

/* Exit status. */
int why_message(const struct config *config, const struct kafka_properties *properties,
                const struct why_query *query);
/* By the answers of a socket alone. */
int why_message_here(const struct why_query *query, const struct why_answers *answers);

#endif
