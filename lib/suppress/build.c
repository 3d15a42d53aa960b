#include "suppress/build.h"

#include "base/map.h"
#include "base/mem.h"
#include "schema/suppression.h"
#include "suppress/policy.h"
#include "suppress/set.h"

#define BUILD_MAGIC 0x53555042u
/* How long the mark of a removal is kept: late bounces do not come later. */
#define MARK_KEPT_MS (30 * SUPPRESS_DAY_MS)
#define SPENT_STEP 1000 /* entries looked at for one call */

/* An entry that is not in force: what the topic has, word by word. */
struct counted {
    size_t key_len, value_len;
    char bytes[]; /* key, value */
};

/* A key that we wrote and have not read back so often. */
struct outstanding {
    size_t writes;
    int64_t time_ms; /* of the last write's entry; 0: it is not in force */
    size_t key_len;
    char key[];
};

struct suppress_build {
    uint32_t magic;
    const struct config *config;
    uint64_t epoch;
    struct suppress_set *set;
    struct map counted;
    struct map outstanding;
    size_t cursor; /* of suppress_build_spent() */
    uint64_t invalid;
    char key[SUPPRESS_KEY_MAX]; /* of what is to be written */
    struct strbuf value;
};

struct suppress_build *suppress_build_create(const struct config *config)
{
    struct suppress_build *build = mem_zalloc(sizeof(*build));
    build->magic = BUILD_MAGIC;
    build->config = config;
    build->set = suppress_set_create();
    map_init(&build->counted);
    map_init(&build->outstanding);
    strbuf_init(&build->value, SUPPRESSION_ENCODED_MAX);
    return build;
}

static void free_values(struct map *map)
{
    size_t cursor = 0;
    void *value;
    while ((value = map_next(map, &cursor)) != NULL) {
        mem_free(value);
    }
    map_free(map);
}

void suppress_build_free(struct suppress_build **handle)
{
    struct suppress_build *build = *handle;
    if (build == NULL) {
        return;
    }
    CHECK_MAGIC(build, BUILD_MAGIC);
    suppress_set_free(&build->set);
    free_values(&build->counted);
    free_values(&build->outstanding);
    strbuf_free(&build->value);
    build->magic = 0;
    mem_free(build);
    *handle = NULL;
}

void suppress_build_claim(struct suppress_build *build, uint64_t epoch)
{
    CHECK_MAGIC(build, BUILD_MAGIC);
    CHECK(epoch > build->epoch);
    build->epoch = epoch;
}

/* ---- what is known of a key ---- */

static struct counted *counted_create(struct slice key, struct slice value)
{
    struct counted *counted = mem_zalloc(sizeof(*counted) + key.len + value.len);
    counted->key_len = key.len;
    counted->value_len = value.len;
    memcpy(counted->bytes, key.ptr, key.len);
    if (value.len > 0) {
        memcpy(counted->bytes + key.len, value.ptr, value.len);
    }
    return counted;
}

static struct slice counted_key(const struct counted *counted)
{
    return slice_of(counted->bytes, counted->key_len);
}

static void forget(struct map *map, struct slice key)
{
    mem_free(map_remove(map, key));
}

/* As the set has it: an entry ends at a midnight. */
static bool holds(const struct suppression *entry, int64_t now_ms)
{
    struct suppress_mark mark = suppress_mark_of(entry);
    return entry->reason != SUPPRESSION_NONE &&
           !suppress_day_is_over(mark.until_day, suppress_today(now_ms));
}

/* The topic has this now; `entry` NULL: nothing. */
static void know(struct suppress_build *build, struct slice key, struct slice value,
                 const struct suppression *entry, int64_t now_ms)
{
    uint64_t hash = suppress_set_hash(build->set, key);
    bool in_force = entry != NULL && holds(entry, now_ms);
    forget(&build->counted, key);
    if (in_force) {
        suppress_set_put(build->set, hash, suppress_mark_of(entry), suppress_today(now_ms));
        return;
    }
    (void)suppress_set_remove(build->set, hash);
    if (entry == NULL) {
        return;
    }
    struct counted *counted = counted_create(key, value);
    map_put(&build->counted, counted_key(counted), counted);
}

/* As much of an entry as is needed to apply a fact to it. Slices point into what is known. */
static void recall(const struct suppress_build *build, struct slice key, struct suppression *entry)
{
    const struct counted *counted = map_get(&build->counted, key);
    struct suppress_mark mark;
    *entry = (struct suppression){0};
    if (counted != NULL) {
        const struct slice value = slice_of(counted->bytes + counted->key_len, counted->value_len);
        CHECK(suppression_decode(value, entry, NULL));
    } else if (suppress_set_get(build->set, suppress_set_hash(build->set, key), &mark)) {
        entry->reason = mark.reason;
        entry->expires_ms = mark.until_day * SUPPRESS_DAY_MS;
    }
}

/* ---- writing ---- */

static void note_write(struct suppress_build *build, struct slice key, int64_t time_ms)
{
    struct outstanding *outstanding = map_get(&build->outstanding, key);
    if (outstanding == NULL) {
        outstanding = mem_zalloc(sizeof(*outstanding) + key.len);
        outstanding->key_len = key.len;
        memcpy(outstanding->key, key.ptr, key.len);
        map_put(&build->outstanding, slice_of(outstanding->key, key.len), outstanding);
    }
    outstanding->writes++;
    outstanding->time_ms = time_ms;
}

