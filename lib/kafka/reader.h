/*
 * Reading topics without a group, for tools and accountings: from the beginning, from a time, or
 * following the end.
 */
#ifndef SLUICE_KAFKA_READER_H
#define SLUICE_KAFKA_READER_H

#include "kafka/properties.h"

struct kafka_reader;

struct kafka_reader_record {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* -1: none */
    struct slice key;
    struct slice value; /* ptr NULL: none, a tombstone */
    const void *handle; /* for kafka_reader_header */
};

/* from_ms: -2 the beginning, -1 the end, else the first record at or after that time. */
struct kafka_reader *kafka_reader_create(const struct kafka_properties *properties,
                                         const char *const *topics, size_t count, int64_t from_ms,
                                         struct fault *fault);
/* From places that the owner has kept; partitions that are not among them from the beginning, and
 * so those whose records there are gone. */
struct kafka_reader_place {
    const char *topic;
    int32_t partition;
    int64_t offset;
};
struct kafka_reader *kafka_reader_create_at(const struct kafka_properties *properties,
                                            const char *const *topics, size_t count,
                                            const struct kafka_reader_place *places,
                                            size_t place_count, struct fault *fault);
/* Only those partitions of one topic to which a producer puts records with one of these keys. */
struct kafka_reader *kafka_reader_create_keys(const struct kafka_properties *properties,
                                              const char *topic, const struct slice *keys,
                                              size_t key_count, int64_t from_ms,
                                              struct fault *fault);
void kafka_reader_free(struct kafka_reader **reader);

enum kafka_read { KAFKA_READ_RECORD, KAFKA_READ_NONE, KAFKA_READ_END, KAFKA_READ_FAILED };
/* RECORD: valid until the next call. END: every partition has reached the end that it had when the
 * reader was made (or when END was last told): once, then NONE while nothing new comes. */
enum kafka_read kafka_reader_next(struct kafka_reader *reader, int timeout_ms,
                                  struct kafka_reader_record *record, struct fault *fault);
/* The last header of that name of a record that is still valid. */
bool kafka_reader_header(const struct kafka_reader_record *record, const char *name,
                         struct slice *value);
/* It as a number; 0: there is none. */
int64_t kafka_reader_number(const struct kafka_reader_record *record, const char *name);

#endif
