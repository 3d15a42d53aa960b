/*
 * See address.h.
 */
#include "mail/address.h"

enum {
    LOCAL_MAX = 256,  /* RFC 5321 allows 64; VERP and gateways do not care */
    DOMAIN_MAX = 255, /* RFC 1035 2.3.4 */
};

static bool is_atext(char c)
{
    unsigned char u = (unsigned char)c;
    if (u >= 0x80 || (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z')) {
        return true;
    }
    return u != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.", c) != NULL;
}

static bool is_ascii_atext(char c)
{
    return (unsigned char)c < 0x80 && is_atext(c);
}

static bool is_domain_byte(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 0x80 || (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') ||
           (u >= 'a' && u <= 'z') || c == '-' || c == '.' || c == '_';
}

/* Where the local part begins that ends before `at`; `at` itself when there is none. */
static size_t local_start(struct slice s, size_t at)
{
    size_t from = at;
    size_t least = at > LOCAL_MAX ? at - LOCAL_MAX : 0;
    if (from > 0 && s.ptr[from - 1] == '"') {
        size_t open = from - 1;
        while (open > least && s.ptr[open - 1] != '\n') {
            open--;
            if (s.ptr[open] == '"' && (open == 0 || s.ptr[open - 1] != '\\')) {
                return open + 1 < at - 1 ? open : at;
            }
        }
        return at;
    }
    while (from > least && is_ascii_atext(s.ptr[from - 1])) {
        from--;
    }
    /* Text in other scripts stands before an address without a blank; only in <> it is sure to
     * belong to it. */
    size_t wide = from;
    while (wide > least && is_atext(s.ptr[wide - 1])) {
        wide--;
    }
    if (from == at || (wide > 0 && s.ptr[wide - 1] == '<')) {
        from = wide;
    }
    /* Quotation marks of running text, and "mailto:" is cut by its colon. */
    while (from < at && strchr("'`=*{|/", s.ptr[from]) != NULL &&
           !(s.ptr[from] == '=' && from + 1 < at && s.ptr[from + 1] == '?')) {
        from++;
    }
    return from;
}

static size_t domain_end(struct slice s, size_t at)
{
    size_t end = at + 1;
    if (end < s.len && s.ptr[end] == '[') {
        ptrdiff_t close = slice_find_byte(slice_head(slice_skip(s, end), 64), ']');
        return close < 0 ? at + 1 : end + (size_t)close + 1;
    }
    size_t dot = 0;
    while (end < s.len && end - at <= DOMAIN_MAX && is_domain_byte(s.ptr[end])) {
        if ((unsigned char)s.ptr[end] >= 0x80 && dot > 0 && dot + 2 < end) {
            break; /* "user@example.com" with text of another script right behind it */
        }
        dot = s.ptr[end] == '.' ? end : dot;
        end++;
    }
    while (end > at + 1 && strchr(".-_", s.ptr[end - 1]) != NULL) {
        end--;
    }
    return end;
}

bool mail_address_next(struct slice *rest, struct slice *address)
{
    size_t from = 0;
    while (rest->ptr != NULL && from < rest->len) {
        const char *found = memchr(rest->ptr + from, '@', rest->len - from);
        if (found == NULL) {
            break;
        }
        size_t at = (size_t)(found - rest->ptr);
        size_t start = local_start(*rest, at);
        size_t end = domain_end(*rest, at);
        if (start < at && end > at + 1) {
            *address = slice_of(rest->ptr + start, end - start);
            *rest = slice_skip(*rest, end);
            return true;
        }
        from = at + 1;
    }
    *rest = slice_skip(*rest, rest->len);
    return false;
}

struct slice mail_address_first(struct slice value)
{
    struct slice address = SLICE_NULL;
    ptrdiff_t open = slice_rfind_byte(value, '<');
    if (open >= 0) {
        struct slice rest = slice_skip(value, (size_t)open);
        if (mail_address_next(&rest, &address)) {
            return address;
        }
    }
    struct slice rest = value;
    return mail_address_next(&rest, &address) ? address : SLICE_NULL;
}

/* The value of "\x{HHHH}" at the start of `s`; *used is its length, 0 when it is none (RFC 6533 3).
 */
static uint32_t escaped_char(struct slice s, size_t *used)
{
    *used = 0;
    if (!slice_starts_with_nocase(s, SLICE("\\x{"))) {
        return 0;
    }
    uint32_t value = 0;
    size_t n = 3;
    for (; n < s.len && n < 9; n++) {
        char c = ascii_lower_byte(s.ptr[n]);
        if (c >= '0' && c <= '9') {
            value = value * 16 + (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value * 16 + (uint32_t)(c - 'a') + 10;
        } else {
            break;
        }
    }
    if (n == 3 || n >= s.len || s.ptr[n] != '}' || value < 0x20 || value > 0x10ffff ||
        (value >= 0xd800 && value < 0xe000)) {
        return 0;
    }
    *used = n + 1;
    return value;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char FIRST[] = {0, 0xc0, 0xe0, 0xf0};
    for (size_t i = more; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)(FIRST[more] | c);
    return more + 1;
}

static struct slice unescape(struct arena *arena, struct slice s)
{
    if (slice_find(s, SLICE("\\x{")) < 0) {
        return s;
    }
    char *out = arena_try_alloc(arena, s.len + 1);
    if (out == NULL) {
        return s;
    }
    size_t len = 0;
    while (s.len > 0) {
        size_t used = 0;
        uint32_t c = escaped_char(s, &used);
        if (used > 0) {
            len += put_utf8(out + len, c); /* at most four bytes, from five at least */
        } else {
            out[len++] = s.ptr[0];
            used = 1;
        }
        s = slice_skip(s, used);
    }
    out[len] = '\0';
    return slice_of(out, len);
}

static bool has_any(struct slice s, const char *bytes)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '\0' && strchr(bytes, s.ptr[i]) != NULL) {
            return true;
        }
    }
    return false;
}

struct slice mail_address_typed(struct arena *arena, struct slice value)
{
    ptrdiff_t semicolon = slice_find_byte(value, ';');
    ptrdiff_t at = slice_find_byte(value, '@');
    if (semicolon >= 0 && (at < 0 || semicolon < at)) {
        value = slice_skip(value, (size_t)semicolon + 1);
    }
    value = unescape(arena, slice_trim(value));
    if (value.len >= 2 && value.ptr[0] == '<') {
        ptrdiff_t close = slice_rfind_byte(value, '>');
        value = slice_skip(close < 0 ? value : slice_head(value, (size_t)close), 1);
    }
    value = slice_trim(value);
    if (slice_find_byte(value, '"') < 0 && (has_any(value, " \t<>(),:;"))) {
        struct slice address = mail_address_first(value); /* with a comment, a name or a route */
        return address.len > 0 ? address : value;
    }
    return value;
}

bool mail_address_eq(struct slice a, struct slice b)
{
    return a.len > 0 && slice_eq_nocase(a, b);
}

struct slice mail_address_domain(struct slice address)
{
    ptrdiff_t at = slice_rfind_byte(address, '@');
    return at < 0 ? slice_of(address.ptr, 0) : slice_skip(address, (size_t)at + 1);
}

struct slice mail_address_local(struct slice address)
{
    ptrdiff_t at = slice_rfind_byte(address, '@');
    return at < 0 ? address : slice_head(address, (size_t)at);
}
