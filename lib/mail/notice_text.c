/*
 * Notices: the text that stands for a recipient, and the reply inside of it. See notice.c.
 */
#include "mail/notice_private.h"

#include "mail/header.h"
#include "mail/status.h"
#include "mail/words.h"

bool notice_is_blank(struct slice text)
{
    while (text.len > 0 && (notice_is_rule_byte(text.ptr[0]) || text.ptr[0] == ' ')) {
        text = slice_skip(text, 1);
    }
    return text.len == 0;
}

bool notice_is_reply(struct slice text)
{
    return status_find_code(text, NULL) >= 400 || status_find_enhanced(text).len > 0;
}

void notice_builder_add(struct notice_builder *builder, struct slice text)
{
    if (builder->len > 0 && builder->len < RETURNED_TEXT_MAX) {
        builder->out[builder->len++] = '\n';
    }
    size_t room = RETURNED_TEXT_MAX - builder->len;
    size_t n = text.len < room ? text.len : room;
    if (n > 0 && text.ptr != NULL) {
        memcpy(builder->out + builder->len, text.ptr, n);
    }
    builder->len += n;
    builder->out[builder->len] = '\0';
}

struct slice notice_builder_text(const struct notice_builder *builder)
{
    return slice_of(builder->out, builder->len);
}

/* True if a reply code stands in the lines from..to that is one for sure: at the front of a line or
 * behind a colon. */
static bool has_reply(const struct notice_lines *lines, size_t from, size_t to)
{
    for (size_t i = from; i < to && i < from + 60; i++) {
        if (notice_is_reply(lines->items[i].text)) {
            return true;
        }
    }
    return false;
}

/* The front of a line in lower case, in the buffer. */
static struct slice lower_front(struct slice text, char copy[static LINE_FRONT])
{
    text = slice_head(text, LINE_FRONT);
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    ascii_lower(copy, text.len);
    return slice_of(copy, text.len);
}

static bool line_has(enum words_set set, struct slice text)
{
    char copy[LINE_FRONT];
    return words_in(set, lower_front(text, copy));
}

bool notice_is_expansion(struct slice text)
{
    char copy[LINE_FRONT];
    return notice_is_expansion_lower(lower_front(text, copy));
}

/* "Subject: …" of the message that came back. */
static bool is_quoted_field(struct slice text)
{
    char copy[LINE_FRONT];
    return words_begin(WORDS_QUOTED_FIELD, lower_front(text, copy));
}

static bool is_boilerplate(struct slice text)
{
    return line_has(WORDS_BOILERPLATE, text) || is_quoted_field(text);
}

/* "Technical details of permanent failure:", which is no part of what it announces. */
static bool is_label(struct slice text)
{
    return text.len > 0 && text.ptr[text.len - 1] == ':' && line_has(WORDS_LABEL, text);
}

/* What the recipient's own line says besides the address. */
static struct slice own_text(const struct notice_line *line)
{
    size_t at = (size_t)(line->address.ptr - line->text.ptr);
    struct slice before = notice_strip_back(notice_strip_front(slice_head(line->text, at)));
    struct slice after = slice_skip(line->text, at + line->address.len);
    if (slice_starts_with(after, SLICE("> (expanded from "))) {
        ptrdiff_t close = slice_find_byte(after, ')');
        after = slice_skip(after, close < 0 ? 0 : (size_t)close);
    }
    while (after.ptr != NULL && after.len > 0 && strchr(">\"')]: \t", after.ptr[0]) != NULL) {
        after = slice_skip(after, 1);
    }
    if (before.len > 0) {
        return status_is_telling(before) || status_find_code(before, NULL) >= 400 ? line->text
                                                                                  : after;
    }
    return after;
}

/*
 * An address that stands in a sentence: the lines of its paragraph in front of it belong to it too
 * ("reject reason: Mailbox full", then "target mail address: …"). Before a line of Sendmail's
 * transcript the server's own words stand: "<<< 550 …".
 */
static void paragraph_before(const struct notice_lines *lines, size_t at,
                             struct notice_builder *builder)
{
    size_t from = at;
    while (from > 0 && at - from < 12 && !notice_is_blank(lines->items[from - 1].text) &&
           !lines->items[from - 1].taken) {
        from--;
    }
    for (size_t i = from; i < at; i++) {
        struct slice text = lines->items[i].text;
        if (slice_starts_with(text, SLICE("<<<"))) {
            text = slice_trim(slice_skip(text, 3));
        } else if (lines->items[at].strength < NAMED || is_boilerplate(text)) {
            continue;
        }
        notice_builder_add(builder, text);
    }
}

