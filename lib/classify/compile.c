/* Patterns to vectorscan databases, captures to PCRE2. */
#include "classify/classifier_private.h"

#include "base/mem.h"

#include <pthread.h>

#define PATTERN_FLAGS (HS_FLAG_CASELESS | HS_FLAG_DOTALL | HS_FLAG_SINGLEMATCH)

/* Every CLASSIFIER_PARTS-th pattern, beginning with `part`. */
struct part {
    const struct ruleset *set;
    size_t part;
    hs_database_t *database;
    bool good;
    struct fault fault;
};

static void note_pattern_fault(struct part *part, const hs_compile_error_t *error)
{
    const struct ruleset *set = part->set;
    size_t at = error->expression < 0 ? set->pattern_count
                                      : (size_t)error->expression * CLASSIFIER_PARTS + part->part;
    if (at >= set->pattern_count) {
        (void)fault_set(&part->fault, FAULT_FATAL, 0, "patterns: %s", error->message);
        return;
    }
    const struct pattern *pattern = &set->patterns[at];
    (void)fault_set(&part->fault, FAULT_INVALID, 0, "%s:%u: pattern \"%.100s\": %s", pattern->file,
                    pattern->line, pattern->written, error->message);
}

static void *compile_part(void *context)
{
    struct part *part = context;
    const struct ruleset *set = part->set;
    size_t count = 0;
    const char **texts = mem_calloc(set->pattern_count, sizeof(char *));
    unsigned *flags = mem_calloc(set->pattern_count, sizeof(*flags));
    unsigned *ids = mem_calloc(set->pattern_count, sizeof(*ids));
    for (size_t i = part->part; i < set->pattern_count; i += CLASSIFIER_PARTS) {
        texts[count] = set->patterns[i].text;
        flags[count] = PATTERN_FLAGS;
        ids[count++] = (unsigned)i;
    }
    hs_compile_error_t *error = NULL;
    part->good =
        count == 0 || hs_compile_multi(texts, flags, ids, (unsigned)count,
                                       HS_MODE_BLOCK, NULL, &part->database, &error) == HS_SUCCESS;
    if (!part->good) {
        note_pattern_fault(part, error);
        (void)hs_free_compile_error(error);
    }
    mem_free(texts);
    mem_free(flags);
    mem_free(ids);
    return NULL;
}

/* Compiling takes most of a second, so the parts are compiled at the same time. */
static bool compile_patterns(struct classifier *classifier, struct fault *fault)
{
    struct part parts[CLASSIFIER_PARTS];
    pthread_t threads[CLASSIFIER_PARTS];
    bool started[CLASSIFIER_PARTS] = {false};
    bool good = true;
    for (size_t i = 0; i < CLASSIFIER_PARTS; i++) {
        parts[i] = (struct part){.set = &classifier->set, .part = i};
        started[i] = i > 0 && pthread_create(&threads[i], NULL, compile_part, &parts[i]) == 0;
    }
    for (size_t i = 0; i < CLASSIFIER_PARTS; i++) {
        if (started[i]) {
            CHECK(pthread_join(threads[i], NULL) == 0);
        } else {
            (void)compile_part(&parts[i]);
        }
        classifier->databases[i] = parts[i].database;
        if (good && !parts[i].good && fault != NULL) {
            *fault = parts[i].fault;
        }
        good = good && parts[i].good;
    }
    return good;
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
    return compile_patterns(classifier, fault) && compile_captures(classifier, fault);
}
