/*
 * What the bouncer keeps in memory about what was sent: the facts that the numbers in return paths
 * stand for (topic `facts`), and the messages that are held because nobody knows whether they were
 * accepted (topic `uncertain`). Both topics are compacted; a thread reads them from their beginning
 * and follows them.
 *
 * Look-ups may come from any thread; what they give lives as long as the table.
 */
#ifndef SLUICE_BOUNCER_TABLE_H
#define SLUICE_BOUNCER_TABLE_H

#include "kafka/properties.h"
#include "schema/facts.h"

struct table;

/* Starts the thread. `prefix` of the topics. */
struct table *table_create(const struct kafka_properties *properties, const char *prefix);
/* Without a thread: filled by table_add_*() alone. For tests. */
struct table *table_create_empty(void);
void table_free(struct table **table);

/* False until all that was on the topics at the start has been read. */
bool table_ready(const struct table *table);

enum table_found { TABLE_FOUND, TABLE_UNKNOWN, TABLE_AMBIGUOUS };
enum table_found table_facts(struct table *table, uint32_t number, const struct event **facts);
/* Message id as text, in either case. */
bool table_is_uncertain(struct table *table, struct slice message_id);
size_t table_facts_count(struct table *table);

/* A record of the topic. What is no such record is passed over. */
void table_add_facts(struct table *table, struct slice key, struct slice value);
/* `held` false: not any more. */
void table_add_uncertain(struct table *table, struct slice message_id, bool held);

#endif
