/*
 * The protobuf wire format (protobuf.dev, "Encoding"): a cursor over the fields of one message, and
 * tables that map fields to members of our structs, from which both reading and writing are done.
 * Strings stay where they lie, with their length: an embedded NUL is seen, not cut off. No
 * allocation, no state; any thread.
 *
 *   message = *( tag value )        tag = varint( number << 3 | type )
 */
#ifndef SLUICE_SCHEMA_WIRE_H
#define SLUICE_SCHEMA_WIRE_H

#include "base/slice.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;     /* VARINT, FIXED64, FIXED32 */
    struct slice bytes; /* BYTES */
    const char *start;  /* of the tag */
};

struct wire_cursor {
    const char *at;
    const char *end;
};

enum wire_next { WIRE_FIELD, WIRE_END, WIRE_BROKEN };

static inline struct wire_cursor wire_cursor_of(struct slice s)
{
    return (struct wire_cursor){s.ptr, s.len == 0 ? s.ptr : s.ptr + s.len};
}

/* The next field. BROKEN: truncated, overlong varint, field number 0 or above 2^29 - 1, group or
 * unknown type; the cursor stays at the broken field. */
enum wire_next wire_next(struct wire_cursor *cursor, struct wire_field *field);

/* A varint of up to 64 bits; false (cursor unmoved): truncated or longer than 10 bytes. */
bool wire_varint(struct wire_cursor *cursor, uint64_t *value);

/* What a field is in the schema, and the member's type in our struct. */
enum wire_kind {
    WIRE_KIND_NONE = 0, /* no such field */
    WIRE_KIND_TEXT,     /* string: struct slice */
    WIRE_KIND_BLOB,     /* bytes: struct slice */
    WIRE_KIND_INT64,    /* int64_t */
    WIRE_KIND_UINT64,   /* uint64_t */
    WIRE_KIND_INT32,    /* int32_t */
    WIRE_KIND_UINT32,   /* uint32_t */
    WIRE_KIND_ENUM,     /* int, or an enum of its size */
    WIRE_KIND_BOOL,     /* bool */
    WIRE_KIND_CHILD,    /* message or map entry: left to the caller */
};

struct wire_rule {
    const char *name; /* as in the .proto file */
    enum wire_kind kind;
    size_t offset;
};

/* rules[number]; numbers from count on are unknown. */
struct wire_table {
    const struct wire_rule *rules;
    uint32_t count;
};

/* The field's rule, NULL when the table has none: skip it (a later version's). */
static inline const struct wire_rule *wire_rule_of(const struct wire_table *table,
                                                   const struct wire_field *field)
{
    if (field->number >= table->count || table->rules[field->number].kind == WIRE_KIND_NONE) {
        return NULL;
    }
    return &table->rules[field->number];
}

/* True if the field has the wire type of its rule. */
bool wire_matches(const struct wire_rule *rule, const struct wire_field *field);

/* Stores a field that matches into the struct at `base`. CHILD: nothing. */
void wire_store(const struct wire_rule *rule, const struct wire_field *field, void *base);

/* Bytes that wire_put() writes. */
size_t wire_size(const struct wire_table *table, const void *base);

/* Writes every member that is not the default, CHILDs left out; returns behind the last byte. With
 * `sanitise`, a byte of a TEXT that is NUL or not well-formed UTF-8 becomes '?'. */
char *wire_put(const struct wire_table *table, const void *base, bool sanitise, char *out);

size_t wire_varint_size(uint64_t value);
char *wire_put_varint(char *out, uint64_t value);
/* Tag and length of a CHILD, whose bytes follow. */
size_t wire_child_size(uint32_t number, size_t bytes);
char *wire_put_child(char *out, uint32_t number, size_t bytes);

/* An entry of map<string, string> as a CHILD. */
size_t wire_pair_size(uint32_t number, struct slice name, struct slice value);
char *wire_put_pair(char *out, uint32_t number, struct slice name, struct slice value,
                    bool sanitise);

/* True if well-formed UTF-8 without NUL. */
bool wire_text_valid(struct slice text);
/* Makes it so in place, byte by byte. */
void wire_text_sanitise(char *ptr, size_t len);
/* Like slice_has_8bit, eight bytes at a time. */
bool wire_has_8bit(struct slice s);

#endif
