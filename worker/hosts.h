/*
 * The addresses of a lane's site, in the order to try, and what is remembered of them: who did not
 * answer is left out for a while, who failed TLS is spoken to in clear (opportunistic policy only).
 * Memory survives a new look-up. Pure; one thread.
 */
#ifndef SLUICE_WORKER_HOSTS_H
#define SLUICE_WORKER_HOSTS_H

#include "dns/site.h"

struct host_state {
    struct sockaddr_storage address; /* with port */
    socklen_t len;
    char name[DNS_NAME_MAX + 1];
    uint16_t preference;
    uint32_t failures; /* sessions in a row that broke before they delivered anything */
    struct mono_time dead_until;
    struct mono_time clear_until; /* no STARTTLS before that */
};

struct hosts {
    struct host_state *items;
    size_t count;
    size_t next; /* where the next pick among equals begins */
};

void hosts_init(struct hosts *hosts);
void hosts_free(struct hosts *hosts);

/* Takes a new list, keeps what is known of addresses that were there before. `count` 0 empties. */
void hosts_set(struct hosts *hosts, const struct host_state *fresh, size_t count);

/* The first one alive of these families; equal preferences in turn. NULL: none. */
struct host_state *hosts_pick(struct hosts *hosts, bool ipv4, bool ipv6, struct mono_time now);
/* True when none of these families is in the list at all. */
bool hosts_none_of(const struct hosts *hosts, bool ipv4, bool ipv6);

struct host_state *hosts_find(struct hosts *hosts, const struct sockaddr_storage *address);

/* A session to it could not be made: dead for dead_ms. */
void host_unreachable(struct host_state *host, struct mono_time now, int64_t dead_ms);
/* A session broke in use; three in a row make it dead. */
void host_broke(struct host_state *host, struct mono_time now, int64_t dead_ms);
void host_good(struct host_state *host);

#endif
