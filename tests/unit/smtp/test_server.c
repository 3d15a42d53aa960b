/*
 * The server engine's dialogue: greeting, EHLO, sequence, parameters, AUTH, STARTTLS, errors, time,
 * ends.
 */
#include "server_rig.h"

static void test_greeting(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_open(&rig, &config, false);
    rig_expect(&rig, "220 mx.example ESMTP test\r\n", "");
    rig_close(&rig);

    rig_open(&rig, &config, false);
    smtp_server_free(&rig.server);
    rig.server = smtp_server_create(&config);
    rig_expect(&rig, NULL, NULL);
    smtp_server_start(rig.server, false, SLICE("554 5.7.1 no"), rig.now);
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "554 5.7.1 no\r\n", "CLOSED\n");
    rig_say(&rig, "EHLO x\r\n");
    rig_expect(&rig, "", "");
    rig_close(&rig);
}

static void test_ehlo(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_open(&rig, &config, false);
    rig_expect(&rig, NULL, NULL);
    rig_say(&rig, "EHLO c\r\n");
    rig_expect(&rig,
               "250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-"
               "CHUNKING\r\n"
               "250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 1000\r\n",
               "EHLO c\n");
    rig_close(&rig);
    rig_open(&rig, &config, true);
    rig_expect(&rig, NULL, NULL);
    rig_say(&rig, "EHLO c\r\n");
    rig_expect(
        &rig,
        "250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-"
        "CHUNKING\r\n"
        "250-REQUIRETLS\r\n250-ENHANCEDSTATUSCODES\r\n250-SIZE 1000\r\n250 AUTH PLAIN LOGIN\r\n",
        "EHLO c\n");
    rig_close(&rig);
    config.capabilities = 0;
    rig_open(&rig, &config, false);
    rig_expect(&rig, NULL, NULL);
    rig_say(&rig, "EHLO c\r\nHELO d\r\nLHLO e\r\nMAIL FROM:<> SIZE=1\r\n");
    rig_expect(&rig,
               "250 mx.example\r\n250 mx.example\r\n500 This is not LMTP\r\n555 Parameter is not "
               "offered\r\n",
               "EHLO c\nEHLO d\n");
    rig_close(&rig);
}

/* One whole dialogue, pipelined, cut at every step size. */
static void test_transaction_in_pieces(void **state)
{
    static const char before[] = "EHLO c\r\nMAIL FROM:<a@b.c> BODY=8BITMIME RET=HDRS "
                                 "ENVID=e\r\nRCPT TO:<d@e.f> NOTIFY=NEVER\r\n"
                                 "RCPT TO:<g@h.i> ORCPT=rfc822;x\r\nDATA\r\n";
    static const char after[] =
        "Subject: x\r\n\r\n..dot\r\n.\r\nRSET\r\nMAIL FROM:<>\r\nNOOP\r\nQUIT\r\nNOOP\r\n";
    (void)state;
    for (size_t step = 0; step <= sizeof(before); step++) {
        struct rig rig;
        struct smtp_server_config config = rig_config();
        config.capabilities = SMTP_CAP_8BITMIME | SMTP_CAP_DSN;
        rig_open(&rig, &config, false);
        rig_expect(&rig, NULL, NULL);
        rig.step = step;
        rig_say(&rig, before);
        assert_true(step != 0 || rig.writes == 1);
        rig_expect(&rig,
                   "250-mx.example\r\n250-8BITMIME\r\n250 DSN\r\n250 said\r\n250 said\r\n250 "
                   "said\r\n354 said\r\n",
                   "EHLO c\nMAIL <a@b.c> 8bit HDRS e\nRCPT <d@e.f> NEVER \nRCPT <g@h.i>  "
                   "rfc822;x\nDATA\n");
        rig_say(&rig, after);
        assert_true(step != 0 || rig.writes == 1);
        rig_expect(&rig, "250 said\r\n250 Ok\r\n250 said\r\n250 Ok\r\n221 Bye\r\n",
                   "CONTENT Subject: x\r\n\r\n.dot\r\n\nMESSAGE\nMAIL <>  \nRESET\nCLOSED\n");
        assert_int_equal(smtp_server_transactions(rig.server), 2);
        rig_close(&rig);
    }
}

