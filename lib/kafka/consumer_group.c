/*
 * Rebalances. The group gives partitions (eager protocol: all at once); where each of them starts
 * is asked for explicitly, because librdkafka would jump to the end, or silently to the beginning,
 * when there is no committed offset or when it no longer exists. If the brokers do not answer, the
 * assignment stays pending and is tried again from kafka_consumer_serve(): librdkafka waits for our
 * rd_kafka_assign() and goes on sending heartbeats meanwhile.
 *
 * Each partition's queue is forwarded to the queue of its class before it is assigned, so that no
 * record of it ever goes to the consumer's own queue.
 */
#include "kafka/consumer_private.h"

#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>

#define OFFSETS_TIMEOUT_MS 1000
#define OFFSETS_RETRY_MS 200
#define REVOKE_COMMIT_TIMEOUT_MS 3000

#define STASH_TOTAL_BYTES (16 << 20)
#define STASH_MIN_BYTES (64 << 10)
#define STASH_MAX_BYTES (1 << 20)

/* Committed offset of each partition, or the lowest there is. False: try again. */
static bool starting_offsets(struct kafka_consumer *consumer, rd_kafka_topic_partition_list_t *list,
                             struct fault *fault)
{
    rd_kafka_resp_err_t error = rd_kafka_committed(consumer->rk, list, OFFSETS_TIMEOUT_MS);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_fault_set(fault, error, "committed offsets");
    }
    rd_kafka_topic_partition_list_t *lowest = rd_kafka_topic_partition_list_copy(list);
    for (int i = 0; i < lowest->cnt; i++) {
        lowest->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    bool ok = kafka_list_offsets(consumer->rk, lowest, OFFSETS_TIMEOUT_MS, fault);
    for (int i = 0; ok && i < list->cnt; i++) {
        rd_kafka_topic_partition_t *one = &list->elems[i];
        const rd_kafka_topic_partition_t *low =
            rd_kafka_topic_partition_list_find(lowest, one->topic, one->partition);
        CHECK(low != NULL);
        if (one->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            ok = kafka_fault_set(fault, one->err, "committed offset of a partition");
        } else if (low->offset < 0) {
            ok = fault_set(fault, FAULT_TEMPORARY, 0, "no lowest offset for %s [%d]", one->topic,
                           one->partition);
        } else if (one->offset < 0) {
            one->offset = low->offset;
        } else if (one->offset < low->offset) {
            log_error("records-lost",
                      "topic=%s partition=%d committed=%" PRId64 " lowest=%" PRId64
                      " reason=\"deleted by retention before they were read\"",
                      one->topic, one->partition, one->offset, low->offset);
            one->offset = low->offset;
        }
    }
    rd_kafka_topic_partition_list_destroy(lowest);
    return ok;
}

static void forward_queue(struct kafka_consumer *consumer, const struct kafka_partition *partition)
{
    rd_kafka_queue_t *own =
        rd_kafka_queue_get_partition(consumer->rk, partition->topic->name, partition->id);
    CHECK(own != NULL);
    rd_kafka_queue_forward(own, consumer->queues[partition->topic->source].queue);
    rd_kafka_queue_destroy(own);
}

void consumer_partition_begin(struct kafka_consumer *consumer, struct kafka_partition *partition,
                              int64_t start)
{
    CHECK(!partition->assigned);
    partition->assigned = true;
    partition->epoch = ++consumer->epoch;
    partition->position = start;
    partition->committed = start;
    partition->highest_complete = start - 1;
    partition->claim = 0;
    atomic_store(&partition->leaving, false);
    partition->misplaced = false;
    offsets_init(&partition->offsets, start);
    consumer->queues[partition->topic->source].assigned++;
    consumer->assigned_count++;
}

static void partition_end(struct kafka_consumer *consumer, struct kafka_partition *partition)
{
    partition->assigned = false;
    partition->epoch = ++consumer->epoch;
    partition->held = false;
    partition->paused = false;
    partition->misplaced = false;
    consumer_stash_drop(partition);
    consumer->open_tickets -= partition->offsets.open;
    offsets_free(&partition->offsets);
    consumer->queues[partition->topic->source].assigned--;
    consumer->assigned_count--;
}

