/*
 * The consumer's life: its configuration, service and errors. The contract is in consumer.h.
 *
 * Memory is bounded per class: partition queues are forwarded to their class's queue, and
 * librdkafka then counts that queue's length against queued.max.messages.kbytes before it fetches.
 * A fetch response is at most 1 MB (fetch.max.bytes; the broker still sends a bigger record when it
 * is the first of the response), which is also what one record held by the owner can pin.
 * librdkafka has one fetch under way per broker, and looks at a class that was full only after that
 * has come back: hence the short fetch.wait.max.ms.
 */
#include "kafka/consumer_private.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"

#include <inttypes.h>
#include <string.h>

#define FETCH_BYTES 1048576
#define INSTANCE_ID_MAX 1000
#define LEAVE_TIMEOUT_MS 3000
#define LEAVE_POLL_MS 5

void kafka_consumer_options_default(struct kafka_consumer_options *options)
{
    *options = (struct kafka_consumer_options){
        .group_id = "sluice-worker",
        .client_id = "sluice",
        .queued_max_kbytes = 32 * 1024,
        .max_message_bytes = 26 << 20,
        .commit_interval_ms = 1000,
        .session_timeout_ms = 45000,
    };
}

void consumer_fail(struct kafka_consumer *consumer, const struct fault *fault)
{
    char reason[FAULT_TEXT_MAX];
    if (consumer->failed) {
        return;
    }
    consumer->failed = true;
    contact_end(consumer);
    log_error("consumer-failed", "reason=%s",
              log_quote(reason, sizeof(reason), slice_cstr(fault->text)));
    if (!consumer->closing && consumer->ops->failed != NULL) {
        consumer->ops->failed(consumer->owner, fault);
    }
}

void consumer_tell_fatal(struct kafka_consumer *consumer)
{
    char text[256] = "the assignment failed";
    struct fault fault;
    rd_kafka_resp_err_t error = rd_kafka_fatal_error(consumer->rk, text, sizeof(text));
    if (error == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID && !consumer->closing) {
        contact_end(consumer);
        recover_fenced(consumer);
        return;
    }
    fault_set(&fault, FAULT_FATAL, (int)error, "Kafka consumer: %s", text);
    consumer_fail(consumer, &fault);
}

