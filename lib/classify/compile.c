/* Patterns to vectorscan databases, captures to PCRE2. */
#include "classify/classifier_private.h"

#include "base/mem.h"

#include <pthread.h>

/* One database. */
struct part {
    const struct ruleset *set;
    size_t first, end; /* of the patterns that may be in it */
    bool doubts;       /* those that are "unless" */
    bool others;       /* those that are not our own */
    hs_database_t *database;
    bool good;
    struct fault fault;
};

static bool belongs(const struct pattern *pattern, const struct part *part)
{
    return (pattern->role == PATTERN_UNLESS) == part->doubts &&
           (pattern->serial == PATTERN_NO_SERIAL) == part->others;
}

static void note_pattern_fault(struct part *part, const hs_compile_error_t *error)
{
    int which = error->expression;
    for (size_t i = part->first; i < part->end && which >= 0; i++) {
        const struct pattern *pattern = &part->set->patterns[i];
        if (belongs(pattern, part) && which-- == 0) {
            (void)fault_set(&part->fault, FAULT_INVALID, 0, "%s:%u: pattern \"%.100s\": %s",
                            pattern->file, pattern->line, pattern->written, error->message);
            return;
        }
    }
    (void)fault_set(&part->fault, FAULT_FATAL, 0, "patterns: %s", error->message);
}

static void *compile_part(void *context)
{
    struct part *part = context;
    /* Of no processor in particular: the result may be kept and opened elsewhere. */
    const hs_platform_info_t platform = {.tune = HS_TUNE_FAMILY_GENERIC};
    size_t most = part->end - part->first + 1;
    size_t count = 0;
    const char **texts = mem_calloc(most, sizeof(char *));
    unsigned *flags = mem_calloc(most, sizeof(*flags));
    unsigned *ids = mem_calloc(most, sizeof(*ids));
    for (size_t i = part->first; i < part->end; i++) {
        const struct pattern *pattern = &part->set->patterns[i];
        if (belongs(pattern, part)) {
            texts[count] = pattern->text;
            flags[count] = PATTERN_FLAGS;
            ids[count++] = part->others ? (unsigned)i : pattern->serial;
        }
    }
    hs_compile_error_t *error = NULL;
    part->good = count == 0 || hs_compile_multi(texts, flags, ids, (unsigned)count, HS_MODE_BLOCK,
                                                &platform, &part->database, &error) == HS_SUCCESS;
    if (!part->good) {
        note_pattern_fault(part, error);
        (void)hs_free_compile_error(error);
    }
    mem_free(texts);
    mem_free(flags);
    mem_free(ids);
    return NULL;
}

/* Where the patterns of the rule end that `first` belongs to; they stand together. */
static size_t end_of_rule(const struct ruleset *set, size_t first)
{
    size_t end = first + 1;
    while (end < set->pattern_count && set->patterns[end].role != PATTERN_PROVIDER &&
           set->patterns[end].owner == set->patterns[first].owner) {
        end++;
    }
    return end;
}

/* A small database for each rule that has an "unless" and no database yet. */
static bool compile_doubts(struct classifier *classifier, bool others, struct fault *fault)
{
    const struct ruleset *set = &classifier->set;
    for (size_t i = 0; i < set->pattern_count; i++) {
        const struct pattern *pattern = &set->patterns[i];
        struct part part = {.set = set, .first = i, .doubts = true, .others = others};
        if (!belongs(pattern, &part) || classifier->doubts[pattern->owner] != NULL) {
            continue;
        }
        part.end = end_of_rule(set, i);
        (void)compile_part(&part);
        if (!part.good) {
            *fault = part.fault;
            return false;
        }
        classifier->doubts[pattern->owner] = part.database;
    }
    return true;
}

/* Our own rules take seconds to compile, so their databases were made when the program was built.
 * Where those do not fit (other rules, another vectorscan) they are compiled beside those of
 * others. */
