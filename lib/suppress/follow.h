/*
 * The set as a process needs it to look up addresses: a thread reads the topic suppression from its
 * beginning, keeps the set like it, and goes on following. Looking up is for other threads, each
 * with a suppress_checker of its own.
 */
#ifndef SLUICE_SUPPRESS_FOLLOW_H
#define SLUICE_SUPPRESS_FOLLOW_H

#include "kafka/properties.h"
#include "policy/config.h"
#include "schema/message.h"
#include "suppress/key.h"
#include "suppress/set.h"

#include <stdatomic.h>

struct suppress_follow;

/* Starts the thread. NULL: the topic cannot be reached (fault). */
struct suppress_follow *suppress_follow_start(const struct kafka_properties *properties,
                                              const char *topic, struct fault *fault);
/* True as soon as everything has been read that was there at the start; false: not within the time.
 * Until then the set must not be relied on. */
bool suppress_follow_loaded(struct suppress_follow *follow, int timeout_ms);
/* Ends the thread; all checkers must have been closed. Nulls, takes NULL. */
void suppress_follow_stop(struct suppress_follow **follow);
const struct suppress_set *suppress_follow_set(const struct suppress_follow *follow);
/* Records of the topic that have been applied. */
uint64_t suppress_follow_applied(const struct suppress_follow *follow);

/* What one record of the topic does to a set: for the follower, the builder and tools. False: no
 * entry's record. */
bool suppress_set_apply(struct suppress_set *set, struct slice key, struct slice value,
                        int64_t now_ms, struct fault *fault);

/* ---- looking up ---- */

struct suppress_checker; /* one thread's */
struct suppress_checker *suppress_checker_open(struct suppress_follow *follow,
                                               const struct config *config);
void suppress_checker_close(struct suppress_checker **checker);

/* The entry that holds mail back. */
struct suppress_found {
    struct suppress_key key; /* points to the arguments of the look-up */
    struct suppress_mark mark;
};

/* All mail of the tenant to that address? `domain`: the address's, as lower-case A-label. */
bool suppress_check_address(struct suppress_checker *checker, struct slice tenant,
                            struct slice address, struct slice domain, int64_t now_ms,
                            struct suppress_found *found);
/* The same, or mail of the message's list to that recipient. */
bool suppress_check_message(struct suppress_checker *checker, const struct message *message,
                            size_t recipient, int64_t now_ms, struct suppress_found *found);

#define SUPPRESS_FOUND_TEXT_MAX (SUPPRESS_TENANT_MAX + SUPPRESS_LIST_MAX + 128)
/* "hard, tenant shop, until 2027-01-31": for events and replies. */
struct slice suppress_found_text(const struct suppress_found *found,
                                 char out[SUPPRESS_FOUND_TEXT_MAX]);

#endif
