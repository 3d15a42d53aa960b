/*
 * Configuration and errors of librdkafka in our words. The log callback runs on librdkafka's
 * threads, everything else on the caller's.
 */
#include "kafka/properties.h"

#include "kafka/conf_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "policy/config.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

static struct kafka_log_limit log_limit;
static pthread_mutex_t log_limit_lock = PTHREAD_MUTEX_INITIALIZER;

bool kafka_log_allowed(struct kafka_log_limit *limit, unsigned burst, unsigned *suppressed)
{
    int64_t now_us = mono_now().us;
    *suppressed = 0;
    if (limit->window_start_us == 0 || now_us - limit->window_start_us > 10000000) {
        limit->window_start_us = now_us;
        limit->count = 0;
        *suppressed = limit->suppressed;
        limit->suppressed = 0;
    }
    if (limit->count >= burst) {
        limit->suppressed++;
        return false;
    }
    limit->count++;
    return true;
}

static void log_from_library(const rd_kafka_t *rk, int level, const char *facility,
                             const char *text)
{
    unsigned suppressed;
    pthread_mutex_lock(&log_limit_lock);
    bool allowed = level > LOG_NOTICE || kafka_log_allowed(&log_limit, 20, &suppressed);
    pthread_mutex_unlock(&log_limit_lock);
    if (!allowed) {
        return;
    }
    enum log_level ours = level <= LOG_CRIT      ? LOG_LEVEL_ERROR
                          : level <= LOG_WARNING ? LOG_LEVEL_WARN
                          : level <= LOG_INFO    ? LOG_LEVEL_INFO
                                                 : LOG_LEVEL_DEBUG;
    char quoted[600];
    log_write(ours, "kafka-client", "client=%s facility=%s text=%s",
              rk == NULL ? "-" : rd_kafka_name(rk), facility,
              log_quote(quoted, sizeof(quoted), slice_cstr(text)));
}

void kafka_conf_begin(struct kafka_conf *builder, const struct kafka_properties *properties,
                      struct fault *fault)
{
    *builder =
        (struct kafka_conf){.conf = rd_kafka_conf_new(), .properties = properties, .fault = fault};
    kafka_tsan_threads();
    kafka_steady();
    rd_kafka_conf_set_log_cb(builder->conf, log_from_library);
    kafka_conf_set(builder, "socket.nagle.disable", "true");
    kafka_conf_set(builder, "socket.keepalive.enable", "true");
    kafka_conf_set(builder, "reconnect.backoff.ms", "100");
    /* A group goes on when the last of its members has found the broker again. */
    kafka_conf_set(builder, "reconnect.backoff.max.ms", "1000");
    kafka_conf_set(builder, "log.connection.close", "false");
    /* So long a client may take to learn of new partitions. */
    kafka_conf_set(builder, "topic.metadata.refresh.interval.ms", "30000");
}

void kafka_conf_set(struct kafka_conf *builder, const char *name, const char *value)
{
    if (builder->failed) {
        return;
    }
    char why[256];
    if (rd_kafka_conf_set(builder->conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
        builder->failed = true;
        fault_set(builder->fault, FAULT_INVALID, 0, "Kafka property %s: %s", name, why);
    }
}

void kafka_conf_set_int(struct kafka_conf *builder, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, value);
    kafka_conf_set(builder, name, text);
}

void kafka_conf_user(struct kafka_conf *builder)
{
    for (size_t i = 0; i < builder->properties->count; i++) {
        kafka_conf_set(builder, builder->properties->items[i].name,
                       builder->properties->items[i].value);
    }
}

void kafka_conf_must(struct kafka_conf *builder, const char *name, const char *value)
{
    for (size_t i = 0; i < builder->properties->count && !builder->failed; i++) {
        const struct kafka_property *one = &builder->properties->items[i];
        if (strcmp(one->name, name) == 0 && strcmp(one->value, value) != 0) {
            builder->failed = true;
            fault_set(builder->fault, FAULT_INVALID, 0,
                      "Kafka property %s is %s here and cannot be changed", name, value);
        }
    }
    kafka_conf_set(builder, name, value);
}

void kafka_conf_must_int(struct kafka_conf *builder, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, value);
    kafka_conf_must(builder, name, text);
}

void kafka_text_free(const void *text)
{
    union {
        const void *given;
        void *own;
    } both = {text};
    mem_free(both.own);
}

static struct kafka_property copy_of(const char *name, const char *value)
{
    return (struct kafka_property){mem_strdup(name), mem_strdup(value)};
}

void kafka_properties_from_config(struct kafka_properties *to, const struct config_kafka *config)
{
    struct kafka_property *items = mem_calloc(config->property_count + 1, sizeof(*items));
    items[0] = copy_of("bootstrap.servers", config->bootstrap_servers);
    for (size_t i = 0; i < config->property_count; i++) {
        items[i + 1] = copy_of(config->properties[i].name, config->properties[i].value);
    }
    *to = (struct kafka_properties){items, config->property_count + 1};
}

void kafka_properties_copy(struct kafka_properties *to, const struct kafka_properties *from)
{
    struct kafka_property *items = mem_calloc(from->count + 1, sizeof(*items));
    for (size_t i = 0; i < from->count; i++) {
        items[i] = copy_of(from->items[i].name, from->items[i].value);
    }
    *to = (struct kafka_properties){items, from->count};
}

