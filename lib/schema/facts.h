/*
 * Facts: what many messages have in common and a mail that comes back has to tell again: tenant,
 * campaign, class, stream, VIP and the list that it belongs to. A signed return path has room for a
 * number of 32 bits only (mail/verp.h), so whoever signs also puts the facts behind the number on
 * the compacted topic `facts`, once, and the bouncer keeps the table.
 *
 *   key    64 bits of hash, 16 hexadecimal digits; the number is their lower half
 *   value  an Event without a kind, of which only these five fields are set, where there is a list
 *          its metadata entry FACTS_LIST, and as FACTS_KEEP how many seconds the set is to be kept
 *          after the record was written (absent in records of before there was such a thing)
 *
 * Who signs with a set writes it again every facts_renew_ms() for as long as he does, so a set that
 * has not been written for FACTS_KEEP and that time is in no return path and no link that anybody
 * believes any more. A bouncer then takes it off the topic by a record without a value, whose
 * header FACTS_SEEN names the offset of the last record of the set that it had read: a writer who
 * came between is not undone, since every reader sees that his record lies behind that offset.
 * Where a bouncer writes a set again, the header FACTS_TIME tells the time (milliseconds since
 * 1970) of the record that it is for: the bouncer's clock has no part in how old a set is.
 *
 * Two sets of facts may have one number: of N sets each has another one's with N / 2^32 (a million
 * sets: one in 4,300). Both stay on the topic, so the reader sees it, and tells what they agree in
 * rather than the wrong (bouncer/fact_set.h).
 */
#ifndef SLUICE_SCHEMA_FACTS_H
#define SLUICE_SCHEMA_FACTS_H

#include "schema/event.h"

#define FACTS_KEY_LEN 16
#define FACTS_LIST "list"
#define FACTS_KEEP "keep"
#define FACTS_SEEN "sluice-seen"
#define FACTS_TIME "sluice-time"

/* The metadata entry FACTS_LIST; len 0: none. */
struct slice facts_list(const struct event *facts);

/* The metadata entry FACTS_KEEP in milliseconds; 0: none. */
int64_t facts_keep_ms(const struct event *facts);

/* How long a record of a set to be kept for keep_ms stands for its use: a day, and of short times
 * the fourth part. */
int64_t facts_renew_ms(int64_t keep_ms);

/* Hash of the event's tenant, campaign, class, stream, VIP and list; the same everywhere, and that
 * of the first five where there is no list. */
uint64_t facts_hash(const struct event *event);

static inline uint32_t facts_number(uint64_t hash)
{
    return (uint32_t)hash;
}

/* The record's key and value. keep_ms 0: does not say. False: the buffer's maximum. */
bool facts_encode(const struct event *event, int64_t keep_ms, char key[FACTS_KEY_LEN + 1],
                  struct strbuf *value);

/* The hash in a record's key; false: it is none. */
bool facts_key_read(struct slice key, uint64_t *hash);

/* Reads a record; the slices point into the arena. False: no such record. */
bool facts_decode(struct slice key, struct slice value, struct arena *arena, uint64_t *hash,
                  struct event *facts);

#endif
