/*
 * Rule files. A file is one mapping:
 *   providers: [{name, aliases, hosts, texts}]      who speaks: other names, ends of host names,
 * patterns provider: NAME                                  for all rules of the file that name none
 *   words: {name: alternatives}                      what patterns call "@name"
 *   rules: [{name, class, weight, match, unless, codes, enhanced, phases, provider, only_there,
 * capture, disposition, scope, source, samples}] A key that is not known is an error, with its
 * line: a misspelt key must not silently weaken a rule.
 */
#include "classify/rules_private.h"

#include "base/hash.h"
#include "base/mem.h"

#include <yaml.h>

struct reader {
    struct ruleset *set;
    yaml_document_t *document;
    const char *file;
    uint16_t layer;
    uint16_t provider; /* of the file */
    struct fault *fault;
};

/* Fills the fault; always false. */
static bool complain(struct reader *r, const yaml_node_t *node, const char *what,
                     struct slice value)
{
    bool named = value.ptr != NULL;
    struct slice shown = slice_head(value, 80);
    (void)fault_set(r->fault, FAULT_INVALID, 0, "%s:%zu: %s%s%.*s%s", r->file,
                    node->start_mark.line + 1, what, named ? " \"" : "", SLICE_FMT(shown),
                    named ? "\"" : "");
    return false;
}

static struct slice scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE
               ? slice_of(node->data.scalar.value, node->data.scalar.length)
               : SLICE_NULL;
}

/* A NUL-terminated copy in the arena. */
static bool take_text(struct reader *r, const yaml_node_t *node, const char **text)
{
    struct slice s = scalar(node);
    if (s.len == 0 || memchr(s.ptr, '\0', s.len) != NULL) {
        return complain(r, node, "a text is expected here", SLICE_NULL);
    }
    struct slice copy = arena_copy(r->set->arena, s);
    if (copy.ptr == NULL) {
        (void)fault_set(r->fault, FAULT_LIMIT, 0, "%s: too many rules", r->file);
        return false;
    }
    *text = copy.ptr;
    return true;
}

/* Room for one more element; doubles at powers of two. */
static void *grow(void *array, size_t count, size_t size)
{
    bool full = count == 0 || (count & (count - 1)) == 0;
    return full ? mem_realloc(array, (count == 0 ? 1 : count * 2) * size) : array;
}

typedef bool (*take_item)(struct reader *r, const yaml_node_t *item, void *target);

/* A single value or a sequence of them. */
static bool each(struct reader *r, const yaml_node_t *node, take_item take, void *target)
{
    if (node->type != YAML_SEQUENCE_NODE) {
        return take(r, node, target);
    }
    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        if (!take(r, yaml_document_get_node(r->document, *item), target)) {
            return false;
        }
    }
    return true;
}

struct pattern_target {
    enum pattern_role role;
    uint32_t owner;
};

static bool expand_pattern(struct reader *r, const yaml_node_t *item, struct pattern *pattern)
{
    struct strbuf out;
    struct slice unknown;
    strbuf_init(&out, RULE_EXPANDED_MAX);
    bool good = ruleset_expand(r->set, r->layer, slice_cstr(pattern->written), &out, &unknown) ||
                complain(r, item, "too long, or words that are not known:", unknown);
    struct slice copy = good ? arena_copy(r->set->arena, strbuf_slice(&out)) : SLICE_NULL;
    strbuf_free(&out);
    pattern->text = copy.ptr;
    return copy.ptr != NULL;
}

