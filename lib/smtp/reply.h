/*
 * Replies of an SMTP server, read from whatever pieces the link delivers (RFC 5321 section 4.2).
 *
 * Nothing is allocated while replies arrive whole, except the text buffer (bounded, kept for the
 * next reply); the beginning of a line whose end has not come yet is kept aside, bounded as well. A
 * peer can therefore hold at most SMTP_REPLY_LINE_MAX + SMTP_REPLY_TEXT_MAX bytes of ours, and one
 * that goes on talking ends with BAD.
 *
 * Taken on purpose although the RFC forbids it, because real servers send it: a bare LF as line
 * end, any second and third digit, longer lines than 512 bytes, bytes >= 0x80. Refused: NUL, a
 * first digit other than 2 to 5, a code that changes from line to line, anything but a blank, "-"
 * or the line's end behind the code.
 */
#ifndef SLUICE_SMTP_REPLY_H
#define SLUICE_SMTP_REPLY_H

#include "base/strbuf.h"
#include "smtp/enhanced.h"

#define SMTP_REPLY_LINE_MAX 2048   /* bytes of a line that are kept; the rest of it is dropped */
#define SMTP_REPLY_TEXT_MAX 2048   /* bytes of text that are kept of a whole reply */
#define SMTP_REPLY_LINES_MAX 512   /* lines of one reply; one more is BAD */
#define SMTP_REPLY_BYTES_MAX 65536 /* bytes of one reply; one more is BAD */

enum smtp_reply_status {
    SMTP_REPLY_MORE, /* all bytes are taken, the line is not complete */
    SMTP_REPLY_LINE, /* one line of a reply that goes on: `line` is set */
    SMTP_REPLY_DONE, /* the last line: code, enhanced, text, line are set, until the next take */
    SMTP_REPLY_BAD,  /* not SMTP, or a bound was passed: `problem` says what; take nothing more */
};

struct smtp_reply_parser {
    /* The reply; valid at DONE. */
    uint16_t code;
    uint16_t lines;
    struct smtp_enhanced enhanced; /* of the first line that has one; class 0: none */
    struct slice line;             /* the latest line without code; valid until the next take */
    const char *problem;           /* BAD: a constant text */

    /* Private. */
    struct strbuf text;
    struct strbuf partial;
    uint32_t bytes;
    bool line_complete;
    bool reply_complete;
};

void smtp_reply_init(struct smtp_reply_parser *parser);
void smtp_reply_free(struct smtp_reply_parser *parser);
/* Forgets what has come of an unfinished reply. */
void smtp_reply_reset(struct smtp_reply_parser *parser);

/* Takes bytes from the front of *bytes, at most to the end of one line. */
enum smtp_reply_status smtp_reply_take(struct smtp_reply_parser *parser, struct slice *bytes);

/* The text of a complete reply: lines joined by one blank, without codes; always valid UTF-8
 * without controls (what is not becomes '?'). Valid until the next take. */
static inline struct slice smtp_reply_text(const struct smtp_reply_parser *parser)
{
    return strbuf_slice(&parser->text);
}

#endif
