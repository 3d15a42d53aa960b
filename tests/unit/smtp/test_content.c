/*
 * The body encoder against a simple model: random content in random slices, taken in random
 * portions, must be what a byte-by-byte normalisation gives, and a receiver's unstuffing must give
 * the content back.
 */
#include "smtp/content.h"

#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define OUT_MAX (4u << 20)

/* SplitMix64: small, and the printed seed repeats a run. */
static uint64_t generator;

static uint64_t draw(uint64_t bound)
{
    uint64_t z = (generator += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % bound;
}

/* Takes all output, at most `step` bytes at a time (0: whole), asking for at most `pieces_max`
 * pieces. */
static void drain(struct smtp_content *content, struct strbuf *out, size_t pieces_max, size_t step)
{
    struct iovec pieces[SMTP_CONTENT_QUEUE];
    for (;;) {
        size_t count = smtp_content_output(content, pieces, pieces_max);
        size_t left = step == 0 ? SIZE_MAX : step, taken = 0;
        for (size_t i = 0; i < count && left > 0; i++) {
            assert_true(pieces[i].iov_len > 0);
            size_t part = pieces[i].iov_len < left ? pieces[i].iov_len : left;
            assert_true(strbuf_add(out, pieces[i].iov_base, part));
            taken += part;
            left -= part;
        }
        if (taken == 0) {
            return;
        }
        smtp_content_sent(content, taken);
    }
}

static void encode(const struct slice *slices, size_t count, enum smtp_content_form form,
                   struct strbuf *out)
{
    static struct smtp_content content;
    memset(&content, 0xa5, sizeof(content));
    smtp_content_measure(&content, slices, count);
    smtp_content_begin(&content, form, SMTP_CONTENT_HOLD_NONE);
    strbuf_init(out, OUT_MAX);
    drain(&content, out, 64, 0);
    assert_true(smtp_content_finished(&content));
    assert_int_equal(out->len, content.wire_bytes);
}

static void check_encoding(const char *text, const char *dotted, const char *chunk)
{
    struct slice s = slice_cstr(text);
    struct strbuf out;
    encode(&s, 1, SMTP_CONTENT_DOT, &out);
    assert_true(slice_eq(strbuf_slice(&out), slice_cstr(dotted)));
    strbuf_free(&out);
    encode(&s, 1, SMTP_CONTENT_CHUNK, &out);
    assert_true(slice_eq(strbuf_slice(&out), slice_cstr(chunk)));
    strbuf_free(&out);
}

static void test_examples(void **state)
{
    (void)state;
    check_encoding("", ".\r\n", "");
    check_encoding("a", "a\r\n.\r\n", "a\r\n");
    check_encoding("a\r\n", "a\r\n.\r\n", "a\r\n");
    check_encoding("a\n", "a\r\n.\r\n", "a\r\n");
    check_encoding("a\r", "a\r\n.\r\n", "a\r\n");
    check_encoding("\n", "\r\n.\r\n", "\r\n");
    check_encoding("\r", "\r\n.\r\n", "\r\n");
    check_encoding("\n\r", "\r\n\r\n.\r\n", "\r\n\r\n");
    check_encoding("\r\r\n", "\r\n\r\n.\r\n", "\r\n\r\n");
    check_encoding(".", "..\r\n.\r\n", ".\r\n");
    check_encoding("..\r\n", "...\r\n.\r\n", "..\r\n");
    check_encoding("a\r\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n");
    check_encoding("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n");
    check_encoding("a\r.\rb", "a\r\n..\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n");
    check_encoding("a.b\r\nc.", "a.b\r\nc.\r\n.\r\n", "a.b\r\nc.\r\n");
}

/* Clean content is handed out as the owner's own slices. */
static void test_no_copy(void **state)
{
    static struct smtp_content content;
    struct slice slices[] = {SLICE("Subject: x\r\n"), SLICE("\r\nbody\r\n")};
    struct iovec pieces[8];
    (void)state;
    smtp_content_measure(&content, slices, ARRAY_LEN(slices));
    smtp_content_begin(&content, SMTP_CONTENT_DOT, SMTP_CONTENT_HOLD_NONE);
    assert_int_equal(smtp_content_output(&content, pieces, ARRAY_LEN(pieces)), 3);
    assert_ptr_equal(pieces[0].iov_base, slices[0].ptr);
    assert_int_equal(pieces[0].iov_len, slices[0].len);
    assert_ptr_equal(pieces[1].iov_base, slices[1].ptr);
    assert_int_equal(pieces[1].iov_len, slices[1].len);
    assert_int_equal(pieces[2].iov_len, 3);
}

static void test_hold(void **state)
{
    static struct smtp_content content;
    struct slice slice = SLICE("hello\r\n");
    (void)state;
    for (int form = SMTP_CONTENT_DOT; form <= SMTP_CONTENT_CHUNK; form++) {
        struct strbuf out;
        strbuf_init(&out, OUT_MAX);
        smtp_content_measure(&content, &slice, 1);
        smtp_content_begin(&content, (enum smtp_content_form)form, SMTP_CONTENT_HOLD_END);
        assert_false(smtp_content_held(&content));
        drain(&content, &out, 8, 3);
        assert_true(slice_eq(strbuf_slice(&out),
                             form == SMTP_CONTENT_DOT ? SLICE("hello\r\n") : SLICE("hello")));
        assert_true(smtp_content_held(&content));
        assert_false(smtp_content_finished(&content));
        smtp_content_release(&content);
        drain(&content, &out, 8, 1);
        assert_true(smtp_content_finished(&content));
        assert_true(slice_eq(strbuf_slice(&out), form == SMTP_CONTENT_DOT ? SLICE("hello\r\n.\r\n")
                                                                          : SLICE("hello\r\n")));
        strbuf_free(&out);
    }
}

static void test_hold_all(void **state)
{
    static struct smtp_content content;
    struct slice slice = SLICE("hello\r\n");
    struct iovec piece;
    (void)state;
    smtp_content_measure(&content, &slice, 1);
    smtp_content_begin(&content, SMTP_CONTENT_CHUNK, SMTP_CONTENT_HOLD_ALL);
    assert_true(smtp_content_held(&content));
    assert_int_equal(smtp_content_output(&content, &piece, 1), 0);
    assert_false(smtp_content_is_ending(&content));
    smtp_content_release(&content);
    assert_int_equal(smtp_content_output(&content, &piece, 1), 1);
    assert_int_equal(piece.iov_len, slice.len);
    assert_true(smtp_content_is_ending(&content));
}

/* ---- the property ---- */

/* Line ends made CRLF, byte by byte. */
static void model_normalise(struct slice raw, struct strbuf *out)
{
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.ptr[i] == '\r') {
            strbuf_add(out, "\r\n", 2);
            i += i + 1 < raw.len && raw.ptr[i + 1] == '\n';
        } else if (raw.ptr[i] == '\n') {
            strbuf_add(out, "\r\n", 2);
        } else {
            strbuf_add_byte(out, raw.ptr[i]);
        }
    }
    if (out->len > 0 && out->ptr[out->len - 1] != '\n') {
        strbuf_add(out, "\r\n", 2);
    }
}

