#include "base/map.h"

#include "base/hash.h"
#include "base/mem.h"

#define MAP_FIRST 16

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_free(struct map *map)
{
    mem_free(map->entries);
    map_init(map);
}

/* Index of the entry with that key, or of the free one where it would go. */
static size_t find(const struct map *map, uint64_t hash, struct slice key)
{
    size_t mask = map->capacity - 1;
    size_t i = (size_t)hash & mask;
    while (map->entries[i].value != NULL &&
           (map->entries[i].hash != hash || !slice_eq(map->entries[i].key, key))) {
        i = (i + 1) & mask;
    }
    return i;
}

static void grow(struct map *map)
{
    struct map old = *map;
    map->capacity = old.capacity == 0 ? MAP_FIRST : old.capacity * 2;
    map->entries = mem_calloc(map->capacity, sizeof(*map->entries));
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.entries[i].value != NULL) {
            map->entries[find(map, old.entries[i].hash, old.entries[i].key)] = old.entries[i];
        }
    }
    mem_free(old.entries);
}

void *map_get(const struct map *map, struct slice key)
{
    if (map->count == 0) {
        return NULL;
    }
    return map->entries[find(map, hash_slice(key), key)].value;
}

void map_put(struct map *map, struct slice key, void *value)
{
    CHECK(value != NULL);
    if ((map->count + 1) * 4 > map->capacity * 3) {
        grow(map);
    }
    uint64_t hash = hash_slice(key);
    struct map_entry *entry = &map->entries[find(map, hash, key)];
    CHECK(entry->value == NULL);
    *entry = (struct map_entry){.hash = hash, .key = key, .value = value};
    map->count++;
}

void *map_remove(struct map *map, struct slice key)
{
    if (map->count == 0) {
        return NULL;
    }
    size_t mask = map->capacity - 1;
    size_t hole = find(map, hash_slice(key), key);
    void *value = map->entries[hole].value;
    if (value == NULL) {
        return NULL;
    }
    /* Close the gap: an entry further on moves back unless its home lies between the hole and
     * itself. */
    for (size_t i = (hole + 1) & mask; map->entries[i].value != NULL; i = (i + 1) & mask) {
        size_t home = (size_t)map->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->entries[hole] = map->entries[i];
            hole = i;
        }
    }
    map->entries[hole] = (struct map_entry){0};
    map->count--;
    return value;
}

void *map_next(const struct map *map, size_t *cursor)
{
    while (*cursor < map->capacity) {
        void *value = map->entries[(*cursor)++].value;
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}