void kafka_properties_free(struct kafka_properties *properties)
{
    for (size_t i = 0; i < properties->count; i++) {
        kafka_text_free(properties->items[i].name);
        kafka_text_free(properties->items[i].value);
    }
    kafka_text_free(properties->items);
    *properties = (struct kafka_properties){NULL, 0};
}

rd_kafka_t *kafka_conf_create_client(struct kafka_conf *builder, rd_kafka_type_t type)
{
    rd_kafka_t *rk = NULL;
    if (!builder->failed) {
        char servers[8];
        size_t size = sizeof(servers);
        char why[256];
        if (rd_kafka_conf_get(builder->conf, "bootstrap.servers", servers, &size) !=
                RD_KAFKA_CONF_OK ||
            size <= 1) {
            fault_set(builder->fault, FAULT_INVALID, 0,
                      "Kafka property bootstrap.servers is missing");
        } else {
            rk = rd_kafka_new(type, builder->conf, why, sizeof(why));
            if (rk != NULL) {
                builder->conf = NULL;
            } else {
                fault_set(builder->fault, FAULT_INVALID, 0, "Kafka client: %s", why);
            }
        }
    }
    if (builder->conf != NULL) {
        rd_kafka_conf_destroy(builder->conf);
        builder->conf = NULL;
    }
    return rk;
}

/* librdkafka has some 150 codes: only those that mean something to us are told apart. */
enum fault_kind kafka_fault_kind(rd_kafka_resp_err_t error)
{
    static const struct {
        rd_kafka_resp_err_t error;
        enum fault_kind kind;
    } kinds[] = {
        {RD_KAFKA_RESP_ERR_NO_ERROR, FAULT_NONE},
        {RD_KAFKA_RESP_ERR__QUEUE_FULL, FAULT_LIMIT},
        {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, FAULT_TIMEOUT},
        {RD_KAFKA_RESP_ERR__TIMED_OUT, FAULT_TIMEOUT},
        {RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, FAULT_TIMEOUT},
        {RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, FAULT_TIMEOUT},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_RECORD, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_MSG, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR__INVALID_ARG, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_CONFIG, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, FAULT_INVALID},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, FAULT_REFUSED},
        {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, FAULT_REFUSED},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, FAULT_REFUSED},
        {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, FAULT_REFUSED},
        {RD_KAFKA_RESP_ERR__AUTHENTICATION, FAULT_REFUSED},
        {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, FAULT_REFUSED},
        {RD_KAFKA_RESP_ERR__FATAL, FAULT_FATAL},
        {RD_KAFKA_RESP_ERR__FENCED, FAULT_FATAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].error == error) {
            return kinds[i].kind;
        }
    }
    return FAULT_TEMPORARY;
}

bool kafka_fault_set(struct fault *fault, rd_kafka_resp_err_t error, const char *what)
{
    return fault_set(fault, kafka_fault_kind(error), (int)error, "%s: %s", what,
                     rd_kafka_err2str(error));
}

bool kafka_header_last(const rd_kafka_headers_t *headers, const char *name, struct slice *value)
{
    const void *bytes;
    size_t size;
    if (headers == NULL ||
        rd_kafka_header_get_last(headers, name, &bytes, &size) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return false;
    }
    *value = slice_of(bytes, size);
    return true;
}

bool kafka_message_header(const rd_kafka_message_t *message, const char *name, struct slice *value)
{
    rd_kafka_headers_t *headers;
    return message != NULL &&
           rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
           kafka_header_last(headers, name, value);
}

bool kafka_list_offsets(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms,
                        struct fault *fault)
{
    if (list->cnt == 0) {
        return true;
    }
    rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_fault_set(fault, error, "offsets of the partitions");
    }
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &list->elems[i];
        if (one->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return fault_set(fault, kafka_fault_kind(one->err), (int)one->err,
                             "offset of %s [%d]: %s", one->topic, one->partition,
                             rd_kafka_err2str(one->err));
        }
    }
    return true;
}

bool kafka_touch_topic(rd_kafka_t *rk, rd_kafka_topic_t *topic, int timeout_ms, struct fault *fault)
{
    const char *name = rd_kafka_topic_name(topic);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 0, topic, &metadata, timeout_ms);
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

int kafka_partition_count(rd_kafka_t *rk, const char *topic, int timeout_ms, struct fault *fault)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    CHECK(handle != NULL);
    rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 0, handle, &metadata, timeout_ms);
    rd_kafka_topic_destroy(handle);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        kafka_fault_set(fault, error, topic);
        return -1;
    }
    error = metadata->topic_cnt == 1 ? metadata->topics[0].err
                                     : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    int count = error == RD_KAFKA_RESP_ERR_NO_ERROR ? metadata->topics[0].partition_cnt : -1;
    rd_kafka_metadata_destroy(metadata);
    if (error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        fault_set(fault, FAULT_NOT_FOUND, (int)error, "topic %s does not exist", topic);
    } else if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        kafka_fault_set(fault, error, topic);
    }
    return count;
}
