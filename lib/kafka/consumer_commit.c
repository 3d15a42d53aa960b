/*
 * Commits of a consumer whose owner leaves them to it (not in claim mode): the low watermarks that
 * have moved, at an interval, and before partitions go.
 */
#include "kafka/consumer_private.h"

#include "base/log.h"

#define COMMIT_EXPIRES_MS 10000

/* What has moved since the last commit; NULL: nothing. */
static rd_kafka_topic_partition_list_t *commit_list(struct kafka_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (size_t t = 0; t < consumer->topic_count; t++) {
        for (size_t p = 0; p < consumer->topics[t].partition_count; p++) {
            struct kafka_partition *one = consumer->topics[t].partitions[p];
            if (one == NULL || !one->assigned || one->offsets.watermark == one->committed) {
                continue;
            }
            if (list == NULL) {
                list = rd_kafka_topic_partition_list_new(16);
            }
            rd_kafka_topic_partition_list_add(list, one->topic->name, one->id)->offset =
                one->offsets.watermark;
            one->committed = one->offsets.watermark;
        }
    }
    return list;
}

/* The commit failed: these are due again. */
static void commit_undo(struct kafka_consumer *consumer,
                        const rd_kafka_topic_partition_list_t *list, bool all)
{
    for (int i = 0; list != NULL && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &list->elems[i];
        struct kafka_topic *topic = consumer_topic(consumer, one->topic);
        if (topic != NULL && (all || one->err != RD_KAFKA_RESP_ERR_NO_ERROR) &&
            (size_t)one->partition < topic->partition_count &&
            topic->partitions[one->partition] != NULL) {
            topic->partitions[one->partition]->committed = -1;
        }
    }
}

void consumer_commit_done(rd_kafka_t *rk, rd_kafka_resp_err_t error,
                          rd_kafka_topic_partition_list_t *list, void *opaque)
{
    (void)opaque;
    struct kafka_consumer *consumer = consumer_of(rk);
    unsigned suppressed;
    if (consumer_claims(consumer)) {
        return; /* the contact's: answered in consumer_contact.c too */
    }
    consumer->commit_in_flight = false;
    commit_undo(consumer, list, error != RD_KAFKA_RESP_ERR_NO_ERROR);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR && error != RD_KAFKA_RESP_ERR__NO_OFFSET &&
        kafka_log_allowed(&consumer->commit_limit, 3, &suppressed)) {
        log_warn("commit-failed", "when=interval suppressed=%u reason=\"%s\"", suppressed,
                 rd_kafka_err2str(error));
    }
}

void consumer_commit_async(struct kafka_consumer *consumer, struct mono_time now)
{
    if (consumer->commit_in_flight && mono_before(now, consumer->commit_expires)) {
        return;
    }
    rd_kafka_topic_partition_list_t *list = commit_list(consumer);
    if (list == NULL) {
        return;
    }
    rd_kafka_resp_err_t error = rd_kafka_commit(consumer->rk, list, 1);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        consumer->commit_in_flight = true;
        consumer->commit_expires = mono_add_ms(now, COMMIT_EXPIRES_MS);
    } else {
        commit_undo(consumer, list, true);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

bool consumer_commit_sync(struct kafka_consumer *consumer, int timeout_ms, struct fault *fault)
{
    if (consumer->commit_in_flight) {
        /* What it says is not known yet: said again. */
        for (size_t t = 0; t < consumer->topic_count; t++) {
            for (size_t p = 0; p < consumer->topics[t].partition_count; p++) {
                if (consumer->topics[t].partitions[p] != NULL) {
                    consumer->topics[t].partitions[p]->committed = -1;
                }
            }
        }
    }
    rd_kafka_topic_partition_list_t *list = commit_list(consumer);
    if (list == NULL) {
        return true;
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    rd_kafka_resp_err_t error = rd_kafka_commit_queue(consumer->rk, list, queue, NULL, NULL);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);
        error = event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event);
        if (event != NULL) {
            rd_kafka_event_destroy(event);
        }
    }
    rd_kafka_queue_destroy(queue);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        commit_undo(consumer, list, true);
        kafka_fault_set(fault, error, "commit");
    }
    rd_kafka_topic_partition_list_destroy(list);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR;
}

bool kafka_consumer_commit(struct kafka_consumer *consumer, int timeout_ms, struct fault *fault)
{
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    CHECK(!consumer_claims(consumer)); /* the owner commits */
    return consumer_commit_sync(consumer, timeout_ms, fault);
}
