/* Checkpoints, the records of the topic moved: see completion.h and schemas/control.proto. */
#include "schema/completion.h"

#include "schema/completion_private.h"

#include <inttypes.h>

#define CHECKPOINT_PARTITIONS 6
#define PARTITION_RUNS 5
#define PARTITION_AWAITED 6
#define AWAITED_OFFSETS 6

#define RULE(owner, member, kind)                                                                  \
    {                                                                                              \
#member, kind, offsetof(struct owner, member)                                              \
    }

static const struct wire_rule header_rules[] = {
    [1] = RULE(ledger_checkpoint, writer, WIRE_KIND_TEXT),
    [2] = RULE(ledger_checkpoint, worker, WIRE_KIND_TEXT),
    [3] = RULE(ledger_checkpoint, slot, WIRE_KIND_INT32),
    [4] = RULE(ledger_checkpoint, done_offset, WIRE_KIND_INT64),
    [5] = RULE(ledger_checkpoint, time_ms, WIRE_KIND_INT64),
};
static const struct wire_table header_table = {header_rules, ARRAY_LEN(header_rules)};

/* A partition but for its runs and what is awaited. */
struct partition_wire {
    struct ledger_partition place;
    int64_t base_offset;
};

static const struct wire_rule partition_rules[] = {
    [1] = RULE(partition_wire, place.topic, WIRE_KIND_TEXT),
    [2] = RULE(partition_wire, place.partition, WIRE_KIND_INT32),
    [3] = RULE(partition_wire, place.claim, WIRE_KIND_UINT64),
    [4] = RULE(partition_wire, base_offset, WIRE_KIND_INT64),
};
static const struct wire_table partition_table = {partition_rules, ARRAY_LEN(partition_rules)};

static const struct wire_rule awaited_rules[] = {
    [1] = RULE(ledger_awaited, writer, WIRE_KIND_TEXT),
    [2] = RULE(ledger_awaited, slot, WIRE_KIND_INT32),
    [3] = RULE(ledger_awaited, done_offset, WIRE_KIND_INT64),
    [4] = RULE(ledger_awaited, claim, WIRE_KIND_UINT64),
    [5] = RULE(ledger_awaited, wait_ms, WIRE_KIND_INT64),
};
static const struct wire_table awaited_table = {awaited_rules, ARRAY_LEN(awaited_rules)};

/* ---- writing ---- */

static uint64_t run_length(const struct offsets_run *run)
{
    return (uint64_t)(run->last - run->first) + 1;
}

/* What is not complete before runs[i]. */
static uint64_t hole(int64_t base, const struct offsets_run *runs, size_t i)
{
    return (uint64_t)(runs[i].first - (i == 0 ? base : runs[i - 1].last + 1));
}

static size_t runs_size(int64_t base, const struct offsets_run *runs, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        CHECK(runs[i].first <= runs[i].last && runs[i].last < INT64_MAX &&
              (i == 0 ? runs[i].first >= base : runs[i].first > runs[i - 1].last + 1));
        sum += wire_varint_size(hole(base, runs, i)) + wire_varint_size(run_length(&runs[i]));
    }
    return sum;
}

static char *put_runs(char *at, int64_t base, const struct offsets_run *runs, size_t count,
                      size_t size)
{
    if (count == 0) {
        return at;
    }
    at = wire_put_child(at, PARTITION_RUNS, size);
    for (size_t i = 0; i < count; i++) {
        at = wire_put_varint(at, hole(base, runs, i));
        at = wire_put_varint(at, run_length(&runs[i]));
    }
    return at;
}

static uint64_t distance(const struct ledger_awaited *awaited, size_t i)
{
    return (uint64_t)(awaited->offsets[i] - (i == 0 ? 0 : awaited->offsets[i - 1]));
}

static size_t distances_size(const struct ledger_awaited *awaited)
{
    size_t sum = 0;
    for (size_t i = 0; i < awaited->offset_count; i++) {
        CHECK(awaited->offsets[i] >= 0 &&
              (i == 0 || awaited->offsets[i] > awaited->offsets[i - 1]));
        sum += wire_varint_size(distance(awaited, i));
    }
    return sum;
}

