/* slice, strbuf, arena, uuid, hash, fault, log_quote: what their headers promise. */
#include "base/arena.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/uuid.h"

#include "unit/cmocka_all.h"
#include "unit/temp.h"

#include <errno.h>
#include <unistd.h>

static void slices_compare_and_search(void **state)
{
    (void)state;
    assert_true(slice_eq(SLICE("abc"), slice_of("abcd", 3)));
    assert_false(slice_eq(SLICE("abc"), SLICE("abd")));
    assert_true(slice_eq_nocase(SLICE("AbC"), SLICE("aBc")));
    assert_false(slice_eq_nocase(SLICE("ab"), SLICE("abc")));
    assert_true(slice_starts_with(SLICE("foobar"), SLICE("foo")));
    assert_false(slice_starts_with(SLICE("fo"), SLICE("foo")));
    assert_true(slice_ends_with_nocase(SLICE("mx.GOOGLE.com"), SLICE(".google.COM")));
    assert_int_equal(slice_find_byte(SLICE("a@b@c"), '@'), 1);
    assert_int_equal(slice_rfind_byte(SLICE("a@b@c"), '@'), 3);
    assert_int_equal(slice_find_byte(SLICE(""), '@'), -1);
    assert_int_equal(slice_find(SLICE("header: x"), SLICE(": ")), 6);
    assert_int_equal(slice_find(SLICE("abc"), SLICE("x")), -1);
    assert_true(slice_eq(slice_trim(SLICE(" \t x y \t")), SLICE("x y")));
    assert_int_equal(slice_trim(SLICE(" \t")).len, 0);
}

static void slices_are_cut_at_separators(void **state)
{
    (void)state;
    struct slice rest = SLICE("a,,b");
    assert_true(slice_eq(slice_cut(&rest, ','), SLICE("a")));
    assert_true(slice_eq(slice_cut(&rest, ','), SLICE("")));
    assert_non_null(rest.ptr);
    assert_true(slice_eq(slice_cut(&rest, ','), SLICE("b")));
    assert_null(rest.ptr);
}

