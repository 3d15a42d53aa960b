#include "kafka/reading_private.h"

#define RESPONSE_MAX_BYTES (128 << 20)
#define QUEUED_MAX_KBYTES (64 * 1024)

rd_kafka_t *kafka_reading_client(const struct kafka_properties *properties,
                                 const struct kafka_reading *reading, struct fault *fault)
{
    struct kafka_conf builder;
    kafka_conf_begin(&builder, properties, fault);
    if (reading->client_id != NULL) {
        kafka_conf_set(&builder, "client.id", reading->client_id);
    }
    kafka_conf_set_int(&builder, "fetch.message.max.bytes", reading->partition_bytes);
    kafka_conf_set_int(&builder, "fetch.max.bytes", reading->fetch_bytes);
    kafka_conf_set_int(&builder, "receive.message.max.bytes", RESPONSE_MAX_BYTES);
    kafka_conf_set_int(&builder, "queued.max.messages.kbytes", QUEUED_MAX_KBYTES);
    if (reading->queued_messages != 0) {
        kafka_conf_set_int(&builder, "queued.min.messages", reading->queued_messages);
    }
    kafka_conf_set_int(&builder, "fetch.wait.max.ms", reading->wait_ms);
    if (reading->backoff_ms != 0) {
        kafka_conf_set_int(&builder, "fetch.error.backoff.ms", reading->backoff_ms);
    }
    kafka_conf_user(&builder);
    kafka_conf_set(&builder, "isolation.level",
                   reading->uncommitted ? "read_uncommitted" : "read_committed");
    kafka_conf_set(&builder, "auto.offset.reset", "earliest");
    if (reading->group_fixed) {
        kafka_conf_must(&builder, "group.id", reading->group);
    } else {
        kafka_conf_set(&builder, "group.id", reading->group);
    }
    kafka_conf_must(&builder, "enable.auto.commit", "false");
    kafka_conf_must(&builder, "enable.partition.eof", "true");
    rd_kafka_t *rk = kafka_conf_create_client(&builder, RD_KAFKA_CONSUMER);
    if (rk != NULL) {
        rd_kafka_poll_set_consumer(rk);
    }
    return rk;
}

bool kafka_reading_failed(const rd_kafka_message_t *message, struct fault *fault)
{
    enum fault_kind kind = kafka_fault_kind(message->err);
    if (kind == FAULT_TEMPORARY || kind == FAULT_TIMEOUT) {
        return false;
    }
    fault_set(fault, kind, (int)message->err, "reading: %s", rd_kafka_message_errstr(message));
    return true;
}

struct kafka_reader_record kafka_reading_record(const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    return (struct kafka_reader_record){
        .topic = rd_kafka_topic_name(message->rkt),
        .partition = message->partition,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, &type),
        .key = message->key == NULL ? SLICE_NULL : slice_of(message->key, message->key_len),
        .value = message->payload == NULL ? SLICE_NULL : slice_of(message->payload, message->len),
        .handle = message,
    };
}
