/*
 * base64 and xtext: known vectors, round trips, and what must be refused.
 */
#include "smtp/base64.h"
#include "smtp/xtext.h"

#include "unit/smtp/seeded.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

static void check_base64(const char *plain, const char *encoded)
{
    struct strbuf out;
    char back[64];
    size_t len = 0;
    strbuf_init(&out, 100);
    assert_true(smtp_base64_encode(slice_cstr(plain), &out));
    assert_true(slice_eq(strbuf_slice(&out), slice_cstr(encoded)));
    assert_true(smtp_base64_decode(slice_cstr(encoded), back, sizeof(back), &len));
    assert_true(slice_eq(slice_of(back, len), slice_cstr(plain)));
    strbuf_free(&out);
}

static void test_base64_vectors(void **state) /* RFC 4648 section 10 */
{
    (void)state;
    check_base64("", "");
    check_base64("f", "Zg==");
    check_base64("fo", "Zm8=");
    check_base64("foo", "Zm9v");
    check_base64("foob", "Zm9vYg==");
    check_base64("fooba", "Zm9vYmE=");
    check_base64("foobar", "Zm9vYmFy");
}

static void test_base64_refused(void **state)
{
    static const char *const wrong[] = {"Z",        "Zg",       "Zg=",  "Zm9v=", "=",      "====",
                                        "Z===",     "Zg=v",     "Zh==", "Zm9=",  "Zm 8=",  "Zm8=\n",
                                        "Zg==Zg==", "Zm9v\r\n", "Zm-_", "*",     "Zm8\xff"};
    char out[16];
    size_t len = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (smtp_base64_decode(slice_cstr(wrong[i]), out, sizeof(out), &len)) {
            fail_msg("accepted: %s", wrong[i]);
        }
    }
    assert_false(smtp_base64_decode(SLICE("Zm9vYmFy"), out, 5, &len));
    assert_true(smtp_base64_decode(SLICE("Zm9vYmFy"), out, 6, &len));
}

static void test_round_trips(void **state)
{
    (void)state;
    seeded_start("test_round_trips");
    for (size_t round = 0; round < 2000; round++) {
        char bytes[80];
        char back[80];
        size_t len = seeded_below(sizeof(bytes));
        size_t back_len = 0;
        struct strbuf encoded;
        struct strbuf decoded;
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (char)(unsigned char)seeded_below(256);
        }
        strbuf_init(&encoded, 1000);
        strbuf_init(&decoded, 1000);
        assert_true(smtp_base64_encode(slice_of(bytes, len), &encoded));
        assert_true(smtp_base64_decode(strbuf_slice(&encoded), back, sizeof(back), &back_len));
        assert_true(slice_eq(slice_of(back, back_len), slice_of(bytes, len)));
        strbuf_reset(&encoded);
        assert_true(smtp_xtext_encode(slice_of(bytes, len), &encoded));
        assert_true(smtp_xtext_valid(strbuf_slice(&encoded)));
        assert_true(smtp_xtext_decode(strbuf_slice(&encoded), &decoded));
        assert_true(slice_eq(strbuf_slice(&decoded), slice_of(bytes, len)));
        strbuf_free(&encoded);
        strbuf_free(&decoded);
    }
}

static void test_xtext(void **state)
{
    static const char *const wrong[] = {"+",     "+4",  "+4g",      "+ab", "a=b", "a b",
                                        "a\x7f", "a+2", "\xc3\xa9", "+2 ", "\t"};
    struct strbuf out;
    (void)state;
    strbuf_init(&out, 20);
    assert_true(smtp_xtext_encode(SLICE("a+b=c \n\xff"), &out));
    assert_true(slice_eq(strbuf_slice(&out), SLICE("a+2Bb+3Dc+20+0A+FF")));
    assert_false(smtp_xtext_encode(SLICE("===="), &out));
    strbuf_reset(&out);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(smtp_xtext_valid(slice_cstr(wrong[i])));
        assert_false(smtp_xtext_decode(slice_cstr(wrong[i]), &out));
        strbuf_reset(&out);
    }
    assert_true(smtp_xtext_valid(SLICE_NULL));
    strbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_vectors),
        cmocka_unit_test(test_base64_refused),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_xtext),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
