#include "smtp/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The names are an interface: records and configuration hold them. */
static void test_names(void **state)
{
    static const char *const results[] = {"none", "delivered", "deferred", "bounced", "uncertain"};
    static const char *const phases[] = {"none",     "dns",  "connect", "greeting", "ehlo",
                                         "starttls", "auth", "mail",    "rcpt",     "data",
                                         "message",  "rset", "quit",    "idle"};
    static const char *const scopes[] = {"none", "recipient", "message", "session", "site"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        assert_string_equal(smtp_result_name((enum smtp_result)i), results[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(phases); i++) {
        assert_string_equal(smtp_phase_name((enum smtp_phase)i), phases[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        assert_string_equal(smtp_scope_name((enum smtp_scope)i), scopes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
