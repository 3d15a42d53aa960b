#include "smtp/capability.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static uint32_t flags_of(const char *line)
{
    struct smtp_capabilities capabilities = {0};
    smtp_capability_take(&capabilities, slice_cstr(line));
    return capabilities.flags;
}

static uint64_t limit_of(const char *line)
{
    struct smtp_capabilities capabilities = {.size_limit_bytes = 7};
    smtp_capability_take(&capabilities, slice_cstr(line));
    return capabilities.size_limit_bytes;
}

static void test_keywords(void **state)
{
    (void)state;
    assert_int_equal(flags_of("PIPELINING"), SMTP_CAP_PIPELINING);
    assert_int_equal(flags_of("pipelining"), SMTP_CAP_PIPELINING);
    assert_int_equal(flags_of("CHUNKING "), SMTP_CAP_CHUNKING);
    assert_int_equal(flags_of("8BITMIME"), SMTP_CAP_8BITMIME);
    assert_int_equal(flags_of("SMTPUTF8 ignored"), SMTP_CAP_SMTPUTF8);
    assert_int_equal(flags_of("DSN"), SMTP_CAP_DSN);
    assert_int_equal(flags_of("STARTTLS"), SMTP_CAP_STARTTLS);
    assert_int_equal(flags_of("ENHANCEDSTATUSCODES"), SMTP_CAP_ENHANCEDSTATUSCODES);
    assert_int_equal(flags_of("REQUIRETLS"), SMTP_CAP_REQUIRETLS);
    assert_int_equal(flags_of("XPIPELINING"), 0);
    assert_int_equal(flags_of("PIPELININGX"), 0);
    assert_int_equal(flags_of("PIPELINING-X"), 0);
    assert_int_equal(flags_of(""), 0);
}

static void test_size(void **state)
{
    (void)state;
    assert_int_equal(flags_of("SIZE"), SMTP_CAP_SIZE);
    assert_int_equal(limit_of("SIZE"), 0);
    assert_int_equal(limit_of("SIZE 0"), 0);
    assert_int_equal(limit_of("SIZE 35882577"), 35882577);
    assert_int_equal(limit_of("size  35882577 "), 35882577);
    assert_int_equal(limit_of("SIZE 99999999999999999999999"), 0);
    assert_int_equal(limit_of("SIZE -1"), 0);
    assert_int_equal(limit_of("SIZE=10"), 7);
}

static void test_auth(void **state)
{
    (void)state;
    assert_int_equal(flags_of("AUTH PLAIN LOGIN CRAM-MD5"),
                     SMTP_CAP_AUTH_PLAIN | SMTP_CAP_AUTH_LOGIN);
    assert_int_equal(flags_of("auth  login"), SMTP_CAP_AUTH_LOGIN);
    assert_int_equal(flags_of("AUTH=LOGIN PLAIN"), SMTP_CAP_AUTH_PLAIN | SMTP_CAP_AUTH_LOGIN);
    assert_int_equal(flags_of("AUTH=PLAIN"), SMTP_CAP_AUTH_PLAIN);
    assert_int_equal(flags_of("AUTH PLAINER"), 0);
    assert_int_equal(flags_of("AUTH"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keywords),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_auth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
