/*
 * Decoder of message content as it comes over the wire: after DATA (RFC 5321 section 4.5.2,
 * dot-stuffing, ended by CRLF.CRLF) or inside BDAT chunks (RFC 3030, no dots, ended by count). It
 * cuts the input into slices that are the content; nothing is copied and nothing is held back but
 * the bytes of the end mark.
 *
 * Lines end with CRLF and nothing else. A bare LF, a bare CR or a NUL is refused wherever it
 * stands, since peers that disagree about them disagree about where a message ends (SMTP
 * smuggling). The state survives splits at any byte.
 */
#ifndef SLUICE_SMTP_UNSTUFF_H
#define SLUICE_SMTP_UNSTUFF_H

#include "base/slice.h"

enum smtp_unstuff_result {
    SMTP_UNSTUFF_MORE,  /* the input is used up */
    SMTP_UNSTUFF_PIECE, /* *piece is content; call again */
    SMTP_UNSTUFF_END,   /* the end mark was taken; *rest is what stands behind it */
    SMTP_UNSTUFF_BAD,   /* bare LF, bare CR or NUL; `wrong` says which */
};

enum smtp_unstuff_state {
    SMTP_UNSTUFF_LINE_START,
    SMTP_UNSTUFF_IN_LINE,
    SMTP_UNSTUFF_CR,     /* behind a CR of content */
    SMTP_UNSTUFF_DOT,    /* behind a dot at the start of a line */
    SMTP_UNSTUFF_DOT_CR, /* behind that dot and a CR */
};

struct smtp_unstuff {
    enum smtp_unstuff_state state;
    bool dots;         /* DATA; false: BDAT */
    const char *wrong; /* after BAD: "bare LF", "bare CR", "NUL" */
};

/* At the start of a message. */
void smtp_unstuff_init(struct smtp_unstuff *unstuff, bool dots);

/* Takes bytes from the front of *rest. After END or BAD the decoder must be initialised anew. */
enum smtp_unstuff_result smtp_unstuff_next(struct smtp_unstuff *unstuff, struct slice *rest,
                                           struct slice *piece);

/* BDAT: may the message end here? False after a bare CR. */
bool smtp_unstuff_complete(const struct smtp_unstuff *unstuff);

#endif
