/*
 * The producer. The contract is in producer.h.
 *
 * Threads: any may send; one polls. `lock` is held for reading while librdkafka is called with
 * `client`, and for writing while the client is exchanged or a topic is met for the first time. An
 * idempotent producer that went fatal is exchanged by the polling thread: the new client first,
 * then the old one is purged, its reports are told (all failed, or acknowledged before), and it
 * goes. So the senders never wait for that, and a report always comes from the polling thread. The
 * `client` pointer itself is only changed by the polling thread, which therefore reads it without
 * the lock.
 *
 * Delivery reports come as events on the main queue: a batch at a time, and the queue can wake the
 * owner's eventfd.
 */
#include "kafka/producer_private.h"

#include "kafka/conf_private.h"
#include "kafka/produce_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define PRODUCER_MAGIC 0x6b70726fu
#define HEADERS_MAX 64
#define FLUSH_SLICE_MS 5
#define RECREATE_RETRY_MS 1000

struct producer_topic {
    char *name;
    rd_kafka_topic_t *handle;
};

struct client {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue; /* the main queue: delivery reports and errors */
    struct map topics;       /* name -> struct producer_topic */
};

struct kafka_producer {
    uint32_t magic;
    pthread_rwlock_t lock;
    struct client *client;
    atomic_bool broken; /* the client is fatal */
    atomic_int pending; /* accepted, not yet reported */
    int event_fd;       /* -1 none */
    struct mono_time recreate_at;
    struct kafka_properties properties; /* own copies */
    struct kafka_producer_options options;
    struct kafka_log_limit log_limit; /* polling thread */
};

void kafka_producer_options_default(struct kafka_producer_options *options)
{
    *options = (struct kafka_producer_options){
        .client_id = "sluice",
        .linger_ms = 5,
        .compression = "lz4",
        .max_message_bytes = 26 << 20,
        .queue_max_messages = 100000,
        .queue_max_kbytes = 128 * 1024,
        .delivery_timeout_ms = 120000,
    };
}

