/*
 * See part.h. One pass over the bytes for each level of nesting, and the levels are bounded, so the
 * time is linear in the length of the message whatever it contains.
 */
#include "mail/part.h"

#include "mail/header.h"

enum {
    DEPTH_MAX = 10, /* levels of multipart; reports have two or three, mailing lists add one each */
    PARTS_MAX = 128, /* parts in all; reports have three or four */
    PART_HEADER_MAX =
        65536, /* bytes of a header that are looked at: field names are searched again and again */
    GUESS_MAX = 8192, /* bytes of a body in which a boundary is looked for that no header names */
};

static bool read_part(struct arena *arena, struct mail_tree *tree, struct slice bytes,
                      unsigned depth, bool digest);

bool mail_part_is(const struct mail_part *part, const char *type)
{
    struct slice wanted = slice_cstr(type);
    if (wanted.len > 0 && wanted.ptr[wanted.len - 1] == '/') {
        return slice_starts_with_nocase(part->type, wanted);
    }
    return slice_eq_nocase(part->type, wanted);
}

const struct mail_part *mail_tree_find(const struct mail_tree *tree, const char *type, size_t from)
{
    for (size_t i = from; i < tree->count; i++) {
        if (mail_part_is(&tree->parts[i], type)) {
            return &tree->parts[i];
        }
    }
    return NULL;
}

/* Content-Type, -Transfer-Encoding and -Disposition in one walk over the header. */
static void read_content_fields(struct arena *arena, struct mail_part *part)
{
    struct slice rest = part->header;
    struct mail_field field;
    part->type = SLICE("text/plain");
    while (mail_field_next(&rest, &field)) {
        if (field.name.len < 12 || !slice_starts_with_nocase(field.name, SLICE("content-"))) {
            continue;
        }
        if (slice_eq_nocase(field.name, SLICE("content-type")) && part->content_type.ptr == NULL) {
            part->content_type = mail_unfold(arena, field.value);
            size_t n = 0;
            while (n < part->content_type.len &&
                   strchr("; \t", part->content_type.ptr[n]) == NULL) {
                n++;
            }
            if (n > 0) {
                part->type = slice_head(part->content_type, n);
            }
        } else if (slice_eq_nocase(field.name, SLICE("content-transfer-encoding"))) {
            part->encoding = mail_encoding_parse(field.value);
        } else if (slice_eq_nocase(field.name, SLICE("content-disposition"))) {
            part->attachment = slice_starts_with_nocase(field.value, SLICE("attachment"));
        }
    }
}

/* The boundary of a body that has one though its header does not say so: a line "--text" followed
 * by a "Content-" field. */
static struct slice guess_boundary(struct slice body)
{
    struct slice rest = slice_head(body, GUESS_MAX);
    struct slice line = SLICE_NULL;
    while (mail_line_next(&rest, &line)) {
        if (line.len > 6 && line.len <= 74 && slice_starts_with(line, SLICE("--")) &&
            slice_starts_with_nocase(rest, SLICE("content-")) && slice_find_byte(line, ' ') < 0) {
            return slice_skip(line, 2);
        }
    }
    return SLICE_NULL;
}

/* True if the line is the delimiter; *last if it is the closing one (RFC 2046 5.1.1). */
static bool is_delimiter(struct slice line, struct slice boundary, bool *last)
{
    CHECK(boundary.ptr != NULL);
    if (line.len < boundary.len + 2 || line.ptr[0] != '-' || line.ptr[1] != '-' ||
        memcmp(line.ptr + 2, boundary.ptr, boundary.len) != 0) {
        return false;
    }
    struct slice after = slice_trim(slice_skip(line, boundary.len + 2));
    *last = slice_eq(after, SLICE("--"));
    return after.len == 0 || *last;
}

/* The next line that begins with "--", found without looking at the others. *start is where it
 * begins. */
