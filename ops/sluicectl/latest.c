#include "ops/sluicectl/latest.h"

#include "base/mem.h"

#include <string.h>

#define FIRST_CAPACITY 1024

static struct latest_slot *find(const struct latest *latest, const struct uuid *key)
{
    uint64_t hash;
    memcpy(&hash, key->bytes + 8, sizeof(hash)); /* the first half has the version's bits */
    size_t at = hash & (latest->capacity - 1);
    while (latest->slots[at].behind != 0 &&
           memcmp(&latest->slots[at].key, key, sizeof(*key)) != 0) {
        at = (at + 1) & (latest->capacity - 1);
    }
    return &latest->slots[at];
}

static void grow(struct latest *latest)
{
    struct latest old = *latest;
    latest->capacity = old.capacity == 0 ? FIRST_CAPACITY : old.capacity * 2;
    latest->slots = mem_calloc(latest->capacity, sizeof(*latest->slots));
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].behind != 0) {
            *find(latest, &old.slots[i].key) = old.slots[i];
        }
    }
    mem_free(old.slots);
}

void latest_put(struct latest *latest, struct slice key, int64_t offset)
{
    struct uuid hashed = uuid_derive(key);
    if (latest->count * 4 >= latest->capacity * 3) {
        grow(latest);
    }
    struct latest_slot *slot = find(latest, &hashed);
    latest->count += slot->behind == 0 ? 1 : 0;
    *slot = (struct latest_slot){hashed, offset + 1};
}

bool latest_is(const struct latest *latest, struct slice key, int64_t offset)
{
    struct uuid hashed = uuid_derive(key);
    return latest->capacity > 0 && find(latest, &hashed)->behind == offset + 1;
}

void latest_free(struct latest *latest)
{
    mem_free(latest->slots);
    *latest = (struct latest){NULL, 0, 0};
}