static struct client *client_create(const struct kafka_properties *properties,
                                    const struct kafka_producer_options *options,
                                    struct fault *fault)
{
    struct kafka_conf builder;
    kafka_conf_begin(&builder, properties, fault);
    kafka_conf_set(&builder, "client.id",
                   options->client_id == NULL ? "sluice" : options->client_id);
    kafka_conf_set(&builder, "partitioner", "murmur2_random");
    kafka_conf_set(&builder, "compression.codec",
                   options->compression == NULL ? "lz4" : options->compression);
    kafka_conf_set_int(&builder, "linger.ms", options->linger_ms);
    kafka_conf_set_int(&builder, "message.max.bytes", options->max_message_bytes);
    kafka_conf_set_int(&builder, "queue.buffering.max.messages", options->queue_max_messages);
    kafka_conf_set_int(&builder, "queue.buffering.max.kbytes", options->queue_max_kbytes);
    kafka_conf_set_int(&builder, "message.timeout.ms", options->delivery_timeout_ms);
    kafka_conf_set_int(&builder, "topic.metadata.propagation.max.ms", 10000);
    kafka_conf_user(&builder);
    kafka_conf_must(&builder, "enable.idempotence", "true");
    kafka_conf_must(&builder, "acks", "all");
    rd_kafka_conf_set_events(builder.conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    rd_kafka_t *rk = kafka_conf_create_client(&builder, RD_KAFKA_PRODUCER);
    if (rk == NULL) {
        return NULL;
    }
    struct client *client = mem_zalloc(sizeof(*client));
    client->rk = rk;
    client->queue = rd_kafka_queue_get_main(rk);
    map_init(&client->topics);
    return client;
}

static void client_free(struct client *client)
{
    size_t cursor = 0;
    struct producer_topic *topic;
    while ((topic = map_next(&client->topics, &cursor)) != NULL) {
        rd_kafka_topic_destroy(topic->handle);
        mem_free(topic->name);
        mem_free(topic);
    }
    map_free(&client->topics);
    rd_kafka_queue_destroy(client->queue);
    rd_kafka_destroy(client->rk);
    mem_free(client);
}

static void notify_client(const struct client *client, int event_fd)
{
    static const uint64_t one = 1;
    if (event_fd >= 0) {
        rd_kafka_queue_io_event_enable(client->queue, event_fd, &one, sizeof(one));
    }
}

struct kafka_producer *kafka_producer_create(const struct kafka_properties *properties,
                                             const struct kafka_producer_options *options,
                                             struct fault *fault)
{
    struct client *client = client_create(properties, options, fault);
    if (client == NULL) {
        return NULL;
    }
    struct kafka_producer *producer = mem_zalloc(sizeof(*producer));
    producer->magic = PRODUCER_MAGIC;
    producer->client = client;
    producer->event_fd = -1;
    producer->options = *options;
    producer->options.client_id =
        options->client_id == NULL ? NULL : mem_strdup(options->client_id);
    producer->options.compression =
        options->compression == NULL ? NULL : mem_strdup(options->compression);
    kafka_properties_copy(&producer->properties, properties);
    CHECK(pthread_rwlock_init(&producer->lock, NULL) == 0);
    return producer;
}

/* With the lock held for reading; may let it go and take it again. NULL: fault is set. */
static rd_kafka_topic_t *topic_handle(struct kafka_producer *producer, const char *name,
                                      struct fault *fault)
{
    struct producer_topic *topic = map_get(&producer->client->topics, slice_cstr(name));
    if (topic != NULL) {
        return topic->handle;
    }
    pthread_rwlock_unlock(&producer->lock);
    pthread_rwlock_wrlock(&producer->lock);
    topic = map_get(&producer->client->topics, slice_cstr(name));
    if (topic == NULL) {
        rd_kafka_topic_t *handle = rd_kafka_topic_new(producer->client->rk, name, NULL);
        if (handle != NULL) {
            topic = mem_zalloc(sizeof(*topic));
            topic->name = mem_strdup(name);
            topic->handle = handle;
            map_put(&producer->client->topics, slice_cstr(topic->name), topic);
        } else {
            kafka_fault_set(fault, rd_kafka_last_error(), name);
        }
    }
    pthread_rwlock_unlock(&producer->lock);
    pthread_rwlock_rdlock(&producer->lock);
    /* The client may have been exchanged in between. */
    topic = topic == NULL ? NULL : map_get(&producer->client->topics, slice_cstr(name));
    if (topic == NULL) {
        fault_set(fault, FAULT_TEMPORARY, 0, "%s: the Kafka producer cannot use it now", name);
        return NULL;
    }
    return topic->handle;
}

static bool produce_error(struct kafka_producer *producer, const char *topic,
                          rd_kafka_error_t *error, struct fault *fault)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        atomic_store(&producer->broken, true);
        fault_set(fault, FAULT_TEMPORARY, (int)code, "the Kafka producer is being made anew");
    } else {
        fault_set(fault, kafka_fault_kind(code), (int)code, "%s: %s", topic,
                  rd_kafka_error_string(error));
    }
    rd_kafka_error_destroy(error);
    return false;
}

bool kafka_producer_send(struct kafka_producer *producer, const struct kafka_record_out *record,
                         struct fault *fault)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    if (atomic_load_explicit(&producer->broken, memory_order_relaxed)) {
        return fault_set(fault, FAULT_TEMPORARY, 0, "the Kafka producer is being made anew");
    }
    pthread_rwlock_rdlock(&producer->lock);
    rd_kafka_topic_t *topic = topic_handle(producer, record->topic, fault);
    if (topic == NULL) {
        pthread_rwlock_unlock(&producer->lock);
        return false;
    }
    atomic_fetch_add_explicit(&producer->pending, 1, memory_order_relaxed);
    rd_kafka_error_t *error =
        kafka_produce(producer->client->rk, topic, record, !record->borrow_value, record->delivery);
    if (error != NULL) {
        atomic_fetch_sub_explicit(&producer->pending, 1, memory_order_relaxed);
        produce_error(producer, record->topic, error, fault);
    }
    pthread_rwlock_unlock(&producer->lock);
    return error == NULL;
}

