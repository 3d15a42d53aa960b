/*
 * A view of bytes that somebody else owns: pointer and length, passed by value. Not NUL-terminated.
 * A slice with ptr NULL is "absent"; one with len 0 and a ptr is "empty". No function here
 * allocates. Case-insensitive functions fold ASCII only, as SMTP and DNS do (RFC 5321 2.4, RFC
 * 4343).
 */
#ifndef SLUICE_BASE_SLICE_H
#define SLUICE_BASE_SLICE_H

#include "base/check.h"

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE_NULL ((struct slice){NULL, 0})
/* Of a string literal. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
/* For printf("%.*s"). */
#define SLICE_FMT(s) (int)(s).len, (s).ptr == NULL ? "" : (s).ptr

static inline struct slice slice_of(const void *ptr, size_t len)
{
    return (struct slice){(const char *)ptr, len};
}

/* Of a NUL-terminated string; NULL gives SLICE_NULL. */
static inline struct slice slice_cstr(const char *text)
{
    return (struct slice){text, text == NULL ? 0 : strlen(text)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The bytes from `from` on (or none, when it is past the end). */
static inline struct slice slice_skip(struct slice s, size_t from)
{
    size_t n = from < s.len ? from : s.len;
    return (struct slice){s.ptr == NULL ? NULL : s.ptr + n, s.len - n};
}

/* At most the first `len` bytes. */
static inline struct slice slice_head(struct slice s, size_t len)
{
    return (struct slice){s.ptr, len < s.len ? len : s.len};
}

/* Copies it to *at, where there must be room, and moves *at behind it; the copy. */
static inline struct slice slice_place(char **at, struct slice s)
{
    char *start = *at;
    if (s.ptr == NULL) {
        return SLICE_NULL;
    }
    memcpy(start, s.ptr, s.len);
    *at += s.len;
    return slice_of(start, s.len);
}

bool slice_eq_nocase(struct slice a, struct slice b);
bool slice_starts_with(struct slice s, struct slice prefix);
bool slice_starts_with_nocase(struct slice s, struct slice prefix);
bool slice_ends_with_nocase(struct slice s, struct slice suffix);

/* Position of the byte, or -1. */
ptrdiff_t slice_find_byte(struct slice s, char byte);
ptrdiff_t slice_rfind_byte(struct slice s, char byte);
/* Position of the first occurrence, or -1. */
ptrdiff_t slice_find(struct slice s, struct slice needle);
/* True if one of the bytes is below 0x20 or is 0x7f (so also CR, LF, NUL). */
bool slice_has_control(struct slice s);
/* True if one of the bytes is 0x80 or above. */
bool slice_has_8bit(struct slice s);
/* True if the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool slice_is_utf8(struct slice s);

/* Without blanks and tabs at both ends. */
struct slice slice_trim(struct slice s);

/* Cuts *rest at the first `separator`: returns what stands before it and leaves what stands behind.
 * Without one the whole is returned and *rest becomes SLICE_NULL. */
struct slice slice_cut(struct slice *rest, char separator);

/* Decimal digits only, nothing else, no overflow; false leaves *value alone. */
bool slice_to_u64(struct slice s, uint64_t *value);

/* ASCII lower case in place. */
void ascii_lower(char *ptr, size_t len);

static inline char ascii_lower_byte(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c + ('a' - 'A')) : c;
}

#endif