static bool take_pattern(struct reader *r, const yaml_node_t *item, void *target)
{
    const struct pattern_target *to = target;
    struct ruleset *set = r->set;
    struct pattern pattern = {.file = r->file,
                              .line = (unsigned)item->start_mark.line + 1,
                              .role = to->role,
                              .owner = to->owner,
                              .serial = PATTERN_NO_SERIAL};
    if (!take_text(r, item, &pattern.written)) {
        return false;
    }
    if (strlen(pattern.written) > RULE_PATTERN_MAX || set->pattern_count >= RULES_PATTERNS_MAX) {
        return complain(r, item, "the pattern is too long or there are too many", SLICE_NULL);
    }
    if (!expand_pattern(r, item, &pattern)) {
        return false;
    }
    if (r->layer == RULE_BUILT_IN) {
        pattern.serial = set->serial_count++;
    }
    set->patterns = grow(set->patterns, set->pattern_count, sizeof(*set->patterns));
    set->patterns[set->pattern_count++] = pattern;
    return true;
}

static bool take_sample(struct reader *r, const yaml_node_t *item, void *target)
{
    struct ruleset *set = r->set;
    const char *text = NULL;
    if (!take_text(r, item, &text)) {
        return false;
    }
    set->samples = grow(set->samples, set->sample_count, sizeof(*set->samples));
    set->samples[set->sample_count++] = (struct sample){slice_cstr(text), *(const uint32_t *)target,
                                                        (unsigned)item->start_mark.line + 1};
    return true;
}

static bool take_code(struct reader *r, const yaml_node_t *item, void *target)
{
    struct rule *rule = target;
    if (rule->code_count == RULE_CODES_MAX ||
        !rule_codes_parse(scalar(item), &rule->codes[rule->code_count])) {
        return complain(r, item, "not a reply code (550, 55x, 5xx), or too many:", scalar(item));
    }
    rule->code_count++;
    return true;
}

static bool take_enhanced(struct reader *r, const yaml_node_t *item, void *target)
{
    struct rule *rule = target;
    if (rule->enhanced_count == RULE_ENHANCED_MAX ||
        !rule_enhanced_parse(scalar(item), &rule->enhanced[rule->enhanced_count])) {
        return complain(r, item,
                        "not an enhanced code (5.1.1, x.1.1, 5.7.x), or too many:", scalar(item));
    }
    rule->enhanced_count++;
    return true;
}

static bool take_phase(struct reader *r, const yaml_node_t *item, void *target)
{
    struct rule *rule = target;
    for (unsigned phase = SMTP_PHASE_DNS; phase <= SMTP_PHASE_IDLE; phase++) {
        if (slice_eq(scalar(item), slice_cstr(smtp_phase_name((enum smtp_phase)phase)))) {
            rule->phases |= 1u << phase;
            return true;
        }
    }
    return complain(r, item,
                    "not a phase (connect, greeting, mail, rcpt, data, message …):", scalar(item));
}

static bool take_provider(struct reader *r, const yaml_node_t *node, uint16_t *provider)
{
    *provider = ruleset_provider_named(r->set, scalar(node));
    return *provider != RULE_NO_PROVIDER || complain(r, node, "no such provider:", scalar(node));
}

static bool take_bool(struct reader *r, const yaml_node_t *node, bool *value)
{
    *value = slice_eq(scalar(node), SLICE("yes")) || slice_eq(scalar(node), SLICE("true"));
    return *value || slice_eq(scalar(node), SLICE("no")) ||
           slice_eq(scalar(node), SLICE("false")) ||
           complain(r, node, "yes or no is expected, not", scalar(node));
}

static bool take_weight(struct reader *r, const yaml_node_t *node, uint8_t *weight)
{
    uint64_t number;
    if (!slice_to_u64(scalar(node), &number) || number > 100) {
        return complain(r, node, "a weight is a number from 0 to 100, not", scalar(node));
    }
    *weight = (uint8_t)number;
    return true;
}

