/* The samples of the rules are their tests. */
#include "classify/classifier_private.h"

struct seen {
    const char *rule;
    bool spoke;
};

static void note(void *context, const char *rule, enum bounce_class class, unsigned weight)
{
    struct seen *seen = context;
    (void)class;
    (void)weight;
    seen->spoke = seen->spoke || strcmp(rule, seen->rule) == 0;
}

size_t classifier_check_samples(const struct classifier *classifier, classifier_problem tell,
                                void *context, size_t *samples)
{
    const struct ruleset *set = &classifier->set;
    struct classify_scratch *scratch = classify_scratch_create();
    size_t wrong = 0;
    for (size_t i = 0; i < set->sample_count; i++) {
        const struct rule *rule = &set->rules[set->samples[i].rule];
        struct classify_input input = {.text = set->samples[i].text};
        struct classify_result result;
        struct seen seen = {rule->name, false};
        if (rule->provider != RULE_NO_PROVIDER) {
            input.provider = slice_cstr(set->providers[rule->provider].name);
        }
        if (rule->phases != 0) {
            input.phase = (enum smtp_phase)__builtin_ctz(rule->phases);
        }
        classifier_run(classifier, scratch, &input, &result);
        classifier_explain(classifier, scratch, &input, note, &seen);
        if (result.class == rule->class && seen.spoke) {
            continue;
        }
        wrong++;
        if (tell != NULL) {
            char line[600];
            (void)snprintf(line, sizeof(line), "%s:%u: sample of %s: %s, found %s by \"%s\"%s",
                           rule->file, set->samples[i].line, rule->name,
                           bounce_class_name(rule->class), bounce_class_name(result.class),
                           result.rule, seen.spoke ? "" : "; the rule itself does not match");
            tell(context, line);
        }
    }
    classify_scratch_free(&scratch);
    *samples = set->sample_count;
    return wrong;
}
