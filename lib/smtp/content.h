/*
 * The body on its way to the wire: line ends made CRLF, a final CRLF added, dots stuffed (RFC 5321
 * section 4.5.2), without copying a byte of it. The owner's slices are cut into pieces at the
 * places where something must be put in, and the insertions are constants.
 *
 * A first pass (smtp_content_measure) counts, so that SIZE= and BDAT are known before a byte goes
 * out; content that needs no insertion, which is nearly all mail, is then handed out slice by slice
 * without being looked at again. Pieces that were handed out but not yet sent stand in a small
 * queue, so a partial write costs no second look either.
 *
 * Normalisation looks at neighbours only: between the byte before (at the start a virtual LF) and
 * the next one, CR goes in before an LF that has none, LF after a CR that has none, "." between a
 * line end and ".".
 *
 * With SMTP_CONTENT_HOLD_END the last bytes (the dot line, or the last two bytes of the chunk) stay
 * back until smtp_content_release(), with SMTP_CONTENT_HOLD_ALL everything.
 */
#ifndef SLUICE_SMTP_CONTENT_H
#define SLUICE_SMTP_CONTENT_H

#include "base/slice.h"

#include <sys/uio.h>

#define SMTP_CONTENT_QUEUE 64

enum smtp_content_form {
    SMTP_CONTENT_DOT,   /* for DATA: stuffed, ended by the dot line */
    SMTP_CONTENT_CHUNK, /* for BDAT: as it is */
};

enum smtp_content_hold {
    SMTP_CONTENT_HOLD_NONE,
    SMTP_CONTENT_HOLD_END,
    SMTP_CONTENT_HOLD_ALL,
};

struct smtp_content {
    const struct slice *slices; /* the owner's */
    size_t slice_count;
    uint64_t size_bytes; /* normalised, without stuffing and dot line */
    uint64_t dots;       /* lines that begin with a dot */
    bool bare_cr;        /* there is a CR without LF */
    bool broken_lines;   /* there is a bare CR or bare LF */

    bool stuff;
    bool verbatim;  /* nothing to put in before the end */
    bool final_dot; /* the dot line has still to be made */
    char previous;  /* the byte before the cursor, insertions included */
    size_t slice_at, byte_at;
    struct slice stash;    /* the rest of a piece that passed the limit */
    uint64_t wire_bytes;   /* all that will go out */
    uint64_t limit_bytes;  /* what may go out before smtp_content_release() */
    uint64_t queued_bytes; /* made so far */
    uint64_t sent_bytes;

    unsigned queue_head, queue_count;
    struct iovec queue[SMTP_CONTENT_QUEUE];
};

/* The counting pass; the slices must stay as they are until the content is finished. */
void smtp_content_measure(struct smtp_content *content, const struct slice *slices, size_t count);

/* After measure. */
void smtp_content_begin(struct smtp_content *content, enum smtp_content_form form,
                        enum smtp_content_hold hold);

/* Up to `max` pieces that are to be sent next; none when all is sent or the rest is held. Asking
 * again without smtp_content_sent() gives the same bytes. */
size_t smtp_content_output(struct smtp_content *content, struct iovec *pieces, size_t max);

/* `len` bytes of what was handed out are gone; never more than that. */
void smtp_content_sent(struct smtp_content *content, uint64_t len);

void smtp_content_release(struct smtp_content *content);

static inline bool smtp_content_finished(const struct smtp_content *content)
{
    return content->sent_bytes == content->wire_bytes;
}

/* The last byte has been handed out: what smtp_content_output() gives may end the message. */
static inline bool smtp_content_is_ending(const struct smtp_content *content)
{
    return content->queued_bytes == content->wire_bytes;
}

/* Everything but the held bytes is sent. Never true of content without a byte. */
static inline bool smtp_content_held(const struct smtp_content *content)
{
    return content->sent_bytes == content->limit_bytes &&
           content->limit_bytes < content->wire_bytes;
}

#endif
