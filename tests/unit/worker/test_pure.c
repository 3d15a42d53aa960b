/* The worker's pure parts: retry times and tiers, host memory, choice of the pool.
 */
#include "worker/delay.h"
#include "worker/hosts.h"
#include "worker/route.h"

#include "io/conn.h"
#include "kafka/topics.h"
#include "unit/cmocka_all.h"

#define MINUTE ((int64_t)60000)

static void retries_follow_the_schedule(void **state)
{
    int64_t schedule[] = {15 * MINUTE, 30 * MINUTE, 60 * MINUTE};
    const struct config_site site = {.retry_ms = schedule, .retry_count = 3};
    (void)state;
    assert_int_equal(delay_retry_wait_ms(&site, 1), 15 * MINUTE);
    assert_int_equal(delay_retry_wait_ms(&site, 3), 60 * MINUTE);
    assert_int_equal(delay_retry_wait_ms(&site, 99), 60 * MINUTE);
}

/* Hops of a wait until it is over or short, as the worker makes them. */
static int hops(int64_t wait_ms, bool exact, int64_t *late_ms)
{
    const int64_t unit = 30000;
    int n = 0;
    int64_t rest = wait_ms;
    while (rest > 0 && (n == 0 || !delay_is_short(rest, unit))) {
        rest -= kafka_tier_delay_ms(kafka_tier_chosen(rest, unit, KAFKA_TIERS, exact), unit);
        n++;
    }
    *late_ms = rest < 0 ? -rest : 0;
    return n;
}

static void usual_retries_take_one_hop_and_are_an_eighth_late_at_most(void **state)
{
    static const int64_t waits[] = {15 * MINUTE,  30 * MINUTE,  60 * MINUTE,
                                    120 * MINUTE, 240 * MINUTE, 480 * MINUTE};
    int64_t late;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        assert_int_equal(hops(waits[i], false, &late), 1);
        assert_true(late <= waits[i] / 8);
    }
    for (int64_t wait = 30000; wait < 72 * 60 * MINUTE; wait += 7777) {
        hops(wait, false, &late);
        assert_true(late <= wait / 8);
    }
}

static void promised_times_are_never_overshot(void **state)
{
    int64_t late;
    (void)state;
    for (int64_t wait = 30000; wait < 72 * 60 * MINUTE; wait += 7777) {
        assert_true(hops(wait, true, &late) < 20);
        assert_int_equal(late, 0);
    }
}

static struct host_state host_at(const char *text, uint16_t preference)
{
    struct host_state host = {.preference = preference};
    struct fault fault;
    assert_true(io_address_parse(slice_cstr(text), 25, &host.address, &host.len, &fault));
    snprintf(host.name, sizeof(host.name), "%s", text);
    return host;
}

static void hosts_are_tried_by_preference_and_rest_when_dead(void **state)
{
    const struct mono_time now = {1000000};
    struct host_state fresh[] = {host_at("192.0.2.1", 10), host_at("192.0.2.2", 10),
                                 host_at("192.0.2.3", 20), host_at("[2001:db8::1]", 5)};
    struct hosts hosts;
    (void)state;
    hosts_init(&hosts);
    hosts_set(&hosts, fresh, 4);
    assert_string_equal(hosts_pick(&hosts, true, true, now)->name, "[2001:db8::1]");
    struct host_state *a = hosts_pick(&hosts, true, false, now);
    struct host_state *b = hosts_pick(&hosts, true, false, now);
    assert_ptr_not_equal(a, b); /* equals in turn */
    assert_int_equal(a->preference, 10);
    assert_int_equal(b->preference, 10);
    host_unreachable(a, now, 60000);
    assert_ptr_equal(hosts_pick(&hosts, true, false, now), b);
    host_broke(b, now, 60000);
    host_broke(b, now, 60000);
    assert_ptr_equal(hosts_pick(&hosts, true, false, now), b);
    host_broke(b, now, 60000);
    assert_int_equal(hosts_pick(&hosts, true, false, now)->preference, 20);
    /* A new answer keeps what is known of old addresses. */
    hosts_set(&hosts, fresh, 3);
    assert_int_equal(hosts_pick(&hosts, true, false, now)->preference, 20);
    assert_int_equal(hosts_pick(&hosts, true, false, mono_add_ms(now, 60000))->preference, 10);
    assert_null(hosts_pick(&hosts, false, true, now));
    assert_true(hosts_none_of(&hosts, false, true));
    assert_false(hosts_none_of(&hosts, true, false));
    hosts_free(&hosts);
}

static void the_pool_is_chosen_by_precedence(void **state)
{
    static const char *allowed[] = {"gold"};
    struct config_vip vips[] = {{.name = "v1"}};
    struct config_pool pools[] = {{.name = "first"}, {.name = "gold"}, {.name = "stream"}};
    struct config_tenant tenants[] = {
        {.name = "rich", .pools = allowed, .pool_count = 1, .default_pool = "gold"},
        {.name = "plain"}};
    const struct config_stream stream = {.name = "bulk", .pool = "stream"};
    const struct config config = {.vips = vips,
                                  .vip_count = 1,
                                  .pools = pools,
                                  .pool_count = 3,
                                  .tenants = tenants,
                                  .tenant_count = 2};
    struct mail mail = {.magic = MAIL_MAGIC, .stream = &stream};
    struct slice name;
    struct fault fault;
    (void)state;
    mail.message.tenant = SLICE("plain");
    assert_true(route_choose_pool(&config, &mail, &name, &fault));
    assert_true(slice_eq(name, SLICE("stream")));
    mail.message.pool = SLICE("v1");
    assert_true(route_choose_pool(&config, &mail, &name, &fault));
    assert_true(slice_eq(name, SLICE("v1")));
    mail.message.tenant = SLICE("rich");
    assert_false(route_choose_pool(&config, &mail, &name, &fault));
    assert_non_null(strstr(fault.text, "tenant \"rich\" may not use \"v1\""));
    mail.message.pool = SLICE_NULL;
    assert_true(route_choose_pool(&config, &mail, &name, &fault));
    assert_true(slice_eq(name, SLICE("gold")));
    mail.message.pool = SLICE("nowhere");
    assert_false(route_choose_pool(&config, &mail, &name, &fault));
    mail.stream = NULL;
    mail.message.pool = SLICE_NULL;
    mail.message.tenant = SLICE("unknown");
    assert_true(route_choose_pool(&config, &mail, &name, &fault));
    assert_true(slice_eq(name, SLICE("first")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retries_follow_the_schedule),
        cmocka_unit_test(usual_retries_take_one_hop_and_are_an_eighth_late_at_most),
        cmocka_unit_test(promised_times_are_never_overshot),
        cmocka_unit_test(hosts_are_tried_by_preference_and_rest_when_dead),
        cmocka_unit_test(the_pool_is_chosen_by_precedence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
