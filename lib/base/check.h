/*
 * Assertions that stay in production, and magic numbers that catch stale or foreign pointers.
 *
 * They catch our own bugs only: what a peer, a record or a user gave is an error with a fault,
 * never an assertion. A failed check writes one line to stderr and aborts, because a process whose
 * invariants are broken must not go on sending mail.
 */
#ifndef SLUICE_BASE_CHECK_H
#define SLUICE_BASE_CHECK_H

#include "base/banned.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Prints where and what, then aborts. */
_Noreturn void check_failed(const char *file, int line, const char *function, const char *what);

/* An invariant of ours. Evaluated in every build. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            check_failed(__FILE__, __LINE__, __func__, #condition);                                \
        }                                                                                          \
    } while (0)

/* Every long-lived struct has `uint32_t magic` and checks it on entry of each callback. */
#define CHECK_MAGIC(object, value) CHECK((object) != NULL && (object)->magic == (value))

/* The struct that holds `member` at `pointer`. */
#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#define PRINTF_LIKE(format_at, first) __attribute__((format(printf, format_at, first)))

#endif
