/*
 * Looking records up without a group of our own, for tools: where a time lies in partitions, what a
 * group has committed there, and reading a stretch of them. One client for many look-ups, as the
 * first one costs most. One thread.
 */
#ifndef SLUICE_KAFKA_FINDER_H
#define SLUICE_KAFKA_FINDER_H

#include "base/clock.h"
#include "kafka/properties.h"
#include "kafka/reader.h"

#define KAFKA_FINDER_BEGINNING (-2)
#define KAFKA_FINDER_END (-1)

struct kafka_finder;

/* `group`: whose commits are looked at; it is never joined. */
struct kafka_finder *kafka_finder_create(const struct kafka_properties *properties,
                                         const char *group, struct fault *fault);
/* One for reading a few records at many places: it fetches little from each. */
struct kafka_finder *kafka_finder_create_sampling(const struct kafka_properties *properties,
                                                  const char *group, struct fault *fault);
void kafka_finder_free(struct kafka_finder **finder);

/* How many the topic has; -1: not known, or there is no such topic (FAULT_NOT_FOUND). */
int kafka_finder_partitions(struct kafka_finder *finder, const char *topic, int timeout_ms,
                            struct fault *fault);
/* Where producers put a record with that key. */
int32_t kafka_finder_partition_of(struct slice key, int partitions);

/* Sets the offset of each place: of the first record at or after at_ms (the end when there is none,
 * or with KAFKA_FINDER_END), or of the first one there is. */
bool kafka_finder_times(struct kafka_finder *finder, struct kafka_reader_place *places,
                        size_t count, int64_t at_ms, int timeout_ms, struct fault *fault);
/* Sets the offset of each place to what the group has committed; -1: nothing. */
bool kafka_finder_committed(struct kafka_finder *finder, struct kafka_reader_place *places,
                            size_t count, int timeout_ms, struct fault *fault);

enum kafka_finder_verdict {
    KAFKA_FINDER_ON,     /* the next one */
    KAFKA_FINDER_ENOUGH, /* of this partition */
    KAFKA_FINDER_STOP,   /* of all */
};
enum kafka_finder_over {
    KAFKA_FINDER_DONE, /* each partition was read to its end, or as far as was wanted */
    KAFKA_FINDER_STOPPED,
    KAFKA_FINDER_LATE, /* the deadline came first */
    KAFKA_FINDER_FAILED,
};
/* Reads the places from their offsets on, up to the end of each; what transactions have not
 * committed is not seen. The record is valid during the call. */
enum kafka_finder_over kafka_finder_read(
    struct kafka_finder *finder, const struct kafka_reader_place *places, size_t count,
    struct mono_time deadline,
    enum kafka_finder_verdict (*visit)(void *owner, const struct kafka_reader_record *record),
    void *owner, struct fault *fault);

#endif
