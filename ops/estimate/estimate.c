#include "ops/estimate/estimate.h"

#include <math.h>

#define Z 1.959964 /* 95 % of the normal distribution, both sides */

void estimate_places(const int64_t *lengths, size_t stretches, double begin,
                     struct estimate_place *places, size_t count)
{
    double total = 0;
    for (size_t i = 0; i < stretches; i++) {
        total += (double)lengths[i];
    }
    size_t at = 0;
    double before = 0;
    for (size_t i = 0; i < count; i++) {
        double wanted = ((double)i + begin) * total / (double)count;
        while (at + 1 < stretches && wanted >= before + (double)lengths[at]) {
            before += (double)lengths[at++];
        }
        int64_t offset = (int64_t)(wanted - before);
        int64_t last = lengths[at] > 0 ? lengths[at] - 1 : 0;
        places[i] = (struct estimate_place){at, offset > last ? last : offset};
    }
}

struct sums {
    double n, records, span, hits;
    double span2, hits2, hits_span;
};

static struct sums add_up(const struct estimate_point *points, size_t count)
{
    struct sums sums = {.n = (double)count};
    for (size_t i = 0; i < count; i++) {
        double span = (double)points[i].span;
        double hits = points[i].hits;
        sums.records += points[i].records;
        sums.span += span;
        sums.hits += hits;
        sums.span2 += span * span;
        sums.hits2 += hits * hits;
        sums.hits_span += hits * span;
    }
    return sums;
}

/* So many records drawn one by one would tell as much. Where the places do not differ at all, each
 * counts as one. */
static double worth(const struct sums *sums, double share)
{
    double mean = sums->span / sums->n;
    double off =
        sums->hits2 - 2 * share * sums->hits_span + share * share * sums->span2; /* squared */
    if (sums->n < 2 || off <= 1e-9) {
        return sums->n;
    }
    double variance = off / (sums->n * (sums->n - 1) * mean * mean);
    double drawn = share * (1 - share) / variance;
    return drawn > sums->span ? sums->span : drawn < 1 ? 1 : drawn;
}

struct estimate estimate_of(const struct estimate_point *points, size_t count, double total,
                            bool all_read)
{
    struct sums sums = add_up(points, count);
    if (all_read) {
        return (struct estimate){sums.hits, sums.hits, sums.hits};
    }
    if (sums.span <= 0) {
        return (struct estimate){0, 0, total}; /* nothing is known */
    }
    double share = sums.hits / sums.span;
    double n = worth(&sums, share);
    double scale = 1 + Z * Z / n;
    double middle = (share + Z * Z / (2 * n)) / scale;
    double half = Z / scale * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n));
    struct estimate result = {share * total, (middle - half) * total, (middle + half) * total};
    result.least = result.least < 0 ? 0 : result.least;
    result.most = result.most > total ? total : result.most;
    result.likely = result.likely < result.least  ? result.least
                    : result.likely > result.most ? result.most
                                                  : result.likely;
    return result;
}
