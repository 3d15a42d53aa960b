/* YAML into typed values, and the list of what is wrong with them. */
#include "sim/yaml_reader.h"

#define PROBLEMS_MAX 50

static void tell(struct yaml_reader *reader, size_t line, const char *format, va_list args)
{
    reader->problem_count++;
    if (reader->problem_count > PROBLEMS_MAX) {
        return;
    }
    strbuf_addf(reader->problems, "%s:%zu: ", reader->file, line);
    strbuf_vaddf(reader->problems, format, args);
    strbuf_add_byte(reader->problems, '\n');
}

static void PRINTF_LIKE(3, 4)
    tell_line(struct yaml_reader *reader, size_t line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(reader, line, format, args);
    va_end(args);
}

void yaml_problem(struct yaml_reader *reader, const yaml_node_t *node, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(reader, node->start_mark.line + 1, format, args);
    va_end(args);
}

bool yaml_reader_open(struct yaml_reader *reader, struct slice text)
{
    yaml_parser_t parser;
    CHECK(yaml_parser_initialize(&parser) == 1);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    bool good = yaml_parser_load(&parser, &reader->document) == 1;
    if (!good) {
        tell_line(reader, parser.problem_mark.line + 1, "%s",
                  parser.problem == NULL ? "cannot be read" : parser.problem);
    }
    yaml_parser_delete(&parser);
    return good;
}

void yaml_reader_close(struct yaml_reader *reader)
{
    yaml_document_delete(&reader->document);
}

const yaml_node_t *yaml_reader_root(struct yaml_reader *reader)
{
    return yaml_document_get_root_node(&reader->document);
}

static const yaml_node_t *node_of(struct yaml_reader *reader, int id)
{
    return reader->document.nodes.start + id - 1;
}

static const struct yaml_key *find_key(const struct yaml_key *keys, size_t key_count,
                                       struct slice name)
{
    for (size_t i = 0; i < key_count; i++) {
        if (slice_eq(name, slice_cstr(keys[i].name))) {
            return &keys[i];
        }
    }
    return NULL;
}

static void tell_unknown(struct yaml_reader *reader, const yaml_node_t *node,
                         const struct yaml_key *keys, size_t key_count, struct slice name)
{
    char known[512];
    size_t len = 0;
    for (size_t i = 0; i < key_count && len < sizeof(known); i++) {
        int wrote =
            snprintf(known + len, sizeof(known) - len, "%s%s", i == 0 ? "" : ", ", keys[i].name);
        len += wrote < 0 ? 0 : (size_t)wrote;
    }
    yaml_problem(reader, node, "unknown key \"%.*s\"; known are: %s", SLICE_FMT(name), known);
}

void yaml_read_mapping(struct yaml_reader *reader, const yaml_node_t *node,
                       const struct yaml_key *keys, size_t key_count, void *object)
{
    uint64_t seen = 0;
    CHECK(key_count <= 64);
    if (node->type != YAML_MAPPING_NODE) {
        yaml_problem(reader, node, "expected a mapping of keys and values");
        return;
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name_node = node_of(reader, pair->key);
        struct slice name;
        if (!yaml_scalar(reader, name_node, &name)) {
            continue;
        }
        const struct yaml_key *key = find_key(keys, key_count, name);
        if (key == NULL) {
            tell_unknown(reader, name_node, keys, key_count, name);
            continue;
        }
        uint64_t bit = UINT64_C(1) << (key - keys);
        if ((seen & bit) != 0) {
            yaml_problem(reader, name_node, "%s: given twice", key->name);
        }
        seen |= bit;
        key->parse(reader, node_of(reader, pair->value), (char *)object + key->offset);
    }
    for (size_t i = 0; i < key_count; i++) {
        if (keys[i].required && (seen & UINT64_C(1) << i) == 0) {
            yaml_problem(reader, node, "%s: missing", keys[i].name);
        }
    }
}

void *yaml_read_list(struct yaml_reader *reader, const yaml_node_t *node, yaml_value_parser item,
                     size_t size, size_t *count)
{
    *count = 0;
    if (node->type != YAML_SEQUENCE_NODE) {
        yaml_problem(reader, node, "expected a list");
        return NULL;
    }
    const yaml_node_item_t *first = node->data.sequence.items.start;
    size_t wanted = (size_t)(node->data.sequence.items.top - first);
    char *objects = wanted == 0 ? NULL : arena_try_alloc(reader->arena, wanted * size);
    if (objects == NULL) {
        yaml_problem(reader, node, wanted == 0 ? "the list is empty" : "the list is too long");
        return NULL;
    }
    memset(objects, 0, wanted * size);
    for (size_t i = 0; i < wanted; i++) {
        item(reader, node_of(reader, first[i]), objects + i * size);
    }
    *count = wanted;
    return objects;
}

bool yaml_scalar(struct yaml_reader *reader, const yaml_node_t *node, struct slice *text)
{
    if (node->type != YAML_SCALAR_NODE) {
        yaml_problem(reader, node, "expected a single value");
        return false;
    }
    *text = slice_of(node->data.scalar.value, node->data.scalar.length);
    if (memchr(text->ptr, '\0', text->len) != NULL) {
        yaml_problem(reader, node, "NUL byte");
        return false;
    }
    return true;
}

int yaml_word(struct yaml_reader *reader, const yaml_node_t *node, const char *const *words,
              size_t count)
{
    struct slice text;
    char all[256];
    size_t len = 0;
    if (!yaml_scalar(reader, node, &text)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(text, slice_cstr(words[i]))) {
            return (int)i;
        }
    }
    for (size_t i = 0; i < count && len < sizeof(all); i++) {
        int wrote = snprintf(all + len, sizeof(all) - len, "%s%s", i == 0 ? "" : ", ", words[i]);
        len += wrote < 0 ? 0 : (size_t)wrote;
    }
    yaml_problem(reader, node, "\"%.*s\": expected one of %s", SLICE_FMT(text), all);
    return -1;
}

void yaml_parse_text(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct slice text;
    const char **out = field;
    if (!yaml_scalar(reader, node, &text)) {
        return;
    }
    if (text.len == 0 || slice_has_control(text)) {
        yaml_problem(reader, node, "expected a text without control characters");
        return;
    }
    *out = arena_copy(reader->arena, text).ptr;
}

void yaml_parse_duration(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct slice text;
    if (yaml_scalar(reader, node, &text) && !duration_parse_ms(text, field)) {
        yaml_problem(reader, node, "\"%.*s\": expected a duration such as 20ms, 3s, 5m",
                     SLICE_FMT(text));
    }
}

void yaml_parse_count(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    struct slice text;
    uint64_t value;
    if (!yaml_scalar(reader, node, &text)) {
        return;
    }
    if (!slice_to_u64(text, &value) || value == 0 || value > UINT32_MAX) {
        yaml_problem(reader, node, "\"%.*s\": expected a number above 0", SLICE_FMT(text));
        return;
    }
    *(uint32_t *)field = (uint32_t)value;
}

void yaml_parse_bool(struct yaml_reader *reader, const yaml_node_t *node, void *field)
{
    static const char *const words[] = {"false", "true"};
    int word = yaml_word(reader, node, words, ARRAY_LEN(words));
    if (word >= 0) {
        *(bool *)field = word == 1;
    }
}
