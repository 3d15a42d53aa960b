/*
 * librdkafka properties as the configuration gives them: any property passes through by name.
 */
#ifndef SLUICE_KAFKA_PROPERTIES_H
#define SLUICE_KAFKA_PROPERTIES_H

#include "base/fault.h"
#include "base/slice.h"

struct config_kafka;

struct kafka_property {
    const char *name;
    const char *value;
};

struct kafka_properties {
    const struct kafka_property *items; /* "bootstrap.servers" among them */
    size_t count;
};

/* bootstrap.servers, then what the configuration's section says. Own copies; freed by
 * kafka_properties_free. */
void kafka_properties_from_config(struct kafka_properties *to, const struct config_kafka *config);

/* Own copies of everything, for clients that have to be made anew; *to is freed by the second. */
void kafka_properties_copy(struct kafka_properties *to, const struct kafka_properties *from);
void kafka_properties_free(struct kafka_properties *properties);

#endif
