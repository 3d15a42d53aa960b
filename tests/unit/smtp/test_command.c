/*
 * Command lines and ESMTP parameters.
 */
#include "smtp/command.h"

#include "smtp/client.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

static struct smtp_command good(const char *line)
{
    struct smtp_command command;
    struct smtp_command_error error = {0};
    if (!smtp_command_parse(slice_cstr(line), &command, &error)) {
        fail_msg("refused: %s: %d %s", line, error.code, error.text);
    }
    return command;
}

static void bad(const char *line, uint16_t code, const char *enhanced)
{
    struct smtp_command command;
    struct smtp_command_error error = {0};
    if (smtp_command_parse(slice_cstr(line), &command, &error)) {
        fail_msg("accepted: %s", line);
    }
    if (error.code != code || strcmp(error.enhanced, enhanced) != 0) {
        fail_msg("%s: %d %s %s", line, error.code, error.enhanced, error.text);
    }
}

static void test_verbs(void **state)
{
    (void)state;
    assert_int_equal(good("NOOP").verb, SMTP_COMMAND_NOOP);
    assert_int_equal(good("noop any thing").verb, SMTP_COMMAND_NOOP);
    assert_int_equal(good("DaTa").verb, SMTP_COMMAND_DATA);
    assert_int_equal(good("RSET ").verb, SMTP_COMMAND_RSET);
    assert_int_equal(good("quit").verb, SMTP_COMMAND_QUIT);
    assert_int_equal(good("HELP").verb, SMTP_COMMAND_HELP);
    assert_int_equal(good("STARTTLS").verb, SMTP_COMMAND_STARTTLS);
    assert_int_equal(good("VRFY a").verb, SMTP_COMMAND_VRFY);
    assert_int_equal(good("EXPN list").verb, SMTP_COMMAND_EXPN);
    assert_true(slice_eq(good("EHLO mail.example").argument, SLICE("mail.example")));
    assert_int_equal(good("HELO [192.0.2.1]").verb, SMTP_COMMAND_HELO);
    assert_int_equal(good("lhlo x").verb, SMTP_COMMAND_LHLO);
    bad("", 500, "5.5.2");
    bad(" NOOP", 500, "5.5.2");
    bad("NOOPX", 500, "5.5.2");
    bad("MAILFROM:<>", 500, "5.5.2");
    bad("GET / HTTP/1.1", 500, "5.5.2");
    bad("NOOP \t", 500, "5.5.2");
    bad("DATA now", 501, "5.5.4");
    bad("EHLO", 501, "5.5.4");
    bad("EHLO a b", 501, "5.5.4");
    bad("EHLO \xc3\xa9", 501, "5.5.4");
    bad("STARTTLS x", 501, "5.5.4");
    bad("VRFY", 501, "5.5.4");
}

static void test_paths(void **state)
{
    (void)state;
    assert_true(slice_eq(good("MAIL FROM:<a@b.c>").address, SLICE("a@b.c")));
    assert_true(slice_eq(good("mail from: <a@b.c> ").address, SLICE("a@b.c")));
    assert_int_equal(good("MAIL FROM:<>").address.len, 0);
    assert_non_null(good("MAIL FROM:<>").address.ptr);
    assert_true(slice_eq(good("RCPT TO:<\"a > b\"@c.d>").address, SLICE("\"a > b\"@c.d")));
    assert_true(slice_eq(good("RCPT TO:<\"a\\\">\"@c.d>").address, SLICE("\"a\\\">\"@c.d")));
    assert_true(slice_eq(good("RCPT TO:<@x.y,@z:a@b.c>").address, SLICE("a@b.c")));
    assert_true(slice_eq(good("RCPT TO:<Postmaster>").address, SLICE("Postmaster")));
    assert_true(good("RCPT TO:<\xc3\xa9@b.c>").address_utf8);
    bad("MAIL", 501, "5.5.4");
    bad("MAIL FROM", 501, "5.5.4");
    bad("MAIL TO:<a@b.c>", 501, "5.5.4");
    bad("MAIL FROM:a@b.c", 501, "5.5.4");
    bad("MAIL FROM:<a@b.c", 501, "5.5.4");
    bad("MAIL FROM:<a@b.c>SIZE=1", 501, "5.5.4");
    bad("MAIL FROM:<a@b.c>>", 501, "5.5.4");
    bad("MAIL FROM:<postmaster>", 553, "5.1.7");
    bad("MAIL FROM:<a b@c.d>", 553, "5.1.7");
    bad("MAIL FROM:<\xff@c.d>", 553, "5.1.7");
    bad("RCPT TO:<>", 553, "5.1.3");
    bad("RCPT TO:<a>", 553, "5.1.3");
    bad("RCPT TO:<@x a@b.c>", 553, "5.1.3");
    bad("RCPT TO:<a@b.c.>", 553, "5.1.3");
}

