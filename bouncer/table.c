#include "bouncer/table.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "kafka/producer.h"
#include "kafka/reader.h"
#include "kafka/topics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define TABLE_MAGIC 0x54414254u
#define WAIT_MS 200
#define RETRY_US 1000000
#define TRIM_BATCH 1000     /* sets between two looks at the topics */
#define TRIM_AGAIN_MS 60000 /* after a write that failed */
#define TELL_MS 60000
#define FLUSH_MS 1000

struct uncertain_entry {
    struct uuid id; /* key in the map */
};

struct table {
    uint32_t magic;
    pthread_mutex_t lock; /* of the next two */
    struct fact_set *facts;
    struct map uncertain;
    atomic_bool ready, stopping;
    bool has_thread;
    pthread_t thread;
    struct kafka_properties properties;
    char facts_topic[KAFKA_TOPIC_NAME_MAX + 1];
    char uncertain_topic[KAFKA_TOPIC_NAME_MAX + 1];

    /* The thread's. */
    struct kafka_producer *producer; /* NULL: nothing was to be written yet */
    struct kafka_delivery delivery;
    bool failed; /* to write; not before try_at again */
    struct mono_time try_at;
    uint64_t left, kept; /* sets that were written since that was told */
    struct mono_time tell_at;
};

/* ---- records ---- */

