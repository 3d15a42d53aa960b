/*
 * The visible text of HTML, for reports that have no plain part. Not a parser: a scanner that knows
 * tags, comments, the two elements whose content is not text, and the entities that reports use.
 */
#include "mail/decode.h"

struct entity {
    struct slice name;
    char text[4];
};

static const struct entity ENTITIES[] = {
    {{"lt;", 3}, "<"},   {{"gt;", 3}, ">"},   {{"amp;", 4}, "&"}, {{"quot;", 5}, "\""},
    {{"nbsp;", 5}, " "}, {{"apos;", 5}, "'"}, {{"#64;", 4}, "@"}, {{"#39;", 4}, "'"},
    {{"#160;", 5}, " "}, {{"#46;", 4}, "."},  {{"#60;", 4}, "<"}, {{"#62;", 4}, ">"},
};

/* Elements that end a line of text. */
static const struct slice BLOCKS[] = {
    {"br", 2},  {"p", 1},   {"/p", 2},  {"div", 3}, {"/div", 4}, {"tr", 2},   {"/tr", 3},
    {"li", 2},  {"/li", 3}, {"td", 2},  {"/td", 3}, {"h1", 2},   {"h2", 2},   {"h3", 2},
    {"/h1", 3}, {"/h2", 3}, {"/h3", 3}, {"hr", 2},  {"pre", 3},  {"/pre", 4}, {"/title", 6},
};

static struct slice tag_name(struct slice tag)
{
    size_t n = tag.len > 0 && tag.ptr[0] == '/' ? 1 : 0;
    while (n < tag.len && strchr(" \t\r\n/", tag.ptr[n]) == NULL) {
        n++;
    }
    return slice_head(tag, n);
}

static bool is_block(struct slice name)
{
    for (size_t i = 0; i < sizeof(BLOCKS) / sizeof(BLOCKS[0]); i++) {
        if (slice_eq_nocase(name, BLOCKS[i])) {
            return true;
        }
    }
    return false;
}

static size_t find_nocase(struct slice s, struct slice needle)
{
    for (size_t i = 0; i + needle.len <= s.len; i++) {
        if (slice_starts_with_nocase(slice_skip(s, i), needle)) {
            return i;
        }
    }
    return s.len;
}

/* Length of the markup at the start of `in`, which begins with '<'; 1 when that is no tag. *name is
 * the element. */
static size_t skip_tag(struct slice in, const char *last_close, struct slice *name)
{
    *name = SLICE_NULL;
    if (slice_starts_with(in, SLICE("<!--"))) {
        ptrdiff_t end = slice_find(in, SLICE("-->"));
        return end < 0 ? in.len : (size_t)end + 3;
    }
    bool tag = in.len > 1 &&
               ((in.ptr[1] >= 'a' && in.ptr[1] <= 'z') || (in.ptr[1] >= 'A' && in.ptr[1] <= 'Z') ||
                in.ptr[1] == '/' || in.ptr[1] == '!' || in.ptr[1] == '?');
    if (!tag || in.ptr > last_close) {
        return 1; /* without looking: a million "<a" must not look at what follows each time */
    }
    ptrdiff_t end = slice_find_byte(in, '>');
    if (end < 0) {
        return 1;
    }
    struct slice inside = slice_skip(slice_head(in, (size_t)end), 1);
    if (slice_find_byte(inside, '@') >= 0 && slice_find_byte(inside, '=') < 0) {
        return 1; /* an address in angle brackets that was not escaped */
    }
    *name = tag_name(inside);
    return (size_t)end + 1;
}

/* Entity behind the '&' at the start of `in`: its text, and its length in *used; 0 when it is none.
 */
static const char *entity_text(struct slice in, size_t *used)
{
    for (size_t i = 0; i < sizeof(ENTITIES) / sizeof(ENTITIES[0]); i++) {
        if (slice_starts_with_nocase(slice_skip(in, 1), ENTITIES[i].name)) {
            *used = ENTITIES[i].name.len + 1;
            return ENTITIES[i].text;
        }
    }
    *used = 1;
    return "&";
}

/* Line ends in the source are blanks; several blanks are one. */
static size_t add_text(char *out, size_t len, char c)
{
    if (c == '\n' || c == '\t' || c == '\r') {
        c = ' ';
    }
    if (c == ' ' && (len == 0 || out[len - 1] == ' ' || out[len - 1] == '\n')) {
        return len;
    }
    out[len] = c;
    return len + 1;
}

struct slice mail_html_text(struct arena *arena, struct slice html)
{
    char *out = arena_try_alloc(arena, html.len + 1);
    if (out == NULL) {
        return SLICE("");
    }
    size_t len = 0;
    ptrdiff_t close = slice_rfind_byte(html, '>');
    const char *last_close = html.ptr + (close < 0 ? 0 : close);
    while (html.len > 0) {
        size_t used = 1;
        if (html.ptr[0] == '<') {
            struct slice name = SLICE_NULL;
            used = skip_tag(html, last_close, &name);
            if (used == 1) {
                len = add_text(out, len, '<');
            } else if (slice_eq_nocase(name, SLICE("style")) ||
                       slice_eq_nocase(name, SLICE("script"))) {
                used += find_nocase(slice_skip(html, used), slice_eq_nocase(name, SLICE("style"))
                                                                ? SLICE("</style")
                                                                : SLICE("</script"));
            } else if (is_block(name) && len > 0) {
                out[len++] = '\n'; /* never longer than the tag */
            }
        } else if (html.ptr[0] == '&') {
            len = add_text(out, len, entity_text(html, &used)[0]);
        } else {
            len = add_text(out, len, html.ptr[0]);
        }
        html = slice_skip(html, used);
    }
    out[len] = '\0';
    return slice_of(out, len);
}