static void test_sequence(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_open(&rig, &config, false);
    rig_expect(&rig, NULL, NULL);
    rig_say(&rig, "MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nDATA\r\nSTARTTLS\r\nAUTH "
                  "PLAIN\r\nNOOP\r\nRSET\r\nHELP\r\nVRFY x\r\nEXPN x\r\n"
                  "FOO\r\n");
    rig_expect(&rig,
               "503 Say EHLO first\r\n503 Say EHLO first\r\n503 Say EHLO first\r\n503 Say EHLO "
               "first\r\n503 Say EHLO first\r\n"
               "250 Ok\r\n250 Ok\r\n214 RFC 5321\r\n252 Not verified; send a message and "
               "see\r\n502 EXPN is not offered\r\n"
               "500 Command not recognised\r\n",
               "");
    rig_say(&rig, "EHLO c\r\n");
    rig_expect(&rig, NULL, "EHLO c\n");
    rig_say(&rig, "RCPT TO:<a@b.c>\r\nDATA\r\nMAIL FROM:<a@b.c>\r\nMAIL "
                  "FROM:<x@y.z>\r\nDATA\r\nRCPT TO:<d@e.f>\r\nEHLO d\r\nDATA\r\n");
    rig_expect(&rig, NULL, "MAIL <a@b.c>  \nRCPT <d@e.f>  \nRESET\nEHLO d\n");
    rig_say(&rig, "MAIL FROM:<a@b.c>\r\n");
    rig_expect(&rig, "250 2.9.9 said\r\n", NULL);
    rig_say(&rig, "RCPT TO:<1@b.c>\r\nRCPT TO:<2@b.c>\r\nRCPT TO:<3@b.c>\r\nRCPT TO:<4@b.c>\r\n");
    rig_expect(
        &rig,
        "250 2.9.9 said\r\n250 2.9.9 said\r\n250 2.9.9 said\r\n452 4.5.3 Too many recipients\r\n",
        "RCPT <1@b.c>  \nRCPT <2@b.c>  \nRCPT <3@b.c>  \n");
    rig_say(&rig, "AUTH PLAIN AGEAYg==\r\nRSET\r\nRSET\r\n");
    rig_expect(&rig, "538 5.7.11 Encryption is needed for AUTH\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n",
               "RESET\n");
    rig_close(&rig);
}

static void test_refusals(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    config.max_errors = 1;
    rig_hello(&rig, &config, false);
    rig.mail = 550; /* what is pipelined behind a refusal is no error */
    rig_say(&rig, "MAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n");
    rig_expect(&rig,
               "550 5.9.9 said\r\n503 5.5.1 Need MAIL before RCPT\r\n503 5.5.1 Need MAIL before "
               "RCPT\r\n503 5.5.1 Need MAIL before DATA\r\n",
               "MAIL <a@b.c>  \n");
    rig.mail = 250;
    rig.rcpt = 550;
    rig_say(&rig, "MAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n");
    rig_expect(&rig, "250 2.9.9 said\r\n550 5.9.9 said\r\n554 5.5.1 No valid recipients\r\n",
               "MAIL <a@b.c>  \nRCPT <a@b.c>  \n");
    rig.rcpt = 250;
    rig.data = 451;
    rig_say(&rig, "RCPT TO:<a@b.c>\r\nDATA\r\n");
    rig_expect(&rig, "250 2.9.9 said\r\n451 4.9.9 said\r\n", "RCPT <a@b.c>  \nDATA\nRESET\n");
    rig.data = 354;
    rig.message = 451;
    rig_say(&rig, "MAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n");
    rig_say(&rig, "x\r\n.\r\nNOOP\r\n");
    rig_expect(&rig,
               "250 2.9.9 said\r\n250 2.9.9 said\r\n354 said\r\n451 4.9.9 said\r\n250 2.0.0 Ok\r\n",
               "MAIL <a@b.c>  \nRCPT <a@b.c>  \nDATA\nCONTENT x\r\n\nMESSAGE\n");
    rig.mail = 421;
    rig_say(&rig, "MAIL FROM:<a@b.c>\r\nNOOP\r\n");
    rig_expect(&rig, "421 4.9.9 said\r\n", "MAIL <a@b.c>  \nCLOSED\n");
    rig_close(&rig);
}

