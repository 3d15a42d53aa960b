#include "kafka/produce_private.h"

static void *opaque_bytes(struct slice s)
{
    union {
        const char *given;
        void *taken;
    } both = {s.ptr};
    return both.taken;
}

static rd_kafka_headers_t *make_headers(const struct kafka_record_out *record)
{
    if (record->header_count == 0) {
        return NULL;
    }
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        const struct kafka_header *one = &record->headers[i];
        rd_kafka_header_add(headers, one->name, -1, one->value.ptr, (ssize_t)one->value.len);
    }
    return headers;
}

rd_kafka_error_t *kafka_produce(rd_kafka_t *rk, rd_kafka_topic_t *topic,
                                const struct kafka_record_out *record, bool copy, void *opaque)
{
    rd_kafka_headers_t *headers = make_headers(record);
    rd_kafka_vu_t to = {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = record->topic};
    if (topic != NULL) {
        to = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic};
    }
    rd_kafka_vu_t args[] = {
        to,
        {.vtype = RD_KAFKA_VTYPE_PARTITION,
         .u.i32 = record->partition < 0 ? RD_KAFKA_PARTITION_UA : record->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = copy ? RD_KAFKA_MSG_F_COPY : 0},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {opaque_bytes(record->value), record->value.len}},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {opaque_bytes(record->key), record->key.len}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };
    rd_kafka_error_t *error =
        rd_kafka_produceva(rk, args, ARRAY_LEN(args) - (headers == NULL ? 1 : 0));
    if (error != NULL && headers != NULL) {
        rd_kafka_headers_destroy(headers); /* taken only on success */
    }
    return error;
}
