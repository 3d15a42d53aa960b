/*
 * MX rdata, host names, referrals, addresses and address literals.
 */
#include "dns/record.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static enum dns_mx_kind parse(struct slice rdata, struct dns_host *host)
{
    memset(host, 0, sizeof(*host));
    return dns_mx_parse(rdata, host);
}

static void test_mx_good(void **state)
{
    (void)state;
    struct dns_host host;
    assert_int_equal(parse(SLICE("\x01\x02\x02MX\x07"
                                 "Example\x04test\0"),
                           &host),
                     DNS_MX_HOST);
    assert_int_equal(host.preference, 258);
    assert_string_equal(host.name, "mx.example.test");
    assert_int_equal(parse(SLICE("\0\0\0"), &host), DNS_MX_NULL);
    assert_int_equal(parse(SLICE("\0\x0a\0"), &host), DNS_MX_NULL);
}

static void test_mx_bad(void **state)
{
    (void)state;
    struct dns_host host;
    const struct slice bad[] = {
        SLICE(""),
        SLICE("\0\x0a"),
        SLICE("\0\x0a\x02mx"),         /* no root label */
        SLICE("\0\x0a\x02mx\0x"),      /* bytes behind */
        SLICE("\0\x0a\x09mx\0"),       /* label longer than the rest */
        SLICE("\0\x0a\x02mx\xc0\x0c"), /* compression */
        SLICE("\0\x0a\x03m.x\0"),      /* dot in a label */
        SLICE("\0\x0a\x03m\0x\0"),     /* NUL in a label */
        SLICE("\0\x0a\x03m x\0"),      /* blank */
        SLICE("\0\x0a\x03-mx\0"),      /* hyphen first */
        SLICE("\0\x0a\x09localhost\0"),
        SLICE("\0\x0a\x02mx\x09LOCALHOST\0"),
        SLICE("\0\x0a\x03"
              "192\x01"
              "0\x01"
              "2\x01"
              "1\0"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(parse(bad[i], &host), DNS_MX_UNUSABLE);
        assert_int_equal(host.name[0], '\0');
    }
}

static void test_mx_longest(void **state)
{
    (void)state;
    struct dns_host host;
    char wire[2 + 512] = {0};
    size_t len = 2;
    /* Three labels of 63 and one of 61 are 253 bytes as text, the most there is. */
    const size_t labels[] = {63, 63, 63, 61};
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        wire[len++] = (char)labels[i];
        memset(wire + len, 'a', labels[i]);
        len += labels[i];
    }
    wire[len++] = 0;
    assert_int_equal(parse(slice_of(wire, len), &host), DNS_MX_HOST);
    assert_int_equal(strlen(host.name), 253);
    wire[len - 1] = 1;
    wire[len++] = 'a';
    wire[len++] = 0;
    assert_int_equal(parse(slice_of(wire, len), &host), DNS_MX_UNUSABLE);
    wire[len - 1] = 63;
    len += 63;
    wire[len++] = 0;
    assert_int_equal(parse(slice_of(wire, len), &host), DNS_MX_UNUSABLE);
}

