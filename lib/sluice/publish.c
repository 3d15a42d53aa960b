/*
 * The handle and publishing. One publication is one block of memory: the callback, the id and the
 * encoded record, which Kafka's client borrows until its report; exactly one report per accepted
 * record frees it. What has an idempotency key goes by keyed.c to Kafka's client.
 */
#include "sluice/sluice_private.h"

#include "base/mem.h"
#include "base/strbuf.h"
#include "policy/config.h"
#include "schema/headers.h"

#define TOPIC_MAX 249
#define STREAM_MAX 64
#define DEFAULT_PREFIX "sluice."
#define DEFAULT_STREAM "bulk"
#define RECORD_MAX_BYTES (INT64_C(26) << 20)
#define FLUSH_STEP_MS 10

static struct sluice *open_with(const struct kafka_properties *properties, const char *prefix,
                                struct fault *fault)
{
    struct kafka_producer_options options;
    kafka_producer_options_default(&options);
    options.client_id = "libsluice";
    options.max_message_bytes = RECORD_MAX_BYTES;
    struct kafka_producer *producer = kafka_producer_create(properties, &options, fault);
    if (producer == NULL) {
        return NULL;
    }
    struct sluice *sluice = mem_zalloc(sizeof(*sluice));
    sluice->magic = SLUICE_MAGIC;
    sluice->prefix = mem_strdup(prefix);
    sluice->producer = producer;
    kafka_properties_copy(&sluice->properties, properties);
    CHECK(pthread_mutex_init(&sluice->mutex, NULL) == 0);
    return sluice;
}

struct sluice *sluice_open(const struct sluice_property *properties, size_t count,
                           const char *topic_prefix, struct sluice_error *error)
{
    struct fault fault = {0};
    struct kafka_property *items = mem_calloc(count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct kafka_property){properties[i].name, properties[i].value};
    }
    struct kafka_properties all = {items, count};
    struct sluice *sluice =
        open_with(&all, topic_prefix == NULL ? DEFAULT_PREFIX : topic_prefix, &fault);
    mem_free(items);
    (void)error_from_fault(error, &fault);
    return sluice;
}

struct sluice *sluice_open_config(const char *path, struct sluice_error *error)
{
    struct fault fault = {0};
    struct config *config = config_load(path, &fault);
    struct sluice *sluice = NULL;
    if (config != NULL) {
        const struct config_kafka *kafka = &config->kafka;
        struct kafka_properties all;
        kafka_properties_from_config(&all, kafka);
        sluice = open_with(&all, kafka->prefix, &fault);
        kafka_properties_free(&all);
        if (sluice != NULL) {
            struct redis_options redis;
            redis_options_from_config(&redis, &config->redis);
            redis_set(sluice, &redis);
            sluice->config = config;
            config = NULL;
        }
    }
    config_free(&config);
    (void)error_from_fault(error, &fault);
    return sluice;
}

void publication_end(struct publication *publication, int32_t partition, int64_t offset,
                     bool recognised, const struct fault *fault)
{
    CHECK_MAGIC(publication, PUBLICATION_MAGIC);
    if (publication->callback != NULL) {
        struct sluice_error error = {SLUICE_OK, ""};
        if (fault != NULL) {
            (void)error_from_fault(&error, fault);
        }
        struct sluice_delivery report = {
            .result = error.result,
            .text = error.text,
            .id = publication->id,
            .partition = fault == NULL ? partition : -1,
            .offset = fault == NULL ? offset : -1,
            .recognised = recognised,
            .unguarded = publication->unguarded,
        };
        publication->callback(publication->opaque, &report);
    }
    publication->magic = 0;
    mem_free(publication);
}

static void on_delivery(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                        const struct fault *fault)
{
    struct publication *publication = CONTAINER_OF(delivery, struct publication, delivery);
    CHECK_MAGIC(publication, PUBLICATION_MAGIC);
    if (publication->keyed != NULL) {
        keyed_reported(publication, partition, offset, fault == NULL);
    }
    publication_end(publication, partition, offset, false, fault);
}

bool publication_send(struct sluice *sluice, struct publication *publication, const char *topic,
                      struct slice key, struct fault *fault)
{
    struct kafka_header header = {HEADER_ID, slice_of(publication->id, UUID_TEXT_LEN)};
    struct kafka_record_out record = {
        .topic = topic,
        .partition = -1,
        .key = key,
        .value = slice_of(publication->record, publication->bytes),
        .borrow_value = true,
        .headers = &header,
        .header_count = 1,
        .delivery = &publication->delivery,
    };
    return kafka_producer_send(sluice->producer, &record, fault);
}