/* A receiver of DATA: lines until the lone dot, one leading dot removed. False: not well-formed. */
static bool model_receive(struct slice wire, struct strbuf *out)
{
    CHECK(wire.ptr != NULL);
    while (wire.len > 0) {
        ptrdiff_t end = slice_find(wire, SLICE("\r\n"));
        if (end < 0) {
            return false;
        }
        struct slice line = slice_head(wire, (size_t)end);
        wire = slice_skip(wire, (size_t)end + 2);
        if (slice_eq(line, SLICE("."))) {
            return wire.len == 0;
        }
        if (slice_find_byte(line, '\r') >= 0 || slice_find_byte(line, '\n') >= 0) {
            return false;
        }
        strbuf_add_slice(out, line.len > 0 && line.ptr[0] == '.' ? slice_skip(line, 1) : line);
        strbuf_add(out, "\r\n", 2);
    }
    return false;
}

static size_t random_content(char *raw, size_t max)
{
    /* From mostly clean to nothing but line ends and dots. */
    static const char *const mixes[] = {"\r\n.a", "\n.ab", "\r.a", "abcdefgh.\n", "\r\n"};
    const char *mix = mixes[draw(ARRAY_LEN(mixes))];
    uint64_t clean = draw(4);
    size_t len = 0, want = (size_t)draw(draw(8) == 0 ? max - 80 : 600);
    while (len < want) {
        if (clean > 0 && draw(8) < clean * 2) {
            size_t line = (size_t)draw(70);
            memset(raw + len, 'x', line);
            len += line;
            raw[len++] = '\r';
            raw[len++] = '\n';
        } else {
            raw[len++] = mix[draw(strlen(mix))];
        }
    }
    return len;
}

