/*
 * How fast partitions are read: records a second, looked at every few seconds. One thread, the
 * consumer's.
 */
#ifndef SLUICE_WORKER_PACE_H
#define SLUICE_WORKER_PACE_H

#include "kafka/consumer.h"

struct pace {
    struct pace_item {
        const struct kafka_partition *partition;
        int64_t position;
        struct mono_time at;
        double rate; /* before `at` */
    } * items;
    size_t count;
};

/* These are read from now on; zeroed before the first call. None: frees. */
void pace_begin(struct pace *pace, struct kafka_partition *const *partitions, size_t count,
                struct mono_time now);
/* About each 10 s. */
void pace_note(struct pace *pace, struct mono_time now);
/* Since it was looked at, or before that if it was a moment ago. */
double pace_rate(const struct pace *pace, size_t index, struct mono_time now);
/* The offset that is taken next, or behind it where there are none. */
int64_t pace_position(const struct kafka_partition *partition);

#endif