static void report(struct kafka_producer *producer, const rd_kafka_message_t *message)
{
    struct kafka_delivery *delivery = message->_private;
    struct fault fault;
    unsigned suppressed;
    atomic_fetch_sub_explicit(&producer->pending, 1, memory_order_relaxed);
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (delivery != NULL) {
            delivery->done(delivery, message->partition, message->offset, NULL);
        }
        return;
    }
    enum fault_kind kind = kafka_fault_kind(message->err);
    fault_set(&fault, kind == FAULT_FATAL ? FAULT_TEMPORARY : kind, (int)message->err,
              "%s [%d]: %s", rd_kafka_topic_name(message->rkt), message->partition,
              rd_kafka_err2str(message->err));
    if (kafka_log_allowed(&producer->log_limit, 5, &suppressed)) {
        log_warn("not-delivered", "suppressed=%u reason=\"%s\"", suppressed, fault.text);
    }
    if (delivery != NULL) {
        delivery->done(delivery, message->partition, -1, &fault);
    }
}

static int handle_event(struct kafka_producer *producer, rd_kafka_event_t *event)
{
    int reports = 0;
    unsigned suppressed;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
        const rd_kafka_message_t *message;
        while ((message = rd_kafka_event_message_next(event)) != NULL) {
            report(producer, message);
            reports++;
        }
    } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) {
        if (rd_kafka_event_error_is_fatal(event)) {
            atomic_store(&producer->broken, true);
        }
        if (kafka_log_allowed(&producer->log_limit, 5, &suppressed)) {
            char quoted[500];
            log_warn(
                "producer-error", "code=%s suppressed=%u text=%s",
                rd_kafka_err2name(rd_kafka_event_error(event)), suppressed,
                log_quote(quoted, sizeof(quoted), slice_cstr(rd_kafka_event_error_string(event))));
        }
    }
    rd_kafka_event_destroy(event);
    return reports;
}

/* Tells every report that the client still has. */
static int client_drain(struct kafka_producer *producer, struct client *client)
{
    int reports = 0;
    rd_kafka_purge(client->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (rd_kafka_outq_len(client->rk) > 0) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(client->queue, 100);
        reports += event == NULL ? 0 : handle_event(producer, event);
    }
    return reports;
}

static int recreate(struct kafka_producer *producer)
{
    struct fault fault;
    struct mono_time now = mono_now();
    if (mono_before(now, producer->recreate_at)) {
        return 0;
    }
    producer->recreate_at = mono_add_ms(now, RECREATE_RETRY_MS);
    char why[256] = "";
    rd_kafka_resp_err_t error = rd_kafka_fatal_error(producer->client->rk, why, sizeof(why));
    struct client *fresh = client_create(&producer->properties, &producer->options, &fault);
    if (fresh == NULL) {
        log_error("producer-not-recreated", "reason=\"%s\"", fault.text);
        return 0;
    }
    notify_client(fresh, producer->event_fd);
    pthread_rwlock_wrlock(&producer->lock);
    struct client *old = producer->client;
    producer->client = fresh;
    atomic_store(&producer->broken, false);
    pthread_rwlock_unlock(&producer->lock);
    int reports = client_drain(producer, old);
    log_error("producer-recreated", "unacknowledged=%d code=%s reason=\"%s\"", reports,
              rd_kafka_err2name(error), why);
    atomic_store(&producer->broken, false); /* what the old one still said of itself */
    client_free(old);
    return reports;
}

int kafka_producer_poll(struct kafka_producer *producer, int timeout_ms)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    int reports = 0;
    rd_kafka_event_t *event = rd_kafka_queue_poll(producer->client->queue, timeout_ms);
    while (event != NULL) {
        reports += handle_event(producer, event);
        if (reports >= 10000) {
            break;
        }
        event = rd_kafka_queue_poll(producer->client->queue, 0);
    }
    if (atomic_load(&producer->broken)) {
        reports += recreate(producer);
    }
    return reports;
}

