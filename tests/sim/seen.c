/* A set-associative table: no allocation after it was made, no chain to grow. */
#include "sim/seen.h"

#include "base/mem.h"

#define WAYS 4

struct entry {
    uint64_t key;
    int64_t first_us; /* 0: free */
};

struct sim_seen {
    struct entry *entries;
    uint64_t set_mask;
};

struct sim_seen *sim_seen_create(uint32_t entries)
{
    struct sim_seen *seen = mem_zalloc(sizeof(*seen));
    uint64_t sets = 1;
    while (sets * WAYS < entries) {
        sets *= 2;
    }
    seen->entries = mem_calloc(sets * WAYS, sizeof(*seen->entries));
    seen->set_mask = sets - 1;
    return seen;
}

void sim_seen_free(struct sim_seen **seen)
{
    if (*seen != NULL) {
        mem_free((*seen)->entries);
        mem_free(*seen);
        *seen = NULL;
    }
}

int64_t sim_seen_first(struct sim_seen *seen, uint64_t key, int64_t now_us)
{
    struct entry *set = &seen->entries[(key & seen->set_mask) * WAYS];
    struct entry *oldest = set;
    CHECK(now_us > 0);
    for (int i = 0; i < WAYS; i++) {
        if (set[i].first_us != 0 && set[i].key == key) {
            return set[i].first_us;
        }
        if (set[i].first_us < oldest->first_us) {
            oldest = &set[i];
        }
    }
    *oldest = (struct entry){.key = key, .first_us = now_us};
    return now_us;
}
