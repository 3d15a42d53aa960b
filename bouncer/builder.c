#include "bouncer/builder.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "kafka/producer.h"
#include "kafka/reader.h"
#include "kafka/topics.h"
#include "schema/event.h"
#include "schema/suppression.h"
#include "suppress/build.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define BUILDER_MAGIC 0x4255494cu
#define LEASE_MS 10000
#define PROGRESS_MS 1000
#define PAUSE_MS 1000 /* after a failure */
#define WAIT_MS 20
#define BATCH 1000 /* events between two looks at the rest */
#define PENDING_MAX 20000
#define FLUSH_MS 5000
#define LINGER_MS 2
#define SPENT_BATCH 100
#define PROGRESS_MAX_BYTES ((size_t)1024 * 1024)
#define NAME_MAX_BYTES 160
#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)64 * 1024 * 1024)

enum source { SOURCE_BOUNCES, SOURCE_FEEDBACK, SOURCES };

/* How far one partition of a source has been read. */
struct position {
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    int32_t partition;
    int64_t next_offset;
    int64_t safe_offset; /* the entries of all before it are on Kafka; -1: nothing is known */
};

struct builder {
    uint32_t magic;
    const struct config *config;
    struct kafka_properties properties;
    char name[NAME_MAX_BYTES]; /* of this thread's life, unlike any other */
    char list_topic[KAFKA_TOPIC_NAME_MAX + 1];
    char source_topics[SOURCES][KAFKA_TOPIC_NAME_MAX + 1];
    pthread_t thread;
    atomic_int stop;

    /* The rest is the thread's own, and lives from a failure to the next. */
    struct suppress_build *build;
    struct kafka_reader *list;    /* the topic itself */
    struct kafka_reader *sources; /* NULL: another one is at work */
    struct kafka_producer *producer;
    struct kafka_delivery delivery;
    bool failed; /* something was not written, so what is known is not what is there */
    bool read_to_end;

    uint64_t epoch;             /* the highest that was read */
    char owner[NAME_MAX_BYTES]; /* who wrote its first record */
    bool claiming;              /* we have written a first record of epoch + 1 */
    struct mono_time heard;     /* of progress of the owner */
    bool released;              /* … who has ended */
    struct position *positions;
    size_t position_count;
    struct mono_time next_progress;
    struct strbuf value;
};

/* ---- writing ---- */

static void on_delivery(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                        const struct fault *fault)
{
    struct builder *builder = CONTAINER_OF(delivery, struct builder, delivery);
    (void)partition;
    (void)offset;
    if (fault != NULL && !builder->failed) {
        builder->failed = true;
        log_warn("suppression-not-written", "reason=\"%s\"", fault->text);
    }
}

static void send(struct builder *builder, struct slice key, struct slice value)
{
    struct fault fault = {0};
    const struct kafka_record_out record = {.topic = builder->list_topic,
                                            .partition = 0,
                                            .key = key,
                                            .value = value,
                                            .delivery = &builder->delivery};
    while (!kafka_producer_send(builder->producer, &record, &fault)) {
        if (fault.kind != FAULT_LIMIT) {
            on_delivery(&builder->delivery, 0, -1, &fault);
            return;
        }
        (void)kafka_producer_poll(builder->producer, WAIT_MS);
    }
}

static bool is_heard(const struct builder *builder, int64_t within_ms)
{
    return mono_since_us(mono_now(), builder->heard) < within_ms * 1000;
}

/* Not by one that was stopped, goes on in the midst of it, and may have been overtaken. */
static void send_entry(struct builder *builder, const struct suppress_write *out)
{
    if (is_heard(builder, LEASE_MS / 2)) {
        send(builder, out->key, out->value);
    } else if (!builder->failed) {
        builder->failed = true;
        log_warn("suppression-not-written", "reason=\"was not heard for %d ms\"", LEASE_MS / 2);
    }
}

static void all_is_safe(struct builder *builder)
{
    for (size_t i = 0; i < builder->position_count; i++) {
        builder->positions[i].safe_offset = builder->positions[i].next_offset;
    }
}

/* How far we are is told only when the entries of all before it are acknowledged: whoever takes
 * over begins there. `released`: nobody's, so that the next one need not wait. */
