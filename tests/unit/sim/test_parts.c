/* Windows against a simple model, the memory of what was seen, and the scanner of headers. */
#include "base/random.h"
#include "sim/scan.h"
#include "sim/seen.h"
#include "sim/window.h"

#include "unit/cmocka_all.h"

#define EVENTS 20000

/* The number of `times` in (now - period, now]. */
static unsigned count_in(const int64_t *times, size_t count, int64_t now, int64_t period)
{
    unsigned found = 0;
    while (count > 0 && times[count - 1] > now - period) {
        count--;
        found++;
    }
    return found;
}

static void test_window_is_exact(void **state)
{
    (void)state;
    static int64_t granted[EVENTS];
    size_t count = 0;
    struct sim_window window;
    int64_t now = 5000000;
    sim_window_init(&window, 50, 1000000);
    for (int i = 0; i < EVENTS; i++) {
        now += random_below(3) == 0 ? random_below(60000) : random_below(100);
        bool room = count_in(granted, count, now, 1000000) < 50;
        assert_int_equal(sim_window_take(&window, now), room);
        if (room) {
            granted[count++] = now;
        }
    }
    assert_in_range(count, 51, EVENTS - 1); /* both answers came */
    sim_window_free(&window);
    sim_window_init(&window, 0, 0);
    assert_true(sim_window_take(&window, now));
    sim_window_free(&window);
}

/* Never above the truth in a period, never below that in 0.999 of it. */
static void test_meter(void **state)
{
    (void)state;
    static int64_t times[EVENTS];
    struct sim_meter meter;
    int64_t now = 5000000;
    uint64_t most = 0;
    uint64_t least = 0;
    sim_meter_init(&meter, 1000000);
    for (size_t i = 0; i < EVENTS; i++) {
        now += random_below(500) == 0 ? 2500000 : random_below(2000);
        times[i] = now;
        sim_meter_add(&meter, now, 1);
        uint64_t upper = count_in(times, i + 1, now, 1000000);
        uint64_t lower = count_in(times, i + 1, now, 999000);
        most = upper > most ? upper : most;
        least = lower > least ? lower : least;
        assert_true(meter.sum >= lower && meter.sum <= upper);
    }
    assert_true(meter.highest >= least && meter.highest <= most);
}

static void test_seen(void **state)
{
    (void)state;
    struct sim_seen *seen = sim_seen_create(16);
    assert_int_equal(sim_seen_first(seen, 1, 10), 10);
    assert_int_equal(sim_seen_first(seen, 1, 20), 10);
    for (uint64_t key = 2; key < 1000; key++) {
        int64_t now = (int64_t)key * 100;
        assert_int_equal(sim_seen_first(seen, key, now), now);
        assert_int_equal(sim_seen_first(seen, key, now + 1), now);
    }
    assert_int_equal(sim_seen_first(seen, 1, 200000), 200000); /* it gave way */
    sim_seen_free(&seen);
    assert_null(seen);
}

/* In every pair of pieces, and byte by byte. */
static void check_scan(const char *text, const char *id)
{
    struct slice all = slice_cstr(text);
    struct sim_scan scan;
    for (size_t cut = 0; cut <= all.len; cut++) {
        sim_scan_start(&scan);
        sim_scan_piece(&scan, slice_head(all, cut));
        sim_scan_piece(&scan, slice_skip(all, cut));
        assert_true(slice_eq(sim_scan_id(&scan), slice_cstr(id)));
    }
    sim_scan_start(&scan);
    for (size_t i = 0; i < all.len; i++) {
        sim_scan_piece(&scan, slice_of(text + i, 1));
    }
    assert_true(slice_eq(sim_scan_id(&scan), slice_cstr(id)));
}

static void test_scan(void **state)
{
    (void)state;
    check_scan("Subject: x\r\nMessage-ID: <1@a>\r\n\r\nbody\r\n", "<1@a>");
    check_scan("message-id:<1@a>\r\nX-SLUICE-TEST-ID: t 1\r\n\r\n", "t?1");
    check_scan("X-Sluice-Test-ID: t1\r\nMessage-ID: <1@a>\r\n\r\n", "t1");
    check_scan("Message-ID:\r\n <1@a>\r\nX-Other: 1\r\n\r\n", "<1@a>");
    check_scan("Message-ID:\r\nSubject: a\r\n <1@a>\r\n\r\n", "");
    check_scan("X-Message-ID: <1@a>\r\nMessage-IDs: 2\r\n\r\nMessage-ID: <3@a>\r\n", "");
    check_scan("Message-ID: <1@a>\r\nMessage-ID: <2@a>\r\n\r\n", "<1@a>");
    check_scan("Message-ID : <1\t@a>\r\n", "<1?@a>");
    check_scan("", "");
}

static void test_scan_is_bounded(void **state)
{
    (void)state;
    static char line[70000];
    struct sim_scan scan;
    memset(line, 'm', sizeof(line));
    sim_scan_start(&scan);
    sim_scan_piece(&scan, slice_of(line, sizeof(line)));
    assert_true(scan.done);
    sim_scan_start(&scan);
    sim_scan_piece(&scan, SLICE("Message-ID: "));
    sim_scan_piece(&scan, slice_of(line, 1000));
    sim_scan_piece(&scan, SLICE("\r\n\r\n"));
    assert_int_equal(sim_scan_id(&scan).len, SIM_ID_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_is_exact),
        cmocka_unit_test(test_meter),
        cmocka_unit_test(test_seen),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_scan_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
