/*
 * A bounded cache by name: least recently used entries go first, expired ones when they are met.
 * Intrusive: the entry lies in its owner, which `drop` frees. A pinned entry (a look-up is under
 * way, or its waiters are being told) is never dropped, so the bound holds for what is only
 * remembered, not for work in progress.
 */
#ifndef SLUICE_DNS_CACHE_H
#define SLUICE_DNS_CACHE_H

#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"

struct dns_cache_entry {
    struct list node; /* least recently used first; linked while not pinned */
    struct slice key; /* bytes of the owner */
    struct mono_time expires;
    uint32_t pins;
};

struct dns_cache {
    struct map map;
    struct list recent;
    size_t max;
    void (*drop)(
        struct dns_cache_entry *entry); /* frees the owner; the entry is out of the cache already */
};

void dns_cache_init(struct dns_cache *cache, size_t max, void (*drop)(struct dns_cache_entry *));
/* Drops all; none may be pinned. */
void dns_cache_clear(struct dns_cache *cache);

/* Live or pinned entry, or NULL; an expired one is dropped here. */
struct dns_cache_entry *dns_cache_find(struct dns_cache *cache, struct slice key,
                                       struct mono_time now);
/* The key must be new. The entry starts with one pin. */
void dns_cache_add_pinned(struct dns_cache *cache, struct dns_cache_entry *entry);
void dns_cache_pin(struct dns_cache_entry *entry);
/* May drop the entry, or others, when the cache is over its bound. */
void dns_cache_unpin(struct dns_cache *cache, struct dns_cache_entry *entry);

#endif
