/* Any bytes as a checkpoint: what its reader is told keeps the rules, and offsets_import takes the
 * runs. */
#include "ledger/checkpoint.h"

#define RUNS 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
    struct offsets_run runs[RUNS];
    size_t count;
    int64_t base;
    int64_t last_awaited;
};

static void import(const struct told *told)
{
    struct offsets offsets;
    offsets_init(&offsets, told->base);
    CHECK(offsets_import(&offsets, told->runs, told->count));
    CHECK(offsets_export(&offsets, NULL, 0) <= told->count);
    offsets_free(&offsets);
}

static bool on_partition(void *owner, const struct ledger_partition *partition, int64_t base)
{
    struct told *told = owner;
    CHECK(partition->topic.len > 0 && partition->partition >= 0 && base >= 0);
    import(told);
    told->count = 0;
    told->base = base;
    return true;
}

static bool on_run(void *owner, int64_t first, int64_t last)
{
    struct told *told = owner;
    CHECK(first >= told->base && first <= last &&
          (told->count == 0 || first > told->runs[told->count - 1].last + 1));
    told->runs[told->count++] = (struct offsets_run){first, last};
    return told->count < RUNS;
}

static bool on_awaited(void *owner, const struct ledger_awaited *awaited)
{
    struct told *told = owner;
    CHECK(awaited->slot >= 0 && awaited->done_offset >= 0 && awaited->wait_ms >= 0);
    told->last_awaited = -1;
    return true;
}

static bool on_offset(void *owner, int64_t offset)
{
    struct told *told = owner;
    CHECK(offset > told->last_awaited);
    told->last_awaited = offset;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct told told;
    const struct completion_sink sink = {&told, on_partition, on_run, on_awaited, on_offset};
    struct ledger_checkpoint header;
    struct fault fault;
    told.count = 0;
    told.base = 0;
    if (completion_read_checkpoint(slice_of(data, size), &header, &sink, &fault)) {
        CHECK(header.writer.len > 0 && header.slot >= 0 && header.done_offset >= 0);
    } else {
        CHECK(fault.kind == FAULT_INVALID);
    }
    import(&told);
    return 0;
}