static void limit_stashes(struct kafka_consumer *consumer)
{
    for (size_t i = 0; i < KAFKA_SOURCES; i++) {
        struct source_queue *queue = &consumer->queues[i];
        size_t share = STASH_TOTAL_BYTES / (queue->assigned == 0 ? 1 : queue->assigned);
        queue->stash_limit = share < STASH_MIN_BYTES   ? STASH_MIN_BYTES
                             : share > STASH_MAX_BYTES ? STASH_MAX_BYTES
                                                       : share;
    }
}

static struct kafka_partition **partition_array(struct kafka_consumer *consumer, size_t *count)
{
    struct kafka_partition **all =
        mem_calloc(consumer->assigned_count + 1, sizeof(struct kafka_partition *));
    size_t used = 0;
    for (size_t t = 0; t < consumer->topic_count; t++) {
        for (size_t p = 0; p < consumer->topics[t].partition_count; p++) {
            struct kafka_partition *partition = consumer->topics[t].partitions[p];
            if (partition != NULL && partition->assigned) {
                all[used++] = partition;
            }
        }
    }
    CHECK(used == consumer->assigned_count);
    *count = used;
    return all;
}

void consumer_assign(struct kafka_consumer *consumer, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_topic *topic = consumer_topic(consumer, list->elems[i].topic);
        CHECK(topic != NULL);
        forward_queue(consumer, consumer_partition(topic, list->elems[i].partition));
    }
    limit_stashes(consumer);
    rd_kafka_resp_err_t error = rd_kafka_assign(consumer->rk, list);
    log_info("partitions-assigned", "count=%d", list->cnt);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        log_error("assign-failed", "reason=\"%s\"", rd_kafka_err2str(error));
        consumer_tell_fatal(consumer);
        return;
    }
    size_t count;
    struct kafka_partition **all = partition_array(consumer, &count);
    if (!consumer->closing && consumer->ops->assigned != NULL) {
        consumer->ops->assigned(consumer->owner, all, count);
    }
    mem_free(all);
}

/* Leaves `pending` in place when it cannot be done yet. */
static void try_pending(struct kafka_consumer *consumer)
{
    struct fault fault;
    unsigned suppressed;
    consumer->pending_retry = mono_add_ms(mono_now(), OFFSETS_RETRY_MS);
    if (consumer->pending->cnt > 0 && !starting_offsets(consumer, consumer->pending, &fault)) {
        if (kafka_log_allowed(&consumer->error_limit, 5, &suppressed)) {
            log_warn("assignment-waits", "suppressed=%u reason=\"%s\"", suppressed, fault.text);
        }
        return;
    }
    rd_kafka_topic_partition_list_t *list = consumer->pending;
    consumer->pending = NULL;
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_topic *topic = consumer_topic(consumer, list->elems[i].topic);
        CHECK(topic != NULL);
        consumer_partition_begin(consumer, consumer_partition(topic, list->elems[i].partition),
                                 list->elems[i].offset);
    }
    consumer_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

/* librdkafka may keep a pause over an unassignment: take back those that are ours. */
static void unpause_all(struct kafka_consumer *consumer, struct kafka_partition *const *all,
                        size_t count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        if (all[i]->paused) {
            rd_kafka_topic_partition_list_add(list, all[i]->topic->name, all[i]->id);
            all[i]->paused = false;
        }
    }
    if (list->cnt > 0) {
        rd_kafka_resume_partitions(consumer->rk, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static void revoke(struct kafka_consumer *consumer, bool lost)
{
    struct fault fault;
    size_t count;
    struct kafka_partition **all = partition_array(consumer, &count);
    for (size_t i = 0; i < count; i++) {
        atomic_store(&all[i]->leaving, true);
    }
    if (lost) {
        contact_end(consumer);
    }
    if (count > 0) {
        if (!consumer->closing && consumer->ops->revoked != NULL) {
            consumer->ops->revoked(consumer->owner, all, count, lost);
        }
        if (!lost && !consumer_claims(consumer) &&
            !consumer_commit_sync(consumer, REVOKE_COMMIT_TIMEOUT_MS, &fault)) {
            log_warn("commit-failed", "when=revocation reason=\"%s\"", fault.text);
        }
        unpause_all(consumer, all, count);
        for (size_t i = 0; i < count; i++) {
            partition_end(consumer, all[i]);
        }
        log_info("partitions-revoked", "count=%zu lost=%d", count, lost);
    }
    mem_free(all);
    consumer->reassign = false;
    consumer->reforward = false;
    contact_end(consumer);
    rd_kafka_assign(consumer->rk, NULL);
}

static void drop_pending(struct kafka_consumer *consumer)
{
    if (consumer->pending != NULL) {
        rd_kafka_topic_partition_list_destroy(consumer->pending);
        consumer->pending = NULL;
        claim_given_back(consumer);
    }
}

void consumer_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t event,
                        rd_kafka_topic_partition_list_t *partitions, void *opaque)
{
    struct kafka_consumer *consumer = opaque;
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    drop_pending(consumer);
    recover_settled(consumer, event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS);
    if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !consumer->closing) {
        consumer->pending = rd_kafka_topic_partition_list_copy(partitions);
        if (consumer_claims(consumer) && partitions->cnt > 0) {
            claim_given(consumer);
        } else {
            try_pending(consumer);
        }
        return;
    }
    revoke(consumer, rd_kafka_assignment_lost(rk) != 0);
}

