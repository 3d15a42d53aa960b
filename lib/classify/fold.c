/*
 * Case and accents: ASCII, Latin-1 Supplement and Latin Extended-A become lower-case ASCII,
 * Cyrillic becomes lower case. Bytes that are no UTF-8 are read as Latin-1, which is what old
 * servers write. Other scripts stay as they are.
 */
#include "classify/cause_private.h"

/* U+00C0 … U+00FF and U+0100 … U+017F; two letters where one is not enough. */
static const char *const latin1[64] = {
    "a", "a", "a", "a", "a", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i",  "i",
    "d", "n", "o", "o", "o", "o", "o",  "x", "o", "u", "u", "u", "u", "y", "th", "ss",
    "a", "a", "a", "a", "a", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i",  "i",
    "d", "n", "o", "o", "o", "o", "o",  "/", "o", "u", "u", "u", "u", "y", "th", "y",
};
static const char extended_a[129] =
    "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllll"
    "lllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

static size_t put(char out[4], const char *letters)
{
    size_t len = 0;
    while (letters[len] != '\0') {
        out[len] = letters[len];
        len++;
    }
    return len;
}

static size_t put_utf8(char out[4], uint32_t c)
{
    out[0] = (char)(0xC0 | (c >> 6));
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
}

/* Two-byte characters, U+0080 … U+07FF. */
static size_t fold_two(uint32_t c, char out[4])
{
    if (c < 0xC0) {
        return put(out, c == 0xAB || c == 0xBB ? "\"" : " ");
    }
    if (c < 0x100) {
        return put(out, latin1[c - 0xC0]);
    }
    if (c < 0x180) {
        out[0] = extended_a[c - 0x100];
        return 1;
    }
    if (c >= 0x410 && c <= 0x42F) {
        c += 0x20;
    } else if (c == 0x401 || c == 0x451) {
        c = 0x435;
    }
    return put_utf8(out, c);
}

static bool continues(struct slice s, size_t at)
{
    return at < s.len && ((unsigned char)s.ptr[at] & 0xC0) == 0x80;
}

size_t cause_fold(struct slice s, size_t *at, char out[4])
{
    unsigned char first = (unsigned char)s.ptr[*at];
    if (first < 0x80) {
        (*at)++;
        out[0] = first < 0x20 || first == 0x7F ? ' ' : ascii_lower_byte((char)first);
        return 1;
    }
    if (first >= 0xC2 && first <= 0xDF && continues(s, *at + 1)) {
        uint32_t c = ((uint32_t)(first & 0x1F) << 6) | ((unsigned char)s.ptr[*at + 1] & 0x3F);
        *at += 2;
        return fold_two(c, out);
    }
    size_t len = first >= 0xE0 && first <= 0xEF ? 3 : first >= 0xF0 && first <= 0xF4 ? 4 : 0;
    bool good = len != 0;
    for (size_t i = 1; i < len; i++) {
        good = good && continues(s, *at + i);
    }
    if (good) {
        memcpy(out, s.ptr + *at, len);
        *at += len;
        if (len == 3 && (unsigned char)out[0] == 0xE2 && (unsigned char)out[1] == 0x80) {
            unsigned char last = (unsigned char)out[2]; /* general punctuation */
            return put(out, last == 0x98 || last == 0x99   ? "'"
                            : last >= 0x90 && last <= 0x95 ? "-"
                                                           : "\"");
        }
        return len;
    }
    (*at)++;
    return fold_two(first, out);
}
