/*
 * Hash map from byte strings to pointers: open addressing, linear probing, grows at 3/4. Keys are
 * not copied: the key's bytes must live as long as the entry (they normally lie inside the value).
 * Not thread-safe.
 */
#ifndef SLUICE_BASE_MAP_H
#define SLUICE_BASE_MAP_H

#include "base/slice.h"

struct map_entry {
    uint64_t hash;
    struct slice key;
    void *value; /* NULL: free */
};

struct map {
    struct map_entry *entries;
    size_t capacity; /* power of two, or 0 */
    size_t count;
};

void map_init(struct map *map);
/* Frees the table, not the values. */
void map_free(struct map *map);

void *map_get(const struct map *map, struct slice key);
/* The key must not be there yet; value must not be NULL. */
void map_put(struct map *map, struct slice key, void *value);
/* Returns the removed value, or NULL. */
void *map_remove(struct map *map, struct slice key);

/* Iteration: start with *cursor = 0; NULL at the end. Do not change the map in between. */
void *map_next(const struct map *map, size_t *cursor);

#endif
