/* The first half of normalising: one line, without the codes that servers repeat in front of every
 * line. */
#include "classify/cause_private.h"

#define QUOTATION_MAX 400 /* bytes in front of a quoted reply */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

size_t cause_enhanced_at(struct slice s, struct smtp_enhanced *out)
{
    uint32_t numbers[3];
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t digits = 0;
        numbers[i] = 0;
        while (at < s.len && is_digit(s.ptr[at]) && digits < 4) {
            numbers[i] = numbers[i] * 10 + (uint32_t)(s.ptr[at++] - '0');
            digits++;
        }
        if (digits == 0 || digits > 3 || (i < 2 && (at >= s.len || s.ptr[at++] != '.'))) {
            return 0;
        }
    }
    bool longer = at < s.len && (is_digit(s.ptr[at]) ||
                                 (s.ptr[at] == '.' && at + 1 < s.len && is_digit(s.ptr[at + 1])));
    if (longer || (numbers[0] != 2 && numbers[0] != 4 && numbers[0] != 5)) {
        return 0;
    }
    *out = (struct smtp_enhanced){(uint8_t)numbers[0], (uint16_t)numbers[1], (uint16_t)numbers[2]};
    return at;
}

/* Three digits at the start, 2 to 5 first. */
static uint16_t code_of(struct slice s)
{
    if (s.len < 3 || s.ptr[0] < '2' || s.ptr[0] > '5' || !is_digit(s.ptr[1]) ||
        !is_digit(s.ptr[2])) {
        return 0;
    }
    return (uint16_t)((s.ptr[0] - '0') * 100 + (s.ptr[1] - '0') * 10 + (s.ptr[2] - '0'));
}

/* A reply code at the start: then a blank, "-" or the end. */
static uint16_t code_at(struct slice s)
{
    return s.len > 3 && !is_blank(s.ptr[3]) && s.ptr[3] != '-' ? 0 : code_of(s);
}

static struct slice skip_blanks(struct slice s, const char *more)
{
    CHECK(s.ptr != NULL || s.len == 0);
    size_t at = 0;
    while (at < s.len && (is_blank(s.ptr[at]) || strchr(more, s.ptr[at]) != NULL)) {
        at++;
    }
    return slice_skip(s, at);
}

static bool is_generic(struct smtp_enhanced status)
{
    return status.klass == 0 || (status.subject == 0 && status.detail == 0);
}

static bool same_status(struct smtp_enhanced a, struct smtp_enhanced b)
{
    return a.klass == b.klass && a.subject == b.subject && a.detail == b.detail;
}

/* Codes at the front of the whole text. */
static struct slice take_head(struct cause *cause, struct slice s)
{
    s = skip_blanks(s, "\"'");
    for (int i = 0; i < 2; i++) {
        uint16_t code = code_at(s);
        if (code == 0) {
            break;
        }
        if (cause->code == 0) {
            cause->code = code;
        }
        s = skip_blanks(slice_skip(s, 4), "\"'");
    }
    struct smtp_enhanced status;
    struct slice inner = skip_blanks(s, "#");
    size_t len = cause_enhanced_at(inner, &status);
    if (len > 0) {
        if (is_generic(cause->enhanced)) {
            cause->enhanced = status;
        }
        s = skip_blanks(slice_skip(inner, len), ",:");
    }
    return s;
}

/* A repeated "550-", "550 ", "5.7.1 " before a word: its length, or 0. */
static size_t repeated_at(const struct cause *cause, struct slice s)
{
    struct smtp_enhanced status;
    if (cause->code != 0 && code_at(s) == cause->code) {
        return s.len > 3 ? 4 : 3;
    }
    size_t len = cause_enhanced_at(s, &status);
    if (len > 0 && (len == s.len || is_blank(s.ptr[len])) && same_status(status, cause->enhanced)) {
        return len;
    }
    return 0;
}

static void take_status(struct cause *cause, struct slice s)
{
    struct smtp_enhanced status;
    size_t len = cause_enhanced_at(s, &status);
    if (len > 0 && is_generic(cause->enhanced) && !is_generic(status) &&
        (cause->code == 0 || status.klass == cause->code / 100)) {
        cause->enhanced = status;
    }
}

