#include "io/conn.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void accepts(void **state)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
        int family;
    } cases[] = {
        {"192.0.2.1:25", "192.0.2.1", 25, AF_INET},
        {"192.0.2.1", "192.0.2.1", 587, AF_INET},
        {"0.0.0.0:0", "0.0.0.0", 0, AF_INET},
        {"127.0.0.1:65535", "127.0.0.1", 65535, AF_INET},
        {"[2001:db8::1]:25", "2001:db8::1", 25, AF_INET6},
        {"[2001:DB8:0:0::1]", "2001:db8::1", 587, AF_INET6},
        {"2001:db8::1", "2001:db8::1", 587, AF_INET6},
        {"[::]:465", "::", 465, AF_INET6},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1", 587, AF_INET6},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sockaddr_storage address;
        socklen_t len = 0;
        struct fault fault;
        char text[IO_ADDRESS_TEXT_MAX];
        if (!io_address_parse(slice_cstr(cases[i].text), 587, &address, &len, &fault)) {
            fail_msg("%s", fault.text);
        }
        const struct sockaddr *any = (const struct sockaddr *)&address;
        struct slice host = io_address_format(any, text);
        assert_int_equal(any->sa_family, cases[i].family);
        assert_int_equal(len, cases[i].family == AF_INET ? 16 : 28);
        assert_string_equal(text, cases[i].host);
        assert_int_equal(host.len, strlen(cases[i].host));
        assert_int_equal(io_address_port(any), cases[i].port);
    }
}

static void refuses(void **state)
{
    static const struct slice cases[] = {
        {"", 0},
        {NULL, 0},
        {":25", 3},
        {"192.0.2.1:", 10},
        {"192.0.2.1:65536", 15},
        {"192.0.2.1:000025", 16},
        {"192.0.2.1:-1", 12},
        {"192.0.2.1:2 5", 13},
        {"192.0.2.1\0:25", 13},
        {"192.0.2.1\0", 10},
        {" 192.0.2.1", 10},
        {"192.0.2.256", 11},
        {"192.0.2", 7},
        {"[192.0.2.1]:25", 14},
        {"[2001:db8::1", 12},
        {"[2001:db8::1]25", 15},
        {"[2001:db8::1]:", 14},
        {"[]:25", 5},
        {"[", 1},
        {"]", 1},
        {"fe80::1%lo", 10},
        {"2001:db8:::1", 12},
        {"localhost:25", 12},
        {"1111111111222222222233333333334444444444555555555566666666667777777777", 70},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sockaddr_storage address;
        socklen_t len;
        struct fault fault = {0};
        if (io_address_parse(cases[i], 25, &address, &len, &fault)) {
            fail_msg("taken: %.*s", SLICE_FMT(cases[i]));
        }
        assert_int_equal(fault.kind, FAULT_INVALID);
        assert_false(slice_has_control(slice_cstr(fault.text)));
    }
}

static void formats_other_families_as_nothing(void **state)
{
    struct sockaddr unknown = {.sa_family = AF_UNIX};
    char text[IO_ADDRESS_TEXT_MAX];
    (void)state;
    assert_int_equal(io_address_format(&unknown, text).len, 0);
    assert_int_equal(io_address_port(&unknown), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(formats_other_families_as_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
