/* Patterns to vectorscan databases, captures to PCRE2. */
#include "classify/classifier_private.h"

#include "base/mem.h"

#include <pthread.h>

/* One database, compiled by a thread of its own. */
struct part {
    const struct ruleset *set;
    enum classifier_part part;
    hs_database_t *database;
    bool good;
    struct fault fault;
};

static bool belongs(const struct pattern *pattern, enum classifier_part part)
{
    return (pattern->serial == PATTERN_NO_SERIAL) == (part == PART_OTHERS);
}

static void note_pattern_fault(struct part *part, const hs_compile_error_t *error)
{
    const struct ruleset *set = part->set;
    int which = error->expression;
    for (size_t i = 0; i < set->pattern_count && which >= 0; i++) {
        const struct pattern *pattern = &set->patterns[i];
        if (belongs(pattern, part->part) && which-- == 0) {
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
    const struct ruleset *set = part->set;
    /* Of no processor in particular: the result may be kept and opened elsewhere. */
    const hs_platform_info_t platform = {.tune = HS_TUNE_FAMILY_GENERIC};
    size_t count = 0;
    const char **texts = mem_calloc(set->pattern_count + 1, sizeof(char *));
    unsigned *flags = mem_calloc(set->pattern_count + 1, sizeof(*flags));
    unsigned *ids = mem_calloc(set->pattern_count + 1, sizeof(*ids));
    for (size_t i = 0; i < set->pattern_count; i++) {
        const struct pattern *pattern = &set->patterns[i];
        if (belongs(pattern, part->part)) {
            texts[count] = pattern->text;
            flags[count] = PATTERN_FLAGS;
            ids[count++] = part->part == PART_OTHERS ? (unsigned)i : pattern->serial;
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

/* Our own rules take seconds to compile, so their database was made when the program was built.
 * Where it does not fit (other rules, another vectorscan) they are compiled beside those of others.
 */
static bool compile_patterns(struct classifier *classifier, struct fault *fault)
{
    struct part parts[PART_COUNT];
    pthread_t thread;
    bool started = false;
    for (size_t i = 0; i < PART_COUNT; i++) {
        parts[i] = (struct part){.set = &classifier->set, .part = (enum classifier_part)i};
    }
    struct part *ours = &parts[PART_BUILT_IN];
    ours->database = pack_open(&classifier->set);
    ours->good = ours->database != NULL;
    if (!ours->good) {
        started = pthread_create(&thread, NULL, compile_part, ours) == 0;
    }
    (void)compile_part(&parts[PART_OTHERS]);
    if (started) {
        CHECK(pthread_join(thread, NULL) == 0);
    } else if (!ours->good) {
        (void)compile_part(ours);
    }
    bool good = true;
    for (size_t i = 0; i < PART_COUNT; i++) {
        classifier->databases[i] = parts[i].database;
        if (good && !parts[i].good && fault != NULL) {
            *fault = parts[i].fault;
        }
        good = good && parts[i].good;
    }
    return good;
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
    classifier->plain_rules = mem_calloc(set->rule_count + 1, sizeof(*classifier->plain_rules));
    for (size_t i = 0; i < set->rule_count; i++) {
        if (set->rules[i].kind != RULE_TEXT) {
            classifier->plain_rules[classifier->plain_count++] = (uint32_t)i;
        }
    }
    (void)snprintf(classifier->version, sizeof(classifier->version), "%016llx",
                   (unsigned long long)set->hash);
    index_serials(classifier);
    return compile_patterns(classifier, fault) && compile_captures(classifier, fault);
}
