/*
 * Is mail to this address held back? Looks into the set that a follower keeps, on any thread, each
 * with a checker of its own. Takes no lock, allocates nothing.
 */
#ifndef SLUICE_SUPPRESS_CHECK_H
#define SLUICE_SUPPRESS_CHECK_H

#include "policy/config.h"
#include "schema/message.h"
#include "suppress/key.h"
#include "suppress/set.h"

struct suppress_checker; /* one thread's */
/* Set and configuration must outlive it. */
struct suppress_checker *suppress_checker_open(struct suppress_set *set,
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
