#include "schema/wire.h"

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u
#define VARINT_MAX_BYTES 10
#define NUMBER_MAX 0x1fffffffu

bool wire_varint(struct wire_cursor *cursor, uint64_t *value)
{
    uint64_t sum = 0;
    const char *at = cursor->at;
    for (unsigned i = 0; i < VARINT_MAX_BYTES && at < cursor->end; i++) {
        uint8_t byte = (uint8_t)*at++;
        if (i == VARINT_MAX_BYTES - 1 && byte > 1) {
            return false;
        }
        sum |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *value = sum;
            cursor->at = at;
            return true;
        }
    }
    return false;
}

/* Little-endian fixed value of `bytes` bytes. */
static bool fixed(struct wire_cursor *cursor, unsigned bytes, uint64_t *value)
{
    if ((size_t)(cursor->end - cursor->at) < bytes) {
        return false;
    }
    *value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        *value |= (uint64_t)(uint8_t)cursor->at[i] << (8 * i);
    }
    cursor->at += bytes;
    return true;
}

enum wire_next wire_next(struct wire_cursor *cursor, struct wire_field *field)
{
    struct wire_cursor ahead = *cursor;
    uint64_t tag;
    if (ahead.at == ahead.end) {
        return WIRE_END;
    }
    if (!wire_varint(&ahead, &tag) || tag >> 3 == 0 || tag >> 3 > NUMBER_MAX) {
        return WIRE_BROKEN;
    }
    field->start = cursor->at;
    field->number = (uint32_t)(tag >> 3);
    field->bytes = SLICE_NULL;
    bool ok = false;
    switch (tag & 7) {
    case WIRE_VARINT:
        field->type = WIRE_VARINT;
        ok = wire_varint(&ahead, &field->value);
        break;
    case WIRE_FIXED64:
        field->type = WIRE_FIXED64;
        ok = fixed(&ahead, 8, &field->value);
        break;
    case WIRE_FIXED32:
        field->type = WIRE_FIXED32;
        ok = fixed(&ahead, 4, &field->value);
        break;
    case WIRE_BYTES:
        field->type = WIRE_BYTES;
        ok = wire_varint(&ahead, &field->value) && field->value <= (size_t)(ahead.end - ahead.at);
        if (ok) {
            field->bytes = slice_of(ahead.at, (size_t)field->value);
            ahead.at += field->bytes.len;
        }
        break;
    default: break; /* groups (3, 4) are not proto3; 6 and 7 do not exist */
    }
    if (!ok) {
        return WIRE_BROKEN;
    }
    *cursor = ahead;
    return WIRE_FIELD;
}

static enum wire_type type_of(enum wire_kind kind)
{
    switch (kind) {
    case WIRE_KIND_TEXT:
    case WIRE_KIND_BLOB:
    case WIRE_KIND_CHILD: return WIRE_BYTES;
    case WIRE_KIND_NONE:
    case WIRE_KIND_INT64:
    case WIRE_KIND_UINT64:
    case WIRE_KIND_INT32:
    case WIRE_KIND_UINT32:
    case WIRE_KIND_ENUM:
    case WIRE_KIND_BOOL: break;
    }
    return WIRE_VARINT;
}

bool wire_matches(const struct wire_rule *rule, const struct wire_field *field)
{
    return field->type == type_of(rule->kind);
}

void wire_store(const struct wire_rule *rule, const struct wire_field *field, void *base)
{
    char *member = (char *)base + rule->offset;
    uint32_t low = (uint32_t)field->value; /* 32-bit kinds take the low bits, as protobuf says */
    bool truth = field->value != 0;
    switch (rule->kind) {
    case WIRE_KIND_TEXT:
    case WIRE_KIND_BLOB: memcpy(member, &field->bytes, sizeof(field->bytes)); break;
    case WIRE_KIND_INT64:
    case WIRE_KIND_UINT64: memcpy(member, &field->value, sizeof(field->value)); break;
    case WIRE_KIND_INT32:
    case WIRE_KIND_UINT32:
    case WIRE_KIND_ENUM: memcpy(member, &low, sizeof(low)); break;
    case WIRE_KIND_BOOL: memcpy(member, &truth, sizeof(truth)); break;
    case WIRE_KIND_NONE:
    case WIRE_KIND_CHILD: break;
    }
}

/* The value to write of a member that is not text: 0 is the default and not written. */
static uint64_t number_of(const struct wire_rule *rule, const char *member)
{
    uint64_t wide;
    uint32_t narrow;
    int32_t negative;
    bool truth;
    switch (rule->kind) {
    case WIRE_KIND_INT64:
    case WIRE_KIND_UINT64: memcpy(&wide, member, sizeof(wide)); return wide;
    case WIRE_KIND_UINT32: memcpy(&narrow, member, sizeof(narrow)); return narrow;
    case WIRE_KIND_INT32:
    case WIRE_KIND_ENUM: /* negative numbers take ten bytes */
        memcpy(&negative, member, sizeof(negative));
        return (uint64_t)(int64_t)negative;
    case WIRE_KIND_BOOL: memcpy(&truth, member, sizeof(truth)); return truth ? 1 : 0;
    case WIRE_KIND_TEXT:
    case WIRE_KIND_BLOB:
    case WIRE_KIND_NONE:
    case WIRE_KIND_CHILD: break;
    }
    return 0;
}