/* Where a misplaced partition goes on. False: ask again later. */
static bool find_place(struct kafka_consumer *consumer, struct kafka_partition *partition)
{
    struct fault fault;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, partition->topic->name, partition->id)->offset =
        RD_KAFKA_OFFSET_BEGINNING;
    bool ok = kafka_list_offsets(consumer->rk, list, OFFSETS_TIMEOUT_MS, &fault) &&
              list->elems[0].offset >= 0;
    if (ok) {
        int64_t lowest = list->elems[0].offset;
        log_error("records-lost",
                  "topic=%s partition=%d position=%" PRId64 " lowest=%" PRId64
                  " reason=\"the position does not exist at the broker any more\"",
                  partition->topic->name, partition->id, partition->position, lowest);
        partition->misplaced = false;
        if (lowest < partition->position) {
            /* The topic was cut or made anew: what was known of its offsets means nothing now. */
            consumer_stash_drop(partition);
            consumer->open_tickets -= partition->offsets.open;
            offsets_free(&partition->offsets);
            offsets_init(&partition->offsets, lowest);
            partition->epoch = ++consumer->epoch;
            partition->committed = -1;
        }
        partition->position = lowest;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return ok;
}

/*
 * librdkafka 2.0.2 stops a partition whose offset is out of range and takes no seek for it then:
 * all are assigned anew, each at its own position. Stopping them, which happens later on
 * librdkafka's thread, ends their forwarding; what comes then waits in the partition's own queue (a
 * queue that was forwarded once is not forwarded to the consumer's by itself) and moves over with
 * the next forwarding. So that is repeated from then on.
 */
static void reassign(struct kafka_consumer *consumer)
{
    size_t count;
    struct kafka_partition **all = partition_array(consumer, &count);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        ok = !all[i]->misplaced || find_place(consumer, all[i]);
    }
    if (ok) {
        consumer->reassign = false;
        consumer->reforward = true;
        unpause_all(consumer, all, count);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
        for (size_t i = 0; i < count; i++) {
            rd_kafka_topic_partition_list_add(list, all[i]->topic->name, all[i]->id)->offset =
                all[i]->position;
        }
        rd_kafka_assign(consumer->rk, list);
        rd_kafka_topic_partition_list_destroy(list);
    }
    mem_free(all);
}

/* librdkafka's consumer has failed for good and will not tell that what it had is lost. */
static void lose_all(struct kafka_consumer *consumer)
{
    drop_pending(consumer);
    if (consumer->assigned_count > 0) {
        revoke(consumer, true);
    }
}

void consumer_group_serve(struct kafka_consumer *consumer, struct mono_time now)
{
    if (consumer->failed) {
        lose_all(consumer);
        return;
    }
    if (consumer->recover.phase != RECOVER_NONE) {
        lose_all(consumer);
        recover_serve(consumer, now);
        return;
    }
    recover_serve(consumer, now);
    if (mono_before(now, consumer->pending_retry)) {
        return;
    }
    if (consumer->pending != NULL && consumer->claim.phase == CLAIM_NONE) {
        try_pending(consumer);
    } else if (consumer->reassign) {
        consumer->pending_retry = mono_add_ms(now, OFFSETS_RETRY_MS);
        reassign(consumer);
    } else if (consumer->reforward) {
        consumer->pending_retry = mono_add_ms(now, OFFSETS_RETRY_MS);
        size_t count;
        struct kafka_partition **all = partition_array(consumer, &count);
        for (size_t i = 0; i < count; i++) {
            forward_queue(consumer, all[i]);
        }
        mem_free(all);
    }
}
