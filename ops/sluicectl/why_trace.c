#include "ops/sluicectl/why_trace.h"

#define ASK_MS 3000
#define JUMP_MS 30000 /* a shorter wait is read through */
#define SKEW_MS 5000
#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)16 * 1024 * 1024)

struct following {
    struct trace *trace;
    int64_t offset, timestamp_ms; /* of the last record */
    int64_t jump_ms;              /* nothing comes before; 0: read on */
};

static enum kafka_finder_verdict follow(void *owner, const struct kafka_reader_record *record)
{
    struct following *following = owner;
    following->offset = record->offset;
    following->timestamp_ms = record->timestamp_ms;
    if (!slice_eq_nocase(record->key, following->trace->message_id)) {
        return KAFKA_FINDER_ON;
    }
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    struct event event;
    struct fault fault;
    CHECK(arena != NULL);
    if (event_decode(record->value, arena, &event, &fault)) {
        (void)trace_add(following->trace, &event);
    }
    arena_free(&arena);
    if (trace_state(following->trace) == TRACE_FINISHED) {
        return KAFKA_FINDER_STOP;
    }
    int64_t quiet_ms = trace_quiet_until(following->trace) - SKEW_MS;
    following->jump_ms = quiet_ms > record->timestamp_ms + JUMP_MS ? quiet_ms : 0;
    return following->jump_ms > 0 ? KAFKA_FINDER_STOP : KAFKA_FINDER_ON;
}

/* Goes on at that time. False: there is nothing yet, or the fault. */
static bool jump(struct kafka_finder *finder, struct following *following,
                 struct kafka_reader_place *place, bool *failed, struct fault *fault)
{
    if (following->jump_ms > wall_now().ms) {
        return false;
    }
    *failed = !kafka_finder_times(finder, place, 1, following->jump_ms, ASK_MS, fault);
    if (place->offset <= following->offset) {
        place->offset = following->offset + 1;
    }
    return !*failed;
}

bool why_trace_read(struct kafka_finder *finder, const char *topic, int64_t from_ms,
                    struct mono_time deadline, struct trace *trace, bool *complete,
                    int64_t *read_ms, struct fault *fault)
{
    struct following following = {.trace = trace, .offset = -1};
    int partitions = kafka_finder_partitions(finder, topic, ASK_MS, fault);
    bool failed = partitions <= 0;
    *complete = false;
    *read_ms = 0;
    if (failed) {
        return false;
    }
    struct kafka_reader_place place = {
        .topic = topic, .partition = kafka_finder_partition_of(trace->message_id, partitions)};
    bool going = kafka_finder_times(finder, &place, 1, from_ms, ASK_MS, fault);
    failed = !going;
    while (going) {
        following.jump_ms = 0;
        enum kafka_finder_over over =
            kafka_finder_read(finder, &place, 1, deadline, follow, &following, fault);
        failed = over == KAFKA_FINDER_FAILED;
        *complete = over == KAFKA_FINDER_DONE || over == KAFKA_FINDER_STOPPED;
        going = over == KAFKA_FINDER_STOPPED && following.jump_ms > 0 &&
                jump(finder, &following, &place, &failed, fault);
    }
    *read_ms = following.timestamp_ms;
    return !failed;
}
