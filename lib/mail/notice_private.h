/*
 * What the three files of notices share: lines that are judged, and texts that are put together.
 * See notice.c.
 */
#ifndef SLUICE_MAIL_NOTICE_PRIVATE_H
#define SLUICE_MAIL_NOTICE_PRIVATE_H

#include "mail/notice.h"

enum {
    LINES_MAX = 60000,     /* lines of a notice that are looked at */
    LINE_MAX_BYTES = 2000, /* bytes of a line that are looked at */
    LINE_FRONT = 200,      /* bytes of a line in which phrases are looked for */
    SHARED_LINES = 60,     /* lines behind a list of recipients that may be the text of all */
    ESSENCE_LOOK = 16384,  /* bytes of a notice of which the essence is taken */
    ALONE = 10,            /* strengths of the places where an address stands */
    IN_FRONT = 9,
    NAMED = 6,
    COMMAND = 5,
    IN_REPLY = 4,
    ELSEWHERE = 2,
};

struct notice_line {
    struct slice text;    /* trimmed */
    struct slice address; /* the first that may be a recipient */
    unsigned strength;
    bool taken; /* the line of a recipient */
};

struct notice_lines {
    struct notice_line *items;
    size_t count;
};

/* A text is put together on the stack and copied to its size: lists of thousands must not take 4 KB
 * each. */
struct notice_builder {
    size_t len;
    char out[RETURNED_TEXT_MAX + 1];
};

/* The lines of a notice, each with its strongest address; empty when the arena is full. */
struct notice_lines notice_lines_read(struct arena *arena, struct slice notice,
                                      const struct notice_context *context);

bool notice_is_rule_byte(char c);
/* True for a line of nothing but blanks and rules ("-----"). */
bool notice_is_blank(struct slice text);
/* True if the text has a reply code of refusal or an enhanced code. */
bool notice_is_reply(struct slice text);
/* "(expanded from: <user@example.org>)" of Sendmail, "(ultimately generated from user@…)" of Exim.
 */
bool notice_is_expansion(struct slice text);
/* The same of a line that is in lower case already. */
bool notice_is_expansion_lower(struct slice lower);

/* Without brackets, bullets and quotation marks at the front, or at the back. */
struct slice notice_strip_front(struct slice s);
struct slice notice_strip_back(struct slice s);

/* Adds a line; what passes the room is cut. */
void notice_builder_add(struct notice_builder *builder, struct slice text);
struct slice notice_builder_text(const struct notice_builder *builder);

/* Where the text of the recipient in line `at` ends: at the next recipient's line. */
size_t notice_block_end(const struct notice_lines *lines, size_t at);
/* The text of the recipient in line `at`, whose block ends at `end`; in the arena. */
struct slice notice_text_of(struct arena *arena, const struct notice_lines *lines, size_t at,
                            size_t end);
/* Adds the lines in front of line `at` that are no boilerplate. */
void notice_text_before(const struct notice_lines *lines, size_t at,
                        struct notice_builder *builder);

#endif