/*
 * Codes inside the text, where the reply itself gave none or only x.0.0: "(#5.1.1)", "[5.1.1]",
 * "…: 5.1.1", and those of a reply that another server quotes: "host mx.example.org said: 550 5.1.1
 * …".
 */
static void look_for_codes(struct cause *cause)
{
    struct slice s = slice_of(cause->flat, cause->flat_len);
    char before = ':';
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool starts = is_digit(c) && (i == 0 || !is_digit(s.ptr[i - 1]));
        if (starts && strchr("#([:<", before) != NULL) {
            struct slice rest = slice_skip(s, i);
            uint16_t code = code_at(rest);
            if (code >= 400 && rest.len > 4) {
                cause->code = cause->code == 0 ? code : cause->code;
                take_status(cause, slice_skip(rest, 4));
            } else {
                take_status(cause, rest);
            }
        }
        if (c != ' ') {
            before = c;
        }
    }
}

struct phase_words {
    struct slice words;
    enum smtp_phase phase;
};

/* What stands behind "in reply to " (Postfix) and "server after " (Exim). */
static const struct phase_words phases_of_words[] = {
    {{"RCPT TO", 7}, SMTP_PHASE_RCPT},
    {{"MAIL FROM", 9}, SMTP_PHASE_MAIL},
    {{"end of DATA", 11}, SMTP_PHASE_MESSAGE},
    {{"DATA", 4}, SMTP_PHASE_DATA},
    {{"EHLO", 4}, SMTP_PHASE_EHLO},
    {{"HELO", 4}, SMTP_PHASE_EHLO},
    {{"initial connection", 18}, SMTP_PHASE_GREETING},
    {{"to me:", 6}, SMTP_PHASE_GREETING}, /* Postfix: "host … refused to talk to me: 554 …" */
};

/* Postfix: "(in reply to RCPT TO command)"; Exim: "SMTP error from remote mail server after RCPT
 * TO:<…>". */
static enum smtp_phase find_phase(struct slice flat)
{
    static const struct slice starts[] = {{"in reply to ", 12},
                                          {"server after ", 13},
                                          {"mailer after ", 13},
                                          {"refused to talk ", 16}};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        ptrdiff_t at = slice_find(flat, starts[i]);
        struct slice rest = at < 0 ? SLICE_NULL : slice_skip(flat, (size_t)at + starts[i].len);
        for (size_t k = 0; k < ARRAY_LEN(phases_of_words) && at >= 0; k++) {
            if (slice_starts_with_nocase(rest, phases_of_words[k].words)) {
                return phases_of_words[k].phase;
            }
        }
    }
    return SMTP_PHASE_NONE;
}

/*
 * Whose words a reply is quoted with: "host mx.example.org[192.0.2.1] said: 550 …" (Postfix), "SMTP
 * error from remote mail server after RCPT TO:<…>: host …: 550 …" (Exim), "Remote host said: 550 …"
 * (qmail). The length of that, up to the reply's code; 0 where the text is no quotation.
 */
static size_t quotation_at(struct slice text)
{
    static const struct slice starts[] = {
        {"host ", 5}, {"SMTP error from remote ", 23}, {"Remote host said:", 17}};
    bool quoted = false;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        quoted = quoted || slice_starts_with_nocase(text, starts[i]);
    }
    for (size_t i = 1; quoted && i + 4 < text.len && i < QUOTATION_MAX; i++) {
        if (is_digit(text.ptr[i]) && is_blank(text.ptr[i - 1]) && i > 1 && text.ptr[i - 2] == ':' &&
            code_at(slice_skip(text, i)) >= 400) {
            return i;
        }
    }
    return 0;
}

/*
 * Cisco: "5.1.0 - Unknown address error 550-'5.7.1 …'", later "… ('550', ['5.7.1 …'])". What stands
 * in front names the code that Cisco chose for its notice, not what the server said. The length up
 * to the server's words, whose code is taken; 0 where the text is none of that.
 */
