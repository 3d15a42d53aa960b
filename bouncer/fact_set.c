#include "bouncer/fact_set.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "bouncer/fact_texts.h"

#include <inttypes.h>

#define FACT_SET_MAGIC 0x46414354u
#define FIRST_CAPACITY 64
#define RECORD_MAX_BYTES ((size_t)16384)
#define SCAN 5000                   /* places that are looked at in one call */
#define EPOCH_S INT64_C(1577836800) /* 2020-01-01: times are 32 bits of seconds since then */
/* Mail is signed with a set for a day after its record; the rest is for clocks that differ. */
#define USED_S (INT64_C(3) * 86400)

struct entry {
    uint64_t hash;
    struct fact_text *text; /* NULL: the place is free */
    int64_t offset;         /* of its last record */
    uint32_t renewed_s;     /* the topic's time then */
    uint16_t vip;           /* fact_vip_number() */
    bool leaving;           /* it was asked that it leaves the topic */
};

/* A set that has to be written again: behind that offset there is no record that says all. */
struct want {
    uint64_t hash;
    int64_t offset;
    bool asked;
};

struct fact_set {
    uint32_t magic;
    uint32_t keep_s;
    uint32_t topic_s; /* latest time of a record */
    struct entry *entries;
    size_t capacity; /* a power of two */
    size_t count;
    size_t cursor; /* of the scan */
    struct fact_texts texts;
    struct want *wants;
    size_t want_count, want_room;
    uint32_t patience; /* of a thousand parts of half of facts_renew_ms() */
    struct strbuf encoded;
};

static uint32_t seconds_of(int64_t time_ms)
{
    int64_t seconds = time_ms / 1000 - EPOCH_S;
    return seconds < 0 ? 0 : seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

struct fact_set *fact_set_create(int64_t keep_ms)
{
    struct fact_set *set = mem_zalloc(sizeof(*set));
    set->magic = FACT_SET_MAGIC;
    CHECK(keep_ms >= 0 && keep_ms / 1000 <= UINT32_MAX);
    set->keep_s = (uint32_t)(keep_ms / 1000);
    set->capacity = FIRST_CAPACITY;
    set->entries = mem_calloc(set->capacity, sizeof(*set->entries));
    set->patience = random_below(1000);
    fact_texts_init(&set->texts);
    strbuf_init(&set->encoded, RECORD_MAX_BYTES);
    return set;
}

void fact_set_free(struct fact_set **handle)
{
    struct fact_set *set = *handle;
    if (set == NULL) {
        return;
    }
    CHECK_MAGIC(set, FACT_SET_MAGIC);
    fact_texts_free(&set->texts);
    strbuf_free(&set->encoded);
    mem_free(set->entries);
    mem_free(set->wants);
    set->magic = 0;
    mem_free(set);
    *handle = NULL;
}

/* ---- the table: open addressing by the number, so that all sets of a number stand together ----
 */

/* Keyed: who chooses names of campaigns must not choose places. */
static size_t home_of(const struct fact_set *set, uint32_t number)
{
    return (size_t)hash_slice(slice_of(&number, sizeof(number))) & (set->capacity - 1);
}

/* The set's place, or the free one for it. */
static struct entry *place_of(const struct fact_set *set, uint64_t hash)
{
    size_t i = home_of(set, facts_number(hash));
    while (set->entries[i].text != NULL && set->entries[i].hash != hash) {
        i = (i + 1) & (set->capacity - 1);
    }
    return &set->entries[i];
}

static struct entry *find(const struct fact_set *set, uint64_t hash)
{
    struct entry *entry = place_of(set, hash);
    return entry->text != NULL ? entry : NULL;
}

static void resize(struct fact_set *set, size_t capacity)
{
    struct entry *old = set->entries;
    size_t old_capacity = set->capacity;
    set->entries = mem_calloc(capacity, sizeof(*set->entries));
    set->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].text != NULL) {
            *place_of(set, old[i].hash) = old[i];
        }
    }
    mem_free(old);
}

static struct entry *insert(struct fact_set *set, uint64_t hash)
{
    if ((set->count + 1) * 4 > set->capacity * 3) {
        resize(set, set->capacity * 2);
    }
    struct entry *entry = place_of(set, hash);
    set->count++;
    entry->hash = hash;
    return entry;
}

/* Those behind it move up, unless they stand at or before their home then (Knuth 6.4 R). */
static void take_out(struct fact_set *set, struct entry *entry)
{
    size_t mask = set->capacity - 1;
    size_t hole = (size_t)(entry - set->entries);
    fact_text_release(&set->texts, entry->text);
    for (size_t i = (hole + 1) & mask; set->entries[i].text != NULL; i = (i + 1) & mask) {
        size_t home = home_of(set, facts_number(set->entries[i].hash));
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            set->entries[hole] = set->entries[i];
            hole = i;
        }
    }
    set->entries[hole] = (struct entry){0};
    set->count--;
    if (set->capacity > FIRST_CAPACITY && set->count < set->capacity / 8) {
        resize(set, set->capacity / 2);
    }
}