static void numbers_are_strict(void **state)
{
    (void)state;
    uint64_t value = 7;
    assert_true(slice_to_u64(SLICE("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    value = 7;
    assert_false(slice_to_u64(SLICE("18446744073709551616"), &value));
    assert_false(slice_to_u64(SLICE(""), &value));
    assert_false(slice_to_u64(SLICE("-1"), &value));
    assert_false(slice_to_u64(SLICE(" 1"), &value));
    assert_false(slice_to_u64(SLICE("1x"), &value));
    assert_int_equal(value, 7);
}

static void utf8_is_well_formed_or_not(void **state)
{
    (void)state;
    assert_true(slice_is_utf8(SLICE("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x93\xa7")));
    assert_true(slice_is_utf8(SLICE("")));
    assert_false(slice_is_utf8(SLICE("\xc0\xaf")));         /* overlong */
    assert_false(slice_is_utf8(SLICE("\xed\xa0\x80")));     /* surrogate */
    assert_false(slice_is_utf8(SLICE("\xf4\x90\x80\x80"))); /* above U+10FFFF */
    assert_false(slice_is_utf8(SLICE("\xe2\x82")));         /* cut */
    assert_false(slice_is_utf8(SLICE("\x80")));
    assert_true(slice_has_control(SLICE("a\x7f")));
    assert_true(slice_has_control(SLICE("a\r")));
    assert_false(slice_has_control(SLICE("a b")));
    assert_true(slice_has_8bit(SLICE("a\xff")));
}

static void strbuf_keeps_its_maximum(void **state)
{
    (void)state;
    struct strbuf buf;
    strbuf_init(&buf, 10);
    assert_true(strbuf_add_cstr(&buf, "12345"));
    assert_true(strbuf_addf(&buf, "%d", 67890));
    assert_false(strbuf_add_byte(&buf, 'x'));
    assert_true(buf.overflow);
    assert_true(slice_eq(strbuf_slice(&buf), SLICE("1234567890")));
    assert_int_equal(buf.ptr[10], '\0');
    strbuf_reset(&buf);
    assert_false(buf.overflow);
    assert_true(strbuf_add_cstr(&buf, "abcdef"));
    strbuf_consume(&buf, 2);
    assert_true(slice_eq(strbuf_slice(&buf), SLICE("cdef")));
    assert_false(strbuf_add_cstr(&buf, "1234567"));
    assert_false(strbuf_add_byte(
        &buf, 'y')); /* refused from then on, so that one look at the end is enough */
    assert_true(slice_eq(strbuf_slice(&buf), SLICE("cdef")));
    strbuf_free(&buf);
}

static void files_are_read_whole_or_not(void **state)
{
    (void)state;
    char name[TEMP_NAME_MAX];
    struct strbuf text, room;
    int fd = mkstemp(temp_name(name));
    assert_true(fd >= 0);
    strbuf_init(&text, 100000);
    for (int i = 0; i < 40000; i++) {
        assert_true(strbuf_add_byte(&text, (char)('a' + i % 23)));
    }
    assert_int_equal(write(fd, text.ptr, text.len), text.len);
    static const size_t most[] = {39999, 40000, 40001, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(most); i++) {
        strbuf_init(&room, most[i]);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        errno = 0;
        assert_true(strbuf_add_file(&room, fd) == (most[i] >= text.len));
        assert_int_equal(room.overflow, most[i] < text.len);
        assert_int_equal(errno == EFBIG, most[i] < text.len);
        assert_true(room.overflow || slice_eq(strbuf_slice(&room), strbuf_slice(&text)));
        strbuf_free(&room);
    }
    strbuf_init(&room, 10);
    assert_true(strbuf_add_file(&room, fd)); /* at its end: nothing */
    assert_string_equal(room.ptr, "");
    close(fd);
    assert_false(strbuf_add_file(&room, fd));
    assert_int_equal(errno, EBADF);
    assert_false(room.overflow);
    strbuf_free(&room);
    strbuf_free(&text);
    assert_int_equal(unlink(name), 0);
}

static void arena_is_aligned_and_bounded(void **state)
{
    (void)state;
    struct arena *arena = arena_create(100, 10000);
    assert_non_null(arena);
    size_t got = 0;
    for (size_t i = 1; i < 400; i++) {
        char *p = arena_try_alloc(arena, i);
        if (p == NULL) {
            break;
        }
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, (int)i, i);
        got += i;
    }
    assert_true(got > 5000 && got <= 10000);
    assert_true(arena_size_bytes(arena) < 12000);
    assert_null(arena_try_alloc(arena, SIZE_MAX));
    arena_free(&arena);
    assert_null(arena);
    arena_free(&arena);
}

static void uuids_are_ordered_and_derived(void **state)
{
    (void)state;
    char a[UUID_TEXT_LEN + 1], b[UUID_TEXT_LEN + 1];
    struct uuid first = uuid_v7((struct wall_time){1700000000000});
    struct uuid later = uuid_v7((struct wall_time){1700000000001});
    uuid_format(&first, a);
    uuid_format(&later, b);
    assert_true(strcmp(a, b) < 0);
    assert_int_equal(a[14], '7');
    assert_true(uuid_v7_time_ms(&first) == 1700000000000);
    struct uuid parsed;
    assert_true(uuid_parse(slice_cstr(a), &parsed));
    assert_memory_equal(parsed.bytes, first.bytes, 16);
    assert_false(uuid_parse(SLICE("0190163d-8694-739b-aea5-966c26f8ad9"), &parsed));
    assert_false(uuid_parse(SLICE("0190163d+8694-739b-aea5-966c26f8ad91"), &parsed));
    assert_false(uuid_parse(SLICE("0190163g-8694-739b-aea5-966c26f8ad91"), &parsed));
    struct uuid x = uuid_derive(SLICE("q.bulk/3/17"));
    struct uuid y = uuid_derive(SLICE("q.bulk/3/17"));
    struct uuid z = uuid_derive(SLICE("q.bulk/3/18"));
    assert_memory_equal(x.bytes, y.bytes, 16);
    assert_memory_not_equal(x.bytes, z.bytes, 16);
    assert_int_equal(x.bytes[6] >> 4, 8);
}

/* Vectors of the SipHash paper's reference: key 00…0f, input 00 01 02 … */
static void siphash_matches_its_reference(void **state)
{
    (void)state;
    const uint64_t key0 = 0x0706050403020100u, key1 = 0x0f0e0d0c0b0a0908u;
    char input[15];
    for (size_t i = 0; i < sizeof(input); i++) {
        input[i] = (char)i;
    }
    assert_true(hash_sip(slice_of(input, 0), key0, key1) == 0x726fdb47dd0e0e31u);
    assert_true(hash_sip(slice_of(input, 15), key0, key1) == 0xa129ca6149be45e5u);
}

static void faults_tell_kind_and_text(void **state)
{
    (void)state;
    struct fault fault;
    assert_false(fault_set_errno(&fault, ECONNREFUSED, "connect to %s", "x"));
    assert_int_equal(fault.kind, FAULT_REFUSED);
    assert_string_equal(fault.text, "connect to x: Connection refused");
    fault_prefix(&fault, "redis");
    assert_string_equal(fault.text, "redis: connect to x: Connection refused");
    assert_false(fault_set(NULL, FAULT_INVALID, 0, "nobody listens"));
}

static void log_values_cannot_forge_a_line(void **state)
{
    (void)state;
    char out[32];
    assert_string_equal(log_quote(out, sizeof(out), SLICE("plain")), "plain");
    assert_string_equal(log_quote(out, sizeof(out), SLICE("a b")), "\"a b\"");
    assert_string_equal(log_quote(out, sizeof(out), SLICE("x\ny\"z")), "\"x\\x0ay\\\"z\"");
    assert_string_equal(log_quote(out, sizeof(out), SLICE("k=v")), "\"k=v\"");
    assert_string_equal(log_quote(out, sizeof(out), SLICE("")), "\"\"");
    log_quote(out, sizeof(out), SLICE("\n\n\n\n\n\n\n\n\n\n\n\n\n\n"));
    assert_true(strlen(out) < sizeof(out));
    assert_int_equal(out[strlen(out) - 1], '"');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare_and_search),
        cmocka_unit_test(slices_are_cut_at_separators),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(utf8_is_well_formed_or_not),
        cmocka_unit_test(strbuf_keeps_its_maximum),
        cmocka_unit_test(files_are_read_whole_or_not),
        cmocka_unit_test(arena_is_aligned_and_bounded),
        cmocka_unit_test(uuids_are_ordered_and_derived),
        cmocka_unit_test(siphash_matches_its_reference),
        cmocka_unit_test(faults_tell_kind_and_text),
        cmocka_unit_test(log_values_cannot_forge_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
