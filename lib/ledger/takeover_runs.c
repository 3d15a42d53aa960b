/* What is complete of a partition, gathered in any order: see takeover.h. */
#include "ledger/takeover_private.h"

#include <stdlib.h>

/* Runs that may be in disorder before they are tidied up. */
#define DISORDER 4096

static int compare_runs(const void *a, const void *b)
{
    const struct offsets_run *left = a;
    const struct offsets_run *right = b;
    return (left->first > right->first) - (left->first < right->first);
}

void fold_runs_tidy(struct fold_runs *runs)
{
    size_t kept = 0;
    if (runs->tidy == runs->count) {
        return;
    }
    qsort(runs->runs, runs->count, sizeof(*runs->runs), compare_runs);
    for (size_t i = 0; i < runs->count; i++) {
        const struct offsets_run run = runs->runs[i];
        if (kept > 0 && run.first <= runs->runs[kept - 1].last + 1) {
            if (run.last > runs->runs[kept - 1].last) {
                runs->runs[kept - 1].last = run.last;
            }
        } else {
            runs->runs[kept++] = run;
        }
    }
    runs->count = runs->tidy = kept;
}

void fold_runs_add(struct takeover *takeover, struct fold_partition *partition, int64_t first,
                   int64_t last)
{
    struct fold_runs *runs = &partition->runs;
    first = first < partition->base ? partition->base : first;
    if (first > last) {
        return;
    }
    if (runs->count > 0 && runs->runs[runs->count - 1].last + 1 == first) {
        runs->runs[runs->count - 1].last = last;
        return;
    }
    if (runs->count - runs->tidy >= DISORDER + runs->tidy) {
        fold_runs_tidy(runs);
    }
    if (runs->count == runs->capacity &&
        !fold_charge(takeover, partition,
                     (runs->capacity == 0 ? 16 : runs->capacity) * sizeof(*runs->runs))) {
        return;
    }
    bool in_order =
        runs->tidy == runs->count && (runs->count == 0 || first > runs->runs[runs->count - 1].last);
    runs->runs = fold_grow(runs->runs, runs->count, &runs->capacity, sizeof(*runs->runs));
    runs->runs[runs->count++] = (struct offsets_run){first, last};
    runs->tidy = in_order ? runs->count : runs->tidy;
}

bool fold_runs_have(const struct fold_runs *runs, int64_t offset)
{
    size_t low = 0;
    size_t high = runs->count;
    CHECK(runs->tidy == runs->count);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (runs->runs[middle].last < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < runs->count && runs->runs[low].first <= offset;
}
