/*
 * The wire format's cursor, text checks and Confluent's frame.
 */
#include "schema/framing.h"
#include "schema/wire.h"

#include "base/random.h"
#include "base/strbuf.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

static void test_varint_round_trip(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        for (int64_t near = -1; near <= 1; near++) {
            uint64_t value = ((uint64_t)1 << shift) + (uint64_t)near;
            char out[10];
            size_t size = (size_t)(wire_put_varint(out, value) - out);
            assert_int_equal(size, wire_varint_size(value));
            struct wire_cursor cursor = wire_cursor_of(slice_of(out, size));
            uint64_t back = ~value;
            assert_true(wire_varint(&cursor, &back));
            assert_true(back == value);
            assert_ptr_equal(cursor.at, cursor.end);
            cursor = wire_cursor_of(slice_of(out, size - 1));
            assert_false(wire_varint(&cursor, &back));
        }
    }
}

static void test_broken(void **state)
{
    const struct slice broken[] = {
        SLICE("\x00"),                                         /* field number 0 */
        SLICE("\x08"),                                         /* no value */
        SLICE("\x08\x80"),                                     /* half a value */
        SLICE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), /* 65 bits */
        SLICE("\x0a\x05"
              "abcd"),                                         /* shorter than it says */
        SLICE("\x0b\x0c"),                                     /* group */
        SLICE("\x0e\x01"),                                     /* type 6 */
        SLICE("\x0d\x01\x02"),                                 /* short fixed32 */
        SLICE("\x09\x01\x02"),                                 /* short fixed64 */
        SLICE("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* a length that wraps */
        SLICE("\x80\x80\x80\x80\x10\x01"),                     /* number over 2^29 - 1 */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct wire_cursor cursor = wire_cursor_of(broken[i]);
        struct wire_field field;
        assert_int_equal(wire_next(&cursor, &field), WIRE_BROKEN);
        assert_ptr_equal(cursor.at, broken[i].ptr);
    }
}

static void test_fields(void **state)
{
    struct wire_cursor cursor = wire_cursor_of(SLICE("\x08\x96\x01\x12\x02hi\x1d\x04\x03\x02\x01"));
    struct wire_field field;
    (void)state;
    assert_int_equal(wire_next(&cursor, &field), WIRE_FIELD);
    assert_int_equal(field.number, 1);
    assert_int_equal(field.value, 150);
    assert_int_equal(wire_next(&cursor, &field), WIRE_FIELD);
    assert_int_equal(field.number, 2);
    assert_true(slice_eq(field.bytes, SLICE("hi")));
    assert_int_equal(wire_next(&cursor, &field), WIRE_FIELD);
    assert_int_equal(field.type, WIRE_FIXED32);
    assert_int_equal(field.value, 0x01020304);
    assert_int_equal(wire_next(&cursor, &field), WIRE_END);
}

/* The fast scans against the plain ones, on random text at every alignment. */
static void test_text_scans(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[80];
        size_t len = random_below(sizeof(text));
        uint32_t rare = random_below(3);
        for (size_t i = 0; i < len; i++) {
            static const char odd[] = {'\0',   '\x80', '\xc3', '\xa9',
                                       '\xe2', '\x82', '\xac', '\xff'};
            text[i] = random_below(60) < rare * 4 ? odd[random_below(sizeof(odd))]
                                                  : (char)(1 + random_below(127));
        }
        struct slice s = slice_of(text, len);
        assert_int_equal(wire_has_8bit(s), slice_has_8bit(s));
        bool valid = slice_find_byte(s, '\0') < 0 && slice_is_utf8(s);
        assert_int_equal(wire_text_valid(s), valid);
        char clean[sizeof(text)];
        memcpy(clean, text, len);
        wire_text_sanitise(clean, len);
        assert_true(wire_text_valid(slice_of(clean, len)));
        assert_true(!valid || memcmp(clean, text, len) == 0);
    }
}

static void test_sanitise(void **state)
{
    char text[] = "caf\xc3\xa9 \xe2\x82\xac \xe2\x82 \xff\xc0\x80 \xed\xa0\x80.";
    (void)state;
    wire_text_sanitise(text, sizeof(text) - 1);
    assert_string_equal(text, "caf\xc3\xa9 \xe2\x82\xac ?? ??? ???.");
}

static void test_framing(void **state)
{
    const struct {
        struct slice record;
        bool ok;
        uint32_t id;
        struct slice message;
    } cases[] = {
        {SLICE("\x0a\x01x"), true, 0, SLICE("\x0a\x01x")},
        {SLICE(""), true, 0, SLICE("")},
        {SLICE("\x00\x00\x00\x01\x02\x00\x0a\x01x"), true, 258, SLICE("\x0a\x01x")},
        {SLICE("\x00\x00\x00\x00\x07\x02\x04\x0a\x01x"), true, 7, SLICE("\x0a\x01x")},
        {SLICE("\x00\xff\xff\xff\xff\x04\x04\x02\x0a\x01x"), true, 0xffffffff, SLICE("\x0a\x01x")},
        {SLICE("\x00\x00\x00\x00\x07\x00"), true, 7, SLICE("")},
        {SLICE("\x00\x00\x00\x00\x07"), false, 0, SLICE("")},
        {SLICE("\x00"), false, 0, SLICE("")},
        {SLICE("\x00\x00\x00\x00\x07\x03\x04"), false, 0, SLICE("")},  /* negative count */
        {SLICE("\x00\x00\x00\x00\x07\x04\x04"), false, 0, SLICE("")},  /* an index is missing */
        {SLICE("\x00\x00\x00\x00\x07\x02\x03x"), false, 0, SLICE("")}, /* negative index */
        {SLICE("\x00\x00\x00\x00\x07\xfe\x01x"), false, 0, SLICE("")}, /* 127 indexes */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice message;
        uint32_t id;
        assert_int_equal(framing_strip(cases[i].record, &message, &id), cases[i].ok);
        if (cases[i].ok) {
            assert_int_equal(id, cases[i].id);
            assert_true(slice_eq(message, cases[i].message));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint_round_trip),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_text_scans),
        cmocka_unit_test(test_sanitise),
        cmocka_unit_test(test_framing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
