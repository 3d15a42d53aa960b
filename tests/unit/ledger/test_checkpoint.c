/*
 * Checkpoints: what a reader is told is what is complete or moves, by examples and against a simple
 * model (a byte per offset). SLUICE_SEED=n repeats a run.
 */
#include "ledger/checkpoint.h"

#include "base/mem.h"
#include "base/random.h"

#include <inttypes.h>
#include <stdlib.h>

#include "unit/cmocka_all.h"

static uint64_t seed;

/* splitmix64 */
static uint32_t dice(uint32_t sides)
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % sides);
}

static const struct ledger_checkpoint header = {{"w-1", 3}, {"worker", 6}, 2, 900, 17};
static const struct ledger_partition place = {{"mail", 4}, 3, 7};

/* What the reader is told of the one partition. */
struct told {
    size_t partitions, runs, awaited, offsets;
    int64_t base, first_run, last_run;
    char *complete; /* a byte per offset, when it is wanted */
};

static bool on_partition(void *owner, const struct ledger_partition *partition, int64_t base)
{
    struct told *told = owner;
    assert_true(slice_eq(partition->topic, place.topic) && partition->claim == place.claim);
    assert_int_equal(partition->partition, place.partition);
    told->partitions++;
    told->base = base;
    return true;
}

static bool on_run(void *owner, int64_t first, int64_t last)
{
    struct told *told = owner;
    told->first_run = told->runs++ == 0 ? first : told->first_run;
    told->last_run = last;
    for (int64_t i = first; told->complete != NULL && i <= last; i++) {
        told->complete[i] = 1;
    }
    return true;
}

static bool on_awaited(void *owner, const struct ledger_awaited *awaited)
{
    struct told *told = owner;
    told->awaited++;
    assert_int_equal(awaited->slot, 2);
    return true;
}

static bool on_offset(void *owner, int64_t offset)
{
    struct told *told = owner;
    told->offsets += (size_t)offset;
    return true;
}

/* Writes and reads; returns the bytes of the record. */
static size_t tell(const struct checkpoint_partition *partition, struct told *told)
{
    const struct completion_sink sink = {told, on_partition, on_run, on_awaited, on_offset};
    struct ledger_checkpoint back;
    struct fault fault;
    struct strbuf out;
    strbuf_init(&out, CHECKPOINT_MAX_BYTES);
    assert_true(checkpoint_begin(&out, &header));
    assert_true(checkpoint_partition(&out, partition));
    assert_true(completion_read_checkpoint(strbuf_slice(&out), &back, &sink, &fault));
    assert_true(slice_eq(back.writer, header.writer) && back.done_offset == 900);
    if (told->partitions > 0) {
        assert_int_equal(told->base, checkpoint_base(partition->offsets, partition->moved,
                                                     partition->moved_count));
    }
    size_t bytes = out.len;
    strbuf_free(&out);
    return bytes;
}

static void test_nothing(void **state)
{
    (void)state;
    struct offsets offsets;
    struct told told = {.partitions = 0};
    offsets_init(&offsets, 5);
    const struct checkpoint_partition empty = {.partition = place, .offsets = &offsets};
    tell(&empty, &told);
    assert_int_equal(told.partitions, 0);
    assert_int_equal(offsets_open(&offsets, 5), OFFSETS_OPENED);
    tell(&empty, &told);
    assert_int_equal(told.partitions, 0);
    assert_int_equal(checkpoint_base(&offsets, NULL, 0), 5);
    offsets_free(&offsets);
}

/* Nothing complete above the base, but somebody is awaited. */
static void test_awaited(void **state)
{
    (void)state;
    static const int64_t in_flight[] = {5, 6};
    const struct ledger_awaited awaited = {{NULL, 0}, 2, 900, 7, 1000, in_flight, 2};
    struct offsets offsets;
    struct told told = {.partitions = 0};
    offsets_init(&offsets, 5);
    tell(&(struct checkpoint_partition){place, &offsets, NULL, 0, &awaited, 1}, &told);
    assert_int_equal(told.partitions, 1);
    assert_int_equal(told.base, 5);
    assert_int_equal(told.runs, 0);
    assert_int_equal(told.awaited, 1);
    assert_int_equal(told.offsets, 11);
    offsets_free(&offsets);
}

/* 0 open, 1-2 complete, 3 open, 4 complete, 5 open; imported 6-8 and 10. */
static void test_moved(void **state)
{
    (void)state;
    static const struct offsets_run imported[] = {{6, 8}, {10, 10}};
    static const int64_t middle[] = {3};
    static const int64_t low[] = {3, 0};
    static const int64_t all[] = {5, 0, 3};
    struct offsets offsets;
    offsets_init(&offsets, 0);
    assert_true(offsets_import(&offsets, imported, 2));
    for (int64_t i = 0; i < 6; i++) {
        assert_int_equal(offsets_open(&offsets, i), OFFSETS_OPENED);
        assert_true(i == 0 || i == 3 || i == 5 || offsets_complete(&offsets, i));
    }
    struct told told = {.partitions = 0};
    tell(&(struct checkpoint_partition){place, &offsets, NULL, 0, NULL, 0}, &told);
    assert_int_equal(told.base, 0);
    assert_int_equal(told.runs, 4);
    told = (struct told){.partitions = 0};
    tell(&(struct checkpoint_partition){place, &offsets, middle, 1, NULL, 0}, &told);
    assert_int_equal(told.base, 0);
    assert_int_equal(told.runs, 3); /* 1-4, 6-8, 10 */
    assert_int_equal(told.first_run, 1);
    told = (struct told){.partitions = 0};
    tell(&(struct checkpoint_partition){place, &offsets, low, 2, NULL, 0}, &told);
    assert_int_equal(told.base, 5);
    assert_int_equal(told.runs, 2);
    assert_int_equal(told.first_run, 6);
    told = (struct told){.partitions = 0};
    tell(&(struct checkpoint_partition){place, &offsets, all, 3, NULL, 0}, &told);
    assert_int_equal(told.base, 6); /* the imported ones were not read yet */
    assert_int_equal(told.runs, 2);
    assert_int_equal(told.first_run, 6);
    assert_int_equal(told.last_run, 10);
    offsets_free(&offsets);
}

