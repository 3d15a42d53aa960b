/*
 * Random choices that can be repeated: the seed is printed, and SLUICE_SEED gives it back.
 * (SplitMix64, Steele et al. 2014.)
 */
#ifndef SLUICE_TESTS_SEEDED_H
#define SLUICE_TESTS_SEEDED_H

#include "base/random.h"
#include "base/slice.h"

static uint64_t seeded_state;

/* Call at the start of a test. */
static inline void seeded_start(const char *test)
{
    uint64_t seed = 0;
    if (!slice_to_u64(slice_cstr(getenv("SLUICE_SEED")), &seed)) {
        seed = random_u64() >> 16;
    }
    seeded_state = seed;
    printf("%s: SLUICE_SEED=%llu\n", test, (unsigned long long)seed);
}

static inline uint32_t seeded_below(uint32_t bound)
{
    uint64_t z = (seeded_state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    z ^= z >> 31;
    return (uint32_t)(((z >> 32) * bound) >> 32);
}

/* True in `percent` of 100 cases. */
static inline bool seeded_chance(uint32_t percent)
{
    return seeded_below(100) < percent;
}

#endif