/* Words of a fixed vocabulary. */
static bool take_words(struct reader *r, struct rule *rule, struct slice key,
                       const yaml_node_t *value)
{
    if (slice_eq(key, SLICE("class"))) {
        return bounce_class_parse(scalar(value), &rule->class) ||
               complain(r, value, "not a class:", scalar(value));
    }
    if (slice_eq(key, SLICE("disposition"))) {
        enum bounce_disposition disposition;
        if (!bounce_disposition_parse(scalar(value), &disposition)) {
            return complain(r, value, "not a disposition:", scalar(value));
        }
        rule->disposition = (int)disposition;
        return true;
    }
    enum bounce_scope scope;
    if (!bounce_scope_parse(scalar(value), &scope)) {
        return complain(r, value, "not a scope:", scalar(value));
    }
    rule->scope = (int)scope;
    return true;
}

static bool take_rule_key(struct reader *r, struct rule *rule, const yaml_node_t *key_node,
                          const yaml_node_t *value)
{
    struct slice key = scalar(key_node);
    uint32_t index = (uint32_t)r->set->rule_count;
    if (slice_eq(key, SLICE("name"))) {
        return take_text(r, value, &rule->name);
    }
    if (slice_eq(key, SLICE("source"))) {
        return take_text(r, value, &rule->source);
    }
    if (slice_eq(key, SLICE("capture"))) {
        return take_text(r, value, &rule->capture);
    }
    if (slice_eq(key, SLICE("class")) || slice_eq(key, SLICE("disposition")) ||
        slice_eq(key, SLICE("scope"))) {
        return take_words(r, rule, key, value);
    }
    if (slice_eq(key, SLICE("weight"))) {
        return take_weight(r, value, &rule->weight);
    }
    if (slice_eq(key, SLICE("match"))) {
        struct pattern_target target = {PATTERN_MATCH, index};
        return each(r, value, take_pattern, &target);
    }
    if (slice_eq(key, SLICE("unless"))) {
        struct pattern_target target = {PATTERN_UNLESS, index};
        return each(r, value, take_pattern, &target);
    }
    if (slice_eq(key, SLICE("samples"))) {
        return each(r, value, take_sample, &index);
    }
    if (slice_eq(key, SLICE("codes"))) {
        return each(r, value, take_code, rule);
    }
    if (slice_eq(key, SLICE("enhanced"))) {
        return each(r, value, take_enhanced, rule);
    }
    if (slice_eq(key, SLICE("phases"))) {
        return each(r, value, take_phase, rule);
    }
    if (slice_eq(key, SLICE("provider"))) {
        return take_provider(r, value, &rule->provider);
    }
    if (slice_eq(key, SLICE("only_there"))) {
        return take_bool(r, value, &rule->only_there);
    }
    return complain(r, key_node, "a rule has no key", key);
}

static bool name_is_taken(const struct reader *r, const struct rule *rule, bool *here)
{
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
static bool check_rule(struct reader *r, const yaml_node_t *node, const struct rule *rule,
                       bool classed)
{
    if (rule->name == NULL) {
        return complain(r, node, "a rule needs a name", SLICE_NULL);
    }
    struct slice name = slice_cstr(rule->name);
    if (!classed) {
        return complain(r, node, "no class in rule", name);
    }
    if (rule->kind == RULE_PHASE && rule->phases == 0) {
        return complain(r, node, "nothing to match in rule", name);
    }
    if (rule->only_there && rule->provider == RULE_NO_PROVIDER) {
        return complain(r, node, "only_there without a provider in rule", name);
    }
    return r->set->rule_count < RULES_MAX || complain(r, node, "too many rules at", name);
}

static bool take_rule(struct reader *r, const yaml_node_t *node, void *target)
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
                        .provider = r->provider,
                        .weight = 80,
                        .layer = r->layer};
    if (node->type != YAML_MAPPING_NODE) {
        return complain(r, node, "a rule is a mapping", SLICE_NULL);
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
        classed = classed || slice_eq(scalar(key), SLICE("class"));
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
            return complain(r, node, "a second rule has the name", slice_cstr(rule.name));
        }
        set->pattern_count = first_pattern;
        set->sample_count = first_sample;
        return true;
    }
    set->rules = grow(set->rules, set->rule_count, sizeof(*set->rules));
    set->rules[set->rule_count++] = rule;
    return true;
}

