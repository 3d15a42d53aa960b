/*
 * See decode.h. Charsets other than UTF-8 and Latin go through iconv(3) of the C library; a
 * conversion that fails in the middle keeps what it has and continues behind the bad byte, at most
 * BAD_BYTES_MAX times.
 */
#include "mail/decode.h"

#include "mail/header.h"

#include <iconv.h>

enum {
    BAD_BYTES_MAX = 4096, /* then the charset is a lie and the rest is dropped */
    CHARSET_MAX = 40,     /* longest charset name handed to iconv */
    WORDS_IN_MAX = 8192,  /* longest header value in which encoded words are looked for */
};

enum mail_encoding mail_encoding_parse(struct slice value)
{
    struct slice word = slice_trim(value);
    if (slice_starts_with_nocase(word, SLICE("base64"))) {
        return MAIL_ENCODING_BASE64;
    }
    if (slice_starts_with_nocase(word, SLICE("quoted-printable"))) {
        return MAIL_ENCODING_QUOTED;
    }
    return MAIL_ENCODING_PLAIN;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

static size_t decode_base64(struct slice in, char *out)
{
    size_t len = 0;
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < in.len; i++) {
        int digit = base64_digit(in.ptr[i]);
        if (digit < 0) {
            if (in.ptr[i] == '=') {
                bits = 0;
                count = 0;
            }
            continue;
        }
        bits = (bits << 6) | (uint32_t)digit;
        if (++count == 4) {
            out[len++] = (char)(bits >> 16);
            out[len++] = (char)(bits >> 8);
            out[len++] = (char)bits;
            bits = 0;
            count = 0;
        }
        /* A group that ends early gives its whole bytes at the '='. */
        if (i + 1 < in.len && in.ptr[i + 1] == '=' && count >= 2) {
            uint32_t left = bits << (6 * (4 - count));
            out[len++] = (char)(left >> 16);
            if (count == 3) {
                out[len++] = (char)(left >> 8);
            }
        }
    }
    return len;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t decode_quoted(struct slice in, char *out, bool header)
{
    size_t len = 0;
    size_t i = 0;
    while (i < in.len) {
        char c = in.ptr[i];
        if (c == '=' && i + 2 < in.len && hex_digit(in.ptr[i + 1]) >= 0 &&
            hex_digit(in.ptr[i + 2]) >= 0) {
            out[len++] = (char)(hex_digit(in.ptr[i + 1]) * 16 + hex_digit(in.ptr[i + 2]));
            i += 3;
            continue;
        }
        if (c == '=' && !header) {
            size_t n = i + 1; /* a soft line break, perhaps with blanks that a relay added */
            while (n < in.len && (in.ptr[n] == ' ' || in.ptr[n] == '\t' || in.ptr[n] == '\r')) {
                n++;
            }
            if (n >= in.len || in.ptr[n] == '\n') {
                i = n + 1;
                continue;
            }
        }
        out[len++] = header && c == '_' ? ' ' : c;
        i++;
    }
    return len;
}

size_t mail_decode_transfer(struct slice body, enum mail_encoding encoding, char *out)
{
    switch (encoding) {
    case MAIL_ENCODING_BASE64: return decode_base64(body, out);
    case MAIL_ENCODING_QUOTED: return decode_quoted(body, out, false);
    case MAIL_ENCODING_PLAIN: break;
    }
    if (body.len > 0) {
        memcpy(out, body.ptr, body.len);
    }
    return body.len;
}

/* Every byte as the character of the same number (ISO 8859-1): the last resort that loses nothing.
 */
static struct slice from_latin1(struct arena *arena, struct slice in)
{
    unsigned char *out = arena_try_alloc(arena, in.len * 2 + 1);
    if (out == NULL) {
        return SLICE(""); /* the arena is full: no text */
    }
    size_t len = 0;
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char)in.ptr[i];
        if (c < 0x80) {
            out[len++] = c;
        } else {
            out[len++] = (unsigned char)(0xc0 | (c >> 6));
            out[len++] = (unsigned char)(0x80 | (c & 0x3f));
        }
    }
    out[len] = '\0';
    return slice_of(out, len);
}

/* Through iconv; SLICE_NULL when it does not know the charset. */
static struct slice from_charset(struct arena *arena, struct slice in, struct slice charset)
{
    char name[CHARSET_MAX + 1];
    if (charset.len == 0 || charset.len > CHARSET_MAX) {
        return SLICE_NULL;
    }
    memcpy(name, charset.ptr, charset.len);
    name[charset.len] = '\0';
    if (strchr(name, '/') != NULL) {
        return SLICE_NULL;
    }
    iconv_t conv = iconv_open("UTF-8", name);
    if (conv == (iconv_t)-1) { // NOLINT(performance-no-int-to-ptr): iconv's own error value
        return SLICE_NULL;
    }
    size_t room = in.len * 4 + 16;
    char *out = arena_try_alloc(arena, room + 1);
    char *to = out;
    char *from = (char *)(uintptr_t)in.ptr;
    size_t left = in.len;
    int bad = 0;
    while (out != NULL && left > 0 && room > 0 && bad < BAD_BYTES_MAX) {
        if (iconv(conv, &from, &left, &to, &room) != (size_t)-1) {
            break;
        }
        if (left > 0) {
            from++;
            left--;
            bad++;
        }
    }
    iconv_close(conv);
    if (out == NULL) {
        return SLICE_NULL;
    }
    *to = '\0';
    return slice_of(out, (size_t)(to - out));
}

