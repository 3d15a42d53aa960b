/*
 * See header.h. Nothing here allocates but mail_unfold(), and that never more than the value's own
 * length.
 */
#include "mail/header.h"

/* Longest name of a field that we believe; longer ones are text with a colon. */
enum { NAME_MAX_BYTES = 78 };

bool mail_line_next(struct slice *rest, struct slice *line)
{
    if (rest->len == 0) {
        return false;
    }
    const char *end = memchr(rest->ptr, '\n', rest->len);
    size_t used = end == NULL ? rest->len : (size_t)(end - rest->ptr) + 1;
    size_t len = end == NULL ? rest->len : used - 1;
    if (len > 0 && rest->ptr[len - 1] == '\r') {
        len--;
    }
    *line = slice_of(rest->ptr, len);
    *rest = slice_skip(*rest, used);
    return true;
}

static bool is_name_byte(char c)
{
    return c > ' ' && c < 0x7f && c != ':';
}

bool mail_line_is_field(struct slice line, struct slice *name)
{
    size_t n = 0;
    while (n < line.len && n <= NAME_MAX_BYTES && is_name_byte(line.ptr[n])) {
        n++;
    }
    if (n == 0 || n > NAME_MAX_BYTES) {
        return false;
    }
    size_t colon = n;
    while (colon < line.len && (line.ptr[colon] == ' ' || line.ptr[colon] == '\t')) {
        colon++;
    }
    if (colon >= line.len || line.ptr[colon] != ':') {
        return false;
    }
    if (name != NULL) {
        *name = slice_head(line, n);
    }
    return true;
}

static bool is_fold(struct slice line)
{
    return line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t');
}

static bool is_mbox_line(struct slice line)
{
    return slice_starts_with(line, SLICE("From ")) || slice_starts_with(line, SLICE(">From "));
}

void mail_header_split(struct slice bytes, struct slice *header, struct slice *body)
{
    struct slice rest = bytes;
    struct slice line = SLICE_NULL;
    struct slice before = rest;
    /* Empty lines in front of the first field are noise of mailbox files and of torn-out parts. */
    while (mail_line_next(&rest, &line) && (slice_trim(line).len == 0 || is_mbox_line(line))) {
        before = rest;
    }
    rest = before;
    const char *start = rest.ptr;
    bool first = true;
    while (true) {
        before = rest;
        if (!mail_line_next(&rest, &line)) {
            break;
        }
        if (line.len == 0) {
            *header = slice_of(start, (size_t)(before.ptr - start));
            *body = rest;
            return;
        }
        if (!(is_fold(line) && !first) && !mail_line_is_field(line, NULL) && !is_mbox_line(line)) {
            break;
        }
        first = false;
    }
    *header = slice_of(start, start == NULL ? 0 : (size_t)(before.ptr - start));
    *body = before;
}

bool mail_field_next(struct slice *rest, struct mail_field *field)
{
    struct slice line = SLICE_NULL;
    while (mail_line_next(rest, &line)) {
        struct slice name = SLICE_NULL;
        if (is_fold(line) || !mail_line_is_field(line, &name)) {
            continue;
        }
        const char *colon = memchr(name.ptr + name.len, ':', line.len - name.len);
        const char *start = colon + 1;
        const char *end = line.ptr + line.len;
        struct slice after = *rest;
        while (mail_line_next(&after, &line) && is_fold(line)) {
            end = line.ptr + line.len;
            *rest = after;
        }
        field->name = name;
        field->value = slice_trim(slice_of(start, (size_t)(end - start)));
        return true;
    }
    return false;
}

struct slice mail_unfold(struct arena *arena, struct slice value)
{
    if (value.len == 0 || memchr(value.ptr, '\n', value.len) == NULL) {
        return value;
    }
    char *out = arena_try_alloc(arena, value.len + 1);
    if (out == NULL) {
        return SLICE_NULL;
    }
    size_t len = 0;
    struct slice line = SLICE_NULL;
    while (mail_line_next(&value, &line)) {
        line = slice_trim(line);
        if (len > 0 && line.len > 0) {
            out[len++] = ' ';
        }
        if (line.len > 0) {
            memcpy(out + len, line.ptr, line.len);
            len += line.len;
        }
    }
    out[len] = '\0';
    return slice_of(out, len);
}

struct slice mail_header_get(struct arena *arena, struct slice header, const char *name)
{
    struct slice wanted = slice_cstr(name);
    struct slice rest = header;
    struct mail_field field;
    while (mail_field_next(&rest, &field)) {
        if (slice_eq_nocase(field.name, wanted)) {
            return mail_unfold(arena, field.value);
        }
    }
    return SLICE_NULL;
}

/* The value of one parameter at the start of *rest, quoted or not; *rest moves behind it. */
static struct slice param_value(struct slice *rest)
{
    struct slice s = *rest;
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[0]) != NULL && s.ptr[0] != '\0') {
        s = slice_skip(s, 1);
    }
    if (s.len > 0 && s.ptr[0] == '"') {
        size_t n = 1;
        while (n < s.len && s.ptr[n] != '"') {
            n += s.ptr[n] == '\\' && n + 1 < s.len ? 2 : 1;
        }
        struct slice value = slice_skip(slice_head(s, n), 1);
        *rest = slice_skip(s, n + 1);
        return value;
    }
    size_t n = 0;
    while (n < s.len && s.ptr[n] != ';' && s.ptr[n] != ' ' && s.ptr[n] != '\t') {
        n++;
    }
    *rest = slice_skip(s, n);
    return slice_head(s, n);
}

struct slice mail_param(struct slice value, const char *name)
{
    struct slice wanted = slice_cstr(name);
    ptrdiff_t at = slice_find_byte(value, ';');
    struct slice rest = at < 0 ? SLICE_NULL : slice_skip(value, (size_t)at + 1);
    while (rest.ptr != NULL && rest.len > 0) {
        size_t n = 0;
        while (n < rest.len && rest.ptr[n] != '=' && rest.ptr[n] != ';') {
            n++;
        }
        struct slice key = slice_trim(slice_head(rest, n));
        bool has_value = n < rest.len && rest.ptr[n] == '=';
        rest = slice_skip(rest, n < rest.len ? n + 1 : n);
        if (!has_value) {
            continue;
        }
        struct slice found = param_value(&rest);
        ptrdiff_t star = slice_find_byte(key, '*');
        if (slice_eq_nocase(star < 0 ? key : slice_head(key, (size_t)star), wanted)) {
            return found;
        }
    }
    return SLICE_NULL;
}
