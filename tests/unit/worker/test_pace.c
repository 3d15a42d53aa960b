/* How fast partitions are read. */
#include "worker/pace.h"

#include "unit/cmocka_all.h"

static struct offsets places[2];

const struct offsets *kafka_partition_offsets(const struct kafka_partition *partition)
{
    return (const struct offsets *)(const void *)partition;
}

static struct mono_time at(int64_t ms)
{
    return (struct mono_time){ms * 1000};
}

static void it_is_what_was_taken_since_it_was_looked_at(void **state)
{
    struct kafka_partition *const partitions[] = {(struct kafka_partition *)(void *)&places[0],
                                                  (struct kafka_partition *)(void *)&places[1]};
    struct pace pace = {0};
    (void)state;
    places[0].next = 100;
    pace_begin(&pace, partitions, 2, at(1000));
    assert_int_equal(pace.count, 2);
    places[0].next = 600;
    assert_true(pace_rate(&pace, 0, at(1500)) == 0); /* too soon to tell */
    assert_true(pace_rate(&pace, 0, at(11000)) == 50);
    assert_true(pace_rate(&pace, 1, at(11000)) == 0);
    pace_note(&pace, at(11000));
    places[0].next = 700;
    assert_true(pace_rate(&pace, 0, at(11100)) == 50); /* as it was */
    assert_true(pace_rate(&pace, 0, at(21000)) == 10);
    assert_int_equal(pace_position(partitions[0]), 700);
    pace_begin(&pace, NULL, 0, at(22000));
    assert_int_equal(pace.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_was_taken_since_it_was_looked_at)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
