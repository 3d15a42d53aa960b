/* The reply parser: whole and byte by byte it must say the same, and its text must be clean and
 * bounded. */
#include "smtp/reply.h"

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum smtp_reply_status next_reply(struct smtp_reply_parser *parser, struct slice *bytes,
                                         size_t step)
{
    enum smtp_reply_status status = SMTP_REPLY_MORE;
    while (bytes->len > 0 && status != SMTP_REPLY_DONE && status != SMTP_REPLY_BAD) {
        struct slice part = slice_head(*bytes, step);
        size_t before = part.len;
        status = smtp_reply_take(parser, &part);
        *bytes = slice_skip(*bytes, before - part.len);
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_reply_parser whole, single;
    struct slice a = slice_of(data, size), b = a;
    enum smtp_reply_status status;
    smtp_reply_init(&whole);
    smtp_reply_init(&single);
    do {
        status = next_reply(&whole, &a, SIZE_MAX);
        CHECK(next_reply(&single, &b, 1) == status);
        if (status == SMTP_REPLY_DONE) {
            struct slice text = smtp_reply_text(&whole);
            CHECK(a.len == b.len && whole.code == single.code && whole.lines == single.lines);
            CHECK(slice_eq(text, smtp_reply_text(&single)));
            CHECK(whole.code >= 200 && whole.code <= 599 && text.len <= SMTP_REPLY_TEXT_MAX);
            CHECK(slice_is_utf8(text) && !slice_has_control(text));
        }
    } while (status == SMTP_REPLY_DONE && a.len > 0);
    CHECK(status != SMTP_REPLY_BAD || whole.problem != NULL);
    smtp_reply_free(&whole);
    smtp_reply_free(&single);
    return 0;
}