static void tell_error(struct kafka_consumer *consumer, rd_kafka_resp_err_t error, const char *text)
{
    unsigned suppressed;
    if (error == RD_KAFKA_RESP_ERR__FATAL ||
        rd_kafka_fatal_error(consumer->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        consumer_tell_fatal(consumer);
        return;
    }
    if (!kafka_log_allowed(&consumer->error_limit, 5, &suppressed)) {
        return;
    }
    char quoted[500];
    log_warn("consumer-error", "code=%s suppressed=%u text=%s", rd_kafka_err2name(error),
             suppressed, log_quote(quoted, sizeof(quoted), slice_cstr(text)));
    enum fault_kind kind = kafka_fault_kind(error);
    if ((kind == FAULT_INVALID || kind == FAULT_REFUSED) && !consumer->closing &&
        consumer->ops->failed != NULL) {
        struct fault fault;
        fault_set(&fault, kind == FAULT_INVALID ? FAULT_NOT_FOUND : kind, (int)error,
                  "Kafka consumer: %s", text);
        consumer->ops->failed(consumer->owner, &fault);
    }
}

void consumer_error(struct kafka_consumer *consumer, const rd_kafka_message_t *message)
{
    struct kafka_topic *topic =
        message->rkt == NULL ? NULL : consumer_topic(consumer, rd_kafka_topic_name(message->rkt));
    bool out_of_range = message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                        message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE ||
                        message->err == RD_KAFKA_RESP_ERR__NO_OFFSET;
    if (out_of_range && topic != NULL && message->partition >= 0 &&
        (size_t)message->partition < topic->partition_count &&
        topic->partitions[message->partition] != NULL &&
        topic->partitions[message->partition]->assigned) {
        topic->partitions[message->partition]->misplaced = true;
        consumer->reassign = true;
        return;
    }
    tell_error(consumer, message->err, rd_kafka_message_errstr(message));
}

static void error_called(rd_kafka_t *rk, int error, const char *reason, void *opaque)
{
    (void)opaque;
    tell_error(consumer_of(rk), (rd_kafka_resp_err_t)error, reason);
}

/* The broker gives a static member that comes again what it had, whatever it subscribes to now:
 * with other topics it is another member. */
static void set_instance(struct kafka_conf *builder, const struct kafka_consumer_options *options,
                         struct consumer_recover *recover)
{
    struct strbuf id;
    uint64_t topics = 0;
    if (options->group_instance_id == NULL) {
        return;
    }
    for (size_t i = 0; i < options->subscription_count; i++) {
        topics += hash_stable(slice_cstr(options->subscriptions[i].topic));
    }
    strbuf_init(&id, INSTANCE_ID_MAX);
    if (strbuf_addf(&id, "%s-%016" PRIx64, options->group_instance_id, topics)) {
        kafka_conf_must(builder, "group.instance.id", id.ptr);
        recover->instance_id = mem_strdup(id.ptr);
    } else {
        builder->failed = true;
        fault_set(builder->fault, FAULT_INVALID, 0,
                  "the name of a member of the group is too long");
    }
    strbuf_free(&id);
}

static rd_kafka_t *create_client(const struct kafka_properties *properties,
                                 const struct kafka_consumer_options *options,
                                 struct kafka_consumer *consumer, struct fault *fault)
{
    struct kafka_conf builder;
    kafka_conf_begin(&builder, properties, fault);
    kafka_conf_set(&builder, "client.id",
                   options->client_id == NULL ? "sluice" : options->client_id);
    kafka_conf_set_int(&builder, "queued.max.messages.kbytes", options->queued_max_kbytes);
    kafka_conf_set_int(&builder, "queued.min.messages", 20000);
    kafka_conf_set_int(&builder, "fetch.message.max.bytes", FETCH_BYTES / 4);
    kafka_conf_set_int(&builder, "fetch.max.bytes", FETCH_BYTES);
    kafka_conf_set_int(&builder, "receive.message.max.bytes",
                       options->max_message_bytes + (16 << 20));
    kafka_conf_set_int(&builder, "fetch.wait.max.ms", 100);
    kafka_conf_set_int(&builder, "fetch.error.backoff.ms", 100);
    /* What is given anew waits for each member's next heartbeat: that is how it hears of it. */
    int heartbeat_ms = options->session_timeout_ms < 8000 ? options->session_timeout_ms / 8 : 1000;
    kafka_conf_set_int(&builder, "session.timeout.ms", options->session_timeout_ms);
    kafka_conf_set_int(&builder, "heartbeat.interval.ms", heartbeat_ms);
    kafka_conf_user(&builder);
    if (consumer_claims(consumer)) { /* how long a zombie may send hangs on them */
        kafka_conf_must_int(&builder, "session.timeout.ms", options->session_timeout_ms);
        kafka_conf_must_int(&builder, "heartbeat.interval.ms", heartbeat_ms);
    }
    kafka_conf_must(&builder, "group.id", options->group_id);
    set_instance(&builder, options, &consumer->recover);
    kafka_conf_must(&builder, "partition.assignment.strategy", "range");
    kafka_conf_must(&builder, "enable.auto.commit", "false");
    kafka_conf_must(&builder, "enable.auto.offset.store", "false");
    kafka_conf_must(&builder, "enable.partition.eof", "false");
    kafka_conf_must(&builder, "auto.offset.reset", "error");
    kafka_conf_must(&builder, "isolation.level", "read_committed");
    rd_kafka_conf_set_opaque(builder.conf, consumer);
    rd_kafka_conf_set_rebalance_cb(builder.conf, consumer_rebalance);
    rd_kafka_conf_set_offset_commit_cb(builder.conf, consumer_commit_done);
    rd_kafka_conf_set_error_cb(builder.conf, error_called);
    consumer->conf = rd_kafka_conf_dup(builder.conf);
    return kafka_conf_create_client(&builder, RD_KAFKA_CONSUMER);
}

rd_kafka_t *consumer_client_new(const struct kafka_consumer *consumer, struct fault *fault)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(consumer->conf);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        fault_set(fault, FAULT_TEMPORARY, 0, "Kafka client: %s", why);
    }
    return rk;
}

