/*
 * Records and tickets, and holding a partition back.
 *
 * librdkafka's pause throws away what was fetched, and resume fetches it again: at one record held
 * after the other that would be a fetch of up to 1 MB for each. So a partition that the owner holds
 * is not paused: its records that come up in the queue of its class are copied aside into its
 * stash, and handed out first when it is resumed. Only when the stash is full (a share of 16 MB)
 * librdkafka is told to pause, and to resume when the stash has been emptied to a quarter. Since
 * librdkafka goes on behind the record that it last gave us, nothing is lost or seen twice; were
 * it, the offset tracker would find out (OFFSETS_BEHIND).
 */
#include "kafka/consumer_private.h"

#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* What a copy costs in memory beside its bytes, and a header of it. */
#define RECORD_OVERHEAD_BYTES 160
#define HEADER_OVERHEAD_BYTES 96

/* A record held back: copied, because librdkafka's message pins the batch, up to 1 MB, in which it
 * came. Where there is no memory for a copy the message itself is kept. */
struct stashed {
    struct list node;
    rd_kafka_message_t *message; /* NULL: copied */
    char *bytes;                 /* key and value */
    int64_t offset;
    int64_t timestamp_ms;
    rd_kafka_headers_t *headers; /* own; NULL none */
    size_t memory_bytes;         /* estimate */
    struct slice key, value;
};

struct kafka_consumer *consumer_of(rd_kafka_t *rk)
{
    struct kafka_consumer *consumer = rd_kafka_opaque(rk);
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    return consumer;
}

struct kafka_topic *consumer_topic(struct kafka_consumer *consumer, const char *name)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        if (strcmp(consumer->topics[i].name, name) == 0) {
            return &consumer->topics[i];
        }
    }
    return NULL;
}

struct kafka_partition *consumer_partition(struct kafka_topic *topic, int32_t id)
{
    CHECK(id >= 0);
    size_t at = (size_t)id;
    if (at >= topic->partition_count) {
        topic->partitions =
            mem_realloc(topic->partitions, (at + 1) * sizeof(struct kafka_partition *));
        while (topic->partition_count <= at) {
            topic->partitions[topic->partition_count++] = NULL;
        }
    }
    if (topic->partitions[at] == NULL) {
        struct kafka_partition *partition = mem_zalloc(sizeof(*partition));
        partition->magic = PARTITION_MAGIC;
        partition->topic = topic;
        partition->id = id;
        list_init(&partition->stash);
        topic->partitions[at] = partition;
    }
    return topic->partitions[at];
}

