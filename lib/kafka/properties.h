/*
 * librdkafka properties as the configuration gives them: any property passes through by name.
 */
#ifndef SLUICE_KAFKA_PROPERTIES_H
#define SLUICE_KAFKA_PROPERTIES_H

#include "base/fault.h"
#include "base/slice.h"

struct kafka_property {
    const char *name;
    const char *value;
};

struct kafka_properties {
    const struct kafka_property *items; /* "bootstrap.servers" among them */
    size_t count;
};

#endif