static bool next_dashes(struct slice *rest, struct slice *line, const char **start)
{
    while (rest->ptr != NULL && rest->len > 0) {
        *start = rest->ptr;
        if (rest->ptr[0] == '-' && rest->len > 1 && rest->ptr[1] == '-') {
            return mail_line_next(rest, line);
        }
        ptrdiff_t at = slice_find(*rest, SLICE("\n--"));
        if (at < 0) {
            *rest = slice_skip(*rest, rest->len);
            return false;
        }
        *rest = slice_skip(*rest, (size_t)at + 1);
    }
    return false;
}

static bool read_children(struct arena *arena, struct mail_tree *tree, struct slice body,
                          struct slice boundary, unsigned depth, bool digest)
{
    struct slice rest = body;
    struct slice line = SLICE_NULL;
    const char *part_start = NULL;
    const char *line_start = NULL;
    bool last = false;
    while (!last && next_dashes(&rest, &line, &line_start)) {
        if (!is_delimiter(line, boundary, &last)) {
            continue;
        }
        if (part_start != NULL &&
            !read_part(arena, tree, slice_of(part_start, (size_t)(line_start - part_start)), depth,
                       digest)) {
            return false;
        }
        part_start = rest.ptr;
    }
    if (part_start != NULL && !last) {
        const char *end = body.ptr + body.len;
        return read_part(arena, tree, slice_of(part_start, (size_t)(end - part_start)), depth,
                         digest);
    }
    return true;
}

/* The parts of a multipart. */
static bool read_inside(struct arena *arena, struct mail_tree *tree, const struct mail_part *part)
{
    struct slice boundary = SLICE_NULL;
    bool multipart = mail_part_is(part, "multipart/");
    if (multipart) {
        boundary = mail_param(part->content_type, "boundary");
    }
    if (part->depth == 0 && part->encoding == MAIL_ENCODING_PLAIN &&
        (boundary.len == 0 || slice_find(part->body, boundary) < 0) &&
        (multipart || part->content_type.ptr == NULL)) {
        boundary = guess_boundary(part->body);
    }
    if (boundary.len == 0) {
        return true;
    }
    struct slice body = part->body;
    bool inner = slice_eq_nocase(part->type, SLICE("multipart/digest"));
    return read_children(arena, tree, body, boundary, part->depth + 1, inner);
}

static bool read_part(struct arena *arena, struct mail_tree *tree, struct slice bytes,
                      unsigned depth, bool digest)
{
    if (tree->count == PARTS_MAX || depth > DEPTH_MAX) {
        tree->cut = true;
        return true;
    }
    struct mail_part *part = &tree->parts[tree->count++];
    *part = (struct mail_part){.depth = depth};
    if (bytes.len > 0 && depth > 0 && (bytes.ptr[0] == '\n' || bytes.ptr[0] == '\r')) {
        struct slice line = SLICE_NULL; /* no header at all */
        part->body = bytes;
        (void)mail_line_next(&part->body, &line);
        part->header = slice_of(bytes.ptr, 0);
    } else {
        mail_header_split(bytes, &part->header, &part->body);
    }
    if (part->header.len > PART_HEADER_MAX) {
        part->header = slice_head(part->header, PART_HEADER_MAX);
        tree->cut = true;
    }
    read_content_fields(arena, part);
    if (part->content_type.ptr == NULL && digest) {
        part->type = SLICE("message/rfc822");
    }
    return read_inside(arena, tree, part);
}

/* Room for the parts of a new tree. */
static bool tree_start(struct arena *arena, struct mail_tree *tree)
{
    *tree = (struct mail_tree){0};
    tree->parts = arena_try_alloc(arena, PARTS_MAX * sizeof(struct mail_part));
    return tree->parts != NULL;
}

bool mail_tree_read(struct arena *arena, struct slice bytes, struct mail_tree *tree)
{
    return tree_start(arena, tree) && read_part(arena, tree, bytes, 0, false);
}

bool mail_tree_read_body(struct arena *arena, struct slice bytes, struct mail_tree *tree)
{
    if (!tree_start(arena, tree)) {
        return false;
    }
    struct mail_part *part = &tree->parts[tree->count++];
    *part = (struct mail_part){.header = slice_of(bytes.ptr, 0), .body = bytes};
    read_content_fields(arena, part);
    return read_inside(arena, tree, part);
}