static bool is_plain_charset(struct slice charset)
{
    return charset.len == 0 || slice_eq_nocase(charset, SLICE("us-ascii")) ||
           slice_eq_nocase(charset, SLICE("utf-8")) || slice_eq_nocase(charset, SLICE("utf8")) ||
           slice_eq_nocase(charset, SLICE("ascii"));
}

static struct slice to_utf8(struct arena *arena, struct slice in, struct slice charset)
{
    /* ISO-2022 escapes are 7-bit text that means something else: a declared one goes through iconv
     * in any case, an undeclared one shows itself by its escape sequence (ESC $). */
    bool escapes = slice_find(in, SLICE("\033$")) >= 0;
    if (escapes && is_plain_charset(charset)) {
        charset = SLICE("ISO-2022-JP");
    }
    /* Exchange 2000 and IIS write their notices in UTF-7 under its old name. */
    bool utf7 = slice_ends_with_nocase(charset, SLICE("utf-7"));
    if (utf7) {
        charset = SLICE("UTF-7");
    }
    if (!escapes && !utf7 && slice_is_utf8(in) &&
        (is_plain_charset(charset) || !slice_has_8bit(in) ||
         slice_starts_with_nocase(charset, SLICE("iso-2022")))) {
        return in;
    }
    if (is_plain_charset(charset)) {
        return from_latin1(arena, in);
    }
    struct slice out = from_charset(arena, in, charset);
    if (out.ptr == NULL) {
        out = slice_is_utf8(in) ? in : from_latin1(arena, in);
    }
    return out;
}

/* CRLF and CR to LF, NUL and other controls to blanks, in place; returns the new length. */
static size_t tidy_controls(char *text, size_t len)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '\r') {
            if (i + 1 < len && text[i + 1] == '\n') {
                continue;
            }
            c = '\n';
        }
        text[out++] = ((unsigned char)c < ' ' && c != '\n' && c != '\t') || c == 0x7f ? ' ' : c;
    }
    return out;
}

struct slice mail_decode_text(struct arena *arena, struct slice body, enum mail_encoding encoding,
                              struct slice charset, size_t max_bytes)
{
    body = slice_head(body, max_bytes);
    char *raw = arena_try_alloc(arena, body.len + 1);
    if (raw == NULL) {
        return SLICE("");
    }
    size_t len = mail_decode_transfer(body, encoding, raw);
    raw[len] = '\0';
    struct slice text = to_utf8(arena, slice_of(raw, len), charset);
    if (text.ptr != raw) {
        raw = arena_try_alloc(arena, text.len + 1);
        if (raw == NULL) {
            return SLICE("");
        }
        memcpy(raw, text.ptr, text.len);
        len = text.len;
    }
    len = tidy_controls(raw, len);
    raw[len] = '\0';
    return slice_of(raw, len);
}

/* One "=?charset?B?text?=" at the start of `in`. On success *used is its length and *out the
 * decoded text. */
static bool decode_word(struct arena *arena, struct slice in, size_t *used, struct slice *out)
{
    struct slice rest = slice_skip(in, 2);
    struct slice charset = slice_cut(&rest, '?');
    struct slice kind = slice_cut(&rest, '?');
    if (rest.ptr == NULL || charset.len == 0 || charset.len > CHARSET_MAX || kind.len != 1) {
        return false;
    }
    ptrdiff_t end = slice_find(rest, SLICE("?="));
    if (end < 0) {
        return false;
    }
    struct slice text = slice_head(rest, (size_t)end);
    char *raw = arena_try_alloc(arena, text.len + 1);
    if (raw == NULL) {
        return false;
    }
    size_t len = 0;
    if (kind.ptr[0] == 'B' || kind.ptr[0] == 'b') {
        len = decode_base64(text, raw);
    } else if (kind.ptr[0] == 'Q' || kind.ptr[0] == 'q') {
        len = decode_quoted(text, raw, true);
    } else {
        return false;
    }
    ptrdiff_t star = slice_find_byte(charset, '*'); /* RFC 2231 language */
    *out =
        to_utf8(arena, slice_of(raw, len), star < 0 ? charset : slice_head(charset, (size_t)star));
    *used = (size_t)(rest.ptr + end + 2 - in.ptr);
    return true;
}

struct slice mail_decode_words(struct arena *arena, struct slice value)
{
    if (value.len == 0) {
        return value;
    }
    value = slice_head(value, WORDS_IN_MAX);
    if (slice_find(value, SLICE("=?")) < 0) {
        return mail_decode_text(arena, value, MAIL_ENCODING_PLAIN, SLICE_NULL, value.len);
    }
    size_t room = value.len * 4 + 16;
    char *out = arena_try_alloc(arena, room + 1);
    if (out == NULL) {
        return SLICE("");
    }
    size_t len = 0;
    size_t word_end =
        SIZE_MAX; /* in `out`, behind the last encoded word: blanks between two of them vanish */
    while (value.len > 0 && len < room) {
        size_t used = 0;
        struct slice word = SLICE_NULL;
        if (slice_starts_with(value, SLICE("=?")) && decode_word(arena, value, &used, &word)) {
            if (word_end != SIZE_MAX &&
                slice_trim(slice_of(out + word_end, len - word_end)).len == 0) {
                len = word_end;
            }
            size_t n = word.len < room - len ? word.len : room - len;
            if (n > 0) {
                memcpy(out + len, word.ptr, n);
            }
            len += n;
            word_end = len;
            value = slice_skip(value, used);
            continue;
        }
        out[len++] = value.ptr[0];
        value = slice_skip(value, 1);
    }
    return mail_decode_text(arena, slice_of(out, len), MAIL_ENCODING_PLAIN, SLICE_NULL, len);
}
