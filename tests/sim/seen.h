/*
 * When something (a hash) was first seen: memory of greylisting. Bounded: 4-way sets, in a full set
 * the oldest gives way, and is new again if it comes back.
 */
#ifndef SLUICE_SIM_SEEN_H
#define SLUICE_SIM_SEEN_H

#include "base/check.h"

struct sim_seen;

/* `entries` is rounded up to a power of two; 16 bytes each, touched when used. */
struct sim_seen *sim_seen_create(uint32_t entries);
void sim_seen_free(struct sim_seen **seen);
/* The time at which `key` was first seen; `now_us` (above 0) when that is now. */
int64_t sim_seen_first(struct sim_seen *seen, uint64_t key, int64_t now_us);

#endif