static void test_421_everywhere(void **state)
{
    (void)state;
    for (int where = 0; where < 3; where++) {
        struct rig rig;
        struct smtp_server_config config = rig_config();
        rig_hello(&rig, &config, false);
        rig.rcpt = where == 0 ? 421 : 250;
        rig.data = where == 1 ? 421 : 354;
        rig.message = where == 2 ? 421 : 250;
        rig_say(&rig, "MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n");
        rig_say(&rig, "x\r\n.\r\n");
        rig_expect(&rig, NULL,
                   where == 0 ? "MAIL <>  \nRCPT <a@b.c>  \nRESET\nCLOSED\n"
                   : where == 1
                       ? "MAIL <>  \nRCPT <a@b.c>  \nDATA\nRESET\nCLOSED\n"
                       : "MAIL <>  \nRCPT <a@b.c>  \nDATA\nCONTENT x\r\n\nMESSAGE\nCLOSED\n");
        rig_close(&rig);
    }
}

static void test_policies(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    config.tls_required = true;
    config.auth_required = true;
    config.max_transactions = 1;
    rig_hello(&rig, &config, false);
    rig_say(&rig, "MAIL FROM:<>\r\n");
    rig_expect(&rig, "530 5.7.0 STARTTLS is needed first\r\n", "");
    rig_close(&rig);
    rig_hello(&rig, &config, true);
    rig_say(&rig,
            "MAIL FROM:<>\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\n");
    rig_expect(&rig,
               "530 5.7.0 Authentication is needed first\r\n235 2.7.0 Authentication "
               "succeeded\r\n250 2.9.9 said\r\n250 2.0.0 Ok\r\n"
               "421 4.7.0 Enough messages for one session\r\n",
               "AUTH a b\nMAIL <>  \nRESET\nCLOSED\n");
    rig_close(&rig);
}

static void test_params(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_hello(&rig, &config, false);
    rig_say(&rig, "MAIL FROM:<\xc3\xa9@b.c>\r\nMAIL FROM:<> SIZE=1001\r\nMAIL FROM:<> "
                  "REQUIRETLS\r\nMAIL FROM:<> AUTH=<>\r\n");
    rig_expect(&rig,
               "553 5.6.7 Address needs SMTPUTF8\r\n552 5.3.4 Message is too big\r\n530 5.7.10 "
               "REQUIRETLS needs TLS\r\n"
               "555 5.5.4 Parameter is not offered\r\n",
               "");
    rig_say(&rig, "MAIL FROM:<> SIZE=1000\r\nRCPT TO:<\xc3\xa9@b.c>\r\nRSET\r\nMAIL "
                  "FROM:<\xc3\xa9@b.c> SMTPUTF8\r\nRCPT TO:<\xc3\xa9@b.c>\r\n");
    rig_expect(&rig,
               "250 2.9.9 said\r\n553 5.6.7 Address needs SMTPUTF8\r\n250 2.0.0 Ok\r\n250 2.9.9 "
               "said\r\n250 2.9.9 said\r\n",
               "MAIL <>  \nRESET\nMAIL <\xc3\xa9@b.c> utf8  \nRCPT <\xc3\xa9@b.c>  \n");
    rig_say(
        &rig,
        "HELO c\r\nMAIL FROM:<> BODY=8BITMIME\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.c> NOTIFY=NEVER\r\n");
    rig_expect(&rig,
               "250 mx.example\r\n555 Parameter is not offered\r\n250 said\r\n555 Parameter is not "
               "offered\r\n",
               "RESET\nEHLO c\nMAIL <>  \n");
    rig_close(&rig);
}

