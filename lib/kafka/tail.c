/*
 * Tails: an assign-only consumer whose partitions are added and taken away one by one.
 *
 * The end. librdkafka tells PARTITION_EOF when its position has come to the end of what the broker
 * lets it read: the high watermark, or with read_committed the last stable offset, behind control
 * markers and aborted records too. Every fetch also brings the high watermark, whatever the
 * isolation. The watermark at the first EOF after a start is the goal (it is not older than the
 * start); an EOF at or behind it is the end. With an open transaction the last stable offset lies
 * below; another EOF comes when it has moved.
 */
#include "kafka/tail.h"

#include "kafka/reading_private.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

#include <string.h>

#define TAIL_MAGIC 0x6b746169u
#define GOAL_UNKNOWN (-1)

struct followed {
    struct list node;
    char *topic;
    int32_t partition;
    int64_t goal;
    bool ended;
};

struct kafka_tail {
    uint32_t magic;
    rd_kafka_t *rk;
    struct list followed;
    rd_kafka_message_t *message; /* handed out */
};

struct kafka_tail *kafka_tail_create(const struct kafka_properties *properties,
                                     const char *client_id, bool committed, struct fault *fault)
{
    const struct kafka_reading reading = {
        .client_id = client_id,
        .group = "sluice-tail",
        .uncommitted = !committed,
        .partition_bytes = 4 << 20,
        .fetch_bytes = 32 << 20,
        .wait_ms = 20,
        .backoff_ms = 50,
    };
    rd_kafka_t *rk = kafka_reading_client(properties, &reading, fault);
    if (rk == NULL) {
        return NULL;
    }
    struct kafka_tail *tail = mem_zalloc(sizeof(*tail));
    tail->magic = TAIL_MAGIC;
    tail->rk = rk;
    list_init(&tail->followed);
    return tail;
}

static void message_drop(struct kafka_tail *tail)
{
    if (tail->message != NULL) {
        rd_kafka_message_destroy(tail->message);
        tail->message = NULL;
    }
}

static void followed_free(struct followed *followed)
{
    list_remove(&followed->node);
    mem_free(followed->topic);
    mem_free(followed);
}

void kafka_tail_free(struct kafka_tail **pointer)
{
    struct kafka_tail *tail = *pointer;
    if (tail == NULL) {
        return;
    }
    CHECK_MAGIC(tail, TAIL_MAGIC);
    *pointer = NULL;
    message_drop(tail);
    rd_kafka_consumer_close(tail->rk);
    rd_kafka_destroy(tail->rk);
    list_foreach_safe (node, after, &tail->followed) {
        followed_free(CONTAINER_OF(node, struct followed, node));
    }
    tail->magic = 0;
    mem_free(tail);
}

bool kafka_tail_warm_up(struct kafka_tail *tail, const char *topic, int timeout_ms,
                        struct fault *fault)
{
    CHECK_MAGIC(tail, TAIL_MAGIC);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(tail->rk, topic, NULL);
    if (handle == NULL) {
        return kafka_fault_set(fault, rd_kafka_last_error(), topic);
    }
    bool ok = kafka_touch_topic(tail->rk, handle, timeout_ms, fault);
    rd_kafka_topic_destroy(handle);
    return ok;
}

static struct followed *find(const struct kafka_tail *tail, const char *topic, int32_t partition)
{
    list_foreach (node, &tail->followed) {
        struct followed *one = CONTAINER_OF(node, struct followed, node);
        if (one->partition == partition && strcmp(one->topic, topic) == 0) {
            return one;
        }
    }
    return NULL;
}