static bool take_provider_name(struct reader *r, const yaml_node_t *item, void *target)
{
    const char *text = NULL;
    struct ruleset *set = r->set;
    if (!take_text(r, item, &text)) {
        return false;
    }
    if (ruleset_provider_named(set, slice_cstr(text)) != RULE_NO_PROVIDER) {
        return complain(r, item, "there is a provider already with the name", slice_cstr(text));
    }
    set->names = grow(set->names, set->name_count, sizeof(*set->names));
    set->names[set->name_count++] =
        (struct provider_key){slice_cstr(text), *(const uint16_t *)target};
    return true;
}

static bool take_provider_host(struct reader *r, const yaml_node_t *item, void *target)
{
    const char *text = NULL;
    struct ruleset *set = r->set;
    if (!take_text(r, item, &text)) {
        return false;
    }
    set->hosts = grow(set->hosts, set->host_count, sizeof(*set->hosts));
    set->hosts[set->host_count++] =
        (struct provider_key){slice_cstr(text), *(const uint16_t *)target};
    return true;
}

static bool take_provider_key(struct reader *r, uint16_t index, const yaml_node_t *key_node,
                              const yaml_node_t *value)
{
    struct slice key = scalar(key_node);
    if (slice_eq(key, SLICE("name"))) {
        return true;
    }
    if (slice_eq(key, SLICE("aliases"))) {
        return each(r, value, take_provider_name, &index);
    }
    if (slice_eq(key, SLICE("hosts"))) {
        return each(r, value, take_provider_host, &index);
    }
    if (slice_eq(key, SLICE("texts"))) {
        struct pattern_target target = {PATTERN_PROVIDER, index};
        return each(r, value, take_pattern, &target);
    }
    return complain(r, key_node, "a provider has no key", key);
}

/* A provider that is there already gets more hosts, aliases and texts. */
static bool open_provider(struct reader *r, const yaml_node_t *node, uint16_t *index)
{
    struct ruleset *set = r->set;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        if (!slice_eq(scalar(yaml_document_get_node(r->document, pair->key)), SLICE("name"))) {
            continue;
        }
        const yaml_node_t *value = yaml_document_get_node(r->document, pair->value);
        *index = ruleset_provider_named(set, scalar(value));
        if (*index != RULE_NO_PROVIDER) {
            return true;
        }
        struct provider provider = {.line = (unsigned)node->start_mark.line + 1};
        if (set->provider_count >= RULE_NO_PROVIDER || !take_text(r, value, &provider.name)) {
            return complain(r, node, "a provider needs a name, or there are too many", SLICE_NULL);
        }
        *index = (uint16_t)set->provider_count;
        set->providers = grow(set->providers, set->provider_count, sizeof(*set->providers));
        set->providers[set->provider_count++] = provider;
        return take_provider_name(r, value, index);
    }
    return complain(r, node, "a provider needs a name", SLICE_NULL);
}

static bool take_provider_item(struct reader *r, const yaml_node_t *node, void *target)
{
    uint16_t index = RULE_NO_PROVIDER;
    (void)target;
    if (node->type != YAML_MAPPING_NODE) {
        return complain(r, node, "a provider is a mapping", SLICE_NULL);
    }
    if (!open_provider(r, node, &index)) {
        return false;
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        if (!take_provider_key(r, index, yaml_document_get_node(r->document, pair->key),
                               yaml_document_get_node(r->document, pair->value))) {
            return false;
        }
    }
    return true;
}