static void test_alternating(void **state)
{
    (void)state;
    enum { RUNS = 100000 };
    struct offsets offsets;
    struct told told = {.partitions = 0};
    int64_t *moved = mem_calloc(RUNS, sizeof(*moved));
    offsets_init(&offsets, 0);
    for (int64_t i = 0; i < RUNS; i++) {
        assert_int_equal(offsets_open(&offsets, 2 * i), OFFSETS_OPENED);
        assert_int_equal(offsets_open(&offsets, 2 * i + 1), OFFSETS_OPENED);
        assert_true(offsets_complete(&offsets, 2 * i + 1));
        moved[i] = 2 * (RUNS - 1 - i);
    }
    struct checkpoint_partition partition = {place, &offsets, NULL, 0, NULL, 0};
    assert_true(tell(&partition, &told) < (size_t)2 * RUNS + 100);
    assert_int_equal(told.runs, RUNS);
    assert_int_equal(told.base, 0);
    assert_int_equal(told.last_run, 2 * RUNS - 1);
    told = (struct told){.partitions = 0};
    partition.moved = moved;
    partition.moved_count = RUNS - 1; /* all but offset 0 */
    assert_true(tell(&partition, &told) < 100);
    assert_int_equal(told.runs, 1);
    assert_int_equal(told.base, 0);
    told = (struct told){.partitions = 0};
    partition.moved_count = RUNS;
    tell(&partition, &told);
    assert_int_equal(told.partitions, 0);
    assert_int_equal(checkpoint_base(&offsets, moved, RUNS), 2 * RUNS);
    mem_free(moved);
    offsets_free(&offsets);
}

static void test_full(void **state)
{
    (void)state;
    struct offsets offsets;
    struct strbuf out;
    offsets_init(&offsets, 0);
    assert_int_equal(offsets_open(&offsets, 0), OFFSETS_OPENED);
    assert_int_equal(offsets_open(&offsets, 2), OFFSETS_OPENED);
    const struct checkpoint_partition partition = {place, &offsets, NULL, 0, NULL, 0};
    strbuf_init(&out, 8);
    assert_false(checkpoint_partition(&out, &partition));
    assert_true(out.overflow);
    assert_false(checkpoint_begin(&out, &header));
    strbuf_free(&out);
    offsets_free(&offsets);
}

/* ---- against the model ---- */

enum { SPAN = 300 };

static void random_round(void)
{
    enum { ABSENT, OPEN, COMPLETE, MOVES };
    char model[SPAN] = {0};
    char complete[SPAN] = {0};
    int64_t moved[SPAN];
    size_t moved_count = 0;
    struct offsets offsets;
    struct told told = {.complete = complete};
    int64_t start = dice(20);
    int64_t until = start + dice(SPAN - 60);
    uint32_t open_share = 1 + dice(10);
    struct offsets_run imported = {start + dice(SPAN - 80), 0};
    imported.last = imported.first + dice(40);
    offsets_init(&offsets, start);
    assert_true(offsets_import(&offsets, &imported, dice(2)));
    for (int64_t i = 0; i < SPAN; i++) {
        bool known = offsets.imported_count > 0 && i >= imported.first && i <= imported.last;
        model[i] = i < start || known ? COMPLETE : ABSENT;
        if (i < start || i >= until || dice(8) == 0) {
            continue;
        }
        if (offsets_open(&offsets, i) == OFFSETS_OPENED) {
            model[i] = OPEN;
        }
    }
    for (int64_t i = start; i < SPAN; i++) {
        if (model[i] == OPEN && dice(open_share) > 0) {
            assert_true(offsets_complete(&offsets, i));
            model[i] = COMPLETE;
        } else if (model[i] == OPEN && dice(2) == 0) {
            moved[moved_count++] = i;
            model[i] = MOVES;
        }
        if (model[i] == ABSENT && i < offsets.next) {
            model[i] = COMPLETE; /* jumped over */
        }
    }
    for (size_t i = moved_count; i > 1; i--) { /* any order */
        size_t other = dice((uint32_t)i);
        int64_t kept = moved[i - 1];
        moved[i - 1] = moved[other];
        moved[other] = kept;
    }
    int64_t base = start;
    while (base < offsets.next && model[base] != OPEN) {
        base++;
    }
    assert_int_equal(checkpoint_base(&offsets, moved, moved_count), base);
    tell(&(struct checkpoint_partition){place, &offsets, moved, moved_count, NULL, 0}, &told);
    for (int64_t i = 0; i < SPAN; i++) {
        bool wanted = i >= base && (model[i] == COMPLETE || model[i] == MOVES);
        assert_int_equal(complete[i], wanted);
    }
    offsets_free(&offsets);
}

static void test_model(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        random_round();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing), cmocka_unit_test(test_awaited),
        cmocka_unit_test(test_moved),   cmocka_unit_test(test_alternating),
        cmocka_unit_test(test_full),    cmocka_unit_test(test_model),
    };
    const char *given = getenv("SLUICE_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : random_u64();
    print_message("SLUICE_SEED=%" PRIu64 "\n", seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
