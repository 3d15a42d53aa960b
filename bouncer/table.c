#include "bouncer/table.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "kafka/reader.h"
#include "kafka/topics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define TABLE_MAGIC 0x54414254u
#define WAIT_MS 200
#define RETRY_US 1000000
#define FACTS_MAX_BYTES ((size_t)16384) /* of one set, decoded */

struct facts_entry {
    uint64_t hash;
    uint32_t number; /* key in the map */
    bool ambiguous;
    struct arena *arena; /* the texts */
    struct event facts;
};

struct uncertain_entry {
    struct uuid id; /* key in the map */
};

struct table {
    uint32_t magic;
    pthread_mutex_t lock;
    struct map facts;
    struct map uncertain;
    atomic_bool ready, stopping;
    bool has_thread;
    pthread_t thread;
    struct kafka_properties properties;
    char facts_topic[KAFKA_TOPIC_NAME_MAX + 1];
    char uncertain_topic[KAFKA_TOPIC_NAME_MAX + 1];
};

/* ---- records ---- */

void table_add_facts(struct table *table, struct slice key, struct slice value)
{
    CHECK_MAGIC(table, TABLE_MAGIC);
    struct facts_entry *entry = mem_zalloc(sizeof(*entry));
    entry->arena = arena_create(256, FACTS_MAX_BYTES);
    if (entry->arena == NULL ||
        !facts_decode(key, value, entry->arena, &entry->hash, &entry->facts)) {
        arena_free(&entry->arena);
        mem_free(entry);
        return;
    }
    entry->number = facts_number(entry->hash);
    struct slice number = slice_of(&entry->number, sizeof(entry->number));
    pthread_mutex_lock(&table->lock);
    struct facts_entry *before = map_get(&table->facts, number);
    if (before == NULL) {
        map_put(&table->facts, number, entry);
        entry = NULL;
    } else {
        before->ambiguous = before->ambiguous || before->hash != entry->hash;
    }
    pthread_mutex_unlock(&table->lock);
    if (entry != NULL) {
        arena_free(&entry->arena);
        mem_free(entry);
    }
}

void table_add_uncertain(struct table *table, struct slice message_id, bool held)
{
    struct uuid id;
    CHECK_MAGIC(table, TABLE_MAGIC);
    if (!uuid_parse(message_id, &id)) {
        return;
    }
    struct uncertain_entry *entry = NULL;
    pthread_mutex_lock(&table->lock);
    if (!held) {
        entry = map_remove(&table->uncertain, slice_of(id.bytes, sizeof(id.bytes)));
    } else if (map_get(&table->uncertain, slice_of(id.bytes, sizeof(id.bytes))) == NULL) {
        struct uncertain_entry *fresh = mem_zalloc(sizeof(*fresh));
        fresh->id = id;
        map_put(&table->uncertain, slice_of(fresh->id.bytes, sizeof(fresh->id.bytes)), fresh);
    }
    pthread_mutex_unlock(&table->lock);
    mem_free(entry);
}

static void take(struct table *table, const struct kafka_reader_record *record)
{
    if (strcmp(record->topic, table->facts_topic) == 0) {
        table_add_facts(table, record->key, record->value);
    } else {
        table_add_uncertain(table, record->key, record->value.len > 0);
    }
}

/* ---- the thread ---- */

/* Until the reader fails or the table goes. */
static void follow(struct table *table, struct kafka_reader *reader, struct fault *fault)
{
    while (!atomic_load(&table->stopping)) {
        struct kafka_reader_record record;
        switch (kafka_reader_next(reader, WAIT_MS, &record, fault)) {
        case KAFKA_READ_RECORD: take(table, &record); break;
        case KAFKA_READ_NONE: break;
        case KAFKA_READ_END:
            if (!atomic_exchange(&table->ready, true)) {
                log_info("table-ready", "facts=%zu uncertain=%zu", table->facts.count,
                         table->uncertain.count);
            }
            break;
        case KAFKA_READ_FAILED: return;
        }
    }
}

