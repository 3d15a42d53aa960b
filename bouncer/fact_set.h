/*
 * The sets of facts that the numbers in return paths stand for, as the records of the topic `facts`
 * tell them (schema/facts.h), and which of them are to leave the topic. Pure: the caller reads the
 * topic, tells every record in its order, and writes what is asked for.
 *
 * Millions of sets have few texts: what a set says beside its VIP is kept once for all VIPs, and a
 * VIP's name once. A set takes 32 bytes and its part of a table that is 3/8 to 3/4 full.
 *
 * When a set was last used is told by the topic's own time: the latest of the records' times up to
 * its last one, since a record cannot be older than those before it, whatever the clock of who
 * wrote it says. Nothing leaves before its time is over both by that time and by our own clock. So
 * one clock that is wrong, ours or a writer's, loses nothing; and where nobody writes nothing ages.
 *
 * Not thread-safe.
 */
#ifndef SLUICE_BOUNCER_FACT_SET_H
#define SLUICE_BOUNCER_FACT_SET_H

#include "schema/facts.h"

struct fact_set;

/* keep_ms: of sets whose record does not say how long they are kept. */
struct fact_set *fact_set_create(int64_t keep_ms);
/* Nulls the pointer; takes NULL. */
void fact_set_free(struct fact_set **set);

/* The topic is read from its beginning (again). */
void fact_set_begin(struct fact_set *set);
/* A record of the topic. What is no such record is passed over. time_ms: its header FACTS_TIME,
 * else its own time. */
void fact_set_add(struct fact_set *set, struct slice key, struct slice value, int64_t offset,
                  int64_t time_ms);
/* One without a value. `seen`: its header FACTS_SEEN; without it, it holds for all before it. */
void fact_set_remove(struct fact_set *set, struct slice key, struct slice seen, int64_t offset);

enum table_found { TABLE_FOUND, TABLE_UNKNOWN, TABLE_AMBIGUOUS };
/* What a number stands for in mail of that time; copied into the arena. Of several sets with that
 * number those that were not in use any more when the mail could be sent first are out. FOUND: what
 * the others agree in, which is at least the tenant; AMBIGUOUS: not even that. */
enum table_found fact_set_find(const struct fact_set *set, uint32_t number, int64_t sent_ms,
                               struct arena *arena, struct event *facts);

/* What is to be written; the slice lives until the next call. */
struct fact_write {
    char key[FACTS_KEY_LEN + 1];
    struct slice value;      /* absent: the set leaves the topic */
    const char *header_name; /* FACTS_SEEN then, else FACTS_TIME */
    char header[24];
};
/* Call it when everything has been read, each time until it says false; it looks at some thousand
 * sets in a call and goes round. Each thing is asked for once, until fact_set_ask_again(). */
bool fact_set_next_write(struct fact_set *set, int64_t now_ms, struct fact_write *out);
/* What was asked for and has not been read back may not have been written. */
void fact_set_ask_again(struct fact_set *set);

size_t fact_set_count(const struct fact_set *set);
/* Memory, but for what the allocator adds. */
size_t fact_set_bytes(const struct fact_set *set);

#endif