static void test_auth(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    config.auth_needs_tls = false;
    rig_hello(&rig, &config, false);
    rig_say(&rig, "AUTH FOO\r\nAUTH PLAIN %%%\r\nAUTH PLAIN YQ==\r\nAUTH PLAIN =\r\nAUTH PLAIN "
                  "YQBiAGM=\r\nAUTH PLAIN AGEAYgBj\r\nAUTH LOGIN =\r\n");
    rig_expect(
        &rig,
        "504 5.5.4 Mechanism is not offered\r\n501 5.5.2 Response is not base64\r\n501 5.5.2 "
        "Response is not of AUTH PLAIN\r\n"
        "501 5.5.2 Response is not of AUTH PLAIN\r\n535 5.7.8 Nobody may act for another user\r\n"
        "501 5.5.2 Response is not of AUTH PLAIN\r\n501 5.5.2 User name is not valid\r\n",
        "");
    rig_say(&rig, "AUTH PLAIN\r\n");
    rig_expect(&rig, "334 \r\n", "");
    rig_say(&rig, "*\r\nAUTH LOGIN\r\n");
    rig_expect(&rig, "501 5.7.0 Authentication was given up\r\n334 VXNlcm5hbWU6\r\n", "");
    rig.auth = 535;
    rig_say(&rig, "dXNlcg==\r\n");
    rig_expect(&rig, "334 UGFzc3dvcmQ6\r\n", "");
    rig_say(&rig, "cGFzcw==\r\n");
    rig_expect(&rig, "535 5.7.8 Authentication failed\r\n", "AUTH user pass\n");
    rig.auth = 454;
    rig_say(&rig, "AUTH LOGIN dXNlcg==\r\ncGFzcw==\r\n");
    rig_expect(&rig, "334 UGFzc3dvcmQ6\r\n454 4.7.0 Authentication failed for a reason of ours\r\n",
               "AUTH user pass\n");
    assert_false(smtp_server_authenticated(rig.server));
    rig.auth = 235;
    rig_say(&rig, "AUTH PLAIN\r\nYQBhAGI=\r\n"); /* authzid that is the user himself */
    rig_expect(&rig, "334 \r\n235 2.7.0 Authentication succeeded\r\n", "AUTH a b\n");
    assert_true(smtp_server_authenticated(rig.server));
    rig_say(&rig, "AUTH PLAIN AGEAYg==\r\nMAIL FROM:<> AUTH=x+40y\r\n");
    rig_expect(&rig, "503 5.5.1 Already authenticated\r\n250 2.9.9 said\r\n", "MAIL <>  \n");
    rig_close(&rig);
}

/* The engine is one block of memory: no trace of the password is left in it. */
static void test_password_is_wiped(void **state)
{
    (void)state;
    for (size_t step = 0; step < 5; step++) {
        struct rig rig;
        struct smtp_server_config config = rig_config();
        rig_hello(&rig, &config, true);
        rig.step = step;
        rig_say(&rig, "AUTH LOGIN\r\ndXNlcg==\r\nc2VjcmV0cGFzc3dvcmQ=\r\nNOOP\r\n");
        rig_expect(&rig, NULL, "AUTH user secretpassword\n");
        struct slice memory = slice_of(rig.server, 6000); /* less than the struct is */
        assert_true(slice_find(memory, SLICE("mx.examp")) < 0);
        assert_true(slice_find(memory, SLICE("secretpass")) < 0);
        assert_true(slice_find(memory, SLICE("c2VjcmV0")) < 0);
        assert_true(slice_find(memory, SLICE("NOOP")) >= 0 ||
                    step == 1); /* and we look at the right place */
        rig_close(&rig);
    }
}

