/*
 * Rule files. A file is one mapping with the keys "providers" (who speaks: names, aliases, ends of
 * host names, texts), "provider" (for all rules of the file that name none), "words" (what patterns
 * call "@name") and "rules" (rules_rule.c). A key that is not known is an error, with its line: a
 * misspelt key must not silently weaken a rule.
 */
#include "classify/rules_read_private.h"

#include "base/hash.h"
#include "base/mem.h"

bool rules_complain(struct rules_reader *r, const yaml_node_t *node, const char *what,
                    struct slice value)
{
    bool named = value.ptr != NULL;
    struct slice shown = slice_head(value, 80);
    (void)fault_set(r->fault, FAULT_INVALID, 0, "%s:%zu: %s%s%.*s%s", r->file,
                    node->start_mark.line + 1, what, named ? " \"" : "", SLICE_FMT(shown),
                    named ? "\"" : "");
    return false;
}

struct slice rules_scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE
               ? slice_of(node->data.scalar.value, node->data.scalar.length)
               : SLICE_NULL;
}

bool rules_take_text(struct rules_reader *r, const yaml_node_t *node, const char **text)
{
    struct slice s = rules_scalar(node);
    if (s.len == 0 || memchr(s.ptr, '\0', s.len) != NULL) {
        return rules_complain(r, node, "a text is expected here", SLICE_NULL);
    }
    struct slice copy = arena_copy(r->set->arena, s);
    if (copy.ptr == NULL) {
        (void)fault_set(r->fault, FAULT_LIMIT, 0, "%s: too many rules", r->file);
        return false;
    }
    *text = copy.ptr;
    return true;
}

void *rules_grow(void *array, size_t count, size_t size)
{
    bool full = count == 0 || (count & (count - 1)) == 0;
    return full ? mem_realloc(array, (count == 0 ? 1 : count * 2) * size) : array;
}

bool rules_each(struct rules_reader *r, const yaml_node_t *node, rules_take_item take, void *target)
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

static bool expand_pattern(struct rules_reader *r, const yaml_node_t *item, struct pattern *pattern)
{
    struct strbuf out;
    struct slice unknown;
    strbuf_init(&out, RULE_EXPANDED_MAX);
    bool good = ruleset_expand(r->set, r->layer, slice_cstr(pattern->written), &out, &unknown) ||
                rules_complain(r, item, "too long, or words that are not known:", unknown);
    struct slice copy = good ? arena_copy(r->set->arena, strbuf_slice(&out)) : SLICE_NULL;
    strbuf_free(&out);
    pattern->text = copy.ptr;
    return copy.ptr != NULL;
}

bool rules_take_pattern(struct rules_reader *r, const yaml_node_t *item, void *target)
{
    const struct rules_pattern_target *to = target;
    struct ruleset *set = r->set;
    struct pattern pattern = {.file = r->file,
                              .line = (unsigned)item->start_mark.line + 1,
                              .role = to->role,
                              .owner = to->owner,
                              .serial = PATTERN_NO_SERIAL};
    if (!rules_take_text(r, item, &pattern.written)) {
        return false;
    }
    if (strlen(pattern.written) > RULE_PATTERN_MAX || set->pattern_count >= RULES_PATTERNS_MAX) {
        return rules_complain(r, item, "the pattern is too long or there are too many", SLICE_NULL);
    }
    if (!expand_pattern(r, item, &pattern)) {
        return false;
    }
    if (r->layer == RULE_BUILT_IN) {
        pattern.serial = set->serial_count++;
    }
    set->patterns = rules_grow(set->patterns, set->pattern_count, sizeof(*set->patterns));
    set->patterns[set->pattern_count++] = pattern;
    return true;
}

bool rules_take_provider(struct rules_reader *r, const yaml_node_t *node, uint16_t *provider)
{
    *provider = ruleset_provider_named(r->set, rules_scalar(node));
    return *provider != RULE_NO_PROVIDER ||
           rules_complain(r, node, "no such provider:", rules_scalar(node));
}

static bool take_provider_name(struct rules_reader *r, const yaml_node_t *item, void *target)
{
    const char *text = NULL;
    struct ruleset *set = r->set;
    if (!rules_take_text(r, item, &text)) {
        return false;
    }
    if (ruleset_provider_named(set, slice_cstr(text)) != RULE_NO_PROVIDER) {
        return rules_complain(r, item, "there is a provider already with the name",
                              slice_cstr(text));
    }
    set->names = rules_grow(set->names, set->name_count, sizeof(*set->names));
    set->names[set->name_count++] =
        (struct provider_key){slice_cstr(text), *(const uint16_t *)target};
    return true;
}

static bool take_provider_host(struct rules_reader *r, const yaml_node_t *item, void *target)
{
    const char *text = NULL;
    struct ruleset *set = r->set;
    if (!rules_take_text(r, item, &text)) {
        return false;
    }
    set->hosts = rules_grow(set->hosts, set->host_count, sizeof(*set->hosts));
    set->hosts[set->host_count++] =
        (struct provider_key){slice_cstr(text), *(const uint16_t *)target};
    return true;
}

