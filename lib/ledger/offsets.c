/*
 * Offset tracking: see offsets.h. The array of blocks is a window that slides to the right: head
 * moves on when the watermark leaves a block, and the rest is moved to the front when the array is
 * full and half of it is free.
 */
#include "ledger/offsets.h"

#include "base/mem.h"

#include <string.h>

#define WORDS (OFFSETS_BLOCK / 64)

struct offsets_block {
    int64_t number; /* offset / OFFSETS_BLOCK */
    uint32_t open;
    uint64_t *bits; /* 1 = open; NULL when nothing is, except in the last block, which is kept */
};

void offsets_init(struct offsets *offsets, int64_t start)
{
    CHECK(start >= 0);
    *offsets = (struct offsets){.watermark = start, .next = start};
}

void offsets_free(struct offsets *offsets)
{
    for (size_t i = offsets->head; i < offsets->tail; i++) {
        mem_free(offsets->blocks[i].bits);
    }
    mem_free(offsets->blocks);
    mem_free(offsets->imported);
    *offsets = (struct offsets){0};
}

static void block_drop_bits(struct offsets_block *block)
{
    mem_free(block->bits);
    block->bits = NULL;
}

/* Position of the block with that number, or of the first one above it (tail: none). */
static size_t block_find(const struct offsets *offsets, int64_t number)
{
    size_t low = offsets->head;
    size_t high = offsets->tail;
    if (low == high || number <= offsets->blocks[low].number) {
        return low;
    }
    /* Without missing blocks the place is known. */
    int64_t distance = number - offsets->blocks[low].number;
    if (distance < (int64_t)(high - low) &&
        offsets->blocks[low + (size_t)distance].number == number) {
        return low + (size_t)distance;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (offsets->blocks[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Room for one more block behind the tail: drops blocks that have become empty first, then grows.
 */
static void blocks_make_room(struct offsets *offsets)
{
    if (offsets->tail < offsets->capacity) {
        return;
    }
    size_t kept = 0;
    for (size_t i = offsets->head; i < offsets->tail; i++) {
        if (offsets->blocks[i].bits != NULL) {
            offsets->blocks[kept++] = offsets->blocks[i];
        }
    }
    offsets->head = 0;
    offsets->tail = kept;
    if (kept * 2 >= offsets->capacity) {
        offsets->capacity = offsets->capacity == 0 ? 4 : offsets->capacity * 2;
        offsets->blocks =
            mem_realloc(offsets->blocks, offsets->capacity * sizeof(*offsets->blocks));
    }
}

static struct offsets_block *block_last(struct offsets *offsets, int64_t number)
{
    if (offsets->tail == offsets->head || offsets->blocks[offsets->tail - 1].number != number) {
        if (offsets->tail > offsets->head && offsets->blocks[offsets->tail - 1].open == 0) {
            block_drop_bits(&offsets->blocks[offsets->tail - 1]);
        }
        blocks_make_room(offsets);
        offsets->blocks[offsets->tail++] = (struct offsets_block){.number = number};
    }
    struct offsets_block *block = &offsets->blocks[offsets->tail - 1];
    if (block->bits == NULL) {
        block->bits = mem_calloc(WORDS, sizeof(*block->bits));
    }
    return block;
}

static bool imported_complete(struct offsets *offsets, int64_t offset)
{
    while (offsets->imported_head < offsets->imported_count &&
           offsets->imported[offsets->imported_head].last < offset) {
        offsets->imported_head++;
    }
    return offsets->imported_head < offsets->imported_count &&
           offsets->imported[offsets->imported_head].first <= offset;
}

/* The lowest open offset from `from` on; `next` when there is none. */
static int64_t lowest_open(const struct offsets *offsets, int64_t from)
{
    for (size_t i = block_find(offsets, from / OFFSETS_BLOCK); i < offsets->tail; i++) {
        const struct offsets_block *block = &offsets->blocks[i];
        if (block->open == 0) {
            continue;
        }
        int64_t start = block->number * OFFSETS_BLOCK;
        size_t first = from > start ? (size_t)(from - start) : 0;
        for (size_t word = first / 64; word < WORDS; word++) {
            uint64_t bits = block->bits[word];
            if (word == first / 64) {
                bits &= ~UINT64_C(0) << (first % 64);
            }
            if (bits != 0) {
                return start + (int64_t)(word * 64) + __builtin_ctzll(bits);
            }
        }
    }
    return offsets->next;
}

static void watermark_move(struct offsets *offsets)
{
    offsets->watermark =
        offsets->open == 0 ? offsets->next : lowest_open(offsets, offsets->watermark);
    while (offsets->head < offsets->tail &&
           (offsets->open == 0 ||
            offsets->blocks[offsets->head].number < offsets->watermark / OFFSETS_BLOCK)) {
        mem_free(offsets->blocks[offsets->head].bits);
        offsets->head++;
    }
    if (offsets->head == offsets->tail) {
        offsets->head = 0;
        offsets->tail = 0;
    }
}

enum offsets_opened offsets_open(struct offsets *offsets, int64_t offset)
{
    if (offset < offsets->next) {
        return OFFSETS_BEHIND;
    }
    offsets->next = offset + 1;
    if (imported_complete(offsets, offset)) {
        if (offsets->open == 0) {
            offsets->watermark = offsets->next;
        }
        return OFFSETS_COMPLETE;
    }
    struct offsets_block *block = block_last(offsets, offset / OFFSETS_BLOCK);
    size_t bit = (size_t)(offset % OFFSETS_BLOCK);
    block->bits[bit / 64] |= UINT64_C(1) << (bit % 64);
    block->open++;
    if (offsets->open == 0) {
        offsets->watermark = offset;
    }
    offsets->open++;
    return OFFSETS_OPENED;
}

static struct offsets_block *block_of_open(const struct offsets *offsets, int64_t offset)
{
    if (offset < offsets->watermark || offset >= offsets->next) {
        return NULL;
    }
    size_t at = block_find(offsets, offset / OFFSETS_BLOCK);
    if (at == offsets->tail || offsets->blocks[at].number != offset / OFFSETS_BLOCK ||
        offsets->blocks[at].bits == NULL) {
        return NULL;
    }
    size_t bit = (size_t)(offset % OFFSETS_BLOCK);
    return (offsets->blocks[at].bits[bit / 64] >> (bit % 64) & 1) != 0 ? &offsets->blocks[at]
                                                                       : NULL;
}

bool offsets_is_open(const struct offsets *offsets, int64_t offset)
{
    return block_of_open(offsets, offset) != NULL;
}

bool offsets_complete(struct offsets *offsets, int64_t offset)
{
    struct offsets_block *block = block_of_open(offsets, offset);
    if (block == NULL) {
        return false;
    }
    size_t bit = (size_t)(offset % OFFSETS_BLOCK);
    block->bits[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
    offsets->open--;
    if (--block->open == 0 && block->number != (offsets->next - 1) / OFFSETS_BLOCK) {
        block_drop_bits(block);
    }
    if (offset == offsets->watermark) {
        watermark_move(offsets);
    }
    return true;
}

static void run_add(struct offsets_run *runs, size_t max, size_t *count, int64_t first,
                    int64_t last)
{
    if (first > last) {
        return;
    }
    if (*count > 0 && *count <= max && runs[*count - 1].last + 1 == first) {
        runs[*count - 1].last = last;
        return;
    }
    if (*count < max) {
        runs[*count] = (struct offsets_run){first, last};
    }
    (*count)++;
}

size_t offsets_export(const struct offsets *offsets, struct offsets_run *runs, size_t max)
{
    size_t count = 0;
    int64_t at = offsets->watermark;
    while (at < offsets->next) {
        int64_t open = lowest_open(offsets, at);
        run_add(runs, max, &count, at, open - 1);
        at = open + 1;
    }
    for (size_t i = offsets->imported_head; i < offsets->imported_count; i++) {
        int64_t first = offsets->imported[i].first;
        run_add(runs, max, &count, first < offsets->next ? offsets->next : first,
                offsets->imported[i].last);
    }
    return count;
}

bool offsets_import(struct offsets *offsets, const struct offsets_run *runs, size_t count)
{
    CHECK(offsets->imported == NULL && offsets->open == 0);
    for (size_t i = 0; i < count; i++) {
        if (runs[i].first > runs[i].last || (i > 0 && runs[i].first <= runs[i - 1].last)) {
            return false;
        }
    }
    if (count > 0) {
        offsets->imported = mem_calloc(count, sizeof(*runs));
        memcpy(offsets->imported, runs, count * sizeof(*runs));
        offsets->imported_count = count;
    }
    return true;
}
