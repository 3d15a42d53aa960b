/*
 * What the builder of the suppression list knows: which entries are in force, as a set, and word by
 * word those that are not (bounces being counted, marks of a removal). Pure: the caller reads the
 * topic and the events, and writes what is asked for, in that order and by one producer.
 *
 * The topic is the truth. Every record of it is told to suppress_build_record() in its order; our
 * own come back too, and until they have, it is not known whether somebody else wrote the same key
 * before them. When an administrator did, his word is written again behind ours, unless he removed
 * the entry and what we have to say happened after that.
 */
#ifndef SLUICE_SUPPRESS_BUILD_H
#define SLUICE_SUPPRESS_BUILD_H

#include "base/strbuf.h"
#include "policy/config.h"
#include "schema/event.h"
#include "suppress/key.h"

struct suppress_build;

/* What is to be written; valid until the next suppress_build_* call. */
struct suppress_write {
    struct slice key;
    struct slice value; /* len 0: the entry is deleted */
};

/* The configuration must outlive it. */
struct suppress_build *suppress_build_create(const struct config *config);
void suppress_build_free(struct suppress_build **build);

/* Records written from now on bear this epoch, which must be above all that were read. */
void suppress_build_claim(struct suppress_build *build, uint64_t epoch);

/* A record of the topic that is not the builder's progress. True: *out is to be written. */
bool suppress_build_record(struct suppress_build *build, struct slice key, struct slice value,
                           int64_t now_ms, struct suppress_write *out);
/* Something happened. True: *out is to be written. */
bool suppress_build_event(struct suppress_build *build, const struct event *event, int64_t now_ms,
                          struct suppress_write *out);
/* An entry that can matter no more is to be deleted; false: none was found. Looks at a thousand at
 * each call and goes round. Entries whose time is over are found when they are read, so at the next
 * start. */
bool suppress_build_spent(struct suppress_build *build, int64_t now_ms, struct suppress_write *out);

struct suppress_build_counts {
    uint64_t in_force;    /* entries, those whose time has just ended included */
    uint64_t counted;     /* entries that are not in force */
    uint64_t outstanding; /* keys that we wrote and have not read back */
    uint64_t invalid;     /* records that were no entries */
};
void suppress_build_counts(const struct suppress_build *build,
                           struct suppress_build_counts *counts);
/* For tests and tools: is the key in force? */
bool suppress_build_holds(const struct suppress_build *build, struct slice key, int64_t now_ms);

#endif
