/*
 * A checkpoint: what one burst says about everything that its worker owns. Built on the thread that
 * owns the offsets, when the burst is submitted:
 *
 *   checkpoint_begin(out, &header);
 *   for each partition: checkpoint_partition(out, &partition);
 *   record value = out, unless out->overflow
 *
 * The number of runs is bounded by the number of open records (each hole is one), so is the size:
 * about 2 to 6 bytes for each. 100,000 holes: 200 KB, written in a few milliseconds.
 */
#ifndef SLUICE_LEDGER_CHECKPOINT_H
#define SLUICE_LEDGER_CHECKPOINT_H

#include "ledger/offsets.h"
#include "schema/completion.h"

#define CHECKPOINT_MAX_BYTES ((size_t)16 * 1024 * 1024)

struct checkpoint_partition {
    struct ledger_partition partition; /* with our claim */
    const struct offsets *offsets;
    const int64_t *moved; /* open offsets whose copies are in this burst, any order, each once */
    size_t moved_count;
    /* In a release: our own in-flight records (writer empty, our slot, our claim, our done_offset).
     * Besides, always: what we still await of earlier owners. */
    const struct ledger_awaited *awaited;
    size_t awaited_count;
};

/* False: the buffer's maximum. */
bool checkpoint_begin(struct strbuf *out, const struct ledger_checkpoint *header);
/* Writes nothing when nothing is complete above the base and nothing is awaited. */
bool checkpoint_partition(struct strbuf *out, const struct checkpoint_partition *partition);

/* The offset to commit with it: the watermark as if what moves were complete already. */
int64_t checkpoint_base(const struct offsets *offsets, const int64_t *moved, size_t moved_count);

#endif
