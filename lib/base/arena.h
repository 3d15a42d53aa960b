/*
 * Memory that is given back all at once: one arena per message. Blocks are chained; the first one
 * is allocated together with the arena, so that a usual message costs a single malloc. Not
 * thread-safe: whoever owns the message owns its arena.
 */
#ifndef SLUICE_BASE_ARENA_H
#define SLUICE_BASE_ARENA_H

#include "base/slice.h"

struct arena;

/* `first_bytes` is the room of the first block; `max_bytes` bounds the sum of all. NULL when there
 * is no memory. */
struct arena *arena_create(size_t first_bytes, size_t max_bytes)
    __attribute__((warn_unused_result));

/* Frees everything and nulls the pointer; takes NULL. */
void arena_free(struct arena **arena);

/* Uninitialised, aligned for any type; NULL when the bound or memory is exhausted. */
void *arena_try_alloc(struct arena *arena, size_t size_bytes);

/* Zeroed, for small sizes that we choose; never NULL (aborts past the bound). */
void *arena_zalloc(struct arena *arena, size_t size_bytes);

/* A copy of the bytes with a NUL behind them; absent slice when there is no room. */
struct slice arena_copy(struct arena *arena, struct slice s);

/* Bytes taken from the allocator, for accounting. */
size_t arena_size_bytes(const struct arena *arena);

#endif
