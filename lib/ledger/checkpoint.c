#include "ledger/checkpoint.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct merged {
    struct offsets_run *runs; /* owned; from `base` on, ascending and apart */
    size_t count;
    int64_t base;
};

static int compare_offsets(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static int64_t *sorted(const int64_t *moved, size_t count)
{
    if (count == 0) {
        return NULL;
    }
    int64_t *copy = mem_calloc(count, sizeof(*copy));
    memcpy(copy, moved, count * sizeof(*copy));
    qsort(copy, count, sizeof(*copy), compare_offsets);
    return copy;
}

static void add_run(struct merged *merged, struct offsets_run run)
{
    if (merged->count > 0 && merged->runs[merged->count - 1].last + 1 == run.first) {
        merged->runs[merged->count - 1].last = run.last;
    } else {
        merged->runs[merged->count++] = run;
    }
}

/* The base is the lowest open offset that does not move; the first run is cut there. */
static void cut_at_base(struct merged *merged, const struct offsets *offsets)
{
    merged->base = offsets->watermark;
    if (merged->count == 0 || merged->runs[0].first != offsets->watermark) {
        return;
    }
    if (merged->runs[0].last < offsets->next) {
        merged->base = merged->runs[0].last + 1;
        merged->count--;
        memmove(merged->runs, merged->runs + 1, merged->count * sizeof(*merged->runs));
    } else { /* imported ones follow, which were not read yet */
        merged->base = offsets->next;
        merged->runs[0].first = offsets->next;
    }
}

static struct merged merge(const struct offsets *offsets, const int64_t *moved, size_t moved_count)
{
    struct merged merged = {.count = 0};
    size_t capacity = offsets_export(offsets, NULL, 0); /* at most so many */
    struct offsets_run *runs = mem_calloc(capacity + 1, sizeof(*runs));
    size_t count = offsets_export(offsets, runs, capacity);
    int64_t *order = sorted(moved, moved_count);
    merged.runs = mem_calloc(count + moved_count + 1, sizeof(*merged.runs));
    for (size_t i = 0, at = 0; i < count || at < moved_count;) {
        if (at == moved_count || (i < count && runs[i].first < order[at])) {
            add_run(&merged, runs[i++]);
            continue;
        }
        CHECK(offsets_is_open(offsets, order[at]) && (at == 0 || order[at] > order[at - 1]));
        add_run(&merged, (struct offsets_run){order[at], order[at]});
        at++;
    }
    mem_free(order);
    mem_free(runs);
    cut_at_base(&merged, offsets);
    return merged;
}

bool checkpoint_begin(struct strbuf *out, const struct ledger_checkpoint *header)
{
    return completion_put_checkpoint(out, header);
}

bool checkpoint_partition(struct strbuf *out, const struct checkpoint_partition *partition)
{
    struct merged merged = merge(partition->offsets, partition->moved, partition->moved_count);
    bool fits =
        (merged.count == 0 && partition->awaited_count == 0) ||
        completion_put_partition(out, &partition->partition, merged.base, merged.runs, merged.count,
                                 partition->awaited, partition->awaited_count);
    mem_free(merged.runs);
    return fits;
}

int64_t checkpoint_base(const struct offsets *offsets, const int64_t *moved, size_t moved_count)
{
    for (size_t i = 0; i < moved_count; i++) {
        if (moved[i] == offsets->watermark) {
            struct merged merged = merge(offsets, moved, moved_count);
            mem_free(merged.runs);
            return merged.base;
        }
    }
    return offsets->watermark;
}
