/*
 * topics_plan.c: what each topic should be, apart from how it is made or read: pure, so that it can
 * be tested without a broker. topics.c: making and verifying; topics_migrate.c: changing them.
 */
#ifndef SLUICE_KAFKA_TOPICS_PRIVATE_H
#define SLUICE_KAFKA_TOPICS_PRIVATE_H

#include "kafka/conf_private.h"
#include "kafka/topics.h"

#define TOPIC_SETTINGS_MAX 6
#define TOPIC_VALUE_MAX 32

struct topic_setting {
    const char *name; /* of Kafka's topic configuration */
    char value[TOPIC_VALUE_MAX];
};

struct topic_wanted {
    char name[KAFKA_TOPIC_NAME_MAX + 1];
    int partitions;
    struct topic_setting settings[TOPIC_SETTINGS_MAX];
    size_t setting_count;
};

/* A name below the plan's prefix that is a tier's or a stream's, but none that the plan has. */
bool topic_is_surplus(const struct kafka_topic_plan *plan, const char *name);

struct topic_list {
    struct topic_wanted *items;
    size_t count;
};

/* Every topic of the plan. False: a name is too long or not allowed by Kafka, or a number is out of
 * range. */
bool topic_list_make(struct topic_list *list, const struct kafka_topic_plan *plan,
                     struct fault *fault);
void topic_list_free(struct topic_list *list);

/* One call of the admin interface after the other, blocking. */
struct topics_session {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    struct topic_list wanted;
    const struct kafka_topic_plan *plan;
    kafka_topic_report report;
    void *owner;
    struct fault *fault;
};
bool topics_session_begin(struct topics_session *session,
                          const struct kafka_properties *properties);
void topics_session_end(struct topics_session *session);

void topics_tell(const struct topics_session *session, const char *topic,
                 enum kafka_topic_state state, const char *detail);
/* Of all topics of the cluster; freed with rd_kafka_metadata_destroy(). NULL: the fault. */
const struct rd_kafka_metadata *topics_metadata(const struct topics_session *session);
const struct rd_kafka_metadata_topic *topics_find(const struct rd_kafka_metadata *metadata,
                                                  const char *name);
rd_kafka_AdminOptions_t *topics_options(const struct topics_session *session,
                                        rd_kafka_admin_op_t operation);
/* The answer to the last request; NULL: the fault, which begins with `what`. */
rd_kafka_event_t *topics_answer(const struct topics_session *session, const char *what);
/* Makes those that are missing and waits until they can be used; created[i]: was made. */
bool topics_create_missing(const struct topics_session *session, bool *created);
/* Tells the state of every topic; those with changed[i] as `state` when nothing is wrong. */
bool topics_verify(const struct topics_session *session, const bool *changed,
                   enum kafka_topic_state state);

#endif
