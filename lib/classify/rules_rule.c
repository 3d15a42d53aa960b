/* One rule of a rule file: its keys, what is missing or contradicts itself. See rules_read.c. */
#include "classify/rules_read_private.h"

static bool take_sample(struct rules_reader *r, const yaml_node_t *item, void *target)
{
    struct ruleset *set = r->set;
    const char *text = NULL;
    if (!rules_take_text(r, item, &text)) {
        return false;
    }
    set->samples = rules_grow(set->samples, set->sample_count, sizeof(*set->samples));
    set->samples[set->sample_count++] = (struct sample){slice_cstr(text), *(const uint32_t *)target,
                                                        (unsigned)item->start_mark.line + 1};
    return true;
}

static bool take_code(struct rules_reader *r, const yaml_node_t *item, void *target)
{
    struct rule *rule = target;
    if (rule->code_count == RULE_CODES_MAX ||
        !rule_codes_parse(rules_scalar(item), &rule->codes[rule->code_count])) {
        return rules_complain(r, item,
                              "not a reply code (550, 55x, 5xx), or too many:", rules_scalar(item));
    }
    rule->code_count++;
    return true;
}

static bool take_enhanced(struct rules_reader *r, const yaml_node_t *item, void *target)
{
    struct rule *rule = target;
    if (rule->enhanced_count == RULE_ENHANCED_MAX ||
        !rule_enhanced_parse(rules_scalar(item), &rule->enhanced[rule->enhanced_count])) {
        return rules_complain(r, item, "not an enhanced code (5.1.1, x.1.1, 5.7.x), or too many:",
                              rules_scalar(item));
    }
    rule->enhanced_count++;
    return true;
}

static bool take_phase(struct rules_reader *r, const yaml_node_t *item, void *target)
{
    struct rule *rule = target;
    for (unsigned phase = SMTP_PHASE_DNS; phase <= SMTP_PHASE_IDLE; phase++) {
        if (slice_eq(rules_scalar(item), slice_cstr(smtp_phase_name((enum smtp_phase)phase)))) {
            rule->phases |= 1u << phase;
            return true;
        }
    }
    return rules_complain(r, item, "not a phase (connect, greeting, mail, rcpt, data, message …):",
                          rules_scalar(item));
}

static bool take_bool(struct rules_reader *r, const yaml_node_t *node, bool *value)
{
    *value =
        slice_eq(rules_scalar(node), SLICE("yes")) || slice_eq(rules_scalar(node), SLICE("true"));
    return *value || slice_eq(rules_scalar(node), SLICE("no")) ||
           slice_eq(rules_scalar(node), SLICE("false")) ||
           rules_complain(r, node, "yes or no is expected, not", rules_scalar(node));
}

static bool take_weight(struct rules_reader *r, const yaml_node_t *node, uint8_t *weight)
{
    uint64_t number;
    if (!slice_to_u64(rules_scalar(node), &number) || number > 100) {
        return rules_complain(r, node, "a weight is a number from 0 to 100, not",
                              rules_scalar(node));
    }
    *weight = (uint8_t)number;
    return true;
}

/* Words of a fixed vocabulary. */
static bool take_words(struct rules_reader *r, struct rule *rule, struct slice key,
                       const yaml_node_t *value)
{
    bool given_up = slice_eq(key, SLICE("given_up"));
    if (slice_eq(key, SLICE("class")) || given_up) {
        enum bounce_class class;
        if (!bounce_class_parse(rules_scalar(value), &class)) {
            return rules_complain(r, value, "not a class:", rules_scalar(value));
        }
        if (given_up) {
            rule->given_up = (int)class;
        } else {
            rule->class = class;
        }
        return true;
    }
    if (slice_eq(key, SLICE("disposition"))) {
        enum bounce_disposition disposition;
        if (!bounce_disposition_parse(rules_scalar(value), &disposition)) {
            return rules_complain(r, value, "not a disposition:", rules_scalar(value));
        }
        rule->disposition = (int)disposition;
        return true;
    }
    enum bounce_scope scope;
    if (!bounce_scope_parse(rules_scalar(value), &scope)) {
        return rules_complain(r, value, "not a scope:", rules_scalar(value));
    }
    rule->scope = (int)scope;
    return true;
}

