/*
 * The events about one message, read from the topic `log`: only the partition that its id is the
 * key of, from the time that the id carries, and past the times in which it waits.
 */
#ifndef SLUICE_OPS_SLUICECTL_WHY_TRACE_H
#define SLUICE_OPS_SLUICECTL_WHY_TRACE_H

#include "kafka/finder.h"
#include "ops/trace/trace.h"

/* *complete: up to the end of the log, or to where nothing more can come; else up to *read_ms when
 * the deadline came. from_ms: KAFKA_FINDER_BEGINNING or a time. */
bool why_trace_read(struct kafka_finder *finder, const char *topic, int64_t from_ms,
                    struct mono_time deadline, struct trace *trace, bool *complete,
                    int64_t *read_ms, struct fault *fault);

#endif
