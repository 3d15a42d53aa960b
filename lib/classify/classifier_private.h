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

#define CLASSIFY_MATCHES_MAX 256 /* rules that match one text; more are left out */
#define CLASSIFY_CACHE_SETS 2048 /* with its ways 8192 texts, 0.9 MB for each thread */
#define CLASSIFY_CACHE_WAYS 4
#define PLAIN_BUCKETS 9

/* Databases: our own patterns, whose ids are their serials, and those of others, by their index.
 * "unless" patterns are in neither. */
enum classifier_part { PART_BUILT_IN, PART_OTHERS, PART_COUNT };

/* Rules without patterns that an enhanced code of one subject admits. */
struct plain_rules {
    uint32_t *rules;
    size_t count;
};

struct classifier {
    uint32_t magic;
    atomic_uint owners;
    uint64_t serial; /* unlike every other classifier of this process */
    struct ruleset set;
    hs_database_t *databases[PART_COUNT]; /* NULL: no patterns */
    hs_database_t **doubts; /* each rule's "unless", asked only when it matches; NULL: none */
    uint32_t *by_serial;    /* index of a pattern, PATTERN_NO_SERIAL: its rule is replaced */
    pcre2_code **captures;  /* one per rule, most NULL */
    struct plain_rules plain[PLAIN_BUCKETS]; /* by plain_bucket() */
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
    uint32_t matches[CLASSIFY_MATCHES_MAX]; /* rules, each once */
    size_t match_count;
    uint8_t cache_turn[CLASSIFY_CACHE_SETS]; /* which slot of a set is replaced next */
    struct cached cache[CLASSIFY_CACHE_SETS][CLASSIFY_CACHE_WAYS];
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
 * A file with the databases of our own rules, for a classifier that has them alone; pack_open fills
 * in databases[PART_BUILT_IN] and the doubts of our rules when they were made of the same patterns
 * by the same vectorscan, else it is false and nothing is changed.
 */
bool pack_write(const struct classifier *classifier, FILE *out);
bool pack_open(struct classifier *classifier);

/* Equal for equal patterns, flags and vectorscan: under which a compiled file may be kept. */
uint64_t pack_key(const struct ruleset *set);

/* Makes the scratch fit; a no-op unless the classifier is another one. False: no memory, run
 * without patterns. */
bool scratch_fit(struct classify_scratch *scratch, const struct classifier *classifier);

/* Of a subject below 8 its number, else the last one. */
static inline unsigned plain_bucket(struct smtp_enhanced status)
{
    bool named = status.klass != 0 && status.subject < PLAIN_BUCKETS - 1;
    return named ? status.subject : PLAIN_BUCKETS - 1;
}

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