/* "name: alternatives", or a list of them; those of an earlier layer stay. */
static bool take_word_list(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    struct ruleset *set = r->set;
    struct strbuf text;
    const char *name = NULL;
    struct slice unknown = SLICE_NULL;
    bool list = value->type == YAML_SEQUENCE_NODE;
    size_t count =
        list ? (size_t)(value->data.sequence.items.top - value->data.sequence.items.start) : 1;
    if (!take_text(r, key, &name) || set->words_count == RULE_WORDS_MAX) {
        return complain(r, key, "words need a name, or there are too many", SLICE_NULL);
    }
    strbuf_init(&text, RULE_EXPANDED_MAX);
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        const yaml_node_t *item =
            list ? yaml_document_get_node(r->document, value->data.sequence.items.start[i]) : value;
        good = scalar(item).len > 0 && (i == 0 || strbuf_add_cstr(&text, "|")) &&
               ruleset_expand(set, r->layer, scalar(item), &text, &unknown);
        if (!good) {
            (void)complain(r, item, "not words, too long, or words that are not known:", unknown);
        }
    }
    struct slice copy = good ? arena_copy(set->arena, strbuf_slice(&text)) : SLICE_NULL;
    strbuf_free(&text);
    if (copy.ptr == NULL) {
        return false;
    }
    set->words = grow(set->words, set->words_count, sizeof(*set->words));
    set->words[set->words_count++] = (struct rule_words){slice_cstr(name), copy, r->layer};
    return true;
}

static bool take_words_of_file(struct reader *r, const yaml_node_t *node)
{
    if (node->type != YAML_MAPPING_NODE) {
        return complain(r, node, "words are a mapping of names to patterns", SLICE_NULL);
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        if (!take_word_list(r, yaml_document_get_node(r->document, pair->key),
                            yaml_document_get_node(r->document, pair->value))) {
            return false;
        }
    }
    return true;
}

static bool take_file_key(struct reader *r, const yaml_node_t *key_node, const yaml_node_t *value)
{
    struct slice key = scalar(key_node);
    bool rules = r->set->pass == RULESET_RULES;
    if (slice_eq(key, SLICE("provider"))) {
        return !rules || take_provider(r, value, &r->provider);
    }
    if (slice_eq(key, SLICE("providers"))) {
        return rules || each(r, value, take_provider_item, NULL);
    }
    if (slice_eq(key, SLICE("words"))) {
        return rules || take_words_of_file(r, value);
    }
    if (slice_eq(key, SLICE("rules"))) {
        return !rules || each(r, value, take_rule, NULL);
    }
    return complain(r, key_node, "a file of rules has no key", key);
}

static bool take_document(struct reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(r->document);
    if (root == NULL) {
        return true; /* an empty file */
    }
    if (root->type != YAML_MAPPING_NODE) {
        return complain(r, root, "a file of rules is a mapping", SLICE_NULL);
    }
    for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        if (!take_file_key(r, yaml_document_get_node(r->document, pair->key),
                           yaml_document_get_node(r->document, pair->value))) {
            return false;
        }
    }
    return true;
}

bool ruleset_read_text(struct ruleset *set, uint16_t layer, const char *file, struct slice text,
                       struct fault *fault)
{
    struct slice name = arena_copy(set->arena, slice_cstr(file));
    if (name.ptr == NULL || text.len > RULES_FILE_MAX) {
        return fault_set(fault, FAULT_LIMIT, 0, "%s: too many rules", file);
    }
    if (text.len == 0) {
        return true;
    }
    yaml_parser_t parser;
    yaml_document_t document;
    CHECK(yaml_parser_initialize(&parser) == 1);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    bool good;
    if (yaml_parser_load(&parser, &document) == 1) {
        struct reader reader = {set, &document, name.ptr, layer, RULE_NO_PROVIDER, fault};
        good = take_document(&reader);
        yaml_document_delete(&document);
    } else {
        good = fault_set(fault, FAULT_INVALID, 0, "%s:%zu: %s", file, parser.problem_mark.line + 1,
                         parser.problem == NULL ? "not YAML" : parser.problem);
    }
    yaml_parser_delete(&parser);
    set->hash = hash_sip(text, set->hash, layer);
    if (layer == RULE_BUILT_IN) {
        set->built_in_hash = hash_sip(text, set->built_in_hash, layer);
    }
    return good;
}
