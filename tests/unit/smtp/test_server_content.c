/*
 * The server engine's content: DATA, BDAT, limits, smuggling, LMTP.
 */
#include "server_rig.h"

#define ENVELOPE "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n"
#define ENVELOPE_LOG "MAIL <a@b.c>  \nRCPT <d@e.f>  \n"
#define ENVELOPE_OUT "250 2.9.9 said\r\n250 2.9.9 said\r\n"

static void test_bdat(void **state)
{
    (void)state;
    for (size_t step = 0; step < 120; step++) {
        struct rig rig;
        struct smtp_server_config config = rig_config();
        rig_hello(&rig, &config, false);
        rig.step = step;
        rig_say(&rig, ENVELOPE
                "BDAT 6\r\n.\r\n.\r\nBDAT 0\r\nNOOP\r\nBDAT 3\r\nx\r\nBDAT 0 LAST\r\n" ENVELOPE
                "BDAT 1 LAST\r\nyQUIT\r\n");
        rig_expect(&rig,
                   ENVELOPE_OUT
                   "250 2.0.0 6 octets received\r\n250 2.0.0 0 octets received\r\n250 2.0.0 Ok\r\n"
                   "250 2.0.0 3 octets received\r\n250 2.9.9 said\r\n" ENVELOPE_OUT
                   "250 2.9.9 said\r\n221 2.0.0 Bye\r\n",
                   ENVELOPE_LOG "BDAT\nCONTENT .\r\n.\r\nx\r\n\nMESSAGE\n" ENVELOPE_LOG
                                "BDAT\nCONTENT y\nMESSAGE\nCLOSED\n");
        rig_close(&rig);
    }
}

/* Chunks of refused BDATs are swallowed, whatever they look like. */
static void test_bdat_refused(void **state)
{
    (void)state;
    for (size_t step = 0; step < 60; step++) {
        struct rig rig;
        struct smtp_server_config config = rig_config();
        config.max_errors = 1;
        rig_hello(&rig, &config, false);
        rig.step = step;
        rig.rcpt = 550;
        rig_say(&rig, ENVELOPE "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n");
        rig_expect(&rig,
                   "250 2.9.9 said\r\n550 5.9.9 said\r\n554 5.5.1 No valid recipients\r\n554 5.5.1 "
                   "No valid recipients\r\n",
                   ENVELOPE_LOG);
        rig.rcpt = 250;
        rig.data = 452; /* the owner does not want it */
        rig_say(&rig, "RCPT TO:<d@e.f>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\n");
        rig_expect(&rig,
                   "250 2.9.9 said\r\n452 4.9.9 said\r\n503 5.5.1 Need MAIL before BDAT\r\n250 "
                   "2.0.0 Ok\r\n",
                   "RCPT <d@e.f>  \nBDAT\nRESET\n");
        rig.data = 250;
        rig_say(&rig, "BDAT 6\r\nQUIT\r\nBDAT 0\r\n");
        rig_expect(&rig, "503 5.5.1 Need MAIL before BDAT\r\n421 4.7.0 Too many errors\r\n",
                   "CLOSED\n");
        rig_close(&rig);
    }
}

static void test_bdat_sequence(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_hello(&rig, &config, false);
    rig_say(&rig, ENVELOPE
            "BDAT 3\r\na\r\nDATA\r\nRCPT TO:<x@y.z>\r\nMAIL FROM:<>\r\nRSET\r\nBDAT 1\r\nQ");
    rig_expect(&rig,
               ENVELOPE_OUT "250 2.0.0 3 octets received\r\n503 5.5.1 DATA does not go with "
                            "BDAT\r\n503 5.5.1 Content has begun\r\n"
                            "503 5.5.1 A transaction is open already\r\n250 2.0.0 Ok\r\n503 5.5.1 "
                            "Need MAIL before BDAT\r\n",
               ENVELOPE_LOG "BDAT\nCONTENT a\r\n\nRESET\n");
    rig_say(&rig, "BDAT x\r\nQUIT\r\n"); /* nobody knows where that ends */
    rig_expect(&rig, "501 5.5.4 BDAT needs a size\r\n", "CLOSED\n");
    rig_close(&rig);

    config.capabilities &= ~(uint32_t)SMTP_CAP_CHUNKING;
    rig_hello(&rig, &config, false);
    rig_say(&rig, ENVELOPE "BDAT 6\r\nQUIT\r\nNOOP\r\n");
    rig_expect(&rig, ENVELOPE_OUT "502 5.5.1 BDAT is not offered\r\n250 2.0.0 Ok\r\n",
               ENVELOPE_LOG);
    rig_close(&rig);

    rig_open(&rig, &config, false); /* before EHLO, too */
    rig_expect(&rig, NULL, NULL);
    rig_say(&rig, "BDAT 6\r\nQUIT\r\nNOOP\r\n");
    rig_expect(&rig, "502 BDAT is not offered\r\n250 Ok\r\n", "");
    rig_close(&rig);
}

