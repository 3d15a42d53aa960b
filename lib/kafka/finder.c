/*
 * The partitions of one reading are assigned at explicit offsets and taken away again when it is
 * over; one that is enough is only passed over from then on, as taking it away alone would cost a
 * round trip in librdkafka's threads for each.
 */
#include "kafka/finder.h"

#include "kafka/reading_private.h"

#include "base/mem.h"

#include <string.h>

#define FINDER_MAGIC 0x66696e64u
#define POLL_MS 50
#define SAMPLE_BYTES (64 * 1024)

struct kafka_finder {
    uint32_t magic;
    rd_kafka_t *rk;
};

static struct kafka_finder *create(const struct kafka_properties *properties, const char *group,
                                   int partition_bytes, struct fault *fault)
{
    const struct kafka_reading reading = {
        .group = group,
        .group_fixed = true,
        .partition_bytes = partition_bytes,
        .fetch_bytes = 8 << 20,
        .queued_messages = 20000,
        .wait_ms = 10,
        .backoff_ms = 20,
    };
    rd_kafka_t *rk = kafka_reading_client(properties, &reading, fault);
    if (rk == NULL) {
        return NULL;
    }
    struct kafka_finder *finder = mem_zalloc(sizeof(*finder));
    finder->magic = FINDER_MAGIC;
    finder->rk = rk;
    return finder;
}

struct kafka_finder *kafka_finder_create(const struct kafka_properties *properties,
                                         const char *group, struct fault *fault)
{
    return create(properties, group, 1 << 20, fault);
}

struct kafka_finder *kafka_finder_create_sampling(const struct kafka_properties *properties,
                                                  const char *group, struct fault *fault)
{
    return create(properties, group, SAMPLE_BYTES, fault);
}

void kafka_finder_free(struct kafka_finder **handle)
{
    struct kafka_finder *finder = *handle;
    if (finder == NULL) {
        return;
    }
    CHECK_MAGIC(finder, FINDER_MAGIC);
    *handle = NULL;
    rd_kafka_consumer_close(finder->rk);
    rd_kafka_destroy(finder->rk);
    finder->magic = 0;
    mem_free(finder);
}

int kafka_finder_partitions(struct kafka_finder *finder, const char *topic, int timeout_ms,
                            struct fault *fault)
{
    CHECK_MAGIC(finder, FINDER_MAGIC);
    return kafka_partition_count(finder->rk, topic, timeout_ms, fault);
}

int32_t kafka_finder_partition_of(struct slice key, int partitions)
{
    return rd_kafka_msg_partitioner_murmur2(NULL, key.ptr, key.len, partitions, NULL, NULL);
}

static rd_kafka_topic_partition_list_t *list_of(const struct kafka_reader_place *places,
                                                size_t count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_list_add(list, places[i].topic, places[i].partition)->offset =
            places[i].offset;
    }
    return list;
}

static void copy_offsets(const rd_kafka_topic_partition_list_t *list,
                         struct kafka_reader_place *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *one =
            rd_kafka_topic_partition_list_find((rd_kafka_topic_partition_list_t *)(uintptr_t)list,
                                               places[i].topic, places[i].partition);
        places[i].offset = one == NULL || one->offset < 0 ? -1 : one->offset;
    }
}

