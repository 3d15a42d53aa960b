/*
 * The pending set and the origin header.
 */
#include "schema/headers.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

static void test_known(void **state)
{
    struct pending_set set = {0};
    struct strbuf text;
    (void)state;
    strbuf_init(&text, 100);
    assert_true(pending_encode(&set, &text));
    assert_int_equal(text.len, 0);
    pending_add(&set, 0);
    pending_add(&set, 3);
    pending_add(&set, 4);
    pending_add(&set, 5);
    pending_add(&set, 999);
    assert_int_equal(pending_count(&set), 5);
    assert_true(pending_encode(&set, &text));
    assert_string_equal(text.ptr, "0,3-5,999");
    pending_remove(&set, 4);
    assert_false(pending_has(&set, 4));
    strbuf_reset(&text);
    assert_true(pending_encode(&set, &text));
    assert_string_equal(text.ptr, "0,3,5,999");
    strbuf_free(&text);
}

static void test_refused(void **state)
{
    static const char *const wrong[] = {
        ",",     "1,",  ",1",  "1,,2",  "-",     "1-",  "-1",
        "2-1",   "1,1", "3,2", "1-3,3", "1-2-3", "10",  "0-10",
        "a",     "1 ",  " 1",  "+1",    "00000", "0x1", "18446744073709551616",
        "5,4-6",
    };
    struct pending_set set;
    struct fault fault;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        fault_clear(&fault);
        if (pending_decode(slice_cstr(wrong[i]), 10, &set, &fault)) {
            fail_msg("taken: '%s'", wrong[i]);
        }
        assert_int_equal(fault.kind, FAULT_INVALID);
        assert_int_equal(pending_count(&set), 0);
    }
    assert_false(pending_decode(SLICE("0-1000"), 5000, &set, &fault));
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct pending_set set = {0};
        struct pending_set back;
        struct strbuf text;
        uint32_t density = 1 + random_below(100);
        strbuf_init(&text, 5000);
        for (size_t i = 0; i < MESSAGE_RECIPIENTS_MAX; i++) {
            if (random_below(100) < density) {
                pending_add(&set, i);
            }
        }
        assert_true(pending_encode(&set, &text));
        assert_true(pending_decode(strbuf_slice(&text), MESSAGE_RECIPIENTS_MAX, &back, NULL));
        assert_memory_equal(&set, &back, sizeof(set));
        strbuf_free(&text);
    }
}

static void test_longest_fits(void **state)
{
    struct pending_set set = {0};
    struct strbuf text;
    (void)state;
    for (size_t i = 0; i < MESSAGE_RECIPIENTS_MAX; i += 2) {
        pending_add(&set, i);
    }
    strbuf_init(&text, 5 * 1024);
    assert_true(pending_encode(&set, &text));
    strbuf_free(&text);
    strbuf_init(&text, 10);
    assert_false(pending_encode(&set, &text));
    strbuf_free(&text);
}

static void test_origin(void **state)
{
    struct message_origin origin = {SLICE("sluice.q.bulk"), 15, 1234567890123};
    struct message_origin back;
    struct strbuf text;
    (void)state;
    strbuf_init(&text, 300);
    assert_true(header_origin_encode(&origin, &text));
    assert_string_equal(text.ptr, "sluice.q.bulk/15/1234567890123");
    assert_true(header_origin_decode(strbuf_slice(&text), &back));
    assert_true(slice_eq(back.topic, origin.topic));
    assert_int_equal(back.partition, 15);
    assert_true(back.offset == 1234567890123);
    assert_false(header_origin_decode(SLICE("t/1"), &back));
    assert_false(header_origin_decode(SLICE("t/1/"), &back));
    assert_false(header_origin_decode(SLICE("/1/1"), &back));
    assert_false(header_origin_decode(SLICE("t/-1/1"), &back));
    assert_false(header_origin_decode(SLICE("t/2147483648/1"), &back));
    assert_false(header_origin_decode(SLICE("t/1/9223372036854775808"), &back));
    strbuf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_longest_fits),
        cmocka_unit_test(test_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