static void notify_queue(const struct kafka_consumer *consumer, rd_kafka_queue_t *queue)
{
    static const uint64_t one = 1;
    if (consumer->event_fd >= 0) {
        rd_kafka_queue_io_event_enable(queue, consumer->event_fd, &one, sizeof(one));
    }
}

static void notify_queues(const struct kafka_consumer *consumer)
{
    rd_kafka_queue_t *own = rd_kafka_queue_get_consumer(consumer->rk);
    notify_queue(consumer, own);
    rd_kafka_queue_destroy(own);
    for (size_t i = 0; i < KAFKA_SOURCES; i++) {
        notify_queue(consumer, consumer->queues[i].queue);
    }
    notify_queue(consumer, consumer->claim.answers);
    notify_queue(consumer, consumer->recover.answers);
}

void consumer_queues_open(struct kafka_consumer *consumer)
{
    rd_kafka_poll_set_consumer(consumer->rk);
    for (size_t i = 0; i < KAFKA_SOURCES; i++) {
        consumer->queues[i].queue = rd_kafka_queue_new(consumer->rk);
    }
    consumer->claim.answers = rd_kafka_queue_new(consumer->rk);
    consumer->recover.answers = rd_kafka_queue_new(consumer->rk);
    notify_queues(consumer);
}

/* What waits in them is not read. */
void consumer_queues_close(struct kafka_consumer *consumer)
{
    rd_kafka_message_t *message;
    for (size_t i = 0; i < KAFKA_SOURCES; i++) {
        while ((message = rd_kafka_consume_queue(consumer->queues[i].queue, 0)) != NULL) {
            rd_kafka_message_destroy(message);
        }
        rd_kafka_queue_destroy(consumer->queues[i].queue);
    }
    rd_kafka_queue_destroy(consumer->claim.answers);
    rd_kafka_queue_destroy(consumer->recover.answers);
}

static void release(struct kafka_consumer *consumer)
{
    if (consumer->rk != NULL) {
        consumer_queues_close(consumer);
        rd_kafka_destroy(consumer->rk);
    }
    if (consumer->conf != NULL) {
        rd_kafka_conf_destroy(consumer->conf);
    }
    claim_release(consumer);
    recover_release(consumer);
    for (size_t t = 0; t < consumer->topic_count; t++) {
        struct kafka_topic *topic = &consumer->topics[t];
        for (size_t p = 0; p < topic->partition_count; p++) {
            if (topic->partitions[p] != NULL) {
                offsets_free(&topic->partitions[p]->offsets);
                topic->partitions[p]->magic = 0;
                mem_free(topic->partitions[p]);
            }
        }
        mem_free(topic->partitions);
        mem_free(topic->name);
    }
    mem_free(consumer->topics);
    consumer->magic = 0;
    mem_free(consumer);
}

bool consumer_subscribe(struct kafka_consumer *consumer, struct fault *fault)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)consumer->topic_count);
    for (size_t i = 0; i < consumer->topic_count; i++) {
        rd_kafka_topic_partition_list_add(list, consumer->topics[i].name, RD_KAFKA_PARTITION_UA);
    }
    rd_kafka_resp_err_t error = rd_kafka_subscribe(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR || kafka_fault_set(fault, error, "subscription");
}