/* Makes *out and takes it for known; `key` lies in build->key. */
static bool write_entry(struct suppress_build *build, struct slice key, struct suppression *entry,
                        int64_t now_ms, struct suppress_write *out)
{
    bool in_force = holds(entry, now_ms);
    entry->epoch = build->epoch;
    strbuf_reset(&build->value);
    CHECK(suppression_encode(entry, &build->value));
    *out = (struct suppress_write){key, strbuf_slice(&build->value)};
    note_write(build, key, in_force ? entry->time_ms : 0);
    know(build, key, out->value, entry, now_ms);
    return true;
}

static bool write_deletion(struct suppress_build *build, struct slice key,
                           struct suppress_write *out)
{
    CHECK(key.len <= sizeof(build->key));
    memcpy(build->key, key.ptr, key.len);
    *out = (struct suppress_write){slice_of(build->key, key.len), SLICE_NULL};
    note_write(build, out->key, 0);
    forget(&build->counted, out->key);
    return true;
}

/* ---- the topic ---- */

/* One of ours came back. */
static void read_back(struct suppress_build *build, struct slice key)
{
    struct outstanding *outstanding = map_get(&build->outstanding, key);
    if (outstanding != NULL && --outstanding->writes == 0) {
        forget(&build->outstanding, key);
    }
}

/* The administrator's record stands before ours in the topic, so ours is the last word there. */
static bool settle_conflict(struct suppress_build *build, const struct outstanding *ours,
                            struct slice key, struct suppression *theirs, int64_t now_ms,
                            struct suppress_write *out)
{
    bool ours_is_newer = !holds(theirs, now_ms) && ours->time_ms > theirs->removed_ms;
    if (ours_is_newer) {
        return false;
    }
    memcpy(build->key, key.ptr, key.len);
    return write_entry(build, slice_of(build->key, key.len), theirs, now_ms, out);
}

bool suppress_build_record(struct suppress_build *build, struct slice key, struct slice value,
                           int64_t now_ms, struct suppress_write *out)
{
    char list[SUPPRESS_LIST_MAX];
    struct suppress_key parts;
    struct suppression entry;
    CHECK_MAGIC(build, BUILD_MAGIC);
    if (key.len > sizeof(build->key) || !suppress_key_read(key, list, &parts) ||
        (value.len > 0 && !suppression_decode(value, &entry, NULL))) {
        build->invalid++;
        return false;
    }
    struct outstanding *ours = map_get(&build->outstanding, key);
    if (ours != NULL && (value.len == 0 || entry.epoch == build->epoch)) {
        read_back(build, key);
        return false;
    }
    if (ours != NULL && entry.epoch != 0) {
        return false; /* from one who was builder before us; ours stands behind it */
    }
    if (ours != NULL) {
        return settle_conflict(build, ours, key, &entry, now_ms, out);
    }
    know(build, key, value, value.len == 0 ? NULL : &entry, now_ms);
    return false;
}

/* ---- events ---- */

bool suppress_build_event(struct suppress_build *build, const struct event *event, int64_t now_ms,
                          struct suppress_write *out)
{
    struct suppress_fact fact;
    struct suppression entry;
    CHECK_MAGIC(build, BUILD_MAGIC);
    CHECK(build->epoch > 0);
    if (!suppress_fact_read(event, build->config, &fact)) {
        return false;
    }
    struct slice key = slice_of(build->key, suppress_key_write(&fact.key, build->key));
    recall(build, key, &entry);
    if (!suppress_apply(&fact, &entry)) {
        return false;
    }
    entry.actor = SLICE("sluice-bouncer");
    return write_entry(build, key, &entry, now_ms, out);
}

/* ---- deleting ---- */

static bool is_spent(const struct suppress_build *build, const struct counted *counted,
                     int64_t now_ms)
{
    char list[SUPPRESS_LIST_MAX];
    struct suppress_key key;
    struct suppression entry;
    const struct slice value = slice_of(counted->bytes + counted->key_len, counted->value_len);
    CHECK(suppress_key_read(counted_key(counted), list, &key));
    CHECK(suppression_decode(value, &entry, NULL));
    /* A day later, so that events which are read again find it. */
    return suppress_is_spent(&entry, config_suppression_for(build->config, key.tenant),
                             now_ms - SUPPRESS_DAY_MS, MARK_KEPT_MS);
}

bool suppress_build_spent(struct suppress_build *build, int64_t now_ms, struct suppress_write *out)
{
    CHECK_MAGIC(build, BUILD_MAGIC);
    for (size_t i = 0; i < SPENT_STEP; i++) {
        struct counted *counted = map_next(&build->counted, &build->cursor);
        if (counted == NULL) {
            build->cursor = 0;
            return false;
        }
        if (is_spent(build, counted, now_ms)) {
            /* It moves others: what that makes us miss comes with the next round. */
            return write_deletion(build, counted_key(counted), out);
        }
    }
    return false;
}

void suppress_build_counts(const struct suppress_build *build, struct suppress_build_counts *counts)
{
    *counts = (struct suppress_build_counts){
        .in_force = suppress_set_count(build->set),
        .counted = build->counted.count,
        .outstanding = build->outstanding.count,
        .invalid = build->invalid,
    };
}

bool suppress_build_holds(const struct suppress_build *build, struct slice key, int64_t now_ms)
{
    struct suppress_mark mark;
    return suppress_set_get(build->set, suppress_set_hash(build->set, key), &mark) &&
           !suppress_day_is_over(mark.until_day, suppress_today(now_ms));
}
