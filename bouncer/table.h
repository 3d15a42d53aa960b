/*
 * What the bouncer keeps in memory about what was sent: the facts that the numbers in return paths
 * stand for (topic `facts`, fact_set.h), and the messages that are held because nobody knows
 * whether they were accepted (topic `uncertain`). Both topics are compacted; a thread reads them
 * from their beginning and follows them, and takes facts that nobody uses any more off their topic.
 *
 * However many bouncers run, each does that for itself: they see what the others have written, and
 * twice does no harm.
 *
 * Look-ups may come from any thread, and copy what they give.
 */
#ifndef SLUICE_BOUNCER_TABLE_H
#define SLUICE_BOUNCER_TABLE_H

#include "bouncer/fact_set.h"
#include "kafka/properties.h"

struct table;

/* Starts the thread. `prefix` of the topics; keep_ms: of facts that do not say how long they are to
 * be kept. */
struct table *table_create(const struct kafka_properties *properties, const char *prefix,
                           int64_t keep_ms);
/* Without a thread: filled by table_add_*() alone. For tests. */
struct table *table_create_empty(void);
void table_free(struct table **table);

/* False until all that was on the topics at the start has been read. */
bool table_ready(const struct table *table);

/* What a number stands for in mail that could be sent first at that time, see fact_set_find(). */
enum table_found table_facts(struct table *table, uint32_t number, int64_t sent_ms,
                             struct arena *arena, struct event *facts);
/* Message id as text, in either case. */
bool table_is_uncertain(struct table *table, struct slice message_id);
size_t table_facts_count(struct table *table);

/* A record; what is none is passed over. */
void table_add_facts(struct table *table, struct slice key, struct slice value);
/* `held` false: not any more. */
void table_add_uncertain(struct table *table, struct slice message_id, bool held);

#endif
