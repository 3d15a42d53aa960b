/*
 * Offset tracking: examples, and a property test against a simple model (a byte per offset).
 * SLUICE_SEED=n repeats a run.
 */
#include "ledger/offsets.h"

#include "base/mem.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed;

/* splitmix64 */
static uint32_t dice(uint32_t sides)
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % sides);
}

static void test_in_order(void **state)
{
    (void)state;
    struct offsets offsets;
    offsets_init(&offsets, 5);
    assert_int_equal(offsets.watermark, 5);
    for (int64_t i = 5; i < 20000; i++) {
        assert_int_equal(offsets_open(&offsets, i), OFFSETS_OPENED);
        assert_int_equal(offsets.watermark, i);
        assert_true(offsets_complete(&offsets, i));
        assert_int_equal(offsets.watermark, i + 1);
    }
    assert_int_equal(offsets.open, 0);
    offsets_free(&offsets);
}

static void test_one_holds_back(void **state)
{
    (void)state;
    struct offsets offsets;
    offsets_init(&offsets, 0);
    enum { N = 300000 };
    for (int64_t i = 0; i < N; i++) {
        assert_int_equal(offsets_open(&offsets, i), OFFSETS_OPENED);
    }
    for (int64_t i = 1; i < N; i++) {
        assert_true(offsets_complete(&offsets, i));
    }
    assert_int_equal(offsets.watermark, 0);
    struct offsets_run runs[2];
    assert_int_equal(offsets_export(&offsets, runs, 2), 1);
    assert_int_equal(runs[0].first, 1);
    assert_int_equal(runs[0].last, N - 1);
    assert_true(offsets_complete(&offsets, 0));
    assert_int_equal(offsets.watermark, N);
    assert_int_equal(offsets_export(&offsets, runs, 2), 0);
    offsets_free(&offsets);
}

/* However far one record holds back, blocks in which nothing is open take no room when the array
 * must grow. */
static void test_memory_bounded(void **state)
{
    (void)state;
    struct offsets offsets;
    offsets_init(&offsets, 0);
    assert_int_equal(offsets_open(&offsets, 0), OFFSETS_OPENED);
    for (int64_t i = 1; i < 5000000; i++) {
        assert_int_equal(offsets_open(&offsets, i), OFFSETS_OPENED);
        assert_true(offsets_complete(&offsets, i));
    }
    assert_int_equal(offsets.watermark, 0);
    assert_true(offsets.capacity <= 16);
    assert_true(offsets_complete(&offsets, 0));
    assert_int_equal(offsets.watermark, 5000000);
    offsets_free(&offsets);
}

static void test_gaps(void **state)
{
    (void)state;
    struct offsets offsets;
    offsets_init(&offsets, 10);
    assert_int_equal(offsets_open(&offsets, 12), OFFSETS_OPENED);
    assert_int_equal(offsets.watermark, 12);
    assert_int_equal(offsets_open(&offsets, 1000000000000), OFFSETS_OPENED);
    assert_int_equal(offsets_open(&offsets, 1000000000001), OFFSETS_OPENED);
    assert_true(offsets_complete(&offsets, 12));
    assert_int_equal(offsets.watermark, 1000000000000);
    assert_true(offsets_complete(&offsets, 1000000000001));
    assert_true(offsets_complete(&offsets, 1000000000000));
    assert_int_equal(offsets.watermark, 1000000000002);
    offsets_free(&offsets);
}

static void test_mistakes_are_told(void **state)
{
    (void)state;
    struct offsets offsets;
    offsets_init(&offsets, 10);
    assert_int_equal(offsets_open(&offsets, 9), OFFSETS_BEHIND);
    assert_int_equal(offsets_open(&offsets, 10), OFFSETS_OPENED);
    assert_int_equal(offsets_open(&offsets, 10), OFFSETS_BEHIND);
    assert_false(offsets_complete(&offsets, 11));
    assert_false(offsets_complete(&offsets, 9));
    assert_true(offsets_complete(&offsets, 10));
    assert_false(offsets_complete(&offsets, 10));
    offsets_free(&offsets);
}

