/*
 * See status.h. The texts are those of the systems' own documentation and sources: Postfix
 * bounce(8) and smtp(8), Exim's "Bounce and warning messages", qmail-send(8) and qmail-remote(8),
 * Sendmail's transcript, DragonFly's dma(8).
 */
#include "mail/status.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

/* Digits from `at` on, at most `most`. */
static size_t digits(struct slice s, size_t at, size_t most)
{
    size_t n = 0;
    while (at + n < s.len && n < most && is_digit(s.ptr[at + n])) {
        n++;
    }
    return n;
}

/* Length of an enhanced code at `at`, 0 when there is none. */
static size_t enhanced_at(struct slice s, size_t at)
{
    CHECK(s.ptr != NULL);
    char class = s.ptr[at];
    if ((class != '2' && class != '4' && class != '5') || at + 4 >= s.len || s.ptr[at + 1] != '.') {
        return 0;
    }
    size_t subject = digits(s, at + 2, 3);
    size_t dot = at + 2 + subject;
    if (subject == 0 || dot >= s.len || s.ptr[dot] != '.') {
        return 0;
    }
    size_t detail = digits(s, dot + 1, 3);
    size_t end = dot + 1 + detail;
    if (detail == 0 || (end < s.len && is_digit(s.ptr[end])) ||
        (end + 1 < s.len && s.ptr[end] == '.' && is_digit(s.ptr[end + 1]))) {
        return 0;
    }
    return end - at;
}

struct slice status_find_enhanced(struct slice text)
{
    for (size_t i = 0; i + 4 < text.len; i++) {
        bool starts = i == 0 || (!is_digit(text.ptr[i - 1]) && text.ptr[i - 1] != '.' &&
                                 !is_letter(text.ptr[i - 1]));
        size_t len = starts ? enhanced_at(text, i) : 0;
        if (len > 0) {
            return slice_of(text.ptr + i, len);
        }
    }
    return SLICE_NULL;
}

/* True if a reply code may stand behind what ends here: at the front, behind punctuation, a blank
 * or a line end. */
static bool may_start(struct slice text, size_t at)
{
    if (at == 0) {
        return true;
    }
    char c = text.ptr[at - 1];
    if ((unsigned char)c >= 0x80) {
        return true; /* punctuation of other scripts */
    }
    return c == ' ' || c == '\n' || c == '\t' || c == ':' || c == '<' || c == '(' || c == '[' ||
           c == '"' || c == '\'' || c == ';' || c == '>' || c == '#' || c == '=';
}

/* What may not stand behind the three digits for them to be a code. */
static bool may_end(struct slice text, size_t end)
{
    if (end >= text.len) {
        return true;
    }
    char c = text.ptr[end];
    if (c == ' ' || c == '-' || c == '\n' || c == '\t' || c == ':' || c == ')' || c == ']' ||
        c == '>' || c == '"' || c == '\'' || c == ',' || c == ';') {
        return true;
    }
    return c == '.' && (end + 1 >= text.len || !is_digit(text.ptr[end + 1]));
}

/* Words behind which a number counts things. */
static bool counts_something(struct slice text, size_t end)
{
    static const struct slice UNITS[] = {{"bytes", 5},       {"kb", 2},      {"mb", 2},
                                         {"kbytes", 6},      {"seconds", 7}, {"minutes", 7},
                                         {"hours", 5},       {"days", 4},    {"messages", 8},
                                         {"recipients", 10}, {"k ", 2}};
    struct slice after = slice_trim(slice_skip(text, end));
    for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
        if (slice_starts_with_nocase(after, UNITS[i])) {
            return true;
        }
    }
    return false;
}

uint16_t status_find_code(struct slice text, size_t *at)
{
    uint16_t code = 0;
    for (size_t i = 0; i + 2 < text.len; i++) {
        char c = text.ptr[i];
        if ((c != '4' && c != '5' && c != '2') || !is_digit(text.ptr[i + 1]) ||
            !is_digit(text.ptr[i + 2]) || text.ptr[i + 1] > '7' || !may_start(text, i) ||
            !may_end(text, i + 3)) {
            continue;
        }
        /* A reply of success is one only at the very front; elsewhere such numbers are sizes and
         * years. */
        if ((c == '2' && i > 0) ||
            (text.len > i + 4 && text.ptr[i + 3] == ' ' && counts_something(text, i + 3))) {
            continue;
        }
        if (at != NULL) {
            *at = i;
        }
        code = (uint16_t)((c - '0') * 100 + (text.ptr[i + 1] - '0') * 10 + (text.ptr[i + 2] - '0'));
        if (c != '2') {
            break; /* "220-mx.example.org 421 4.2.1 …": the refusal counts */
        }
    }
    return code;
}

bool status_is_telling(struct slice text)
{
    size_t run = 0;
    for (size_t i = 0; i < text.len; i++) {
        run = is_letter(text.ptr[i]) ? run + 1 : 0;
        if (run >= 3) {
            size_t end = i + 1;
            while (end < text.len && (is_letter(text.ptr[end]) || is_digit(text.ptr[end]) ||
                                      strchr(".-_@", text.ptr[end]) != NULL)) {
                end++;
            }
            struct slice word = slice_of(text.ptr + i, end - i);
            if (slice_find_byte(word, '@') < 0) {
                return true;
            }
            i = end;
            run = 0;
        }
    }
    return false;
}

