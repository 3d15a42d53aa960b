/*
 * The content decoder: dot-unstuffing and the end mark across every split, the smuggling forms, and
 * a comparison with a model that looks at one byte after the other.
 */
#include "smtp/unstuff.h"

#include "unit/smtp/seeded.h"
#include "base/strbuf.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

struct decoded {
    enum smtp_unstuff_result result; /* MORE, END, BAD */
    size_t taken;
    struct strbuf content;
};

/* Feeds the bytes in two parts. */
static void decode(struct slice bytes, size_t split, bool dots, struct decoded *out)
{
    struct smtp_unstuff unstuff;
    struct slice parts[2] = {slice_head(bytes, split), slice_skip(bytes, split)};
    smtp_unstuff_init(&unstuff, dots);
    strbuf_init(&out->content, 100000);
    out->taken = 0;
    for (size_t i = 0; i < 2; i++) {
        struct slice rest = parts[i];
        struct slice piece;
        do {
            out->result = smtp_unstuff_next(&unstuff, &rest, &piece);
            if (out->result == SMTP_UNSTUFF_PIECE) {
                assert_true(piece.len > 0);
                strbuf_add_slice(&out->content, piece);
            }
        } while (out->result == SMTP_UNSTUFF_PIECE);
        out->taken += parts[i].len - rest.len;
        if (out->result != SMTP_UNSTUFF_MORE) {
            break;
        }
    }
    if (out->result == SMTP_UNSTUFF_BAD) {
        assert_non_null(unstuff.wrong);
    }
}

static void check_message(struct slice wire, struct slice content)
{
    for (size_t split = 0; split <= wire.len; split++) {
        struct decoded got;
        decode(wire, split, true, &got);
        assert_int_equal(got.result, SMTP_UNSTUFF_END);
        assert_int_equal(got.taken, wire.len);
        assert_true(slice_eq(strbuf_slice(&got.content), content));
        strbuf_free(&got.content);
    }
}

static void test_messages(void **state)
{
    (void)state;
    check_message(SLICE(".\r\n"), SLICE(""));
    check_message(SLICE("\r\n.\r\n"), SLICE("\r\n"));
    check_message(SLICE("a\r\n.\r\n"), SLICE("a\r\n"));
    check_message(SLICE("Subject: x\r\n\r\nbody line\r\n.\r\n"),
                  SLICE("Subject: x\r\n\r\nbody line\r\n"));
    check_message(SLICE("..\r\n.\r\n"), SLICE(".\r\n"));
    check_message(SLICE("...\r\n..a\r\n.b\r\n.\r\n"), SLICE("..\r\n.a\r\nb\r\n"));
    check_message(SLICE("a.\r\n.\r\n"), SLICE("a.\r\n"));
    check_message(SLICE("a.b\r\n..\r\n..\r\n\r\n.\r\n"), SLICE("a.b\r\n.\r\n.\r\n\r\n"));
    check_message(SLICE("tab\there\x0b\x0c\x01\r\n.\r\n"), SLICE("tab\there\x0b\x0c\x01\r\n"));
    check_message(SLICE("\x8d\x8a\x80\xff 8 bit, high bits \x8d\x8a of CR and LF\r\n.\r\n"),
                  SLICE("\x8d\x8a\x80\xff 8 bit, high bits \x8d\x8a of CR and LF\r\n"));
}

static void test_rest_is_left(void **state)
{
    struct decoded got;
    struct slice wire = SLICE("a\r\n.\r\nQUIT\r\n");
    (void)state;
    for (size_t split = 0; split <= wire.len; split++) {
        decode(wire, split, true, &got);
        assert_int_equal(got.result, SMTP_UNSTUFF_END);
        assert_int_equal(got.taken, 6);
        strbuf_free(&got.content);
    }
}

