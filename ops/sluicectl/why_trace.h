/*
 * The events about one message, read from the topic `log`: only the partition that its id is the
 * key of, from the time that the id carries, and past the times in which it waits. Reading goes on
 * where it stopped, as long as there is time.
 */
#ifndef SLUICE_OPS_SLUICECTL_WHY_TRACE_H
#define SLUICE_OPS_SLUICECTL_WHY_TRACE_H

#include "kafka/finder.h"
#include "ops/trace/trace.h"

struct why_log {
    struct trace *trace;
    struct kafka_reader_place place; /* where reading goes on */
    int64_t from_ms;                 /* KAFKA_FINDER_BEGINNING or a time */
    int64_t read_ms;                 /* of the last record; 0: none was read */
    int64_t jump_ms;                 /* nothing comes before; 0: read on */
    bool complete;                   /* up to the end, or to where nothing more can come */
};

/* The trace and the topic's name are lent. */
bool why_log_begin(struct why_log *log, struct kafka_finder *finder, const char *topic,
                   int64_t from_ms, struct mono_time deadline, struct trace *trace,
                   struct fault *fault);
/* Until it is complete or the deadline comes. */
bool why_log_read(struct why_log *log, struct kafka_finder *finder, struct mono_time deadline,
                  struct fault *fault);

#endif
