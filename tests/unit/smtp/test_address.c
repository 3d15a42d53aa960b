/*
 * Mailbox syntax of RFC 5321 and 6531, and domain normalisation.
 */
#include "smtp/address.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

static bool parses(const char *text)
{
    struct smtp_address address;
    struct fault fault = {0};
    bool ok = smtp_address_parse(slice_cstr(text), &address, &fault);
    assert_true(ok || fault.kind == FAULT_INVALID);
    assert_true(ok || fault.text[0] != '\0');
    return ok;
}

static void test_valid(void **state)
{
    static const char *const valid[] = {
        "a@b.example",
        "first.last@example.com",
        "user+tag=x@example.com",
        "!#$%&'*+-/=?^_`{|}~@x.org",
        "\"quoted string\"@example.com",
        "\"a@b\"@example.com",
        "\"\\\"\"@example.com",
        "\"\"@example.com",
        "a@[192.0.2.1]",
        "a@[IPv6:2001:db8::1]",
        "a@[ipv6:::ffff:192.0.2.1]",
        "a@localhost",
        "a@under_score.example",
        "a@_dmarc.example",
        "a@xn--bcher-kva.example",
        "a@3com.com",
        "a@1.2.3.com",
        "j\303\266rg@b\303\274cher.example",
        "\"\xe4\xbd\xa0 \xe5\xa5\xbd\"@example.com",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(valid); i++) {
        if (!parses(valid[i])) {
            fail_msg("refused: %s", valid[i]);
        }
    }
}

static void test_invalid(void **state)
{
    static const char *const invalid[] = {
        "",
        "a",
        "@",
        "a@",
        "@b",
        "a@b@c",
        ".a@b.c",
        "a.@b.c",
        "a..b@c.d",
        "a b@c.d",
        "a@b c.d",
        "<a@b.c>",
        "a@b..c",
        "a@.b",
        "a@b.",
        "a@-b.c",
        "a@b-.c",
        "a@b.c-",
        "a@b!c",
        "a(b)@c.d",
        "a,b@c.d",
        "a;b@c.d",
        "a:b@c.d",
        "a\\b@c.d",
        "\"a@b.c",
        "\"a\"b@c.d",
        "\"a\"@",
        "\"a\nb\"@c.d",
        "\"a\\",
        "\"a\\\"@c.d",
        "a@[192.0.2]",
        "a@[192.0.2.256]",
        "a@[]",
        "a@[IPv6:]",
        "a@[IPv6:1::2::3]",
        "a@[2001:db8::1]",
        "a@[x:y]",
        "a@[192.0.2.1",
        "a@192.0.2.1",
        "a@b.123",
        "a\r\n@b.c",
        "a@b\r\n.c",
        "a\t@b.c",
        "\xff@b.c",
        "a@\xc3(.c",
        "\xc0\xaf@b.c",
        "a\x7f@b.c",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(invalid); i++) {
        if (parses(invalid[i])) {
            fail_msg("accepted: %s", invalid[i]);
        }
    }
    struct smtp_address address;
    assert_false(smtp_address_parse(SLICE("a\0b@c.d"), &address, NULL));
    assert_false(smtp_address_parse(SLICE("a@c\0.d"), &address, NULL));
    assert_false(smtp_address_parse(SLICE("a@[1.2.3.4\0]"), &address, NULL));
    assert_false(smtp_address_parse(SLICE_NULL, &address, NULL));
}

static void test_parts(void **state)
{
    struct smtp_address address;
    (void)state;
    assert_true(smtp_address_parse(SLICE("\"x@y\"@Example.COM"), &address, NULL));
    assert_true(slice_eq(address.local, SLICE("\"x@y\"")));
    assert_true(slice_eq(address.domain, SLICE("Example.COM")));
    assert_false(address.literal);
    assert_false(address.utf8);
    assert_true(smtp_address_parse(SLICE("\xc3\xa9@[192.0.2.7]"), &address, NULL));
    assert_true(slice_eq(address.domain, SLICE("[192.0.2.7]")));
    assert_true(address.literal);
    assert_true(address.utf8);
}

