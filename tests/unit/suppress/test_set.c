/*
 * The set against a plain model (an array indexed by key number), with a printed seed (SLUICE_SEED
 * repeats a run); readers on other threads while the writer grows, changes and removes; and what an
 * entry takes.
 */
#include "suppress/set.h"

#include "base/mem.h"
#include "base/random.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "unit/cmocka_all.h"

#define TODAY 20000

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t seed_of_run(void)
{
    const char *given = getenv("SLUICE_SEED");
    uint64_t seed = given == NULL ? random_u64() : strtoull(given, NULL, 0);
    print_message("SLUICE_SEED=%" PRIu64 "\n", seed);
    return seed;
}

static uint64_t hash_of(const struct suppress_set *set, uint64_t number)
{
    char text[40];
    int len = snprintf(text, sizeof(text), "shop//user%" PRIu64 "@example.com", number);
    return suppress_set_hash(set, slice_of(text, (size_t)len));
}

static bool look(struct suppress_reader *reader, uint64_t hash, uint16_t today,
                 struct suppress_mark *mark)
{
    return suppress_reader_look(reader, &hash, 1, today, mark) == 0;
}

static void test_put_look_remove(void **state)
{
    (void)state;
    struct suppress_set *set = suppress_set_create();
    struct suppress_reader *reader = suppress_reader_open(set);
    struct suppress_mark mark;
    uint64_t hash = hash_of(set, 1);
    assert_false(look(reader, hash, TODAY, &mark));
    suppress_set_put(set, hash, (struct suppress_mark){3, 0}, TODAY);
    assert_true(look(reader, hash, TODAY, &mark));
    assert_int_equal(mark.reason, 3);
    assert_int_equal(mark.until_day, 0);
    assert_int_equal(suppress_set_count(set), 1);
    suppress_set_put(set, hash, (struct suppress_mark){255, TODAY + 1}, TODAY);
    assert_int_equal(suppress_set_count(set), 1);
    assert_true(look(reader, hash, TODAY, &mark));
    assert_int_equal(mark.reason, 255);
    /* The day it names is the first on which it holds no more. */
    assert_false(look(reader, hash, TODAY + 1, &mark));
    assert_true(suppress_set_get(set, hash, &mark));
    assert_true(suppress_set_remove(set, hash));
    assert_false(suppress_set_remove(set, hash));
    assert_false(look(reader, hash, TODAY, &mark));
    assert_int_equal(suppress_set_count(set), 0);
    suppress_reader_close(&reader);
    assert_null(reader);
    suppress_reader_close(&reader);
    suppress_set_free(&set);
    assert_null(set);
}

/* The hashes at the edges of what a word can hold, all in one segment and one bucket. */
static void test_edge_hashes(void **state)
{
    (void)state;
    struct suppress_set *set = suppress_set_create();
    struct suppress_reader *reader = suppress_reader_open(set);
    struct suppress_mark mark;
    for (uint64_t i = 0; i < 40; i++) {
        assert_false(look(reader, i, TODAY, &mark));
        suppress_set_put(set, i, (struct suppress_mark){1, 0}, TODAY);
    }
    for (uint64_t i = 0; i < 40; i += 2) {
        assert_true(suppress_set_remove(set, i));
    }
    for (uint64_t i = 0; i < 80; i++) {
        assert_int_equal(look(reader, i, TODAY, &mark), i < 40 && i % 2 == 1);
    }
    /* The same 56 bits in another segment are another key. */
    assert_false(look(reader, 1 | (uint64_t)1 << 60, TODAY, &mark));
    suppress_set_put(set, UINT64_MAX, (struct suppress_mark){9, 0}, TODAY);
    assert_true(look(reader, UINT64_MAX, TODAY, &mark));
    assert_false(look(reader, UINT64_MAX - 1, TODAY, &mark));
    suppress_reader_close(&reader);
    suppress_set_free(&set);
}

#define MODEL_KEYS 60000

/* Of a few keys the first that is in: the empty question, too. */
static void look_at_some(struct suppress_set *set, struct suppress_reader *reader,
                         const struct suppress_mark *model, uint16_t today)
{
    uint64_t hashes[3];
    struct suppress_mark mark;
    struct suppress_mark wanted = {0};
    size_t count = next_random() % 4;
    size_t first = count;
    for (size_t i = count; i-- > 0;) {
        uint64_t number = next_random() % MODEL_KEYS;
        hashes[i] = hash_of(set, number);
        if (model[number].reason != 0 && !suppress_day_is_over(model[number].until_day, today)) {
            first = i;
            wanted = model[number];
        }
    }
    assert_int_equal(suppress_reader_look(reader, hashes, count, today, &mark), first);
    if (first < count) {
        assert_int_equal(mark.reason, wanted.reason);
        assert_int_equal(mark.until_day, wanted.until_day);
    }
}

