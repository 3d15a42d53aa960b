/*
 * Where the last record of each key of a compacted topic lies: what a first reading notes, so that
 * a second one can tell which records count. 32 bytes a key; keys are told apart by 128 bits.
 */
#ifndef SLUICE_OPS_SLUICECTL_LATEST_H
#define SLUICE_OPS_SLUICECTL_LATEST_H

#include "base/uuid.h"

struct latest {
    struct latest_slot {
        struct uuid key;
        int64_t behind; /* offset + 1; 0: free */
    } * slots;
    size_t capacity; /* power of two, or 0 */
    size_t count;
};

void latest_put(struct latest *latest, struct slice key, int64_t offset);
bool latest_is(const struct latest *latest, struct slice key, int64_t offset);
/* Zeroed: empty, as at first. */
void latest_free(struct latest *latest);

#endif