static void test_mail_params(void **state)
{
    struct smtp_command mail;
    (void)state;
    mail = good("MAIL FROM:<a@b.c> SIZE=1234 body=8bitmime SMTPUTF8  RET=hdrs ENVID=x+2By AUTH=<> "
                "REQUIRETLS");
    assert_int_equal(mail.size_bytes, 1234);
    assert_true(mail.body_8bit);
    assert_true(mail.smtputf8);
    assert_true(mail.requiretls);
    assert_true(slice_eq(mail.ret, SLICE("hdrs")));
    assert_true(slice_eq(mail.envid, SLICE("x+2By")));
    assert_int_equal(mail.needs, SMTP_CAP_SIZE | SMTP_CAP_8BITMIME | SMTP_CAP_SMTPUTF8 |
                                     SMTP_CAP_DSN | SMTP_CAP_AUTH_PLAIN | SMTP_CAP_AUTH_LOGIN |
                                     SMTP_CAP_REQUIRETLS);
    assert_int_equal(good("MAIL FROM:<> SIZE=99999999999999999999").size_bytes, UINT64_MAX);
    assert_false(good("MAIL FROM:<> BODY=7BIT").body_8bit);
    bad("MAIL FROM:<> SIZE", 501, "5.5.4");
    bad("MAIL FROM:<> SIZE=", 501, "5.5.4");
    bad("MAIL FROM:<> SIZE=-1", 501, "5.5.4");
    bad("MAIL FROM:<> SIZE=1x", 501, "5.5.4");
    bad("MAIL FROM:<> SIZE=100000000000000000000", 501, "5.5.4");
    bad("MAIL FROM:<> SIZE=1 SIZE=1", 501, "5.5.4");
    bad("MAIL FROM:<> BODY=BINARYMIME", 501, "5.5.4");
    bad("MAIL FROM:<> SMTPUTF8=1", 501, "5.5.4");
    bad("MAIL FROM:<> RET=ALL", 501, "5.5.4");
    bad("MAIL FROM:<> ENVID=a+b", 501, "5.5.4");
    bad("MAIL FROM:<> ENVID=a=b", 501, "5.5.4");
    bad("MAIL FROM:<> NOTIFY=NEVER", 555, "5.5.4");
    bad("MAIL FROM:<> FOO=bar", 555, "5.5.4");
    bad("MAIL FROM:<> =", 555, "5.5.4");
}

static void test_rcpt_params(void **state)
{
    struct smtp_command rcpt;
    (void)state;
    rcpt = good("RCPT TO:<a@b.c> NOTIFY=SUCCESS,failure,DELAY ORCPT=rfc822;x+2By@z");
    assert_true(slice_eq(rcpt.notify, SLICE("SUCCESS,failure,DELAY")));
    assert_true(slice_eq(rcpt.orcpt, SLICE("rfc822;x+2By@z")));
    assert_int_equal(rcpt.needs, SMTP_CAP_DSN);
    assert_false(rcpt.address_utf8);
    good("RCPT TO:<a@b.c> NOTIFY=never");
    assert_true(good("RCPT TO:<a@b.c> ORCPT=utf-8;\xc3\xa9@z").address_utf8);
    bad("RCPT TO:<a@b.c> NOTIFY=NEVER,SUCCESS", 501, "5.5.4");
    bad("RCPT TO:<a@b.c> NOTIFY=SUCCESS,", 501, "5.5.4");
    bad("RCPT TO:<a@b.c> NOTIFY=,SUCCESS", 501, "5.5.4");
    bad("RCPT TO:<a@b.c> NOTIFY=", 501, "5.5.4");
    bad("RCPT TO:<a@b.c> ORCPT=rfc822", 501, "5.5.4");
    bad("RCPT TO:<a@b.c> ORCPT=;x", 501, "5.5.4");
    bad("RCPT TO:<a@b.c> ORCPT=rfc822;", 501, "5.5.4");
    bad("RCPT TO:<a@b.c> ORCPT=rfc822;\xc3\xa9@z", 501, "5.5.4");
    bad("RCPT TO:<a@b.c> ORCPT=utf-8;\xc3(", 501, "5.5.4");
    bad("RCPT TO:<a@b.c> SIZE=1", 555, "5.5.4");
}

static void test_bdat_and_auth(void **state)
{
    struct smtp_command command;
    (void)state;
    command = good("BDAT 100");
    assert_int_equal(command.chunk_bytes, 100);
    assert_false(command.last);
    command = good("bdat 0 last");
    assert_int_equal(command.chunk_bytes, 0);
    assert_true(command.last);
    bad("BDAT", 501, "5.5.4");
    bad("BDAT LAST", 501, "5.5.4");
    bad("BDAT -1", 501, "5.5.4");
    bad("BDAT 10 FIRST", 501, "5.5.4");
    bad("BDAT 18446744073709551616", 501, "5.5.4");
    command = good("AUTH PLAIN");
    assert_true(slice_eq(command.mechanism, SLICE("PLAIN")));
    assert_null(command.initial.ptr);
    assert_true(slice_eq(good("AUTH PLAIN AGEAYg==").initial, SLICE("AGEAYg==")));
    command = good("AUTH PLAIN =");
    assert_non_null(command.initial.ptr);
    assert_int_equal(command.initial.len, 0);
    bad("AUTH", 501, "5.5.4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs),         cmocka_unit_test(test_paths),
        cmocka_unit_test(test_mail_params),   cmocka_unit_test(test_rcpt_params),
        cmocka_unit_test(test_bdat_and_auth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