static void test_import(void **state)
{
    (void)state;
    struct offsets offsets;
    offsets_init(&offsets, 100);
    const struct offsets_run runs[] = {{101, 103}, {110, 110}};
    const struct offsets_run bad[] = {{110, 110}, {101, 103}};
    assert_false(offsets_import(&offsets, bad, 2));
    assert_true(offsets_import(&offsets, runs, 2));
    struct offsets_run out[4];
    assert_int_equal(offsets_export(&offsets, out, 4), 2);
    assert_memory_equal(out, runs, sizeof(runs));
    assert_int_equal(offsets_open(&offsets, 100), OFFSETS_OPENED);
    for (int64_t i = 101; i <= 103; i++) {
        assert_int_equal(offsets_open(&offsets, i), OFFSETS_COMPLETE);
    }
    assert_int_equal(offsets_open(&offsets, 104), OFFSETS_OPENED);
    assert_true(offsets_complete(&offsets, 100));
    assert_int_equal(offsets.watermark, 104);
    assert_int_equal(offsets_export(&offsets, out, 4), 1);
    assert_int_equal(out[0].first, 110);
    offsets_free(&offsets);
}

/* The model: state of each offset. */
enum model_state { MODEL_NEVER, MODEL_OPEN, MODEL_DONE };
#define MODEL_SPAN 60000

struct model {
    unsigned char state[MODEL_SPAN];
    int64_t open[MODEL_SPAN];
    size_t open_count;
    int64_t next;
};

static int64_t model_watermark(const struct model *model)
{
    for (int64_t i = 0; i < model->next; i++) {
        if (model->state[i] == MODEL_OPEN) {
            return i;
        }
    }
    return model->next;
}

static void check_export(const struct offsets *offsets, const struct model *model)
{
    static struct offsets_run runs[MODEL_SPAN];
    size_t count = offsets_export(offsets, runs, ARRAY_LEN(runs));
    int64_t at = offsets->watermark;
    for (size_t i = 0; i < count; i++) {
        assert_true(runs[i].first <= runs[i].last && runs[i].last < offsets->next);
        for (; at < runs[i].first; at++) {
            assert_int_equal(model->state[at], MODEL_OPEN);
        }
        for (; at <= runs[i].last; at++) {
            assert_int_not_equal(model->state[at], MODEL_OPEN);
        }
    }
    for (; at < offsets->next; at++) {
        assert_int_equal(model->state[at], MODEL_OPEN);
    }
}

static void model_step(struct offsets *offsets, struct model *model, unsigned open_chance)
{
    uint32_t what = dice(100);
    if (what < open_chance) {
        uint32_t kind = dice(100);
        model->next += kind < 90 ? 0 : kind < 99 ? dice(5) : dice(9000);
        if (model->next >= MODEL_SPAN) {
            return;
        }
        assert_int_equal(offsets_open(offsets, model->next), OFFSETS_OPENED);
        model->state[model->next] = MODEL_OPEN;
        model->open[model->open_count++] = model->next++;
    } else if (model->open_count > 0) {
        size_t at = dice(2) == 0 ? 0 : dice((uint32_t)model->open_count);
        int64_t offset = model->open[at];
        model->open[at] = model->open[--model->open_count];
        model->state[offset] = MODEL_DONE;
        assert_true(offsets_is_open(offsets, offset));
        assert_true(offsets_complete(offsets, offset));
        assert_false(offsets_complete(offsets, offset));
    }
}

static void test_against_model(void **state)
{
    (void)state;
    const char *given = getenv("SLUICE_SEED");
    seed = given == NULL ? random_u64() : strtoull(given, NULL, 10);
    print_message("SLUICE_SEED=%" PRIu64 "\n", seed);
    struct model *model = mem_zalloc(sizeof(*model));
    for (int round = 0; round < 30; round++) {
        struct offsets offsets;
        memset(model, 0, sizeof(*model));
        offsets_init(&offsets, 0);
        unsigned open_chance = 30 + dice(60);
        for (int step = 0; step < 40000 && model->next < MODEL_SPAN; step++) {
            model_step(&offsets, model, open_chance);
            assert_int_equal(offsets.open, model->open_count);
            if (step % 512 == 0 && model->next < MODEL_SPAN) {
                assert_int_equal(offsets.watermark, model_watermark(model));
                check_export(&offsets, model);
            }
        }
        while (model->open_count > 0) {
            assert_true(offsets_complete(&offsets, model->open[--model->open_count]));
        }
        assert_int_equal(offsets.watermark, offsets.next);
        offsets_free(&offsets);
    }
    mem_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),          cmocka_unit_test(test_one_holds_back),
        cmocka_unit_test(test_memory_bounded),    cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_mistakes_are_told), cmocka_unit_test(test_import),
        cmocka_unit_test(test_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
