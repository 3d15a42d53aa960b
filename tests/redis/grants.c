/* See grants.h. */
#include "tests/redis/grants.h"

#include "base/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 16 };

static int by_end(const void *a, const void *b)
{
    const struct grant *x = a, *y = b;
    return x->us < y->us ? -1 : x->us > y->us;
}

struct begin {
    int64_t us;
    size_t at; /* of the grants */
};

static int by_begin(const void *a, const void *b)
{
    const struct begin *x = a, *y = b;
    return x->us < y->us ? -1 : x->us > y->us;
}

static bool fits(const struct grant *grant, int64_t window_us)
{
    return grant->us - grant->before_us < window_us;
}

void grants_sort(struct grant *grants, size_t count)
{
    if (count > 0) {
        qsort(grants, count, sizeof(*grants), by_end);
    }
}

uint64_t grants_most(const struct grant *grants, size_t count, int64_t window_us, size_t *last)
{
    struct begin *begun = mem_calloc(count + 1, sizeof(*begun));
    uint64_t sum = 0, most = 0;
    *last = 0;
    for (size_t i = 0; i < count; i++) {
        begun[i] = (struct begin){grants[i].before_us, i};
    }
    qsort(begun, count, sizeof(*begun), by_begin);
    for (size_t from = 0, to = 0; to < count; to++) {
        int64_t left_us = grants[to].us - window_us;
        sum += fits(&grants[to], window_us) ? grants[to].n : 0;
        for (; from < count && begun[from].us <= left_us; from++) {
            /* One that ends later began too early, too, and is not counted then. */
            const struct grant *gone = &grants[begun[from].at];
            sum -= begun[from].at <= to && fits(gone, window_us) ? gone->n : 0;
        }
        if (sum > most) {
            most = sum;
            *last = to;
        }
    }
    mem_free(begun);
    return most;
}

uint64_t grants_between(const struct grant *grants, size_t count, int64_t from_us, int64_t to_us)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += grants[i].us >= from_us && grants[i].us < to_us ? grants[i].n : 0;
    }
    return sum;
}

void grants_tell(const struct grant *grants, size_t last, int64_t window_us)
{
    uint64_t by_thread[THREADS] = {0};
    int64_t longest_us = 0;
    for (size_t i = last + 1; i-- > 0 && grants[i].us > grants[last].us - window_us;) {
        const struct grant *grant = &grants[i];
        int64_t took_us = grant->us - grant->before_us;
        if (grant->before_us > grants[last].us - window_us) {
            by_thread[grant->thread % THREADS] += grant->n;
        }
        longest_us = took_us > longest_us ? took_us : longest_us;
    }
    printf("  up to %.3f s after the first grant, by thread:",
           (double)(grants[last].us - grants[0].us) / 1e6);
    for (size_t i = 0; i < THREADS; i++) {
        printf(" %llu", (unsigned long long)by_thread[i]);
    }
    printf("; a grant took up to %lld us\n", (long long)longest_us);
}
