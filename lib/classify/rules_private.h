/*
 * Rules as they stand in the files, before they are compiled. All strings lie in the set's arena.
 * Read once by one thread, constant afterwards.
 */
#ifndef SLUICE_CLASSIFY_RULES_PRIVATE_H
#define SLUICE_CLASSIFY_RULES_PRIVATE_H

#include "base/arena.h"
#include "base/strbuf.h"
#include "classify/classify.h"

#define RULE_CODES_MAX 8
#define RULE_ENHANCED_MAX 16
#define RULE_PATTERN_MAX 1000                 /* bytes, as it is written */
#define RULE_EXPANDED_MAX ((size_t)16 * 1024) /* with its words filled in */
#define RULE_WORDS_MAX 1000
#define RULES_FILE_MAX ((size_t)4 * 1024 * 1024)
#define RULES_MAX 20000
#define RULES_PATTERNS_MAX 100000
#define RULES_ANY UINT16_MAX /* "x" in an enhanced code */
#define RULE_NO_PROVIDER UINT16_MAX
#define RULE_NO_SERIAL UINT32_MAX
#define RULE_BUILT_IN UINT16_MAX /* layer of our own rules; user folders are 0, 1 … */

/* What a rule is evidence by; each kind speaks once for a class. */
enum rule_kind { RULE_TEXT, RULE_ENHANCED, RULE_CODE, RULE_PHASE, RULE_KIND_COUNT };

struct rule_enhanced {
    uint8_t klass; /* 0: any */
    uint16_t subject;
    uint16_t detail;
};

struct rule_codes {
    uint16_t from;
    uint16_t to;
};

struct rule {
    const char *name;
    const char *file;
    const char *source;
    const char *capture; /* pattern or NULL */
    unsigned line;
    uint32_t serial; /* among our own rules in the order of the files, or RULE_NO_SERIAL */
    enum rule_kind kind;
    enum bounce_class class;
    int disposition; /* of this rule alone; -1: the class's own */
    int scope;
    int given_up; /* the class instead, in a report of who gave up; -1: the same */
    uint16_t provider;
    bool only_there; /* counts only where the provider is known to be this one */
    uint8_t weight;  /* 0 … 100 */
    uint16_t layer;
    uint32_t phases; /* bits 1 << enum smtp_phase; 0: any */
    struct rule_codes codes[RULE_CODES_MAX];
    struct rule_enhanced enhanced[RULE_ENHANCED_MAX];
    uint8_t code_count;
    uint8_t enhanced_count;
};

#define PATTERN_NO_SERIAL UINT32_MAX

enum pattern_role { PATTERN_MATCH, PATTERN_UNLESS, PATTERN_PROVIDER };

struct pattern {
    const char *text;    /* with words and gaps filled in */
    const char *written; /* as it stands in the file */
    const char *file;
    unsigned line;
    enum pattern_role role;
    uint32_t owner;  /* index of the rule, or of the provider */
    uint32_t serial; /* among the patterns of our own rules in the order of the files, or NONE */
};

struct sample {
    struct slice text;
    uint32_t rule;
    unsigned line;
};

struct provider {
    const char *name;
    unsigned line;
};

/* Alternatives that patterns name as "@name". */
struct rule_words {
    struct slice name;
    struct slice pattern; /* with the words that it names itself filled in */
    uint16_t layer;       /* our own rules see our own words only */
};

/* A provider's other name, or a host name's end. */
struct provider_key {
    struct slice text;
    uint16_t provider;
};

/* Files are read twice: rules of any file may name providers and words of any other. */
enum ruleset_pass { RULESET_PROVIDERS, RULESET_RULES };

struct ruleset {
    struct arena *arena;
    enum ruleset_pass pass;
    struct rule *rules;
    size_t rule_count;
    struct pattern *patterns;
    size_t pattern_count;
    struct sample *samples;
    size_t sample_count;
    struct provider *providers;
    size_t provider_count;
    struct provider_key *names; /* own names and aliases */
    size_t name_count;
    struct provider_key *hosts;
    size_t host_count;
    struct rule_words *words;
    size_t words_count;
    uint32_t serial_count;      /* patterns of our own rules, also of those that others replace */
    uint32_t rule_serial_count; /* our own rules, likewise */
    uint64_t hash;              /* of all files */
    uint64_t built_in_hash;     /* of our own */
};

void ruleset_init(struct ruleset *set);
void ruleset_free(struct ruleset *set);

/* One file, in the pass that is set. A rule whose name an earlier layer has already is left out. */
bool ruleset_read_text(struct ruleset *set, uint16_t layer, const char *file, struct slice text,
                       struct fault *fault);
/* All *.yaml of a folder in the order of their names. */
bool ruleset_read_dir(struct ruleset *set, uint16_t layer, const char *dir, struct fault *fault);
bool ruleset_read_built_in(struct ruleset *set, struct fault *fault);

/*
 * What a pattern stands for: "@name" filled in from the set's words, "…" as anything within the
 * sentence. False with *unknown set to the name that is not known, or empty when it gets too long.
 */
bool ruleset_expand(const struct ruleset *set, uint16_t layer, struct slice pattern,
                    struct strbuf *out, struct slice *unknown);

/* "550", "55x", "5xx"; "5.1.1", "x.1.1", "5.7.x". */
bool rule_codes_parse(struct slice text, struct rule_codes *codes);
bool rule_enhanced_parse(struct slice text, struct rule_enhanced *enhanced);

/* Index of a provider by its name or alias, or RULE_NO_PROVIDER. */
uint16_t ruleset_provider_named(const struct ruleset *set, struct slice name);
/* By the end of a host name. */
uint16_t ruleset_provider_of_host(const struct ruleset *set, struct slice host);

/* Whether codes and phase let the rule speak. */
bool rule_admits(const struct rule *rule, enum smtp_phase phase, uint16_t code,
                 struct smtp_enhanced enhanced);

/* The patterns of the files that are built in, compiled when the program was built; empty in the
 * tool that does that. See pack.c. */
extern const char rules_database[];
extern const size_t rules_database_len;

/* The files that are built in. */
struct rules_file {
    const char *name;
    const char *text;
    size_t len;
};
extern const struct rules_file rules_built_in[];
extern const size_t rules_built_in_count;

#endif
