#include "smtp/reply.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Feeds `bytes` in parts of `step` bytes (each an exact copy) until a reply or an error; returns
 * what came. */
static enum smtp_reply_status feed(struct smtp_reply_parser *parser, struct slice bytes,
                                   size_t step)
{
    enum smtp_reply_status status = SMTP_REPLY_MORE;
    while (bytes.len > 0) {
        struct slice part = slice_head(bytes, step);
        char *copy = mem_strndup(part.ptr, part.len);
        struct slice left = slice_of(copy, part.len);
        do {
            status = smtp_reply_take(parser, &left);
        } while (left.len > 0 && status != SMTP_REPLY_DONE && status != SMTP_REPLY_BAD);
        size_t taken = part.len - left.len;
        mem_free(copy);
        bytes = slice_skip(bytes, taken);
        if (status == SMTP_REPLY_DONE || status == SMTP_REPLY_BAD) {
            return status;
        }
    }
    return status;
}

struct wanted {
    struct slice bytes;
    enum smtp_reply_status status;
    uint16_t code;
    struct smtp_enhanced enhanced;
    const char *text; /* or the problem */
};

#define BYTES(literal)                                                                             \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct wanted cases[] = {
    {BYTES("250 ok\r\n"), SMTP_REPLY_DONE, 250, {0, 0, 0}, "ok"},
    {BYTES("250\r\n"), SMTP_REPLY_DONE, 250, {0, 0, 0}, ""},
    {BYTES("250 \r\n"), SMTP_REPLY_DONE, 250, {0, 0, 0}, ""},
    {BYTES("250 ok\n"), SMTP_REPLY_DONE, 250, {0, 0, 0}, "ok"},
    {BYTES("550 5.1.1 no such user\r\n"), SMTP_REPLY_DONE, 550, {5, 1, 1}, "no such user"},
    {BYTES("550-5.1.1 one\r\n550-5.1.1\r\n550 5.1.1  two \r\n"),
     SMTP_REPLY_DONE,
     550,
     {5, 1, 1},
     "one two"},
    {BYTES("550-first\r\n550 5.7.1 second\r\n"), SMTP_REPLY_DONE, 550, {5, 7, 1}, "first second"},
    {BYTES("450 5.7.1 contradiction\r\n"), SMTP_REPLY_DONE, 450, {5, 7, 1}, "contradiction"},
    {BYTES("334 5.7.1 x\r\n"), SMTP_REPLY_DONE, 334, {0, 0, 0}, "5.7.1 x"},
    {BYTES("571 #5.7.1 odd\r\n"), SMTP_REPLY_DONE, 571, {0, 0, 0}, "#5.7.1 odd"},
    {BYTES("250 a\tb\x01"
           "c\rd\r\n"),
     SMTP_REPLY_DONE,
     250,
     {0, 0, 0},
     "a b c d"},
    {BYTES("550 gr\xc3\xbc\xc3\x9f\r\n"), SMTP_REPLY_DONE, 550, {0, 0, 0}, "gr\xc3\xbc\xc3\x9f"},
    {BYTES("550 gr\xfc\xdf\r\n"), SMTP_REPLY_DONE, 550, {0, 0, 0}, "gr??"},
    {BYTES("250-a\r\n250"), SMTP_REPLY_MORE, 0, {0, 0, 0}, NULL},
    {BYTES("25\r\n"), SMTP_REPLY_BAD, 0, {0, 0, 0}, "reply does not begin with a reply code"},
    {BYTES("\r\n"), SMTP_REPLY_BAD, 0, {0, 0, 0}, "reply does not begin with a reply code"},
    {BYTES("150 x\r\n"), SMTP_REPLY_BAD, 0, {0, 0, 0}, "reply does not begin with a reply code"},
    {BYTES("600 x\r\n"), SMTP_REPLY_BAD, 0, {0, 0, 0}, "reply does not begin with a reply code"},
    {BYTES("2x0 x\r\n"), SMTP_REPLY_BAD, 0, {0, 0, 0}, "reply does not begin with a reply code"},
    {BYTES(" 250 x\r\n"), SMTP_REPLY_BAD, 0, {0, 0, 0}, "reply does not begin with a reply code"},
    {BYTES("2500 x\r\n"),
     SMTP_REPLY_BAD,
     0,
     {0, 0, 0},
     "reply code is not followed by a blank or hyphen"},
    {BYTES("250-a\r\n251 b\r\n"),
     SMTP_REPLY_BAD,
     0,
     {0, 0, 0},
     "reply code changes within a reply"},
    {BYTES("250 a\0b\r\n"), SMTP_REPLY_BAD, 0, {0, 0, 0}, "reply contains a NUL byte"},
};

