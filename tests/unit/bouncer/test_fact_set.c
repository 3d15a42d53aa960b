/* Sets of facts: what a number stands for, sharing of texts, and which sets leave the topic when.
 */
#include "bouncer/fact_set.h"

#include "base/mem.h"
#include "base/random.h"

#include "unit/cmocka_all.h"

#define DAY_MS INT64_C(86400000)
#define KEEP_MS (90 * DAY_MS)
#define START_MS INT64_C(1795500000000)

static struct fact_set *set;
static int64_t offset;

static int begin(void **state)
{
    (void)state;
    set = fact_set_create(365 * DAY_MS);
    offset = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    fact_set_free(&set);
    return 0;
}

struct named {
    char campaign[32];
    struct event facts;
};

static struct event *name(struct named *named, unsigned number)
{
    snprintf(named->campaign, sizeof(named->campaign), "campaign-%u", number);
    named->facts = (struct event){
        .tenant = SLICE("shop"),
        .campaign = slice_cstr(named->campaign),
        .klass = SLICE("bulk"),
        .stream = SLICE("bulk"),
        .vip = SLICE("vip1"),
    };
    return &named->facts;
}

static void add(const struct event *facts, int64_t keep_ms, int64_t time_ms)
{
    char key[FACTS_KEY_LEN + 1];
    struct strbuf value;
    strbuf_init(&value, 4096);
    assert_true(facts_encode(facts, keep_ms, key, &value));
    fact_set_add(set, slice_cstr(key), strbuf_slice(&value), offset++, time_ms);
    strbuf_free(&value);
}

static void take_off(const struct event *facts, int64_t seen)
{
    char key[FACTS_KEY_LEN + 1], text[24];
    snprintf(key, sizeof(key), "%016llx", (unsigned long long)facts_hash(facts));
    snprintf(text, sizeof(text), "%lld", (long long)seen);
    fact_set_remove(set, slice_cstr(key), seen < 0 ? SLICE_NULL : slice_cstr(text), offset++);
}

/* What the number of these facts stands for in a mail of that time; texts are copied. */
static struct {
    char tenant[32], campaign[32], vip[32], list[32];
} found;

static enum table_found find_at(const struct event *facts, int64_t sent_ms)
{
    struct event event;
    struct arena *arena = arena_create(1024, 1 << 20);
    enum table_found result =
        fact_set_find(set, facts_number(facts_hash(facts)), sent_ms, arena, &event);
    memset(&found, 0, sizeof(found));
    if (result == TABLE_FOUND) {
        snprintf(found.tenant, sizeof(found.tenant), "%.*s", SLICE_FMT(event.tenant));
        snprintf(found.campaign, sizeof(found.campaign), "%.*s", SLICE_FMT(event.campaign));
        snprintf(found.vip, sizeof(found.vip), "%.*s", SLICE_FMT(event.vip));
        snprintf(found.list, sizeof(found.list), "%.*s", SLICE_FMT(facts_list(&event)));
    }
    arena_free(&arena);
    return result;
}

/* All that is asked for at that time; how many, and the last of them. */
static struct fact_write asked;

static size_t ask(int64_t now_ms)
{
    size_t count = 0;
    while (fact_set_next_write(set, now_ms, &asked)) {
        count++;
    }
    return count;
}

static void facts_are_found(void **state)
{
    const struct message_pair list = {SLICE(FACTS_LIST), SLICE("news")};
    struct named one;
    struct event other = *name(&one, 1);
    (void)state;
    assert_int_equal(find_at(&one.facts, START_MS), TABLE_UNKNOWN);
    add(&one.facts, KEEP_MS, START_MS);
    assert_int_equal(find_at(&one.facts, START_MS), TABLE_FOUND);
    assert_string_equal(found.tenant, "shop");
    assert_string_equal(found.campaign, "campaign-1");
    assert_string_equal(found.vip, "vip1");
    assert_string_equal(found.list, "");
    other.vip = SLICE("vip2");
    other.metadata = &list;
    other.metadata_count = 1;
    add(&other, KEEP_MS, START_MS);
    assert_int_equal(find_at(&other, START_MS), TABLE_FOUND);
    assert_string_equal(found.vip, "vip2");
    assert_string_equal(found.list, "news");
    other.vip = SLICE_NULL;
    add(&other, KEEP_MS, START_MS);
    assert_int_equal(find_at(&other, START_MS), TABLE_FOUND);
    assert_string_equal(found.vip, "");
    /* No record at all. */
    fact_set_add(set, SLICE("0123456789abcdef"), SLICE("\x0a\x09x"), offset++, START_MS);
    fact_set_add(set, SLICE("1234"), SLICE(""), offset++, START_MS);
    fact_set_remove(set, SLICE("1234"), SLICE_NULL, offset++);
    assert_int_equal(fact_set_count(set), 3);
}

