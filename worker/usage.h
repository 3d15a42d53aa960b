/*
 * What each tenant used: messages (counted by recipients, as rates are), their bytes, and how many
 * of them were borrowed: beyond the tenant's own part of a limited site, as others left theirs
 * (fair.c knows). Told each minute as an event of type usage for each tenant that used anything,
 * and once more at the end. A summary: the log has every single delivery; what a worker that is
 * killed had counted since its last event is in the log only.
 *
 * One for each thread that reports; not shared.
 */
#ifndef SLUICE_WORKER_USAGE_H
#define SLUICE_WORKER_USAGE_H

#include "base/clock.h"
#include "base/slice.h"

struct usage;
struct worker;

struct usage *usage_create(struct worker *worker);
/* What was not told is forgotten. */
void usage_free(struct usage **usage);

/* One recipient's mail was delivered. */
void usage_delivered(struct usage *usage, struct slice tenant, uint64_t bytes);
void usage_borrowed(struct usage *usage, struct slice tenant, uint64_t messages);
/* Events to Kafka; counting begins anew with what Kafka took. */
void usage_tell(struct usage *usage, struct wall_time now);

#endif