static bool is_text(enum wire_kind kind)
{
    return kind == WIRE_KIND_TEXT || kind == WIRE_KIND_BLOB;
}

static struct slice text_of(const char *member)
{
    struct slice text;
    memcpy(&text, member, sizeof(text));
    return text;
}

size_t wire_varint_size(uint64_t value)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    return (bits + 6) / 7;
}

char *wire_put_varint(char *out, uint64_t value)
{
    while (value >= 0x80) {
        *out++ = (char)(uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (char)(uint8_t)value;
    return out;
}

size_t wire_child_size(uint32_t number, size_t bytes)
{
    return wire_varint_size((uint64_t)number << 3) + wire_varint_size(bytes) + bytes;
}

char *wire_put_child(char *out, uint32_t number, size_t bytes)
{
    out = wire_put_varint(out, (uint64_t)number << 3 | WIRE_BYTES);
    return wire_put_varint(out, bytes);
}

static char *put_bytes(char *out, uint32_t number, struct slice s, bool sanitise)
{
    out = wire_put_child(out, number, s.len);
    if (s.len > 0) {
        memcpy(out, s.ptr, s.len);
    }
    if (sanitise) {
        wire_text_sanitise(out, s.len);
    }
    return out + s.len;
}

size_t wire_size(const struct wire_table *table, const void *base)
{
    size_t sum = 0;
    for (uint32_t n = 1; n < table->count; n++) {
        const struct wire_rule *rule = &table->rules[n];
        const char *member = (const char *)base + rule->offset;
        if (is_text(rule->kind)) {
            size_t len = text_of(member).len;
            sum += len == 0 ? 0 : wire_child_size(n, len);
        } else {
            uint64_t value = number_of(rule, member);
            sum += value == 0 ? 0 : wire_varint_size((uint64_t)n << 3) + wire_varint_size(value);
        }
    }
    return sum;
}

char *wire_put(const struct wire_table *table, const void *base, bool sanitise, char *out)
{
    for (uint32_t n = 1; n < table->count; n++) {
        const struct wire_rule *rule = &table->rules[n];
        const char *member = (const char *)base + rule->offset;
        if (is_text(rule->kind)) {
            struct slice text = text_of(member);
            if (text.len > 0) {
                out = put_bytes(out, n, text, sanitise && rule->kind == WIRE_KIND_TEXT);
            }
            continue;
        }
        uint64_t value = number_of(rule, member);
        if (value != 0) {
            out = wire_put_varint(out, (uint64_t)n << 3 | WIRE_VARINT);
            out = wire_put_varint(out, value);
        }
    }
    return out;
}

static size_t pair_inner(struct slice name, struct slice value)
{
    return wire_child_size(1, name.len) + wire_child_size(2, value.len);
}

size_t wire_pair_size(uint32_t number, struct slice name, struct slice value)
{
    return wire_child_size(number, pair_inner(name, value));
}

char *wire_put_pair(char *out, uint32_t number, struct slice name, struct slice value,
                    bool sanitise)
{
    out = wire_put_child(out, number, pair_inner(name, value));
    out = put_bytes(out, 1, name, sanitise);
    return put_bytes(out, 2, value, sanitise);
}

/* Bytes at the start that are neither NUL nor above 0x7f, at least up to the last whole word of
 * them. */
static size_t plain_prefix(const char *ptr, size_t len)
{
    size_t at = 0;
    uint64_t word;
    for (; len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, ptr + at, sizeof(word));
        if ((((word - ONES) | word) & HIGHS) != 0) {
            break;
        }
    }
    while (at < len && (uint8_t)(ptr[at] - 1) < 0x7f) {
        at++;
    }
    return at;
}

bool wire_text_valid(struct slice text)
{
    if (text.len == 0) {
        return true;
    }
    struct slice rest = slice_skip(text, plain_prefix(text.ptr, text.len));
    return rest.len == 0 || (slice_find_byte(rest, '\0') < 0 && slice_is_utf8(rest));
}

void wire_text_sanitise(char *ptr, size_t len)
{
    size_t at = len == 0 ? 0 : plain_prefix(ptr, len);
    while (at < len) {
        size_t want = (uint8_t)ptr[at] < 0x80   ? 1
                      : (uint8_t)ptr[at] < 0xe0 ? 2
                      : (uint8_t)ptr[at] < 0xf0 ? 3
                                                : 4;
        if (ptr[at] == '\0' || len - at < want || !slice_is_utf8(slice_of(ptr + at, want))) {
            ptr[at] = '?';
            want = 1;
        }
        at += want;
    }
}

bool wire_has_8bit(struct slice s)
{
    uint64_t seen = 0;
    uint64_t word;
    size_t at = 0;
    for (; s.len - at >= 4 * sizeof(word); at += 4 * sizeof(word)) {
        uint64_t words[4];
        memcpy(words, s.ptr + at, sizeof(words));
        seen |= words[0] | words[1] | words[2] | words[3];
    }
    for (; s.len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, s.ptr + at, sizeof(word));
        seen |= word;
    }
    for (; at < s.len; at++) {
        seen |= (uint64_t)((uint8_t)s.ptr[at] & 0x80);
    }
    return (seen & HIGHS) != 0;
}
