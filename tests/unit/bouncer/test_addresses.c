/* What the bouncer takes mail for, and that it takes nothing else. */
#include "bouncer/addresses.h"

#include "unit/cmocka_all.h"

static const struct wall_time NOW = {INT64_C(1795500000000)};
#define DAY_MS INT64_C(86400000)

static const char *domains[] = {"r.example.com"};
static struct config_address entries[] = {
    {.address = "fbl@example.net", .kind = CONFIG_ADDRESS_FEEDBACK, .tenant = "acme"},
    {.address = "@leave.example.net", .kind = CONFIG_ADDRESS_UNSUBSCRIBE},
    {.address = "old@leave.example.net", .kind = CONFIG_ADDRESS_BOUNCE},
};
static const struct config config = {
    .verp = {.domains = domains, .domain_count = 1, .max_age_ms = 14 * DAY_MS},
    .bouncer = {.addresses = entries, .address_count = ARRAY_LEN(entries)},
};

static struct verp_keys *make_keys(const char *secret)
{
    const struct verp_key key = {.id = 3, .secret = slice_cstr(secret)};
    struct verp_keys *keys = verp_keys_create(&key, 1, NULL);
    assert_non_null(keys);
    return keys;
}

static struct address_match look(const struct verp_keys *keys, const char *address)
{
    struct address_match match;
    address_find(&config, keys, slice_cstr(address), NOW, &match);
    return match;
}

static void configured(void **state)
{
    struct verp_keys *keys = make_keys("0123456789abcdef");
    struct address_match match = look(keys, "FBL@Example.net");
    (void)state;
    assert_int_equal(match.class, ADDRESS_FEEDBACK);
    assert_string_equal(match.tenant, "acme");
    assert_false(match.has_token);
    match = look(keys, "anyone@leave.example.net");
    assert_int_equal(match.class, ADDRESS_UNSUBSCRIBE);
    assert_null(match.tenant);
    /* The whole address goes before its domain. */
    assert_int_equal(look(keys, "old@leave.example.net").class, ADDRESS_BOUNCE);
    verp_keys_free(&keys);
}

static void roles(void **state)
{
    static const char *const ours[] = {"postmaster", "Postmaster@r.example.com",
                                       "abuse@example.net", "abuse@leave.example.net"};
    struct verp_keys *keys = make_keys("0123456789abcdef");
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        assert_int_equal(look(keys, ours[i]).class, ADDRESS_ROLE);
    }
    verp_keys_free(&keys);
}

static void foreign(void **state)
{
    static const char *const others[] = {
        "",
        "@",
        "fbl",
        "fbl@",
        "@example.net",
        "user@example.net",
        "postmaster@example.org",
        "fbl@example.net.evil.example",
        "user@sub.leave.example.net",
        "user%example.org@r.example.com",
        "fbl@example.net@example.org",
    };
    struct verp_keys *keys = make_keys("0123456789abcdef");
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(look(keys, others[i]).class, ADDRESS_FOREIGN);
    }
    verp_keys_free(&keys);
}

static void signed_ones(void **state)
{
    struct verp_keys *keys = make_keys("0123456789abcdef");
    struct verp_keys *others = make_keys("fedcba9876543210");
    struct verp_token token = {.message = uuid_v7(NOW), .sent_ms = NOW.ms, .facts = 77};
    char local[VERP_LOCAL_LEN + 1], address[VERP_LOCAL_LEN + 40];
    (void)state;
    assert_true(verp_sign(keys, &token, NOW, local));
    snprintf(address, sizeof(address), "%s@R.example.com", local);
    struct address_match match = look(keys, address);
    assert_int_equal(match.class, ADDRESS_VERP);
    assert_int_equal(match.verdict, VERP_GOOD);
    assert_int_equal(match.token.facts, 77);
    /* Taken, so that it can be told; not believed. */
    match = look(others, address);
    assert_int_equal(match.class, ADDRESS_VERP);
    assert_int_equal(match.verdict, VERP_FORGED);
    /* The same local part elsewhere is nothing. */
    snprintf(address, sizeof(address), "%s@example.org", local);
    assert_int_equal(look(keys, address).class, ADDRESS_FOREIGN);

    token.purpose = VERP_UNSUBSCRIBE;
    assert_true(verp_sign(keys, &token, NOW, local));
    snprintf(address, sizeof(address), "%s@r.example.com", local);
    assert_int_equal(look(keys, address).class, ADDRESS_UNSUBSCRIBE);
    verp_keys_free(&keys);
    verp_keys_free(&others);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configured),
        cmocka_unit_test(roles),
        cmocka_unit_test(foreign),
        cmocka_unit_test(signed_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
