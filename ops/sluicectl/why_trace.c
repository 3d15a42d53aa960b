#include "ops/sluicectl/why_trace.h"

#include "ops/sluicectl/why.h"

#define JUMP_MS 30000 /* a shorter wait is read through */
#define SKEW_MS 5000
#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)16 * 1024 * 1024)

static enum kafka_finder_verdict follow(void *owner, const struct kafka_reader_record *record)
{
    struct why_log *log = owner;
    log->place.offset = record->offset + 1;
    log->read_ms = record->timestamp_ms;
    if (!slice_eq_nocase(record->key, log->trace->message_id)) {
        return KAFKA_FINDER_ON;
    }
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    struct event event;
    struct fault fault;
    CHECK(arena != NULL);
    if (event_decode(record->value, arena, &event, &fault)) {
        (void)trace_add(log->trace, &event);
    }
    arena_free(&arena);
    if (trace_state(log->trace) == TRACE_FINISHED) {
        return KAFKA_FINDER_STOP;
    }
    int64_t quiet_ms = trace_quiet_until(log->trace) - SKEW_MS;
    log->jump_ms = quiet_ms > record->timestamp_ms + JUMP_MS ? quiet_ms : 0;
    return log->jump_ms > 0 ? KAFKA_FINDER_STOP : KAFKA_FINDER_ON;
}

/* Goes on at that time. False: there is nothing yet, or the fault. */
static bool jump(struct why_log *log, struct kafka_finder *finder, struct mono_time deadline,
                 bool *failed, struct fault *fault)
{
    int64_t next = log->place.offset;
    if (log->jump_ms > wall_now().ms) {
        return false;
    }
    *failed =
        !kafka_finder_times(finder, &log->place, 1, log->jump_ms, why_left_ms(deadline), fault);
    log->place.offset = log->place.offset < next ? next : log->place.offset;
    return !*failed;
}

bool why_log_begin(struct why_log *log, struct kafka_finder *finder, const char *topic,
                   int64_t from_ms, struct mono_time deadline, struct trace *trace,
                   struct fault *fault)
{
    int partitions = kafka_finder_partitions(finder, topic, why_left_ms(deadline), fault);
    *log = (struct why_log){.trace = trace, .from_ms = from_ms};
    if (partitions <= 0) {
        return false;
    }
    log->place = (struct kafka_reader_place){
        .topic = topic, .partition = kafka_finder_partition_of(trace->message_id, partitions)};
    return kafka_finder_times(finder, &log->place, 1, from_ms, why_left_ms(deadline), fault);
}

bool why_log_read(struct why_log *log, struct kafka_finder *finder, struct mono_time deadline,
                  struct fault *fault)
{
    bool failed = false;
    bool going = true;
    while (going) {
        log->jump_ms = 0;
        enum kafka_finder_over over =
            kafka_finder_read(finder, &log->place, 1, deadline, follow, log, fault);
        failed = over == KAFKA_FINDER_FAILED;
        log->complete = over == KAFKA_FINDER_DONE || over == KAFKA_FINDER_STOPPED;
        going = over == KAFKA_FINDER_STOPPED && log->jump_ms > 0 &&
                jump(log, finder, deadline, &failed, fault);
    }
    log->complete = log->complete && !failed;
    return !failed;
}