static size_t awaited_size(const struct ledger_awaited *awaited)
{
    return wire_size(&awaited_table, awaited) +
           (awaited->offset_count == 0 ? 0
                                       : wire_child_size(AWAITED_OFFSETS, distances_size(awaited)));
}

static char *put_awaited(char *at, const struct ledger_awaited *awaited)
{
    at = wire_put_child(at, PARTITION_AWAITED, awaited_size(awaited));
    at = wire_put(&awaited_table, awaited, true, at);
    if (awaited->offset_count > 0) {
        at = wire_put_child(at, AWAITED_OFFSETS, distances_size(awaited));
        for (size_t i = 0; i < awaited->offset_count; i++) {
            at = wire_put_varint(at, distance(awaited, i));
        }
    }
    return at;
}

bool completion_put_checkpoint(struct strbuf *out, const struct ledger_checkpoint *checkpoint)
{
    size_t size = wire_size(&header_table, checkpoint);
    char *at = strbuf_reserve(out, size);
    if (at == NULL) {
        return false;
    }
    wire_put(&header_table, checkpoint, true, at);
    strbuf_commit(out, size);
    return true;
}

bool completion_put_partition(struct strbuf *out, const struct ledger_partition *partition,
                              int64_t base, const struct offsets_run *runs, size_t run_count,
                              const struct ledger_awaited *awaited, size_t awaited_count)
{
    struct partition_wire flat = {*partition, base};
    size_t packed = runs_size(base, runs, run_count);
    size_t inner = wire_size(&partition_table, &flat) +
                   (run_count == 0 ? 0 : wire_child_size(PARTITION_RUNS, packed));
    for (size_t i = 0; i < awaited_count; i++) {
        inner += wire_child_size(PARTITION_AWAITED, awaited_size(&awaited[i]));
    }
    size_t size = wire_child_size(CHECKPOINT_PARTITIONS, inner);
    char *start = strbuf_reserve(out, size);
    if (start == NULL) {
        return false;
    }
    char *at = wire_put_child(start, CHECKPOINT_PARTITIONS, inner);
    at = wire_put(&partition_table, &flat, true, at);
    at = put_runs(at, base, runs, run_count, packed);
    for (size_t i = 0; i < awaited_count; i++) {
        at = put_awaited(at, &awaited[i]);
    }
    CHECK((size_t)(at - start) == size);
    strbuf_commit(out, size);
    return true;
}

/* ---- reading ---- */

/* Functions that take it return false when the reading is over: `stopped` by the sink, or broken
 * and the fault is set. */
struct reading {
    const struct completion_sink *sink;
    struct fault *fault;
    size_t partition; /* index, for the fault */
    bool stopped;
    int64_t at;         /* runs: behind the last one; awaited: the last offset */
    uint64_t gap;       /* runs: the hole read last */
    bool inside, begun; /* runs: the length of a run is next; something was told */
};

static bool broken(struct reading *reading, const char *what)
{
    return fault_set(reading->fault, FAULT_INVALID, 0, "partitions[%zu]%s", reading->partition,
                     what);
}

static bool told(struct reading *reading, bool go_on)
{
    reading->stopped = !go_on;
    return go_on;
}

static bool take_run(struct reading *reading, uint64_t value)
{
    uint64_t left = (uint64_t)(INT64_MAX - reading->at);
    if (!reading->inside) {
        if (value > left || (value == 0 && reading->begun)) {
            return broken(reading, ".runs: not a hole");
        }
        reading->gap = value;
        reading->inside = true;
        return true;
    }
    if (value == 0 || value > left - reading->gap) {
        return broken(reading, ".runs: not a length");
    }
    int64_t first = reading->at + (int64_t)reading->gap;
    reading->at = first + (int64_t)value;
    reading->inside = false;
    reading->begun = true;
    return reading->sink->run == NULL ||
           told(reading, reading->sink->run(reading->sink->owner, first, reading->at - 1));
}

static bool take_offset(struct reading *reading, uint64_t value)
{
    if (value > (uint64_t)(INT64_MAX - reading->at) || (value == 0 && reading->begun)) {
        return broken(reading, ".awaited.offsets: not ascending, or too large");
    }
    reading->at += (int64_t)value;
    reading->begun = true;
    return reading->sink->offset == NULL ||
           told(reading, reading->sink->offset(reading->sink->owner, reading->at));
}