static void test_smuggling(void **state)
{
    static const struct slice forms[] = {
        {"\n.\r\n", 4},
        {"\r\n.\n", 4},
        {"\n.\n", 3},
        {"\n\n", 2},
        {"\r.\r\n", 4},
        {"\r\n.\r", 4},
        {"\r.\r", 3},
        {"\n.\r", 3},
        {"\r\r\n.\r\n", 6},
        {"\r\r\n.\r\r\n", 7},
        {"\r\n\x00.\r\n", 6},
        {"\0", 1},
        {"\r\n.\0\r\n", 6},
        {"\r\n.\r\0\n", 6},
        {"\n", 1},
        {"\r", 1},
        {"\r\n\n.\r\n", 6},
        {"\r\n\r.\r\n", 6},
        {"\n\r.\n\r", 5},
        {"\r\n.\r.\r\n", 7},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct strbuf wire;
        strbuf_init(&wire, 100);
        strbuf_add_cstr(&wire, "abc");
        strbuf_add_slice(&wire, forms[i]);
        strbuf_add_cstr(&wire, "MAIL FROM:<>\r\n.\r\n");
        for (size_t split = 0; split <= wire.len; split++) {
            for (int dots = 0; dots < 2; dots++) {
                struct decoded got;
                decode(strbuf_slice(&wire), split, dots != 0, &got);
                /* Without dots "CRLF . CR" and the like are bad for their bare CR as well. */
                if (got.result != SMTP_UNSTUFF_BAD) {
                    fail_msg("form %zu got through, split %zu, dots %d", i, split, dots);
                }
                strbuf_free(&got.content);
            }
        }
        strbuf_free(&wire);
    }
}

static void test_chunks(void **state)
{
    struct smtp_unstuff unstuff;
    struct slice piece;
    struct slice rest = SLICE(".\r\n..\r\na\r");
    (void)state;
    smtp_unstuff_init(&unstuff, false);
    assert_int_equal(smtp_unstuff_next(&unstuff, &rest, &piece), SMTP_UNSTUFF_PIECE);
    assert_true(slice_eq(piece, SLICE(".\r\n..\r\na\r")));
    assert_false(smtp_unstuff_complete(&unstuff));
    rest = SLICE("\nno end of line");
    assert_int_equal(smtp_unstuff_next(&unstuff, &rest, &piece), SMTP_UNSTUFF_PIECE);
    assert_true(smtp_unstuff_complete(&unstuff));
}

/* RFC 5321 section 4.5.2 read literally, on a whole buffer: lines, each ended by CRLF. */
static enum smtp_unstuff_result model(struct slice wire, size_t *taken, struct strbuf *content)
{
    size_t start = 0;
    for (size_t at = 0; at < wire.len; at++) {
        char c = wire.ptr[at];
        if (c == '\0' || (c == '\n' && (at == 0 || wire.ptr[at - 1] != '\r')) ||
            (at > 0 && wire.ptr[at - 1] == '\r' && c != '\n')) {
            return SMTP_UNSTUFF_BAD;
        }
        if (c == '\n') {
            struct slice line = slice_of(wire.ptr + start, at + 1 - start);
            start = at + 1;
            if (slice_eq(line, SLICE(".\r\n"))) {
                *taken = start;
                return SMTP_UNSTUFF_END;
            }
            strbuf_add_slice(content, line.ptr[0] == '.' ? slice_skip(line, 1) : line);
        }
    }
    struct slice line = slice_skip(wire, start);
    struct slice mark = SLICE(".\r");
    if (slice_eq(line, mark)) {
        line = SLICE_NULL;
    }
    strbuf_add_slice(content, line.len > 0 && line.ptr[0] == '.' ? slice_skip(line, 1) : line);
    *taken = wire.len;
    return SMTP_UNSTUFF_MORE;
}

static void test_model(void **state)
{
    static const char *const parts[] = {
        "\r\n",   "\r\n",      "\r\n.", ".",  "a",  "some longer text without an end",
        "\r\n..", "\r\n.\r\n", "\n",    "\r", "\t", "\x8d"};
    (void)state;
    seeded_start("test_model");
    for (size_t round = 0; round < 20000; round++) {
        struct strbuf wire;
        struct strbuf expected;
        struct decoded got;
        size_t taken = 0;
        uint32_t bound = round % 4 == 0 ? ARRAY_LEN(parts) : 7;
        strbuf_init(&wire, 10000);
        strbuf_init(&expected, 10000);
        strbuf_add_byte(&wire, 'x');
        for (uint32_t n = seeded_below(12); n > 0; n--) {
            strbuf_add_cstr(&wire, parts[seeded_below(bound)]);
        }
        enum smtp_unstuff_result result = model(strbuf_slice(&wire), &taken, &expected);
        decode(strbuf_slice(&wire), seeded_below((uint32_t)wire.len + 1), true, &got);
        assert_int_equal(got.result, result);
        if (result != SMTP_UNSTUFF_BAD) {
            assert_int_equal(got.taken, taken);
            assert_true(slice_eq(strbuf_slice(&got.content), strbuf_slice(&expected)));
        }
        strbuf_free(&wire);
        strbuf_free(&expected);
        strbuf_free(&got.content);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),  cmocka_unit_test(test_rest_is_left),
        cmocka_unit_test(test_smuggling), cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