static bool same_bytes(const struct strbuf *a, const struct strbuf *b)
{
    if (a->ptr == NULL || b->ptr == NULL) {
        return a->len == 0 && b->len == 0;
    }
    return slice_eq(strbuf_slice(a), strbuf_slice(b));
}

static void one_round(char *raw, size_t max)
{
    struct slice slices[40];
    static struct smtp_content content;
    struct strbuf out, normal, received;
    size_t len = random_content(raw, max), count = 0, at = 0;
    while (at < len && count < ARRAY_LEN(slices) - 1) {
        size_t part = (size_t)draw(draw(2) == 0 ? 4 : len + 1);
        part = part < len - at ? part : len - at;
        slices[count++] = slice_of(raw + at, part);
        at += part;
    }
    slices[count++] = slice_of(raw + at, len - at);
    strbuf_init(&out, OUT_MAX);
    strbuf_init(&normal, OUT_MAX);
    strbuf_init(&received, OUT_MAX);
    model_normalise(slice_of(raw, len), &normal);
    enum smtp_content_form form = draw(2) == 0 ? SMTP_CONTENT_DOT : SMTP_CONTENT_CHUNK;
    enum smtp_content_hold hold = (enum smtp_content_hold)draw(3);
    smtp_content_measure(&content, slices, count);
    assert_int_equal(content.size_bytes, normal.len);
    smtp_content_begin(&content, form, hold);
    size_t step = draw(3) == 0 ? 0 : (size_t)draw(draw(2) == 0 ? 5 : 5000) + 1;
    drain(&content, &out, (size_t)draw(SMTP_CONTENT_QUEUE) + 1, step);
    if (hold != SMTP_CONTENT_HOLD_NONE && content.wire_bytes > 0) {
        assert_true(smtp_content_held(&content));
        smtp_content_release(&content);
        drain(&content, &out, 3, step);
    }
    assert_true(smtp_content_finished(&content));
    assert_int_equal(out.len, content.wire_bytes);
    if (form == SMTP_CONTENT_DOT) {
        assert_true(model_receive(strbuf_slice(&out), &received));
        assert_true(same_bytes(&received, &normal));
    } else {
        assert_true(same_bytes(&out, &normal));
    }
    strbuf_free(&out);
    strbuf_free(&normal);
    strbuf_free(&received);
}

static void test_property(void **state)
{
    (void)state;
    const char *seed = getenv("SLUICE_SEED");
    uint64_t given;
    size_t max = 200000;
    generator = seed != NULL && slice_to_u64(slice_cstr(seed), &given) ? given : random_u64();
    print_message("SLUICE_SEED=%llu\n", (unsigned long long)generator);
    char *raw = mem_zalloc(max);
    for (size_t i = 0; i < 3000; i++) {
        one_round(raw, max);
    }
    mem_free(raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples), cmocka_unit_test(test_no_copy),
        cmocka_unit_test(test_hold),     cmocka_unit_test(test_hold_all),
        cmocka_unit_test(test_property),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