void table_add_facts(struct table *table, struct slice key, struct slice value)
{
    CHECK_MAGIC(table, TABLE_MAGIC);
    pthread_mutex_lock(&table->lock);
    fact_set_add(table->facts, key, value, 0, wall_now().ms);
    pthread_mutex_unlock(&table->lock);
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

static void take_facts(struct table *table, const struct kafka_reader_record *record)
{
    struct slice seen = SLICE_NULL;
    int64_t told_ms = kafka_reader_number(record, FACTS_TIME);
    (void)kafka_reader_header(record, FACTS_SEEN, &seen);
    pthread_mutex_lock(&table->lock);
    if (record->value.ptr != NULL) {
        fact_set_add(table->facts, record->key, record->value, record->offset,
                     told_ms > 0 ? told_ms : record->timestamp_ms);
    } else {
        fact_set_remove(table->facts, record->key, seen, record->offset);
    }
    pthread_mutex_unlock(&table->lock);
}

static void take(struct table *table, const struct kafka_reader_record *record)
{
    if (strcmp(record->topic, table->facts_topic) == 0) {
        take_facts(table, record);
    } else {
        table_add_uncertain(table, record->key, record->value.len > 0);
    }
}

/* ---- what leaves the topic ---- */

static void not_written(struct table *table, const struct fault *fault)
{
    if (!table->failed) {
        log_warn("facts-not-written", "reason=\"%s\"", fault->text);
    }
    table->failed = true;
    table->try_at = mono_add_ms(mono_now(), TRIM_AGAIN_MS);
}

static void on_delivery(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                        const struct fault *fault)
{
    struct table *table = CONTAINER_OF(delivery, struct table, delivery);
    (void)partition;
    (void)offset;
    CHECK_MAGIC(table, TABLE_MAGIC);
    if (fault != NULL) {
        not_written(table, fault);
    }
}

static bool open_producer(struct table *table, struct fault *fault)
{
    struct kafka_producer_options options;
    if (table->producer == NULL) {
        kafka_producer_options_default(&options);
        options.client_id = "sluice-bouncer-facts";
        table->delivery.done = on_delivery;
        table->producer = kafka_producer_create(&table->properties, &options, fault);
    }
    return table->producer != NULL;
}

static bool write_fact(struct table *table, const struct fact_write *out)
{
    struct fault fault = {0};
    const bool leaves = out->value.ptr == NULL;
    const struct kafka_header header = {out->header_name, slice_cstr(out->header)};
    const struct kafka_record_out record = {
        .topic = table->facts_topic,
        .partition = -1,
        .key = slice_cstr(out->key),
        .value = out->value,
        .headers = &header,
        .header_count = 1,
        .delivery = &table->delivery,
    };
    if (!open_producer(table, &fault) || !kafka_producer_send(table->producer, &record, &fault)) {
        not_written(table, &fault);
        return false;
    }
    table->left += leaves;
    table->kept += !leaves;
    return true;
}

static void tell_trimmed(struct table *table, struct mono_time now)
{
    if (table->left + table->kept > 0 && !mono_before(now, table->tell_at)) {
        log_info("facts-trimmed", "left=%" PRIu64 " again=%" PRIu64 " facts=%zu", table->left,
                 table->kept, table_facts_count(table));
        table->left = table->kept = 0;
        table->tell_at = mono_add_ms(now, TELL_MS);
    }
}

/* All that is there has been read. */
static void trim(struct table *table)
{
    struct mono_time now = mono_now();
    struct fact_write out;
    bool more = true;
    if (table->failed && mono_before(now, table->try_at)) {
        return;
    }
    if (table->failed) {
        pthread_mutex_lock(&table->lock);
        fact_set_ask_again(table->facts);
        pthread_mutex_unlock(&table->lock);
        table->failed = false;
    }
    for (int i = 0; i < TRIM_BATCH && more; i++) {
        pthread_mutex_lock(&table->lock);
        more = fact_set_next_write(table->facts, wall_now().ms, &out);
        pthread_mutex_unlock(&table->lock);
        more = more && write_fact(table, &out);
    }
    tell_trimmed(table, now);
}

/* ---- the thread ---- */

static void tell_ready(struct table *table)
{
    if (!atomic_exchange(&table->ready, true)) {
        log_info("table-ready", "facts=%zu facts_bytes=%zu uncertain=%zu",
                 fact_set_count(table->facts), fact_set_bytes(table->facts),
                 table->uncertain.count);
    }
}

/* Until the reader fails or the table goes. */
static void follow(struct table *table, struct kafka_reader *reader, struct fault *fault)
{
    while (!atomic_load(&table->stopping)) {
        struct kafka_reader_record record;
        if (table->producer != NULL) {
            (void)kafka_producer_poll(table->producer, 0);
        }
        switch (kafka_reader_next(reader, WAIT_MS, &record, fault)) {
        case KAFKA_READ_RECORD: take(table, &record); break;
        case KAFKA_READ_NONE:
            if (atomic_load(&table->ready)) {
                trim(table);
            }
            break;
        case KAFKA_READ_END: /* again after each record: it may never be quiet for long */
            tell_ready(table);
            trim(table);
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
            pthread_mutex_lock(&table->lock);
            fact_set_begin(table->facts);
            pthread_mutex_unlock(&table->lock);
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
    if (table->producer != NULL) {
        kafka_producer_free(&table->producer, FLUSH_MS);
    }
    return NULL;
}

/* ---- life ---- */

static struct table *create(int64_t keep_ms)
{
    struct table *table = mem_zalloc(sizeof(*table));
    table->magic = TABLE_MAGIC;
    CHECK(pthread_mutex_init(&table->lock, NULL) == 0);
    table->facts = fact_set_create(keep_ms);
    map_init(&table->uncertain);
    return table;
}

struct table *table_create_empty(void)
{
    struct table *table = create(0);
    atomic_store(&table->ready, true);
    return table;
}

struct table *table_create(const struct kafka_properties *properties, const char *prefix,
                           int64_t keep_ms)
{
    struct table *table = create(keep_ms);
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
    while ((entry = map_next(&table->uncertain, &cursor)) != NULL) {
        mem_free(entry);
    }
    fact_set_free(&table->facts);
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

enum table_found table_facts(struct table *table, uint32_t number, int64_t sent_ms,
                             struct arena *arena, struct event *facts)
{
    CHECK_MAGIC(table, TABLE_MAGIC);
    pthread_mutex_lock(&table->lock);
    enum table_found found = fact_set_find(table->facts, number, sent_ms, arena, facts);
    pthread_mutex_unlock(&table->lock);
    return found;
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
    size_t count = fact_set_count(table->facts);
    pthread_mutex_unlock(&table->lock);
    return count;
}
