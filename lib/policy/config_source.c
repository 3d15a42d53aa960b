/* The document as libyaml reads it: nodes with their lines. */
#include "policy/config_source_private.h"

#include "base/mem.h"

static void tell_syntax(const yaml_parser_t *parser, struct problems *problems)
{
    const char *what = parser->problem == NULL ? "cannot be read" : parser->problem;
    unsigned line = (unsigned)parser->problem_mark.line + 1;
    if (parser->error == YAML_READER_ERROR) {
        problems_add(problems, 1, "syntax", "%s at byte %zu", what, parser->problem_offset);
    } else if (parser->context != NULL) {
        problems_add(problems, line, "syntax", "%s (%s that begins in line %zu)", what,
                     parser->context, parser->context_mark.line + 1);
    } else {
        problems_add(problems, line, "syntax", "%s", what);
    }
}

/* Exactly one document: a second one would be silently ignored otherwise. */
static bool check_no_second(yaml_parser_t *parser, struct problems *problems)
{
    yaml_document_t second;
    if (!yaml_parser_load(parser, &second)) {
        tell_syntax(parser, problems);
        return false;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&second);
    if (root != NULL) {
        problems_add(problems, (unsigned)root->start_mark.line + 1, "syntax",
                     "a second document begins; expected one");
    }
    yaml_document_delete(&second);
    return root == NULL;
}

struct config_source *config_source_parse(struct slice text, struct problems *problems)
{
    yaml_parser_t parser;
    struct config_source *source = mem_zalloc(sizeof(*source));
    CHECK(yaml_parser_initialize(&parser) == 1);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.len == 0 ? "" : text.ptr),
                                 text.len);
    bool good = yaml_parser_load(&parser, &source->document) == 1;
    if (!good) {
        tell_syntax(&parser, problems);
        mem_free(source);
        source = NULL;
    } else if (yaml_document_get_root_node(&source->document) != NULL &&
               !check_no_second(&parser, problems)) {
        config_source_free(&source);
    }
    yaml_parser_delete(&parser);
    return source;
}

void config_source_free(struct config_source **source)
{
    if (*source != NULL) {
        yaml_document_delete(&(*source)->document);
        mem_free(*source);
        *source = NULL;
    }
}

yaml_node_t *source_node(const struct config_source *source, int id)
{
    return source->document.nodes.start + id - 1;
}

struct slice source_text(const yaml_node_t *node)
{
    return slice_of(node->data.scalar.value, node->data.scalar.length);
}

unsigned source_line(const yaml_node_t *node)
{
    return (unsigned)node->start_mark.line + 1;
}

bool source_is_empty(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (node->data.scalar.length == 0 || slice_eq(source_text(node), SLICE("~")) ||
            slice_eq(source_text(node), SLICE("null")));
}

yaml_node_t *source_value(const struct config_source *source, const yaml_node_t *mapping,
                          struct slice key)
{
    if (mapping == NULL || mapping->type != YAML_MAPPING_NODE) {
        return NULL;
    }
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = source_node(source, pair->key);
        if (name->type == YAML_SCALAR_NODE && slice_eq(source_text(name), key)) {
            return source_node(source, pair->value);
        }
    }
    return NULL;
}

static yaml_node_t *source_item(const struct config_source *source, const yaml_node_t *sequence,
                                uint64_t at)
{
    if (sequence->type != YAML_SEQUENCE_NODE) {
        return NULL;
    }
    const yaml_node_item_t *items = sequence->data.sequence.items.start;
    return at < (uint64_t)(sequence->data.sequence.items.top - items)
               ? source_node(source, items[at])
               : NULL;
}

/* The node at the path; otherwise the last one on the way there, and *whole is false. NULL: the
 * file is empty. */
static const yaml_node_t *follow(const struct config_source *source, const char *path, bool *whole)
{
    const yaml_node_t *node =
        source->document.nodes.start == source->document.nodes.top ? NULL : source_node(source, 1);
    struct slice rest = slice_cstr(path);
    *whole = node != NULL;
    while (*whole && rest.len > 0) {
        const yaml_node_t *next;
        if (rest.ptr[0] == '[') {
            uint64_t at;
            rest = slice_skip(rest, 1);
            next = slice_to_u64(slice_cut(&rest, ']'), &at) ? source_item(source, node, at) : NULL;
        } else {
            size_t len = 0;
            rest = slice_skip(rest, rest.ptr[0] == '.' ? 1 : 0);
            while (len < rest.len && rest.ptr[len] != '.' && rest.ptr[len] != '[') {
                len++;
            }
            next = source_value(source, node, slice_head(rest, len));
            rest = slice_skip(rest, len);
        }
        *whole = next != NULL;
        node = next != NULL ? next : node;
    }
    return node;
}

unsigned config_source_line(const struct config_source *source, const char *path)
{
    bool whole;
    const yaml_node_t *node = follow(source, path, &whole);
    return node == NULL ? 1 : source_line(node);
}

bool config_source_has(const struct config_source *source, const char *path)
{
    bool whole;
    (void)follow(source, path, &whole);
    return whole;
}