static void test_bdat_with_late_answer(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_hello(&rig, &config, false);
    rig_say(&rig, ENVELOPE);
    rig_expect(&rig, NULL, NULL);
    rig.manual = true;
    rig_say(&rig, "BDAT 0\r\nBDAT 3 LAST\r\nb\r\n");
    rig_expect(&rig, "", "BDAT\n");
    smtp_server_reply(rig.server, 354, "2.0.0", "not written");
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "250 2.0.0 0 octets received\r\n", "CONTENT b\r\n\nMESSAGE\n");
    smtp_server_reply(rig.server, 451, "4.3.0", "no");
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "451 4.3.0 no\r\n", "");
    rig_close(&rig);
}

static void test_too_big(void **state)
{
    (void)state;
    for (size_t len = 990; len < 1010; len++) {
        for (size_t step = 0; step < 2000; step += 1 + step * 2) {
            struct rig rig;
            struct smtp_server_config config = rig_config();
            struct strbuf body;
            rig_hello(&rig, &config, false);
            strbuf_init(&body, 1100);
            strbuf_add_byte(&body, 'x');
            while (body.len < len - 2) {
                strbuf_add_byte(&body, '.');
            }
            strbuf_add_cstr(&body, "\r\n.\r\nNOOP\r\n");
            rig_say(&rig, ENVELOPE "DATA\r\n");
            rig_expect(&rig, NULL, NULL);
            rig.step = step;
            rig_feed(&rig, strbuf_slice(&body));
            strbuf_free(&body);
            rig_flush_content(&rig);
            bool fits = len <= 1000;
            assert_true((slice_find(strbuf_slice(&rig.log), SLICE("MESSAGE\n")) >= 0) == fits);
            assert_true((slice_find(strbuf_slice(&rig.log), SLICE("RESET\n")) >= 0) == !fits);
            rig_expect(&rig,
                       fits ? "250 2.9.9 said\r\n250 2.0.0 Ok\r\n"
                            : "552 5.3.4 Message is too big\r\n250 2.0.0 Ok\r\n",
                       NULL);
            rig_say(&rig, ENVELOPE);
            rig_expect(&rig, ENVELOPE_OUT, ENVELOPE_LOG);
            rig_close(&rig);
        }
    }
}

static void test_too_big_chunks(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    config.max_message_bytes = 5;
    rig_hello(&rig, &config, false);
    rig_say(&rig, ENVELOPE "BDAT 4\r\nab\r\nBDAT 4\r\ncd\r\nBDAT 4 LAST\r\nef\r\nRSET\r\n");
    rig_expect(&rig,
               ENVELOPE_OUT "250 2.0.0 4 octets received\r\n552 5.3.4 Message is too big\r\n503 "
                            "5.5.1 Need MAIL before BDAT\r\n"
                            "250 2.0.0 Ok\r\n",
               ENVELOPE_LOG "BDAT\nCONTENT ab\r\n\nRESET\n");
    rig_close(&rig);
}

static void test_smuggling(void **state)
{
    static const struct slice forms[] = {
        {"\n.\r\n", 4},  {"\r\n.\n", 4}, {"\n.\n", 3}, {"\n\n", 2}, {"\r.\r\n", 4},
        {"\r\n.\rx", 5}, {"\rx", 2},     {"\0", 1},    {"\n", 1},   {"\r\r\n", 3},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        for (size_t step = 0; step < 10; step++) {
            struct rig rig;
            struct smtp_server_config config = rig_config();
            struct strbuf text;
            rig_hello(&rig, &config, false);
            rig_say(&rig, ENVELOPE "DATA\r\n");
            rig_expect(&rig, NULL, NULL);
            strbuf_init(&text, 1000);
            strbuf_add_cstr(&text, "first");
            strbuf_add_slice(&text, forms[i]);
            strbuf_add_cstr(&text, "MAIL FROM:<evil@b.c>\r\nRCPT TO:<e@f.g>\r\nDATA\r\nx\r\n.\r\n");
            rig.step = step;
            rig_feed(&rig, strbuf_slice(&text));
            rig_flush_content(&rig);
            assert_true(slice_starts_with(strbuf_slice(&rig.out), SLICE("554 5.5.2 ")));
            assert_int_equal(slice_find_byte(strbuf_slice(&rig.out), '\n'),
                             (ptrdiff_t)rig.out.len - 1);
            assert_true(rig.closed);
            assert_true(slice_find(strbuf_slice(&rig.log), SLICE("MAIL")) < 0);
            assert_true(slice_ends_with_nocase(strbuf_slice(&rig.log), SLICE("RESET\nCLOSED\n")));
            strbuf_free(&text);
            rig_close(&rig);
        }
    }
    struct rig rig;
    struct smtp_server_config config = rig_config();
    rig_hello(&rig, &config, false);
    rig_say(&rig, ENVELOPE "BDAT 2 LAST\r\na\r");
    rig_expect(&rig, ENVELOPE_OUT "554 5.5.2 bare CR in message content\r\n",
               ENVELOPE_LOG "BDAT\nCONTENT a\r\nRESET\nCLOSED\n");
    rig_close(&rig);
}

