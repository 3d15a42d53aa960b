#include "policy/config_scalar_private.h"

#include "policy/config_secret_private.h"
#include "policy/config_value_private.h"

void normal_tell(struct normal *normal, unsigned line, const char *text)
{
    if (!normal->quiet) {
        problems_add(normal->problems, line,
                     normal->path.len == 0 ? "configuration" : normal->path.ptr, "%s", text);
    }
}

void normal_write_quoted(struct strbuf *out, struct slice text)
{
    (void)strbuf_add_byte(out, '"');
    for (size_t i = 0; i < text.len;) {
        unsigned char byte = (unsigned char)text.ptr[i++];
        if (byte == '"' || byte == '\\') {
            (void)strbuf_addf(out, "\\%c", byte);
        } else if (byte < 0x20 || byte == 0x7f) {
            (void)strbuf_addf(out, "\\x%02X", byte);
        } else if (byte < 0x80) {
            (void)strbuf_add_byte(out, (char)byte);
        } else {
            unsigned more = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
            uint32_t point = byte & (0x3fU >> more);
            while (more-- > 0 && i < text.len) {
                point = point << 6 | ((unsigned char)text.ptr[i++] & 0x3fU);
            }
            (void)strbuf_addf(out, "\\U%08X", point);
        }
    }
    (void)strbuf_add_byte(out, '"');
}

static void write_path(struct normal *normal, struct slice text)
{
    struct strbuf joined;
    strbuf_init(&joined, text.len + strlen(normal->folder) + 1);
    if (text.ptr[0] != '/') {
        (void)strbuf_add_cstr(&joined, normal->folder);
    }
    (void)strbuf_add_slice(&joined, text);
    normal_write_quoted(normal->out, strbuf_slice(&joined));
    strbuf_free(&joined);
}

static void write_value(struct normal *normal, const struct schema_field *field,
                        const struct config_value *value)
{
    switch (value->form) {
    case CONFIG_FORM_TEXT:
        if (field->kind == SCHEMA_PATH) {
            write_path(normal, value->text);
        } else {
            normal_write_quoted(normal->out, value->text);
        }
        break;
    case CONFIG_FORM_NUMBER:
        (void)strbuf_addf(normal->out, "%llu", (unsigned long long)value->number);
        break;
    case CONFIG_FORM_BOOL:
        (void)strbuf_add_cstr(normal->out, value->truth ? "true" : "false");
        break;
    case CONFIG_FORM_RATE:
        (void)strbuf_addf(normal->out, "{\"amount\": %llu, \"interval\": %lld}",
                          (unsigned long long)value->rate.amount,
                          (long long)value->rate.interval_ms);
        break;
    }
}

bool normal_write_text(struct normal *normal, const struct schema_field *field, struct slice text,
                       unsigned line)
{
    struct config_value value;
    struct fault why;
    if (!config_value_read(field, text, &value, &why)) {
        normal_tell(normal, line, why.text);
        return false;
    }
    write_value(normal, field, &value);
    return true;
}

/* {file: PATH} */
static bool write_secret_file(struct normal *normal, const struct schema_field *field,
                              const yaml_node_t *node)
{
    const yaml_node_t *file = source_value(normal->source, node, SLICE("file"));
    bool alone = node->data.mapping.pairs.top - node->data.mapping.pairs.start == 1;
    struct strbuf secret;
    struct fault why;
    if (file == NULL || !alone || file->type != YAML_SCALAR_NODE || source_is_empty(file)) {
        normal_tell(normal, source_line(node),
                    "is a mapping; expected text, or {file: PATH} alone");
        return false;
    }
    strbuf_init(&secret, CONFIG_SECRET_MAX);
    bool good = config_secret_read(normal->folder, source_text(file), &secret, &why);
    if (good) {
        good = normal_write_text(normal, field, strbuf_slice(&secret), source_line(file));
    } else {
        normal_tell(normal, source_line(file), why.text);
    }
    if (secret.ptr != NULL) {
        explicit_bzero(secret.ptr, secret.capacity);
    }
    strbuf_free(&secret);
    return good;
}

static const char *node_word(const yaml_node_t *node)
{
    switch (node->type) {
    case YAML_MAPPING_NODE: return "a mapping";
    case YAML_SEQUENCE_NODE: return "a list";
    case YAML_SCALAR_NODE: return "a single value";
    case YAML_NO_NODE: break;
    }
    return "nothing";
}

bool normal_tell_shape(struct normal *normal, const yaml_node_t *node, const char *expected)
{
    char text[FAULT_TEXT_MAX];
    (void)snprintf(text, sizeof(text), "is %s; expected %s", node_word(node), expected);
    normal_tell(normal, source_line(node), text);
    return false;
}

bool normal_write_scalar(struct normal *normal, const struct schema_field *field,
                         const yaml_node_t *node)
{
    char wanted[CONFIG_WANTED_MAX];
    if (field->kind == SCHEMA_SECRET && node->type == YAML_MAPPING_NODE) {
        return write_secret_file(normal, field, node);
    }
    if (node->type != YAML_SCALAR_NODE) {
        return normal_tell_shape(normal, node, config_field_wanted(field, wanted));
    }
    struct slice text = source_is_empty(node) ? SLICE("") : source_text(node);
    if (text.len == 0 && (field->kind > SCHEMA_MATCH || source_is_empty(node))) {
        struct fault why;
        (void)fault_set(&why, FAULT_INVALID, 0, "has no value; expected %s",
                        config_field_wanted(field, wanted));
        normal_tell(normal, source_line(node), why.text);
        return false;
    }
    return normal_write_text(normal, field, text, source_line(node));
}
