/*
 * How many connections each client has: an IPv4 address, or the /64 of an IPv6 address.
 */
#ifndef SLUICE_IO_PEERS_H
#define SLUICE_IO_PEERS_H

#include "base/map.h"

#include <sys/socket.h>

struct peer;

struct peers {
    struct map by_address;
};

void peers_init(struct peers *peers);
/* All must have left. */
void peers_end(struct peers *peers);

/* Counts one more. NULL: there are `max` already. */
struct peer *peers_enter(struct peers *peers, const struct sockaddr_storage *address, uint32_t max);
/* Nulls the pointer; takes NULL. */
void peers_leave(struct peers *peers, struct peer **peer);

#endif