/* True if nothing more is needed at a blank line: what was found says why, and promises nothing
 * ("because:"). */
static bool is_enough(struct slice text, bool more_replies)
{
    if (!status_is_telling(text) || text.ptr[text.len - 1] == ':') {
        return false;
    }
    return notice_is_reply(text) || !more_replies;
}

/* Text behind the recipient in line `at`, up to line `end`. */
static void text_behind(const struct notice_lines *lines, size_t at, size_t end,
                        struct notice_builder *builder)
{
    struct slice own = own_text(&lines->items[at]);
    bool sentence = lines->items[at].strength <= NAMED && lines->items[at].taken;
    if (sentence) {
        paragraph_before(lines, at, builder);
    }
    size_t before = builder->len;
    if (own.len > 0 && (status_is_telling(own) || notice_is_reply(own))) { /* no bare date */
        notice_builder_add(builder, own);
    }
    /* "There was an error delivering your mail to <user@example.org>." says nothing yet: one
     * paragraph more. */
    unsigned paragraphs = sentence && before == 0 && !notice_is_reply(own) ? 1 : 0;
    for (size_t i = at + 1; i < end; i++) {
        struct slice text = lines->items[i].text;
        bool first = notice_is_blank(lines->items[i - 1].text);
        if (!notice_is_blank(text)) {
            if (notice_is_expansion(text) || is_label(text) || is_quoted_field(text)) {
                continue;
            }
            if (first && line_has(WORDS_FOOTER, text) && !notice_is_reply(text) &&
                !has_reply(lines, i, end)) {
                return;
            }
            notice_builder_add(builder, text);
        } else if (is_enough(notice_builder_text(builder), has_reply(lines, i, end))) {
            if (paragraphs == 0) {
                return;
            }
            paragraphs -= i + 1 < end && !notice_is_blank(lines->items[i + 1].text);
        }
    }
}

/* Text in front of line `at`: the nearest lines that are no boilerplate. */
void notice_text_before(const struct notice_lines *lines, size_t at, struct notice_builder *builder)
{
    size_t from = at > 40 ? at - 40 : 0;
    for (size_t i = from; i < at; i++) {
        struct slice text = lines->items[i].text;
        if (!notice_is_blank(text) && !lines->items[i].taken && !is_boilerplate(text)) {
            notice_builder_add(builder, text);
        }
    }
}

struct slice notice_essence(struct arena *arena, struct slice notice, bool phrases)
{
    struct notice_builder builder;
    builder.len = 0;
    builder.out[0] = '\0';
    struct slice rest = slice_head(notice, ESSENCE_LOOK);
    struct slice line = SLICE_NULL;
    while (builder.len < RETURNED_TEXT_MAX && mail_line_next(&rest, &line)) {
        if (slice_eq(line, SLICE("-- "))) {
            break; /* behind it stands who wrote it, and what scanned it */
        }
        line = slice_trim(line);
        if (!notice_is_blank(line) && !is_quoted_field(line) &&
            (phrases || !line_has(WORDS_BOILERPLATE, line))) {
            notice_builder_add(&builder, line);
        }
    }
    struct slice text = notice_builder_text(&builder);
    return status_is_telling(text) ? arena_copy(arena, text) : notice;
}

/* "Received >>> 550 5.1.1 unknown user." some lines before "Unable to deliver message to
 * <user@example.org>". */
static void reply_before(const struct notice_lines *lines, size_t at,
                         struct notice_builder *builder)
{
    for (size_t i = at; i > 0 && at - i < 8 && !lines->items[i - 1].taken; i--) {
        struct slice text = lines->items[i - 1].text;
        if (status_find_code(text, NULL) >= 400) {
            notice_builder_add(builder, text);
            return;
        }
    }
}

struct slice notice_text_of(struct arena *arena, const struct notice_lines *lines, size_t at,
                            size_t end)
{
    struct notice_builder builder;
    builder.len = 0;
    builder.out[0] = '\0';
    text_behind(lines, at, end, &builder);
    if ((lines->items[at].strength == NAMED || lines->items[at].strength == COMMAND) &&
        !notice_is_reply(notice_builder_text(&builder))) {
        reply_before(lines, at, &builder);
    }
    if (!status_is_telling(notice_builder_text(&builder)) && end < lines->count) {
        /* Addresses in a list, one text for all of them behind it. */
        size_t last = end;
        while (last + 1 < lines->count &&
               (lines->items[last].taken || notice_is_blank(lines->items[last].text))) {
            last++;
        }
        if (last > end) {
            /* Bounded, for each recipient of a long list comes here. */
            size_t behind = lines->count - last > SHARED_LINES ? last + SHARED_LINES : lines->count;
            text_behind(lines, last - 1, behind, &builder);
        }
    }
    if (!status_is_telling(notice_builder_text(&builder))) {
        notice_text_before(lines, at, &builder);
    }
    return arena_copy(arena, notice_builder_text(&builder));
}

