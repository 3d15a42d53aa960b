#include "policy/config_normal_private.h"

#include "policy/config_scalar_private.h"

#include "policy/config_value_private.h"

#define KEY_PATH_MAX 512
#define LIST_MAX 100000 /* entries of one list */

static void write_struct(struct normal *normal, const struct schema_type *type,
                         const yaml_node_t *node, unsigned line, const yaml_node_t *parent);

static void path_cut(struct normal *normal, size_t len)
{
    normal->path.overflow = false;
    normal->path.len = len;
    normal->path.ptr[len] = '\0';
}

/* The length before, for path_cut(). Overlong foreign keys are shortened. */
static size_t path_add_key(struct normal *normal, struct slice key)
{
    size_t before = normal->path.len;
    char shown[CONFIG_SHOWN_MAX];
    (void)config_shown(shown, key);
    (void)strbuf_addf(&normal->path, "%s%.*s", before == 0 ? "" : ".", (int)strlen(shown) - 2,
                      shown + 1);
    return before;
}

static size_t path_add_index(struct normal *normal, size_t at)
{
    size_t before = normal->path.len;
    (void)strbuf_addf(&normal->path, "[%zu]", at);
    return before;
}

/* A mapping, or what stands for it. */
static bool write_mapping(struct normal *normal, const struct schema_field *field,
                          const yaml_node_t *node, const yaml_node_t *parent)
{
    const struct schema_type *type = field->type;
    if (node->type == YAML_SCALAR_NODE && type->shorthand != NULL && !source_is_empty(node)) {
        for (size_t i = 0; i < type->field_count; i++) {
            const struct schema_field *inner = &type->fields[i];
            bool stands_for = strcmp(inner->key, type->shorthand) == 0;
            (void)strbuf_addf(normal->out, "%s\"%s\": ", i == 0 ? "{" : ", ", inner->key);
            if (!(stands_for ? normal_write_scalar(normal, inner, node)
                             : normal_write_text(normal, inner, slice_cstr(inner->fallback),
                                                 source_line(node)))) {
                return false;
            }
        }
        return strbuf_add_byte(normal->out, '}');
    }
    if (node->type != YAML_MAPPING_NODE && !source_is_empty(node)) {
        return normal_tell_shape(normal, node, config_kind_wanted(SCHEMA_MAPPING));
    }
    write_struct(normal, type, source_is_empty(node) ? NULL : node, source_line(node), parent);
    return true;
}

static bool write_element(struct normal *normal, const struct schema_field *field,
                          const yaml_node_t *node, const yaml_node_t *parent)
{
    size_t before = normal->out->len;
    bool good = field->kind == SCHEMA_MAPPING ? write_mapping(normal, field, node, parent)
                                              : normal_write_scalar(normal, field, node);
    if (!good && !normal->out->overflow) {
        normal->out->len = before;
        normal->out->ptr[before] = '\0';
    }
    return good;
}

static yaml_node_t *find_default(const struct normal *normal, const yaml_node_t *list)
{
    for (const yaml_node_item_t *item = list->data.sequence.items.start;
         item < list->data.sequence.items.top; item++) {
        yaml_node_t *node = source_node(normal->source, *item);
        const yaml_node_t *name = source_value(normal->source, node, SLICE("name"));
        if (name != NULL && name->type == YAML_SCALAR_NODE &&
            slice_eq(source_text(name), SLICE("default"))) {
            return node;
        }
    }
    return NULL;
}

/* `list` NULL: the key is absent. */
static void write_sequence(struct normal *normal, const struct schema_field *field,
                           const yaml_node_t *list)
{
    bool inherits = field->kind == SCHEMA_MAPPING && field->type->inherits;
    const yaml_node_t *parent = inherits && list != NULL ? find_default(normal, list) : NULL;
    size_t written = 0;
    (void)strbuf_add_byte(normal->out, '[');
    if (list != NULL) {
        const yaml_node_item_t *items = list->data.sequence.items.start;
        size_t count = (size_t)(list->data.sequence.items.top - items);
        for (size_t i = 0; i < count && i < LIST_MAX; i++) {
            size_t before = normal->out->len;
            size_t at = path_add_index(normal, i);
            const yaml_node_t *node = source_node(normal->source, items[i]);
            (void)strbuf_add_cstr(normal->out, written == 0 ? "" : ",\n");
            if (write_element(normal, field, node, node == parent ? NULL : parent)) {
                written++;
            } else if (!normal->out->overflow) {
                normal->out->len = before;
            }
            path_cut(normal, at);
        }
    }
    if (inherits && parent == NULL) {
        (void)strbuf_add_cstr(normal->out, written == 0 ? "" : ",\n");
        write_struct(normal, field->type, NULL, 0, NULL);
    }
    (void)strbuf_add_byte(normal->out, ']');
}

