/*
 * The field tables of event.proto, shared by writing, reading and JSON. A unit test holds them
 * against the .proto file.
 */
#ifndef SLUICE_SCHEMA_EVENT_PRIVATE_H
#define SLUICE_SCHEMA_EVENT_PRIVATE_H

#include "schema/event.h"
#include "schema/wire.h"

enum {
    EVENT_FIELD_METADATA = 12,
    EVENT_FIELD_WHAT = 20,   /* the oneof: 19 + type */
    EVENT_FIELD_ATTEMPT = 1, /* in every kind that has one */
};

extern const struct wire_table event_table;
extern const struct wire_table event_attempt_table; /* struct event_attempt */
/* The rest on struct event. */
extern const struct wire_table event_received_table;
extern const struct wire_table event_dropped_table;
extern const struct wire_table event_admin_table;
extern const struct wire_table event_returned_table;
extern const struct wire_table event_usage_table;
extern const struct wire_table event_postponed_table;

static inline uint32_t event_what_number(enum event_type type)
{
    return EVENT_FIELD_WHAT - 1 + (uint32_t)type;
}

/* The table of the kind's own fields on struct event; NULL: the kind holds an Attempt (or there is
 * none). */
const struct wire_table *event_what_table(enum event_type type);

#endif
