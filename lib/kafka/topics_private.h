/*
 * What each topic should be, apart from how it is made or read: pure, so that it can be tested
 * without a broker.
 */
#ifndef SLUICE_KAFKA_TOPICS_PRIVATE_H
#define SLUICE_KAFKA_TOPICS_PRIVATE_H

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

struct topic_list {
    struct topic_wanted *items;
    size_t count;
};

/* Every topic of the plan. False: a name is too long or not allowed by Kafka, or a number is out of
 * range. */
bool topic_list_make(struct topic_list *list, const struct kafka_topic_plan *plan,
                     struct fault *fault);
void topic_list_free(struct topic_list *list);

#endif
