/* Rules to one vectorscan database, captures to PCRE2. */
#include "classify/classifier_private.h"

#include "base/mem.h"

#define PATTERN_FLAGS (HS_FLAG_CASELESS | HS_FLAG_DOTALL | HS_FLAG_SINGLEMATCH)

static bool pattern_fault(const struct ruleset *set, const hs_compile_error_t *error,
                          struct fault *fault)
{
    if (error->expression < 0 || (size_t)error->expression >= set->pattern_count) {
        return fault_set(fault, FAULT_FATAL, 0, "patterns: %s", error->message);
    }
    const struct pattern *pattern = &set->patterns[error->expression];
    return fault_set(fault, FAULT_INVALID, 0, "%s:%u: pattern \"%.100s\": %s", pattern->file,
                     pattern->line, pattern->text, error->message);
}

static bool compile_patterns(struct classifier *classifier, struct fault *fault)
{
    const struct ruleset *set = &classifier->set;
    if (set->pattern_count == 0) {
        return true;
    }
    const char **texts = mem_calloc(set->pattern_count, sizeof(*texts));
    unsigned *flags = mem_calloc(set->pattern_count, sizeof(*flags));
    unsigned *ids = mem_calloc(set->pattern_count, sizeof(*ids));
    for (size_t i = 0; i < set->pattern_count; i++) {
        texts[i] = set->patterns[i].text;
        flags[i] = PATTERN_FLAGS;
        ids[i] = (unsigned)i;
    }
    hs_compile_error_t *error = NULL;
    bool good = hs_compile_multi(texts, flags, ids, (unsigned)set->pattern_count, HS_MODE_BLOCK,
                                 NULL, &classifier->database, &error) == HS_SUCCESS;
    if (!good) {
        (void)pattern_fault(set, error, fault);
        (void)hs_free_compile_error(error);
    }
    mem_free(texts);
    mem_free(flags);
    mem_free(ids);
    return good;
}

static bool compile_captures(struct classifier *classifier, struct fault *fault)
{
    const struct ruleset *set = &classifier->set;
    classifier->captures = mem_calloc(set->rule_count + 1, sizeof(*classifier->captures));
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
    return compile_patterns(classifier, fault) && compile_captures(classifier, fault);
}
