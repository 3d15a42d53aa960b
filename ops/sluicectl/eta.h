/*
 * sluicectl eta: of what no worker has read yet, how much is the campaign's (or tenant's) own, and
 * at which sites; from a sample, as reading all of it may take hours. Then by when it is gone.
 */
#ifndef SLUICE_OPS_SLUICECTL_ETA_H
#define SLUICE_OPS_SLUICECTL_ETA_H

#include "ops/estimate/estimate.h"
#include "ops/sluicectl/why.h"

#include "base/map.h"

/* A recipient domain that was met. */
struct eta_domain {
    char *name;
    char *site;       /* NULL: not known (yet) */
    uint32_t records; /* met */
    uint32_t index;   /* in the sample */
};
/* A record that was read. */
struct eta_record {
    uint32_t point;  /* index of where */
    uint32_t domain; /* index */
    bool own;        /* of the campaign or tenant that is asked for */
};
struct eta_sample {
    int64_t total; /* unread, in streams and tiers: at most */
    bool all_read;
    struct estimate_point *points; /* owned, `hits` is not set */
    size_t point_count;
    struct eta_record *records; /* owned */
    size_t record_count;
    struct eta_domain **domains; /* owned */
    size_t domain_count;
    struct map by_name; /* the domains */
};

/* Reads all if it is little, else some at places all over it, until there are enough or the
 * deadline; the finder should be a sampling one. To be freed in any case. */
bool eta_sample_draw(struct kafka_finder *finder, const struct why_query *query,
                     const struct why_unread *unread, struct mono_time deadline,
                     struct eta_sample *sample, struct fault *fault);
void eta_sample_free(struct eta_sample *sample);

/* Looks up the sites of the domains, most frequent ones first, as far as there is time. */
bool eta_sites_find(const struct config *config, struct mono_time deadline,
                    struct eta_sample *sample, struct fault *fault);

void eta_print(const struct why_query *query, const struct why_answers *answers,
               const struct eta_sample *sample);

#endif
