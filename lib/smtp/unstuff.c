/*
 * The work is one pass over the input, eight bytes at a time, that stops at the few bytes that
 * matter: every byte below 0x0e (CR, LF and NUL, and some harmless ones). All else is content and
 * goes out in as few pieces as there are dots to drop.
 *
 * A dot at the start of a line is never content: either it was stuffed, or it belongs to the end
 * mark. So it can be dropped when it is seen, whatever follows, and no byte ever has to be put
 * back.
 */
#include "smtp/unstuff.h"

#define BYTES_OF(byte) (UINT64_MAX / 255 * (byte))

void smtp_unstuff_init(struct smtp_unstuff *unstuff, bool dots)
{
    *unstuff = (struct smtp_unstuff){.state = SMTP_UNSTUFF_LINE_START, .dots = dots};
}

bool smtp_unstuff_complete(const struct smtp_unstuff *unstuff)
{
    return unstuff->state != SMTP_UNSTUFF_CR;
}

/* The next CR, LF or NUL at or behind `at`, else `end`. */
static const char *find_special(const char *at, const char *end)
{
    for (;;) {
        while (end - at >= 8) {
            uint64_t word;
            memcpy(&word, at, sizeof(word));
            /* A high bit for some byte below 0x0e; exact as to whether there is one. */
            if (((word - BYTES_OF(0x0e)) & ~word & BYTES_OF(0x80)) != 0) {
                break;
            }
            at += 8;
        }
        const char *stop = end - at >= 8 ? at + 8 : end;
        for (; at < stop; at++) {
            if (*at == '\r' || *at == '\n' || *at == '\0') {
                return at;
            }
        }
        if (at == end) {
            return end;
        }
    }
}

static enum smtp_unstuff_result refuse(struct smtp_unstuff *unstuff, char found)
{
    bool after_cr = unstuff->state == SMTP_UNSTUFF_CR || unstuff->state == SMTP_UNSTUFF_DOT_CR;
    unstuff->wrong = after_cr ? "bare CR" : (found == '\n' ? "bare LF" : "NUL");
    return SMTP_UNSTUFF_BAD;
}

/* One byte that stands at a line's start, or behind a CR or the dot. PIECE: go on and it is
 * content; MORE: it was dropped. */
static enum smtp_unstuff_result take_edge(struct smtp_unstuff *unstuff, char c)
{
    switch (unstuff->state) {
    case SMTP_UNSTUFF_LINE_START:
        if (c == '.' && unstuff->dots) {
            unstuff->state = SMTP_UNSTUFF_DOT;
            return SMTP_UNSTUFF_MORE;
        }
        break;
    case SMTP_UNSTUFF_CR:
        if (c != '\n') {
            return refuse(unstuff, c);
        }
        unstuff->state = SMTP_UNSTUFF_LINE_START;
        return SMTP_UNSTUFF_PIECE;
    case SMTP_UNSTUFF_DOT:
        if (c == '\r') {
            unstuff->state = SMTP_UNSTUFF_DOT_CR;
            return SMTP_UNSTUFF_MORE;
        }
        break;
    case SMTP_UNSTUFF_DOT_CR: return c == '\n' ? SMTP_UNSTUFF_END : refuse(unstuff, c);
    case SMTP_UNSTUFF_IN_LINE: break;
    }
    if (c == '\n' || c == '\0') {
        return refuse(unstuff, c);
    }
    unstuff->state = c == '\r' ? SMTP_UNSTUFF_CR : SMTP_UNSTUFF_IN_LINE;
    return SMTP_UNSTUFF_PIECE;
}

/* Hands out what lies between `from` and `to`, and leaves *rest at `next`. */
static enum smtp_unstuff_result give(struct slice *rest, struct slice *piece, const char *from,
                                     const char *to, const char *next)
{
    *piece = slice_of(from, (size_t)(to - from));
    *rest = slice_of(next, (size_t)(rest->ptr + rest->len - next));
    return piece->len > 0 ? SMTP_UNSTUFF_PIECE : SMTP_UNSTUFF_MORE;
}

enum smtp_unstuff_result smtp_unstuff_next(struct smtp_unstuff *unstuff, struct slice *rest,
                                           struct slice *piece)
{
    const char *end = rest->len == 0 ? rest->ptr : rest->ptr + rest->len;
    const char *from = rest->ptr; /* start of the content not handed out yet */
    const char *at = from;

    *piece = SLICE_NULL;
    while (at < end) {
        if (unstuff->state == SMTP_UNSTUFF_IN_LINE) {
            at = find_special(at, end);
            if (at == end) {
                break;
            }
        }
        enum smtp_unstuff_result result = take_edge(unstuff, *at);
        if (result == SMTP_UNSTUFF_PIECE) {
            at++;
            continue;
        }
        if (result == SMTP_UNSTUFF_MORE) { /* dropped: what lies before it goes out first */
            if (give(rest, piece, from, at, at + 1) == SMTP_UNSTUFF_PIECE) {
                return SMTP_UNSTUFF_PIECE;
            }
            from = ++at;
            continue;
        }
        *rest = slice_skip(*rest, (size_t)(at - rest->ptr) + (result == SMTP_UNSTUFF_END));
        return result;
    }
    return give(rest, piece, from, end, end);
}
