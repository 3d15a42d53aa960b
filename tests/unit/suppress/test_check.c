/* From records of the topic to the question whether mail is held back. */
#include "suppress/check.h"

#include "base/clock.h"
#include "schema/suppression.h"
#include "suppress/follow.h"
#include "suppress/policy.h"

#include "unit/cmocka_all.h"

#define NOW ((int64_t)1764000000000)

static struct config_suppression policies[] = {{.name = "default", .list_metadata = "list"}};
static const struct config config = {.suppression = policies, .suppression_count = 1};
static struct suppress_set *set;
static struct suppress_checker *checker;

static int set_up(void **state)
{
    (void)state;
    set = suppress_set_create();
    checker = suppress_checker_open(set, &config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    suppress_checker_close(&checker);
    assert_null(checker);
    suppress_set_free(&set);
    return 0;
}

static void put(const char *key, int reason, int64_t expires_ms)
{
    const struct suppression entry = {.reason = reason, .time_ms = NOW, .expires_ms = expires_ms};
    struct strbuf value;
    struct fault fault;
    strbuf_init(&value, SUPPRESSION_ENCODED_MAX);
    assert_true(suppression_encode(&entry, &value));
    assert_true(suppress_set_apply(set, slice_cstr(key), strbuf_slice(&value), NOW, &fault));
    strbuf_free(&value);
}

/* Mail of a tenant, on a list or none, to two recipients. */
static bool is_held(const char *tenant, const char *list, size_t recipient,
                    struct suppress_found *found)
{
    struct message_pair metadata = {SLICE("list"), slice_cstr(list)};
    struct message_recipient recipients[2] = {{.address = SLICE("Ann@X.test")},
                                              {.address = SLICE("bob@X.test")}};
    const struct message message = {.tenant = slice_cstr(tenant),
                                    .domain = SLICE("x.test"),
                                    .metadata = &metadata,
                                    .metadata_count = list[0] == '\0' ? 0 : 1,
                                    .recipients = recipients,
                                    .recipient_count = 2};
    return suppress_check_message(checker, &message, recipient, NOW, found);
}

static void an_entry_of_the_tenant_holds_all_its_mail(void **state)
{
    struct suppress_found found;
    (void)state;
    put("shop//ann@x.test", SUPPRESSION_HARD, 0);
    assert_true(is_held("shop", "", 0, &found));
    assert_int_equal(found.mark.reason, SUPPRESSION_HARD);
    assert_true(is_held("shop", "news", 0, &found));
    assert_false(is_held("shop", "", 1, &found));
    assert_false(is_held("other", "", 0, &found));
    assert_false(is_held("", "", 0, &found));
    assert_true(suppress_check_address(checker, SLICE("shop"), SLICE("ANN@x.test"), SLICE("x.test"),
                                       NOW, &found));
}

static void an_entry_of_a_list_holds_that_list(void **state)
{
    struct suppress_found found;
    char text[SUPPRESS_FOUND_TEXT_MAX];
    (void)state;
    put("shop/news%2Fdaily/ann@x.test", SUPPRESSION_UNSUBSCRIBED, NOW + 3 * SUPPRESS_DAY_MS);
    assert_true(is_held("shop", "news/daily", 0, &found));
    struct slice told = suppress_found_text(&found, text);
    assert_string_equal(told.ptr, "unsubscribed, tenant shop, list news/daily, until 2025-11-28");
    assert_false(is_held("shop", "offers", 0, &found));
    assert_false(is_held("shop", "", 0, &found));
    assert_false(suppress_check_address(checker, SLICE("shop"), SLICE("ann@x.test"),
                                        SLICE("x.test"), NOW, &found));
}

static void an_entry_of_nobody_holds_everybodys_mail(void **state)
{
    struct suppress_found found;
    char text[SUPPRESS_FOUND_TEXT_MAX];
    (void)state;
    put("//ann@x.test", SUPPRESSION_MANUAL, 0);
    assert_true(is_held("shop", "", 0, &found));
    assert_true(is_held("", "", 0, &found));
    assert_string_equal(suppress_found_text(&found, text).ptr, "manual, all tenants");
}

static void what_is_over_or_was_removed_holds_nothing(void **state)
{
    struct suppress_found found;
    (void)state;
    put("shop//ann@x.test", SUPPRESSION_HARD, 0);
    put("shop//ann@x.test", SUPPRESSION_NONE, 0); /* taken off the list */
    assert_false(is_held("shop", "", 0, &found));
    put("shop//ann@x.test", SUPPRESSION_HARD, NOW - SUPPRESS_DAY_MS);
    assert_false(is_held("shop", "", 0, &found));
    put("shop//ann@x.test", SUPPRESSION_HARD, 0);
    assert_true(suppress_set_apply(set, SLICE("shop//ann@x.test"), SLICE_NULL, NOW, NULL));
    assert_false(is_held("shop", "", 0, &found));
    assert_int_equal(suppress_set_count(set), 0);
}

static void other_records_change_nothing(void **state)
{
    struct fault fault;
    (void)state;
    assert_false(suppress_set_apply(set, SLICE(SUPPRESSION_PROGRESS_KEY), SLICE("x"), NOW, &fault));
    assert_int_equal(fault.kind, FAULT_NOT_FOUND);
    assert_false(suppress_set_apply(set, SLICE("shop//a@x.test"), SLICE("\xff\xff"), NOW, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    assert_false(suppress_set_apply(set, SLICE_NULL, SLICE_NULL, NOW, &fault));
    assert_int_equal(suppress_set_count(set), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_entry_of_the_tenant_holds_all_its_mail, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_entry_of_a_list_holds_that_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_entry_of_nobody_holds_everybodys_mail, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_over_or_was_removed_holds_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(other_records_change_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
