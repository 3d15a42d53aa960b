/* Counting failures: groups, causes, events told twice, bounds; and random events against a plain
 * count. */
#include "ops/tally/tally.h"

#include "base/random.h"
#include "unit/cmocka_all.h"

#include <stdlib.h>

static struct event bounced(const char *id, const char *site, const char *class, const char *key)
{
    return (struct event){
        .type = EVENT_BOUNCED,
        .event_id = slice_cstr(id),
        .site = slice_cstr(site),
        .recipient = SLICE("jo@example.org"),
        .attempt = {.bounce_class = slice_cstr(class),
                    .disposition =
                        strcmp(class, "user-unknown") == 0 ? SLICE("hard") : SLICE("block"),
                    .cause_key = slice_cstr(key),
                    .code = 550,
                    .enhanced = SLICE("5.1.1"),
                    .text = SLICE("No such user jo@example.org")},
    };
}

static void groups_and_their_causes_come_by_frequency(void **state)
{
    static const char *const rows[][4] = {
        {"1", "google.com", "user-unknown", "000000000000000a"},
        {"2", "google.com", "user-unknown", "000000000000000a"},
        {"3", "google.com", "spam-content", "000000000000000b"},
        {"4", "yahoo.com", "spam-content", "000000000000000b"},
        {"5", "", "spam-content", ""},
        {"6", "", "spam-content", ""},
    };
    struct tally *tally = tally_create(TALLY_BY_SITE, TALLY_VIEW_SLUICE);
    size_t count;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct event event = bounced(rows[i][0], rows[i][1], rows[i][2], rows[i][3]);
        tally_add(tally, &event);
        tally_add(tally, &event); /* told again: the same id */
    }
    const struct tally_group *const *groups = tally_sorted(tally, &count);
    assert_int_equal(tally_total(tally), 6);
    assert_int_equal(count, 3);
    assert_true(slice_eq(groups[0]->name, SLICE("google.com")));
    assert_int_equal(groups[0]->count, 3);
    assert_int_equal(groups[0]->of[BOUNCE_DO_HARD], 2);
    assert_int_equal(groups[0]->of[BOUNCE_DO_BLOCK], 1);
    assert_int_equal(groups[0]->cause_count, 2);
    assert_string_equal(groups[0]->causes[0]->key, "000000000000000a");
    assert_string_equal(groups[0]->causes[0]->class_name, "user-unknown");
    assert_int_equal(groups[0]->causes[0]->example.code, 550);
    assert_int_equal(groups[0]->causes[0]->example.enhanced.subject, 1);
    assert_true(slice_eq(groups[1]->name, SLICE(TALLY_NONE)));
    assert_true(slice_eq(groups[2]->name, SLICE("yahoo.com")));
    tally_free(&tally);
}

static void late_bounces_count_by_what_their_report_says(void **state)
{
    struct tally *tally = tally_create(TALLY_BY_PROVIDER, TALLY_VIEW_POWERMTA);
    const struct event event = {
        .type = EVENT_BOUNCED_LATE,
        .event_id = SLICE("1"),
        .returned = {.bounce_class = SLICE("mailbox-full"),
                     .disposition = SLICE("soft"),
                     .cause_key = SLICE("00000000000000ff"),
                     .provider = SLICE("microsoft"),
                     .text = SLICE("full")},
    };
    size_t count;
    (void)state;
    tally_add(tally, &event);
    const struct tally_group *const *groups = tally_sorted(tally, &count);
    assert_int_equal(count, 1);
    assert_true(slice_eq(groups[0]->name, SLICE("microsoft")));
    assert_string_equal(groups[0]->causes[0]->class_name, "quota-issues");
    tally_free(&tally);
}

static void too_many_groups_share_one(void **state)
{
    struct tally *tally = tally_create(TALLY_BY_CAMPAIGN, TALLY_VIEW_SLUICE);
    size_t count;
    (void)state;
    for (unsigned i = 0; i < TALLY_GROUPS_MAX + 100; i++) {
        char name[24];
        struct event event = bounced("", "x", "user-unknown", "0000000000000001");
        (void)snprintf(name, sizeof(name), "c%u", i);
        event.campaign = slice_cstr(name);
        tally_add(tally, &event);
    }
    const struct tally_group *const *groups = tally_sorted(tally, &count);
    assert_int_equal(count, TALLY_GROUPS_MAX + 1);
    assert_true(slice_eq(groups[0]->name, SLICE(TALLY_OTHERS)));
    assert_int_equal(groups[0]->count, 100);
    tally_free(&tally);
}

#define SITES 7
#define KEYS 11

static void random_events_are_counted_as_by_hand(void **state)
{
    uint64_t by_hand[SITES][KEYS] = {{0}};
    uint64_t total = 0;
    struct tally *tally = tally_create(TALLY_BY_SITE, TALLY_VIEW_SLUICE);
    size_t count;
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        unsigned site = random_below(SITES);
        unsigned key = random_below(KEYS);
        char id[24], site_name[24], key_name[24];
        (void)snprintf(id, sizeof(id), "%u", i);
        (void)snprintf(site_name, sizeof(site_name), "site%u", site);
        (void)snprintf(key_name, sizeof(key_name), "%016u", key);
        const struct event event = bounced(id, site_name, "user-unknown", key_name);
        tally_add(tally, &event);
        by_hand[site][key]++;
        total++;
    }
    const struct tally_group *const *groups = tally_sorted(tally, &count);
    assert_int_equal(tally_total(tally), total);
    assert_int_equal(count, SITES);
    for (size_t i = 0; i < count; i++) {
        unsigned site = (unsigned)(groups[i]->name.ptr[4] - '0');
        assert_true(i == 0 || groups[i]->count <= groups[i - 1]->count);
        assert_int_equal(groups[i]->cause_count, KEYS);
        for (size_t k = 0; k < KEYS; k++) {
            const struct tally_cause *cause = groups[i]->causes[k];
            assert_int_equal(cause->count, by_hand[site][strtoul(cause->key, NULL, 10)]);
            assert_true(k == 0 || cause->count <= groups[i]->causes[k - 1]->count);
        }
    }
    tally_free(&tally);
}

static void names_are_parsed(void **state)
{
    enum tally_by by;
    enum tally_view view;
    (void)state;
    for (unsigned i = 0; i < TALLY_BY_COUNT; i++) {
        assert_true(tally_by_parse(slice_cstr(tally_by_name((enum tally_by)i)), &by));
        assert_int_equal(by, i);
    }
    assert_false(tally_by_parse(SLICE("sit"), &by));
    assert_true(tally_view_parse(SLICE("momentum"), &view));
    assert_false(tally_view_parse(SLICE(""), &view));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_and_their_causes_come_by_frequency),
        cmocka_unit_test(late_bounces_count_by_what_their_report_says),
        cmocka_unit_test(too_many_groups_share_one),
        cmocka_unit_test(random_events_are_counted_as_by_hand),
        cmocka_unit_test(names_are_parsed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