/* A stream's name is part of a topic's. */
static bool topic_of(const struct sluice *sluice, const char *stream, char topic[TOPIC_MAX + 1],
                     struct fault *fault)
{
    struct slice name = slice_cstr(stream == NULL ? DEFAULT_STREAM : stream);
    bool good = name.len > 0 && name.len <= STREAM_MAX;
    for (size_t i = 0; i < name.len; i++) {
        char c = ascii_lower_byte(name.ptr[i]);
        good = good && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                        c == '.');
    }
    if (!good) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "stream: not 1 to %d characters of [A-Za-z0-9._-]", STREAM_MAX);
    }
    int used = snprintf(topic, TOPIC_MAX + 1, "%sq.%s", sluice->prefix, name.ptr);
    return (used > 0 && used <= TOPIC_MAX) ||
           fault_set(fault, FAULT_INVALID, 0, "stream: the topic's name is longer than %d bytes",
                     TOPIC_MAX);
}

static bool publish(struct sluice *sluice, const char *topic, const struct message *message,
                    sluice_delivered callback, void *opaque, struct fault *fault)
{
    size_t bytes = message_encoded_size(message);
    struct publication *publication = mem_try_alloc(sizeof(*publication) + bytes);
    if (publication == NULL) {
        return fault_set(fault, FAULT_LIMIT, 0, "out of memory");
    }
    bool keyed = message->idempotency_key.len > 0;
    *publication = (struct publication){
        .magic = PUBLICATION_MAGIC,
        .delivery.done = on_delivery,
        .callback = callback,
        .opaque = opaque,
        .unguarded = keyed && !sluice->has_redis,
        .bytes = bytes,
    };
    memcpy(publication->id, message->id.ptr, UUID_TEXT_LEN);
    message_encode(message, publication->record);
    bool ok = keyed && sluice->has_redis
                  ? keyed_publish(sluice, publication, topic, message->domain, fault)
                  : publication_send(sluice, publication, topic, message->domain, fault);
    if (!ok) {
        mem_free(publication);
    }
    return ok;
}

enum sluice_result sluice_publish(struct sluice *sluice, const struct sluice_message *message,
                                  sluice_delivered callback, void *opaque,
                                  struct sluice_error *error)
{
    char topic[TOPIC_MAX + 1];
    char id[UUID_TEXT_LEN + 1];
    struct message converted;
    struct fault fault = {0};
    CHECK_MAGIC(sluice, SLUICE_MAGIC);
    struct arena *arena = arena_create(CONVERT_FIRST_BYTES, CONVERT_MAX_BYTES);
    if (arena == NULL) {
        fault_set(&fault, FAULT_LIMIT, 0, "out of memory");
    } else if (convert_message(message, arena, &converted, &fault) &&
               topic_of(sluice, message->stream, topic, &fault)) {
        if (suppressed_next(sluice, &converted, 0, error) < converted.recipient_count) {
            arena_free(&arena);
            return SLUICE_SUPPRESSED;
        }
        if (converted.idempotency_key.len > 0) {
            message_id_of_key(converted.tenant, converted.idempotency_key, id);
            converted.id = slice_of(id, UUID_TEXT_LEN);
        } else if (converted.id.len == 0) {
            sluice_new_id(id);
            converted.id = slice_of(id, UUID_TEXT_LEN);
        }
        (void)publish(sluice, topic, &converted, callback, opaque, &fault);
    }
    arena_free(&arena);
    return error_from_fault(error, &fault);
}

int sluice_poll(struct sluice *sluice, int timeout_ms)
{
    CHECK_MAGIC(sluice, SLUICE_MAGIC);
    int count = keyed_poll(sluice);
    count += kafka_producer_poll(sluice->producer, count > 0 ? 0 : timeout_ms);
    return count + keyed_poll(sluice);
}

int sluice_flush(struct sluice *sluice, int timeout_ms)
{
    CHECK_MAGIC(sluice, SLUICE_MAGIC);
    struct mono_time end = mono_add_ms(mono_now(), timeout_ms);
    int left;
    while ((left = keyed_open(sluice)) > 0 && mono_before(mono_now(), end)) {
        (void)sluice_poll(sluice, FLUSH_STEP_MS);
    }
    int64_t left_ms = mono_since_us(end, mono_now()) / 1000;
    if (kafka_producer_flush(sluice->producer, left_ms > 0 ? (int)left_ms : 0)) {
        return left;
    }
    return left + kafka_producer_pending(sluice->producer);
}

void sluice_close(struct sluice **handle, int timeout_ms)
{
    struct sluice *sluice = *handle;
    if (sluice == NULL) {
        return;
    }
    CHECK_MAGIC(sluice, SLUICE_MAGIC);
    (void)sluice_flush(sluice, timeout_ms);
    keyed_stop(sluice);
    (void)keyed_poll(sluice);
    kafka_producer_free(&sluice->producer, 0);
    keyed_free(sluice);
    redis_options_end(&sluice->redis);
    suppressed_free(sluice);
    config_free(&sluice->config);
    kafka_properties_free(&sluice->properties);
    pthread_mutex_destroy(&sluice->mutex);
    sluice->magic = 0;
    mem_free(sluice->prefix);
    mem_free(sluice);
    *handle = NULL;
}