/* A mapping of any keys: names become values, as an array of {name, value}. */
static bool write_properties(struct normal *normal, const struct schema_field *field,
                             const yaml_node_t *node)
{
    struct schema_field value = *field;
    size_t written = 0;
    if (source_is_empty(node)) {
        return strbuf_add_cstr(normal->out, "[]");
    }
    if (node->type != YAML_MAPPING_NODE) {
        return normal_tell_shape(normal, node, config_kind_wanted(SCHEMA_PROPERTIES));
    }
    value.kind = SCHEMA_SECRET;
    value.list = false;
    (void)strbuf_add_byte(normal->out, '[');
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = source_node(normal->source, pair->key);
        size_t before = normal->out->len;
        if (key->type != YAML_SCALAR_NODE || source_text(key).len == 0 ||
            slice_has_control(source_text(key))) {
            normal_tell(normal, source_line(key), "has a key that is no name");
            continue;
        }
        size_t at = path_add_key(normal, source_text(key));
        if (source_value(normal->source, node, source_text(key)) !=
            source_node(normal->source, pair->value)) {
            normal_tell(normal, source_line(key), "stands here a second time");
        }
        (void)strbuf_add_cstr(normal->out, written == 0 ? "{\"name\": " : ", {\"name\": ");
        normal_write_quoted(normal->out, source_text(key));
        (void)strbuf_add_cstr(normal->out, ", \"value\": ");
        if (normal_write_scalar(normal, &value, source_node(normal->source, pair->value))) {
            (void)strbuf_add_cstr(normal->out, "}\n");
            written++;
        } else if (!normal->out->overflow) {
            normal->out->len = before;
        }
        path_cut(normal, at);
    }
    return strbuf_add_byte(normal->out, ']');
}

/* The key's value as the file has it. False: nothing usable was written. */
static bool write_present(struct normal *normal, const struct schema_field *field,
                          const yaml_node_t *node)
{
    if (field->kind == SCHEMA_PROPERTIES) {
        return write_properties(normal, field, node);
    }
    if (!field->list) {
        return write_element(normal, field, node, NULL);
    }
    if (node->type == YAML_SEQUENCE_NODE || source_is_empty(node)) {
        bool empty = source_is_empty(node) ||
                     node->data.sequence.items.start == node->data.sequence.items.top;
        if (empty && field->kind == SCHEMA_MAPPING && field->fallback != NULL) {
            return false; /* as if the key were absent */
        }
        if (empty && (field->required || field->fallback != NULL)) {
            normal_tell(normal, source_line(node), "is empty; expected at least one");
            return false;
        }
        write_sequence(normal, field, empty ? NULL : node);
        return true;
    }
    if (node->type == YAML_SCALAR_NODE && field->kind != SCHEMA_MAPPING) {
        (void)strbuf_add_byte(normal->out, '[');
        bool good = normal_write_scalar(normal, field, node);
        (void)strbuf_add_byte(normal->out, ']');
        return good;
    }
    return normal_tell_shape(normal, node, "a list");
}

/* What holds when the key is absent (or of no use). False: nothing. */
static bool write_fallback(struct normal *normal, const struct schema_field *field)
{
    if (field->kind == SCHEMA_MAPPING && !field->list) {
        write_struct(normal, field->type, NULL, 0, NULL);
        return true;
    }
    if (field->kind == SCHEMA_MAPPING && field->type->inherits) {
        write_sequence(normal, field, NULL);
        return true;
    }
    if (field->fallback == NULL) {
        return false;
    }
    if (field->kind == SCHEMA_MAPPING) {
        return strbuf_add_cstr(normal->out, field->fallback);
    }
    if (!field->list) {
        return normal_write_text(normal, field, slice_cstr(field->fallback), 0);
    }
    struct slice rest = slice_cstr(field->fallback);
    (void)strbuf_add_byte(normal->out, '[');
    while (rest.len > 0) {
        (void)normal_write_text(normal, field, slice_cut(&rest, ' '), 0);
        (void)strbuf_add_cstr(normal->out, rest.len > 0 ? ", " : "]");
    }
    return true;
}

/* `line`: of the mapping, 0 when the file has none (then nothing of it is required but by being a
 * default itself). */
