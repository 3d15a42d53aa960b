/*
 * Notices: where they end, and their lines, each judged by the place in which an address stands.
 * See notice.c.
 */
#include "mail/notice_private.h"

#include "mail/address.h"
#include "mail/header.h"
#include "mail/status.h"
#include "mail/words.h"

bool notice_is_rule_byte(char c)
{
    return c == '-' || c == '=' || c == '*' || c == '|' || c == '_' || c == '#' || c == '<' ||
           c == '>' || c == '~';
}

/* "--- Below this line is a copy of the message.", "Original message follows." */
static bool is_separator(struct slice line)
{
    struct slice text = slice_trim(line);
    if (text.len < 8 || text.len > 160) {
        return false;
    }
    char copy[161];
    memcpy(copy, text.ptr, text.len);
    ascii_lower(copy, text.len);
    struct slice lower = slice_of(copy, text.len);
    bool ruled = notice_is_rule_byte(text.ptr[0]) && notice_is_rule_byte(text.ptr[1]);
    struct slice end = lower;
    while (end.len > 0 && strchr(".:-=*# ", end.ptr[end.len - 1]) != NULL) {
        end.len--;
    }
    bool follows = slice_ends_with_nocase(end, SLICE("follow")) ||
                   slice_ends_with_nocase(end, SLICE("follows")) ||
                   slice_ends_with_nocase(end, SLICE("headers")) ||
                   slice_starts_with(lower, SLICE("below ")) ||
                   slice_starts_with(lower, SLICE("included is")) ||
                   slice_starts_with(lower, SLICE("here is a copy"));
    bool colon = lower.ptr[lower.len - 1] == ':';
    return (ruled || follows || colon) && words_in(WORDS_SEPARATOR, lower);
}

/* Names of fields by how surely they begin a message: traces by themselves, the others only
 * together. */
static unsigned header_weight(struct slice name)
{
    static const char *const TRACES[] = {"Received", "Return-Path", "Message-ID", "DKIM-Signature",
                                         "X-Received"};
    static const char *const OTHERS[] = {"From",     "To",           "Date",
                                         "Subject",  "MIME-Version", "Reply-To",
                                         "X-Mailer", "User-Agent",   "Content-Type"};
    for (size_t i = 0; i < sizeof(TRACES) / sizeof(TRACES[0]); i++) {
        if (slice_eq_nocase(name, slice_cstr(TRACES[i]))) {
            return 3;
        }
    }
    for (size_t i = 0; i < sizeof(OTHERS) / sizeof(OTHERS[0]); i++) {
        if (slice_eq_nocase(name, slice_cstr(OTHERS[i]))) {
            return i == 0 ? 2 : 1;
        }
    }
    return slice_starts_with_nocase(name, SLICE("X-")) ||
                   slice_starts_with_nocase(name, SLICE("ARC-"))
               ? 1
               : 0;
}

/* True if a block of header fields begins with this line. */
static bool begins_header(struct slice line, struct slice rest)
{
    struct slice name = SLICE_NULL;
    if (!mail_line_is_field(line, &name) || header_weight(name) == 0) {
        return false;
    }
    unsigned weight = header_weight(name);
    bool sure = weight >= 2;
    for (int i = 0; i < 60 && mail_line_next(&rest, &line) && line.len > 0; i++) {
        if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
            continue;
        }
        if (!mail_line_is_field(line, &name)) {
            break;
        }
        unsigned more = header_weight(name);
        weight += more;
        sure = sure || more >= 2;
    }
    return sure && weight >= 5;
}

