/*
 * Which sets of facts (schema/facts.h) a shard thread has put on their topic lately: 16 bytes each
 * in a table that forgets those whose record does not stand for their use any more. By monotonic
 * time, so a wall clock that is set changes nothing.
 */
#ifndef SLUICE_WORKER_SIGNED_FACTS_H
#define SLUICE_WORKER_SIGNED_FACTS_H

#include "base/clock.h"

#define SIGNED_FACTS_MAX ((size_t)1 << 20) /* then all are forgotten, and written again */

struct signed_facts;

struct signed_facts *signed_facts_create(void);
/* Nulls the pointer; takes NULL. */
void signed_facts_free(struct signed_facts **facts);

/* How long its record is to say that the set is kept, in milliseconds: it is to be written now, and
 * counts as written. 0: it was within facts_renew_ms(), for at least keep_ms. */
int64_t signed_facts_due(struct signed_facts *facts, uint64_t hash, int64_t keep_ms,
                         struct mono_time now);
size_t signed_facts_count(const struct signed_facts *facts);

#endif
