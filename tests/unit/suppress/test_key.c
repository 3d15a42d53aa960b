/* Keys: what is written is read again, and what is no key is refused. */
#include "suppress/key.h"

#include "unit/cmocka_all.h"

static void check(const char *tenant, const char *list, const char *address, const char *wanted)
{
    char key[SUPPRESS_KEY_MAX + 1];
    char room[SUPPRESS_LIST_MAX];
    struct suppress_key again;
    const struct suppress_key given = {slice_cstr(tenant), slice_cstr(list), slice_cstr(address)};
    size_t len = suppress_key_write(&given, key);
    key[len] = '\0';
    assert_string_equal(key, wanted);
    assert_true(suppress_key_read(slice_of(key, len), room, &again));
    assert_true(slice_eq(again.tenant, given.tenant));
    assert_true(slice_eq(again.list, given.list));
    assert_true(slice_eq(again.address, given.address));
}

static void test_written_and_read(void **state)
{
    char tenant[SUPPRESS_TENANT_MAX + 1];
    char list[SUPPRESS_LIST_MAX + 1];
    char key[SUPPRESS_KEY_MAX];
    char room[SUPPRESS_LIST_MAX];
    struct suppress_key again;
    (void)state;
    check("", "", "bob@example.com", "//bob@example.com");
    check("shop", "", "bob@example.com", "shop//bob@example.com");
    check("shop", "news", "bob/home@example.com", "shop/news/bob/home@example.com");
    check("shop", "a/b%c \xc3\xa9", "b@x.y", "shop/a%2Fb%25c \xc3\xa9/b@x.y");
    memset(tenant, 't', SUPPRESS_TENANT_MAX);
    memset(list, '/', SUPPRESS_LIST_MAX);
    const struct suppress_key longest = {slice_of(tenant, SUPPRESS_TENANT_MAX),
                                         slice_of(list, SUPPRESS_LIST_MAX), SLICE("b@x.y")};
    size_t len = suppress_key_write(&longest, key);
    assert_true(suppress_key_read(slice_of(key, len), room, &again));
    assert_true(slice_eq(again.list, longest.list));
}

static void test_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "builder",
        "/",
        "//",
        "shop/bob@example.com",
        "//bob",
        "/news/bob@x.y",
        "s p//b@x.y",
        "shop/%/b@x.y",
        "shop/%2/b@x.y",
        "s/%41/b@x.y",
        "shop/a\nb/b@x.y",
        "s//b@x.\x01y",
        "s/\xff/b@x.y",
    };
    char room[SUPPRESS_LIST_MAX];
    struct suppress_key key;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (suppress_key_read(slice_cstr(wrong[i]), room, &key)) {
            fail_msg("taken: %s", wrong[i]);
        }
    }
}

static void test_addresses_are_folded(void **state)
{
    static const char *const cases[][2] = {
        {"Bob@Example.COM", "bob@example.com"},
        {"\"A@B\"@example.com", "\"a@b\"@example.com"},
        {"bob@B\xc3\xbc"
         "cher.example",
         "bob@xn--bcher-kva.example"},
    };
    char out[SUPPRESS_ADDRESS_MAX + 1];
    struct slice folded;
    struct fault fault;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(suppress_address_fold(slice_cstr(cases[i][0]), out, &folded, &fault));
        assert_string_equal(out, cases[i][1]);
        assert_int_equal(folded.len, strlen(cases[i][1]));
    }
    assert_false(suppress_address_fold(SLICE("bob"), out, &folded, &fault));
    assert_true(fault.text[0] != '\0');
    assert_true(suppress_address_fold_known(SLICE("BOB@\xc3\xbc"), SLICE("x.y"), out, &folded));
    assert_string_equal(out, "bob@x.y");
    assert_false(suppress_address_fold_known(SLICE("@x.y"), SLICE("x.y"), out, &folded));
    assert_false(suppress_address_fold_known(SLICE("bob"), SLICE("x.y"), out, &folded));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_and_read),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_addresses_are_folded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
