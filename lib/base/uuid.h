/*
 * Message and event ids: RFC 9562 UUIDs. Version 7 (time-ordered) where an id is made, version 8
 * where it is derived from other data, so that deriving it again gives the same id.
 */
#ifndef SLUICE_BASE_UUID_H
#define SLUICE_BASE_UUID_H

#include "base/clock.h"

#define UUID_TEXT_LEN 36

struct uuid {
    uint8_t bytes[16];
};

/* Time-ordered; unique over threads and processes. Costs no system call but the clock's.
 * Thread-safe. */
struct uuid uuid_v7(struct wall_time now);

/* Version 8 from 128 bits of SipHash of `data`, the same everywhere: an id for identical input, no
 * secret. */
struct uuid uuid_derive(struct slice data);

/* Lower case with hyphens, NUL-terminated. */
void uuid_format(const struct uuid *uuid, char out[UUID_TEXT_LEN + 1]);

/* With hyphens, either case. */
bool uuid_parse(struct slice text, struct uuid *uuid);

/* Milliseconds since 1970 of a version 7 id; 0 for others. */
int64_t uuid_v7_time_ms(const struct uuid *uuid);

#endif
