#include "suppress/follow.h"

#include "base/log.h"
#include "base/mem.h"
#include "kafka/reader.h"
#include "schema/suppression.h"
#include "suppress/policy.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define FOLLOW_MAGIC 0x53555046u
#define POLL_MS 100
#define FAILED_PAUSE_MS 1000
#define PROGRESS_EVERY 1000000

struct suppress_follow {
    uint32_t magic;
    struct suppress_set *set; /* written by the thread alone */
    const char *topic;
    struct kafka_properties properties;
    pthread_t thread;
    pthread_mutex_t lock; /* of `loaded` */
    pthread_cond_t changed;
    bool loaded;
    atomic_int stop;
    _Atomic uint64_t applied;
};

bool suppress_set_apply(struct suppress_set *set, struct slice key, struct slice value,
                        int64_t now_ms, struct fault *fault)
{
    struct suppression entry;
    if (key.len == 0 || memchr(key.ptr, '/', key.len) == NULL) {
        return fault_set(fault, FAULT_NOT_FOUND, 0, "not an entry");
    }
    uint64_t hash = suppress_set_hash(set, key);
    if (value.len == 0) { /* deleted */
        (void)suppress_set_remove(set, hash);
        return true;
    }
    if (!suppression_decode(value, &entry, fault)) {
        return false;
    }
    uint16_t today = suppress_today(now_ms);
    struct suppress_mark mark = suppress_mark_of(&entry);
    if (mark.reason == SUPPRESSION_NONE || suppress_day_is_over(mark.until_day, today)) {
        (void)suppress_set_remove(set, hash);
    } else {
        suppress_set_put(set, hash, mark, today);
    }
    return true;
}

static void apply(struct suppress_follow *follow, const struct kafka_reader_record *record,
                  int64_t now_ms)
{
    struct fault fault = {0};
    if (!suppress_set_apply(follow->set, record->key, record->value, now_ms, &fault) &&
        fault.kind != FAULT_NOT_FOUND) {
        log_warn("suppression-invalid", "offset=%" PRId64 " reason=\"%s\"", record->offset,
                 fault.text);
    }
    uint64_t applied = atomic_fetch_add_explicit(&follow->applied, 1, memory_order_relaxed) + 1;
    if (applied % PROGRESS_EVERY == 0 && !follow->loaded) {
        log_info("suppression-loading", "records=%" PRIu64 " entries=%" PRIu64, applied,
                 suppress_set_count(follow->set));
    }
}

static void set_loaded(struct suppress_follow *follow, struct mono_time started)
{
    if (follow->loaded) {
        return;
    }
    CHECK(pthread_mutex_lock(&follow->lock) == 0);
    follow->loaded = true;
    CHECK(pthread_cond_broadcast(&follow->changed) == 0);
    CHECK(pthread_mutex_unlock(&follow->lock) == 0);
    log_info("suppression-loaded",
             "entries=%" PRIu64 " bytes=%" PRIu64 " records=%" PRIu64 " ms=%" PRId64,
             suppress_set_count(follow->set), suppress_set_bytes(follow->set),
             suppress_follow_applied(follow), mono_since_us(mono_now(), started) / 1000);
}

/* The first load is of millions of small records: librdkafka's queue is to hold more of them than
 * the reader's own settings let it. */
static const struct kafka_property ours[] = {
    {"queued.min.messages", "500000"},
    {"queued.max.messages.kbytes", "131072"},
    {"fetch.message.max.bytes", "8388608"},
    {"fetch.max.bytes", "16777216"},
};

static bool is_stopped(struct suppress_follow *follow)
{
    return atomic_load_explicit(&follow->stop, memory_order_relaxed) != 0;
}

static void tell_trouble(const struct suppress_follow *follow, const struct fault *fault)
{
    log_error("suppression-not-followed", "topic=%s reason=\"%s\"", follow->topic, fault->text);
    usleep(FAILED_PAUSE_MS * 1000);
}