/* Where the text of the recipient in line `at` ends: at the next recipient's line. */
size_t notice_block_end(const struct notice_lines *lines, size_t at)
{
    size_t end = at + 1;
    while (end < lines->count && !lines->items[end].taken) {
        end++;
    }
    if (end == lines->count) {
        return end;
    }
    /* "The following recipients did not receive your message:" belongs to those that follow. */
    size_t back = end;
    while (back > at + 1 && notice_is_blank(lines->items[back - 1].text)) {
        back--;
    }
    struct slice last = lines->items[back - 1].text;
    return back > at + 1 && last.ptr[last.len - 1] == ':' ? back - 1 : end;
}

struct slice notice_whole_reply(struct arena *arena, struct slice notice, struct slice text)
{
    size_t at = 0;
    uint16_t code = status_find_code(text, &at);
    if (code == 0 || at != 0 || text.len <= 4 || text.ptr[3] != '-') {
        return text;
    }
    ptrdiff_t found = -1;
    for (size_t from = 0; found < 0;) {
        ptrdiff_t next = slice_find(slice_skip(notice, from), text);
        if (next < 0) {
            return text;
        }
        size_t here = from + (size_t)next;
        found = here >= 4 && memcmp(notice.ptr + here - 4, "<<< ", 4) == 0 ? (ptrdiff_t)here : -1;
        from = here + text.len;
    }
    struct notice_builder builder;
    builder.len = 0;
    struct slice rest = slice_skip(notice, (size_t)found);
    struct slice line = SLICE_NULL;
    while (mail_line_next(&rest, &line)) {
        line = slice_trim(line);
        if (slice_starts_with(line, SLICE("<<<"))) {
            line = slice_trim(slice_skip(line, 3));
        }
        if (status_find_code(slice_head(line, 4), NULL) != code) {
            break;
        }
        notice_builder_add(&builder, line);
    }
    return arena_copy(arena, notice_builder_text(&builder));
}

/* True if the line cannot belong to the reply in front of it. */
static bool ends_reply(struct slice line, uint16_t code)
{
    if (line.len == 0 || slice_starts_with(line, SLICE(">>>")) ||
        slice_starts_with(line, SLICE("<<<")) || slice_starts_with(line, SLICE("...")) ||
        slice_starts_with_nocase(line, SLICE("Giving up on")) || notice_is_blank(line)) {
        return true;
    }
    /* Transcripts with the time in front of each line (MDaemon), and what ends them. */
    if (slice_find(line, SLICE(": --> ")) >= 0 || slice_find(line, SLICE(": <-- ")) >= 0 ||
        slice_starts_with(line, SLICE("--- "))) {
        return true;
    }
    size_t at = 0;
    uint16_t other = status_find_code(line, &at);
    return other != 0 && at == 0 && other != code;
}

struct slice notice_reply(struct arena *arena, struct slice text)
{
    struct slice rest = text;
    struct slice line = SLICE_NULL;
    size_t at = 0;
    uint16_t code = 0;
    while (code < 400 && mail_line_next(&rest, &line)) {
        code = status_find_code(line, &at);
    }
    struct notice_builder builder;
    builder.len = 0;
    if (code < 400) {
        return text;
    }
    /* Sendmail's last line after a local mailer failed; why stands in front of it. */
    struct slice said = slice_trim(line);
    bool empty = slice_ends_with_nocase(said, SLICE("... Service unavailable")) ||
                 slice_ends_with_nocase(said, SLICE("Remote protocol error"));
    if (empty && status_is_telling(slice_head(text, (size_t)(line.ptr - text.ptr)))) {
        return text;
    }
    /* "(reason: 550 …)" ends at its parenthesis. */
    struct slice first = slice_trim(slice_skip(line, at));
    bool reason = slice_starts_with_nocase(slice_trim(line), SLICE("(reason:"));
    if (reason && first.len > 0 && first.ptr[first.len - 1] == ')') {
        first.len--;
        notice_builder_add(&builder, first);
        return arena_copy(arena, notice_builder_text(&builder));
    }
    notice_builder_add(&builder, first);
    while (mail_line_next(&rest, &line)) {
        line = slice_trim(line);
        if (ends_reply(line, code)) {
            break;
        }
        notice_builder_add(&builder, line);
    }
    return arena_copy(arena, notice_builder_text(&builder));
}
