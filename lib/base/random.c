#include "base/random.h"

#include <sys/random.h>

static _Thread_local uint64_t state[4];
static _Thread_local bool seeded;

static uint64_t rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t random_u64(void)
{
    if (!seeded) {
        CHECK(getrandom(state, sizeof(state), 0) == (ssize_t)sizeof(state));
        state[0] |= 1; /* never all zero */
        seeded = true;
    }
    uint64_t result = rotate(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate(state[3], 45);
    return result;
}

uint32_t random_below(uint32_t bound)
{
    CHECK(bound > 0);
    return (uint32_t)(((random_u64() >> 32) * bound) >> 32);
}
