/*
 * Texts of sets of facts, each kept once for all sets that have it: what a set says beside its VIP,
 * counted, and names of VIPs, which are few and stay. Part of fact_set.c.
 */
#ifndef SLUICE_BOUNCER_FACT_TEXTS_H
#define SLUICE_BOUNCER_FACT_TEXTS_H

#include "base/map.h"

#define FACT_VIPS_MAX UINT16_MAX /* and no more; number 0: none, or it stands in the text */

struct fact_text {
    uint32_t refs;
    uint32_t keep_s;
    bool keep_told; /* by the text; else it is everybody's */
    size_t len;
    char bytes[]; /* an Event's */
};

struct fact_texts {
    struct map texts; /* struct fact_text by its bytes */
    size_t bytes;     /* of all */
    struct map vips;  /* struct fact_vip by its name */
    struct fact_vip **by_number;
    size_t vip_count;
};

void fact_texts_init(struct fact_texts *texts);
void fact_texts_free(struct fact_texts *texts);

/* A new one has keep_s 0 and is told by that; the reference is the caller's. */
struct fact_text *fact_text_take(struct fact_texts *texts, struct slice bytes);
void fact_text_release(struct fact_texts *texts, struct fact_text *text);

/* 0: it has none, or there are too many. */
uint16_t fact_vip_number(struct fact_texts *texts, struct slice name);
struct slice fact_vip_name(const struct fact_texts *texts, uint16_t number);

#endif
