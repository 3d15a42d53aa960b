/*
 * Which offsets of one partition are complete: the watermark (all below is complete) and what is
 * complete above it.
 *
 * Records are opened in the order of their offsets and completed in any order. Only the open ones
 * are stored, as bits in blocks of OFFSETS_BLOCK offsets; a block with no open record keeps no
 * bits. Offsets that were jumped over (transaction markers, compaction, imported completions) are
 * therefore complete by themselves. Opening and completing cost O(1) amortised (a binary search
 * where blocks are missing); memory is 16 bytes per block between the watermark and the last
 * record, 512 bytes more where something in it is open.
 *
 * Pure: no librdkafka, no clock. One owner, one thread.
 */
#ifndef SLUICE_LEDGER_OFFSETS_H
#define SLUICE_LEDGER_OFFSETS_H

#include "schema/completion.h"

#define OFFSETS_BLOCK 4096

struct offsets_block;

struct offsets {
    int64_t watermark;            /* the lowest offset that is not complete: what a commit says */
    int64_t next;                 /* the lowest offset that may still be opened */
    size_t open;                  /* records open */
    struct offsets_block *blocks; /* sorted; of the array those in [head, tail) are in use */
    size_t head, tail, capacity;
    struct offsets_run
        *imported; /* sorted, apart, all at or above `next`; in use from imported_head on */
    size_t imported_head, imported_count;
};

enum offsets_opened {
    OFFSETS_OPENED,
    OFFSETS_COMPLETE, /* imported as complete: not to be worked on again */
    OFFSETS_BEHIND,   /* was opened before (or lies below the start) */
};

/* Everything below `start` is complete. */
void offsets_init(struct offsets *offsets, int64_t start);
void offsets_free(struct offsets *offsets);

/* The record at `offset` was taken. Offsets between the last one and this are complete. */
enum offsets_opened offsets_open(struct offsets *offsets, int64_t offset);
/* False: it was not open. */
bool offsets_complete(struct offsets *offsets, int64_t offset);
bool offsets_is_open(const struct offsets *offsets, int64_t offset);

/* The completions above the watermark as runs, lowest first: at most `max`, returns how many there
 * are in all. A run that was left out only means that those records are worked on again. */
size_t offsets_export(const struct offsets *offsets, struct offsets_run *runs, size_t max);
/* Right after offsets_init(): what an earlier owner had completed above `start`. Runs sorted and
 * apart; false: they are not. */
bool offsets_import(struct offsets *offsets, const struct offsets_run *runs, size_t count);

#endif