/* `local` bytes, "@", labels of `label` bytes with dots up to `domain` bytes. */
static struct slice build(char *out, size_t local, size_t label, size_t domain)
{
    memset(out, 'a', local);
    out[local] = '@';
    for (size_t i = 0; i < domain; i++) {
        out[local + 1 + i] = i % (label + 1) == label ? '.' : 'b';
    }
    return slice_of(out, local + 1 + domain);
}

static void test_lengths(void **state)
{
    char text[600];
    struct smtp_address address;
    (void)state;
    assert_true(smtp_address_parse(build(text, 64, 63, 100), &address, NULL));
    assert_false(smtp_address_parse(build(text, 65, 63, 100), &address, NULL));
    assert_true(smtp_address_parse(build(text, 1, 63, 63), &address, NULL));
    assert_false(smtp_address_parse(build(text, 1, 64, 64), &address, NULL));
    assert_true(smtp_address_parse(build(text, 2, 63, 251), &address, NULL));
    assert_false(smtp_address_parse(build(text, 3, 63, 251), &address, NULL));
    /* A long local part of multi-byte characters is counted in bytes. */
    char wide[] = "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                  "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                  "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                  "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                  "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9@b.c";
    assert_false(smtp_address_parse(slice_cstr(wide), &address, NULL));
    assert_true(smtp_address_parse(slice_cstr(wide + 2), &address, NULL));
}

static void check_normal(const char *domain, const char *expected)
{
    char out[SMTP_DOMAIN_MAX + 1];
    struct fault fault = {0};
    if (!smtp_domain_normalise(slice_cstr(domain), out, &fault)) {
        fail_msg("refused: %s: %s", domain, fault.text);
    }
    assert_string_equal(out, expected);
}

static void test_normalise(void **state)
{
    (void)state;
    check_normal("Example.COM", "example.com");
    check_normal("localhost", "localhost");
    check_normal("A_b.example", "a_b.example");
    check_normal("B\303\274cher.Example", "xn--bcher-kva.example");
    check_normal("B\303\234CHER.example", "xn--bcher-kva.example");
    check_normal("bu\314\210cher.example", "xn--bcher-kva.example"); /* decomposed */
    check_normal("fa\xc3\x9f.de", "xn--fa-hia.de"); /* non-transitional: not fass.de */
    check_normal("XN--BCHER-KVA.example", "xn--bcher-kva.example");
    check_normal("a\343\200\202b.c\303\244", "a.b.xn--c-0fa"); /* ideographic full stop */
    check_normal("[192.0.2.1]", "[192.0.2.1]");
    check_normal("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]");
}

static void test_normalise_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "-a.b",
        "a-.b",
        "a.123",
        "[1.2.3]",
        "[",
        "[]",
        "\xff.de",
        "\xe2\x98\x83 .de",
        "\xe3\x80\x82",
        "a\343\200\202\343\200\202b",
        "a\xc3\xa4\xe3\x80\x82",
        "\xc2\xad",
        "a\357\274\240b.\303\244",
        "\xc3\xa4..de",
    };
    char out[SMTP_DOMAIN_MAX + 1];
    char text[600];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct fault fault = {0};
        if (smtp_domain_normalise(slice_cstr(wrong[i]), out, &fault)) {
            fail_msg("accepted: %s as %s", wrong[i], out);
        }
        assert_int_equal(fault.kind, FAULT_INVALID);
    }
    assert_false(smtp_domain_normalise(SLICE("a\0b"), out, NULL));
    assert_true(smtp_domain_normalise(slice_skip(build(text, 0, 63, 253), 1), out, NULL));
    assert_false(smtp_domain_normalise(slice_skip(build(text, 0, 62, 254), 1), out, NULL));
    /* Fits as UTF-8, not as A-labels. */
    memset(text, 'a', 250);
    for (size_t i = 0; i < 250; i += 25) {
        text[i] = '\xc3';
        text[i + 1] = '\xa4';
        text[i + 24] = '.';
    }
    text[249] = 'd';
    text[250] = 'e';
    assert_false(smtp_domain_normalise(slice_of(text, 251), out, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),     cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_parts),     cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_normalise), cmocka_unit_test(test_normalise_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