static size_t notice_quotation_at(struct slice text, uint16_t *code)
{
    static const struct slice joints[] = {{"-'", 2}, {"-\"", 2}, {"', ['", 5}, {"', [\"", 5}};
    for (size_t i = 1; i + 5 < text.len && i < QUOTATION_MAX; i++) {
        char before = text.ptr[i - 1];
        struct slice behind = slice_skip(text, i + 3);
        if (!is_digit(text.ptr[i]) || (!is_blank(before) && before != '\'')) {
            continue;
        }
        for (size_t k = 0; k < ARRAY_LEN(joints); k++) {
            uint16_t found = code_of(slice_skip(text, i));
            if (found >= 400 && slice_starts_with_nocase(behind, joints[k])) {
                *code = found;
                return i + 3 + joints[k].len;
            }
        }
    }
    return 0;
}

/* The host that a quotation names tells the provider. */
static void note_quoted_host(struct cause *cause, struct slice head)
{
    ptrdiff_t at = slice_find(head, SLICE("host "));
    struct slice host = at < 0 ? SLICE_NULL : slice_skip(head, (size_t)at + 5);
    size_t len = 0;
    while (len < host.len && !is_blank(host.ptr[len]) && strchr("[(:", host.ptr[len]) == NULL) {
        len++;
    }
    if (slice_find_byte(slice_head(host, len), '.') > 0) {
        cause->hosts[cause->host_count++] = slice_head(host, len);
    }
}

/* "(in reply to RCPT TO command)" is the phase, which the key has, and no word of the reply. */
static void drop_remark(struct cause *cause)
{
    struct slice flat = slice_of(cause->flat, cause->flat_len);
    ptrdiff_t at = slice_find(flat, SLICE(" (in reply to "));
    ptrdiff_t end = at < 0 ? -1 : slice_find_byte(slice_skip(flat, (size_t)at), ')');
    if (end >= 0) {
        size_t behind = (size_t)(at + end) + 1;
        memmove(cause->flat + at, cause->flat + behind, cause->flat_len - behind);
        cause->flat_len -= (size_t)end + 1;
    }
}

/* Bytes up to the next blank. */
static size_t word_len(struct slice s)
{
    size_t len = 0;
    while (len < s.len && ((unsigned char)s.ptr[len] > ' ' || !is_blank(s.ptr[len]))) {
        len++;
    }
    return len;
}

void cause_unfold(struct cause *cause, const struct classify_input *input)
{
    cause->code = input->code;
    cause->enhanced = input->enhanced;
    cause->given_up = input->given_up;
    cause->host_count = 0;
    cause->flat_len = 0;
    struct slice s = slice_head(input->text, CLASSIFY_TEXT_MAX);
    struct slice head = slice_head(s, quotation_at(s));
    if (head.len > 0) {
        note_quoted_host(cause, head);
    }
    s = slice_skip(s, head.len);
    size_t notice = notice_quotation_at(s, &cause->code);
    if (notice > 0) {
        cause->enhanced = (struct smtp_enhanced){0}; /* the server's own, if it has one */
    }
    s = take_head(cause, slice_skip(s, notice));
    if (cause->enhanced.klass == 0) {
        cause->enhanced = input->enhanced;
    }
    while (s.len > 0 && cause->flat_len < CAUSE_FLAT_MAX) {
        size_t repeated = is_digit(s.ptr[0]) ? repeated_at(cause, s) : 0;
        if (repeated > 0) {
            s = skip_blanks(slice_skip(s, repeated), "");
            continue;
        }
        size_t len = word_len(slice_head(s, CAUSE_FLAT_MAX - cause->flat_len));
        if (len > 0) {
            memcpy(cause->flat + cause->flat_len, s.ptr, len);
            cause->flat_len += len;
        } else if (cause->flat_len > 0 && cause->flat[cause->flat_len - 1] != ' ') {
            cause->flat[cause->flat_len++] = ' ';
        }
        s = slice_skip(s, len > 0 ? len : 1);
    }
    if (is_generic(cause->enhanced) || cause->code == 0) {
        look_for_codes(cause);
    }
    cause->phase = input->phase;
    if (cause->phase == SMTP_PHASE_NONE && head.len > 0) {
        cause->phase = find_phase(head);
    }
    if (cause->phase == SMTP_PHASE_NONE) {
        cause->phase = find_phase(slice_of(cause->flat, cause->flat_len));
    }
    drop_remark(cause);
}
