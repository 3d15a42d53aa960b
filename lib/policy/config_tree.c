#include "policy/config_tree_private.h"

#include "base/arena.h"
#include "policy/config_schema_private.h"

#include <cyaml/cyaml.h>

#define SCHEMA_ARENA_BYTES ((size_t)64 * 1024)

static const cyaml_schema_field_t rate_fields[] = {
    CYAML_FIELD_UINT("amount", CYAML_FLAG_DEFAULT, struct config_rate, amount),
    CYAML_FIELD_INT("interval", CYAML_FLAG_DEFAULT, struct config_rate, interval_ms),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t property_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct config_property, name, 0,
                           CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("value", CYAML_FLAG_POINTER, struct config_property, value, 0,
                           CYAML_UNLIMITED),
    CYAML_FIELD_END,
};

/* Errors of libcyaml come back as codes; its log would go to stderr. */
static const cyaml_config_t options = {.mem_fn = cyaml_mem, .flags = CYAML_CFG_NO_ALIAS};

static const cyaml_schema_field_t *make_fields(struct arena *arena, const struct schema_type *type);

/* One value of the field's kind, `size` bytes wide. */
static cyaml_schema_value_t make_value(struct arena *arena, const struct schema_field *field)
{
    cyaml_schema_value_t value = {.flags = CYAML_FLAG_DEFAULT, .data_size = (uint32_t)field->size};
    switch (field->kind) {
    case SCHEMA_TEXT:
    case SCHEMA_SECRET:
    case SCHEMA_PATH:
    case SCHEMA_NAME:
    case SCHEMA_TOPIC:
    case SCHEMA_HOST:
    case SCHEMA_EHLO:
    case SCHEMA_IPV4:
    case SCHEMA_IPV6:
    case SCHEMA_PEER:
    case SCHEMA_LISTEN:
    case SCHEMA_BROKERS:
    case SCHEMA_RESOLVER:
    case SCHEMA_MATCH:
    case SCHEMA_WORD:
        value.type = CYAML_STRING;
        value.flags = CYAML_FLAG_POINTER;
        value.data_size = sizeof(char);
        value.string.max = CYAML_UNLIMITED;
        break;
    case SCHEMA_BOOL:
    case SCHEMA_BOOL_NOT: value.type = CYAML_BOOL; break;
    case SCHEMA_ENUM:
    case SCHEMA_COUNT:
    case SCHEMA_LIMIT:
    case SCHEMA_PART: value.type = CYAML_UINT; break;
    case SCHEMA_DURATION:
    case SCHEMA_DATE:
    case SCHEMA_SIZE: value.type = CYAML_INT; break;
    case SCHEMA_RATE:
    case SCHEMA_VOLUME:
        value.type = CYAML_MAPPING;
        value.mapping.fields = rate_fields;
        break;
    case SCHEMA_PROPERTIES:
        value.type = CYAML_MAPPING;
        value.mapping.fields = property_fields;
        break;
    case SCHEMA_MAPPING:
        value.type = CYAML_MAPPING;
        value.mapping.fields = make_fields(arena, field->type);
        break;
    }
    return value;
}

static const cyaml_schema_field_t *make_fields(struct arena *arena, const struct schema_type *type)
{
    cyaml_schema_field_t *fields = arena_zalloc(arena, (type->field_count + 1) * sizeof(*fields));
    for (size_t i = 0; i < type->field_count; i++) {
        const struct schema_field *field = &type->fields[i];
        cyaml_schema_field_t *made = &fields[i];
        made->key = field->key;
        made->data_offset = (uint32_t)field->offset;
        made->value = make_value(arena, field);
        if (field->list || field->kind == SCHEMA_PROPERTIES) {
            cyaml_schema_value_t *entry = arena_zalloc(arena, sizeof(*entry));
            *entry = made->value;
            made->count_offset = (uint32_t)field->count_offset;
            made->count_size = sizeof(size_t);
            made->value = (cyaml_schema_value_t){
                .type = CYAML_SEQUENCE,
                .flags = CYAML_FLAG_POINTER,
                .data_size = (uint32_t)field->size,
                .sequence = {.entry = entry, .min = 0, .max = CYAML_UNLIMITED},
            };
        }
        made->value.flags |= CYAML_FLAG_OPTIONAL;
    }
    return fields; /* the last one is zero: the end */
}

static cyaml_schema_value_t make_root(struct arena *arena)
{
    return (cyaml_schema_value_t){
        .type = CYAML_MAPPING,
        .flags = CYAML_FLAG_POINTER,
        .data_size = (uint32_t)config_schema.size,
        .mapping = {.fields = make_fields(arena, &config_schema)},
    };
}

struct config *config_tree_load(struct slice normal, struct fault *fault)
{
    struct arena *arena = arena_create(SCHEMA_ARENA_BYTES, 4 * SCHEMA_ARENA_BYTES);
    CHECK(arena != NULL);
    cyaml_schema_value_t root = make_root(arena);
    cyaml_data_t *data = NULL;
    cyaml_err_t err =
        cyaml_load_data((const uint8_t *)normal.ptr, normal.len, &options, &root, &data, NULL);
    arena_free(&arena);
    if (err != CYAML_OK || data == NULL) {
        (void)fault_set(fault, FAULT_INVALID, (int)err, "libcyaml does not take it: %s",
                        cyaml_strerror(err));
        return NULL;
    }
    return data;
}

void config_tree_free(struct config **config)
{
    if (*config == NULL) {
        return;
    }
    struct arena *arena = arena_create(SCHEMA_ARENA_BYTES, 4 * SCHEMA_ARENA_BYTES);
    CHECK(arena != NULL);
    cyaml_schema_value_t root = make_root(arena);
    (void)cyaml_free(&options, &root, *config, 0);
    arena_free(&arena);
    *config = NULL;
}
