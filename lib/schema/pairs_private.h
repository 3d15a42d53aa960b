/*
 * Reading map<string, string> fields, for messages and events.
 */
#ifndef SLUICE_SCHEMA_PAIRS_PRIVATE_H
#define SLUICE_SCHEMA_PAIRS_PRIVATE_H

#include "schema/message.h"
#include "schema/wire.h"

#define PAIRS_MAX 64

/* Pairs gathered on the stack; as in a map, the last entry of a name wins. */
struct pairs {
    struct message_pair items[PAIRS_MAX];
    size_t count;
};

enum pairs_result { PAIRS_OK, PAIRS_BROKEN, PAIRS_FULL, PAIRS_NO_MEMORY };

/* One map entry. */
enum pairs_result pairs_read(struct pairs *pairs, struct slice entry);
/* The same form, every entry kept: repeated SigningIdentity. */
enum pairs_result pairs_append(struct pairs *pairs, struct slice entry);

/* Moves them into the arena. */
enum pairs_result pairs_keep(const struct pairs *pairs, struct arena *arena,
                             const struct message_pair **items, size_t *count);

/* "is not well-formed", "has too many entries"… for faults; OK has none. */
const char *pairs_problem(enum pairs_result result);

#endif
