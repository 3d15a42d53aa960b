/* Normalised texts: equal causes are equal bytes, and what names the cause stays. */
#include "classify/cause_private.h"
#include "unit/cmocka_all.h"

struct example {
    const char *text;
    const char *cause;
    uint16_t code;
    const char *enhanced;
};

static const struct example examples[] = {
    {"550 5.1.1 <jo@example.org>: Recipient address rejected: User unknown in virtual alias table",
     "<{addr}>: recipient address rejected: user unknown in virtual alias table", 550, "5.1.1"},
    {"550-5.7.26 This mail has been blocked because\r\n550-5.7.26 the sender is "
     "unauthenticated.\r\n"
     "550 5.7.26 t11si6005099wes.103 - gsmtp",
     "this mail has been blocked because the sender is unauthenticated. {id} - gsmtp", 550,
     "5.7.26"},
    {"550 550 5.7.1 Access denied (state 13).", "access denied (state {n}).", 550, "5.7.1"},
    {"550-'5.7.1 <a@b.example>... Access denied' (delivery attempts: 0)",
     "<{addr}>... access denied' (delivery attempts: {n})", 550, "5.7.1"},
    {"550 sorry, no mailbox here by that name (#5.1.1 - chkusr)",
     "sorry, no mailbox here by that name (#5.1.1 - chkusr)", 550, "5.1.1"},
    {"451 4.7.650 The mail server [192.0.2.7] has been temporarily rate limited due to IP "
     "reputation. (S3140) "
     "[AM5EUR02FT034.eop-EUR02.prod.protection.outlook.com 2024-06-26T06:23:31.981Z "
     "08DC953DDFEF8CDC]",
     "the mail server [{ip}] has been temporarily rate limited due to ip reputation. (s3140) "
     "[{host} {time} {id}]",
     451, "4.7.650"},
    {"421 4.7.0 [TSS04] Messages from 2001:db8::25 temporarily deferred - 4.16.55.1; see "
     "https://postmaster.example/error-codes",
     "[tss04] messages from {ip} temporarily deferred - {ip}; see "
     "https://postmaster.example/error-codes",
     421, "4.7.0"},
    {"550 5.1.1 RESOLVER.ADR.RecipNotFound; not found", "resolver.adr.recipnotfound; not found",
     550, "5.1.1"},
    {"554 Blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1",
     "blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/{ip}", 554, ""},
    {"552 https://support.google.com/mail/?p=OverQuotaPerm c2-202229zmZBNM3agi23.222 - gsmtp",
     "https://support.google.com/mail/?p=overquotaperm {id} - gsmtp", 552, ""},
    {"550 Postf\xC3\xA4"
     "cher \xC3\x9C"
     "BERF\xDC"
     "LLT, \xD0\xAF\xD1\x89\xD0\xB8\xD0\xBA",
     "postfacher uberfullt, \xD1\x8F\xD1\x89\xD0\xB8\xD0\xBA", 550, ""},
    {"554 id=0d9a6c2e-1f5b-4c1e-9b77-0a1b2c3d4e5f at 06:23:31 on 2024-06-26",
     "id={id} at {time} on {time}", 554, ""},
    {"host mx.example.org[192.0.2.9] said: 550 5.4.1 Access denied (in reply to RCPT TO command)",
     "access denied", 550, "5.4.1"},
    {"554 Mail (13049-38149) appears to be unsolicited - Score (59) over MessageScoringUpperLimit "
     "(50)",
     "mail ({n}) appears to be unsolicited - score ({n}) over messagescoringupperlimit ({n})", 554,
     ""},
    {"550 delivery error: dd ****@yahoo.com is no longer valid.",
     "delivery error: dd {addr} is no longer valid.", 550, ""},
    {"", "", 0, ""},
    {"550", "", 550, ""},
    {"\xFF\xC3", "ya", 0, ""},
};

static void test_examples(void **state)
{
    (void)state;
    static struct cause cause;
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct classify_input input = {.text = slice_cstr(examples[i].text)};
        char enhanced[SMTP_ENHANCED_TEXT_MAX];
        cause_make(&cause, &input);
        cause.text[cause.len] = '\0';
        assert_string_equal(cause.text, examples[i].cause);
        assert_int_equal(cause.code, examples[i].code);
        (void)smtp_enhanced_format(cause.enhanced, enhanced);
        assert_string_equal(enhanced, examples[i].enhanced);
    }
}

