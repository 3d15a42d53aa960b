/* map, list, wheel and durations against simple models; the seed is printed and can be given by
 * SEED. */
#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/wheel.h"

#include "unit/cmocka_all.h"

static uint64_t rng;

static uint32_t below(uint32_t bound)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((rng >> 33) % bound);
}

static int seed_once(void **state)
{
    const char *given = getenv("SEED");
    (void)state;
    rng = given != NULL ? strtoull(given, NULL, 10) : random_u64();
    print_message("SEED=%llu\n", (unsigned long long)rng);
    return 0;
}

static void map_behaves_like_an_array(void **state)
{
    (void)state;
    enum { KEYS = 500 };
    static char names[KEYS][16];
    static bool present[KEYS];
    struct map map;
    size_t count = 0;
    map_init(&map);
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof(names[i]), "k%d", i);
        present[i] = false;
    }
    for (int step = 0; step < 50000; step++) {
        uint32_t i = below(KEYS);
        struct slice key = slice_cstr(names[i]);
        if (present[i]) {
            assert_ptr_equal(map_get(&map, key), names[i]);
            if (below(2) == 0) {
                assert_ptr_equal(map_remove(&map, key), names[i]);
                present[i] = false;
                count--;
            }
        } else {
            assert_null(map_get(&map, key));
            assert_null(map_remove(&map, key));
            map_put(&map, key, names[i]);
            present[i] = true;
            count++;
        }
        assert_int_equal(map.count, count);
    }
    size_t cursor = 0, seen = 0;
    while (map_next(&map, &cursor) != NULL) {
        seen++;
    }
    assert_int_equal(seen, count);
    map_free(&map);
}

struct node {
    struct list link;
    int value;
};

static void lists_keep_their_order(void **state)
{
    (void)state;
    struct list a, b;
    struct node nodes[6] = {0};
    list_init(&a);
    list_init(&b);
    for (int i = 0; i < 6; i++) {
        nodes[i].value = i;
        list_push_back(i < 3 ? &a : &b, &nodes[i].link);
    }
    list_append_all(&a, &b);
    assert_true(list_empty(&b));
    list_remove(&nodes[2].link);
    list_remove(&nodes[2].link); /* unlinked: nothing happens */
    list_push_front(&a, &nodes[2].link);
    const int want[] = {2, 0, 1, 3, 4, 5};
    size_t i = 0;
    list_foreach_safe (link, after, &a) {
        assert_int_equal(CONTAINER_OF(link, struct node, link)->value, want[i++]);
        list_remove(link);
    }
    assert_int_equal(i, 6);
    assert_true(list_empty(&a));
}

enum { TIMERS = 200 };

struct alarm {
    struct timer timer;
    int64_t due_ms; /* -1: not set */
    int fired;
};

static struct alarm alarms[TIMERS];
static void ring(struct timer *timer, struct mono_time now)
{
    struct alarm *alarm = CONTAINER_OF(timer, struct alarm, timer);
    assert_true(alarm->due_ms >= 0);
    assert_true(now.us / 1000 >= alarm->due_ms);
    alarm->due_ms = -1;
    alarm->fired++;
}

/* Never early; never later than the turn that passes the deadline; cancelled ones never; over all
 * levels. */
