/*
 * The content decoder: the same result however the input is split, and no line of it ends otherwise
 * than with CRLF. The first byte says where to split and whether dots count.
 */
#include "smtp/unstuff.h"

#include "base/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum smtp_unstuff_result decode(struct slice bytes, size_t step, bool dots,
                                       struct strbuf *content)
{
    struct smtp_unstuff unstuff;
    enum smtp_unstuff_result result = SMTP_UNSTUFF_MORE;
    smtp_unstuff_init(&unstuff, dots);
    while (bytes.len > 0 && (result == SMTP_UNSTUFF_MORE || result == SMTP_UNSTUFF_PIECE)) {
        struct slice rest = slice_head(bytes, step);
        size_t offered = rest.len;
        do {
            struct slice piece;
            result = smtp_unstuff_next(&unstuff, &rest, &piece);
            if (result == SMTP_UNSTUFF_PIECE) {
                CHECK(piece.len > 0);
                strbuf_add_slice(content, piece);
            }
        } while (result == SMTP_UNSTUFF_PIECE);
        bytes = slice_skip(bytes, offered - rest.len);
    }
    CHECK((result == SMTP_UNSTUFF_BAD) == (unstuff.wrong != NULL));
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strbuf whole;
    struct strbuf split;
    if (size < 1) {
        return 0;
    }
    struct slice bytes = slice_of(data + 1, size - 1);
    bool dots = (data[0] & 0x80) != 0;
    strbuf_init(&whole, size);
    strbuf_init(&split, size);
    enum smtp_unstuff_result a = decode(bytes, SIZE_MAX, dots, &whole);
    enum smtp_unstuff_result b = decode(bytes, (data[0] & 0x7fU) + 1, dots, &split);
    CHECK(a == b);
    if (a != SMTP_UNSTUFF_BAD) { /* then how much came before it depends on the split */
        CHECK(slice_eq(strbuf_slice(&whole), strbuf_slice(&split)));
        for (size_t i = 0; i < whole.len; i++) {
            CHECK(whole.ptr[i] != '\0' &&
                  (whole.ptr[i] != '\n' || (i > 0 && whole.ptr[i - 1] == '\r')));
        }
    }
    CHECK(dots || a != SMTP_UNSTUFF_END);
    strbuf_free(&whole);
    strbuf_free(&split);
    return 0;
}