static bool take_rule_key(struct rules_reader *r, struct rule *rule, const yaml_node_t *key_node,
                          const yaml_node_t *value)
{
    struct slice key = rules_scalar(key_node);
    uint32_t index = (uint32_t)r->set->rule_count;
    if (slice_eq(key, SLICE("name"))) {
        return rules_take_text(r, value, &rule->name);
    }
    if (slice_eq(key, SLICE("source"))) {
        return rules_take_text(r, value, &rule->source);
    }
    if (slice_eq(key, SLICE("capture"))) {
        return rules_take_text(r, value, &rule->capture);
    }
    if (slice_eq(key, SLICE("class")) || slice_eq(key, SLICE("disposition")) ||
        slice_eq(key, SLICE("scope")) || slice_eq(key, SLICE("given_up"))) {
        return take_words(r, rule, key, value);
    }
    if (slice_eq(key, SLICE("weight"))) {
        return take_weight(r, value, &rule->weight);
    }
    if (slice_eq(key, SLICE("match"))) {
        struct rules_pattern_target target = {PATTERN_MATCH, index};
        return rules_each(r, value, rules_take_pattern, &target);
    }
    if (slice_eq(key, SLICE("unless"))) {
        struct rules_pattern_target target = {PATTERN_UNLESS, index};
        return rules_each(r, value, rules_take_pattern, &target);
    }
    if (slice_eq(key, SLICE("samples"))) {
        return rules_each(r, value, take_sample, &index);
    }
    if (slice_eq(key, SLICE("codes"))) {
        return rules_each(r, value, take_code, rule);
    }
    if (slice_eq(key, SLICE("enhanced"))) {
        return rules_each(r, value, take_enhanced, rule);
    }
    if (slice_eq(key, SLICE("phases"))) {
        return rules_each(r, value, take_phase, rule);
    }
    if (slice_eq(key, SLICE("provider"))) {
        return rules_take_provider(r, value, &rule->provider);
    }
    if (slice_eq(key, SLICE("only_there"))) {
        return take_bool(r, value, &rule->only_there);
    }
    return rules_complain(r, key_node, "a rule has no key", key);
}

static bool name_is_taken(const struct rules_reader *r, const struct rule *rule, bool *here)
{
    CHECK(rule->name != NULL); /* check_rule() */
    for (size_t i = 0; i < r->set->rule_count; i++) {
        if (strcmp(r->set->rules[i].name, rule->name) == 0) {
            *here = r->set->rules[i].layer == r->layer;
            return true;
        }
    }
    return false;
}

static bool has_match(const struct ruleset *set, size_t first_pattern)
{
    for (size_t i = first_pattern; i < set->pattern_count; i++) {
        if (set->patterns[i].role == PATTERN_MATCH) {
            return true;
        }
    }
    return false;
}

/* What is missing or contradicts itself. */
static bool check_rule(struct rules_reader *r, const yaml_node_t *node, const struct rule *rule,
                       bool classed)
{
    if (rule->name == NULL) {
        return rules_complain(r, node, "a rule needs a name", SLICE_NULL);
    }
    struct slice name = slice_cstr(rule->name);
    if (!classed) {
        return rules_complain(r, node, "no class in rule", name);
    }
    if (rule->kind == RULE_PHASE && rule->phases == 0) {
        return rules_complain(r, node, "nothing to match in rule", name);
    }
    if (rule->only_there && rule->provider == RULE_NO_PROVIDER) {
        return rules_complain(r, node, "only_there without a provider in rule", name);
    }
    return r->set->rule_count < RULES_MAX || rules_complain(r, node, "too many rules at", name);
}

bool rules_take_rule(struct rules_reader *r, const yaml_node_t *node, void *target)
{
    struct ruleset *set = r->set;
    size_t first_pattern = set->pattern_count;
    size_t first_sample = set->sample_count;
    bool classed = false;
    bool here = false;
    (void)target;
    struct rule rule = {.file = r->file,
                        .line = (unsigned)node->start_mark.line + 1,
                        .disposition = -1,
                        .scope = -1,
                        .given_up = -1,
                        .serial =
                            r->layer == RULE_BUILT_IN ? set->rule_serial_count++ : RULE_NO_SERIAL,
                        .provider = r->provider,
                        .weight = 80,
                        .layer = r->layer};
    if (node->type != YAML_MAPPING_NODE) {
        return rules_complain(r, node, "a rule is a mapping", SLICE_NULL);
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
        classed = classed || slice_eq(rules_scalar(key), SLICE("class"));
        if (!take_rule_key(r, &rule, key, yaml_document_get_node(r->document, pair->value))) {
            return false;
        }
    }
    rule.kind = has_match(set, first_pattern) ? RULE_TEXT
                : rule.enhanced_count > 0     ? RULE_ENHANCED
                : rule.code_count > 0         ? RULE_CODE
                                              : RULE_PHASE;
    if (!check_rule(r, node, &rule, classed)) {
        return false;
    }
    if (name_is_taken(r, &rule, &here)) {
        if (here) {
            return rules_complain(r, node, "a second rule has the name", slice_cstr(rule.name));
        }
        set->pattern_count = first_pattern;
        set->sample_count = first_sample;
        return true;
    }
    set->rules = rules_grow(set->rules, set->rule_count, sizeof(*set->rules));
    set->rules[set->rule_count++] = rule;
    return true;
}
