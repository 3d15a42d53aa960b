/*
 * Reading without a group. All partitions are assigned at explicit offsets; librdkafka tells when
 * it has read a partition to its end (which for aborted or open transactions lies behind the last
 * record handed out), and that decides KAFKA_READ_END. One thread.
 */
#include "kafka/reader.h"

#include "kafka/reading_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

#define READER_MAGIC 0x6b726561u
#define START_TIMEOUT_MS 10000

struct kafka_reader {
    uint32_t magic;
    rd_kafka_t *rk;
    rd_kafka_topic_partition_list_t *list; /* sorted */
    bool *ended;                           /* by place in the list */
    int open_count;                        /* not ended */
    bool end_told;
    rd_kafka_message_t *message; /* handed out */
};

/* What is read, and from where. */
struct wanted {
    int64_t from_ms; /* as kafka_reader_create() */
    const struct slice *keys;
    size_t key_count;                        /* 0: all partitions */
    const struct kafka_reader_place *places; /* instead of from_ms */
    size_t place_count;
};

static bool has_key(const struct wanted *wanted, rd_kafka_topic_t *topic, int32_t partition,
                    int32_t partition_count)
{
    bool found = wanted->key_count == 0;
    for (size_t i = 0; i < wanted->key_count && !found; i++) {
        found =
            rd_kafka_msg_partitioner_murmur2_random(topic, wanted->keys[i].ptr, wanted->keys[i].len,
                                                    partition_count, NULL, NULL) == partition;
    }
    return found;
}

static bool add_partitions(struct kafka_reader *reader, const char *name,
                           const struct wanted *wanted, struct fault *fault)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(reader->rk, name, NULL);
    if (handle == NULL) {
        return kafka_fault_set(fault, rd_kafka_last_error(), name);
    }
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t error =
        rd_kafka_metadata(reader->rk, 0, handle, &metadata, START_TIMEOUT_MS);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        error = metadata->topic_cnt == 1 ? metadata->topics[0].err
                                         : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        for (int i = 0;
             error == RD_KAFKA_RESP_ERR_NO_ERROR && i < metadata->topics[0].partition_cnt; i++) {
            int32_t partition = metadata->topics[0].partitions[i].id;
            if (has_key(wanted, handle, partition, metadata->topics[0].partition_cnt)) {
                rd_kafka_topic_partition_list_add(reader->list, name, partition);
            }
        }
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(handle);
    if (error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        return fault_set(fault, FAULT_NOT_FOUND, (int)error, "topic %s does not exist", name);
    }
    return error == RD_KAFKA_RESP_ERR_NO_ERROR || kafka_fault_set(fault, error, name);
}

static bool start(struct kafka_reader *reader, const char *const *topics, size_t count,
                  const struct wanted *wanted, struct fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        if (!add_partitions(reader, topics[i], wanted, fault)) {
            return false;
        }
    }
    rd_kafka_topic_partition_list_sort(reader->list, NULL, NULL);
    reader->ended = mem_calloc((size_t)reader->list->cnt + 1, sizeof(*reader->ended));
    reader->open_count = reader->list->cnt;
    for (int i = 0; i < reader->list->cnt; i++) {
        reader->list->elems[i].offset = wanted->from_ms == -2   ? RD_KAFKA_OFFSET_BEGINNING
                                        : wanted->from_ms == -1 ? RD_KAFKA_OFFSET_END
                                                                : wanted->from_ms;
    }
    if (!kafka_list_offsets(reader->rk, reader->list, START_TIMEOUT_MS, fault)) {
        return false;
    }
    for (int i = 0; i < reader->list->cnt; i++) {
        if (reader->list->elems[i].offset < 0) { /* nothing is that young */
            reader->list->elems[i].offset = RD_KAFKA_OFFSET_END;
        }
    }
    for (size_t i = 0; i < wanted->place_count; i++) {
        const struct kafka_reader_place *place = &wanted->places[i];
        rd_kafka_topic_partition_t *one =
            rd_kafka_topic_partition_list_find(reader->list, place->topic, place->partition);
        if (one != NULL) {
            one->offset = place->offset;
        }
    }
    rd_kafka_resp_err_t error = rd_kafka_assign(reader->rk, reader->list);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR || kafka_fault_set(fault, error, "reading");
}

static struct kafka_reader *create(const struct kafka_properties *properties,
                                   const char *const *topics, size_t count,
                                   const struct wanted *wanted, struct fault *fault)
{
    const struct kafka_reading reading = {
        .group = "sluice-reader",
        .partition_bytes = 1 << 20,
        .fetch_bytes = 4 << 20,
        /* It bounds the queue of all partitions together. A fetcher that finds it full sleeps for a
         * second, so this is also what can be read in a second: 20000 gave 80,000 events a second,
         * this 170,000 (and 150 MB at most). */
        .queued_messages = 100000,
        .wait_ms = 100,
    };
    rd_kafka_t *rk = kafka_reading_client(properties, &reading, fault);
    if (rk == NULL) {
        return NULL;
    }
    struct kafka_reader *reader = mem_zalloc(sizeof(*reader));
    reader->magic = READER_MAGIC;
    reader->rk = rk;
    reader->list = rd_kafka_topic_partition_list_new(64);
    if (!start(reader, topics, count, wanted, fault)) {
        kafka_reader_free(&reader);
        return NULL;
    }
    return reader;
}