static void send_progress(struct builder *builder, uint64_t epoch, bool released)
{
    struct suppression_position *positions =
        mem_calloc(builder->position_count + 1, sizeof(*positions));
    size_t count = 0;
    if (kafka_producer_flush(builder->producer, PROGRESS_MS) && !builder->failed) {
        all_is_safe(builder);
    }
    const struct suppression_progress progress = {
        .builder = released ? SLICE_NULL : slice_cstr(builder->name),
        .epoch = epoch,
        .time_ms = wall_now().ms,
    };
    for (size_t i = 0; i < builder->position_count; i++) {
        const struct position *position = &builder->positions[i];
        if (position->safe_offset >= 0) {
            positions[count++] = (struct suppression_position){
                slice_cstr(position->topic), position->partition, position->safe_offset};
        }
    }
    strbuf_reset(&builder->value);
    CHECK(suppression_progress_encode(&progress, positions, count, &builder->value));
    mem_free(positions);
    send(builder, SLICE(SUPPRESSION_PROGRESS_KEY), strbuf_slice(&builder->value));
    builder->next_progress = mono_add_ms(mono_now(), PROGRESS_MS);
}

/* ---- the list ---- */

static void set_position(struct builder *builder, struct slice topic, int32_t partition,
                         int64_t next_offset)
{
    for (size_t i = 0; i < builder->position_count; i++) {
        struct position *position = &builder->positions[i];
        if (position->partition == partition && slice_eq(slice_cstr(position->topic), topic)) {
            position->next_offset = next_offset;
            return;
        }
    }
    builder->positions = mem_realloc(builder->positions,
                                     (builder->position_count + 1) * sizeof(*builder->positions));
    struct position *position = &builder->positions[builder->position_count++];
    position->partition = partition;
    position->next_offset = next_offset;
    position->safe_offset = -1;
    snprintf(position->topic, sizeof(position->topic), "%.*s", SLICE_FMT(topic));
}

static void found_position(void *owner, const struct suppression_position *found)
{
    struct builder *builder = owner;
    set_position(builder, found->topic, found->partition, found->next_offset);
    all_is_safe(builder); /* only others' progress is taken over, before we have read anything */
}

static void ignore_position(void *owner, const struct suppression_position *found)
{
    (void)owner;
    (void)found;
}

static bool is_ours(const struct builder *builder)
{
    return builder->epoch > 0 && strcmp(builder->owner, builder->name) == 0;
}

/* Another's progress is taken over; our own says that we are heard. */
static void read_progress(struct builder *builder, const struct kafka_reader_record *record)
{
    struct suppression_progress progress;
    struct fault fault;
    if (!suppression_progress_decode(record->value, &progress, ignore_position, NULL, &fault)) {
        log_warn("suppression-progress-invalid", "offset=%" PRId64 " reason=\"%s\"", record->offset,
                 fault.text);
        return;
    }
    bool released = progress.builder.len == 0;
    if (progress.epoch > builder->epoch) {
        builder->epoch = progress.epoch;
        builder->claiming = false;
        snprintf(builder->owner, sizeof(builder->owner), "%.*s", SLICE_FMT(progress.builder));
    } else if (progress.epoch < builder->epoch ||
               (!released && !slice_eq(progress.builder, slice_cstr(builder->owner)))) {
        return; /* of one who was overtaken, or came second */
    }
    int64_t age_ms = builder->read_to_end ? 0 : wall_now().ms - record->timestamp_ms;
    builder->heard = mono_add_ms(mono_now(), age_ms > 0 ? -age_ms : 0);
    builder->released = released;
    if (!is_ours(builder)) {
        (void)suppression_progress_decode(record->value, &progress, found_position, builder, NULL);
    }
}

static void read_entry(struct builder *builder, const struct kafka_reader_record *record)
{
    struct suppress_write out;
    if (suppress_build_record(builder->build, record->key, record->value, wall_now().ms, &out)) {
        send_entry(builder, &out);
    }
}