/* Kafka may come later, so it tries until it is stopped (then NULL). */
static struct kafka_reader *open_reader(struct suppress_follow *follow)
{
    const char *const topics[] = {follow->topic};
    struct kafka_reader *reader = NULL;
    struct fault fault = {0};
    while (reader == NULL && !is_stopped(follow)) {
        reader = kafka_reader_create(&follow->properties, topics, 1, -2, &fault);
        if (reader == NULL) {
            tell_trouble(follow, &fault);
        }
    }
    return reader;
}

static void *follow_thread(void *argument)
{
    struct suppress_follow *follow = argument;
    struct mono_time started = mono_now();
    struct wall_time now = wall_now();
    struct kafka_reader_record record;
    struct fault fault = {0};
    CHECK_MAGIC(follow, FOLLOW_MAGIC);
    struct kafka_reader *reader = open_reader(follow);
    for (uint64_t turn = 0; !is_stopped(follow); turn++) {
        if (turn % 1000 == 0) {
            now = wall_now();
        }
        switch (kafka_reader_next(reader, POLL_MS, &record, &fault)) {
        case KAFKA_READ_RECORD: apply(follow, &record, now.ms); break;
        case KAFKA_READ_NONE: now = wall_now(); break;
        case KAFKA_READ_END: set_loaded(follow, started); break;
        case KAFKA_READ_FAILED: tell_trouble(follow, &fault); break;
        }
    }
    kafka_reader_free(&reader);
    return NULL;
}

/* What is given counts more than ours. */
static void set_properties(struct suppress_follow *follow, const struct kafka_properties *given)
{
    struct kafka_property *items = mem_calloc(ARRAY_LEN(ours) + given->count, sizeof(*items));
    memcpy(items, ours, sizeof(ours));
    memcpy(items + ARRAY_LEN(ours), given->items, given->count * sizeof(*items));
    const struct kafka_properties all = {items, ARRAY_LEN(ours) + given->count};
    kafka_properties_copy(&follow->properties, &all);
    mem_free(items);
}

struct suppress_follow *suppress_follow_start(const struct kafka_properties *properties,
                                              const char *topic)
{
    struct suppress_follow *follow = mem_zalloc(sizeof(*follow));
    follow->magic = FOLLOW_MAGIC;
    follow->topic = topic;
    set_properties(follow, properties);
    follow->set = suppress_set_create();
    CHECK(pthread_cond_init(&follow->changed, NULL) == 0);
    CHECK(pthread_mutex_init(&follow->lock, NULL) == 0);
    CHECK(pthread_create(&follow->thread, NULL, follow_thread, follow) == 0);
    return follow;
}

bool suppress_follow_loaded(struct suppress_follow *follow, int timeout_ms)
{
    struct timespec until;
    int error = 0;
    CHECK_MAGIC(follow, FOLLOW_MAGIC);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    CHECK(pthread_mutex_lock(&follow->lock) == 0);
    while (!follow->loaded && error == 0) {
        error = pthread_cond_clockwait(&follow->changed, &follow->lock, CLOCK_MONOTONIC, &until);
    }
    bool loaded = follow->loaded;
    CHECK(pthread_mutex_unlock(&follow->lock) == 0);
    return loaded;
}

void suppress_follow_stop(struct suppress_follow **handle)
{
    struct suppress_follow *follow = *handle;
    if (follow == NULL) {
        return;
    }
    CHECK_MAGIC(follow, FOLLOW_MAGIC);
    atomic_store(&follow->stop, 1);
    CHECK(pthread_join(follow->thread, NULL) == 0);
    suppress_set_free(&follow->set);
    CHECK(pthread_cond_destroy(&follow->changed) == 0);
    CHECK(pthread_mutex_destroy(&follow->lock) == 0);
    kafka_properties_free(&follow->properties);
    follow->magic = 0;
    mem_free(follow);
    *handle = NULL;
}

struct suppress_set *suppress_follow_set(const struct suppress_follow *follow)
{
    return follow->set;
}

uint64_t suppress_follow_applied(const struct suppress_follow *follow)
{
    return atomic_load_explicit(&follow->applied, memory_order_relaxed);
}