/* Pauses or resumes in librdkafka as the stash demands. */
static void flow_control(struct kafka_consumer *consumer, struct kafka_partition *partition)
{
    size_t limit = consumer->queues[partition->topic->source].stash_limit;
    bool pause = !partition->paused && partition->stash_bytes >= limit;
    bool resume = partition->paused && partition->stash_bytes <= limit / 4;
    if (!pause && !resume) {
        return;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, partition->topic->name, partition->id);
    if (pause) {
        rd_kafka_pause_partitions(consumer->rk, list);
    } else {
        rd_kafka_resume_partitions(consumer->rk, list);
    }
    if (list->elems[0].err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        partition->paused = pause;
        consumer->pauses += pause;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static void ready_update(struct kafka_consumer *consumer, struct kafka_partition *partition)
{
    bool ready = partition->assigned && !partition->held && !list_empty(&partition->stash);
    if (ready && !list_linked(&partition->ready)) {
        list_push_back(&consumer->queues[partition->topic->source].ready, &partition->ready);
    } else if (!ready) {
        list_remove(&partition->ready);
    }
}

static int64_t message_time_ms(const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    return rd_kafka_message_timestamp(message, &type);
}

static struct slice maybe_slice(const void *bytes, size_t len)
{
    return bytes == NULL ? SLICE_NULL : slice_of(bytes, len);
}

static struct slice copy_slice(char *to, struct slice from)
{
    if (from.len > 0) {
        memcpy(to, from.ptr, from.len);
    }
    return from.ptr == NULL ? SLICE_NULL : slice_of(to, from.len);
}

/* Takes the message. What a partition may hold is bounded by flow_control(), but for one record of
 * whatever size. */
static void stash_push(struct kafka_partition *partition, rd_kafka_message_t *message)
{
    struct stashed *one = mem_zalloc(sizeof(*one));
    one->offset = message->offset;
    one->timestamp_ms = message_time_ms(message);
    one->key = maybe_slice(message->key, message->key_len);
    one->value = maybe_slice(message->payload, message->len);
    one->memory_bytes = sizeof(*one) + one->key.len + one->value.len + RECORD_OVERHEAD_BYTES;
    if (rd_kafka_message_detach_headers(message, &one->headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        one->memory_bytes += rd_kafka_header_cnt(one->headers) * HEADER_OVERHEAD_BYTES;
    } else {
        one->headers = NULL;
    }
    one->bytes = mem_try_alloc(one->key.len + one->value.len + 1);
    if (one->bytes != NULL) {
        one->key = copy_slice(one->bytes, one->key);
        one->value = copy_slice(one->bytes + one->key.len, one->value);
        rd_kafka_message_destroy(message);
    } else {
        one->message = message;
    }
    list_push_back(&partition->stash, &one->node);
    partition->stash_bytes += one->memory_bytes;
}

static struct stashed *stash_pop(struct kafka_partition *partition)
{
    struct list *node = list_pop_front(&partition->stash);
    if (node == NULL) {
        return NULL;
    }
    struct stashed *one = CONTAINER_OF(node, struct stashed, node);
    partition->stash_bytes -= one->memory_bytes;
    return one;
}

static void stashed_free(struct stashed *one)
{
    if (one->headers != NULL) {
        rd_kafka_headers_destroy(one->headers);
    }
    if (one->message != NULL) {
        rd_kafka_message_destroy(one->message);
    }
    mem_free(one->bytes);
    mem_free(one);
}

void consumer_stash_drop(struct kafka_partition *partition)
{
    struct stashed *one;
    while ((one = stash_pop(partition)) != NULL) {
        stashed_free(one);
    }
    list_remove(&partition->ready);
}

/* Opens the ticket and begins the record. False: it is not to be handed out (complete already, or
 * seen before). */
static bool open_record(struct kafka_consumer *consumer, struct kafka_partition *partition,
                        int64_t offset, struct kafka_record *record)
{
    enum offsets_opened opened = offsets_open(&partition->offsets, offset);
    if (opened != OFFSETS_OPENED) {
        unsigned suppressed;
        if (opened == OFFSETS_BEHIND && kafka_log_allowed(&consumer->error_limit, 5, &suppressed)) {
            log_error("record-again",
                      "topic=%s partition=%d offset=%" PRId64 " expected=%" PRId64 " suppressed=%u",
                      partition->topic->name, partition->id, offset, partition->offsets.next,
                      suppressed);
        }
        return false;
    }
    consumer->open_tickets++;
    *record = (struct kafka_record){
        .partition = partition,
        .source = partition->topic->source,
        .index = partition->topic->index,
        .topic = partition->topic->name,
        .partition_id = partition->id,
        .offset = offset,
    };
    return true;
}

/* Both take what they are given. */
static bool hand_out_message(struct kafka_consumer *consumer, struct kafka_partition *partition,
                             rd_kafka_message_t *message, struct kafka_record *record)
{
    if (!open_record(consumer, partition, message->offset, record)) {
        rd_kafka_message_destroy(message);
        return false;
    }
    record->timestamp_ms = message_time_ms(message);
    record->key = maybe_slice(message->key, message->key_len);
    record->value = maybe_slice(message->payload, message->len);
    record->handle = message;
    return true;
}

static bool hand_out_stashed(struct kafka_consumer *consumer, struct kafka_partition *partition,
                             struct stashed *one, struct kafka_record *record)
{
    if (!open_record(consumer, partition, one->offset, record)) {
        stashed_free(one);
        return false;
    }
    record->timestamp_ms = one->timestamp_ms;
    record->key = one->key;
    record->value = one->value;
    record->handle = one;
    record->copied = true;
    return true;
}

/* The partition of a message that librdkafka has just given, or NULL when it is not ours (any
 * more). Moves its position on. */
static struct kafka_partition *partition_of(struct kafka_consumer *consumer,
                                            struct source_queue *queue,
                                            const rd_kafka_message_t *message)
{
    const char *name = rd_kafka_topic_name(message->rkt);
    if (queue->last == NULL || strcmp(queue->last->name, name) != 0) {
        queue->last = consumer_topic(consumer, name);
    }
    if (queue->last == NULL || message->partition < 0 ||
        (size_t)message->partition >= queue->last->partition_count) {
        return NULL;
    }
    struct kafka_partition *partition = queue->last->partitions[message->partition];
    if (partition == NULL || !partition->assigned) {
        return NULL;
    }
    partition->position = message->offset + 1;
    return partition;
}

bool kafka_consumer_take(struct kafka_consumer *consumer, enum kafka_source source,
                         struct kafka_record *record)
{
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    struct source_queue *queue = &consumer->queues[source];
    while (!consumer->stopped) {
        if (!list_empty(&queue->ready)) {
            struct kafka_partition *partition =
                CONTAINER_OF(queue->ready.next, struct kafka_partition, ready);
            struct stashed *one = stash_pop(partition);
            CHECK(one != NULL);
            ready_update(consumer, partition);
            flow_control(consumer, partition);
            if (hand_out_stashed(consumer, partition, one, record)) {
                return true;
            }
            continue;
        }
        rd_kafka_message_t *message = rd_kafka_consume_queue(queue->queue, 0);
        if (message == NULL) {
            return false;
        }
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            consumer_error(consumer, message);
            rd_kafka_message_destroy(message);
            continue;
        }
        struct kafka_partition *partition = partition_of(consumer, queue, message);
        if (partition == NULL) {
            rd_kafka_message_destroy(message); /* was on its way when the partition was revoked */
        } else if (partition->held) {
            stash_push(partition, message);
            flow_control(consumer, partition);
        } else if (hand_out_message(consumer, partition, message, record)) {
            return true;
        }
    }
    return false;
}

void kafka_record_free(struct kafka_record *record)
{
    if (record->handle == NULL) {
        return;
    }
    if (record->copied) {
        stashed_free(record->handle);
    } else {
        rd_kafka_message_destroy(record->handle);
    }
    record->handle = NULL;
    record->key = SLICE_NULL;
    record->value = SLICE_NULL;
}

bool kafka_record_header(const struct kafka_record *record, const char *name, struct slice *value)
{
    if (record->copied && record->handle != NULL) {
        const struct stashed *one = record->handle;
        return kafka_header_last(one->headers, name, value);
    }
    return kafka_message_header(record->handle, name, value);
}

struct kafka_ticket kafka_record_ticket(const struct kafka_record *record)
{
    struct kafka_ticket ticket =
        kafka_record_ticket_of(record->partition, record->partition->epoch, record->offset);
    ticket.claim = record->partition->claim;
    return ticket;
}

bool kafka_ticket_valid(const struct kafka_ticket *ticket)
{
    CHECK_MAGIC(ticket->partition, PARTITION_MAGIC);
    return ticket->partition->assigned && ticket->partition->epoch == ticket->epoch;
}

void kafka_ticket_complete(struct kafka_consumer *consumer, struct kafka_ticket ticket)
{
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    if (!kafka_ticket_valid(&ticket)) {
        return;
    }
    bool was_open = offsets_complete(&ticket.partition->offsets, ticket.offset);
    CHECK(was_open);
    consumer->open_tickets--;
    if (ticket.offset > ticket.partition->highest_complete) {
        ticket.partition->highest_complete = ticket.offset;
    }
}

bool kafka_partition_is_leaving(const struct kafka_partition *partition)
{
    return atomic_load_explicit(&partition->leaving, memory_order_acquire);
}

int64_t kafka_partition_highest_complete(const struct kafka_partition *partition)
{
    return partition->highest_complete;
}

void kafka_partition_pause(struct kafka_consumer *consumer, struct kafka_partition *partition)
{
    CHECK_MAGIC(partition, PARTITION_MAGIC);
    if (partition->assigned && !partition->held) {
        partition->held = true;
        ready_update(consumer, partition);
    }
}

void kafka_partition_resume(struct kafka_consumer *consumer, struct kafka_partition *partition)
{
    CHECK_MAGIC(partition, PARTITION_MAGIC);
    if (!partition->assigned || !partition->held) {
        return;
    }
    partition->held = false;
    ready_update(consumer, partition);
    if (list_linked(&partition->ready) && consumer->event_fd >= 0) {
        uint64_t one = 1;
        ssize_t written = write(consumer->event_fd, &one, sizeof(one));
        (void)written; /* a full eventfd is readable already */
    }
}

const char *kafka_partition_topic(const struct kafka_partition *partition)
{
    return partition->topic->name;
}

int32_t kafka_partition_id(const struct kafka_partition *partition)
{
    return partition->id;
}

size_t kafka_partition_open_tickets(const struct kafka_partition *partition)
{
    return partition->assigned ? partition->offsets.open : 0;
}

void kafka_consumer_misplace(struct kafka_consumer *consumer, struct kafka_partition *partition,
                             int64_t offset)
{
    CHECK(partition->assigned && partition->offsets.open == 0);
    consumer_stash_drop(partition);
    offsets_free(&partition->offsets);
    offsets_init(&partition->offsets, offset);
    consumer->stopped = true;
}