static void test_host_names(void **state)
{
    (void)state;
    const char *const good[] = {"mx.example.test", "a", "mail_1.example.test", "3com.com",
                                "xn--a-0"};
    const char *const bad[] = {"",          ".",           "mx.",        ".mx",   "a..b",
                               "192.0.2.1", "1",           "mx-.de",     "MX.de", "mx.de\n",
                               "localhost", "a.localhost", "[192.0.2.1]"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(dns_host_name_valid(slice_cstr(good[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(dns_host_name_valid(slice_cstr(bad[i])));
    }
    assert_false(dns_host_name_valid(SLICE("a\0b")));
    char label[64];
    memset(label, 'a', sizeof(label));
    assert_true(dns_host_name_valid(slice_of(label, 63)));
    assert_false(dns_host_name_valid(slice_of(label, 64)));
}

#define HEADER(answers, authorities) "\0\0\x81\x80\0\1\0" answers "\0" authorities "\0\0"
#define QUESTION "\2ab\0\0\x0f\0\1"
#define RECORD(type) "\xc0\x0c\0" type "\0\1\0\0\0\x3c\0\3\1x\0"

static void test_referral(void **state)
{
    (void)state;
    assert_true(dns_packet_is_referral(SLICE(HEADER("\0", "\1") QUESTION RECORD("\2"))));
    assert_true(dns_packet_is_referral(
        SLICE(HEADER("\1", "\2") QUESTION RECORD("\5") RECORD("\2") RECORD("\2"))));
    /* With a SOA it is "no data"; so it is without any authority (RFC 2308 section 2.2). */
    assert_false(
        dns_packet_is_referral(SLICE(HEADER("\0", "\2") QUESTION RECORD("\2") RECORD("\6"))));
    assert_false(dns_packet_is_referral(SLICE(HEADER("\0", "\0") QUESTION)));
    /* NS in the answer section is an answer. */
    assert_false(dns_packet_is_referral(SLICE(HEADER("\1", "\0") QUESTION RECORD("\2"))));
    struct slice whole = SLICE(HEADER("\0", "\1") QUESTION RECORD("\2"));
    for (size_t len = 0; len < whole.len; len++) {
        assert_false(dns_packet_is_referral(slice_head(whole, len)));
    }
}

static void test_literals(void **state)
{
    (void)state;
    const char *const good[][2] = {{"[192.0.2.1]", "[192.0.2.1]"},
                                   {"[127.0.0.1]", "[127.0.0.1]"},
                                   {"[IPv6:2001:DB8:0:0::1]", "[ipv6:2001:db8::1]"},
                                   {"[ipv6:::1]", "[ipv6:::1]"}};
    const char *const bad[] = {
        "",
        "[",
        "[]",
        "[ipv6:]",
        "192.0.2.1",
        "[192.0.2.1",
        "[192.0.2]",
        "[192.0.2.256]",
        "[192.0.2.1 ]",
        "[2001:db8::1]",
        "[ipv6:192.0.2.1]",
        "[x:y]",
        "[0.0.0.0]",
        "[224.0.0.1]",
        "[255.255.255.255]",
        "[ipv6:::]",
        "[ipv6:ff02::1]",
        "[ipv6:::ffff:192.0.2.1]",
        "[ipv6:1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]"};
    struct dns_ip ip;
    char text[DNS_NAME_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(dns_literal_parse(slice_cstr(good[i][0]), &ip));
        dns_literal_format(&ip, text);
        assert_string_equal(text, good[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(dns_literal_parse(slice_cstr(bad[i]), &ip));
    }
    assert_false(dns_literal_parse(SLICE("[192.0.2.1\0]"), &ip));
}

static void test_to_address(void **state)
{
    (void)state;
    struct dns_ip ip;
    struct dns_address address;
    assert_true(dns_literal_parse(SLICE("[192.0.2.1]"), &ip));
    dns_ip_to_address(&ip, &address);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address.address;
    assert_int_equal(address.len, sizeof(*v4));
    assert_int_equal(v4->sin_family, AF_INET);
    assert_int_equal(v4->sin_port, 0);
    assert_int_equal(ntohl(v4->sin_addr.s_addr), 0xc0000201);
    assert_true(dns_literal_parse(SLICE("[ipv6:::1]"), &ip));
    dns_ip_to_address(&ip, &address);
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&address.address;
    assert_int_equal(address.len, sizeof(*v6));
    assert_int_equal(v6->sin6_family, AF_INET6);
    assert_true(IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mx_good),    cmocka_unit_test(test_mx_bad),
        cmocka_unit_test(test_mx_longest), cmocka_unit_test(test_host_names),
        cmocka_unit_test(test_referral),   cmocka_unit_test(test_literals),
        cmocka_unit_test(test_to_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
