/* The content encoder: input and output cut anywhere, the result must be the same as that of a
 * byte-by-byte model. */
#include "smtp/content.h"

#include "base/mem.h"
#include "base/strbuf.h"

#define OUT_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Normalised and stuffed, with the dot line. */
static void model(struct slice raw, bool stuff, struct strbuf *out)
{
    bool line_start = true;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '\r' || c == '\n') {
            i += c == '\r' && i + 1 < raw.len && raw.ptr[i + 1] == '\n';
            strbuf_add(out, "\r\n", 2);
            line_start = true;
            continue;
        }
        if (stuff && line_start && c == '.') {
            strbuf_add_byte(out, '.');
        }
        strbuf_add_byte(out, c);
        line_start = false;
    }
    if (!line_start) {
        strbuf_add(out, "\r\n", 2);
    }
    if (stuff) {
        strbuf_add(out, ".\r\n", 3);
    }
}

static void drain(struct smtp_content *content, struct strbuf *out, size_t pieces_max, size_t step)
{
    struct iovec pieces[SMTP_CONTENT_QUEUE];
    size_t taken;
    do {
        size_t count = smtp_content_output(content, pieces, pieces_max), left = step;
        taken = 0;
        for (size_t i = 0; i < count && left > 0; i++) {
            size_t part = pieces[i].iov_len < left ? pieces[i].iov_len : left;
            strbuf_add(out, pieces[i].iov_base, part);
            taken += part;
            left -= part;
        }
        smtp_content_sent(content, taken);
    } while (taken > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct smtp_content content;
    struct slice slices[8];
    struct strbuf out, wanted;
    size_t count = 0;
    if (size < 4) {
        return 0;
    }
    struct slice raw = slice_of(data + 4, size - 4), rest = raw;
    for (; count < ARRAY_LEN(slices) - 1; count++) {
        slices[count] =
            slice_head(rest, (data[0] >> count & 1) != 0 ? data[1] % 16u : rest.len / 2);
        rest = slice_skip(rest, slices[count].len);
    }
    slices[count++] = rest;
    bool stuff = (data[2] & 1) != 0, hold = (data[2] & 2) != 0;
    strbuf_init(&out, OUT_MAX);
    strbuf_init(&wanted, OUT_MAX);
    model(raw, stuff, &wanted);
    smtp_content_measure(&content, slices, count);
    smtp_content_begin(&content, stuff ? SMTP_CONTENT_DOT : SMTP_CONTENT_CHUNK,
                       !hold           ? SMTP_CONTENT_HOLD_NONE
                       : size % 2 == 0 ? SMTP_CONTENT_HOLD_ALL
                                       : SMTP_CONTENT_HOLD_END);
    drain(&content, &out, data[3] % SMTP_CONTENT_QUEUE + 1u, (data[2] >> 2) * 7u + 1u);
    if (hold && content.wire_bytes > 0) {
        CHECK(smtp_content_held(&content));
        smtp_content_release(&content);
        drain(&content, &out, 1, 1);
    }
    CHECK(smtp_content_finished(&content));
    CHECK(slice_eq(strbuf_slice(&out), strbuf_slice(&wanted)));
    strbuf_free(&out);
    strbuf_free(&wanted);
    return 0;
}
