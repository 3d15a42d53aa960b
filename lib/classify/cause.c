#include "classify/cause_private.h"

struct writer {
    struct cause *cause;
    const struct classify_input *input;
    struct slice domain; /* of the recipient */
    struct slice local;
};

static void put_bytes(struct writer *w, const char *ptr, size_t len)
{
    struct cause *cause = w->cause;
    if (cause->len + len <= CLASSIFY_CAUSE_MAX) {
        memcpy(cause->text + cause->len, ptr, len);
        cause->len += len;
    }
}

static void put_mark(struct writer *w, const char *mark)
{
    put_bytes(w, mark, strlen(mark));
}

static void put_folded(struct writer *w, struct slice s)
{
    struct cause *cause = w->cause;
    size_t at = 0;
    while (at < s.len) {
        char c = s.ptr[at];
        if (c > ' ' && c < 0x7F && cause->len < CLASSIFY_CAUSE_MAX) { /* nearly all */
            cause->text[cause->len++] = ascii_lower_byte(c);
            at++;
            continue;
        }
        char out[4];
        size_t len = cause_fold(s, &at, out);
        if (len == 1 && out[0] == ' ' && (cause->len == 0 || cause->text[cause->len - 1] == ' ')) {
            continue;
        }
        put_bytes(w, out, len);
    }
}

/* What a byte may be in a text. */
#define SPLITS 1 /* ends a run */
#define EDGE 2   /* at the end of a run it is punctuation and not part of the word */
#define TELLS 4  /* what has none of these is a word and nothing else */

static const uint8_t kinds[256] = {
    [' '] = SPLITS,       ['<'] = SPLITS,       ['>'] = SPLITS,       ['('] = SPLITS,
    [')'] = SPLITS,       ['['] = SPLITS,       [']'] = SPLITS,       ['{'] = SPLITS,
    ['}'] = SPLITS,       ['"'] = SPLITS,       ['`'] = SPLITS,       [','] = SPLITS,
    [';'] = SPLITS,       ['|'] = SPLITS,       ['!'] = EDGE,         ['\''] = EDGE,
    ['~'] = EDGE,         ['-'] = EDGE,         ['.'] = EDGE | TELLS, [':'] = EDGE | TELLS,
    ['?'] = EDGE | TELLS, ['='] = EDGE | TELLS, ['/'] = TELLS,        ['@'] = TELLS,
    ['#'] = TELLS,        ['&'] = TELLS,        ['0'] = TELLS,        ['1'] = TELLS,
    ['2'] = TELLS,        ['3'] = TELLS,        ['4'] = TELLS,        ['5'] = TELLS,
    ['6'] = TELLS,        ['7'] = TELLS,        ['8'] = TELLS,        ['9'] = TELLS,
};

static bool is_kind(char c, uint8_t kind)
{
    return (kinds[(unsigned char)c] & kind) != 0;
}

/* No digit, dot or separator: none of the tests of token.c can take it. A UUID may be of letters
 * alone. */
static bool is_bare(struct slice word)
{
    size_t at = 0;
    while (at < word.len && !is_kind(word.ptr[at], TELLS)) {
        at++;
    }
    return at == word.len && !cause_is_uuid(word);
}

static void note_host(struct writer *w, struct slice host)
{
    struct cause *cause = w->cause;
    if (cause->host_count < CAUSE_HOSTS_MAX) {
        cause->hosts[cause->host_count++] = host;
    }
}

static void put_address(struct writer *w, struct slice address)
{
    if (slice_eq_nocase(address, w->input->recipient)) {
        put_mark(w, "{rcpt}");
    } else if (slice_eq_nocase(address, w->input->sender)) {
        put_mark(w, "{sender}");
    } else {
        put_mark(w, "{addr}");
    }
}

static void put_host(struct writer *w, struct slice host)
{
    if (w->domain.len > 0 && slice_eq_nocase(host, w->domain)) {
        put_mark(w, "{domain}");
    } else if (w->input->our_host.len > 0 && slice_eq_nocase(host, w->input->our_host)) {
        put_mark(w, "{us}");
    } else if (cause_is_blocklist(host)) {
        put_folded(w, host);
    } else {
        put_mark(w, "{host}");
    }
    note_host(w, host);
}

/* A word that is no address, URL, IP or time and has no separators in it. */
static void put_plain(struct writer *w, struct slice s)
{
    struct smtp_enhanced status;
    bool is_status = cause_enhanced_at(s, &status) == s.len;
    if (is_status) {
        put_folded(w, s);
        return;
    }
    if (cause_is_host(s) && !cause_is_ip(s)) {
        put_host(w, s);
        return;
    }
    const char *mark = cause_is_ip(s)                           ? "{ip}"
                       : cause_is_number(s)                     ? "{n}"
                       : cause_is_uuid(s) || cause_is_opaque(s) ? "{id}"
                                                                : NULL;
    if (mark != NULL) {
        put_mark(w, mark);
    } else {
        put_folded(w, s);
    }
}

/* Splits at "=", "/", ":" and "#", which stay. */
static void put_pieces(struct writer *w, struct slice s)
{
    size_t start = 0;
    for (size_t i = 0; i <= s.len; i++) {
        if (i < s.len && strchr("=/:#&?", s.ptr[i]) == NULL) {
            continue;
        }
        if (i > start) {
            put_plain(w, slice_of(s.ptr + start, i - start));
        }
        if (i < s.len) {
            put_bytes(w, s.ptr + i, 1);
        }
        start = i + 1;
    }
}

