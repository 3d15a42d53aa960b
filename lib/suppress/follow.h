/*
 * The set as a process needs it to look up addresses: a thread reads the topic suppression from its
 * beginning, keeps the set like it, and goes on following. Looking up is for other threads
 * (suppress/check.h).
 */
#ifndef SLUICE_SUPPRESS_FOLLOW_H
#define SLUICE_SUPPRESS_FOLLOW_H

#include "kafka/properties.h"
#include "suppress/set.h"

struct suppress_follow;

/* Starts the thread, which tries to reach the topic until it can. `topic` must outlive it. */
struct suppress_follow *suppress_follow_start(const struct kafka_properties *properties,
                                              const char *topic);
/* True as soon as everything has been read that was there at the start; false: not within the time.
 * Until then the set must not be relied on. */
bool suppress_follow_loaded(struct suppress_follow *follow, int timeout_ms);
/* Ends the thread; all checkers must have been closed. Nulls, takes NULL. */
void suppress_follow_stop(struct suppress_follow **follow);
struct suppress_set *suppress_follow_set(const struct suppress_follow *follow);
/* Records of the topic that have been applied. */
uint64_t suppress_follow_applied(const struct suppress_follow *follow);

/* What one record of the topic does to a set: for the follower, the builder and tools. False: no
 * entry's record. */
bool suppress_set_apply(struct suppress_set *set, struct slice key, struct slice value,
                        int64_t now_ms, struct fault *fault);

#endif