/* All that is there. False: the reader failed. */
static bool read_list(struct builder *builder, int timeout_ms, struct fault *fault)
{
    struct kafka_reader_record record;
    for (;;) {
        switch (kafka_reader_next(builder->list, timeout_ms, &record, fault)) {
        case KAFKA_READ_RECORD:
            if (slice_eq(record.key, SLICE(SUPPRESSION_PROGRESS_KEY))) {
                read_progress(builder, &record);
            } else {
                read_entry(builder, &record);
            }
            break;
        case KAFKA_READ_NONE: return true;
        case KAFKA_READ_END: builder->read_to_end = true; return true;
        case KAFKA_READ_FAILED: return false;
        }
    }
}

/* ---- events ---- */

static void read_event(struct builder *builder, const struct kafka_reader_record *record)
{
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    struct event event;
    struct fault fault;
    struct suppress_write out;
    CHECK(arena != NULL);
    if (!event_decode(record->value, arena, &event, &fault)) {
        log_warn("event-invalid", "topic=%s partition=%" PRId32 " offset=%" PRId64 " reason=\"%s\"",
                 record->topic, record->partition, record->offset, fault.text);
    } else if (suppress_build_event(builder->build, &event, wall_now().ms, &out)) {
        send_entry(builder, &out);
    }
    arena_free(&arena);
    set_position(builder, slice_cstr(record->topic), record->partition, record->offset + 1);
}

static bool read_events(struct builder *builder, struct fault *fault)
{
    struct kafka_reader_record record;
    for (int i = 0; i < BATCH && !builder->failed; i++) {
        enum kafka_read got =
            kafka_reader_next(builder->sources, i == 0 ? WAIT_MS : 0, &record, fault);
        if (got != KAFKA_READ_RECORD) {
            return got != KAFKA_READ_FAILED;
        }
        read_event(builder, &record);
    }
    return true;
}

/* ---- who builds ---- */

static void claim(struct builder *builder)
{
    if (!builder->claiming) {
        log_info("suppression-claimed", "epoch=%" PRIu64 " builder=%s", builder->epoch + 1,
                 builder->name);
        send_progress(builder, builder->epoch + 1, false);
        builder->claiming = true;
    }
}

static bool begin_building(struct builder *builder, struct fault *fault)
{
    struct suppress_build_counts counts;
    const char *const topics[] = {builder->source_topics[SOURCE_BOUNCES],
                                  builder->source_topics[SOURCE_FEEDBACK]};
    struct kafka_reader_place *places = mem_calloc(builder->position_count + 1, sizeof(*places));
    for (size_t i = 0; i < builder->position_count; i++) {
        const struct position *position = &builder->positions[i];
        places[i] = (struct kafka_reader_place){position->topic, position->partition,
                                                position->next_offset};
    }
    builder->sources = kafka_reader_create_at(&builder->properties, topics, SOURCES, places,
                                              builder->position_count, fault);
    mem_free(places);
    suppress_build_claim(builder->build, builder->epoch);
    suppress_build_counts(builder->build, &counts);
    log_info("suppression-builder",
             "epoch=%" PRIu64 " in_force=%" PRIu64 " counted=%" PRIu64 " invalid=%" PRIu64,
             builder->epoch, counts.in_force, counts.counted, counts.invalid);
    return builder->sources != NULL;
}

static void delete_spent(struct builder *builder)
{
    struct suppress_write out;
    for (int i = 0; i < SPENT_BATCH && suppress_build_spent(builder->build, wall_now().ms, &out);
         i++) {
        send_entry(builder, &out);
    }
}

/* One turn of who builds. False: begin anew (fault says why). */
static bool build(struct builder *builder, struct fault *fault)
{
    if (builder->sources == NULL && !begin_building(builder, fault)) {
        return false;
    }
    if (is_heard(builder, LEASE_MS / 2) &&
        kafka_producer_pending(builder->producer) < PENDING_MAX && !read_events(builder, fault)) {
        return false;
    }
    if (!builder->failed && !mono_before(mono_now(), builder->next_progress)) {
        if (is_heard(builder, LEASE_MS / 2)) {
            delete_spent(builder);
        }
        send_progress(builder, builder->epoch, false);
    }
    return true;
}