void kafka_producer_wake(struct kafka_producer *producer)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    pthread_rwlock_rdlock(&producer->lock);
    rd_kafka_queue_yield(producer->client->queue);
    pthread_rwlock_unlock(&producer->lock);
}

void kafka_producer_notify(struct kafka_producer *producer, int event_fd)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    producer->event_fd = event_fd;
    notify_client(producer->client, event_fd);
}

bool kafka_producer_flush(struct kafka_producer *producer, int timeout_ms)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    struct mono_time end = mono_add_ms(mono_now(), timeout_ms);
    kafka_producer_poll(producer, 0);
    while (kafka_producer_pending(producer) > 0) {
        if (!mono_before(mono_now(), end)) {
            return false;
        }
        /* Sends without lingering while it waits; the reports are ours to take. */
        rd_kafka_flush(producer->client->rk, FLUSH_SLICE_MS);
        kafka_producer_poll(producer, 0);
    }
    return true;
}

int kafka_producer_pending(struct kafka_producer *producer)
{
    return atomic_load_explicit(&producer->pending, memory_order_relaxed);
}

void kafka_producer_free(struct kafka_producer **pointer, int flush_ms)
{
    struct kafka_producer *producer = *pointer;
    if (producer == NULL) {
        return;
    }
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    *pointer = NULL;
    kafka_producer_flush(producer, flush_ms);
    client_drain(producer, producer->client);
    CHECK(kafka_producer_pending(producer) == 0);
    client_free(producer->client);
    pthread_rwlock_destroy(&producer->lock);
    kafka_properties_free(&producer->properties);
    kafka_text_free(producer->options.client_id);
    kafka_text_free(producer->options.compression);
    producer->magic = 0;
    mem_free(producer);
}

/* Metadata of one topic, and a connection to the leader of each of its partitions. */
static bool touch(struct kafka_producer *producer, const char *name, int timeout_ms,
                  struct fault *fault)
{
    pthread_rwlock_rdlock(&producer->lock);
    rd_kafka_topic_t *handle = topic_handle(producer, name, fault);
    pthread_rwlock_unlock(&producer->lock);
    if (handle == NULL) {
        return false;
    }
    rd_kafka_t *rk = producer->client->rk;
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 0, handle, &metadata, timeout_ms);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_fault_set(fault, error, name);
    }
    error = metadata->topic_cnt == 1 ? metadata->topics[0].err
                                     : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (int i = 0; error == RD_KAFKA_RESP_ERR_NO_ERROR && i < metadata->topics[0].partition_cnt;
         i++) {
        rd_kafka_topic_partition_list_add(list, name, metadata->topics[0].partitions[i].id)
            ->offset = RD_KAFKA_OFFSET_END;
    }
    rd_kafka_metadata_destroy(metadata);
    bool ok = error == RD_KAFKA_RESP_ERR_NO_ERROR ? kafka_list_offsets(rk, list, timeout_ms, fault)
                                                  : kafka_fault_set(fault, error, name);
    rd_kafka_topic_partition_list_destroy(list);
    return ok;
}

bool kafka_producer_warm_up(struct kafka_producer *producer, const char *const *topics,
                            size_t count, int timeout_ms, struct fault *fault)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    struct mono_time end = mono_add_ms(mono_now(), timeout_ms);
    for (size_t i = 0; i < count; i++) {
        int64_t left_us = mono_since_us(end, mono_now());
        if (left_us <= 0) {
            return fault_set(fault, FAULT_TIMEOUT, 0, "%s: no metadata in time", topics[i]);
        }
        if (!touch(producer, topics[i], (int)(left_us / 1000) + 1, fault)) {
            return false;
        }
    }
    return true;
}

void kafka_producer_break(struct kafka_producer *producer)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    rd_kafka_test_fatal_error(producer->client->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                              "test");
}
