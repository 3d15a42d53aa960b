/*
 * What a Redis says about where keys are: the slot of a key, the redirections of a Redis Cluster,
 * CLUSTER SLOTS, INFO. Pure; what it reads comes from a peer.
 */
#ifndef SLUICE_REDIS_TOPOLOGY_H
#define SLUICE_REDIS_TOPOLOGY_H

#include "base/slice.h"

struct redisReply; /* hiredis */

enum { REDIS_SLOTS = 16384 };
enum { REDIS_HOST_MAX = 256 };

/* The slot of a key: CRC16 (XMODEM) of what stands between its first { and the } behind it, if that
 * is something, else of all. */
uint16_t redis_slot(struct slice key);

/* A server's place. */
struct redis_place {
    char host[REDIS_HOST_MAX]; /* "": that of the server which said so */
    uint16_t port;
};
/* "host:port" as people write it, IPv6 with a port in brackets; without a port it is `port`. When
 * that is 0: as Redis writes it, with the port always behind the last colon. False: not of this
 * form. */
bool redis_place_parse(struct slice text, uint16_t port, struct redis_place *place);

enum redis_astray {
    REDIS_ASTRAY_NOT,   /* an error about something else */
    REDIS_ASTRAY_MOVED, /* the slot's keys are at `place` */
    REDIS_ASTRAY_ASK,   /* this one time, behind ASKING, to `place` */
    REDIS_ASTRAY_LATER, /* TRYAGAIN: its keys are on their way */
    REDIS_ASTRAY_DOWN,  /* CLUSTERDOWN */
};
/* What an error reply means. `place` is filled for MOVED and ASK. */
enum redis_astray redis_astray_parse(struct slice error, struct redis_place *place);

/* A run of slots and the servers that have them: the master first. */
struct redis_range {
    uint16_t first, last;
    struct redis_place places[8];
    size_t place_count; /* at least 1 */
};
/* The reply of CLUSTER SLOTS, entry by entry; *at is 0 before the first call. False: no more.
 * Entries that are not of the form are left out. */
bool redis_slots_next(const struct redisReply *reply, size_t *at, struct redis_range *range);

/* The value of a field of INFO; false: it is not there. */
bool redis_info_find(struct slice info, struct slice field, struct slice *value);

#endif
