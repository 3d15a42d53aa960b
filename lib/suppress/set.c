/*
 * 64 segments, by the hash's first 6 bits. A segment is one mapping: buckets of eight words (one
 * cache line), then for each word the day until which it holds.
 *
 *   word = 56 bits of the hash | 8 bits of reason        0: never used    TOMBSTONE: was removed
 *
 * A key's bucket comes from its 56 bits; a full bucket overflows into the next. Within a bucket
 * words are taken from the left, so the first unused word ends a search. Entries are changed in
 * place: first the day, then the word, so whoever sees the word sees its day. A reader looks at the
 * word once more after the day, because both may have been given to another key meanwhile.
 *
 * Before a segment is fuller than FULL_PERCENT it is copied into one that is REBUILT_PERCENT full;
 * removed entries and those whose time is over stay behind. So memory grows in steps of 9 percent
 * of one segment, never by doubling, and a copy (5 MB at 100,000,000 entries) takes some
 * milliseconds of the writer alone.
 *
 * Reclaiming (epochs, after Fraser, "Practical lock-freedom", 2004): a reader stores the epoch that
 * it saw while it is inside, 0 outside. The writer publishes the copy, moves the epoch on and keeps
 * the old segment until every reader is outside or came in under that epoch or a later one.
 */
#include "suppress/set.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/random.h>

#define SET_MAGIC 0x53555053u
#define READER_MAGIC 0x53555052u
#define SEGMENT_BITS 6
#define SEGMENTS (1 << SEGMENT_BITS)
#define BUCKET_WORDS 8
#define BUCKET_BYTES (BUCKET_WORDS * (sizeof(uint64_t) + sizeof(uint16_t)))
#define FULL_PERCENT 80
#define REBUILT_PERCENT 73
#define PAGE_BYTES ((size_t)4096)
#define HUGE_PAGE_BYTES ((size_t)2 * 1024 * 1024)
#define CACHE_LINE 64
#define EMPTY ((uint64_t)0)
#define TOMBSTONE ((uint64_t)0x100)

struct segment {
    void *memory; /* the mapping: words, then days */
    _Atomic uint64_t *words;
    _Atomic uint16_t *days;
    size_t bytes;     /* of the mapping */
    uint32_t buckets; /* at most 2^32 - 1 */
    uint64_t used;    /* words that are not EMPTY; the writer's */
    uint64_t live;    /* … nor TOMBSTONE */
    uint64_t retired; /* the epoch that it was replaced before */
    struct list node; /* among those to be freed */
};

struct suppress_reader {
    uint32_t magic;
    struct suppress_set *set;
    struct list node;
    alignas(CACHE_LINE) _Atomic uint64_t inside; /* epoch; 0: outside */
};

struct suppress_set {
    uint32_t magic;
    uint64_t key[2];
    _Atomic uint64_t epoch;
    _Atomic uint64_t count, bytes;
    _Atomic(struct segment *) segments[SEGMENTS];
    struct list retired;          /* oldest first; the writer's */
    pthread_mutex_t readers_lock; /* of the list below: opening, closing, reclaiming */
    struct list readers;
};

/* ---- segments ---- */

/* Zeroed. Large ones begin where a huge page can and ask for such: at random places most of a look
 * is else spent on finding the page. */