/* Scheme and host as they are, then path and values: words stay. */
static void put_url(struct writer *w, struct slice s, size_t host_at)
{
    size_t end = host_at;
    while (end < s.len && strchr("/?#:", s.ptr[end]) == NULL) {
        end++;
    }
    struct slice host = slice_of(s.ptr + host_at, end - host_at);
    put_folded(w, slice_head(s, host_at));
    if (cause_is_ip(host)) {
        put_mark(w, "{ip}");
    } else {
        put_folded(w, host);
        note_host(w, host);
    }
    put_pieces(w, slice_skip(s, end));
}

static bool is_address_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || (unsigned char)c >= 0x80;
}

static void put_word(struct writer *w, struct slice s);

/* "user@example.com" with what may stick to it: "to:user@example.com:denied". */
static bool put_with_address(struct writer *w, struct slice s)
{
    ptrdiff_t sign = slice_find_byte(s, '@');
    if (sign <= 0 || (size_t)sign + 1 >= s.len || !is_address_byte(s.ptr[sign + 1])) {
        return false;
    }
    ptrdiff_t colon = slice_rfind_byte(slice_head(s, (size_t)sign), ':');
    size_t start = (size_t)(colon + 1);
    size_t end = (size_t)sign + 1;
    while (end < s.len && is_address_byte(s.ptr[end])) {
        end++;
    }
    while (s.ptr[end - 1] == '.' && end > (size_t)sign + 2) {
        end--;
    }
    if (start > 0) {
        put_pieces(w, slice_head(s, start));
    }
    struct slice address = slice_of(s.ptr + start, end - start);
    if (address.ptr[0] == '@') {
        put_pieces(w, address);
    } else {
        put_address(w, address);
    }
    put_pieces(w, slice_skip(s, end));
    return true;
}

static void put_word(struct writer *w, struct slice s)
{
    if (is_bare(s)) {
        put_folded(w, s);
        return;
    }
    ptrdiff_t slash = slice_find_byte(s, '/');
    ptrdiff_t scheme = slash < 0 ? -1 : slice_find(s, SLICE("://"));
    if (scheme > 0 && scheme <= 6) {
        put_url(w, s, (size_t)scheme + 3);
    } else if (slash > 3 && cause_is_host(slice_head(s, (size_t)slash))) {
        put_url(w, s, 0);
    } else if (cause_is_time(s)) {
        put_mark(w, "{time}");
    } else if (cause_is_ip(s)) {
        put_mark(w, "{ip}");
    } else if (!put_with_address(w, s)) {
        put_pieces(w, s);
    }
}

/* The local part alone is a value only where it is set off or cannot be a word of the text. */
static bool is_local_part(const struct writer *w, struct slice word, char before, char after)
{
    if (w->local.len < 2 || !slice_eq_nocase(word, w->local)) {
        return false;
    }
    bool set_off = strchr("<\"'([:", before) != NULL && strchr(">\"')]:", after) != NULL;
    bool odd = false;
    for (size_t i = 0; i < word.len; i++) {
        odd = odd || (word.ptr[i] >= '0' && word.ptr[i] <= '9') || word.ptr[i] == '.' ||
              word.ptr[i] == '_' || word.ptr[i] == '+';
    }
    return set_off || odd;
}

/* One run of bytes without delimiters; punctuation at its ends is not part of the word. */
static void put_run(struct writer *w, struct slice run, char before, char after)
{
    size_t start = 0;
    size_t end = run.len;
    while (start < end && is_kind(run.ptr[start], EDGE)) {
        start++;
    }
    while (end > start && is_kind(run.ptr[end - 1], EDGE)) {
        end--;
    }
    struct slice word = slice_of(run.ptr + start, end - start);
    put_folded(w, slice_head(run, start));
    before = start > 0 ? run.ptr[start - 1] : before;
    after = end < run.len ? run.ptr[end] : after;
    if (word.len > 0) {
        struct slice id = w->input->message_id;
        if (id.len > 2 && id.ptr[0] == '<') {
            id = slice_of(id.ptr + 1, id.len - 2);
        }
        if (id.len > 0 && slice_eq(word, id)) {
            put_mark(w, "{id}");
        } else if (is_local_part(w, word, before, after)) {
            put_mark(w, "{rcpt}");
        } else {
            put_word(w, word);
        }
    }
    put_folded(w, slice_skip(run, end));
}

void cause_make(struct cause *cause, const struct classify_input *input)
{
    cause_unfold(cause, input);
    cause->len = 0;
    struct writer w = {.cause = cause, .input = input};
    ptrdiff_t sign = slice_rfind_byte(input->recipient, '@');
    if (sign > 0) {
        w.local = slice_head(input->recipient, (size_t)sign);
        w.domain = slice_skip(input->recipient, (size_t)sign + 1);
    }
    struct slice s = slice_of(cause->flat, cause->flat_len);
    size_t at = 0;
    char before = ' ';
    while (at < s.len && cause->len < CLASSIFY_CAUSE_MAX) {
        size_t end = at;
        while (end < s.len && !is_kind(s.ptr[end], SPLITS)) {
            end++;
        }
        char after = end < s.len ? s.ptr[end] : ' ';
        if (end > at) {
            put_run(&w, slice_of(s.ptr + at, end - at), before, after);
        }
        if (end < s.len) {
            put_folded(&w, slice_of(s.ptr + end, 1));
        }
        before = after;
        at = end + 1;
    }
    while (cause->len > 0 && cause->text[cause->len - 1] == ' ') {
        cause->len--;
    }
}