/* One turn. */
static bool turn(struct builder *builder, struct fault *fault)
{
    bool building = builder->sources != NULL;
    (void)kafka_producer_poll(builder->producer, 0);
    if (!read_list(builder, building ? 0 : WAIT_MS, fault)) {
        return false;
    }
    if (building && !is_ours(builder)) {
        return fault_set(fault, FAULT_CLOSED, 0, "another builder has taken over");
    }
    if (builder->failed) {
        return fault_set(fault, FAULT_TEMPORARY, 0, "an entry could not be written");
    }
    if (is_ours(builder)) {
        return build(builder, fault);
    }
    if (builder->read_to_end && (builder->released || !is_heard(builder, LEASE_MS))) {
        claim(builder);
    }
    return true;
}

/* ---- life ---- */

static bool open_life(struct builder *builder, struct fault *fault)
{
    struct kafka_producer_options options;
    const char *const topics[] = {builder->list_topic};
    snprintf(builder->name + strcspn(builder->name, "/"), 32, "/%d/%08x", (int)getpid(),
             random_below(UINT32_MAX));
    builder->build = suppress_build_create(builder->config);
    builder->heard = mono_add_ms(mono_now(), -LEASE_MS);
    kafka_producer_options_default(&options);
    options.client_id = "sluice-bouncer-builder";
    options.linger_ms = LINGER_MS;
    options.delivery_timeout_ms = LEASE_MS / 2;
    builder->producer = kafka_producer_create(&builder->properties, &options, fault);
    builder->list = builder->producer == NULL
                        ? NULL
                        : kafka_reader_create(&builder->properties, topics, 1, -2, fault);
    return builder->list != NULL;
}

static void close_life(struct builder *builder)
{
    if (builder->producer != NULL) {
        (void)kafka_producer_flush(builder->producer, FLUSH_MS);
        kafka_producer_free(&builder->producer, 0);
    }
    kafka_reader_free(&builder->list);
    kafka_reader_free(&builder->sources);
    suppress_build_free(&builder->build);
    builder->failed = builder->read_to_end = false;
    builder->epoch = 0;
    builder->claiming = builder->released = false;
    builder->owner[0] = '\0';
    mem_free(builder->positions);
    builder->positions = NULL;
    builder->position_count = 0;
}

static bool is_stopped(const struct builder *builder)
{
    return atomic_load_explicit(&builder->stop, memory_order_relaxed) != 0;
}

static void *run(void *argument)
{
    struct builder *builder = argument;
    CHECK_MAGIC(builder, BUILDER_MAGIC);
    while (!is_stopped(builder)) {
        struct fault fault = {0};
        bool good = open_life(builder, &fault);
        while (good && !is_stopped(builder)) {
            good = turn(builder, &fault);
        }
        if (good && !builder->failed && builder->sources != NULL &&
            is_heard(builder, LEASE_MS / 2)) {
            send_progress(builder, builder->epoch, true);
        }
        close_life(builder);
        if (!good) {
            log_warn("suppression-builder-again", "reason=\"%s\"", fault.text);
            usleep(PAUSE_MS * 1000);
        }
    }
    return NULL;
}

struct builder *builder_start(const struct config *config,
                              const struct kafka_properties *properties)
{
    static const char *const sources[SOURCES] = {"bounces", "feedback"};
    struct builder *builder = mem_zalloc(sizeof(*builder));
    const char *prefix = config->kafka.prefix;
    builder->magic = BUILDER_MAGIC;
    builder->config = config;
    kafka_properties_copy(&builder->properties, properties);
    builder->delivery.done = on_delivery;
    CHECK(gethostname(builder->name, 100) == 0);
    snprintf(builder->list_topic, sizeof(builder->list_topic), "%ssuppression", prefix);
    for (size_t i = 0; i < SOURCES; i++) {
        snprintf(builder->source_topics[i], sizeof(builder->source_topics[i]), "%s%s", prefix,
                 sources[i]);
    }
    strbuf_init(&builder->value, PROGRESS_MAX_BYTES);
    CHECK(pthread_create(&builder->thread, NULL, run, builder) == 0);
    return builder;
}

void builder_stop(struct builder **handle)
{
    struct builder *builder = *handle;
    if (builder == NULL) {
        return;
    }
    CHECK_MAGIC(builder, BUILDER_MAGIC);
    atomic_store(&builder->stop, 1);
    CHECK(pthread_join(builder->thread, NULL) == 0);
    strbuf_free(&builder->value);
    kafka_properties_free(&builder->properties);
    builder->magic = 0;
    mem_free(builder);
    *handle = NULL;
}
