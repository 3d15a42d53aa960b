/*
 * Fast random numbers for jitter, choice and ids: per thread a xoshiro256** generator (Blackman and
 * Vigna) seeded from getrandom(2). Not for secrets.
 */
#ifndef SLUICE_BASE_RANDOM_H
#define SLUICE_BASE_RANDOM_H

#include "base/check.h"

uint64_t random_u64(void);

/* 0 … bound - 1, without bias worth naming; bound must not be 0. */
uint32_t random_below(uint32_t bound);

#endif