/* A set that is used goes on, one that is not leaves once its time and that of a renewal is over.
 */
static void what_is_not_used_leaves(void **state)
{
    struct named used, unused;
    char key[FACTS_KEY_LEN + 1];
    (void)state;
    (void)name(&used, 1);
    (void)name(&unused, 2);
    snprintf(key, sizeof(key), "%016llx", (unsigned long long)facts_hash(&unused.facts));
    add(&unused.facts, KEEP_MS, START_MS);
    for (int day = 1; day <= 91; day++) {
        add(&used.facts, KEEP_MS, START_MS + day * DAY_MS);
        assert_int_equal(ask(START_MS + day * DAY_MS), 0);
    }
    add(&used.facts, KEEP_MS, START_MS + 92 * DAY_MS);
    assert_int_equal(ask(START_MS + 92 * DAY_MS), 1);
    assert_string_equal(asked.key, key);
    assert_null(asked.value.ptr);
    assert_string_equal(asked.header_name, FACTS_SEEN);
    assert_string_equal(asked.header, "0");
    /* Until it has been read back it is known, and asked for once. */
    assert_int_equal(ask(START_MS + 92 * DAY_MS), 0);
    assert_int_equal(find_at(&unused.facts, START_MS), TABLE_FOUND);
    fact_set_ask_again(set);
    assert_int_equal(ask(START_MS + 92 * DAY_MS), 1);
    take_off(&unused.facts, 0);
    assert_int_equal(find_at(&unused.facts, START_MS), TABLE_UNKNOWN);
    assert_int_equal(find_at(&used.facts, START_MS), TABLE_FOUND);
    assert_int_equal(fact_set_count(set), 1);
    /* Used again, it is there again. */
    add(&unused.facts, KEEP_MS, START_MS + 93 * DAY_MS);
    assert_int_equal(find_at(&unused.facts, START_MS), TABLE_FOUND);
    assert_int_equal(ask(START_MS + 94 * DAY_MS), 0);
}

/* Who wrote between that was decided and that it was written is not undone: the set is written
 * again, behind what took it off, once. */
static void who_comes_between_is_kept(void **state)
{
    struct named one, other;
    struct event facts;
    char text[24];
    uint64_t hash;
    struct arena *arena = arena_create(1024, 1 << 20);
    (void)state;
    add(name(&one, 1), KEEP_MS, START_MS);
    add(name(&other, 2), KEEP_MS, START_MS + 100 * DAY_MS);
    assert_int_equal(ask(START_MS + 100 * DAY_MS), 1);
    add(&one.facts, KEEP_MS, START_MS + 100 * DAY_MS);
    take_off(&one.facts, 0);
    assert_int_equal(find_at(&one.facts, START_MS), TABLE_FOUND);
    assert_int_equal(ask(START_MS + 100 * DAY_MS), 1);
    assert_true(facts_decode(slice_cstr(asked.key), asked.value, arena, &hash, &facts));
    assert_true(hash == facts_hash(&one.facts) && slice_eq(facts.vip, SLICE("vip1")));
    assert_true(facts_keep_ms(&facts) == KEEP_MS);
    assert_string_equal(asked.header_name, FACTS_TIME);
    snprintf(text, sizeof(text), "%lld", (long long)(START_MS + 100 * DAY_MS));
    assert_string_equal(asked.header, text);
    assert_int_equal(ask(START_MS + 100 * DAY_MS), 0);
    fact_set_ask_again(set); /* it was not written */
    assert_int_equal(ask(START_MS + 100 * DAY_MS), 1);
    add(&one.facts, KEEP_MS, START_MS + 100 * DAY_MS);
    fact_set_ask_again(set);
    assert_int_equal(ask(START_MS + 100 * DAY_MS), 0);
    /* By hand, without a word of what was seen: as it is said. */
    take_off(&one.facts, -1);
    assert_int_equal(find_at(&one.facts, START_MS), TABLE_UNKNOWN);
    arena_free(&arena);
}

/* One clock that is wrong takes nothing away: ours, a writer's that is ahead, one that is behind.
 */