/* ListOffsets with one time for all. */
static bool ask_times(struct kafka_finder *finder, struct kafka_reader_place *places, size_t count,
                      int64_t at_ms, int timeout_ms, struct fault *fault)
{
    rd_kafka_topic_partition_list_t *list = list_of(places, count);
    for (int i = 0; i < list->cnt; i++) {
        list->elems[i].offset = at_ms;
    }
    bool good = kafka_list_offsets(finder->rk, list, timeout_ms, fault);
    if (good) {
        copy_offsets(list, places, count);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return good;
}

/* Of partitions in which nothing is that young: the end. */
static bool ask_ends(struct kafka_finder *finder, struct kafka_reader_place *places, size_t count,
                     int timeout_ms, struct fault *fault)
{
    struct kafka_reader_place *ends = mem_calloc(count + 1, sizeof(*ends));
    size_t missing = 0;
    for (size_t i = 0; i < count; i++) {
        if (places[i].offset < 0) {
            ends[missing++] = places[i];
        }
    }
    bool good = ask_times(finder, ends, missing, RD_KAFKA_OFFSET_END, timeout_ms, fault);
    for (size_t i = 0, next = 0; good && i < count; i++) {
        if (places[i].offset < 0) {
            places[i].offset = ends[next++].offset;
        }
    }
    mem_free(ends);
    return good;
}

bool kafka_finder_times(struct kafka_finder *finder, struct kafka_reader_place *places,
                        size_t count, int64_t at_ms, int timeout_ms, struct fault *fault)
{
    CHECK_MAGIC(finder, FINDER_MAGIC);
    int64_t when = at_ms == KAFKA_FINDER_BEGINNING ? RD_KAFKA_OFFSET_BEGINNING
                   : at_ms == KAFKA_FINDER_END     ? RD_KAFKA_OFFSET_END
                                                   : at_ms;
    if (!ask_times(finder, places, count, when, timeout_ms, fault)) {
        return false;
    }
    return ask_ends(finder, places, count, timeout_ms, fault);
}

bool kafka_finder_committed(struct kafka_finder *finder, struct kafka_reader_place *places,
                            size_t count, int timeout_ms, struct fault *fault)
{
    CHECK_MAGIC(finder, FINDER_MAGIC);
    rd_kafka_topic_partition_list_t *list = list_of(places, count);
    rd_kafka_resp_err_t error = rd_kafka_committed(finder->rk, list, timeout_ms);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        copy_offsets(list, places, count);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ||
           kafka_fault_set(fault, error, "committed offsets");
}

/* ---- reading ---- */

struct reading {
    const struct kafka_reader_place *places;
    size_t count, open;
    bool *over; /* by place */
};

static size_t place_of(const struct reading *reading, const rd_kafka_message_t *message)
{
    const char *topic = rd_kafka_topic_name(message->rkt);
    size_t i = 0;
    while (i < reading->count && (reading->places[i].partition != message->partition ||
                                  strcmp(reading->places[i].topic, topic) != 0)) {
        i++;
    }
    return i;
}

static void close_place(struct reading *reading, size_t place)
{
    if (place < reading->count && !reading->over[place]) {
        reading->over[place] = true;
        reading->open--;
    }
}

/* False: it is over; *result says how. */
static bool take(struct reading *reading, rd_kafka_message_t *message,
                 enum kafka_finder_verdict (*visit)(void *owner,
                                                    const struct kafka_reader_record *record),
                 void *owner, enum kafka_finder_over *result, struct fault *fault)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        close_place(reading, place_of(reading, message));
        return true;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        *result = KAFKA_FINDER_FAILED;
        return !kafka_reading_failed(message, fault);
    }
    size_t place = place_of(reading, message);
    if (place == reading->count || reading->over[place]) {
        return true;
    }
    const struct kafka_reader_record record = kafka_reading_record(message);
    switch (visit(owner, &record)) {
    case KAFKA_FINDER_ON: return true;
    case KAFKA_FINDER_ENOUGH: close_place(reading, place); return true;
    case KAFKA_FINDER_STOP: break;
    }
    *result = KAFKA_FINDER_STOPPED;
    return false;
}

enum kafka_finder_over kafka_finder_read(
    struct kafka_finder *finder, const struct kafka_reader_place *places, size_t count,
    struct mono_time deadline,
    enum kafka_finder_verdict (*visit)(void *owner, const struct kafka_reader_record *record),
    void *owner, struct fault *fault)
{
    CHECK_MAGIC(finder, FINDER_MAGIC);
    struct reading reading = {places, count, count, mem_calloc(count + 1, sizeof(bool))};
    enum kafka_finder_over result = KAFKA_FINDER_DONE;
    rd_kafka_topic_partition_list_t *list = list_of(places, count);
    rd_kafka_resp_err_t error = rd_kafka_assign(finder->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        kafka_fault_set(fault, error, "reading");
        result = KAFKA_FINDER_FAILED;
        reading.open = 0;
    }
    bool going = true;
    while (going && reading.open > 0) {
        if (!mono_before(mono_now(), deadline)) {
            result = KAFKA_FINDER_LATE;
            break;
        }
        rd_kafka_message_t *message = rd_kafka_consumer_poll(finder->rk, POLL_MS);
        if (message != NULL) {
            going = take(&reading, message, visit, owner, &result, fault);
            rd_kafka_message_destroy(message);
        }
    }
    if (going && reading.open == 0 && error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        result = KAFKA_FINDER_DONE;
    }
    (void)rd_kafka_assign(finder->rk, NULL);
    mem_free(reading.over);
    return result;
}
