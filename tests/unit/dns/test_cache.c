/*
 * The bounded cache: expiry, order of eviction, pins.
 */
#include "dns/cache.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct item {
    struct dns_cache_entry entry;
    char name[8];
};

static char dropped[64];

static void drop(struct dns_cache_entry *entry)
{
    struct item *item = CONTAINER_OF(entry, struct item, entry);
    size_t len = strlen(dropped);
    (void)snprintf(dropped + len, sizeof(dropped) - len, "%s", item->name);
    mem_free(item);
}

static struct item *add(struct dns_cache *cache, const char *name, int64_t expires_us)
{
    struct item *item = mem_zalloc(sizeof(*item));
    (void)snprintf(item->name, sizeof(item->name), "%s", name);
    item->entry.key = slice_cstr(item->name);
    item->entry.expires = (struct mono_time){expires_us};
    dns_cache_add_pinned(cache, &item->entry);
    return item;
}

static bool find(struct dns_cache *cache, const char *name, int64_t now_us)
{
    return dns_cache_find(cache, slice_cstr(name), (struct mono_time){now_us}) != NULL;
}

static void test_least_recent_goes(void **state)
{
    (void)state;
    struct dns_cache cache;
    dropped[0] = '\0';
    dns_cache_init(&cache, 3, drop);
    const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        dns_cache_unpin(&cache, &add(&cache, names[i], 100)->entry);
    }
    assert_true(find(&cache, "a", 1));
    dns_cache_unpin(&cache, &add(&cache, "d", 100)->entry);
    assert_string_equal(dropped, "b");
    dns_cache_unpin(&cache, &add(&cache, "e", 100)->entry);
    assert_string_equal(dropped, "bc");
    assert_true(find(&cache, "a", 1));
    assert_false(find(&cache, "b", 1));
    dns_cache_clear(&cache);
    assert_int_equal(strlen(dropped), 5);
}

static void test_expiry(void **state)
{
    (void)state;
    struct dns_cache cache;
    dropped[0] = '\0';
    dns_cache_init(&cache, 3, drop);
    dns_cache_unpin(&cache, &add(&cache, "a", 100)->entry);
    struct item *pinned = add(&cache, "b", 100);
    assert_true(find(&cache, "a", 99));
    assert_false(find(&cache, "a", 100));
    assert_string_equal(dropped, "a");
    assert_true(find(&cache, "b", 200));
    dns_cache_unpin(&cache, &pinned->entry);
    assert_false(find(&cache, "b", 200));
    dns_cache_clear(&cache);
    assert_string_equal(dropped, "ab");
}

static void test_pinned_stay(void **state)
{
    (void)state;
    struct dns_cache cache;
    dropped[0] = '\0';
    dns_cache_init(&cache, 1, drop);
    struct item *a = add(&cache, "a", 100);
    struct item *b = add(&cache, "b", 100);
    dns_cache_pin(&b->entry);
    dns_cache_unpin(&cache, &b->entry);
    assert_string_equal(dropped, "");
    dns_cache_unpin(&cache, &a->entry);
    assert_string_equal(dropped, "a");
    dns_cache_unpin(&cache, &b->entry);
    assert_string_equal(dropped, "a");
    assert_true(find(&cache, "b", 1));
    dns_cache_clear(&cache);
    assert_string_equal(dropped, "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_recent_goes),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_pinned_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