static void wrong_clocks(void **state)
{
    struct named one, two, three;
    (void)state;
    add(name(&one, 1), KEEP_MS, START_MS);
    assert_int_equal(ask(START_MS + 1000 * DAY_MS), 0); /* ours; nobody else's says so */
    add(name(&two, 2), KEEP_MS, START_MS + 1000 * DAY_MS);
    assert_int_equal(ask(START_MS + DAY_MS), 0); /* a writer's; ours does not say so */
    assert_int_equal(ask(START_MS - 1000 * DAY_MS), 0);
    assert_int_equal(ask(0), 0);
    add(name(&three, 3), KEEP_MS, START_MS - 1000 * DAY_MS);
    assert_int_equal(ask(START_MS + DAY_MS), 0);
    /* The one who is behind is alone: by his own clock, time passes as well. */
    fact_set_free(&set);
    set = fact_set_create(365 * DAY_MS);
    add(&three.facts, KEEP_MS, START_MS - 1000 * DAY_MS);
    assert_int_equal(ask(START_MS), 0);
    add(&two.facts, KEEP_MS, START_MS - 990 * DAY_MS);
    assert_int_equal(ask(START_MS), 0);
    add(&one.facts, KEEP_MS, START_MS - 900 * DAY_MS);
    assert_int_equal(ask(START_MS), 1);
}

/* Read anew from the beginning, sets are as old as they were. */
static void read_again(void **state)
{
    struct named one, two;
    (void)state;
    for (int i = 0; i < 2; i++) {
        offset = 0;
        fact_set_begin(set);
        add(name(&one, 1), KEEP_MS, START_MS);
        assert_int_equal(ask(START_MS + 200 * DAY_MS), 0);
        add(name(&two, 2), KEEP_MS, START_MS + 200 * DAY_MS);
        assert_int_equal(ask(START_MS + 200 * DAY_MS), 1);
    }
}

/* The longest time that any mail of the set needs holds: a record that says less is followed by one
 * that says it again. Records that say nothing have everybody's time, and no word against others.
 */
static void the_longest_time_holds(void **state)
{
    struct named one, other;
    struct event facts;
    uint64_t hash;
    struct arena *arena = arena_create(1024, 1 << 20);
    (void)state;
    add(name(&one, 1), 365 * DAY_MS, START_MS);
    add(&one.facts, KEEP_MS, START_MS);
    assert_int_equal(ask(START_MS), 1);
    assert_true(facts_decode(slice_cstr(asked.key), asked.value, arena, &hash, &facts));
    assert_true(facts_keep_ms(&facts) == 365 * DAY_MS);
    add(&facts, facts_keep_ms(&facts), START_MS);
    assert_int_equal(ask(START_MS), 0);
    add(name(&other, 2), 0, START_MS + 360 * DAY_MS);
    assert_int_equal(ask(START_MS + 360 * DAY_MS), 0);
    add(&other.facts, KEEP_MS, START_MS + 360 * DAY_MS);
    assert_int_equal(ask(START_MS + 360 * DAY_MS), 0);
    add(&other.facts, 0, START_MS + 367 * DAY_MS);
    assert_int_equal(ask(START_MS + 367 * DAY_MS), 1);
    arena_free(&arena);
}

static int by_number(const void *a, const void *b)
{
    uint32_t one = facts_number(*(const uint64_t *)a);
    uint32_t other = facts_number(*(const uint64_t *)b);
    return one < other ? -1 : one > other;
}

/* Two campaigns whose sets have one number: among 300,000 there are ten such pairs. */
static void find_pair(unsigned *one, unsigned *other)
{
    enum { MANY = 300000 };
    struct named named;
    uint64_t *hashes = mem_calloc(MANY, sizeof(*hashes));
    uint64_t *sorted = mem_calloc(MANY, sizeof(*sorted));
    for (unsigned i = 0; i < MANY; i++) {
        sorted[i] = hashes[i] = facts_hash(name(&named, i));
    }
    qsort(sorted, MANY, sizeof(*sorted), by_number);
    size_t at = 1;
    while (at < MANY && by_number(&sorted[at - 1], &sorted[at]) != 0) {
        at++;
    }
    assert_true(at < MANY);
    for (unsigned i = 0; i < MANY; i++) {
        *one = hashes[i] == sorted[at - 1] ? i : *one;
        *other = hashes[i] == sorted[at] ? i : *other;
    }
    mem_free(hashes);
    mem_free(sorted);
}

