/*
 * lib/mail against GMime: both read the same files, and the leaves that they find must be the same:
 * type, depth and text, and so must the subject. GMime is the yardstick for whole messages that
 * keep to the rules; what lib/mail makes of broken ones is its own business (tests/unit/mail).
 *
 *   mail_oracle FILE…      a line for each file that differs; status 1 when there is one
 */
#include "mail/header.h"
#include "mail/part.h"

#include "base/mem.h"

#include <gmime/gmime.h>
#include <stdlib.h>

#define FILE_MAX ((size_t)16 << 20)
#define LEAVES_MAX 256
#define ARENA_BYTES ((size_t)1 << 20)
#define ARENA_MAX ((size_t)96 << 20)

struct leaf {
    char *type; /* lower case */
    char *text; /* without what does not count; NULL: not compared */
    unsigned depth;
};

struct leaves {
    struct leaf items[LEAVES_MAX];
    size_t count;
    char *subject;
};

static void leaves_free(struct leaves *leaves)
{
    for (size_t i = 0; i < leaves->count; i++) {
        mem_free(leaves->items[i].type);
        mem_free(leaves->items[i].text);
    }
    mem_free(leaves->subject);
}

/* Without CR and NUL, blanks at the end left out: which line end belongs to a boundary is a matter
 * of taste. */
static char *normal(const char *bytes, size_t len)
{
    char *out = mem_zalloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\r' && bytes[i] != '\0') {
            out[n++] = bytes[i];
        }
    }
    while (n > 0 && strchr(" \t\n", out[n - 1]) != NULL) {
        n--;
    }
    out[n] = '\0';
    return out;
}

static void add(struct leaves *leaves, const char *type, size_t type_len, const char *text,
                size_t text_len, unsigned depth)
{
    CHECK(leaves->count < LEAVES_MAX);
    struct leaf *leaf = &leaves->items[leaves->count++];
    leaf->type = mem_strndup(type, type_len);
    ascii_lower(leaf->type, type_len);
    leaf->text = text == NULL ? NULL : normal(text, text_len);
    leaf->depth = depth;
}

/* ---- ours ---- */

static void read_ours(struct slice bytes, struct leaves *leaves)
{
    struct arena *arena = arena_create(ARENA_BYTES, ARENA_MAX);
    struct mail_tree tree;
    CHECK(arena != NULL && mail_tree_read(arena, bytes, &tree));
    for (size_t i = 0; i < tree.count; i++) {
        const struct mail_part *part = &tree.parts[i];
        bool parent = i + 1 < tree.count && tree.parts[i + 1].depth > part->depth;
        if (parent || mail_part_is(part, "multipart/")) {
            continue;
        }
        struct slice text = SLICE_NULL;
        if (mail_part_is(part, "text/")) {
            text = mail_decode_text(arena, part->body, part->encoding,
                                    mail_param(part->content_type, "charset"), FILE_MAX);
            text.ptr = text.ptr == NULL ? "" : text.ptr;
        }
        add(leaves, part->type.ptr, part->type.len, text.ptr, text.len, part->depth);
    }
    struct slice subject = mail_header_get(arena, tree.parts[0].header, "Subject");
    subject = mail_decode_words(arena, subject);
    leaves->subject = normal(subject.ptr == NULL ? "" : subject.ptr, subject.len);
    arena_free(&arena);
}

/* ---- GMime's ---- */

static void walk(GMimeObject *object, unsigned depth, struct leaves *leaves)
{
    if (GMIME_IS_MULTIPART(object)) {
        GMimeMultipart *multipart = GMIME_MULTIPART(object);
        for (int i = 0; i < g_mime_multipart_get_count(multipart); i++) {
            walk(g_mime_multipart_get_part(multipart, i), depth + 1, leaves);
        }
        return;
    }
    GMimeContentType *type = g_mime_object_get_content_type(object);
    char *name = g_mime_content_type_get_mime_type(type);
    char *text =
        GMIME_IS_TEXT_PART(object) ? g_mime_text_part_get_text(GMIME_TEXT_PART(object)) : NULL;
    if (GMIME_IS_TEXT_PART(object) && text == NULL) {
        text = g_strdup("");
    }
    add(leaves, name, strlen(name), text, text == NULL ? 0 : strlen(text), depth);
    g_free(text);
    g_free(name);
}

static void read_theirs(struct slice bytes, struct leaves *leaves)
{
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer(bytes.ptr, bytes.len);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    g_object_unref(stream);
    GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
    g_object_unref(parser);
    if (message == NULL) {
        leaves->subject = normal("(no message)", 12);
        return;
    }
    walk(g_mime_message_get_mime_part(message), 0, leaves);
    const char *subject = g_mime_message_get_subject(message);
    leaves->subject = normal(subject == NULL ? "" : subject, subject == NULL ? 0 : strlen(subject));
    g_object_unref(message);
}

/* ---- the comparison ---- */

static bool same(const char *file, const struct leaves *ours, const struct leaves *theirs)
{
    if (ours->count != theirs->count) {
        (void)printf("%s: %zu leaves, GMime %zu\n", file, ours->count, theirs->count);
        return false;
    }
    for (size_t i = 0; i < ours->count; i++) {
        const struct leaf *a = &ours->items[i];
        const struct leaf *b = &theirs->items[i];
        if (strcmp(a->type, b->type) != 0 || a->depth != b->depth) {
            (void)printf("%s: leaf %zu is %s in depth %u, GMime: %s in depth %u\n", file, i,
                         a->type, a->depth, b->type, b->depth);
            return false;
        }
        if (a->text != NULL && b->text != NULL && strcmp(a->text, b->text) != 0) {
            size_t at = 0;
            while (a->text[at] == b->text[at]) {
                at++;
            }
            (void)printf(
                "%s: the texts of leaf %zu (%s) differ from byte %zu on: \"%.40s\", GMime: "
                "\"%.40s\"\n",
                file, i, a->type, at, a->text + at, b->text + at);
            return false;
        }
    }
    if (strcmp(ours->subject, theirs->subject) != 0) {
        (void)printf("%s: subject \"%.80s\", GMime: \"%.80s\"\n", file, ours->subject,
                     theirs->subject);
        return false;
    }
    return true;
}

static bool compare(const char *file, size_t *leaf_count)
{
    FILE *in = fopen(file, "re");
    char *bytes = mem_zalloc(FILE_MAX);
    CHECK(in != NULL);
    size_t len = fread(bytes, 1, FILE_MAX, in);
    (void)fclose(in);
    struct leaves ours = {.count = 0};
    struct leaves theirs = {.count = 0};
    read_ours(slice_of(bytes, len), &ours);
    read_theirs(slice_of(bytes, len), &theirs);
    bool good = same(file, &ours, &theirs);
    *leaf_count += ours.count;
    leaves_free(&ours);
    leaves_free(&theirs);
    mem_free(bytes);
    return good;
}

int main(int argc, char **argv)
{
    int different = 0;
    size_t leaf_count = 0;
    g_mime_init();
    for (int i = 1; i < argc; i++) {
        different += compare(argv[i], &leaf_count) ? 0 : 1;
    }
    (void)printf("%d of %d messages with %zu leaves are seen as GMime sees them\n",
                 argc - 1 - different, argc - 1, leaf_count);
    g_mime_shutdown();
    return different == 0 ? 0 : 1;
}