static void test_values_of_the_attempt(void **state)
{
    (void)state;
    static struct cause cause;
    struct classify_input input = {
        .text = SLICE("550 jo.doe@example.org (jo.doe) from news@sender.example via "
                      "mta7.sender.example refused by "
                      "example.org for <q1@mid.example>; user unknown"),
        .recipient = SLICE("Jo.Doe@example.org"),
        .sender = SLICE("news@sender.example"),
        .message_id = SLICE("<q1@mid.example>"),
        .our_host = SLICE("mta7.sender.example"),
    };
    cause_make(&cause, &input);
    cause.text[cause.len] = '\0';
    assert_string_equal(
        cause.text,
        "{rcpt} ({rcpt}) from {sender} via {us} refused by {domain} for <{id}>; user unknown");
    /* A local part that is a word of the text is left alone unless it is set off. */
    input = (struct classify_input){.text = SLICE("550 user unknown: <user>"),
                                    .recipient = SLICE("user@example.org")};
    cause_make(&cause, &input);
    cause.text[cause.len] = '\0';
    assert_string_equal(cause.text, "user unknown: <{rcpt}>");
}

static void test_phase_of_quoted_reply(void **state)
{
    (void)state;
    static struct cause cause;
    struct classify_input input = {
        .text = SLICE("host a.example said: 550 no (in reply to end of DATA command)")};
    cause_make(&cause, &input);
    assert_int_equal(cause.phase, SMTP_PHASE_MESSAGE);
    input.text = SLICE("SMTP error from remote mail server after RCPT TO:<jo@example.org>: 550 no");
    cause_make(&cause, &input);
    assert_int_equal(cause.phase, SMTP_PHASE_RCPT);
    input.phase = SMTP_PHASE_MAIL; /* what the caller knows stands */
    cause_make(&cause, &input);
    assert_int_equal(cause.phase, SMTP_PHASE_MAIL);
    input = (struct classify_input){
        .text = SLICE("host a.example[192.0.2.1] refused to talk to me: 554 no")};
    cause_make(&cause, &input);
    assert_int_equal(cause.phase, SMTP_PHASE_GREETING);
}

/* What quotes a reply is no part of it: the cause is the same however it came. */
static void test_quotations(void **state)
{
    (void)state;
    static struct cause cause;
    static const char *const texts[] = {
        "550 5.1.1 no such user",
        "550-5.1.1 no such\n550 5.1.1 user",
        "host mx.a.example[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)",
        "host mx.a.example[192.0.2.1] said: 550-5.1.1 no such 550 5.1.1 user (in reply to RCPT TO "
        "command)",
        "SMTP error from remote mail server after RCPT TO:<jo@a.example>:\n host mx.a.example "
        "[192.0.2.1]: 550 5.1.1 no such user",
        "Remote host said: 550 5.1.1 no such user",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct classify_input input = {.text = slice_cstr(texts[i])};
        cause_make(&cause, &input);
        cause.text[cause.len] = '\0';
        assert_string_equal(cause.text, "no such user");
        assert_int_equal(cause.code, 550);
        assert_int_equal(cause.enhanced.detail, 1);
        bool names_host = strstr(texts[i], "mx.a") != NULL;
        assert_int_equal(cause.host_count, names_host ? 1 : 0);
        assert_true(!names_host || slice_eq(cause.hosts[0], SLICE("mx.a.example")));
    }
    /* Cisco's name for the code that it chose itself, in front of the reply. */
    static const char *const notices[] = {
        "5.1.0 - Unknown address error 550-'5.7.1 closed for the winter'",
        "550 5.1.0 - Unknown address error 550-'5.7.1 closed for the winter' (delivery attempts: "
        "0)",
        "5.1.0 - Unknown address error ('550', ['5.7.1 closed for the winter'])",
        "Other status ('550', [\"5.7.1 closed for the winter\"])",
    };
    for (size_t i = 0; i < ARRAY_LEN(notices); i++) {
        struct classify_input input = {.text = slice_cstr(notices[i])};
        cause_make(&cause, &input);
        cause.text[cause.len] = '\0';
        assert_true(
            slice_starts_with_nocase(slice_cstr(cause.text), SLICE("closed for the winter")));
        assert_int_equal(cause.code, 550);
        assert_int_equal(cause.enhanced.subject, 7);
    }
    /* A text that begins alike but quotes nothing is left as it is. */
    struct classify_input input = {.text = SLICE("host said no (in reply to us")};
    cause_make(&cause, &input);
    cause.text[cause.len] = '\0';
    assert_string_equal(cause.text, "host said no (in reply to us");
}

static void test_bounds(void **state)
{
    (void)state;
    static struct cause cause;
    static char text[CLASSIFY_TEXT_MAX * 2];
    static const char *const fills[] = {"a",    "a ",       "1.",  "@",    "a@b.example ", "=",
                                        "550 ", "\xE2\x80", "://", "{}<>", "\xC3\x9F",     "X1."};
    for (size_t i = 0; i < ARRAY_LEN(fills); i++) {
        size_t len = strlen(fills[i]);
        for (size_t at = 0; at + len <= sizeof(text); at += len) {
            memcpy(text + at, fills[i], len);
        }
        struct classify_input input = {.text = slice_of(text, sizeof(text) - sizeof(text) % len)};
        cause_make(&cause, &input);
        assert_true(cause.len <= CLASSIFY_CAUSE_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_values_of_the_attempt),
        cmocka_unit_test(test_phase_of_quoted_reply),
        cmocka_unit_test(test_quotations),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