void notice_split(struct slice text, struct slice *notice, struct slice *returned)
{
    struct slice rest = text;
    struct slice line = SLICE_NULL;
    bool something = false;
    bool in_block = false;
    while (rest.len > 0) {
        const char *start = rest.ptr;
        if (!mail_line_next(&rest, &line)) {
            break;
        }
        bool cut = something && is_separator(line);
        /* Asked at the first field of a block only: a block of a million fields is looked at once.
         */
        struct slice name = SLICE_NULL;
        bool folded = line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t');
        bool field = mail_line_is_field(line, &name) && header_weight(name) > 0;
        if (!cut && field && !in_block && begins_header(line, rest)) {
            cut = true;
            rest = slice_of(start, (size_t)(rest.ptr + rest.len - start));
        }
        if (cut) {
            *notice = slice_of(text.ptr, (size_t)(start - text.ptr));
            *returned = rest;
            return;
        }
        something = something || line.len > 0;
        in_block = field || (folded && in_block);
    }
    *notice = text;
    *returned = SLICE_NULL;
}

/* Without brackets, bullets and quotation marks at its front. */
struct slice notice_strip_front(struct slice s)
{
    CHECK(s.ptr != NULL || s.len == 0);
    while (s.len > 0 && strchr(" \t<>*-\"'|[(•·:`", s.ptr[0]) != NULL) {
        s = slice_skip(s, 1);
    }
    return s;
}

struct slice notice_strip_back(struct slice s)
{
    while (s.len > 0 && strchr(" \t<>\"'[(*`", s.ptr[s.len - 1]) != NULL) {
        s.len--;
    }
    return s;
}

static bool is_role_account(struct slice address)
{
    static const char *const NAMES[] = {"postmaster", "mailer-daemon", "abuse",        "support",
                                        "helpdesk",   "help",          "noreply",      "no-reply",
                                        "hostmaster", "admin",         "administrator"};
    struct slice local = mail_address_local(address);
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (slice_eq_nocase(local, slice_cstr(NAMES[i]))) {
            return true;
        }
    }
    return false;
}

/* "To:" of a field that a notice quotes, in its language. */
static bool is_to_field(struct slice before)
{
    static const char *const NAMES[] = {"to",   "an",   "à",      "a",      "para",    "pour",
                                        "aan",  "do",   "till",   "til",    "komu",    "кому",
                                        "Кому", "宛先", "收件人", "收件者", "받는사람"};
    bool colon = before.len > 0 && before.ptr[before.len - 1] == ':';
    struct slice name = slice_trim(slice_head(before, before.len - (colon ? 1 : 0)));
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (slice_eq(name, slice_cstr(NAMES[i]))) {
            return colon || i == 0;
        }
    }
    return false;
}

/* How surely the address is a recipient, by what stands before and behind it on its line (`before`
 * in lower case). */
static unsigned place_of(struct slice before, struct slice after, bool wide)
{
    before = notice_strip_back(notice_strip_front(before));
    if (before.len == 0) {
        struct slice behind = after;
        while (behind.len > 0 && strchr(">\"'])`", behind.ptr[0]) != NULL) {
            behind = slice_skip(behind, 1);
        }
        behind = slice_trim(behind);
        if (behind.len == 0 || (behind.len <= 3 && !status_is_telling(behind))) {
            return ALONE;
        }
        bool marked = strchr(":.,;(<", behind.ptr[0]) != NULL ||
                      slice_starts_with_nocase(behind, SLICE("on ")) ||
                      slice_starts_with_nocase(behind, SLICE("error"));
        return marked ? IN_FRONT : NAMED;
    }
    if (words_in(WORDS_NOT_RECIPIENT, before)) {
        return 0;
    }
    if (slice_find(before, SLICE("rcpt to")) >= 0) {
        return COMMAND;
    }
    size_t at = 0;
    struct slice reply =
        slice_starts_with(before, SLICE("<<<")) ? slice_trim(slice_skip(before, 3)) : before;
    if (status_find_code(reply, &at) >= 400 && at < 4) {
        return IN_REPLY;
    }
    if (is_to_field(before)) {
        return IN_REPLY - 1;
    }
    return words_in(WORDS_RECIPIENT, before) || wide ? NAMED : ELSEWHERE;
}

/* True if the line speaks of the sender and the address is expected on the next: "A message sent
 * by". */
