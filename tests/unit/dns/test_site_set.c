/*
 * Key, name and order of sets of MX hosts.
 */
#include "dns/site_set.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct mx {
    uint16_t preference;
    const char *name;
};

static struct dns_site *make(const struct mx *set, size_t count)
{
    struct dns_host *hosts = mem_calloc(count, sizeof(*hosts));
    for (size_t i = 0; i < count; i++) {
        hosts[i].preference = set[i].preference;
        (void)snprintf(hosts[i].name, sizeof(hosts[i].name), "%s", set[i].name);
    }
    struct dns_site *site = dns_site_make(hosts, count, NULL, MONO_NEVER);
    mem_free(hosts);
    return site;
}

#define MAKE(...)                                                                                  \
    make((const struct mx[]){__VA_ARGS__}, ARRAY_LEN(((const struct mx[]){__VA_ARGS__})))

static void test_key(void **state)
{
    (void)state;
    struct dns_site *one = MAKE({10, "a.example.test"}, {20, "b.example.test"});
    struct dns_site *same =
        MAKE({5, "b.example.test"}, {7, "a.example.test"}, {9, "b.example.test"});
    struct dns_site *less = MAKE({10, "a.example.test"});
    struct dns_site *other = MAKE({10, "a.example.tes"}, {20, "tb.example.test"});
    assert_string_equal(one->key, same->key);
    assert_string_not_equal(one->key, less->key);
    assert_string_not_equal(one->key, other->key);
    assert_int_equal(strlen(one->key), 32);
    /* Fixed for ever: it is stored and shared between processes. */
    assert_string_equal(less->key, "b65570a73ea6b07b8a15d0db8a361eee");
    assert_int_equal(same->host_count, 2);
    assert_string_equal(same->hosts[0].name, "b.example.test");
    assert_int_equal(same->hosts[0].preference, 5);
    dns_site_unref(&one);
    dns_site_unref(&same);
    dns_site_unref(&less);
    dns_site_unref(&other);
}

static void test_name(void **state)
{
    (void)state;
    const struct {
        const char *name;
        struct mx set[3];
        size_t count;
    } cases[] = {
        {"google.com",
         {{5, "gmail-smtp-in.l.google.com"},
          {10, "alt1.gmail-smtp-in.l.google.com"},
          {20, "alt2.gmail-smtp-in.l.google.com"}},
         3},
        {"google.com", {{1, "aspmx.l.google.com"}, {5, "alt1.aspmx.l.google.com"}}, 2},
        {"aspmx.l.google.com", {{10, "aspmx2.googlemail.com"}, {1, "aspmx.l.google.com"}}, 2},
        {"outlook.com", {{0, "example-com.mail.protection.outlook.com"}}, 1},
        {"bigpond.com.au", {{10, "extmail.bigpond.com.au"}, {20, "ext2.bigpond.com.au"}}, 2},
        {"mx.one.co.uk", {{10, "mx.one.co.uk"}, {20, "mx.two.co.uk"}}, 2},
        {"co.uk", {{10, "co.uk"}}, 1},
        {"example.test", {{10, "example.test"}}, 1},
        {"mail", {{10, "mail"}}, 1},
        {"mx1", {{10, "mx1"}, {20, "mx2"}}, 2},
        /* Equal preference: the first by name, so that the name does not change from answer to
           answer. */
        {"a.one.test", {{10, "b.two.test"}, {10, "a.one.test"}}, 2},
        /* A common ending that is not a common domain. */
        {"mx.google.com", {{10, "mx.google.com"}, {20, "mx.notgoogle.com"}}, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_site *site = make(cases[i].set, cases[i].count);
        assert_string_equal(site->name, cases[i].name);
        dns_site_unref(&site);
        assert_null(site);
    }
}

static void test_fixed_name(void **state)
{
    (void)state;
    struct dns_host host = {.name = "example.test"};
    struct dns_site *site = dns_site_make(&host, 1, "sub.example.test", MONO_NEVER);
    assert_string_equal(site->name, "sub.example.test");
    dns_site_unref(&site);
}

static void test_order(void **state)
{
    (void)state;
    enum { ROUNDS = 3000 };
    struct dns_site *site = MAKE({20, "d"}, {10, "a"}, {10, "b"}, {10, "c"}, {30, "e"}, {30, "f"});
    unsigned seen[6][6] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t order[6];
        dns_site_order(site, order);
        unsigned used = 0;
        for (size_t i = 0; i < 6; i++) {
            assert_true(order[i] < 6);
            used |= 1u << order[i];
            seen[i][order[i]]++;
            assert_true(i == 0 ||
                        site->hosts[order[i - 1]].preference <= site->hosts[order[i]].preference);
        }
        assert_int_equal(used, 0x3f);
    }
    /* Each of three equal ones comes first about as often: 1000 expected, sigma 26. */
    for (size_t host = 0; host < 3; host++) {
        for (size_t place = 0; place < 3; place++) {
            assert_in_range(seen[place][host], 800, 1200);
        }
    }
    assert_int_equal(seen[3][3], ROUNDS);
    dns_site_unref(&site);
}

static void test_too_many(void **state)
{
    (void)state;
    enum { HOSTS = DNS_SITE_HOSTS_MAX + 10 };
    struct dns_host hosts[HOSTS] = {{{0}, 0}};
    for (size_t i = 0; i < HOSTS; i++) {
        hosts[i].preference = (uint16_t)(HOSTS - i);
        (void)snprintf(hosts[i].name, sizeof(hosts[i].name), "mx%zu.example.test", i);
    }
    struct dns_site *site = dns_site_make(hosts, HOSTS, NULL, MONO_NEVER);
    assert_int_equal(site->host_count, DNS_SITE_HOSTS_MAX);
    assert_int_equal(site->hosts[0].preference, 1);
    assert_int_equal(site->hosts[DNS_SITE_HOSTS_MAX - 1].preference, DNS_SITE_HOSTS_MAX);
    dns_site_unref(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),        cmocka_unit_test(test_name),
        cmocka_unit_test(test_fixed_name), cmocka_unit_test(test_order),
        cmocka_unit_test(test_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