static bool take_provider_key(struct rules_reader *r, uint16_t index, const yaml_node_t *key_node,
                              const yaml_node_t *value)
{
    struct slice key = rules_scalar(key_node);
    if (slice_eq(key, SLICE("name"))) {
        return true;
    }
    if (slice_eq(key, SLICE("aliases"))) {
        return rules_each(r, value, take_provider_name, &index);
    }
    if (slice_eq(key, SLICE("hosts"))) {
        return rules_each(r, value, take_provider_host, &index);
    }
    if (slice_eq(key, SLICE("texts"))) {
        struct rules_pattern_target target = {PATTERN_PROVIDER, index};
        return rules_each(r, value, rules_take_pattern, &target);
    }
    return rules_complain(r, key_node, "a provider has no key", key);
}

/* A provider that is there already gets more hosts, aliases and texts. */
static bool open_provider(struct rules_reader *r, const yaml_node_t *node, uint16_t *index)
{
    struct ruleset *set = r->set;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        if (!slice_eq(rules_scalar(yaml_document_get_node(r->document, pair->key)),
                      SLICE("name"))) {
            continue;
        }
        const yaml_node_t *value = yaml_document_get_node(r->document, pair->value);
        *index = ruleset_provider_named(set, rules_scalar(value));
        if (*index != RULE_NO_PROVIDER) {
            return true;
        }
        struct provider provider = {.line = (unsigned)node->start_mark.line + 1};
        if (set->provider_count >= RULE_NO_PROVIDER || !rules_take_text(r, value, &provider.name)) {
            return rules_complain(r, node, "a provider needs a name, or there are too many",
                                  SLICE_NULL);
        }
        *index = (uint16_t)set->provider_count;
        set->providers = rules_grow(set->providers, set->provider_count, sizeof(*set->providers));
        set->providers[set->provider_count++] = provider;
        return take_provider_name(r, value, index);
    }
    return rules_complain(r, node, "a provider needs a name", SLICE_NULL);
}

static bool take_provider_item(struct rules_reader *r, const yaml_node_t *node, void *target)
{
    uint16_t index = RULE_NO_PROVIDER;
    (void)target;
    if (node->type != YAML_MAPPING_NODE) {
        return rules_complain(r, node, "a provider is a mapping", SLICE_NULL);
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
static bool take_word_list(struct rules_reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    struct ruleset *set = r->set;
    struct strbuf text;
    const char *name = NULL;
    struct slice unknown = SLICE_NULL;
    bool list = value->type == YAML_SEQUENCE_NODE;
    size_t count =
        list ? (size_t)(value->data.sequence.items.top - value->data.sequence.items.start) : 1;
    if (!rules_take_text(r, key, &name) || set->words_count == RULE_WORDS_MAX) {
        return rules_complain(r, key, "words need a name, or there are too many", SLICE_NULL);
    }
    strbuf_init(&text, RULE_EXPANDED_MAX);
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        const yaml_node_t *item =
            list ? yaml_document_get_node(r->document, value->data.sequence.items.start[i]) : value;
        good = rules_scalar(item).len > 0 && (i == 0 || strbuf_add_cstr(&text, "|")) &&
               ruleset_expand(set, r->layer, rules_scalar(item), &text, &unknown);
        if (!good) {
            (void)rules_complain(r, item,
                                 "not words, too long, or words that are not known:", unknown);
        }
    }
    struct slice copy = good ? arena_copy(set->arena, strbuf_slice(&text)) : SLICE_NULL;
    strbuf_free(&text);
    if (copy.ptr == NULL) {
        return false;
    }
    set->words = rules_grow(set->words, set->words_count, sizeof(*set->words));
    set->words[set->words_count++] = (struct rule_words){slice_cstr(name), copy, r->layer};
    return true;
}

static bool take_words_of_file(struct rules_reader *r, const yaml_node_t *node)
{
    if (node->type != YAML_MAPPING_NODE) {
        return rules_complain(r, node, "words are a mapping of names to patterns", SLICE_NULL);
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

static bool take_file_key(struct rules_reader *r, const yaml_node_t *key_node,
                          const yaml_node_t *value)
{
    struct slice key = rules_scalar(key_node);
    bool rules = r->set->pass == RULESET_RULES;
    if (slice_eq(key, SLICE("provider"))) {
        return !rules || rules_take_provider(r, value, &r->provider);
    }
    if (slice_eq(key, SLICE("providers"))) {
        return rules || rules_each(r, value, take_provider_item, NULL);
    }
    if (slice_eq(key, SLICE("words"))) {
        return rules || take_words_of_file(r, value);
    }
    if (slice_eq(key, SLICE("rules"))) {
        return !rules || rules_each(r, value, rules_take_rule, NULL);
    }
    return rules_complain(r, key_node, "a file of rules has no key", key);
}

static bool take_document(struct rules_reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(r->document);
    if (root == NULL) {
        return true; /* an empty file */
    }
    if (root->type != YAML_MAPPING_NODE) {
        return rules_complain(r, root, "a file of rules is a mapping", SLICE_NULL);
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
        struct rules_reader reader = {set, &document, name.ptr, layer, RULE_NO_PROVIDER, fault};
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
