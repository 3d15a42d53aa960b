/* Batches of rows for PostgreSQL: the last word of each key, in the text form of COPY. */
#include "bouncer/sink_rows.h"

#include "schema/suppression.h"

#include "unit/cmocka_all.h"

static struct sink_rows rows;

static int set_up(void **state)
{
    (void)state;
    sink_rows_init(&rows);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sink_rows_free(&rows);
    return 0;
}

static void add(const char *key, const struct suppression *entry)
{
    struct strbuf value;
    struct fault fault;
    strbuf_init(&value, SUPPRESSION_ENCODED_MAX);
    if (entry != NULL) {
        assert_true(suppression_encode(entry, &value));
    }
    assert_true(sink_rows_add(&rows, slice_cstr(key), strbuf_slice(&value), &fault));
    strbuf_free(&value);
}

static void expect_copy(const char *wanted)
{
    struct strbuf out;
    strbuf_init(&out, 65536);
    assert_true(sink_rows_copy(&rows, &out));
    assert_true(strbuf_add_byte(&out, '\0'));
    assert_string_equal(out.ptr, wanted);
    strbuf_free(&out);
}

static void an_entry_is_a_row(void **state)
{
    const struct suppression entry = {.reason = SUPPRESSION_HARD,
                                      .time_ms = 1795314413123,
                                      .bounce_class = SLICE("user-unknown"),
                                      .event_id = SLICE("e1"),
                                      .actor = SLICE("sluice-bouncer"),
                                      .note = SLICE("tab\there\nand \\")};
    (void)state;
    add("shop/a%2Fb/ann@x.test", &entry);
    expect_copy("f\tshop\ta/b\tann@x.test\thard\t2026-11-22T02:26:53.123Z\t\\N\tuser-unknown\te1"
                "\t\t\tsluice-bouncer\ttab\\there\\nand \\\\\n");
}

static void the_last_word_of_a_key_counts(void **state)
{
    const struct suppression hard = {.reason = SUPPRESSION_HARD};
    const struct suppression manual = {.reason = SUPPRESSION_MANUAL};
    const struct suppression removed = {.removed_ms = 1};
    (void)state;
    add("shop//ann@x.test", &hard);
    add("shop//ann@x.test", NULL);
    add("shop//ann@x.test", &manual);
    assert_int_equal(rows.count, 1);
    expect_copy("f\tshop\t\tann@x.test\tmanual\t\\N\t\\N\t\t\t\t\t\t\n");
    add("shop//ann@x.test", &removed);
    expect_copy("t\tshop\t\tann@x.test\t\t\\N\t\\N\t\t\t\t\t\t\n");
    add("shop//ann@x.test", &hard);
    add("shop//ann@x.test", NULL);
    expect_copy("t\tshop\t\tann@x.test\t\t\\N\t\\N\t\t\t\t\t\t\n");
    sink_rows_free(&rows);
    expect_copy("");
}

static void other_records_are_refused(void **state)
{
    struct fault fault;
    (void)state;
    assert_false(sink_rows_add(&rows, SLICE("no key"), SLICE_NULL, &fault));
    assert_false(sink_rows_add(&rows, SLICE("shop//ann@x.test"), SLICE("\xff\xff"), &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    assert_int_equal(rows.count, 0);
}

static void a_batch_is_full_at_its_bound(void **state)
{
    char key[64];
    (void)state;
    for (int i = 0; i < SINK_ROWS_MAX; i++) {
        assert_false(sink_rows_full(&rows));
        snprintf(key, sizeof(key), "shop//%d@x.test", i);
        add(key, NULL);
    }
    assert_true(sink_rows_full(&rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_entry_is_a_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_word_of_a_key_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_records_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_is_full_at_its_bound, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