static bool assign(struct kafka_tail *tail, const struct followed *followed, int64_t from, bool add,
                   struct fault *fault)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, followed->topic, followed->partition)->offset = from;
    rd_kafka_error_t *error = add ? rd_kafka_incremental_assign(tail->rk, list)
                                  : rd_kafka_incremental_unassign(tail->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (error == NULL) {
        return true;
    }
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    fault_set(fault, kafka_fault_kind(code), (int)code, "%s [%d]: %s", followed->topic,
              followed->partition, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return false;
}

bool kafka_tail_start(struct kafka_tail *tail, const char *topic, int32_t partition, int64_t from,
                      struct fault *fault)
{
    CHECK_MAGIC(tail, TAIL_MAGIC);
    CHECK(partition >= 0 && from >= 0);
    if (find(tail, topic, partition) != NULL) {
        return fault_set(fault, FAULT_INVALID, 0, "%s [%d] is read already", topic, partition);
    }
    struct followed *followed = mem_zalloc(sizeof(*followed));
    followed->topic = mem_strdup(topic);
    followed->partition = partition;
    followed->goal = GOAL_UNKNOWN;
    if (!assign(tail, followed, from, true, fault)) {
        followed_free(followed);
        return false;
    }
    list_push_back(&tail->followed, &followed->node);
    return true;
}

void kafka_tail_stop(struct kafka_tail *tail, const char *topic, int32_t partition)
{
    CHECK_MAGIC(tail, TAIL_MAGIC);
    struct followed *followed = find(tail, topic, partition);
    if (followed != NULL) {
        assign(tail, followed, 0, false, NULL);
        followed_free(followed);
    }
}

int kafka_tail_partitions(struct kafka_tail *tail, const char *topic, int timeout_ms,
                          struct fault *fault)
{
    CHECK_MAGIC(tail, TAIL_MAGIC);
    return kafka_partition_count(tail->rk, topic, timeout_ms, fault);
}

static bool is_end(const struct kafka_tail *tail, struct followed *followed, int64_t position)
{
    int64_t low;
    int64_t high;
    if (followed->ended) {
        return false;
    }
    if (followed->goal == GOAL_UNKNOWN &&
        rd_kafka_get_watermark_offsets(tail->rk, followed->topic, followed->partition, &low,
                                       &high) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        high >= 0) {
        followed->goal = high;
    }
    followed->ended = followed->goal != GOAL_UNKNOWN && position >= followed->goal;
    return followed->ended;
}

/* What a message of librdkafka's means; NONE: read on. */
static enum kafka_tail_event judge(struct kafka_tail *tail, const rd_kafka_message_t *message,
                                   struct kafka_reader_record *record, struct fault *fault)
{
    struct followed *followed =
        message->rkt == NULL ? NULL
                             : find(tail, rd_kafka_topic_name(message->rkt), message->partition);
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (followed == NULL) {
            return KAFKA_TAIL_NONE; /* was stopped */
        }
        *record = kafka_reading_record(message);
        record->topic = followed->topic;
        return KAFKA_TAIL_RECORD;
    }
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (followed == NULL || !is_end(tail, followed, message->offset)) {
            return KAFKA_TAIL_NONE;
        }
        *record = (struct kafka_reader_record){
            .topic = followed->topic, .partition = followed->partition, .offset = message->offset};
        return KAFKA_TAIL_END;
    }
    return kafka_reading_failed(message, fault) ? KAFKA_TAIL_FAILED : KAFKA_TAIL_NONE;
}

enum kafka_tail_event kafka_tail_next(struct kafka_tail *tail, int timeout_ms,
                                      struct kafka_reader_record *record, struct fault *fault)
{
    CHECK_MAGIC(tail, TAIL_MAGIC);
    struct mono_time end = mono_add_ms(mono_now(), timeout_ms);
    int wait_ms = timeout_ms;
    message_drop(tail);
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(tail->rk, wait_ms);
        if (message != NULL) {
            enum kafka_tail_event event = judge(tail, message, record, fault);
            tail->message = message;
            if (event != KAFKA_TAIL_NONE) {
                return event;
            }
            message_drop(tail);
        }
        int64_t left_us = mono_since_us(end, mono_now());
        if (left_us <= 0 && message == NULL) {
            return KAFKA_TAIL_NONE;
        }
        wait_ms = left_us <= 0 ? 0 : (int)(left_us / 1000) + 1;
    }
}

void kafka_tail_notify(struct kafka_tail *tail, int event_fd)
{
    CHECK_MAGIC(tail, TAIL_MAGIC);
    static const uint64_t one = 1;
    rd_kafka_queue_t *own = rd_kafka_queue_get_consumer(tail->rk);
    rd_kafka_queue_io_event_enable(own, event_fd, &one, sizeof(one));
    rd_kafka_queue_destroy(own);
}