/* ---- records ---- */

static void want_again(struct fact_set *set, uint64_t hash, int64_t offset)
{
    if (set->want_count == set->want_room) {
        set->want_room = set->want_room == 0 ? 16 : set->want_room * 2;
        set->wants = mem_realloc(set->wants, set->want_room * sizeof(*set->wants));
    }
    set->wants[set->want_count++] = (struct want){.hash = hash, .offset = offset};
}

/* What the facts say, their VIP by its number where there is one. */
static struct fact_text *intern(struct fact_set *set, const struct event *facts, uint16_t vip)
{
    struct event rest = *facts;
    rest.vip = vip != 0 ? SLICE_NULL : facts->vip;
    strbuf_reset(&set->encoded);
    if (!event_encode(&rest, &set->encoded)) {
        return NULL;
    }
    struct fact_text *text = fact_text_take(&set->texts, strbuf_slice(&set->encoded));
    int64_t keep_ms = facts_keep_ms(facts);
    text->keep_told = keep_ms > 0;
    text->keep_s = keep_ms > 0 ? (uint32_t)(keep_ms / 1000) : set->keep_s;
    return text;
}

static void add(struct fact_set *set, uint64_t hash, const struct event *facts, int64_t offset)
{
    uint16_t vip = fact_vip_number(&set->texts, facts->vip);
    struct fact_text *text = intern(set, facts, vip);
    if (text == NULL) {
        return;
    }
    struct entry *entry = find(set, hash);
    if (entry == NULL) {
        entry = insert(set, hash);
        entry->text = text;
    } else if (entry->text->keep_told && text->keep_s < entry->text->keep_s) {
        /* Some mail of it needs it longer than this one: say so again. */
        fact_text_release(&set->texts, text);
        want_again(set, hash, offset);
    } else {
        fact_text_release(&set->texts, entry->text);
        entry->text = text;
    }
    entry->offset = offset;
    entry->renewed_s = set->topic_s;
    entry->vip = vip;
    entry->leaving = false;
}

void fact_set_begin(struct fact_set *set)
{
    CHECK_MAGIC(set, FACT_SET_MAGIC);
    set->topic_s = 0; /* else all would look as if they had just been written */
}

void fact_set_add(struct fact_set *set, struct slice key, struct slice value, int64_t offset,
                  int64_t time_ms)
{
    CHECK_MAGIC(set, FACT_SET_MAGIC);
    struct event facts;
    uint64_t hash;
    struct arena *arena = arena_create(1024, RECORD_MAX_BYTES);
    if (arena != NULL && facts_decode(key, value, arena, &hash, &facts)) {
        uint32_t time_s = seconds_of(time_ms);
        set->topic_s = time_s > set->topic_s ? time_s : set->topic_s;
        add(set, hash, &facts, offset);
    }
    arena_free(&arena);
}

void fact_set_remove(struct fact_set *set, struct slice key, struct slice seen, int64_t offset)
{
    CHECK_MAGIC(set, FACT_SET_MAGIC);
    uint64_t hash, up_to;
    struct entry *entry = facts_key_read(key, &hash) ? find(set, hash) : NULL;
    if (entry == NULL) {
        return;
    }
    if (slice_to_u64(seen, &up_to) && (uint64_t)entry->offset > up_to) {
        want_again(set, hash, offset); /* else compaction takes the record that came between */
    } else {
        take_out(set, entry);
    }
}

/* ---- look-ups ---- */

static bool read_entry(const struct fact_set *set, const struct entry *entry, struct arena *arena,
                       struct event *facts)
{
    struct fault fault;
    if (!event_decode(slice_of(entry->text->bytes, entry->text->len), arena, facts, &fault)) {
        return false;
    }
    if (entry->vip != 0) {
        facts->vip = arena_copy(arena, fact_vip_name(&set->texts, entry->vip));
    }
    return true;
}

static void keep_common(struct slice *text, struct slice other)
{
    *text = slice_eq(*text, other) ? *text : SLICE_NULL;
}

/* What both say. False: they are not even of one tenant. */
static bool agree(struct event *facts, const struct event *other)
{
    if (!slice_eq(facts->tenant, other->tenant)) {
        return false;
    }
    keep_common(&facts->campaign, other->campaign);
    keep_common(&facts->klass, other->klass);
    keep_common(&facts->stream, other->stream);
    keep_common(&facts->vip, other->vip);
    if (!slice_eq(facts_list(facts), facts_list(other))) {
        facts->metadata_count = 0;
    }
    return true;
}

static bool was_in_use(const struct entry *entry, uint32_t sent_s)
{
    return (int64_t)entry->renewed_s + USED_S >= (int64_t)sent_s;
}

