/*
 * Header fields of a message or a MIME part (RFC 5322 2.2, 3.6; RFC 2045 5.1). A cursor over the
 * raw bytes: no allocation, values are views that may still contain line breaks of folding.
 *
 *   field = name ":" value *( CRLF WSP more )          fields end at the first empty line
 *
 * Lenient as returned mail needs it: bare LF ends a line, blanks may stand before the colon, a
 * "From " or ">From " line of mbox is skipped, and the first line that is no field ends the header.
 */
#ifndef SLUICE_MAIL_HEADER_H
#define SLUICE_MAIL_HEADER_H

#include "base/arena.h"
#include "base/slice.h"

struct mail_field {
    struct slice name;
    struct slice value; /* trimmed, still folded */
};

/* The line at the start of *rest without its line end; *rest moves behind it. False at the end of
 * the bytes. */
bool mail_line_next(struct slice *rest, struct slice *line);

/* Cuts a message or part into header and body. Never fails: without a header everything is body. */
void mail_header_split(struct slice bytes, struct slice *header, struct slice *body);

/* The next field of a header block; false at its end. */
bool mail_field_next(struct slice *rest, struct mail_field *field);

/* True if the line is "name:" with a name of RFC 5322 characters. *name may be NULL. */
bool mail_line_is_field(struct slice line, struct slice *name);

/* Value of the first field of this name, unfolded into the arena where it was folded; SLICE_NULL
 * without one. */
struct slice mail_header_get(struct arena *arena, struct slice header, const char *name);

/* The value without line breaks: itself when it has none, else a copy (SLICE_NULL when the arena is
 * full). */
struct slice mail_unfold(struct arena *arena, struct slice value);

/* A parameter of a structured value, "; name=value" or "; name=\"value\"" (RFC 2045 5.1); also the
 * name*= and name*0= forms of RFC 2231, whose charset stays in front. SLICE_NULL without it. */
struct slice mail_param(struct slice value, const char *name);

#endif
