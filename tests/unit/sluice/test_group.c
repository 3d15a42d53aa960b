/*
 * Recipients by domain, against what must hold: each one in exactly one group, of its domain, in
 * order, no group too large.
 */
#include "sluice/sluice.h"

#include "base/random.h"
#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

static void refused(void *opaque, size_t index, const struct sluice_error *error)
{
    int *count = opaque;
    (*count)++;
    assert_int_equal(error->result, SLUICE_INVALID);
    assert_memory_equal(error->text, "address: ", 9);
    assert_true(index == 1 || index == 4);
}

static void test_known(void **state)
{
    const struct sluice_recipient recipients[] = {
        {.address = "a@x.example"}, {.address = "nobody"}, {.address = "b@Y.example"},
        {.address = "c@X.EXAMPLE"}, {.address = NULL},     {.address = "d@x.example"},
        {.address = "e@y.example"},
    };
    int wrong = 0;
    size_t count;
    const size_t *indexes;
    struct sluice_groups *groups =
        sluice_group(recipients, ARRAY_LEN(recipients), 2, refused, &wrong);
    (void)state;
    assert_non_null(groups);
    assert_int_equal(wrong, 2);
    assert_int_equal(sluice_groups_count(groups), 3);
    const struct sluice_recipient *first = sluice_groups_get(groups, 0, &count, &indexes);
    assert_int_equal(count, 2);
    assert_string_equal(first[1].address, "c@X.EXAMPLE");
    assert_int_equal(indexes[1], 3);
    first = sluice_groups_get(groups, 1, &count, NULL);
    assert_int_equal(count, 2);
    assert_string_equal(first[0].address, "b@Y.example");
    first = sluice_groups_get(groups, 2, &count, &indexes);
    assert_string_equal(first[0].address, "d@x.example");
    assert_int_equal(count, 1);
    assert_int_equal(indexes[0], 5);
    sluice_groups_free(&groups);
    assert_null(groups);
    sluice_groups_free(&groups);
    assert_null(sluice_group(recipients, 1, 0, NULL, NULL));
    assert_null(sluice_group(recipients, 1, 1001, NULL, NULL));
    groups = sluice_group(NULL, 0, 1, NULL, NULL);
    assert_int_equal(sluice_groups_count(groups), 0);
    sluice_groups_free(&groups);
}

#define MANY 5000

static void test_random(void **state)
{
    static char addresses[MANY][40];
    static struct sluice_recipient recipients[MANY];
    static bool seen[MANY];
    (void)state;
    for (int round = 0; round < 10; round++) {
        size_t most = 1 + random_below(50);
        uint32_t domains = 1 + random_below(200);
        memset(seen, 0, sizeof(seen));
        for (size_t i = 0; i < MANY; i++) {
            snprintf(addresses[i], sizeof(addresses[i]), "u%zu@d%u.example", i,
                     random_below(domains));
            recipients[i] = (struct sluice_recipient){.address = addresses[i]};
        }
        struct sluice_groups *groups = sluice_group(recipients, MANY, most, NULL, NULL);
        size_t total = 0;
        for (size_t g = 0; g < sluice_groups_count(groups); g++) {
            size_t count;
            const size_t *indexes;
            const struct sluice_recipient *members = sluice_groups_get(groups, g, &count, &indexes);
            assert_true(count >= 1 && count <= most);
            for (size_t i = 0; i < count; i++) {
                assert_false(seen[indexes[i]]);
                seen[indexes[i]] = true;
                assert_ptr_equal(members[i].address, addresses[indexes[i]]);
                assert_string_equal(strchr(members[i].address, '@'),
                                    strchr(members[0].address, '@'));
                assert_true(i == 0 || indexes[i] > indexes[i - 1]);
            }
            total += count;
        }
        assert_int_equal(total, MANY);
        sluice_groups_free(&groups);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