static bool compile_patterns(struct classifier *classifier, struct fault *fault)
{
    struct part parts[PART_COUNT];
    struct fault found = {0};
    pthread_t thread;
    bool started = false;
    bool packed = pack_open(classifier);
    for (size_t i = 0; i < PART_COUNT; i++) {
        parts[i] = (struct part){.set = &classifier->set,
                                 .end = classifier->set.pattern_count,
                                 .others = i == PART_OTHERS};
    }
    struct part *ours = &parts[PART_BUILT_IN];
    if (!packed) {
        started = pthread_create(&thread, NULL, compile_part, ours) == 0;
    }
    (void)compile_part(&parts[PART_OTHERS]);
    bool good = compile_doubts(classifier, true, &found) &&
                (packed || compile_doubts(classifier, false, &found));
    if (started) {
        CHECK(pthread_join(thread, NULL) == 0);
    } else if (!packed) {
        (void)compile_part(ours);
    }
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (i == PART_BUILT_IN && packed) {
            continue;
        }
        classifier->databases[i] = parts[i].database;
        found = parts[i].good ? found : parts[i].fault;
        good = good && parts[i].good;
    }
    if (!good && fault != NULL) {
        *fault = found;
    }
    return good;
}

/* The rules without patterns, in each bucket those that may speak there. */
static void index_plain_rules(struct classifier *classifier)
{
    const struct ruleset *set = &classifier->set;
    for (unsigned bucket = 0; bucket < PLAIN_BUCKETS; bucket++) {
        struct plain_rules *plain = &classifier->plain[bucket];
        plain->rules = mem_calloc(set->rule_count + 1, sizeof(*plain->rules));
        for (size_t i = 0; i < set->rule_count; i++) {
            const struct rule *rule = &set->rules[i];
            bool may = rule->enhanced_count == 0;
            for (size_t k = 0; k < rule->enhanced_count; k++) {
                struct smtp_enhanced status = {5, rule->enhanced[k].subject, 0};
                may = may || status.subject == RULES_ANY || plain_bucket(status) == bucket;
            }
            if (rule->kind != RULE_TEXT && may) {
                plain->rules[plain->count++] = (uint32_t)i;
            }
        }
    }
}

static void index_serials(struct classifier *classifier)
{
    const struct ruleset *set = &classifier->set;
    classifier->by_serial = mem_calloc(set->serial_count + 1, sizeof(*classifier->by_serial));
    for (size_t i = 0; i < set->serial_count; i++) {
        classifier->by_serial[i] = PATTERN_NO_SERIAL;
    }
    for (size_t i = 0; i < set->pattern_count; i++) {
        if (set->patterns[i].serial != PATTERN_NO_SERIAL) {
            classifier->by_serial[set->patterns[i].serial] = (uint32_t)i;
        }
    }
}

static bool compile_captures(struct classifier *classifier, struct fault *fault)
{
    const struct ruleset *set = &classifier->set;
    classifier->captures = mem_calloc(set->rule_count + 1, sizeof(void *));
    for (size_t i = 0; i < set->rule_count; i++) {
        const struct rule *rule = &set->rules[i];
        if (rule->capture == NULL) {
            continue;
        }
        int problem;
        size_t offset;
        uint32_t groups = 0;
        classifier->captures[i] =
            pcre2_compile((PCRE2_SPTR)rule->capture, PCRE2_ZERO_TERMINATED,
                          PCRE2_CASELESS | PCRE2_DOTALL, &problem, &offset, NULL);
        if (classifier->captures[i] == NULL) {
            char text[120];
            (void)pcre2_get_error_message(problem, (PCRE2_UCHAR *)text, sizeof(text));
            return fault_set(fault, FAULT_INVALID, 0, "%s:%u: capture \"%.100s\": %s", rule->file,
                             rule->line, rule->capture, text);
        }
        (void)pcre2_pattern_info(classifier->captures[i], PCRE2_INFO_CAPTURECOUNT, &groups);
        if (groups != 1) {
            return fault_set(fault, FAULT_INVALID, 0,
                             "%s:%u: capture \"%.100s\" must have one group", rule->file,
                             rule->line, rule->capture);
        }
    }
    return true;
}

bool classifier_compile(struct classifier *classifier, struct fault *fault)
{
    const struct ruleset *set = &classifier->set;
    classifier->doubts = mem_calloc(set->rule_count + 1, sizeof(hs_database_t *));
    (void)snprintf(classifier->version, sizeof(classifier->version), "%016llx",
                   (unsigned long long)set->hash);
    index_serials(classifier);
    index_plain_rules(classifier);
    return compile_patterns(classifier, fault) && compile_captures(classifier, fault);
}