static void test_starttls(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_hello(&rig, &config, false);
    rig_say(&rig, "MAIL FROM:<>\r\n");
    rig_expect(&rig, NULL, NULL);
    rig.deaf = true;
    rig_say(&rig, "STARTTLS\r\n");
    rig_expect(&rig, "", "RESET\n");
    rig.deaf = false;
    rig_write(&rig);
    rig_expect(&rig, "220 2.0.0 Ready to start TLS\r\n", "STARTTLS\n");
    smtp_server_tls_done(rig.server, true, rig.now);
    assert_true(smtp_server_secure(rig.server));
    rig_say(&rig, "MAIL FROM:<>\r\nEHLO c\r\nSTARTTLS\r\nMAIL FROM:<> REQUIRETLS\r\n");
    rig_expect(&rig, NULL, "EHLO c\nMAIL <> requiretls  \n");
    rig_close(&rig);

    rig_hello(&rig, &config, false);
    rig_say(&rig, "STARTTLS\r\n");
    smtp_server_tls_done(rig.server, false, rig.now);
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "220 2.0.0 Ready to start TLS\r\n", "STARTTLS\nCLOSED\n");
    rig_close(&rig);

    config.capabilities &= ~(uint32_t)SMTP_CAP_STARTTLS;
    rig_hello(&rig, &config, false);
    rig_say(&rig, "STARTTLS\r\n");
    rig_expect(&rig, "502 5.5.1 STARTTLS is not offered\r\n", "");
    rig_close(&rig);
}

static void test_starttls_injection(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_hello(&rig, &config, false); /* in one segment */
    rig_say(&rig, "STARTTLS\r\nRSET\r\n");
    rig_expect(&rig, "554 5.5.0 Commands were sent behind STARTTLS\r\n", "CLOSED\n");
    rig_close(&rig);

    rig_hello(&rig, &config, false); /* while the 220 is on its way */
    rig.deaf = true;
    rig_say(&rig, "STARTTLS\r\n");
    rig_say(&rig, "RSET\r\n");
    rig_expect(&rig, "", "CLOSED\n");
    rig_close(&rig);

    rig_hello(&rig, &config, false); /* half a command is enough */
    rig_say(&rig, "STARTTLS\r\nR");
    rig_expect(&rig, NULL, "CLOSED\n");
    rig_close(&rig);

    rig_hello(&rig, &config, false); /* what the owner still holds counts */
    struct strbuf flood;
    strbuf_init(&flood, 5000);
    while (flood.len < 4096 - 10) { /* STARTTLS ends where the engine's own room does */
        strbuf_add_cstr(&flood, "RSET\r\n");
    }
    assert_int_equal(flood.len, 4096 - 10);
    strbuf_add_cstr(&flood, "STARTTLS\r\nRSET\r\n");
    rig_feed(&rig, strbuf_slice(&flood));
    assert_true(slice_ends_with_nocase(strbuf_slice(&rig.out),
                                       SLICE("554 5.5.0 Commands were sent behind STARTTLS\r\n")));
    rig_expect(&rig, NULL, "CLOSED\n");
    strbuf_free(&flood);
    rig_close(&rig);
}

static void test_errors_end(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    config.max_errors = 2;
    rig_hello(&rig, &config, false);
    rig_say(&rig, "FOO\r\nDATA\r\nMAIL\r\nNOOP\r\n");
    rig_expect(&rig,
               "500 5.5.2 Command not recognised\r\n503 5.5.1 Need MAIL before DATA\r\n421 4.7.0 "
               "Too many errors\r\n",
               "CLOSED\n");
    rig_close(&rig);
}

