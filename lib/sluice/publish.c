/*
 * The handle and publishing. One publication is one block of memory: the callback, the id and the
 * encoded record, which Kafka's client borrows until its report; exactly one report per accepted
 * record frees it.
 */
#include "sluice/sluice_private.h"

#include "base/mem.h"
#include "base/strbuf.h"
#include "kafka/producer.h"
#include "policy/config.h"
#include "schema/headers.h"

#define SLUICE_MAGIC 0x736c7563u
#define PUBLICATION_MAGIC 0x70756231u
#define TOPIC_MAX 249
#define STREAM_MAX 64
#define DEFAULT_PREFIX "sluice."
#define DEFAULT_STREAM "bulk"
#define RECORD_MAX_BYTES (INT64_C(26) << 20)

struct sluice {
    uint32_t magic;
    char *prefix;
    struct kafka_producer *producer;
};

struct publication {
    uint32_t magic;
    struct kafka_delivery delivery;
    sluice_delivered callback;
    void *opaque;
    char id[UUID_TEXT_LEN + 1];
    uint8_t record[];
};

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
        struct kafka_property *items = mem_calloc(kafka->property_count + 1, sizeof(*items));
        items[0] = (struct kafka_property){"bootstrap.servers", kafka->bootstrap_servers};
        for (size_t i = 0; i < kafka->property_count; i++) {
            items[i + 1] =
                (struct kafka_property){kafka->properties[i].name, kafka->properties[i].value};
        }
        struct kafka_properties all = {items, kafka->property_count + 1};
        sluice = open_with(&all, kafka->prefix, &fault);
        mem_free(items);
    }
    config_free(&config);
    (void)error_from_fault(error, &fault);
    return sluice;
}

static void on_delivery(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                        const struct fault *fault)
{
    struct publication *publication = CONTAINER_OF(delivery, struct publication, delivery);
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
        };
        publication->callback(publication->opaque, &report);
    }
    publication->magic = 0;
    mem_free(publication);
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

static bool send_record(struct sluice *sluice, const char *topic, const struct message *message,
                        sluice_delivered callback, void *opaque, struct fault *fault)
{
    size_t bytes = message_encoded_size(message);
    struct publication *publication = mem_try_alloc(sizeof(*publication) + bytes);
    if (publication == NULL) {
        return fault_set(fault, FAULT_LIMIT, 0, "out of memory");
    }
    *publication = (struct publication){
        .magic = PUBLICATION_MAGIC,
        .delivery.done = on_delivery,
        .callback = callback,
        .opaque = opaque,
    };
    memcpy(publication->id, message->id.ptr, UUID_TEXT_LEN);
    message_encode(message, publication->record);
    struct kafka_header header = {HEADER_ID, message->id};
    struct kafka_record_out record = {
        .topic = topic,
        .partition = -1,
        .key = message->domain,
        .value = slice_of(publication->record, bytes),
        .borrow_value = true,
        .headers = &header,
        .header_count = 1,
        .delivery = &publication->delivery,
    };
    if (!kafka_producer_send(sluice->producer, &record, fault)) {
        mem_free(publication);
        return false;
    }
    return true;
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
        if (converted.id.len == 0) {
            sluice_new_id(id);
            converted.id = slice_of(id, UUID_TEXT_LEN);
        }
        (void)send_record(sluice, topic, &converted, callback, opaque, &fault);
    }
    arena_free(&arena);
    return error_from_fault(error, &fault);
}

int sluice_poll(struct sluice *sluice, int timeout_ms)
{
    CHECK_MAGIC(sluice, SLUICE_MAGIC);
    return kafka_producer_poll(sluice->producer, timeout_ms);
}

int sluice_flush(struct sluice *sluice, int timeout_ms)
{
    CHECK_MAGIC(sluice, SLUICE_MAGIC);
    if (kafka_producer_flush(sluice->producer, timeout_ms)) {
        return 0;
    }
    return kafka_producer_pending(sluice->producer);
}

void sluice_close(struct sluice **handle, int timeout_ms)
{
    struct sluice *sluice = *handle;
    if (sluice == NULL) {
        return;
    }
    CHECK_MAGIC(sluice, SLUICE_MAGIC);
    kafka_producer_free(&sluice->producer, timeout_ms);
    sluice->magic = 0;
    mem_free(sluice->prefix);
    mem_free(sluice);
    *handle = NULL;
}
