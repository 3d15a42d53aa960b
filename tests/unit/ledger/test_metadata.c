/* The metadata of a committed offset: what is written is read again, and nothing else is taken. */
#include "ledger/metadata.h"

#include "unit/cmocka_all.h"

static void test_round_trip(void **state)
{
    (void)state;
    char name[249];
    memset(name, 'n', sizeof(name));
    const struct ledger_metadata all[] = {
        {.writer = SLICE("w")},
        {.slot = 7, .checkpoint = 12, .claim = 3, .released = true, .writer = SLICE("a-b.c")},
        {INT32_MAX, INT64_MAX, UINT64_MAX, true, slice_of(name, sizeof(name))},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char text[LEDGER_METADATA_MAX];
        struct ledger_metadata back;
        struct slice out = ledger_metadata_format(&all[i], text);
        assert_non_null(out.ptr);
        assert_int_equal(strlen(text), out.len);
        assert_true(ledger_metadata_parse(out, &back));
        assert_int_equal(back.slot, all[i].slot);
        assert_int_equal(back.checkpoint, all[i].checkpoint);
        assert_true(back.claim == all[i].claim);
        assert_int_equal(back.released, all[i].released);
        assert_true(slice_eq(back.writer, all[i].writer));
    }
}

static void test_text(void **state)
{
    (void)state;
    char text[LEDGER_METADATA_MAX];
    struct ledger_metadata metadata = {7, 12, 3, true, SLICE("sluice-w1")};
    ledger_metadata_format(&metadata, text);
    assert_string_equal(text, "1 7 12 3 r sluice-w1");
    metadata.released = false;
    ledger_metadata_format(&metadata, text);
    assert_string_equal(text, "1 7 12 3 - sluice-w1");
}

static void test_bad_names(void **state)
{
    (void)state;
    char text[LEDGER_METADATA_MAX];
    char name[250];
    memset(name, 'n', sizeof(name));
    const struct slice bad[] = {SLICE_NULL, SLICE("a b"), SLICE("a\x01"), SLICE("\xc3\xa4"),
                                slice_of(name, sizeof(name))};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ledger_metadata metadata = {.writer = bad[i]};
        assert_null(ledger_metadata_format(&metadata, text).ptr);
    }
}

static void test_garbage(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "1",
        "2 7 12 3 r w",
        "1 7 12 3 r",
        "1 7 12 3 r ",
        "1 7 12 3 x w",
        "1 7 12 3  w",
        "1 -7 12 3 r w",
        "1 2147483648 12 3 r w",
        "1 7 9223372036854775808 3 r w",
        "1 7 12 18446744073709551616 r w",
        "1 7 12 3 r w w",
        "1  7 12 3 r w",
        " 1 7 12 3 r w",
        "1 7 12 3 r w\n",
    };
    struct ledger_metadata metadata;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (ledger_metadata_parse(slice_cstr(bad[i]), &metadata)) {
            fail_msg("taken: \"%s\"", bad[i]);
        }
    }
    assert_false(ledger_metadata_parse(SLICE_NULL, &metadata));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
