/*
 * Bounded LRU cache: see cache.h. Runs on its loop's thread only.
 */
#include "dns/cache.h"

void dns_cache_init(struct dns_cache *cache, size_t max, void (*drop)(struct dns_cache_entry *))
{
    map_init(&cache->map);
    list_init(&cache->recent);
    cache->max = max;
    cache->drop = drop;
}

static void drop_entry(struct dns_cache *cache, struct dns_cache_entry *entry)
{
    CHECK(entry->pins == 0);
    list_remove(&entry->node);
    CHECK(map_remove(&cache->map, entry->key) == entry);
    cache->drop(entry);
}

void dns_cache_clear(struct dns_cache *cache)
{
    while (!list_empty(&cache->recent)) {
        drop_entry(cache, CONTAINER_OF(cache->recent.next, struct dns_cache_entry, node));
    }
    CHECK(cache->map.count == 0);
    map_free(&cache->map);
}

struct dns_cache_entry *dns_cache_find(struct dns_cache *cache, struct slice key,
                                       struct mono_time now)
{
    struct dns_cache_entry *entry = map_get(&cache->map, key);
    if (entry == NULL || entry->pins > 0) {
        return entry;
    }
    if (!mono_before(now, entry->expires)) {
        drop_entry(cache, entry);
        return NULL;
    }
    list_remove(&entry->node);
    list_push_back(&cache->recent, &entry->node);
    return entry;
}

void dns_cache_add_pinned(struct dns_cache *cache, struct dns_cache_entry *entry)
{
    entry->pins = 1;
    map_put(&cache->map, entry->key, entry);
}

void dns_cache_pin(struct dns_cache_entry *entry)
{
    entry->pins++;
    list_remove(&entry->node);
}

void dns_cache_unpin(struct dns_cache *cache, struct dns_cache_entry *entry)
{
    CHECK(entry->pins > 0);
    if (--entry->pins > 0) {
        return;
    }
    list_push_back(&cache->recent, &entry->node);
    while (cache->map.count > cache->max && !list_empty(&cache->recent)) {
        drop_entry(cache, CONTAINER_OF(cache->recent.next, struct dns_cache_entry, node));
    }
}
