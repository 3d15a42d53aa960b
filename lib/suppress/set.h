/*
 * The set of suppressed keys as every process holds it in memory: which keyed hash is in, why, and
 * until when. 10 bytes an entry, filled to between 73 and 80 percent: 100,000,000 entries take at
 * most 1.37 GB.
 *
 * What is stored of a key is its SipHash-2-4 with a key drawn by each process: 62 of its 64 bits (6
 * choose the segment, 56 are kept). A key that is not in the set is taken for one that is with a
 * chance of n / 2^62: 2.2e-11 for 100,000,000 entries, so once in 46,000,000,000 look-ups. The set
 * is made anew from its topic at each start, so no two processes have the same false ones.
 *
 * One writer; readers on any thread, each with its own suppress_reader. A look-up takes no lock and
 * never waits: it announces itself by one store, and the writer frees a segment that it has
 * replaced only when nobody who may have seen it is still inside.
 */
#ifndef SLUICE_SUPPRESS_SET_H
#define SLUICE_SUPPRESS_SET_H

#include "base/slice.h"

struct suppress_set;
struct suppress_reader;

/* Why, as a number of the owner's (1 to 255), and the first day (since 1970, UTC) on which it holds
 * no more; 0: for ever. */
struct suppress_mark {
    uint8_t reason;
    uint16_t until_day;
};

static inline bool suppress_day_is_over(uint16_t until_day, uint16_t today)
{
    return until_day != 0 && until_day <= today;
}

struct suppress_set *suppress_set_create(void);
/* All readers must have been closed. */
void suppress_set_free(struct suppress_set **set);

/* Any thread. */
uint64_t suppress_set_hash(const struct suppress_set *set, struct slice key);

/* The writer's. Puts or changes an entry; `today` lets it forget those whose time is over. */
void suppress_set_put(struct suppress_set *set, uint64_t hash, struct suppress_mark mark,
                      uint16_t today);
/* False: it was not in. */
bool suppress_set_remove(struct suppress_set *set, uint64_t hash);
/* The writer's own look; entries whose time is over are told as well. */
bool suppress_set_get(const struct suppress_set *set, uint64_t hash, struct suppress_mark *mark);

/* A reader belongs to one thread at a time. */
struct suppress_reader *suppress_reader_open(struct suppress_set *set);
void suppress_reader_close(struct suppress_reader **reader);
/* The first of a few keys that is in and whose time is not over, by its index; `count`: none is.
 * Their places are fetched from memory at the same time, so that three keys, of which usually none
 * is in, take hardly longer than one. */
size_t suppress_reader_look(struct suppress_reader *reader, const uint64_t *hashes, size_t count,
                            uint16_t today, struct suppress_mark *mark);

/* Entries, those whose time is over included until they are forgotten; and what all of it takes.
 * Any thread. */
uint64_t suppress_set_count(const struct suppress_set *set);
uint64_t suppress_set_bytes(const struct suppress_set *set);

#endif
