/*
 * Facts: what many messages have in common and a mail that comes back has to tell again: tenant,
 * campaign, class, stream, VIP and the list that it belongs to. A signed return path has room for a
 * number of 32 bits only (mail/verp.h), so whoever signs also puts the facts behind the number on
 * the compacted topic `facts`, once, and the bouncer keeps the table.
 *
 *   key    64 bits of hash, 16 hexadecimal digits; the number is their lower half
 *   value  an Event without a kind, of which only these five fields are set, and where there is a
 *          list its metadata entry FACTS_LIST
 *
 * Two sets of facts may have one number (one pair among 100,000 sets, on average). Both stay on the
 * topic, so the reader sees that the number is ambiguous and tells nothing rather than the wrong.
 */
#ifndef SLUICE_SCHEMA_FACTS_H
#define SLUICE_SCHEMA_FACTS_H

#include "schema/event.h"

#define FACTS_KEY_LEN 16
#define FACTS_LIST "list"

/* The metadata entry FACTS_LIST; len 0: none. */
struct slice facts_list(const struct event *facts);

/* Hash of the event's tenant, campaign, class, stream, VIP and list; the same everywhere, and that
 * of the first five where there is no list. */
uint64_t facts_hash(const struct event *event);

static inline uint32_t facts_number(uint64_t hash)
{
    return (uint32_t)hash;
}

/* The record's key and value. False: the buffer's maximum. */
bool facts_encode(const struct event *event, char key[FACTS_KEY_LEN + 1], struct strbuf *value);

/* Reads a record; the slices point into the arena. False: no such record. */
bool facts_decode(struct slice key, struct slice value, struct arena *arena, uint64_t *hash,
                  struct event *facts);

#endif