static void one_number_for_two(void **state)
{
    unsigned numbers[2] = {0, 0};
    struct named one, other;
    (void)state;
    find_pair(&numbers[0], &numbers[1]);
    add(name(&one, numbers[0]), KEEP_MS, START_MS);
    add(name(&other, numbers[1]), KEEP_MS, START_MS + 50 * DAY_MS);
    assert_int_equal(fact_set_count(set), 2);
    /* Both could be meant: what they agree in. */
    assert_int_equal(find_at(&one.facts, START_MS), TABLE_FOUND);
    assert_string_equal(found.tenant, "shop");
    assert_string_equal(found.vip, "vip1");
    assert_string_equal(found.campaign, "");
    /* Only one was still in use when the mail was sent. */
    assert_int_equal(find_at(&one.facts, START_MS + 50 * DAY_MS), TABLE_FOUND);
    assert_string_equal(found.campaign, other.campaign);
    /* None was, by these clocks: then any may be meant. */
    assert_int_equal(find_at(&one.facts, START_MS + 80 * DAY_MS), TABLE_FOUND);
    assert_string_equal(found.campaign, "");
    /* When one has left the other is alone. */
    take_off(&other.facts, -1);
    assert_int_equal(find_at(&one.facts, START_MS + 50 * DAY_MS), TABLE_FOUND);
    assert_string_equal(found.campaign, one.campaign);
}

/* Many sets come and go at random; the table is at any time what a plain list of them is. */
static void like_a_list(void **state)
{
    enum { SETS = 3000, STEPS = 60000 };
    bool *there = mem_calloc(SETS, sizeof(*there));
    size_t count = 0;
    struct named named;
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        /* It fills up, then empties: it grows and shrinks. */
        unsigned i = random_below(SETS);
        bool wanted = random_below(10) < (step < STEPS / 2 ? 8u : 1u);
        if (wanted) {
            add(name(&named, i), KEEP_MS, START_MS);
        } else {
            take_off(name(&named, i), -1);
        }
        count = count + (wanted && !there[i]) - (!wanted && there[i]);
        there[i] = wanted;
        assert_int_equal(fact_set_count(set), count);
        unsigned other = random_below(SETS);
        assert_int_equal(find_at(name(&named, other), START_MS),
                         there[other] ? TABLE_FOUND : TABLE_UNKNOWN);
    }
    for (unsigned i = 0; i < SETS; i++) {
        assert_int_equal(find_at(name(&named, i), START_MS),
                         there[i] ? TABLE_FOUND : TABLE_UNKNOWN);
        if (there[i]) {
            assert_string_equal(found.campaign, named.campaign);
            take_off(&named.facts, -1);
        }
    }
    assert_int_equal(fact_set_count(set), 0);
    mem_free(there);
}

/* Eight VIPs to a campaign: the texts of a campaign are there once, and all goes when it goes. */
static void memory_of_a_set(void **state)
{
    enum { CAMPAIGNS = 5000, VIPS = 8 };
    struct named named;
    char vip[16];
    size_t empty = fact_set_bytes(set);
    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < CAMPAIGNS * VIPS; i++) {
            snprintf(vip, sizeof(vip), "vip-%u", i % VIPS);
            name(&named, i / VIPS)->vip = slice_cstr(vip);
            if (turn == 0) {
                add(&named.facts, KEEP_MS, START_MS);
            } else {
                take_off(&named.facts, -1);
            }
        }
        if (turn == 0) {
            assert_true(fact_set_bytes(set) - empty < (size_t)CAMPAIGNS * VIPS * 130);
        }
    }
    assert_int_equal(fact_set_count(set), 0);
    assert_true(fact_set_bytes(set) < (size_t)CAMPAIGNS * 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(facts_are_found, begin, end),
        cmocka_unit_test_setup_teardown(what_is_not_used_leaves, begin, end),
        cmocka_unit_test_setup_teardown(who_comes_between_is_kept, begin, end),
        cmocka_unit_test_setup_teardown(wrong_clocks, begin, end),
        cmocka_unit_test_setup_teardown(read_again, begin, end),
        cmocka_unit_test_setup_teardown(the_longest_time_holds, begin, end),
        cmocka_unit_test_setup_teardown(one_number_for_two, begin, end),
        cmocka_unit_test_setup_teardown(like_a_list, begin, end),
        cmocka_unit_test_setup_teardown(memory_of_a_set, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
