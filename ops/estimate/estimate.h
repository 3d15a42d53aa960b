/*
 * How many of very many records are of a kind, by some that were read: at places spread evenly
 * over all of them, a few records in a row at each. Records in a row are often alike (a campaign is
 * published in one go), so the places count, not the records: how far they differ from each other
 * says how far the estimate may be off (a ratio estimate of a cluster sample, with Wilson's
 * interval; Cochran, Sampling Techniques). Pure: no Kafka, no clock.
 */
#ifndef SLUICE_OPS_ESTIMATE_ESTIMATE_H
#define SLUICE_OPS_ESTIMATE_ESTIMATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `count` places that lie evenly over stretches of those lengths put one behind the other, the
 * first one at `begin` (0 <= begin < 1) of the distance between two. Place i is at `offset` of
 * stretch `stretch`; they are in order. The lengths' sum is not 0. */
struct estimate_place {
    size_t stretch;
    int64_t offset;
};
void estimate_places(const int64_t *lengths, size_t stretches, double begin,
                     struct estimate_place *places, size_t count);

/* What was read at a place. */
struct estimate_point {
    uint32_t records;
    int64_t span; /* offsets that these take; some have no record (marks of transactions) */
    uint32_t hits;
};
struct estimate {
    double likely;
    double least, most; /* with 95 % certainty */
};
/* Of `total` offsets. All of them were read: exact. Else places may overlap. */
struct estimate estimate_of(const struct estimate_point *points, size_t count, double total,
                            bool all_read);

#endif
