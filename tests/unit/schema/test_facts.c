/* Facts records: what was put on the topic is read again, anything else is refused. */
#include "schema/facts.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

static struct event sample(void)
{
    return (struct event){
        .event_id = SLICE("not a fact"),
        .tenant = SLICE("shop"),
        .campaign = SLICE("spring"),
        .klass = SLICE("bulk"),
        .stream = SLICE("bulk"),
        .vip = SLICE("vip1"),
    };
}

static void test_round_trip(void **state)
{
    char key[FACTS_KEY_LEN + 1];
    struct strbuf value;
    const struct event event = sample();
    struct event back;
    uint64_t hash = 0;
    struct arena *arena = arena_create(1024, 1 << 20);
    (void)state;
    strbuf_init(&value, 4096);
    assert_true(facts_encode(&event, 0, key, &value));
    assert_true(facts_decode(slice_cstr(key), strbuf_slice(&value), arena, &hash, &back));
    assert_true(hash == facts_hash(&event));
    assert_int_equal(back.type, EVENT_NONE);
    assert_int_equal(back.event_id.len, 0);
    assert_true(slice_eq(back.campaign, event.campaign) && slice_eq(back.vip, event.vip));
    /* A value under another's key, a short key, a key of other letters, a broken value. */
    key[0] = key[0] == '0' ? '1' : '0';
    assert_false(facts_decode(slice_cstr(key), strbuf_slice(&value), arena, &hash, &back));
    assert_false(facts_decode(SLICE("123"), strbuf_slice(&value), arena, &hash, &back));
    key[0] = 'X';
    assert_false(facts_decode(slice_cstr(key), strbuf_slice(&value), arena, &hash, &back));
    assert_false(facts_decode(SLICE("0123456789abcdef"), SLICE("\x0a\x09x"), arena, &hash, &back));
    strbuf_free(&value);
    arena_free(&arena);
}

/* A byte that moves from one text to its neighbour makes other facts. */
static void test_hash_tells_texts_apart(void **state)
{
    const struct event event = sample();
    struct event other = event;
    (void)state;
    other.tenant = SLICE("shops");
    other.campaign = SLICE("pring");
    assert_true(facts_hash(&other) != facts_hash(&event));
    other = event;
    other.event_id = SLICE("another");
    assert_true(facts_hash(&other) == facts_hash(&event));
}

/* A list is one more text; other metadata are not put on the topic. */
static void test_list(void **state)
{
    const struct message_pair metadata[] = {{SLICE("other"), SLICE("x")},
                                            {SLICE("list"), SLICE("news")}};
    char key[FACTS_KEY_LEN + 1];
    struct strbuf value;
    struct event event = sample();
    struct event back;
    uint64_t without = facts_hash(&event);
    uint64_t hash = 0;
    struct arena *arena = arena_create(1024, 1 << 20);
    (void)state;
    event.metadata = metadata;
    event.metadata_count = 1;
    assert_true(facts_hash(&event) == without);
    event.metadata_count = 2;
    assert_true(facts_hash(&event) != without);
    strbuf_init(&value, 4096);
    assert_true(facts_encode(&event, 0, key, &value));
    assert_true(facts_decode(slice_cstr(key), strbuf_slice(&value), arena, &hash, &back));
    assert_true(hash == facts_hash(&event));
    assert_true(slice_eq(facts_list(&back), SLICE("news")));
    assert_int_equal(back.metadata_count, 1);
    strbuf_free(&value);
    arena_free(&arena);
}

/* How long a set is kept is said beside it, and is no part of it. */
static void test_keep(void **state)
{
    const struct event event = sample();
    char key[FACTS_KEY_LEN + 1], plain[FACTS_KEY_LEN + 1];
    struct strbuf value;
    struct event back;
    uint64_t hash = 0;
    struct arena *arena = arena_create(1024, 1 << 20);
    (void)state;
    strbuf_init(&value, 4096);
    assert_true(facts_encode(&event, 0, plain, &value));
    assert_true(facts_decode(slice_cstr(plain), strbuf_slice(&value), arena, &hash, &back));
    assert_true(facts_keep_ms(&back) == 0);
    strbuf_reset(&value);
    assert_true(facts_encode(&event, 1500, key, &value)); /* whole seconds, rounded up */
    assert_string_equal(key, plain);
    assert_true(facts_decode(slice_cstr(key), strbuf_slice(&value), arena, &hash, &back));
    assert_true(facts_keep_ms(&back) == 2000);
    const struct message_pair wrong = {SLICE(FACTS_KEEP), SLICE("99999999999")};
    back.metadata = &wrong;
    assert_true(facts_keep_ms(&back) == 0);
    assert_true(facts_renew_ms(INT64_C(90) * 86400000) == 86400000);
    assert_true(facts_renew_ms(8000) == 2000);
    strbuf_free(&value);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_hash_tells_texts_apart),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_keep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
