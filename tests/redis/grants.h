/*
 * What was granted, by several threads, and how many of it any sliding window saw.
 *
 * A grant was given between two times. Only what began and ended within a window counts as given in
 * it, so that a thread that lost its processor in between accuses nobody.
 */
#ifndef SLUICE_TESTS_REDIS_GRANTS_H
#define SLUICE_TESTS_REDIS_GRANTS_H

#include <stddef.h>
#include <stdint.h>

struct grant {
    int64_t before_us, us; /* monotonic */
    uint32_t n;
    uint32_t thread;
};

/* Sorts them by end; to be called before the others. */
void grants_sort(struct grant *grants, size_t count);
/* Most in any half-open window of that length, and where it was: its last grant. */
uint64_t grants_most(const struct grant *grants, size_t count, int64_t window_us, size_t *last);
/* Those that ended in [from_us, to_us). */
uint64_t grants_between(const struct grant *grants, size_t count, int64_t from_us, int64_t to_us);
/* Prints to stdout what each thread had in the window that ends with grants[last], and the longest
 * time that a grant took there. */
void grants_tell(const struct grant *grants, size_t last, int64_t window_us);

#endif
