#include "once/search.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "kafka/reader.h"
#include "schema/headers.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define SEARCH_MAGIC 0x6f736561u
#define SEARCH_MS                                                                                  \
    60000 /* then it has not found an end: the partitions grow faster than it reads                \
           */
#define POLL_MS 200

struct once_search {
    uint32_t magic;
    struct letter letter;
    struct mailbox *mailbox;
    const struct kafka_properties *properties;
    char *topic;
    int64_t from_ms;
    struct list items;
    size_t count;
    pthread_t thread;
    bool started;
    atomic_bool stop;
    bool complete; /* the thread's until its letter came */
};

struct once_search *once_search_create(const struct kafka_properties *properties,
                                       struct slice topic, int64_t from_ms)
{
    struct once_search *search = mem_zalloc(sizeof(*search));
    search->magic = SEARCH_MAGIC;
    search->properties = properties;
    search->topic = mem_strdup(topic.ptr);
    search->from_ms = from_ms;
    list_init(&search->items);
    return search;
}

static char *copy_of(struct slice s)
{
    char *copy = mem_zalloc(s.len + 1);
    memcpy(copy, s.ptr, s.len);
    return copy;
}

struct once_item *once_search_add(struct once_search *search, struct slice id, struct slice key,
                                  void *owner)
{
    CHECK(!search->started);
    struct once_item *item = mem_zalloc(sizeof(*item));
    item->owner = owner;
    item->id = copy_of(id);
    item->key = copy_of(key);
    list_push_back(&search->items, &item->node);
    search->count++;
    return item;
}

/* True: all were found. */
static bool look_at(const struct kafka_reader_record *record, const struct map *wanted,
                    size_t *left)
{
    struct slice id;
    struct once_item *item =
        kafka_reader_header(record, HEADER_ID, &id) ? map_get(wanted, id) : NULL;
    if (item != NULL && !item->found) {
        item->found = true;
        item->partition = record->partition;
        item->offset = record->offset;
        (*left)--;
    }
    return *left == 0;
}

static void read_all(struct once_search *search, struct kafka_reader *reader, struct map *wanted)
{
    struct mono_time end = mono_add_ms(mono_now(), SEARCH_MS);
    size_t left = wanted->count;
    struct fault fault;
    while (!atomic_load(&search->stop) && mono_before(mono_now(), end)) {
        struct kafka_reader_record record;
        enum kafka_read got = kafka_reader_next(reader, POLL_MS, &record, &fault);
        if (got == KAFKA_READ_FAILED) {
            log_warn("not-looked-for", "topic=%s reason=\"%s\"", search->topic, fault.text);
            return;
        }
        if (got == KAFKA_READ_END ||
            (got == KAFKA_READ_RECORD && look_at(&record, wanted, &left))) {
            search->complete = true;
            return;
        }
    }
}

static void *run(void *argument)
{
    struct once_search *search = argument;
    CHECK_MAGIC(search, SEARCH_MAGIC);
    struct map wanted;
    struct fault fault;
    struct slice *keys = mem_calloc(search->count + 1, sizeof(*keys));
    map_init(&wanted);
    size_t key_count = 0;
    list_foreach (node, &search->items) {
        struct once_item *item = CONTAINER_OF(node, struct once_item, node);
        keys[key_count++] = slice_cstr(item->key);
        if (map_get(&wanted, slice_cstr(item->id)) == NULL) {
            map_put(&wanted, slice_cstr(item->id), item);
        }
    }
    struct kafka_reader *reader = kafka_reader_create_keys(search->properties, search->topic, keys,
                                                           search->count, search->from_ms, &fault);
    if (reader == NULL) {
        log_warn("not-looked-for", "topic=%s reason=\"%s\"", search->topic, fault.text);
    } else {
        read_all(search, reader, &wanted);
    }
    kafka_reader_free(&reader);
    list_foreach (node, &search->items) { /* several may have wanted the same */
        struct once_item *item = CONTAINER_OF(node, struct once_item, node);
        const struct once_item *first = map_get(&wanted, slice_cstr(item->id));
        item->found = first->found;
        item->partition = first->partition;
        item->offset = first->offset;
    }
    map_free(&wanted);
    mem_free(keys);
    mailbox_post(search->mailbox, &search->letter);
    return NULL;
}

bool once_search_start(struct once_search *search, struct mailbox *mailbox, struct fault *fault)
{
    search->mailbox = mailbox;
    int error = pthread_create(&search->thread, NULL, run, search);
    search->started = error == 0;
    return search->started || fault_set_errno(fault, error, "thread");
}

void once_search_stop(struct once_search *search)
{
    atomic_store(&search->stop, true);
}

void once_search_wait(struct once_search *search)
{
    if (search->started) {
        CHECK(pthread_join(search->thread, NULL) == 0);
        search->started = false;
    }
}

struct once_search *once_search_of(struct letter *letter)
{
    struct once_search *search = CONTAINER_OF(letter, struct once_search, letter);
    CHECK_MAGIC(search, SEARCH_MAGIC);
    return search;
}

size_t once_search_count(const struct once_search *search)
{
    return search->count;
}

struct list *once_search_items(struct once_search *search)
{
    return &search->items;
}

bool once_search_complete(const struct once_search *search)
{
    return search->complete;
}

void once_search_free(struct once_search **handle)
{
    struct once_search *search = *handle;
    if (search == NULL) {
        return;
    }
    CHECK_MAGIC(search, SEARCH_MAGIC);
    *handle = NULL;
    once_search_wait(search);
    struct list *node;
    while ((node = list_pop_front(&search->items)) != NULL) {
        struct once_item *item = CONTAINER_OF(node, struct once_item, node);
        mem_free(item->id);
        mem_free(item->key);
        mem_free(item);
    }
    mem_free(search->topic);
    search->magic = 0;
    mem_free(search);
}