static bool introduces_sender(struct slice lower)
{
    return slice_ends_with_nocase(lower, SLICE("sent by")) ||
           slice_ends_with_nocase(lower, SLICE("from:")) ||
           slice_ends_with_nocase(lower, SLICE("contact:")) ||
           slice_ends_with_nocase(lower, SLICE("sender:")) ||
           slice_ends_with_nocase(lower, SLICE("sent from")) ||
           slice_ends_with_nocase(lower, SLICE("return-path:")) ||
           slice_ends_with_nocase(lower, SLICE("contact"));
}

static bool is_other_party(const struct notice_context *context, struct slice address)
{
    return mail_address_eq(address, context->reporter) ||
           mail_address_eq(address, context->sender) || mail_address_eq(address, context->envelope);
}

/* "(expanded from: <user@example.org>)" of Sendmail, "(ultimately generated from user@…)" of Exim;
 * Postfix has the address that failed in front of it on the same line.
 */
bool notice_is_expansion_lower(struct slice lower)
{
    ptrdiff_t at = slice_find(lower, SLICE("expanded from"));
    if (at < 0) {
        at = slice_find(lower, SLICE("generated from"));
    }
    return at >= 0 && slice_find_byte(slice_head(lower, (size_t)at), '@') < 0;
}

/* "an undisclosed address" of Exim, or a program: the address that it was made of failed. */
static void judge_expansion(struct notice_line *line, struct slice lower_before)
{
    struct slice address = mail_address_first(line->text);
    if (address.len > 0 && slice_find_byte(lower_before, '@') < 0) {
        line->address = address;
        line->strength = NAMED;
    }
}

/* Judges the addresses of one line; the strongest is the line's. `lower` is the same bytes in lower
 * case. */
static void judge_line(struct notice_line *line, struct slice lower, struct slice lower_before,
                       const struct notice_context *context)
{
    struct slice rest = line->text;
    struct slice address = SLICE_NULL;
    for (int i = 0; i < 4 && mail_address_next(&rest, &address); i++) {
        size_t at = (size_t)(address.ptr - line->text.ptr);
        bool bracketed = at > 0 && line->text.ptr[at - 1] == '<';
        if (slice_find_byte(mail_address_domain(address), '.') < 0 && !bracketed) {
            continue;
        }
        unsigned strength =
            place_of(slice_head(lower, at), rest, words_in(WORDS_RECIPIENT, lower_before));
        if (strength < IN_FRONT && is_other_party(context, address)) {
            strength = 0;
        }
        bool weak = strength == ELSEWHERE;
        if ((strength >= NAMED || weak) && is_role_account(address) &&
            !mail_address_eq(address, context->failed)) {
            strength = ELSEWHERE - 1;
        }
        if (strength >= NAMED && introduces_sender(lower_before)) {
            strength = 0;
        }
        if (strength > line->strength) {
            line->strength = strength;
            line->address = address;
        }
    }
}

struct notice_lines notice_lines_read(struct arena *arena, struct slice notice,
                                      const struct notice_context *context)
{
    struct notice_lines lines = {0};
    size_t count = 1;
    for (size_t i = 0; i < notice.len && count < LINES_MAX; i++) {
        count += notice.ptr[i] == '\n';
    }
    lines.items = arena_try_alloc(arena, count * sizeof(*lines.items));
    struct slice lower = words_lower(arena, notice);
    if (lines.items == NULL || lower.len != notice.len) {
        return lines;
    }
    struct slice rest = notice;
    struct slice text = SLICE_NULL;
    struct slice before = SLICE("");
    while (lines.count < count && mail_line_next(&rest, &text)) {
        struct notice_line *line = &lines.items[lines.count++];
        *line = (struct notice_line){.text = slice_head(slice_trim(text), LINE_MAX_BYTES)};
        struct slice low = slice_of(
            lower.ptr + (line->text.len == 0 ? 0 : line->text.ptr - notice.ptr), line->text.len);
        if (slice_find_byte(line->text, '@') >= 0) {
            if (notice_is_expansion_lower(low)) {
                judge_expansion(line, before);
            } else {
                judge_line(line, low, before, context);
            }
        }
        before = low.len > 0 ? low : before;
    }
    return lines;
}