struct kafka_reader *kafka_reader_create(const struct kafka_properties *properties,
                                         const char *const *topics, size_t count, int64_t from_ms,
                                         struct fault *fault)
{
    const struct wanted wanted = {.from_ms = from_ms};
    return create(properties, topics, count, &wanted, fault);
}

struct kafka_reader *kafka_reader_create_keys(const struct kafka_properties *properties,
                                              const char *topic, const struct slice *keys,
                                              size_t key_count, int64_t from_ms,
                                              struct fault *fault)
{
    const struct wanted wanted = {.from_ms = from_ms, .keys = keys, .key_count = key_count};
    return create(properties, &topic, 1, &wanted, fault);
}

struct kafka_reader *kafka_reader_create_at(const struct kafka_properties *properties,
                                            const char *const *topics, size_t count,
                                            const struct kafka_reader_place *places,
                                            size_t place_count, struct fault *fault)
{
    const struct wanted wanted = {.from_ms = -2, .places = places, .place_count = place_count};
    return create(properties, topics, count, &wanted, fault);
}

void kafka_reader_free(struct kafka_reader **pointer)
{
    struct kafka_reader *reader = *pointer;
    if (reader == NULL) {
        return;
    }
    CHECK_MAGIC(reader, READER_MAGIC);
    *pointer = NULL;
    if (reader->message != NULL) {
        rd_kafka_message_destroy(reader->message);
    }
    rd_kafka_consumer_close(reader->rk);
    rd_kafka_destroy(reader->rk);
    rd_kafka_topic_partition_list_destroy(reader->list);
    mem_free(reader->ended);
    reader->magic = 0;
    mem_free(reader);
}

/* Place in the sorted list; -1 none. */
static int place_of(const struct kafka_reader *reader, const rd_kafka_message_t *message)
{
    const char *name = rd_kafka_topic_name(message->rkt);
    int low = 0;
    int high = reader->list->cnt;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const rd_kafka_topic_partition_t *one = &reader->list->elems[middle];
        int order = strcmp(one->topic, name);
        if (order < 0 || (order == 0 && one->partition < message->partition)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < reader->list->cnt && reader->list->elems[low].partition == message->partition &&
        strcmp(reader->list->elems[low].topic, name) == 0) {
        return low;
    }
    return -1;
}

static void set_ended(struct kafka_reader *reader, const rd_kafka_message_t *message, bool ended)
{
    int at = place_of(reader, message);
    if (at >= 0 && reader->ended[at] != ended) {
        reader->ended[at] = ended;
        reader->open_count += ended ? -1 : 1;
    }
}

/* What a message of librdkafka's means; NONE: read on. */
static enum kafka_read judge(struct kafka_reader *reader, const rd_kafka_message_t *message,
                             struct fault *fault)
{
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        set_ended(reader, message, false);
        reader->end_told = false;
        return KAFKA_READ_RECORD;
    }
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        set_ended(reader, message, true);
        return KAFKA_READ_NONE;
    }
    return kafka_reading_failed(message, fault) ? KAFKA_READ_FAILED : KAFKA_READ_NONE;
}

enum kafka_read kafka_reader_next(struct kafka_reader *reader, int timeout_ms,
                                  struct kafka_reader_record *record, struct fault *fault)
{
    CHECK_MAGIC(reader, READER_MAGIC);
    struct mono_time end = mono_add_ms(mono_now(), timeout_ms);
    if (reader->message != NULL) {
        rd_kafka_message_destroy(reader->message);
        reader->message = NULL;
    }
    int wait_ms = 0;
    for (;;) {
        if (reader->open_count == 0 && !reader->end_told) {
            reader->end_told = true;
            return KAFKA_READ_END;
        }
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader->rk, wait_ms);
        if (message != NULL) {
            enum kafka_read result = judge(reader, message, fault);
            if (result == KAFKA_READ_RECORD) {
                reader->message = message;
                *record = kafka_reading_record(message);
                return result;
            }
            rd_kafka_message_destroy(message);
            if (result == KAFKA_READ_FAILED) {
                return result;
            }
        }
        int64_t left_us = mono_since_us(end, mono_now());
        if (left_us <= 0 && message == NULL) {
            return KAFKA_READ_NONE;
        }
        wait_ms = left_us <= 0 ? 0 : (int)(left_us / 1000) + 1;
    }
}

bool kafka_reader_header(const struct kafka_reader_record *record, const char *name,
                         struct slice *value)
{
    return kafka_message_header(record->handle, name, value);
}

int64_t kafka_reader_number(const struct kafka_reader_record *record, const char *name)
{
    struct slice text;
    uint64_t number;
    return kafka_reader_header(record, name, &text) && slice_to_u64(text, &number) &&
                   number <= INT64_MAX
               ? (int64_t)number
               : 0;
}
