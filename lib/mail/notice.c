/*
 * Notices in running text.
 *
 * No table of systems: what they have in common carries further. A notice ends where the returned
 * message begins (a line that says so, or a block of header fields). In front of it every line with
 * an address is judged by where the address stands: alone on its line, in front of a colon, behind
 * a word for recipients, inside a reply; and by who it is. The best kind of place that occurs
 * decides: all addresses in such places failed. The text of a recipient runs from its line to the
 * next recipient's, or stands in front of it where nothing follows.
 */
#include "mail/notice.h"

#include "mail/address.h"
#include "mail/header.h"
#include "mail/status.h"
#include "mail/words.h"

enum {
    LINES_MAX = 60000,     /* lines of a notice that are looked at */
    LINE_MAX_BYTES = 2000, /* bytes of a line that are looked at */
    ALONE = 10,            /* strengths of the places where an address stands */
    IN_FRONT = 9,
    NAMED = 6,
    COMMAND = 5,
    IN_REPLY = 4,
    ELSEWHERE = 2,
};

struct notice_line {
    struct slice text;    /* trimmed */
    struct slice address; /* the first that may be a recipient */
    unsigned strength;
    bool taken; /* the line of a recipient */
};

struct notice_lines {
    struct notice_line *items;
    size_t count;
};

static bool is_rule_byte(char c)
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
    bool ruled = is_rule_byte(text.ptr[0]) && is_rule_byte(text.ptr[1]);
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
static struct slice strip_front(struct slice s)
{
    while (s.len > 0 && strchr(" \t<>*-\"'|[(•·:`", s.ptr[0]) != NULL) {
        s = slice_skip(s, 1);
    }
    return s;
}

static struct slice strip_back(struct slice s)
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

/* How surely the address is a recipient, by what stands before and behind it on its line (`before`
 * in lower case). */
