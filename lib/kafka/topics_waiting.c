/* Whether anything of a topic is still to be read by a group. */
#include "kafka/topics.h"

#include "kafka/conf_private.h"
#include "kafka/tail.h"

#include "base/clock.h"

#include <time.h>

#define POLL_MS 200

/* What the group has committed for each of the partitions. */
static bool get_committed(const struct kafka_properties *properties, const char *group,
                          rd_kafka_topic_partition_list_t *list, int timeout_ms,
                          struct fault *fault)
{
    struct kafka_conf builder;
    kafka_conf_begin(&builder, properties, fault);
    kafka_conf_user(&builder);
    kafka_conf_must(&builder, "group.id", group); /* never joined */
    kafka_conf_must(&builder, "enable.auto.commit", "false");
    rd_kafka_t *rk = kafka_conf_create_client(&builder, RD_KAFKA_CONSUMER);
    if (rk == NULL) {
        return false;
    }
    struct mono_time end = mono_add_ms(mono_now(), timeout_ms);
    rd_kafka_resp_err_t error;
    for (;;) {
        error = rd_kafka_committed(rk, list, timeout_ms);
        for (int i = 0; error == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) {
            error = list->elems[i].err;
        }
        if (kafka_fault_kind(error) != FAULT_TEMPORARY || !mono_before(mono_now(), end)) {
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
    rd_kafka_destroy(rk);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ||
           kafka_fault_set(fault, error, "committed offsets");
}

/* All of them at once, each up to its first record or its end. */
static int count_waiting(struct kafka_tail *tail, const rd_kafka_topic_partition_list_t *list,
                         int timeout_ms, struct fault *fault)
{
    struct kafka_reader_record record;
    struct mono_time end = mono_add_ms(mono_now(), timeout_ms);
    int open = list->cnt;
    int waiting = 0;
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &list->elems[i];
        if (!kafka_tail_start(tail, one->topic, one->partition, one->offset < 0 ? 0 : one->offset,
                              fault)) {
            return -1;
        }
    }
    while (open > 0) {
        enum kafka_tail_event event = kafka_tail_next(tail, POLL_MS, &record, fault);
        switch (event) {
        case KAFKA_TAIL_RECORD:
        case KAFKA_TAIL_END:
            waiting += event == KAFKA_TAIL_RECORD ? 1 : 0;
            open--;
            kafka_tail_stop(tail, record.topic, record.partition);
            break;
        case KAFKA_TAIL_NONE:
            if (!mono_before(mono_now(), end)) {
                fault_set(fault, FAULT_TIMEOUT, 0, "%s: no answer from Kafka",
                          list->elems[0].topic);
                return -1;
            }
            break;
        case KAFKA_TAIL_FAILED: return -1;
        }
    }
    return waiting;
}

int kafka_topic_waiting(const struct kafka_properties *properties, const char *group,
                        const char *topic, int timeout_ms, struct fault *fault)
{
    struct fault why = {0};
    int waiting = -1;
    struct kafka_tail *tail = kafka_tail_create(properties, "sluice", true, fault);
    if (tail == NULL) {
        return -1;
    }
    int count = kafka_tail_partitions(tail, topic, timeout_ms, &why);
    if (count < 0) {
        waiting = why.kind == FAULT_NOT_FOUND ? 0 : -1;
        *fault = why;
    } else {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
        rd_kafka_topic_partition_list_add_range(list, topic, 0, count - 1);
        if (get_committed(properties, group, list, timeout_ms, fault)) {
            waiting = count_waiting(tail, list, timeout_ms, fault);
        }
        rd_kafka_topic_partition_list_destroy(list);
    }
    kafka_tail_free(&tail);
    return waiting;
}
