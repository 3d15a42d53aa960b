/*
 * RFC 4180 rows: known ones, wrong ones, and random tables written and read back.
 */
#include "ops/csv/csv.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

static void check_row(struct csv *csv, uint64_t line, size_t count, const char *const *fields)
{
    struct csv_row row;
    assert_int_equal(csv_next(csv, &row), CSV_ROW);
    assert_int_equal(row.line, line);
    assert_int_equal(row.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(row.fields[i], fields[i]);
    }
}

static void test_known(void **state)
{
    struct csv csv;
    struct csv_row row;
    (void)state;
    csv_init(
        &csv,
        SLICE("\xef\xbb\xbf"
              "email,name\r\n\r\na@b.example,\"J \"\"x\"\" D\nsecond, line\"\n\n,\n\"\"\nlast,1"));
    check_row(&csv, 1, 2, (const char *const[]){"email", "name"});
    check_row(&csv, 3, 2, (const char *const[]){"a@b.example", "J \"x\" D\nsecond, line"});
    check_row(&csv, 6, 2, (const char *const[]){"", ""});
    check_row(&csv, 7, 1, (const char *const[]){""});
    check_row(&csv, 8, 2, (const char *const[]){"last", "1"});
    assert_int_equal(csv_next(&csv, &row), CSV_END);
    assert_int_equal(csv_next(&csv, &row), CSV_END);
    csv_free(&csv);
    csv_init(&csv, SLICE(""));
    assert_int_equal(csv_next(&csv, &row), CSV_END);
    csv_free(&csv);
}

static void test_wrong_rows(void **state)
{
    struct csv csv;
    struct csv_row row;
    static const uint64_t wrong_lines[] = {1, 2, 3, 4};
    (void)state;
    csv_init(&csv, SLICE("a\"b,c\n\"a\"b\na\rb\na,\"open\ngood,1\n"));
    for (size_t i = 0; i < ARRAY_LEN(wrong_lines); i++) {
        assert_int_equal(csv_next(&csv, &row), CSV_WRONG);
        assert_int_equal(row.line, wrong_lines[i]);
        assert_non_null(row.problem);
    }
    check_row(&csv, 5, 2, (const char *const[]){"good", "1"});
    csv_free(&csv);
    csv_init(&csv, SLICE("a\0b\nx"));
    assert_int_equal(csv_next(&csv, &row), CSV_WRONG);
    check_row(&csv, 2, 1, (const char *const[]){"x"});
    csv_free(&csv);
}

static void put(char *at, struct slice bytes)
{
    memcpy(at, bytes.ptr, bytes.len);
}

static void test_bounds(void **state)
{
    static char text[CSV_ROW_MAX_BYTES + 10];
    struct csv csv;
    struct csv_row row;
    (void)state;
    memset(text, ',', CSV_FIELDS_MAX);
    put(text + CSV_FIELDS_MAX, SLICE("\ny"));
    csv_init(&csv, slice_of(text, CSV_FIELDS_MAX + 2));
    assert_int_equal(csv_next(&csv, &row), CSV_WRONG);
    check_row(&csv, 2, 1, (const char *const[]){"y"});
    csv_free(&csv);
    csv_init(&csv, slice_of(text, CSV_FIELDS_MAX - 1));
    assert_int_equal(csv_next(&csv, &row), CSV_ROW);
    assert_int_equal(row.count, CSV_FIELDS_MAX);
    csv_free(&csv);
    memset(text, 'x', sizeof(text));
    put(text + sizeof(text) - 2, SLICE("\nz"));
    csv_init(&csv, slice_of(text, sizeof(text)));
    assert_int_equal(csv_next(&csv, &row), CSV_WRONG);
    check_row(&csv, 2, 1, (const char *const[]){"z"});
    csv_free(&csv);
}

#define ROWS 50
#define COLUMNS 5
#define WIDTH 12

static void test_random(void **state)
{
    static const char letters[] = "ab,\"\r\n ;\xc3";
    static char table[ROWS][COLUMNS][WIDTH];
    (void)state;
    for (int round = 0; round < 500; round++) {
        struct strbuf text;
        struct csv csv;
        strbuf_init(&text, 1 << 20);
        for (size_t i = 0; i < ROWS; i++) {
            for (size_t j = 0; j < COLUMNS; j++) {
                char *field = table[i][j];
                size_t len = random_below(WIDTH);
                strbuf_add_cstr(&text, j == 0 ? "\"" : ",\"");
                for (size_t k = 0; k < len; k++) {
                    field[k] = letters[random_below(sizeof(letters) - 1)];
                    strbuf_add(&text, "\"\"", field[k] == '"' ? 1 : 0);
                    strbuf_add_byte(&text, field[k]);
                }
                field[len] = '\0';
                strbuf_add_byte(&text, '"');
            }
            strbuf_add_cstr(&text, random_below(2) == 0 ? "\r\n" : "\n");
        }
        csv_init(&csv, strbuf_slice(&text));
        for (size_t i = 0; i < ROWS; i++) {
            struct csv_row row;
            assert_int_equal(csv_next(&csv, &row), CSV_ROW);
            assert_int_equal(row.count, COLUMNS);
            for (size_t j = 0; j < COLUMNS; j++) {
                assert_string_equal(row.fields[j], table[i][j]);
            }
        }
        struct csv_row row;
        assert_int_equal(csv_next(&csv, &row), CSV_END);
        csv_free(&csv);
        strbuf_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_wrong_rows),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