static void wheel_fires_when_it_should(void **state)
{
    (void)state;
    int64_t now_ms = 1000000 + below(100000);
    struct wheel *wheel = wheel_create((struct mono_time){now_ms * 1000});
    memset(alarms, 0, sizeof(alarms));
    for (int i = 0; i < TIMERS; i++) {
        alarms[i].due_ms = -1;
    }
    for (int step = 0; step < 20000; step++) {
        struct alarm *alarm = &alarms[below(TIMERS)];
        static const uint32_t spans[] = {2, 300, 70000, 20000000};
        uint32_t what = below(10);
        if (what < 6) {
            alarm->due_ms = now_ms + (int64_t)below(spans[below(4)]);
            wheel_set(wheel, &alarm->timer, (struct mono_time){alarm->due_ms * 1000}, ring);
        } else if (what < 7) {
            wheel_cancel(wheel, &alarm->timer);
            alarm->due_ms = -1;
        } else {
            now_ms += (int64_t)below(below(50) == 0 ? 100000 : 40);
            wheel_advance(wheel, (struct mono_time){now_ms * 1000});
            for (int i = 0; i < TIMERS; i++) {
                assert_int_equal(timer_is_set(&alarms[i].timer), alarms[i].due_ms >= 0);
                if (alarms[i].due_ms >= 0) {
                    assert_true(alarms[i].due_ms >= now_ms);
                }
            }
        }
        int64_t soonest = INT64_MAX;
        for (int i = 0; i < TIMERS; i++) {
            if (alarms[i].due_ms >= 0 && alarms[i].due_ms < soonest) {
                soonest = alarms[i].due_ms;
            }
        }
        if (soonest != INT64_MAX) {
            /* A loop that sleeps until then is never late (a deadline of now fires with the next
             * millisecond). */
            int64_t wake = wheel_next(wheel).us / 1000;
            assert_true(wake <= (soonest > now_ms ? soonest : now_ms + 1));
        }
    }
    for (int i = 0; i < TIMERS; i++) {
        wheel_cancel(wheel, &alarms[i].timer);
    }
    assert_true(wheel_next(wheel).us == INT64_MAX);
    wheel_free(&wheel);
}

static void durations_are_read(void **state)
{
    (void)state;
    int64_t ms = -1;
    assert_true(duration_parse_ms(SLICE("90s"), &ms) && ms == 90000);
    assert_true(duration_parse_ms(SLICE("1h30m"), &ms) && ms == 5400000);
    assert_true(duration_parse_ms(SLICE("500ms"), &ms) && ms == 500);
    assert_true(duration_parse_ms(SLICE("5m"), &ms) && ms == 300000);
    assert_true(duration_parse_ms(SLICE("2d"), &ms) && ms == 172800000);
    assert_true(duration_parse_ms(SLICE("45"), &ms) && ms == 45000);
    assert_true(duration_parse_ms(SLICE("0s"), &ms) && ms == 0);
    static const char *const bad[] = {
        "", "s", "-1s", "1x", "1 h", "1.5h", "99999999999999999999s", "100w999999w", "5ms5"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(duration_parse_ms(slice_cstr(bad[i]), &ms));
    }
}

static void wall_time_is_formatted(void **state)
{
    (void)state;
    char out[WALL_TEXT_MAX];
    struct slice text = wall_time_format((struct wall_time){1700000000123}, out);
    assert_true(slice_eq(text, SLICE("2023-11-14T22:13:20.123Z")));
    text = wall_time_format((struct wall_time){-1}, out);
    assert_true(slice_eq(text, SLICE("1969-12-31T23:59:59.999Z")));
}

static void test_wall_time_parse(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: not a time */
    } rows[] = {
        {"2026-11-22T02:26:53.123Z", 1795314413123},
        {"2026-11-22T02:26:53Z", 1795314413000},
        {"2026-11-22", 1795305600000},
        {"1970-01-01", 0},
        {"2028-02-29", 1835395200000},
        {"2026-02-29", -1},
        {"2026-02-31", -1},
        {"2026-13-01", -1},
        {"2026-11-22T24:61:00Z", -1},
        {"2026-11-22T02:26:53", -1},
        {"2026-11-22T02:26:53.1Z", -1},
        {"2026-11-22T02:26:53.1234Z", -1},
        {"2026-11-22T02:26:53+01:00", -1},
        {"2026-11-22 ", -1},
        {"22.11.2026", -1},
        {"", -1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wall_time time = {-1};
        bool good = wall_time_parse(slice_cstr(rows[i].text), &time);
        if (good != (rows[i].ms >= 0) || time.ms != rows[i].ms) {
            fail_msg("\"%s\": %d, %lld", rows[i].text, good, (long long)time.ms);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_behaves_like_an_array),  cmocka_unit_test(lists_keep_their_order),
        cmocka_unit_test(wheel_fires_when_it_should), cmocka_unit_test(durations_are_read),
        cmocka_unit_test(wall_time_is_formatted),     cmocka_unit_test(test_wall_time_parse),
    };
    return cmocka_run_group_tests(tests, seed_once, NULL);
}
