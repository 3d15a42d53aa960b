/*
 * What the clients of this room share: building a librdkafka configuration, and telling
 * librdkafka's errors as faults. Anything may be used from any thread; a builder belongs to one
 * caller.
 */
#ifndef SLUICE_KAFKA_CONF_PRIVATE_H
#define SLUICE_KAFKA_CONF_PRIVATE_H

#include "kafka/properties.h"

#include <librdkafka/rdkafka.h>

/*
 * In this order: kafka_conf_begin, our defaults, the user's properties over them, then what must
 * not be otherwise. The first error sticks: all calls after it do nothing.
 */
struct kafka_conf {
    rd_kafka_conf_t *conf;
    const struct kafka_properties *properties;
    struct fault *fault; /* may be NULL */
    bool failed;
};

/* Settings that every client of ours starts from; logs go to base/log. */
void kafka_conf_begin(struct kafka_conf *builder, const struct kafka_properties *properties,
                      struct fault *fault);
void kafka_conf_set(struct kafka_conf *builder, const char *name, const char *value);
void kafka_conf_set_int(struct kafka_conf *builder, const char *name, int64_t value);
void kafka_conf_user(struct kafka_conf *builder);
/* FAULT_INVALID when the user's properties say otherwise. */
void kafka_conf_must(struct kafka_conf *builder, const char *name, const char *value);
void kafka_conf_must_int(struct kafka_conf *builder, const char *name, int64_t value);
/* The client, which takes the configuration; NULL: fault is set. Frees the configuration in any
 * case. */
rd_kafka_t *kafka_conf_create_client(struct kafka_conf *builder, rd_kafka_type_t type);

/* Of an own copy that is kept as const. */
void kafka_text_free(const void *text);

/* Does nothing: a reference to it links tsan_threads.c. */
void kafka_tsan_threads(void);
/* The same for steady.c. */
void kafka_steady(void);

enum fault_kind kafka_fault_kind(rd_kafka_resp_err_t error);
/* "what: librdkafka's words". Returns false. */
bool kafka_fault_set(struct fault *fault, rd_kafka_resp_err_t error, const char *what);
/* Of a topic; -1: FAULT_NOT_FOUND, or what the brokers said. */
int kafka_partition_count(rd_kafka_t *rk, const char *topic, int timeout_ms, struct fault *fault);

/* At most `burst` times in 10 s; the caller's static or struct state. Not thread-safe. */
struct kafka_log_limit {
    int64_t window_start_us;
    unsigned count;
    unsigned suppressed;
};
/* True: log now; *suppressed says how many were left out before. */
bool kafka_log_allowed(struct kafka_log_limit *limit, unsigned burst, unsigned *suppressed);

/* Header of a consumed message, or of its headers (may be NULL); the last of that name wins. */
bool kafka_header_last(const rd_kafka_headers_t *headers, const char *name, struct slice *value);
bool kafka_message_header(const rd_kafka_message_t *message, const char *name, struct slice *value);

/*
 * ListOffsets for all of `list` in one call. In: list's offset = RD_KAFKA_OFFSET_BEGINNING,
 * RD_KAFKA_OFFSET_END or a time in ms. Out: the offset (-1 when there is none after that time). A
 * partition's own error fails the call.
 */
bool kafka_list_offsets(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms,
                        struct fault *fault);

/* Metadata of the topic and a connection to each of its leaders: the first use of a topic stalls
 * about a second else. Waits for it. */
bool kafka_touch_topic(rd_kafka_t *rk, rd_kafka_topic_t *topic, int timeout_ms,
                       struct fault *fault);

#endif
