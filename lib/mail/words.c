/*
 * See words.h. From the sources and documentation of the systems that write these notices (Postfix,
 * Exim, qmail and its offspring, Sendmail, Exchange in its languages, Domino, GroupWise, Courier,
 * IMail, MailEnable, OpenSMTPD, dma, the large providers) and, for answers, RFC 3834 and the
 * default texts of Outlook, Gmail, Lotus Notes and vacation(1).
 */
#include "mail/words.h"

#include "mail/words_private.h"

static const char *const *const SETS[WORDS_SET_COUNT] = {
    [WORDS_SUBJECT_BOUNCE] = words_subject_bounce,
    [WORDS_OPENING] = words_opening,
    [WORDS_TEXT_BOUNCE] = words_text_bounce,
    [WORDS_DELAY] = words_delay,
    [WORDS_WARNING] = words_warning,
    [WORDS_FINAL] = words_final,
    [WORDS_DELIVERED] = words_delivered,
    [WORDS_SUBJECT_AUTO] = words_subject_auto,
    [WORDS_TEXT_AUTO] = words_text_auto,
    [WORDS_CHALLENGE_ASK] = words_challenge_ask,
    [WORDS_CHALLENGE_WHY] = words_challenge_why,
    [WORDS_DAEMON] = words_daemon,
    [WORDS_SEPARATOR] = words_separator,
    [WORDS_RECIPIENT] = words_recipient,
    [WORDS_NOT_RECIPIENT] = words_not_recipient,
    [WORDS_BOILERPLATE] = words_boilerplate,
    [WORDS_QUOTED_FIELD] = words_quoted_field,
    [WORDS_LABEL] = words_label,
    [WORDS_FOOTER] = words_footer,
};

bool words_in(enum words_set set, struct slice lower)
{
    for (const char *const *word = SETS[set]; *word != NULL; word++) {
        if (slice_find(lower, slice_cstr(*word)) >= 0) {
            return true;
        }
    }
    return false;
}

bool words_begin(enum words_set set, struct slice lower)
{
    for (const char *const *word = SETS[set]; *word != NULL; word++) {
        if (slice_starts_with(lower, slice_cstr(*word))) {
            return true;
        }
    }
    return false;
}

struct slice words_lower(struct arena *arena, struct slice text)
{
    char *out = arena_try_alloc(arena, text.len + 1);
    if (out == NULL) {
        return SLICE("");
    }
    if (text.len > 0) {
        memcpy(out, text.ptr, text.len);
    }
    ascii_lower(out, text.len);
    out[text.len] = '\0';
    return slice_of(out, text.len);
}

/* What stands for the bytes at the front of `in`: its length goes to *used, at most that many bytes
 * to `out`; returns how many. */
static size_t put_plain(char *out, struct slice in, size_t *used)
{
    const unsigned char *c = (const unsigned char *)in.ptr;
    *used = 1;
    if (c[0] == 0xc2 && in.len > 1 && c[1] == 0xa0) { /* no-break space */
        *used = 2;
        out[0] = ' ';
        return 1;
    }
    if (c[0] == 0xe2 && in.len > 2 && c[1] == 0x80 && (c[2] == 0x98 || c[2] == 0x99)) {
        *used = 3;
        out[0] = '\'';
        return 1;
    }
    bool pair = in.len > 1 && (c[1] & 0xc0) == 0x80;
    if (pair && c[0] == 0xc3 && c[1] <= 0x9e && c[1] != 0x97) { /* À … Þ */
        *used = 2;
        out[0] = in.ptr[0];
        out[1] = (char)(c[1] + 0x20);
        return 2;
    }
    if (pair && c[0] == 0xd0 && c[1] >= 0x90 && c[1] <= 0xaf) { /* А … Я */
        *used = 2;
        out[0] = (char)(c[1] < 0xa0 ? 0xd0 : 0xd1);
        out[1] = (char)(c[1] < 0xa0 ? c[1] + 0x20 : c[1] - 0x20);
        return 2;
    }
    out[0] = c[0] <= ' ' ? ' ' : ascii_lower_byte(in.ptr[0]);
    return 1;
}

struct slice words_plain(struct arena *arena, struct slice text)
{
    char *out = arena_try_alloc(arena, text.len + 1);
    size_t len = 0;
    if (out == NULL) {
        return SLICE("");
    }
    while (text.len > 0) {
        size_t used = 0;
        size_t n = put_plain(out + len, text, &used);
        bool second = out[len] == ' ' && (len == 0 || out[len - 1] == ' ');
        len += second ? 0 : n;
        text = slice_skip(text, used);
    }
    out[len] = '\0';
    return slice_of(out, len);
}