/* RFC 2920: nothing may follow DATA before its reply, or a refusal would turn content into
 * commands. */
static void test_early_content(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_hello(&rig, &config, false);
    rig_say(&rig, ENVELOPE "DATA\r\nRSET\r\n");
    rig_expect(&rig, ENVELOPE_OUT "503 5.5.0 Content was sent before the reply to DATA\r\n",
               ENVELOPE_LOG "DATA\nRESET\nCLOSED\n");
    rig_close(&rig);
}

/* Every line is stuffed: more pieces than the event ring holds, in one input. */
static void test_many_dots(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    struct strbuf wire;
    struct strbuf expected;
    (void)state;
    config.max_message_bytes = 0;
    rig_hello(&rig, &config, false);
    rig_say(&rig, ENVELOPE "DATA\r\n");
    rig_expect(&rig, NULL, NULL);
    strbuf_init(&wire, 100000);
    strbuf_init(&expected, 100000);
    strbuf_add_cstr(&expected, "CONTENT ");
    for (size_t i = 0; i < 5000; i++) {
        strbuf_add_cstr(&wire, "..\r\n");
        strbuf_add_cstr(&expected, ".\r\n");
    }
    strbuf_add_cstr(&wire, ".\r\nNOOP\r\n");
    strbuf_add_cstr(&expected, "\nMESSAGE\n");
    rig_feed(&rig, strbuf_slice(&wire));
    rig_expect(&rig, "250 2.9.9 said\r\n250 2.0.0 Ok\r\n", expected.ptr);
    strbuf_free(&wire);
    strbuf_free(&expected);
    rig_close(&rig);
}

static void test_lmtp(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    config.lmtp = true;
    rig_open(&rig, &config, false);
    rig_expect(&rig, NULL, NULL);
    rig_say(&rig, "EHLO x\r\n");
    rig_expect(&rig, "500 This is LMTP, say LHLO\r\n", "");
    rig_close(&rig);
    rig_hello(&rig, &config, false);
    rig_say(&rig, ENVELOPE "RCPT TO:<g@h.i>\r\nDATA\r\n");
    rig_expect(&rig, NULL, NULL);
    rig.manual = true;
    rig_say(&rig, "x\r\n.\r\nNOOP\r\n");
    smtp_server_reply(rig.server, 250, "2.1.5", "one");
    assert_true(smtp_server_waiting(rig.server));
    rig_drain(&rig);
    smtp_server_reply(rig.server, 452, "4.2.2", "two");
    assert_false(smtp_server_waiting(rig.server));
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "250 2.1.5 one\r\n452 4.2.2 two\r\n250 2.0.0 Ok\r\n",
               "CONTENT x\r\n\nMESSAGE\n");
    rig.manual = false;
    rig.data = 451; /* BDAT LAST refused: as many replies as recipients */
    rig_say(&rig, ENVELOPE "RCPT TO:<g@h.i>\r\nBDAT 1 LAST\r\nx");
    rig_expect(&rig, ENVELOPE_OUT "250 2.9.9 said\r\n451 4.9.9 said\r\n451 4.9.9 said\r\n", NULL);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bdat),          cmocka_unit_test(test_bdat_refused),
        cmocka_unit_test(test_bdat_sequence), cmocka_unit_test(test_bdat_with_late_answer),
        cmocka_unit_test(test_too_big),       cmocka_unit_test(test_too_big_chunks),
        cmocka_unit_test(test_smuggling),     cmocka_unit_test(test_early_content),
        cmocka_unit_test(test_many_dots),     cmocka_unit_test(test_lmtp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
