/* Bytes of memory in use for one purpose, and how many there may be. Not thread-safe. */
#ifndef SLUICE_BASE_BUDGET_H
#define SLUICE_BASE_BUDGET_H

#include "base/check.h"

struct budget {
    int64_t used, max;
};

static inline bool budget_take(struct budget *budget, size_t bytes)
{
    if ((int64_t)bytes > budget->max - budget->used) {
        return false;
    }
    budget->used += (int64_t)bytes;
    return true;
}

static inline void budget_give(struct budget *budget, size_t bytes)
{
    budget->used -= (int64_t)bytes;
    CHECK(budget->used >= 0);
}

#endif
