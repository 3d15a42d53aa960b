/* What we tell a sender: read back by our own reader, and not to be broken by what others said. */
#include "mail/dsn_write.h"

#include "mail/returned.h"
#include "unit/cmocka_all.h"

static struct dsn_failure plain;

static void fill(void)
{
    plain = (struct dsn_failure){
        .host = SLICE("mta1.example.net"),
        .id = SLICE("0190a9d2-7a3c-7000-8000-000000000001"),
        .sender = SLICE("news@sender.example"),
        .recipient = SLICE("user@example.org"),
        .status = SLICE("5.1.1"),
        .text = SLICE("550 5.1.1 <user@example.org>: User unknown"),
        .remote_mta = SLICE("mx1.example.org"),
        .arrived = {1700000000000},
        .now = {1700000060000},
        .message =
            SLICE("From: News <news@sender.example>\r\nTo: user@example.org\r\n"
                  "Message-ID: <abc@sender.example>\r\nSubject: Hello\r\n\r\nsecret body\r\n"),
    };
}

static struct arena *arena;
static struct strbuf text;

static struct returned_mail write_and_read(const struct dsn_failure *failure)
{
    struct returned_mail mail;
    struct fault fault = {0};
    strbuf_reset(&text);
    assert_true(dsn_write(failure, &text));
    assert_true(returned_mail_read(arena, strbuf_slice(&text), &mail, &fault));
    assert_int_equal(mail.kind, RETURNED_BOUNCE);
    assert_int_equal(mail.recipient_count, 1);
    return mail;
}

static bool contains(const char *what)
{
    return slice_find(strbuf_slice(&text), slice_cstr(what)) >= 0;
}

/* Every line ends with CRLF and has at most 998 bytes; none but those that are ours begins a part.
 */
static void check_lines(void)
{
    struct slice rest = strbuf_slice(&text);
    size_t parts = 0;
    while (rest.ptr != NULL && rest.len > 0) {
        struct slice line = slice_cut(&rest, '\n');
        assert_true(line.len > 0 && line.len <= 999 && line.ptr[line.len - 1] == '\r');
        parts += slice_starts_with(line, SLICE("--=_sluice_report"));
        for (size_t i = 0; i + 1 < line.len; i++) {
            assert_true(line.ptr[i] != '\r' && line.ptr[i] != '\0');
        }
    }
    assert_int_equal(parts, 4);
}

static void is_read_back(void **state)
{
    (void)state;
    struct returned_mail mail = write_and_read(&plain);
    const struct returned_recipient *one = &mail.recipients[0];
    assert_true(slice_eq(one->address, plain.recipient));
    assert_true(slice_eq(one->status, plain.status));
    assert_int_equal(one->code, 550);
    assert_true(slice_ends_with_nocase(one->text, SLICE("User unknown")));
    assert_true(slice_eq(one->remote_mta, plain.remote_mta));
    assert_true(slice_eq(one->reporting_mta, plain.host));
    assert_true(slice_eq(mail.original.message_id, SLICE("<abc@sender.example>")));
    assert_true(slice_eq(mail.original.subject, SLICE("Hello")));
    check_lines();
    assert_false(contains("secret body")); /* the header alone */
}

static void original_recipient_and_envelope(void **state)
{
    struct dsn_failure failure = plain;
    (void)state;
    failure.original = SLICE("rfc822;alias@example.org");
    failure.envelope = SLICE("job 7");
    struct returned_mail mail = write_and_read(&failure);
    assert_true(slice_eq(mail.recipients[0].original, SLICE("alias@example.org")));
    assert_true(contains("Original-Envelope-Id: job 7\r\n"));
}

static void what_others_said_breaks_nothing(void **state)
{
    static char noise[4000];
    struct dsn_failure failure = plain;
    (void)state;
    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (char)(i % 251);
    }
    failure.text =
        SLICE("550 no\r\n\r\n--=_sluice_report\r\nContent-Type: text/html\r\n\r\nevil\r\n");
    failure.recipient = SLICE("user\r\n\r\n--=_sluice_report@example.org");
    failure.envelope = SLICE("x\r\nEvil: y");
    failure.remote_mta = SLICE("x\r\n\r\ny");
    strbuf_reset(&text);
    assert_true(dsn_write(&failure, &text));
    check_lines();
    failure = plain;
    failure.text = slice_of(noise, sizeof(noise));
    failure.message = SLICE("A: b\nC: d\re\nF: g");
    (void)write_and_read(&failure);
    check_lines();
    assert_true(contains("\r\nA: b\r\nC: de\r\nF: g\r\n"));
    failure.message = SLICE("A: b\n--=_sluice_report\nC: d\n");
    (void)write_and_read(&failure);
    check_lines();
    failure.message = slice_of(noise, sizeof(noise));
    (void)write_and_read(&failure);
    check_lines();
}

static void addresses_of_all_languages(void **state)
{
    struct dsn_failure failure = plain;
    (void)state;
    failure.recipient = SLICE("jürgen@bücher.example");
    struct returned_mail mail = write_and_read(&failure);
    assert_true(slice_eq(mail.recipients[0].address, failure.recipient));
    assert_true(contains("message/global-delivery-status"));
    check_lines();
}

/* A header of any size is returned up to its bound, in whole lines; the buffer's bound is told. */
static void bounds(void **state)
{
    static char large[100000];
    struct dsn_failure failure = plain;
    struct strbuf small;
    (void)state;
    for (size_t i = 0; i < sizeof(large); i++) {
        large[i] = i % 80 == 79 ? '\n' : 'x';
    }
    failure.message = slice_of(large, sizeof(large));
    strbuf_reset(&text);
    assert_true(dsn_write(&failure, &text));
    assert_in_range(text.len, 32000, 36000);
    check_lines();
    strbuf_init(&small, 1000);
    assert_false(dsn_write(&failure, &small));
    strbuf_free(&small);
}

static int open_all(void **state)
{
    (void)state;
    fill();
    arena = arena_create(1 << 16, 1 << 22);
    strbuf_init(&text, 1 << 20);
    return arena == NULL;
}

static int close_all(void **state)
{
    (void)state;
    arena_free(&arena);
    strbuf_free(&text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_back),
        cmocka_unit_test(original_recipient_and_envelope),
        cmocka_unit_test(what_others_said_breaks_nothing),
        cmocka_unit_test(addresses_of_all_languages),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