static void *run(void *argument)
{
    struct table *table = argument;
    const char *topics[] = {table->facts_topic, table->uncertain_topic};
    bool told = false;
    CHECK_MAGIC(table, TABLE_MAGIC);
    while (!atomic_load(&table->stopping)) {
        struct fault fault = {0};
        struct kafka_reader *reader =
            kafka_reader_create(&table->properties, topics, ARRAY_LEN(topics), -2, &fault);
        if (reader != NULL) {
            follow(table, reader, &fault);
            kafka_reader_free(&reader);
        }
        if (!atomic_load(&table->stopping)) {
            log_write(told ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "table-unread", "reason=\"%s\"",
                      fault.text);
            told = true;
            usleep(RETRY_US);
        }
    }
    return NULL;
}

/* ---- life ---- */

struct table *table_create_empty(void)
{
    struct table *table = mem_zalloc(sizeof(*table));
    table->magic = TABLE_MAGIC;
    CHECK(pthread_mutex_init(&table->lock, NULL) == 0);
    map_init(&table->facts);
    map_init(&table->uncertain);
    atomic_store(&table->ready, true);
    return table;
}

struct table *table_create(const struct kafka_properties *properties, const char *prefix)
{
    struct table *table = table_create_empty();
    atomic_store(&table->ready, false);
    kafka_properties_copy(&table->properties, properties);
    snprintf(table->facts_topic, sizeof(table->facts_topic), "%sfacts", prefix);
    snprintf(table->uncertain_topic, sizeof(table->uncertain_topic), "%suncertain", prefix);
    table->has_thread = true;
    CHECK(pthread_create(&table->thread, NULL, run, table) == 0);
    return table;
}

void table_free(struct table **handle)
{
    struct table *table = *handle;
    size_t cursor = 0;
    void *entry;
    if (table == NULL) {
        return;
    }
    CHECK_MAGIC(table, TABLE_MAGIC);
    atomic_store(&table->stopping, true);
    if (table->has_thread) {
        pthread_join(table->thread, NULL);
    }
    while ((entry = map_next(&table->facts, &cursor)) != NULL) {
        struct facts_entry *facts = entry;
        arena_free(&facts->arena);
        mem_free(facts);
    }
    cursor = 0;
    while ((entry = map_next(&table->uncertain, &cursor)) != NULL) {
        mem_free(entry);
    }
    map_free(&table->facts);
    map_free(&table->uncertain);
    pthread_mutex_destroy(&table->lock);
    kafka_properties_free(&table->properties);
    table->magic = 0;
    mem_free(table);
    *handle = NULL;
}

/* ---- look-ups ---- */

bool table_ready(const struct table *table)
{
    return atomic_load(&table->ready);
}

enum table_found table_facts(struct table *table, uint32_t number, const struct event **facts)
{
    CHECK_MAGIC(table, TABLE_MAGIC);
    pthread_mutex_lock(&table->lock);
    const struct facts_entry *entry = map_get(&table->facts, slice_of(&number, sizeof(number)));
    bool ambiguous = entry != NULL && entry->ambiguous;
    pthread_mutex_unlock(&table->lock);
    if (entry == NULL) {
        return TABLE_UNKNOWN;
    }
    *facts = &entry->facts;
    return ambiguous ? TABLE_AMBIGUOUS : TABLE_FOUND;
}

bool table_is_uncertain(struct table *table, struct slice message_id)
{
    struct uuid id;
    CHECK_MAGIC(table, TABLE_MAGIC);
    if (!uuid_parse(message_id, &id)) {
        return false;
    }
    pthread_mutex_lock(&table->lock);
    bool found = map_get(&table->uncertain, slice_of(id.bytes, sizeof(id.bytes))) != NULL;
    pthread_mutex_unlock(&table->lock);
    return found;
}

size_t table_facts_count(struct table *table)
{
    pthread_mutex_lock(&table->lock);
    size_t count = table->facts.count;
    pthread_mutex_unlock(&table->lock);
    return count;
}