static void test_long_lines(void **state)
{
    (void)state;
    for (size_t len = 2000; len < 9000; len += len < 2060 ? 1 : 997) {
        for (size_t step = 0; step < 5000; step += 1 + step * 3) {
            struct rig rig;
            struct smtp_server_config config = rig_config();
            rig_hello(&rig, &config, false);
            rig.step = step;
            struct strbuf line;
            strbuf_init(&line, 10000);
            strbuf_add_cstr(&line, "NOOP ");
            while (line.len < len - 2) {
                strbuf_add_byte(&line, 'x');
            }
            strbuf_add_cstr(&line, "\r\nNOOP\r\n");
            rig_feed(&rig, strbuf_slice(&line));
            rig_expect(&rig,
                       len <= 2048 ? "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"
                                   : "500 5.5.2 Line is too long\r\n250 2.0.0 Ok\r\n",
                       "");
            line.ptr[len - 2] = 'x'; /* a bare LF in the end */
            rig_feed(&rig, slice_head(strbuf_slice(&line), len));
            rig_expect(&rig, "500 5.5.2 Bare LF is not allowed\r\n", "CLOSED\n");
            strbuf_free(&line);
            rig_close(&rig);
        }
    }
}

/* Also where the line is too long to be kept. */
static void test_bad_bytes_in_long_lines(void **state)
{
    (void)state;
    for (size_t at = 1; at < 8990; at += 299) {
        for (size_t step = 0; step < 5000; step += 1 + step * 3) {
            struct rig rig;
            struct smtp_server_config config = rig_config();
            struct strbuf line;
            strbuf_init(&line, 10000);
            while (line.len < 8998) {
                strbuf_add_byte(&line, 'x');
            }
            strbuf_add_cstr(&line, "\r\n");
            line.ptr[at] = step % 2 == 0 ? '\r' : '\0';
            rig_hello(&rig, &config, false);
            rig.step = step;
            rig_feed(&rig, strbuf_slice(&line));
            rig_expect(&rig,
                       step % 2 == 0 ? "500 5.5.2 Bare CR is not allowed\r\n"
                                     : "500 5.5.2 NUL is not allowed\r\n",
                       "CLOSED\n");
            strbuf_free(&line);
            rig_close(&rig);
        }
    }
}

static void test_bad_line_ends(void **state)
{
    static const struct slice wrong[] = {{"NOOP\n", 5}, {"NOOP\rX\r\n", 8}, {"NO\0P\r\n", 6},
                                         {"\n", 1},     {"NOOP\r\r\n", 7},  {"NOOP x\n\r\n", 9}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        for (size_t step = 0; step < 4; step++) {
            struct rig rig;
            struct smtp_server_config config = rig_config();
            rig_hello(&rig, &config, false);
            rig.step = step;
            rig_feed(&rig, wrong[i]);
            rig_expect(&rig, NULL, "CLOSED\n");
            rig_close(&rig);
        }
    }
}

static void test_time(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_hello(&rig, &config, false);
    struct mono_time start = rig.now;
    assert_int_equal(smtp_server_deadline(rig.server).us, start.us + 300000000);
    smtp_server_timeout(rig.server, mono_add_ms(start, 299999));
    rig.now = mono_add_ms(start, 1000);
    rig_say(&rig, "MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n");
    assert_int_equal(smtp_server_deadline(rig.server).us, start.us + 1000000 + 180000000);
    rig_say(&rig, "x\r\n");
    rig_expect(&rig, NULL, NULL);
    rig.manual = true;
    rig_say(&rig, ".\r\n");
    assert_true(smtp_server_waiting(rig.server));
    assert_int_equal(smtp_server_deadline(rig.server).us, INT64_MAX);
    smtp_server_timeout(rig.server, mono_add_ms(start, 10000000)); /* not the peer's fault */
    rig_drain(&rig);
    rig_expect(&rig, "", "MESSAGE\n");
    rig.now = mono_add_ms(start, 20000000);
    smtp_server_reply(rig.server, 250, "2.0.0", "late");
    smtp_server_timeout(rig.server,
                        rig.now); /* at once, since the answer told no time: learns it */
    assert_int_equal(smtp_server_deadline(rig.server).us, rig.now.us + 300000000);
    rig_write(&rig);
    rig_expect(&rig, "250 2.0.0 late\r\n", "");
    rig.manual = false;
    rig_say(&rig, "MAIL FROM:<>\r\n");
    smtp_server_timeout(rig.server, mono_add_ms(rig.now, 300000));
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "250 2.9.9 said\r\n421 4.4.2 Timed out\r\n", "MAIL <>  \nRESET\nCLOSED\n");
    assert_int_equal(smtp_server_deadline(rig.server).us, INT64_MAX);
    rig_close(&rig);
}