static void test_model(void **state)
{
    (void)state;
    struct suppress_set *set = suppress_set_create();
    struct suppress_reader *reader = suppress_reader_open(set);
    struct suppress_mark *model = mem_calloc(MODEL_KEYS, sizeof(*model));
    uint16_t today = TODAY;
    random_state = seed_of_run();
    for (int step = 0; step < 400000; step++) {
        uint64_t number = next_random() % MODEL_KEYS;
        uint64_t hash = hash_of(set, number);
        struct suppress_mark mark = {0};
        uint64_t what = next_random() % 10;
        today = (uint16_t)(today + (next_random() % 2000 == 0 ? 1 : 0));
        bool over = model[number].until_day != 0 && model[number].until_day <= today;
        if (what < 4) {
            mark.reason = (uint8_t)(1 + next_random() % 255);
            mark.until_day = next_random() % 2 == 0 ? 0 : (uint16_t)(today + next_random() % 5);
            suppress_set_put(set, hash, mark, today);
            model[number] = mark;
        } else if (what < 6) {
            bool was_in = suppress_set_remove(set, hash);
            /* What is over may have been forgotten by itself. */
            assert_true(was_in == (model[number].reason != 0) || (over && !was_in));
            model[number] = (struct suppress_mark){0};
        } else {
            look_at_some(set, reader, model, today);
        }
    }
    uint64_t most = 0;
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        most += model[i].reason != 0 ? 1 : 0;
    }
    assert_true(suppress_set_count(set) <= most);
    mem_free(model);
    suppress_reader_close(&reader);
    suppress_set_free(&set);
}

/* 10 bytes for a word and its day, never emptier than 73 percent less a step: below 15 bytes at
 * every size that is worth counting. */
static void test_bytes_of_an_entry(void **state)
{
    (void)state;
    struct suppress_set *set = suppress_set_create();
    for (uint64_t i = 0; i < 1000000; i++) {
        suppress_set_put(set, hash_of(set, i), (struct suppress_mark){1, 0}, TODAY);
        if (i >= 500000 && i % 1000 == 0) {
            assert_true(suppress_set_bytes(set) < suppress_set_count(set) * 15);
        }
    }
    assert_int_equal(suppress_set_count(set), 1000000);
    suppress_set_free(&set);
}

/* Keys of three kinds: always in, never in, and those that come and go with a reason that belongs
 * to their day. */
#define STEADY 2000
#define MOVING 500
#define ROUNDS 60

struct race {
    struct suppress_set *set;
    atomic_int stop;
    atomic_int wrong;
};

static void *read_all_the_time(void *argument)
{
    struct race *race = argument;
    struct suppress_reader *reader = suppress_reader_open(race->set);
    while (!atomic_load_explicit(&race->stop, memory_order_relaxed)) {
        struct suppress_mark mark;
        for (uint64_t i = 0; i < STEADY; i++) {
            bool in = look(reader, hash_of(race->set, i), TODAY, &mark);
            bool out = look(reader, hash_of(race->set, 1000000 + i), TODAY, &mark);
            if (!in || out) {
                atomic_fetch_add(&race->wrong, 1);
            }
        }
        for (uint64_t i = 0; i < MOVING; i++) {
            uint64_t hash = hash_of(race->set, 5000 + i);
            if (look(reader, hash, TODAY, &mark) && mark.until_day != TODAY + 1 + i) {
                atomic_fetch_add(&race->wrong, 1);
            }
        }
    }
    suppress_reader_close(&reader);
    return NULL;
}

static void test_readers_beside_the_writer(void **state)
{
    (void)state;
    struct race race = {.set = suppress_set_create()};
    pthread_t threads[3];
    for (uint64_t i = 0; i < STEADY; i++) {
        suppress_set_put(race.set, hash_of(race.set, i), (struct suppress_mark){1, 0}, TODAY);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_all_the_time, &race), 0);
    }
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t i = 0; i < MOVING; i++) {
            suppress_set_put(race.set, hash_of(race.set, 5000 + i),
                             (struct suppress_mark){2, (uint16_t)(TODAY + 1 + i)}, TODAY);
        }
        for (uint64_t i = 0; i < 1000; i++) { /* so that segments are replaced */
            suppress_set_put(race.set, hash_of(race.set, 10000 + round * 1000 + i),
                             (struct suppress_mark){3, 0}, TODAY);
        }
        for (uint64_t i = 0; i < MOVING; i++) {
            assert_true(suppress_set_remove(race.set, hash_of(race.set, 5000 + i)));
        }
    }
    atomic_store(&race.stop, 1);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&race.wrong), 0);
    assert_int_equal(suppress_set_count(race.set), STEADY + ROUNDS * 1000);
    suppress_set_free(&race.set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_look_remove),
        cmocka_unit_test(test_edge_hashes),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_bytes_of_an_entry),
        cmocka_unit_test(test_readers_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