static bool write_field(struct normal *normal, const struct schema_type *type,
                        const struct schema_field *field, const yaml_node_t *node, unsigned line,
                        const yaml_node_t *parent)
{
    struct slice key = slice_cstr(field->key);
    const yaml_node_t *value = source_value(normal->source, node, key);
    if (value != NULL) {
        size_t before = normal->out->len;
        if (write_present(normal, field, value)) {
            return true;
        }
        if (!normal->out->overflow) {
            normal->out->len = before;
        }
        return write_fallback(normal, field);
    }
    if (field->required && line == 0 && type->inherits) {
        return strbuf_add_cstr(normal->out, "\"default\"");
    }
    if (field->required) {
        char text[FAULT_TEXT_MAX];
        char wanted[CONFIG_WANTED_MAX];
        (void)snprintf(text, sizeof(text), "is missing; expected %s",
                       field->list ? "a list of at least one" : config_field_wanted(field, wanted));
        normal_tell(normal, line == 0 ? 1 : line, text);
        return field->kind == SCHEMA_MAPPING && !field->list && write_fallback(normal, field);
    }
    const yaml_node_t *inherited = field->own ? NULL : source_value(normal->source, parent, key);
    if (inherited != NULL) {
        size_t before = normal->out->len;
        bool quiet = normal->quiet;
        normal->quiet = true;
        bool good = write_present(normal, field, inherited);
        normal->quiet = quiet;
        if (good) {
            return true;
        }
        if (!normal->out->overflow) {
            normal->out->len = before;
        }
    }
    return write_fallback(normal, field);
}

static void tell_unknown(struct normal *normal, const struct schema_type *type,
                         const yaml_node_t *key)
{
    const char *words[64];
    char text[FAULT_TEXT_MAX];
    CHECK(type->field_count <= ARRAY_LEN(words));
    for (size_t i = 0; i < type->field_count; i++) {
        words[i] = type->fields[i].key;
    }
    const char *near = problems_suggest(source_text(key), words, type->field_count);
    if (near != NULL) {
        (void)snprintf(text, sizeof(text), "is not a key of %s; did you mean \"%s\"?", type->noun,
                       near);
    } else {
        int used = snprintf(text, sizeof(text), "is not a key of %s; expected one of", type->noun);
        for (size_t i = 0; i < type->field_count && (size_t)used < sizeof(text) - 40; i++) {
            used += snprintf(text + used, sizeof(text) - (size_t)used, "%s %s", i == 0 ? "" : ",",
                             words[i]);
        }
    }
    normal_tell(normal, source_line(key), text);
}

/* Unknown keys, keys that stand there twice, keys that are no names. */
static void check_keys(struct normal *normal, const struct schema_type *type,
                       const yaml_node_t *node)
{
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = source_node(normal->source, pair->key);
        if (key->type != YAML_SCALAR_NODE) {
            normal_tell(normal, source_line(key), "has a key that is no name");
            continue;
        }
        bool known = false;
        for (size_t i = 0; i < type->field_count; i++) {
            known = known || slice_eq(source_text(key), slice_cstr(type->fields[i].key));
        }
        size_t at = path_add_key(normal, source_text(key));
        const yaml_node_pair_t *first = node->data.mapping.pairs.start;
        while (source_node(normal->source, first->key)->type != YAML_SCALAR_NODE ||
               !slice_eq(source_text(source_node(normal->source, first->key)), source_text(key))) {
            first++;
        }
        if (!known) {
            tell_unknown(normal, type, key);
        } else if (first != pair) {
            char text[80];
            (void)snprintf(text, sizeof(text), "stands here a second time; the first is in line %u",
                           source_line(source_node(normal->source, first->key)));
            normal_tell(normal, source_line(key), text);
        }
        path_cut(normal, at);
    }
}

static void write_struct(struct normal *normal, const struct schema_type *type,
                         const yaml_node_t *node, unsigned line, const yaml_node_t *parent)
{
    size_t written = 0;
    if (node != NULL) {
        check_keys(normal, type, node);
    }
    (void)strbuf_add_byte(normal->out, '{');
    for (size_t i = 0; i < type->field_count; i++) {
        size_t before = normal->out->len;
        size_t at = path_add_key(normal, slice_cstr(type->fields[i].key));
        (void)strbuf_addf(normal->out, "%s\"%s\": ", written == 0 ? "" : ",\n",
                          type->fields[i].key);
        if (write_field(normal, type, &type->fields[i], node, line, parent)) {
            written++;
        } else if (!normal->out->overflow) {
            normal->out->len = before;
        }
        path_cut(normal, at);
    }
    (void)strbuf_add_byte(normal->out, '}');
}

void config_normal_write(const struct config_source *source, const struct schema_type *type,
                         const char *folder, struct problems *problems, struct strbuf *out)
{
    struct normal normal = {.source = source, .folder = folder, .problems = problems, .out = out};
    const yaml_node_t *root =
        source->document.nodes.start == source->document.nodes.top ? NULL : source_node(source, 1);
    strbuf_init(&normal.path, KEY_PATH_MAX);
    (void)strbuf_add_cstr(&normal.path, "");
    if (root != NULL && root->type != YAML_MAPPING_NODE && !source_is_empty(root)) {
        (void)normal_tell_shape(&normal, root, config_kind_wanted(SCHEMA_MAPPING));
        root = NULL;
    }
    write_struct(&normal, type, root, root == NULL ? 0 : 1, NULL);
    strbuf_free(&normal.path);
}