/* The next set with that number from place *i on, which moves behind it; NULL: no more. */
static const struct entry *next_of(const struct fact_set *set, uint32_t number, size_t *i)
{
    while (set->entries[*i].text != NULL) {
        const struct entry *entry = &set->entries[*i];
        *i = (*i + 1) & (set->capacity - 1);
        if (facts_number(entry->hash) == number) {
            return entry;
        }
    }
    return NULL;
}

enum table_found fact_set_find(const struct fact_set *set, uint32_t number, int64_t sent_ms,
                               struct arena *arena, struct event *facts)
{
    CHECK_MAGIC(set, FACT_SET_MAGIC);
    const uint32_t sent_s = seconds_of(sent_ms);
    const struct entry *entry;
    size_t used = 0;
    size_t found = 0;
    size_t i = home_of(set, number);
    while ((entry = next_of(set, number, &i)) != NULL) {
        used += was_in_use(entry, sent_s);
    }
    i = home_of(set, number);
    while ((entry = next_of(set, number, &i)) != NULL) {
        struct event other;
        if (used > 0 && !was_in_use(entry, sent_s)) {
            continue;
        }
        if (!read_entry(set, entry, arena, found == 0 ? facts : &other) ||
            (found > 0 && !agree(facts, &other))) {
            return TABLE_AMBIGUOUS;
        }
        found++;
    }
    return found > 0 ? TABLE_FOUND : TABLE_UNKNOWN;
}

/* ---- what is to be written ---- */

static bool is_spent(const struct fact_set *set, const struct entry *entry, uint32_t now_s)
{
    int64_t keep_s = entry->text->keep_s;
    int64_t renew_s = facts_renew_ms(keep_s * 1000) / 1000;
    /* Each bouncer waits a little longer or shorter, so that in general one writes it. */
    int64_t last = entry->renewed_s + keep_s + renew_s + renew_s * set->patience / 2000;
    return last < now_s && last < set->topic_s;
}

static void begin_write(uint64_t hash, const char *header_name, int64_t header,
                        struct fact_write *out)
{
    *out = (struct fact_write){.value = SLICE_NULL, .header_name = header_name};
    (void)snprintf(out->key, sizeof(out->key), "%016" PRIx64, hash);
    (void)snprintf(out->header, sizeof(out->header), "%" PRId64, header);
}

/* A set that is wanted again; false: none that has not been asked for. */
static bool next_want(struct fact_set *set, struct fact_write *out)
{
    size_t i = 0;
    while (i < set->want_count) {
        struct want *want = &set->wants[i];
        const struct entry *entry = find(set, want->hash);
        if (entry == NULL || entry->offset > want->offset) {
            *want = set->wants[--set->want_count]; /* it is there, or gone */
        } else if (want->asked) {
            i++;
        } else {
            struct event facts;
            struct arena *arena = arena_create(1024, RECORD_MAX_BYTES);
            want->asked = true;
            strbuf_reset(&set->encoded);
            begin_write(want->hash, FACTS_TIME, (entry->renewed_s + EPOCH_S) * 1000, out);
            bool ok =
                arena != NULL && read_entry(set, entry, arena, &facts) &&
                facts_encode(&facts, (int64_t)entry->text->keep_s * 1000, out->key, &set->encoded);
            out->value = strbuf_slice(&set->encoded);
            arena_free(&arena);
            return ok;
        }
    }
    return false;
}

bool fact_set_next_write(struct fact_set *set, int64_t now_ms, struct fact_write *out)
{
    CHECK_MAGIC(set, FACT_SET_MAGIC);
    const uint32_t now_s = seconds_of(now_ms);
    if (next_want(set, out)) {
        return true;
    }
    for (size_t i = 0; i < SCAN && i < set->capacity; i++) {
        struct entry *entry = &set->entries[set->cursor++ & (set->capacity - 1)];
        if (entry->text != NULL && !entry->leaving && is_spent(set, entry, now_s)) {
            entry->leaving = true;
            begin_write(entry->hash, FACTS_SEEN, entry->offset, out);
            return true;
        }
    }
    return false;
}

void fact_set_ask_again(struct fact_set *set)
{
    CHECK_MAGIC(set, FACT_SET_MAGIC);
    for (size_t i = 0; i < set->capacity; i++) {
        set->entries[i].leaving = false;
    }
    for (size_t i = 0; i < set->want_count; i++) {
        set->wants[i].asked = false;
    }
}

size_t fact_set_count(const struct fact_set *set)
{
    return set->count;
}

size_t fact_set_bytes(const struct fact_set *set)
{
    return sizeof(*set) + set->capacity * sizeof(*set->entries) + set->texts.bytes +
           (set->texts.texts.capacity + set->texts.vips.capacity) * sizeof(struct map_entry);
}