static unsigned place_of(struct slice before, struct slice after, bool wide)
{
    before = strip_back(strip_front(before));
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
    if (slice_eq(before, SLICE("to:")) || slice_eq(before, SLICE("to"))) {
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

/* "(expanded from: <user@example.org>)" of Sendmail, "(ultimately generated from user@…)" of Exim.
 */
static bool is_expansion(struct slice lower)
{
    return slice_find(lower, SLICE("expanded from")) >= 0 ||
           slice_find(lower, SLICE("generated from")) >= 0;
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
        if (strength >= NAMED && is_role_account(address) &&
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

static struct notice_lines read_lines(struct arena *arena, struct slice notice,
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
        if (!is_expansion(low) && slice_find_byte(line->text, '@') >= 0) {
            judge_line(line, low, before, context);
        }
        before = low.len > 0 ? low : before;
    }
    return lines;
}

static bool is_blank_line(struct slice text)
{
    while (text.len > 0 && (is_rule_byte(text.ptr[0]) || text.ptr[0] == ' ')) {
        text = slice_skip(text, 1);
    }
    return text.len == 0;
}

static bool is_reply(struct slice text)
{
    return status_find_code(text, NULL) >= 400 || status_find_enhanced(text).len > 0;
}

/* A text is put together on the stack and copied to its size: lists of thousands must not take 4 KB
 * each. */
struct builder {
    size_t len;
    char out[RETURNED_TEXT_MAX + 1];
};

static void builder_add(struct builder *builder, struct slice text)
{
    if (builder->len > 0 && builder->len < RETURNED_TEXT_MAX) {
        builder->out[builder->len++] = '\n';
    }
    size_t room = RETURNED_TEXT_MAX - builder->len;
    size_t n = text.len < room ? text.len : room;
    if (n > 0) {
        memcpy(builder->out + builder->len, text.ptr, n);
    }
    builder->len += n;
    builder->out[builder->len] = '\0';
}

static struct slice builder_text(const struct builder *builder)
{
    return slice_of(builder->out, builder->len);
}

/* True if a reply code stands in the lines from..to that is one for sure: at the front of a line or
 * behind a colon. */
static bool has_reply(const struct notice_lines *lines, size_t from, size_t to)
{
    for (size_t i = from; i < to && i < from + 60; i++) {
        if (is_reply(lines->items[i].text)) {
            return true;
        }
    }
    return false;
}

static bool line_has(enum words_set set, struct slice text)
{
    char copy[200];
    text = slice_head(text, sizeof(copy));
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    ascii_lower(copy, text.len);
    return words_in(set, slice_of(copy, text.len));
}

static bool line_is_expansion(struct slice text)
{
    char copy[200];
    text = slice_head(text, sizeof(copy));
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    ascii_lower(copy, text.len);
    return is_expansion(slice_of(copy, text.len));
}

static bool is_boilerplate(struct slice text)
{
    return line_has(WORDS_BOILERPLATE, text);
}

/* What the recipient's own line says besides the address. */
static struct slice own_text(const struct notice_line *line)
{
    size_t at = (size_t)(line->address.ptr - line->text.ptr);
    struct slice before = strip_back(strip_front(slice_head(line->text, at)));
    struct slice after = slice_skip(line->text, at + line->address.len);
    while (after.len > 0 && strchr(">\"')]: \t", after.ptr[0]) != NULL) {
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
static void paragraph_before(const struct notice_lines *lines, size_t at, struct builder *builder)
{
    size_t from = at;
    while (from > 0 && at - from < 12 && !is_blank_line(lines->items[from - 1].text) &&
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
        builder_add(builder, text);
    }
}

/* True if nothing more is needed at a blank line: what was found says why, and promises nothing
 * ("because:"). */
static bool is_enough(struct slice text, bool more_replies)
{
    if (!status_is_telling(text) || text.ptr[text.len - 1] == ':') {
        return false;
    }
    return is_reply(text) || !more_replies;
}

/* Text behind the recipient in line `at`, up to line `end`. */
static void text_behind(const struct notice_lines *lines, size_t at, size_t end,
                        struct builder *builder)
{
    struct slice own = own_text(&lines->items[at]);
    bool sentence = lines->items[at].strength <= NAMED && lines->items[at].taken;
    if (sentence) {
        paragraph_before(lines, at, builder);
    }
    size_t before = builder->len;
    if (own.len > 0) {
        builder_add(builder, own);
    }
    /* "There was an error delivering your mail to <user@example.org>." says nothing yet: one
     * paragraph more. */
    unsigned paragraphs = sentence && before == 0 && !is_reply(own) ? 1 : 0;
    for (size_t i = at + 1; i < end; i++) {
        struct slice text = lines->items[i].text;
        bool first = is_blank_line(lines->items[i - 1].text);
        if (!is_blank_line(text)) {
            if (line_is_expansion(text)) {
                continue;
            }
            if (first && line_has(WORDS_FOOTER, text) && !is_reply(text) &&
                !has_reply(lines, i, end)) {
                return;
            }
            builder_add(builder, text);
        } else if (is_enough(builder_text(builder), has_reply(lines, i, end))) {
            if (paragraphs == 0) {
                return;
            }
            paragraphs -= i + 1 < end && !is_blank_line(lines->items[i + 1].text);
        }
    }
}

/* Text in front of line `at`: the nearest lines that are no boilerplate. */
static void text_before(const struct notice_lines *lines, size_t at, struct builder *builder)
{
    size_t from = at > 40 ? at - 40 : 0;
    for (size_t i = from; i < at; i++) {
        struct slice text = lines->items[i].text;
        if (!is_blank_line(text) && !lines->items[i].taken && !is_boilerplate(text)) {
            builder_add(builder, text);
        }
    }
}

/* "Received >>> 550 5.1.1 unknown user." some lines before "Unable to deliver message to
 * <user@example.org>". */
static void reply_before(const struct notice_lines *lines, size_t at, struct builder *builder)
{
    for (size_t i = at; i > 0 && at - i < 8 && !lines->items[i - 1].taken; i--) {
        struct slice text = lines->items[i - 1].text;
        if (status_find_code(text, NULL) >= 400) {
            builder_add(builder, text);
            return;
        }
    }
}

static struct slice text_of(struct arena *arena, const struct notice_lines *lines, size_t at,
                            size_t end)
{
    struct builder builder;
    builder.len = 0;
    builder.out[0] = '\0';
    text_behind(lines, at, end, &builder);
    if (lines->items[at].strength == NAMED && !is_reply(builder_text(&builder))) {
        reply_before(lines, at, &builder);
    }
    if (!status_is_telling(builder_text(&builder)) && end < lines->count) {
        /* Addresses in a list, one text for all of them behind it. */
        size_t last = end;
        while (last + 1 < lines->count &&
               (lines->items[last].taken || is_blank_line(lines->items[last].text))) {
            last++;
        }
        if (last > end) {
            text_behind(lines, last - 1, lines->count, &builder);
        }
    }
    if (!status_is_telling(builder_text(&builder))) {
        text_before(lines, at, &builder);
    }
    return arena_copy(arena, builder_text(&builder));
}

/* Where the text of the recipient in line `at` ends: at the next recipient's line. */
static size_t block_end(const struct notice_lines *lines, size_t at)
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
    while (back > at + 1 && is_blank_line(lines->items[back - 1].text)) {
        back--;
    }
    struct slice last = lines->items[back - 1].text;
    return back > at + 1 && last.ptr[last.len - 1] == ':' ? back - 1 : end;
}

static void set_expansion(const struct notice_lines *lines, size_t at, size_t end,
                          struct returned_recipient *recipient)
{
    for (size_t i = at + 1; i < end && i < at + 4; i++) {
        if (line_is_expansion(lines->items[i].text)) {
            recipient->original = mail_address_first(lines->items[i].text);
            return;
        }
    }
}

/* "ann@example.org, bob@example.org: unknown": the addresses behind the first, with nothing but
 * separators between. */
static void add_same_line(const struct notice_line *line, struct recipient_list *list)
{
    const char *end = line->text.ptr + line->text.len;
    const char *from = line->address.ptr + line->address.len;
    struct slice rest = slice_of(from, (size_t)(end - from));
    struct slice address = SLICE_NULL;
    while (mail_address_next(&rest, &address)) {
        for (; from < address.ptr; from++) {
            if (strchr(" \t,;<>'\"", *from) == NULL) {
                return;
            }
        }
        from = address.ptr + address.len;
        size_t first = list->count - 1;
        struct returned_recipient *recipient =
            recipient_list_find(list, address) == NULL ? recipient_list_add(list) : NULL;
        if (recipient != NULL) {
            *recipient = list->items[first];
            recipient->address = address;
        }
    }
}

static void add_recipient(struct notice_lines *lines, size_t at, struct recipient_list *list)
{
    struct returned_recipient *recipient = recipient_list_add(list);
    if (recipient == NULL) {
        return;
    }
    size_t end = block_end(lines, at);
    recipient->address = lines->items[at].address;
    set_expansion(lines, at, end, recipient);
    recipient->notice = text_of(list->arena, lines, at, end);
    recipient->text = notice_reply(list->arena, recipient->notice);
    status_read_text(recipient);
    if (recipient->remote_mta.len == 0) {
        recipient->remote_mta = status_find_host(recipient->notice);
    }
    if (recipient->phase == RETURNED_PHASE_UNKNOWN) {
        recipient->phase = status_find_phase(recipient->notice);
    }
    if (lines->items[at].strength >= NAMED) {
        add_same_line(&lines->items[at], list);
    }
}

/* True if an earlier line that is taken has the same address; a bounded look back keeps long lists
 * linear. */
static bool taken_before(const struct notice_lines *lines, size_t at)
{
    size_t from = at > 200 ? at - 200 : 0;
    for (size_t i = from; i < at; i++) {
        if (lines->items[i].taken &&
            mail_address_eq(lines->items[i].address, lines->items[at].address)) {
            return true;
        }
    }
    return false;
}

/* Recipients that X-Failed-Recipients names (Exim writes at most 1024 bytes of them); their texts
 * where the notice names them too. */
static void read_failed(struct notice_lines *lines, struct slice failed,
                        struct recipient_list *list)
{
    struct slice address = SLICE_NULL;
    for (int n = 0; n < RECIPIENT_SEARCH_MAX && mail_address_next(&failed, &address); n++) {
        size_t found = lines->count;
        for (size_t i = 0; i < lines->count; i++) {
            struct notice_line *line = &lines->items[i];
            bool better = found == lines->count || line->strength > lines->items[found].strength;
            if (mail_address_eq(line->address, address) && better) {
                found = i;
            }
        }
        if (found < lines->count) {
            lines->items[found].taken = true;
        } else if (recipient_list_find(list, address) == NULL) {
            struct returned_recipient *recipient = recipient_list_add(list);
            if (recipient != NULL) {
                recipient->address = address;
            }
        }
    }
}

unsigned notice_read(struct slice notice, const struct notice_context *context,
                     struct recipient_list *list)
{
    struct notice_lines lines = read_lines(list->arena, notice, context);
    unsigned best = 0;
    if (context->failed.len > 0) {
        read_failed(&lines, context->failed, list);
        best = ALONE;
    } else {
        for (size_t i = 0; i < lines.count; i++) {
            best = lines.items[i].strength > best ? lines.items[i].strength : best;
        }
        unsigned least = best >= IN_FRONT ? IN_FRONT : best;
        for (size_t i = 0; i < lines.count && best > 1; i++) {
            lines.items[i].taken = lines.items[i].strength >= least && !taken_before(&lines, i);
        }
    }
    for (size_t i = 0; i < lines.count; i++) {
        if (lines.items[i].taken) {
            add_recipient(&lines, i, list);
        }
    }
    return best;
}

struct slice notice_text_for(struct arena *arena, struct slice notice, struct slice address)
{
    struct notice_context context = {0};
    struct notice_lines lines = read_lines(arena, notice, &context);
    size_t found = lines.count;
    for (size_t i = 0; i < lines.count; i++) {
        struct notice_line *line = &lines.items[i];
        line->taken = line->strength >= IN_FRONT;
        if (mail_address_eq(line->address, address) &&
            (found == lines.count || line->strength > lines.items[found].strength)) {
            found = i;
        }
    }
    if (found < lines.count) {
        lines.items[found].taken = true;
        return text_of(arena, &lines, found, block_end(&lines, found));
    }
    struct builder builder;
    builder.len = 0;
    text_before(&lines, lines.count, &builder);
    return arena_copy(arena, builder_text(&builder));
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
    struct builder builder;
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
        builder_add(&builder, line);
    }
    return arena_copy(arena, builder_text(&builder));
}

/* True if the line cannot belong to the reply in front of it. */
static bool ends_reply(struct slice line, uint16_t code)
{
    if (line.len == 0 || slice_starts_with(line, SLICE(">>>")) ||
        slice_starts_with(line, SLICE("<<<")) || slice_starts_with(line, SLICE("...")) ||
        slice_starts_with_nocase(line, SLICE("Giving up on")) || is_blank_line(line)) {
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
    struct builder builder;
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
        builder_add(&builder, first);
        return arena_copy(arena, builder_text(&builder));
    }
    builder_add(&builder, first);
    while (mail_line_next(&rest, &line)) {
        line = slice_trim(line);
        if (ends_reply(line, code)) {
            break;
        }
        builder_add(&builder, line);
    }
    return arena_copy(arena, builder_text(&builder));
}