struct kafka_consumer *kafka_consumer_create(const struct kafka_properties *properties,
                                             const struct kafka_consumer_options *options,
                                             const struct kafka_consumer_ops *ops, void *owner,
                                             struct fault *fault)
{
    struct kafka_consumer *consumer = mem_zalloc(sizeof(*consumer));
    consumer->magic = CONSUMER_MAGIC;
    consumer->ops = ops;
    consumer->owner = owner;
    consumer->event_fd = -1;
    consumer->commit_interval_ms = options->commit_interval_ms;
    recover_init(consumer, options);
    consumer->topics = mem_calloc(options->subscription_count + 1, sizeof(*consumer->topics));
    for (size_t i = 0; i < options->subscription_count; i++) {
        const struct kafka_subscription *one = &options->subscriptions[i];
        consumer->topics[i] = (struct kafka_topic){
            .name = mem_strdup(one->topic), .source = one->source, .index = one->index};
        consumer->topic_count++;
    }
    for (size_t i = 0; i < KAFKA_SOURCES; i++) {
        list_init(&consumer->queues[i].ready);
    }
    consumer->rk = create_client(properties, options, consumer, fault);
    if (consumer->rk == NULL) {
        release(consumer);
        return NULL;
    }
    consumer_queues_open(consumer);
    claim_init(consumer, options);
    if (!consumer_subscribe(consumer, fault)) {
        consumer->closing = true;
        release(consumer);
        return NULL;
    }
    return consumer;
}

/* librdkafka's close() does not take a static member out of its group, which would go without its
 * partitions until the session times out; unsubscribing does. It has left when its id is gone. */
static void leave_group(struct kafka_consumer *consumer)
{
    struct mono_time end = mono_add_ms(mono_now(), LEAVE_TIMEOUT_MS);
    bool member = rd_kafka_unsubscribe(consumer->rk) == RD_KAFKA_RESP_ERR_NO_ERROR;
    while (member && mono_before(mono_now(), end)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->rk, LEAVE_POLL_MS);
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
        char *id = rd_kafka_memberid(consumer->rk);
        member = id != NULL && id[0] != '\0';
        if (id != NULL) {
            rd_kafka_mem_free(consumer->rk, id);
        }
    }
}

void kafka_consumer_free(struct kafka_consumer **pointer)
{
    struct kafka_consumer *consumer = *pointer;
    if (consumer == NULL) {
        return;
    }
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    *pointer = NULL;
    consumer->closing = true;
    if (consumer->pending != NULL) {
        rd_kafka_topic_partition_list_destroy(consumer->pending);
        consumer->pending = NULL;
        rd_kafka_assign(consumer->rk, NULL);
    }
    if (consumer->recover.name != NULL) {
        leave_group(consumer);
    }
    rd_kafka_consumer_close(consumer->rk); /* revokes: commits from there */
    release(consumer);
}

void kafka_consumer_notify(struct kafka_consumer *consumer, int event_fd)
{
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    consumer->event_fd = event_fd;
    notify_queues(consumer);
}

void kafka_consumer_serve(struct kafka_consumer *consumer, struct mono_time now)
{
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    rd_kafka_message_t *message;
    for (int i = 0; i < 100 && (message = rd_kafka_consumer_poll(consumer->rk, 0)) != NULL; i++) {
        /* A record cannot come here: every partition is forwarded before it is assigned. Reading on
         * would lose it. */
        CHECK(message->err != RD_KAFKA_RESP_ERR_NO_ERROR);
        consumer_error(consumer, message);
        rd_kafka_message_destroy(message);
    }
    consumer_group_serve(consumer, now);
    if (consumer_claims(consumer)) {
        claim_serve(consumer, now);
    } else if (!mono_before(now, consumer->next_commit)) {
        consumer->next_commit = mono_add_ms(now, consumer->commit_interval_ms);
        consumer_commit_async(consumer, now);
    }
}

bool kafka_consumer_idle(const struct kafka_consumer *consumer)
{
    return consumer->open_tickets == 0;
}

void kafka_consumer_stop_intake(struct kafka_consumer *consumer)
{
    CHECK_MAGIC(consumer, CONSUMER_MAGIC);
    consumer->stopped = true;
}

uint64_t kafka_consumer_pauses(const struct kafka_consumer *consumer)
{
    return consumer->pauses;
}