static void test_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct wanted *wanted = &cases[i];
        for (size_t step = 1; step <= wanted->bytes.len; step++) {
            struct smtp_reply_parser parser;
            smtp_reply_init(&parser);
            assert_int_equal(feed(&parser, wanted->bytes, step), wanted->status);
            if (wanted->status == SMTP_REPLY_DONE) {
                assert_int_equal(parser.code, wanted->code);
                assert_int_equal(parser.enhanced.klass, wanted->enhanced.klass);
                assert_int_equal(parser.enhanced.subject, wanted->enhanced.subject);
                assert_int_equal(parser.enhanced.detail, wanted->enhanced.detail);
                assert_true(slice_eq(smtp_reply_text(&parser), slice_cstr(wanted->text)));
            } else if (wanted->status == SMTP_REPLY_BAD) {
                assert_string_equal(parser.problem, wanted->text);
            }
            smtp_reply_free(&parser);
        }
    }
}

/* Several replies in one input are taken one by one, each with its lines. */
static void test_sequence(void **state)
{
    struct smtp_reply_parser parser;
    struct slice bytes = SLICE("250-one\r\n250-SIZE 5\r\n250 DSN\r\n354 go\r\n220");
    (void)state;
    smtp_reply_init(&parser);
    assert_int_equal(smtp_reply_take(&parser, &bytes), SMTP_REPLY_LINE);
    assert_true(slice_eq(parser.line, SLICE("one")));
    assert_int_equal(parser.lines, 1);
    assert_int_equal(smtp_reply_take(&parser, &bytes), SMTP_REPLY_LINE);
    assert_true(slice_eq(parser.line, SLICE("SIZE 5")));
    assert_int_equal(smtp_reply_take(&parser, &bytes), SMTP_REPLY_DONE);
    assert_true(slice_eq(parser.line, SLICE("DSN")));
    assert_true(slice_eq(smtp_reply_text(&parser), SLICE("one SIZE 5 DSN")));
    assert_int_equal(smtp_reply_take(&parser, &bytes), SMTP_REPLY_DONE);
    assert_int_equal(parser.code, 354);
    assert_int_equal(parser.lines, 1);
    assert_int_equal(smtp_reply_take(&parser, &bytes), SMTP_REPLY_MORE);
    assert_int_equal(bytes.len, 0);
    smtp_reply_reset(&parser);
    bytes = SLICE("421 bye\r\n");
    assert_int_equal(smtp_reply_take(&parser, &bytes), SMTP_REPLY_DONE);
    assert_int_equal(parser.code, 421);
    smtp_reply_free(&parser);
}

static void test_bounds(void **state)
{
    struct smtp_reply_parser parser;
    char line[SMTP_REPLY_LINE_MAX * 2];
    (void)state;
    memset(line, 'x', sizeof(line));
    line[0] = '2';
    line[1] = '5';
    line[2] = '0';
    line[3] = ' ';
    line[sizeof(line) - 2] = '\r';
    line[sizeof(line) - 1] = '\n';
    for (size_t step = 1; step <= sizeof(line); step = step * 3 + 1) {
        smtp_reply_init(&parser);
        assert_int_equal(feed(&parser, slice_of(line, sizeof(line)), step), SMTP_REPLY_DONE);
        assert_int_equal(smtp_reply_text(&parser).len, SMTP_REPLY_LINE_MAX - 4);
        smtp_reply_free(&parser);
    }
    /* The text is bounded over all lines, and not cut inside a character. */
    smtp_reply_init(&parser);
    for (size_t i = 0; i < 100; i++) {
        struct slice bytes =
            SLICE("550-\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\r\n");
        assert_int_equal(smtp_reply_take(&parser, &bytes), SMTP_REPLY_LINE);
    }
    for (size_t i = 0; i < 100; i++) {
        struct slice bytes = SLICE("550-\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\r\n");
        assert_int_equal(smtp_reply_take(&parser, &bytes), SMTP_REPLY_LINE);
    }
    struct slice last = SLICE("550 end\r\n");
    assert_int_equal(smtp_reply_take(&parser, &last), SMTP_REPLY_DONE);
    assert_true(smtp_reply_text(&parser).len <= SMTP_REPLY_TEXT_MAX);
    assert_true(smtp_reply_text(&parser).len > SMTP_REPLY_TEXT_MAX - 8);
    assert_true(slice_is_utf8(smtp_reply_text(&parser)));
    assert_true(slice_find_byte(smtp_reply_text(&parser), '?') < 0);
    smtp_reply_free(&parser);
}

/* A peer that never ends its reply is stopped, and its bytes are not kept. */
static void test_endless(void **state)
{
    static const char *const endless[] = {"250-", "250-x\r\n", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(endless); i++) {
        struct smtp_reply_parser parser;
        size_t fed = 0;
        smtp_reply_init(&parser);
        struct slice first = SLICE("250-");
        smtp_reply_take(&parser, &first);
        enum smtp_reply_status status = SMTP_REPLY_MORE;
        for (; status != SMTP_REPLY_BAD && fed < (1u << 24); fed += strlen(endless[i])) {
            struct slice bytes = slice_cstr(endless[i]);
            status = smtp_reply_take(&parser, &bytes);
        }
        assert_int_equal(status, SMTP_REPLY_BAD);
        assert_true(fed < 2 * SMTP_REPLY_BYTES_MAX);
        assert_true(parser.partial.capacity <= SMTP_REPLY_LINE_MAX + 1);
        assert_true(parser.text.capacity <= SMTP_REPLY_TEXT_MAX + 1);
        smtp_reply_free(&parser);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_endless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
