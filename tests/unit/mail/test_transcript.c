/* Which command a reply answers, by the transcript that a report brings. */
#include "mail/transcript.h"
#include "unit/cmocka_all.h"

static void check(const char *text, const char *reply, enum returned_phase phase)
{
    enum returned_phase found = transcript_phase(slice_cstr(text), slice_cstr(reply));
    if (found != phase) {
        fail_msg("phase %d, not %d, for \"%s\" in:\n%s", (int)found, (int)phase, reply, text);
    }
}

static void test_sendmail(void **state)
{
    (void)state;
    /* One command, one reply. */
    check("... while talking to mx.example.org.:\n>>> RCPT To:<jo@example.org>\n<<< 550 5.1.1 "
          "no\n550 5.1.1 <jo@example.org>... User unknown\n",
          "550 5.1.1 no", RETURNED_PHASE_RCPT);
    check(">>> MAIL From:<a@example.com>\n<<< 553 5.1.8 no\n501 5.6.0 Data format error\n",
          "553 5.1.8 no", RETURNED_PHASE_MAIL);
    /* Pipelined: the reply to RCPT stands behind DATA, which is then refused too. */
    check(">>> DATA\n<<< 550 unknown user\n550 5.1.1 <jo@example.org>... User unknown\n<<< 503 "
          "need RCPT command [data]\n",
          "550 unknown user", RETURNED_PHASE_RCPT);
    check(">>> DATA\n<<< 550 unknown user\n<<< 554 Error: no valid recipients\n",
          "550 unknown user", RETURNED_PHASE_RCPT);
    /* The recipient was accepted, the message was not. */
    check(">>> DATA\n<<< 550 unknown user\n554 5.0.0 Service unavailable\n", "550 unknown user",
          RETURNED_PHASE_DATA);
    check(">>> DATA\n<<< 354 go on\n>>> .\n<<< 554 5.7.1 spam\n554 5.0.0 Service unavailable\n",
          "554 5.7.1 spam", RETURNED_PHASE_DATA);
}

static void test_others(void **state)
{
    (void)state;
    check("Sent <<< RCPT TO:<jo@example.org>\nReceived >>> 550 5.1.1 no\n", "550 5.1.1 no",
          RETURNED_PHASE_RCPT);
    check("Mon 2026-03-02 10:00:01: --> RCPT To:<jo@example.org>\nMon 2026-03-02 10:00:01: <-- "
          "550 no\nMon 2026-03-02 10:00:01: --> QUIT\n",
          "550 no", RETURNED_PHASE_RCPT);
    /* Of several lines and longer than a line of the notice; the first is enough. */
    check(">>> EHLO a.example\n<<< 554-5.7.1 a\n<<< 554 5.7.1 b\n", "554-5.7.1 a\n554 5.7.1 b",
          RETURNED_PHASE_HELO);
}

static void test_nothing(void **state)
{
    (void)state;
    check("", "550 no", RETURNED_PHASE_UNKNOWN);
    check(">>> RCPT TO:<jo@example.org>\n<<< 550 no\n", "550 yes", RETURNED_PHASE_UNKNOWN);
    check("<<< 550 no\n>>> DATA\n", "550 no", RETURNED_PHASE_UNKNOWN);
    check(">>> DATA\n550 no\n", "550 no", RETURNED_PHASE_UNKNOWN);
    check(">>> RCPT TO:<jo@example.org>\n<<< no\n", "no", RETURNED_PHASE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sendmail),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
