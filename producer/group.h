/*
 * The recipients of one transaction by domain: a record has recipients of one domain, at most
 * `most` of them. Lives in the message's arena; nothing to free but the map.
 */
#ifndef SLUICE_PRODUCER_GROUP_H
#define SLUICE_PRODUCER_GROUP_H

#include "base/arena.h"
#include "base/map.h"
#include "schema/message.h"

struct group {
    struct slice domain; /* lower-case A-label */
    struct message_recipient *items;
    size_t count, capacity;
};

struct groups {
    struct arena *arena;
    size_t most;
    struct map open; /* domain -> the last group of it */
    struct group **items;
    size_t count, capacity;
    size_t recipients;
};

void groups_init(struct groups *groups, struct arena *arena, size_t most);
/* Frees the map; the rest goes with the arena. */
void groups_end(struct groups *groups);
/* Copies the recipient's texts into the arena. False: no room left there. */
bool groups_add(struct groups *groups, struct slice domain,
                const struct message_recipient *recipient);

#endif
