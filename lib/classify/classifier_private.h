/* What a classifier and a scratch consist of. */
#ifndef SLUICE_CLASSIFY_CLASSIFIER_PRIVATE_H
#define SLUICE_CLASSIFY_CLASSIFIER_PRIVATE_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include "classify/cause_private.h"
#include "classify/rules_private.h"

#include <hs/hs.h>
#include <pcre2.h>
#include <stdatomic.h>
#include <stdio.h>

#define CLASSIFIER_MAGIC 0xc1a551f1u
#define SCRATCH_MAGIC 0xc1a55c7au

#define PATTERN_FLAGS (HS_FLAG_CASELESS | HS_FLAG_DOTALL | HS_FLAG_SINGLEMATCH)

#define CLASSIFY_MATCHES_MAX 256 /* patterns that match one text; more are left out */
#define CLASSIFY_CACHE_SLOTS 2048

/* Databases: our own patterns, whose ids are their serials, and those of others, by their index. */
enum classifier_part { PART_BUILT_IN, PART_OTHERS, PART_COUNT };

struct classifier {
    uint32_t magic;
    atomic_uint owners;
    uint64_t serial; /* unlike every other classifier of this process */
    struct ruleset set;
    hs_database_t *databases[PART_COUNT]; /* NULL: no patterns */
    uint32_t *by_serial;   /* index of a pattern, PATTERN_NO_SERIAL: its rule is replaced */
    pcre2_code **captures; /* one per rule, most NULL */
    uint32_t *plain_rules; /* rules without patterns */
    size_t plain_count;
    char version[17];
};

struct cached {
    uint64_t key;
    uint64_t check; /* second hash with a key of this process; 0: free */
    uint32_t rule;
    uint16_t provider;
    uint8_t class;
    uint8_t disposition;
    uint8_t scope;
    uint8_t confidence;
    uint8_t detail_len;
    char detail[CLASSIFY_DETAIL_MAX];
};

struct classify_scratch {
    uint32_t magic;
    uint64_t serial; /* of the classifier that hs and the cache belong to */
    hs_scratch_t *hs;
    pcre2_match_data *match_data;
    pcre2_match_context *match_context;
    struct cause cause;
    uint32_t matches[CLASSIFY_MATCHES_MAX];
    size_t match_count;
    struct cached cache[CLASSIFY_CACHE_SLOTS];
};

#define CLASSIFY_NO_RULE UINT32_MAX

/* What speaks, before it is weighed. */
struct evidence {
    uint8_t weight[BOUNCE_CLASS_COUNT][RULE_KIND_COUNT];
    uint32_t rule[BOUNCE_CLASS_COUNT]; /* the heaviest */
    uint8_t heaviest[BOUNCE_CLASS_COUNT];
    uint16_t layer; /* of all that is in here */
};

/* Compiles the rules of classifier->set. */
bool classifier_compile(struct classifier *classifier, struct fault *fault);

/*
 * A file with the database of our own rules, for a classifier that has them alone; pack_open gives
 * the database back when it was made of the same patterns by the same vectorscan, else NULL.
 */
bool pack_write(const struct classifier *classifier, FILE *out);
hs_database_t *pack_open(const struct ruleset *set);

/* Equal for equal patterns, flags and vectorscan: under which a compiled file may be kept. */
uint64_t pack_key(const struct ruleset *set);

/* Makes the scratch fit; a no-op unless the classifier is another one. False: no memory, run
 * without patterns. */
bool scratch_fit(struct classify_scratch *scratch, const struct classifier *classifier);

/* Gathers the matches of the cause; sets `provider` from the text when it is not known. */
void classifier_scan(const struct classifier *classifier, struct classify_scratch *scratch,
                     uint16_t *provider);

/* What every rule says that speaks; `tell` may be NULL. */
void classifier_gather(const struct classifier *classifier, const struct classify_scratch *scratch,
                       enum smtp_phase phase, uint16_t provider, struct evidence *evidence,
                       classifier_evidence tell, void *context);

/* The class that most speaks for, UNDETERMINED when too little does. */
enum bounce_class evidence_weigh(const struct evidence *evidence, uint8_t *confidence);

#endif