static void *map_memory(size_t bytes)
{
    size_t slack = bytes >= HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : 0;
    char *memory =
        mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    if (slack > 0) {
        size_t before = (HUGE_PAGE_BYTES - (uintptr_t)memory % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
        CHECK(before == 0 || munmap(memory, before) == 0);
        memory += before;
        CHECK(slack == before || munmap(memory + bytes, slack - before) == 0);
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* only a wish */
    }
    return memory;
}

static struct segment *segment_create(uint64_t live)
{
    struct segment *segment = mem_zalloc(sizeof(*segment));
    size_t words = (size_t)(live * 100 / REBUILT_PERCENT) + BUCKET_WORDS;
    size_t bytes = (words / BUCKET_WORDS + 1) * BUCKET_BYTES;
    bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    void *memory = map_memory(bytes);
    CHECK(bytes / BUCKET_BYTES <= UINT32_MAX);
    segment->memory = memory;
    segment->bytes = bytes;
    segment->buckets = (uint32_t)(bytes / BUCKET_BYTES);
    segment->words = memory;
    segment->days = (_Atomic uint16_t *)(segment->words + (size_t)segment->buckets * BUCKET_WORDS);
    return segment;
}

static void segment_free(struct segment *segment)
{
    CHECK(munmap(segment->memory, segment->bytes) == 0);
    mem_free(segment);
}

static uint64_t fingerprint(uint64_t hash)
{
    return hash << 8;
}

/* Of the 56 bits the upper 32 choose the bucket. */
static uint32_t first_bucket(const struct segment *segment, uint64_t print)
{
    return (uint32_t)((print >> 32) * segment->buckets >> 32);
}

static uint32_t next_bucket(const struct segment *segment, uint32_t bucket)
{
    return bucket + 1 == segment->buckets ? 0 : bucket + 1;
}

/* The word's place, SIZE_MAX if it is not there. `word` is what was seen. Any thread that keeps the
 * segment alive. */
static size_t find(const struct segment *segment, uint64_t print, uint64_t *word)
{
    uint32_t bucket = first_bucket(segment, print);
    for (;;) {
        size_t place = (size_t)bucket * BUCKET_WORDS;
        for (size_t end = place + BUCKET_WORDS; place < end; place++) {
            uint64_t seen = atomic_load_explicit(&segment->words[place], memory_order_acquire);
            if (seen == EMPTY) {
                return SIZE_MAX;
            }
            if ((seen ^ print) < 0x100 && (seen & 0xff) != 0) {
                *word = seen;
                return place;
            }
        }
        bucket = next_bucket(segment, bucket);
    }
}

/* For a key that is not there. */
static size_t find_free(const struct segment *segment, uint64_t print)
{
    uint32_t bucket = first_bucket(segment, print);
    for (;;) {
        size_t place = (size_t)bucket * BUCKET_WORDS;
        for (size_t end = place + BUCKET_WORDS; place < end; place++) {
            uint64_t seen = atomic_load_explicit(&segment->words[place], memory_order_relaxed);
            if (seen == EMPTY || seen == TOMBSTONE) {
                return place;
            }
        }
        bucket = next_bucket(segment, bucket);
    }
}

static void store(struct segment *segment, size_t place, uint64_t print, struct suppress_mark mark)
{
    atomic_store_explicit(&segment->days[place], mark.until_day, memory_order_release);
    atomic_store_explicit(&segment->words[place], print | mark.reason, memory_order_release);
}

static void insert(struct segment *segment, uint64_t print, struct suppress_mark mark)
{
    size_t place = find_free(segment, print);
    bool fresh = atomic_load_explicit(&segment->words[place], memory_order_relaxed) == EMPTY;
    store(segment, place, print, mark);
    segment->used += fresh ? 1 : 0;
    segment->live++;
}

/* Buckets are in the order of their keys, so this reads and writes from front to back. */
static struct segment *segment_copy(const struct segment *old, uint16_t today)
{
    size_t places = (size_t)old->buckets * BUCKET_WORDS;
    struct segment *copy = segment_create(old->live + 1);
    for (size_t place = 0; place < places; place++) {
        uint64_t word = atomic_load_explicit(&old->words[place], memory_order_relaxed);
        uint16_t day = atomic_load_explicit(&old->days[place], memory_order_relaxed);
        if ((word & 0xff) != 0 && !suppress_day_is_over(day, today)) {
            insert(copy, word & ~(uint64_t)0xff,
                   (struct suppress_mark){(uint8_t)(word & 0xff), day});
        }
    }
    return copy;
}

/* ---- the writer ---- */

struct suppress_set *suppress_set_create(void)
{
    struct suppress_set *set = mem_zalloc(sizeof(*set));
    set->magic = SET_MAGIC;
    CHECK(getrandom(set->key, sizeof(set->key), 0) == (ssize_t)sizeof(set->key));
    atomic_init(&set->epoch, 1);
    list_init(&set->retired);
    list_init(&set->readers);
    CHECK(pthread_mutex_init(&set->readers_lock, NULL) == 0);
    for (size_t i = 0; i < SEGMENTS; i++) {
        struct segment *segment = segment_create(0);
        atomic_init(&set->segments[i], segment);
        set->bytes += segment->bytes;
    }
    return set;
}

void suppress_set_free(struct suppress_set **handle)
{
    struct suppress_set *set = *handle;
    struct list *node;
    if (set == NULL) {
        return;
    }
    CHECK_MAGIC(set, SET_MAGIC);
    CHECK(list_empty(&set->readers));
    while ((node = list_pop_front(&set->retired)) != NULL) {
        segment_free(CONTAINER_OF(node, struct segment, node));
    }
    for (size_t i = 0; i < SEGMENTS; i++) {
        segment_free(atomic_load(&set->segments[i]));
    }
    pthread_mutex_destroy(&set->readers_lock);
    set->magic = 0;
    mem_free(set);
    *handle = NULL;
}

uint64_t suppress_set_hash(const struct suppress_set *set, struct slice key)
{
    return hash_sip(key, set->key[0], set->key[1]);
}

/* The oldest epoch that a reader is inside with; UINT64_MAX: nobody is inside. */
static uint64_t oldest_inside(struct suppress_set *set)
{
    uint64_t oldest = UINT64_MAX;
    CHECK(pthread_mutex_lock(&set->readers_lock) == 0);
    list_foreach (node, &set->readers) {
        const struct suppress_reader *reader = CONTAINER_OF(node, struct suppress_reader, node);
        uint64_t inside = atomic_load(&reader->inside);
        oldest = inside != 0 && inside < oldest ? inside : oldest;
    }
    CHECK(pthread_mutex_unlock(&set->readers_lock) == 0);
    return oldest;
}

static void reclaim(struct suppress_set *set)
{
    uint64_t oldest = oldest_inside(set);
    list_foreach_safe (node, after, &set->retired) {
        struct segment *segment = CONTAINER_OF(node, struct segment, node);
        if (segment->retired > oldest) {
            break;
        }
        list_remove(&segment->node);
        atomic_fetch_sub_explicit(&set->bytes, segment->bytes, memory_order_relaxed);
        segment_free(segment);
    }
}

static struct segment *segment_of(const struct suppress_set *set, uint64_t hash)
{
    return atomic_load_explicit(&set->segments[hash >> (64 - SEGMENT_BITS)], memory_order_relaxed);
}

static struct segment *replace(struct suppress_set *set, uint64_t hash, struct segment *old,
                               uint16_t today)
{
    struct segment *copy = segment_copy(old, today);
    atomic_fetch_add_explicit(&set->bytes, copy->bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&set->count, old->live - copy->live, memory_order_relaxed);
    atomic_store(&set->segments[hash >> (64 - SEGMENT_BITS)], copy);
    old->retired = atomic_fetch_add(&set->epoch, 1) + 1;
    list_push_back(&set->retired, &old->node);
    reclaim(set);
    return copy;
}

void suppress_set_put(struct suppress_set *set, uint64_t hash, struct suppress_mark mark,
                      uint16_t today)
{
    uint64_t print = fingerprint(hash);
    uint64_t word;
    CHECK_MAGIC(set, SET_MAGIC);
    CHECK(mark.reason != 0);
    struct segment *segment = segment_of(set, hash);
    size_t place = find(segment, print, &word);
    if (place != SIZE_MAX) {
        store(segment, place, print, mark);
        return;
    }
    uint64_t room = (uint64_t)segment->buckets * BUCKET_WORDS * FULL_PERCENT / 100;
    if (segment->used + 1 > room) {
        segment = replace(set, hash, segment, today);
    }
    insert(segment, print, mark);
    atomic_fetch_add_explicit(&set->count, 1, memory_order_relaxed);
}

bool suppress_set_remove(struct suppress_set *set, uint64_t hash)
{
    uint64_t word;
    CHECK_MAGIC(set, SET_MAGIC);
    struct segment *segment = segment_of(set, hash);
    size_t place = find(segment, fingerprint(hash), &word);
    if (place == SIZE_MAX) {
        return false;
    }
    atomic_store_explicit(&segment->words[place], TOMBSTONE, memory_order_release);
    segment->live--;
    atomic_fetch_sub_explicit(&set->count, 1, memory_order_relaxed);
    return true;
}

bool suppress_set_get(const struct suppress_set *set, uint64_t hash, struct suppress_mark *mark)
{
    uint64_t word;
    CHECK_MAGIC(set, SET_MAGIC);
    const struct segment *segment = segment_of(set, hash);
    size_t place = find(segment, fingerprint(hash), &word);
    if (place == SIZE_MAX) {
        return false;
    }
    *mark = (struct suppress_mark){
        (uint8_t)(word & 0xff),
        atomic_load_explicit(&segment->days[place], memory_order_relaxed),
    };
    return true;
}

uint64_t suppress_set_count(const struct suppress_set *set)
{
    return atomic_load_explicit(&set->count, memory_order_relaxed);
}

uint64_t suppress_set_bytes(const struct suppress_set *set)
{
    return sizeof(*set) + atomic_load_explicit(&set->bytes, memory_order_relaxed);
}

/* ---- readers ---- */

struct suppress_reader *suppress_reader_open(struct suppress_set *set)
{
    CHECK_MAGIC(set, SET_MAGIC);
    struct suppress_reader *reader = aligned_alloc(CACHE_LINE, sizeof(*reader));
    CHECK(reader != NULL);
    memset(reader, 0, sizeof(*reader));
    reader->magic = READER_MAGIC;
    reader->set = set;
    CHECK(pthread_mutex_lock(&set->readers_lock) == 0);
    list_push_back(&set->readers, &reader->node);
    CHECK(pthread_mutex_unlock(&set->readers_lock) == 0);
    return reader;
}

void suppress_reader_close(struct suppress_reader **handle)
{
    struct suppress_reader *reader = *handle;
    if (reader == NULL) {
        return;
    }
    CHECK_MAGIC(reader, READER_MAGIC);
    CHECK(pthread_mutex_lock(&reader->set->readers_lock) == 0);
    list_remove(&reader->node);
    CHECK(pthread_mutex_unlock(&reader->set->readers_lock) == 0);
    reader->magic = 0;
    mem_free(reader);
    *handle = NULL;
}

/* A word and its day that belong together; false: it is not there (any more). */
static bool read_entry(const struct segment *segment, uint64_t print, struct suppress_mark *mark)
{
    uint64_t word;
    for (;;) {
        size_t place = find(segment, print, &word);
        if (place == SIZE_MAX) {
            return false;
        }
        uint16_t day = atomic_load_explicit(&segment->days[place], memory_order_acquire);
        if (atomic_load_explicit(&segment->words[place], memory_order_relaxed) == word) {
            *mark = (struct suppress_mark){(uint8_t)(word & 0xff), day};
            return true;
        }
    }
}

static void prefetch(const struct suppress_set *set, uint64_t hash)
{
    const struct segment *segment = atomic_load(&set->segments[hash >> (64 - SEGMENT_BITS)]);
    size_t bucket = first_bucket(segment, fingerprint(hash));
    __builtin_prefetch((const char *)segment->memory + bucket * BUCKET_WORDS * sizeof(uint64_t));
}

size_t suppress_reader_look(struct suppress_reader *reader, const uint64_t *hashes, size_t count,
                            uint16_t today, struct suppress_mark *mark)
{
    CHECK_MAGIC(reader, READER_MAGIC);
    struct suppress_set *set = reader->set;
    size_t i = 0;
    /* Sequentially consistent with the writer's store of the segment and its look at `inside`. */
    atomic_store(&reader->inside, atomic_load_explicit(&set->epoch, memory_order_acquire));
    for (size_t k = 0; k < count; k++) {
        prefetch(set, hashes[k]);
    }
    for (; i < count; i++) {
        const struct segment *segment =
            atomic_load(&set->segments[hashes[i] >> (64 - SEGMENT_BITS)]);
        if (read_entry(segment, fingerprint(hashes[i]), mark) &&
            !suppress_day_is_over(mark->until_day, today)) {
            break;
        }
    }
    atomic_store_explicit(&reader->inside, 0, memory_order_release);
    return i;
}