static ptrdiff_t find_nocase(struct slice s, struct slice needle)
{
    char first = needle.ptr[0];
    for (size_t i = 0; s.ptr != NULL && i + needle.len <= s.len; i++) {
        if (ascii_lower_byte(s.ptr[i]) == first &&
            slice_starts_with_nocase(slice_skip(s, i), needle)) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

struct phase_words {
    struct slice words; /* lower case */
    enum returned_phase phase;
};

static const struct phase_words PHASES[] = {
    {{"reply to end of data", 20}, RETURNED_PHASE_DATA},
    {{"reply to rcpt to", 16}, RETURNED_PHASE_RCPT},
    {{"reply to mail from", 18}, RETURNED_PHASE_MAIL},
    {{"reply to data", 13}, RETURNED_PHASE_DATA},
    {{"reply to helo", 13}, RETURNED_PHASE_HELO},
    {{"reply to ehlo", 13}, RETURNED_PHASE_HELO},
    {{"while receiving the initial", 27}, RETURNED_PHASE_CONNECT},
    {{"refused to talk to me", 21}, RETURNED_PHASE_CONNECT},
    {{"but greeting failed", 19}, RETURNED_PHASE_CONNECT},
    {{"while performing the helo", 25}, RETURNED_PHASE_HELO},
    {{"after end of data", 17}, RETURNED_PHASE_DATA},
    {{"after rcpt to", 13}, RETURNED_PHASE_RCPT},
    {{"after mail from", 15}, RETURNED_PHASE_MAIL},
    {{"after initial connection", 24}, RETURNED_PHASE_CONNECT},
    {{"after pipelined data", 20}, RETURNED_PHASE_DATA},
    {{"after data", 10}, RETURNED_PHASE_DATA},
    {{"after ehlo", 10}, RETURNED_PHASE_HELO},
    {{"after helo", 10}, RETURNED_PHASE_HELO},
    {{"after i sent the message", 24}, RETURNED_PHASE_DATA},
    {{"does not like recipient", 23}, RETURNED_PHASE_RCPT},
    {{"did not like our rcpt to", 24}, RETURNED_PHASE_RCPT},
    {{"did not like our mail from", 26}, RETURNED_PHASE_MAIL},
    {{"did not like our data", 21}, RETURNED_PHASE_DATA},
    {{"did not like our final data", 27}, RETURNED_PHASE_DATA},
    {{"[rcpt_to]", 9}, RETURNED_PHASE_RCPT},
    {{"[mail_from]", 11}, RETURNED_PHASE_MAIL},
};

enum returned_phase status_find_phase(struct slice text)
{
    text = slice_head(text, RETURNED_TEXT_MAX);
    for (size_t i = 0; i < sizeof(PHASES) / sizeof(PHASES[0]); i++) {
        if (find_nocase(text, PHASES[i].words) >= 0) {
            return PHASES[i].phase;
        }
    }
    return RETURNED_PHASE_UNKNOWN;
}

/* The host name at the start of `s`: letters, digits, dots, with a dot and a letter in it. */
static struct slice host_at(struct slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '<' || s.ptr[0] == '[' ||
                         s.ptr[0] == '\n' || s.ptr[0] == '\t')) {
        s = slice_skip(s, 1);
    }
    size_t n = 0;
    bool dot = false;
    bool letter = false;
    while (n < s.len && n < 254 &&
           (is_letter(s.ptr[n]) || is_digit(s.ptr[n]) || strchr(".-_", s.ptr[n]) != NULL) &&
           s.ptr[n] != '\0') {
        dot = dot || s.ptr[n] == '.';
        letter = letter || is_letter(s.ptr[n]);
        n++;
    }
    while (n > 0 && s.ptr[n - 1] == '.') {
        n--;
    }
    return dot && letter && (n == s.len || s.ptr[n] != '@') ? slice_head(s, n) : SLICE_NULL;
}

struct slice status_find_host(struct slice text)
{
    static const struct slice BEFORE[] = {
        {"while talking to", 16},   {"connected to", 12},  {"connect to", 10}, {"host ", 5},
        {"rejected by", 11},        {"remote server", 13}, {"domain by ", 10}, {"server ", 7},
        {"generating server:", 18}, {"smtp;", 5},          {"mx ", 3},
    };
    text = slice_head(text, RETURNED_TEXT_MAX);
    for (size_t i = 0; i < sizeof(BEFORE) / sizeof(BEFORE[0]); i++) {
        ptrdiff_t at = find_nocase(text, BEFORE[i]);
        struct slice host =
            at < 0 ? SLICE_NULL : host_at(slice_skip(text, (size_t)at + BEFORE[i].len));
        if (host.len > 0) {
            return host;
        }
    }
    /* dma(8): "mx.example.org [192.0.2.25] did not like our RCPT TO:" */
    ptrdiff_t at = find_nocase(text, SLICE(" did not like our "));
    if (at > 0) {
        struct slice before = slice_head(text, (size_t)at);
        ptrdiff_t line = slice_rfind_byte(before, '\n');
        return host_at(slice_skip(before, line < 0 ? 0 : (size_t)line + 1));
    }
    return SLICE_NULL;
}

void status_read_text(struct returned_recipient *recipient)
{
    struct slice text = slice_head(recipient->text, RETURNED_TEXT_MAX);
    size_t at = 0;
    if (recipient->code == 0) {
        recipient->code = status_find_code(text, &at);
    }
    if (recipient->enhanced.len == 0) {
        recipient->enhanced = status_find_enhanced(slice_skip(text, at));
    }
    if (recipient->phase == RETURNED_PHASE_UNKNOWN) {
        recipient->phase = status_find_phase(text);
    }
    if (recipient->remote_mta.len == 0) {
        recipient->remote_mta = status_find_host(text);
    }
}