/* Every number of the repeated field `number` of the message. */
static bool each_number(struct reading *reading, struct slice message, uint32_t number,
                        bool (*take)(struct reading *reading, uint64_t value))
{
    struct wire_cursor cursor = wire_cursor_of(message);
    struct wire_field field;
    while (wire_next(&cursor, &field) == WIRE_FIELD) {
        if (field.number != number) {
            continue;
        }
        struct wire_cursor packed = wire_cursor_of(field.bytes);
        uint64_t value = field.value;
        bool single = field.type == WIRE_VARINT;
        if (!single && field.type != WIRE_BYTES) {
            return broken(reading, ": numbers of the wrong type");
        }
        while (single || packed.at != packed.end) {
            if (!single && !wire_varint(&packed, &value)) {
                return broken(reading, ": a broken number");
            }
            if (!take(reading, value)) {
                return false;
            }
            single = false;
        }
    }
    return true;
}

static bool read_awaited(struct reading *reading, struct slice bytes)
{
    struct ledger_awaited awaited = {.writer = SLICE_NULL};
    if (!completion_members(&awaited_table, bytes, &awaited) ||
        awaited.writer.len > LEDGER_NAME_MAX || awaited.slot < 0 || awaited.done_offset < 0 ||
        awaited.wait_ms < 0) {
        return broken(reading, ".awaited: not well-formed, or out of range");
    }
    if (reading->sink->awaited != NULL &&
        !told(reading, reading->sink->awaited(reading->sink->owner, &awaited))) {
        return false;
    }
    reading->at = 0;
    reading->begun = false;
    return each_number(reading, bytes, AWAITED_OFFSETS, take_offset);
}

static bool read_partition(struct reading *reading, struct slice bytes)
{
    struct partition_wire flat = {.place = {.topic = SLICE_NULL}};
    if (!completion_members(&partition_table, bytes, &flat) || flat.place.topic.len == 0 ||
        flat.place.topic.len > LEDGER_NAME_MAX || flat.place.partition < 0 ||
        flat.base_offset < 0) {
        return broken(reading, ": not well-formed, or out of range");
    }
    if (reading->sink->partition != NULL &&
        !told(reading,
              reading->sink->partition(reading->sink->owner, &flat.place, flat.base_offset))) {
        return false;
    }
    reading->at = flat.base_offset;
    reading->inside = reading->begun = false;
    if (!each_number(reading, bytes, PARTITION_RUNS, take_run)) {
        return false;
    }
    if (reading->inside) {
        return broken(reading, ".runs: a hole without an end");
    }
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    while (wire_next(&cursor, &field) == WIRE_FIELD) {
        if (field.number != PARTITION_AWAITED) {
            continue;
        }
        if (field.type != WIRE_BYTES) {
            return broken(reading, ".awaited: not of the schema's type");
        }
        if (!read_awaited(reading, field.bytes)) {
            return false;
        }
    }
    return true;
}

bool completion_read_checkpoint(struct slice record, struct ledger_checkpoint *checkpoint,
                                const struct completion_sink *sink, struct fault *fault)
{
    struct reading reading = {.sink = sink, .fault = fault};
    struct wire_cursor cursor = wire_cursor_of(record);
    struct wire_field field;
    *checkpoint = (struct ledger_checkpoint){.writer = SLICE_NULL};
    if (!completion_members(&header_table, record, checkpoint)) {
        return fault_set(fault, FAULT_INVALID, 0, "record: not well-formed");
    }
    if (checkpoint->writer.len == 0 || checkpoint->writer.len > LEDGER_NAME_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "writer: %zu bytes", checkpoint->writer.len);
    }
    if (checkpoint->slot < 0 || checkpoint->done_offset < 0) {
        return fault_set(fault, FAULT_INVALID, 0, "slot %" PRId32 ", done_offset %" PRId64,
                         checkpoint->slot, checkpoint->done_offset);
    }
    while (sink != NULL && wire_next(&cursor, &field) == WIRE_FIELD) {
        if (field.number != CHECKPOINT_PARTITIONS) {
            continue;
        }
        if (field.type != WIRE_BYTES) {
            return broken(&reading, ": not of the schema's type");
        }
        if (!read_partition(&reading, field.bytes)) {
            return reading.stopped;
        }
        reading.partition++;
    }
    return true;
}