static void test_ends(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_hello(&rig, &config, false);
    rig_say(&rig, "MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n");
    rig.manual = true;
    rig_say(&rig, "x\r\n.\r\n");
    rig_expect(&rig, NULL, NULL);
    smtp_server_lost(rig.server, rig.now);
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "", "RESET\nCLOSED\n");
    smtp_server_reply(rig.server, 250, "2.0.0", "too late, and ignored");
    smtp_server_shutdown(rig.server, "again");
    smtp_server_lost(rig.server, rig.now);
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "", "");
    rig_close(&rig);

    rig_hello(&rig, &config, false);
    smtp_server_shutdown(rig.server, "going\r\n250 down");
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "421 4.3.2 going??250 down\r\n", "CLOSED\n");
    rig_close(&rig);
}

/* A peer that sends and never reads: input stops, memory stays. */
static void test_flood_is_bounded(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    struct iovec piece;
    (void)state;
    rig_hello(&rig, &config, false);
    struct strbuf flood;
    strbuf_init(&flood, 1 << 20);
    while (strbuf_add_cstr(&flood, "NOOP\r\n")) {
    }
    rig.deaf = true;
    rig_feed(&rig, strbuf_slice(&flood));
    assert_true(rig.left.len > flood.len - 40000);
    assert_int_equal(smtp_server_output(rig.server, &piece, 1), 1);
    assert_true(piece.iov_len < 20000);
    rig.deaf = false;
    while (rig.left.len > 0) {
        rig_write(&rig);
        rig_offer(&rig);
    }
    assert_int_equal(rig.out.len, flood.len / 6 * strlen("250 2.0.0 Ok\r\n"));
    strbuf_free(&flood);
    rig_close(&rig);
}

/* Nothing is parsed while an answer is owed, however much comes. */
static void test_one_answer_at_a_time(void **state)
{
    struct rig rig;
    struct smtp_server_config config = rig_config();
    (void)state;
    rig_hello(&rig, &config, false);
    rig.manual = true;
    rig_say(&rig, "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nQUIT\r\n");
    rig_expect(&rig, "", "MAIL <a@b.c>  \n");
    rig_say(&rig, "NOOP\r\n");
    rig_expect(&rig, "", "");
    smtp_server_reply(rig.server, 250, "2.1.0", "sender");
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "250 2.1.0 sender\r\n", "RCPT <d@e.f>  \n");
    smtp_server_reply(rig.server, 250, NULL, "plain");
    rig_drain(&rig);
    rig_write(&rig);
    rig_expect(&rig, "250 plain\r\n221 2.0.0 Bye\r\n", "RESET\nCLOSED\n");
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting),
        cmocka_unit_test(test_ehlo),
        cmocka_unit_test(test_transaction_in_pieces),
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_421_everywhere),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_password_is_wiped),
        cmocka_unit_test(test_starttls),
        cmocka_unit_test(test_starttls_injection),
        cmocka_unit_test(test_errors_end),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_bad_line_ends),
        cmocka_unit_test(test_bad_bytes_in_long_lines),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_flood_is_bounded),
        cmocka_unit_test(test_one_answer_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
