/*
 * The parts of a MIME message (RFC 2045, 2046) as a flat list in the order of the bytes. A
 * message/rfc822 part is one leaf: what it contains is its own message. Lenient as returned mail
 * needs it: a multipart that was cut off ends at the end of the bytes, and a body that shows
 * boundaries though its header names none is taken apart all the same.
 */
#ifndef SLUICE_MAIL_PART_H
#define SLUICE_MAIL_PART_H

#include "mail/decode.h"

struct mail_part {
    struct slice header;
    struct slice body;         /* raw */
    struct slice type;         /* "text/plain", as written; "text/plain" where none was given */
    struct slice content_type; /* the whole value, unfolded */
    enum mail_encoding encoding;
    unsigned depth;
    bool attachment; /* Content-Disposition: attachment */
};

struct mail_tree {
    struct mail_part *parts; /* [0] is the message itself */
    size_t count;
    bool cut; /* a limit was met: there is more than stands here */
};

/* The views point into `bytes` and the arena. False when the arena is full. */
bool mail_tree_read(struct arena *arena, struct slice bytes, struct mail_tree *tree);

/* The same for the body of a message whose header is missing. */
bool mail_tree_read_body(struct arena *arena, struct slice bytes, struct mail_tree *tree);

/* True if the part's type is `type` ("message/delivery-status"); or of that family when it ends in
 * '/'. */
bool mail_part_is(const struct mail_part *part, const char *type);

/* The first part of that type from index `from` on; NULL without one. */
const struct mail_part *mail_tree_find(const struct mail_tree *tree, const char *type, size_t from);

#endif
