/*
 * Allocation. Small sizes that we choose ourselves abort on failure (mem_*); sizes that a peer or a
 * record chooses go through mem_try_*, which may return NULL. Memory is freed with mem_free.
 */
#ifndef SLUICE_BASE_MEM_H
#define SLUICE_BASE_MEM_H

#include "base/check.h"

/* Zeroed memory of `size_bytes`; never NULL. */
void *mem_zalloc(size_t size_bytes);

/* Zeroed array of `count` elements; never NULL; aborts on overflow. */
void *mem_calloc(size_t count, size_t size_bytes);

/* Like realloc, never NULL. */
void *mem_realloc(void *old, size_t size_bytes);

/* Uninitialised memory, or NULL when there is none: for sizes that come from outside. */
void *mem_try_alloc(size_t size_bytes) __attribute__((warn_unused_result));

/* A NUL-terminated copy; never NULL. */
char *mem_strdup(const char *text);

/* A NUL-terminated copy of `len` bytes; never NULL. */
char *mem_strndup(const char *ptr, size_t len);

void mem_free(void *pointer);

#endif
