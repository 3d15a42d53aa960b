#include "worker/signed_facts.h"

#include "base/hash.h"
#include "base/mem.h"
#include "schema/facts.h"

#define SIGNED_FACTS_MAGIC 0x5349464bu
#define FIRST_CAPACITY 64

struct written {
    uint64_t hash;
    uint32_t at_s; /* since `start`, from 1; 0: the place is free */
    uint32_t keep_s;
};

struct signed_facts {
    uint32_t magic;
    struct mono_time start;
    struct written *places;
    size_t capacity; /* a power of two */
    size_t count;
};

struct signed_facts *signed_facts_create(void)
{
    struct signed_facts *facts = mem_zalloc(sizeof(*facts));
    facts->magic = SIGNED_FACTS_MAGIC;
    facts->start = mono_now();
    facts->capacity = FIRST_CAPACITY;
    facts->places = mem_calloc(facts->capacity, sizeof(*facts->places));
    return facts;
}

void signed_facts_free(struct signed_facts **handle)
{
    struct signed_facts *facts = *handle;
    if (facts == NULL) {
        return;
    }
    CHECK_MAGIC(facts, SIGNED_FACTS_MAGIC);
    mem_free(facts->places);
    facts->magic = 0;
    mem_free(facts);
    *handle = NULL;
}

/* The set's place, or the free one for it. Keyed: who chooses names of campaigns must not choose
 * places. */
static struct written *place_of(const struct signed_facts *facts, uint64_t hash)
{
    size_t i = (size_t)hash_slice(slice_of(&hash, sizeof(hash))) & (facts->capacity - 1);
    while (facts->places[i].at_s != 0 && facts->places[i].hash != hash) {
        i = (i + 1) & (facts->capacity - 1);
    }
    return &facts->places[i];
}

static bool is_over(const struct written *written, uint32_t now_s)
{
    int64_t renew_ms = facts_renew_ms((int64_t)written->keep_s * 1000);
    return (int64_t)(now_s - written->at_s) * 1000 >= renew_ms;
}

/* Room for one more: what is over goes first. */
static void make_room(struct signed_facts *facts, uint32_t now_s)
{
    struct written *old = facts->places;
    size_t old_capacity = facts->capacity;
    size_t alive = 0;
    if ((facts->count + 1) * 4 <= facts->capacity * 3) {
        return;
    }
    for (size_t i = 0; i < old_capacity; i++) {
        alive += old[i].at_s != 0 && !is_over(&old[i], now_s);
    }
    if (alive >= SIGNED_FACTS_MAX) {
        alive = 0;
    }
    facts->capacity = FIRST_CAPACITY;
    while (alive * 2 >= facts->capacity) {
        facts->capacity *= 2;
    }
    facts->places = mem_calloc(facts->capacity, sizeof(*facts->places));
    facts->count = alive;
    for (size_t i = 0; alive > 0 && i < old_capacity; i++) {
        if (old[i].at_s != 0 && !is_over(&old[i], now_s)) {
            *place_of(facts, old[i].hash) = old[i];
        }
    }
    mem_free(old);
}

int64_t signed_facts_due(struct signed_facts *facts, uint64_t hash, int64_t keep_ms,
                         struct mono_time now)
{
    CHECK_MAGIC(facts, SIGNED_FACTS_MAGIC);
    const int64_t since_us = mono_since_us(now, facts->start);
    const uint32_t now_s = since_us < 0 ? 1 : (uint32_t)(since_us / 1000000) + 1;
    const uint32_t keep_s = (uint32_t)((keep_ms + 999) / 1000);
    struct written *written = place_of(facts, hash);
    if (written->at_s != 0 && keep_s <= written->keep_s && !is_over(written, now_s)) {
        return 0;
    }
    if (written->at_s == 0) {
        make_room(facts, now_s);
        written = place_of(facts, hash);
        facts->count++;
    }
    /* A set that some mail needs longer is told to be for all of its mail. */
    *written = (struct written){hash, now_s, keep_s > written->keep_s ? keep_s : written->keep_s};
    return (int64_t)written->keep_s * 1000;
}

size_t signed_facts_count(const struct signed_facts *facts)
{
    return facts->count;
}
