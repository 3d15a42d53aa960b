/* See transcript.h. */
#include "mail/transcript.h"

#include "mail/header.h"
#include "mail/status.h"

enum {
    FRONT_BYTES = 60, /* arrows stand behind a time at most */
    SAME_BYTES = 40,  /* of a reply, to know it again: notices wrap what is longer */
    LINES_LOOKED = 400,
};

struct verb {
    struct slice word;
    enum returned_phase phase;
};

static const struct verb VERBS[] = {
    {{"RCPT TO", 7}, RETURNED_PHASE_RCPT}, {{"MAIL FROM", 9}, RETURNED_PHASE_MAIL},
    {{"DATA", 4}, RETURNED_PHASE_DATA},    {{"EHLO", 4}, RETURNED_PHASE_HELO},
    {{"HELO", 4}, RETURNED_PHASE_HELO},
};

/* What stands behind the line's arrow; absent without one. */
static struct slice behind_arrow(struct slice line)
{
    static const struct slice ARROWS[] = {{">>>", 3}, {"<<<", 3}, {"-->", 3}, {"<--", 3}};
    for (size_t i = 0; i < ARRAY_LEN(ARROWS); i++) {
        ptrdiff_t at = slice_find(slice_head(line, FRONT_BYTES), ARROWS[i]);
        if (at >= 0) {
            return slice_trim(slice_skip(line, (size_t)at + ARROWS[i].len));
        }
    }
    return SLICE_NULL;
}

static const struct verb *verb_of(struct slice said)
{
    static const struct verb FINAL_DOT = {{".", 1}, RETURNED_PHASE_DATA};
    for (size_t i = 0; i < ARRAY_LEN(VERBS); i++) {
        if (slice_starts_with_nocase(said, VERBS[i].word)) {
            return &VERBS[i];
        }
    }
    return slice_eq(said, SLICE(".")) ? &FINAL_DOT : NULL;
}

static bool has_word(struct slice line, struct slice word)
{
    for (size_t i = 0; i + word.len <= line.len; i++) {
        if (slice_starts_with_nocase(slice_skip(line, i), word)) {
            return true;
        }
    }
    return false;
}

/* True if the line behind a reply to pipelined commands shows that RCPT was refused: DATA is too,
 * for want of recipients; or Sendmail names the recipient in its own words ("550 5.1.1
 * <jo@example.org>... User unknown"). */
static bool tells_of_recipients(struct slice line, struct slice said)
{
    size_t at = 0;
    if (said.ptr == NULL) {
        return status_find_code(line, &at) >= 400 && at == 0 && slice_find(line, SLICE("... ")) > 0;
    }
    uint16_t code = status_find_code(said, &at);
    return at == 0 && (code == 503 || code == 554) &&
           (has_word(said, SLICE("rcpt")) || has_word(said, SLICE("recipient")));
}

enum returned_phase transcript_phase(struct slice text, struct slice reply)
{
    ptrdiff_t end = slice_find_byte(reply, '\n');
    reply = slice_trim(slice_head(reply, end < 0 ? SAME_BYTES : (size_t)end));
    reply = slice_head(reply, SAME_BYTES);
    size_t at = 0;
    if (status_find_code(reply, &at) < 400 || at != 0) {
        return RETURNED_PHASE_UNKNOWN;
    }
    const struct verb *command = NULL;
    const struct verb *found = NULL;
    struct slice rest = slice_head(text, RETURNED_TEXT_MAX);
    struct slice line = SLICE_NULL;
    for (int i = 0; i < LINES_LOOKED && mail_line_next(&rest, &line); i++) {
        line = slice_trim(line);
        struct slice said = behind_arrow(line);
        const struct verb *verb = verb_of(said);
        if (found != NULL && slice_eq(found->word, SLICE("DATA")) &&
            tells_of_recipients(line, said)) {
            return RETURNED_PHASE_RCPT;
        }
        if (verb != NULL) {
            if (found != NULL) {
                break;
            }
            command = verb;
        } else if (found == NULL && slice_starts_with(said, reply)) {
            found = command;
        }
    }
    return found == NULL ? RETURNED_PHASE_UNKNOWN : found->phase;
}
