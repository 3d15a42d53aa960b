#include "smtp/enhanced.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_take(void **state)
{
    static const struct {
        const char *text;
        struct smtp_enhanced status;
        const char *rest;
    } good[] = {
        {"5.1.1 no such user", {5, 1, 1}, "no such user"},
        {"2.0.0", {2, 0, 0}, ""},
        {"4.7.650 x", {4, 7, 650}, "x"},
        {"5.999.999  two blanks", {5, 999, 999}, " two blanks"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct slice rest = slice_cstr(good[i].text);
        struct smtp_enhanced status;
        assert_true(smtp_enhanced_take(&rest, &status));
        assert_int_equal(status.klass, good[i].status.klass);
        assert_int_equal(status.subject, good[i].status.subject);
        assert_int_equal(status.detail, good[i].status.detail);
        assert_true(slice_eq(rest, slice_cstr(good[i].rest)));
    }
}

static void test_take_refuses(void **state)
{
    static const char *const bad[] = {
        "",         "5",        "5.",       "5.1",        "5.1.",   "5.1. x",
        "3.1.1 x",  "1.1.1",    "6.0.0 x",  ".1.1 x",     "5..1 x", "5.1.1x",
        "5.1.1: x", "#5.1.1 x", "5.1234.1", "5.1.1234 x", "55.1.1", " 5.1.1",
        "5.-1.1 x", "5.1.1\tx", "5,1,1 x",  "5.1.1.1 x",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice rest = slice_cstr(bad[i]);
        struct smtp_enhanced status = {9, 9, 9};
        assert_false(smtp_enhanced_take(&rest, &status));
        assert_true(rest.ptr == bad[i] && rest.len == strlen(bad[i]));
        assert_int_equal(status.klass, 9);
    }
}

static void test_format(void **state)
{
    char out[SMTP_ENHANCED_TEXT_MAX];
    (void)state;
    struct slice text = smtp_enhanced_format((struct smtp_enhanced){5, 7, 30}, out);
    assert_string_equal(out, "5.7.30");
    assert_int_equal(text.len, 6);
    smtp_enhanced_format((struct smtp_enhanced){4, 999, 999}, out);
    assert_string_equal(out, "4.999.999");
    text = smtp_enhanced_format((struct smtp_enhanced){0, 1, 1}, out);
    assert_string_equal(out, "");
    assert_int_equal(text.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_take_refuses),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
