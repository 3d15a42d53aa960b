/*
 * Reports for machines: delivery status (RFC 3464, 6533), abuse reports (RFC 5965) and what stands
 * in for them, DMARC and TLS reports, answers of programs (RFC 3834). Also damaged and hostile
 * ones.
 */
#include "base/mem.h"
#include "base/strbuf.h"
#include "mail/address.h"
#include "mail/returned.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fixture {
    struct arena *arena;
    struct returned_mail mail;
    struct fault fault;
};

static bool read_bytes(struct fixture *f, struct slice bytes)
{
    f->arena = arena_create(65536, RETURNED_ARENA_MAX);
    return returned_mail_read(f->arena, bytes, &f->mail, &f->fault);
}

static void read_text(struct fixture *f, const char *text)
{
    assert_true(read_bytes(f, slice_cstr(text)));
}

static void done(struct fixture *f)
{
    arena_free(&f->arena);
}

static void check_slice(struct slice got, const char *text, int line)
{
    if (!slice_eq(got, slice_cstr(text))) {
        fail_msg("line %d: \"%.*s\" is not \"%s\"", line, SLICE_FMT(got), text);
    }
}

#define assert_slice(got, text) check_slice((got), (text), __LINE__)

#define REPORT                                                                                     \
    "From: mailer-daemon@mx.example.net\nTo: b+ann=example.org@example.com\nSubject: Delivery "    \
    "Status Notification\nContent-Type: "                                                          \
    "multipart/report; report-type=delivery-status; boundary=\"b1\"\n\n--b1\n\nYour message "      \
    "could not be delivered.\n\n--b1\nContent-Type: "                                              \
    "message/delivery-status\n\n"

static void test_dsn(void **state)
{
    (void)state;
    struct fixture f = {0};
    read_text(
        &f, REPORT
        "Reporting-MTA: dns; mx.example.net\nArrival-Date: Mon, 2 Mar 2026 10:00:00 "
        "+0000\n\nFinal-Recipient: rfc822; "
        "<ann@example.org>\nOriginal-Recipient: rfc822;list@example.net\nAction: failed\nStatus: "
        "5.0.0\nRemote-MTA: dns; "
        "mail.example.org (192.0.2.7)\nDiagnostic-Code: smtp; 550 5.1.1 <ann@example.org>:\n  "
        "Recipient address "
        "rejected\n\nFinal-Recipient: rfc822;bob@example.org\nAction: delayed\nStatus: 4.4.1 (no "
        "answer)\n\n--b1\nContent-Type: "
        "message/rfc822\n\nMessage-ID: <7@example.com>\nX-Sluice-Tenant: shop7\nX-Sluice-Campaign: "
        "spring\nFeedback-ID: x:y:z:w\n\nHello\n--b1--\n");
    assert_int_equal(f.mail.kind, RETURNED_BOUNCE);
    assert_int_equal(f.mail.recipient_count, 2);
    const struct returned_recipient *r = f.mail.recipients;
    assert_slice(r[0].address, "ann@example.org");
    assert_slice(r[0].original, "list@example.net");
    assert_slice(r[0].status, "5.0.0");
    assert_slice(r[0].enhanced, "5.1.1");
    assert_slice(r[0].text, "550 5.1.1 <ann@example.org>: Recipient address rejected");
    assert_slice(r[0].diagnostic_type, "smtp");
    assert_slice(r[0].remote_mta, "mail.example.org");
    assert_slice(r[0].reporting_mta, "mx.example.net");
    assert_int_equal(r[0].code, 550);
    assert_int_equal(r[0].action, RETURNED_ACTION_FAILED);
    assert_int_equal(r[1].action, RETURNED_ACTION_DELAYED);
    assert_slice(r[1].address, "bob@example.org");
    assert_slice(r[1].status, "4.4.1");
    assert_slice(f.mail.original.message_id, "<7@example.com>");
    assert_slice(f.mail.original.tenant, "shop7");
    assert_slice(f.mail.original.campaign, "spring");
    assert_slice(f.mail.original.verp, "b+ann=example.org@example.com");
    assert_false(f.mail.cut);
    done(&f);
}

/* Blank lines inside of a block, none between blocks, Action in front, and a diagnostic that was
 * wrapped badly. */
static void test_dsn_damaged(void **state)
{
    (void)state;
    struct fixture f = {0};
    read_text(&f, REPORT "Reporting-MTA: dns; mx.example.net\nFinal-Recipient: rfc822; "
                         "ann@example.org\n\nAction: failed\n\nStatus: "
                         "5.1.1\nFinal-Recipient: rfc822; bob@example.org\nAction: "
                         "failed\nDiagnostic-Code: smtp; 550 No such\nuser here: "
                         "really\nStatus: 5.1.1\n");
    assert_int_equal(f.mail.recipient_count, 2);
    assert_slice(f.mail.recipients[0].address, "ann@example.org");
    assert_int_equal(f.mail.recipients[0].action, RETURNED_ACTION_FAILED);
    assert_slice(f.mail.recipients[1].address, "bob@example.org");
    assert_slice(f.mail.recipients[1].text, "550 No such user here: really");
    done(&f);
    read_text(&f, REPORT "Action: failed\nFinal-Recipient: rfc822; ann@example.org\n\nAction: "
                         "failed\nFinal-Recipient: rfc822; bob@example.org\n");
    assert_int_equal(f.mail.recipient_count, 2);
    done(&f);
    /* In a text part, wherever its MIME structure went. */
    read_text(&f, "From: mailer-daemon@mx.example.net\nSubject: Returned "
                  "mail\n\nSorry.\n\n--x.y/z\nContent-Type: "
                  "message/delivery-status\n\nReporting-MTA: dns; "
                  "mx.example.net\n\nFinal-Recipient: RFC822; ann@example.org\nAction: "
                  "failed\nDiagnostic-Code: SMTP; 550 gone\n\n--x.y/z\nContent-Type: "
                  "text/rfc822-headers\n\nMessage-ID: <8@example.com>\n");
    assert_int_equal(f.mail.recipient_count, 1);
    assert_slice(f.mail.recipients[0].text, "550 gone");
    assert_slice(f.mail.original.message_id, "<8@example.com>");
    done(&f);
    /* Cut off in the middle of a line. */
    read_text(&f, REPORT "Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; "
                         "ann@example.org\nAction: fai");
    assert_int_equal(f.mail.recipient_count, 1);
    assert_int_equal(f.mail.recipients[0].action, RETURNED_ACTION_FAILED);
    done(&f);
    /* Encoded, and in a multipart inside of a multipart, with a list's footer behind. */
    read_text(&f, "From: mailer-daemon@mx.example.net\nSubject: x\nContent-Type: multipart/mixed; "
                  "boundary=o\n\n--o\nContent-Type: "
                  "multipart/report; boundary=i\n\n--i\n\nfailed\n\n--i\nContent-Type: "
                  "message/delivery-status\nContent-Transfer-Encoding: "
                  "base64\n\nRmluYWwtUmVjaXBpZW50OiByZmM4MjI7IGFubkBleGFtcGxlLm9yZwpBY3Rpb246IGZhaW"
                  "xl\nZApTdGF0dXM6IDUuMS4xCg==\n\n--i--\n--o\n\n"
                  "footer\n--o--\n");
    assert_int_equal(f.mail.kind, RETURNED_BOUNCE);
    assert_slice(f.mail.recipients[0].address, "ann@example.org");
    assert_slice(f.mail.recipients[0].status, "5.1.1");
    done(&f);
}

static void test_dsn_forms(void **state)
{
    (void)state;
    struct fixture f = {0};
    /* RFC 6533. */
    read_text(&f, "From: mailer-daemon@mx.example.net\nSubject: x\nContent-Type: multipart/report; "
                  "boundary=i\n\n--i\nContent-Type: "
                  "message/global-delivery-status\n\nFinal-Recipient: utf-8; "
                  "gr\\x{FC}n@example.org\nAction: failed\nStatus: 5.1.1\n");
    assert_slice(f.mail.recipients[0].address, "grün@example.org");
    done(&f);
    /* A text that stands in the human part only, and a transcript that is longer than the field. */
    read_text(&f, "From: mailer-daemon@mx.example.net\nSubject: Returned mail\nContent-Type: "
                  "multipart/report; boundary=i\n\n--i\n\n   ----- "
                  "Transcript of session follows -----\n... while talking to "
                  "mail.example.org.:\n>>> DATA\n<<< 550-5.7.26 This mail is\n<<< "
                  "550 5.7.26 unauthenticated.\n554 5.0.0 Service "
                  "unavailable\n\n--i\nContent-Type: message/delivery-status\n\nFinal-Recipient: "
                  "rfc822; ann@example.org\nAction: failed\nStatus: 5.7.26\nDiagnostic-Code: SMTP; "
                  "550-5.7.26 This mail is\n");
    assert_slice(f.mail.recipients[0].text, "550-5.7.26 This mail is\n550 5.7.26 unauthenticated.");
    done(&f);
    read_text(&f, "From: mailer-daemon@mx.example.net\nSubject: Undeliverable\nContent-Type: "
                  "multipart/report; boundary=i\n\n--i\n\nThis message "
                  "could not be delivered.\n\nann@example.org\n    The mailbox is "
                  "full.\n\n--i\nContent-Type: "
                  "message/delivery-status\n\nFinal-Recipient: rfc822; ann@example.org\nAction: "
                  "failed\nStatus: 5.0.0\n");
    assert_slice(f.mail.recipients[0].text, "The mailbox is full.");
    done(&f);
    /* Names inside of the remote system. */
    read_text(&f, REPORT "Original-recipient: rfc822;ann@example.org\nFinal-recipient: "
                         "rfc822;@gate.example.org:ann@store\nAction: failed\n");
    assert_slice(f.mail.recipients[0].address, "ann@example.org");
    done(&f);
    read_text(&f, REPORT "Final-Recipient: rfc822; ann@example.org\nAction: "
                         "failed\nDiagnostic-Code: smtp; 5.1.0 - Unknown address error "
                         "550-'5.7.1 Access denied' (delivery attempts: 0)\n");
    assert_slice(f.mail.recipients[0].text, "550 5.7.1 Access denied");
    done(&f);
    read_text(&f,
              REPORT "Final-Recipient: rfc822; ann@example.org\nAction: relayed\nStatus: 2.0.0\n");
    assert_int_equal(f.mail.kind, RETURNED_DELIVERED);
    done(&f);
    /* A report in a message that a scanner wrapped around it. */
    read_text(&f, "From: postmaster@example.net\nSubject: Delivery Status "
                  "Notification\nContent-Type: multipart/mixed; boundary=o\n\n--o\n"
                  "Content-Type: message/rfc822\n\n" REPORT
                  "Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: "
                  "5.1.1\n\n--b1--\n--o--\n");
    assert_int_equal(f.mail.kind, RETURNED_BOUNCE);
    assert_slice(f.mail.recipients[0].address, "ann@example.org");
    done(&f);
}

static void test_feedback(void **state)
{
    (void)state;
    struct fixture f = {0};
    static const struct {
        const char *type;
        enum returned_kind kind;
    } TYPES[] = {{"abuse", RETURNED_COMPLAINT},          {"fraud", RETURNED_COMPLAINT},
                 {"virus", RETURNED_COMPLAINT},          {"other", RETURNED_COMPLAINT},
                 {"auth-failure", RETURNED_AUTH_REPORT}, {"opt-out", RETURNED_OPT_OUT},
                 {"not-spam", RETURNED_NOT_A_BOUNCE}};
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++) {
        char text[1024];
        (void)snprintf(text, sizeof(text),
                       "From: fbl@example.org\nSubject: FW: News\nContent-Type: multipart/report; "
                       "report-type=feedback-report; "
                       "boundary=i\n\n--i\n\nAbuse report\n\n--i\nContent-Type: "
                       "message/feedback-report\n\nFeedback-Type: %s\nVersion: "
                       "1\nOriginal-Rcpt-To: <ann@example.org>\nOriginal-Rcpt-To: "
                       "bob@example.org\nOriginal-Mail-From: "
                       "<news@example.com>\n\n--i\nContent-Type: message/rfc822\n\nMessage-ID: "
                       "<9@example.com>\nFrom: "
                       "news@example.com\nTo: ann@example.org\n\nHello\n--i--\n",
                       TYPES[i].type);
        read_text(&f, text);
        assert_int_equal(f.mail.kind, TYPES[i].kind);
        assert_int_equal(f.mail.recipient_count, 2);
        assert_slice(f.mail.recipients[1].address, "bob@example.org");
        assert_slice(f.mail.feedback_type, TYPES[i].type);
        assert_slice(f.mail.original.message_id, "<9@example.com>");
        done(&f);
    }
    /* JMRP: no report, a field in the returned message. */
    read_text(&f, "From: staff@hotmail.com\nSubject: complaint about message from "
                  "192.0.2.1\nContent-Type: multipart/mixed; "
                  "boundary=i\n\n--i\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: "
                  "ann@example.org\nFrom: news@example.com\nMessage-ID: "
                  "<10@example.com>\n\nHello\n--i--\n");
    assert_int_equal(f.mail.kind, RETURNED_COMPLAINT);
    assert_slice(f.mail.recipients[0].address, "ann@example.org");
    done(&f);
    /* SES through SNS. */
    read_text(&f, "From: no-reply@sns.amazonaws.com\nSubject: AWS Notification "
                  "Message\n\n{\"notificationType\":\"Bounce\",\"bounce\":{\"bounceType\":"
                  "\"Permanent\",\"bouncedRecipients\":[{\"emailAddress\":\"ann@"
                  "example.org\",\"action\":\"failed\",\"status\":\"5.1.1\",\"diagnosticCode\":"
                  "\"smtp; 550 5.1.1 user "
                  "unknown\"}]},\"mail\":{\"source\":\"news@example.com\"}}\n\n--\nunsubscribe\n");
    assert_int_equal(f.mail.kind, RETURNED_BOUNCE);
    assert_slice(f.mail.recipients[0].text, "550 5.1.1 user unknown");
    assert_slice(f.mail.original.from, "news@example.com");
    done(&f);
}

static void test_other_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum returned_kind kind;
    } MAILS[] = {
        {"From: ann@example.org\nSubject: Re: News\nAuto-Submitted: auto-replied\n\nI am away "
         "until Monday.\n",
         RETURNED_AUTO_REPLY},
        {"From: ann@example.org\nSubject: Automatische Antwort: Neues\n\nIch bin nicht im Büro.\n",
         RETURNED_AUTO_REPLY},
        {"From: ann@example.org\nSubject: =?utf-8?B?6Ieq5Yqo5Zue5aSNOg==?= News\n\nOK\n",
         RETURNED_AUTO_REPLY},
        {"From: ann@example.org\nSubject: News\nX-Autoreply: yes\n\nThanks\n", RETURNED_AUTO_REPLY},
        {"From: ann@example.org\nSubject: Re: News\nReturn-Path: <>\n\nTo reduce unsolicited mail "
         "I ask unknown senders to confirm. Please click on "
         "the following link and your message will be delivered.\n",
         RETURNED_CHALLENGE_RESPONSE},
        {"From: ann@example.org\nTo: news-unsubscribe@example.com\nSubject: unsubscribe\n\n\n",
         RETURNED_UNSUBSCRIBE},
        {"From: ann@example.org\nTo: u123@example.com\nSubject: unsubscribe\nX-Apple-Unsubscribe: "
         "true\n\n\n",
         RETURNED_OPT_OUT},
        {"From: noreply-dmarc@example.org\nSubject: Report domain: example.com Submitter: "
         "example.org Report-ID: 1\nContent-Type: "
         "application/gzip; name=\"example.org!example.com!1!2.xml.gz\"\n\nxx\n",
         RETURNED_AUTH_REPORT},
        {"From: tls@example.org\nSubject: x\nContent-Type: multipart/report; "
         "report-type=\"tlsrpt\"; boundary=i\n\n--i\n\nx\n--i--\n",
         RETURNED_AUTH_REPORT},
        {"From: ann@example.org\nSubject: hello\n\nHow are you?\n", RETURNED_NOT_A_BOUNCE},
    };
    for (size_t i = 0; i < ARRAY_LEN(MAILS); i++) {
        struct fixture f = {0};
        read_text(&f, MAILS[i].text);
        if (f.mail.kind != MAILS[i].kind) {
            fail_msg("mail %zu is %s, not %s", i, returned_kind_name(f.mail.kind),
                     returned_kind_name(MAILS[i].kind));
        }
        done(&f);
    }
}

static void test_not_a_message(void **state)
{
    (void)state;
    static const struct slice BYTES[] = {
        {"", 0}, {"\n\n\n", 3}, {"no header here\n", 15}, {"\0\0\0\0", 4}, {"\xff\xfe\x00\x01", 4}};
    for (size_t i = 0; i < ARRAY_LEN(BYTES); i++) {
        struct fixture f = {0};
        assert_false(read_bytes(&f, BYTES[i]));
        assert_int_equal(f.fault.kind, FAULT_INVALID);
        done(&f);
    }
}

static void test_many_recipients(void **state)
{
    (void)state;
    struct strbuf buf;
    struct fixture f = {0};
    strbuf_init(&buf, 16 << 20);
    strbuf_add_cstr(&buf, REPORT "Reporting-MTA: dns; mx.example.net\n\n");
    for (unsigned i = 0; i < 10000; i++) {
        strbuf_addf(&buf,
                    "Final-Recipient: rfc822; u%u@example.org\nAction: failed\nStatus: "
                    "5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no u%u\n\n",
                    i, i);
    }
    assert_true(read_bytes(&f, strbuf_slice(&buf)));
    assert_int_equal(f.mail.recipient_count, 10000);
    assert_slice(f.mail.recipients[9999].address, "u9999@example.org");
    assert_slice(f.mail.recipients[9999].text, "550 5.1.1 no u9999");
    assert_false(f.mail.cut);
    done(&f);
    strbuf_reset(&buf);
    strbuf_add_cstr(&buf, REPORT);
    for (unsigned i = 0; i <= RETURNED_RECIPIENTS_MAX; i++) {
        strbuf_addf(&buf, "Final-Recipient: rfc822; u%u@example.org\n\n", i);
    }
    assert_true(read_bytes(&f, strbuf_slice(&buf)));
    assert_int_equal(f.mail.recipient_count, RETURNED_RECIPIENTS_MAX);
    assert_true(f.mail.cut);
    done(&f);
    strbuf_free(&buf);
}

/* Nesting, repetition and length without end: what is past a limit is told by `cut`, and what
 * stands before it is found. */
static void test_hostile(void **state)
{
    (void)state;
    struct strbuf buf;
    struct fixture f = {0};
    strbuf_init(&buf, 40 << 20);
    strbuf_add_cstr(&buf, "From: mailer-daemon@example.net\nSubject: failure notice\n");
    for (unsigned i = 0; i < 50; i++) {
        strbuf_addf(&buf, "Content-Type: multipart/mixed; boundary=b%u\n\n--b%u\n", i, i);
    }
    strbuf_add_cstr(&buf, "\n<ann@example.org>: user unknown\n");
    assert_true(read_bytes(&f, strbuf_slice(&buf)));
    assert_true(f.mail.cut);
    done(&f);

    strbuf_reset(&buf);
    strbuf_add_cstr(&buf, "From: mailer-daemon@example.net\nSubject: failure notice\n");
    for (unsigned i = 0; i < 100000; i++) {
        strbuf_addf(&buf, "X-Bomb-%u: x\n", i);
    }
    strbuf_add_cstr(&buf, "\n<ann@example.org>: user unknown\n");
    assert_true(read_bytes(&f, strbuf_slice(&buf)));
    assert_int_equal(f.mail.recipient_count, 1);
    assert_true(f.mail.cut);
    done(&f);

    strbuf_reset(&buf);
    strbuf_add_cstr(&buf, "From: mailer-daemon@example.net\nSubject: failure "
                          "notice\n\n<ann@example.org>: user unknown\n\n");
    while (buf.len < RETURNED_READ_MAX + 1000) {
        strbuf_add(&buf, "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", 50);
        strbuf_add(&buf, "\0\0\0\n", 4);
    }
    assert_true(read_bytes(&f, strbuf_slice(&buf)));
    assert_int_equal(f.mail.recipient_count, 1);
    assert_true(f.mail.cut);
    done(&f);
    strbuf_free(&buf);
}

/* A report under fifty and a hundred levels of MIME: as parts, where it is past the limit, and as
 * messages in messages. What stands in front of it is read all the same. */
static void test_deep(void **state)
{
    (void)state;
    struct strbuf buf;
    strbuf_init(&buf, 1 << 20);
    for (unsigned levels = 50; levels <= 100; levels += 50) {
        for (unsigned as_messages = 0; as_messages < 2; as_messages++) {
            struct fixture f = {0};
            strbuf_reset(&buf);
            strbuf_add_cstr(&buf, "From: mailer-daemon@example.net\nSubject: failure notice\n"
                                  "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n"
                                  "<ann@example.org>: 550 5.1.1 user unknown\n\n--b\n");
            for (unsigned i = 0; i < levels; i++) {
                strbuf_addf(&buf,
                            as_messages ? "Content-Type: message/rfc822\n\nSubject: %u\n"
                                        : "Content-Type: multipart/mixed; boundary=b%u\n\n--b%u\n",
                            i, i);
            }
            strbuf_add_cstr(&buf, "Content-Type: message/delivery-status\n\n"
                                  "Final-Recipient: rfc822; deep@example.org\nAction: failed\n\n");
            assert_true(read_bytes(&f, strbuf_slice(&buf)));
            assert_int_equal(f.mail.recipient_count, 1);
            assert_slice(f.mail.recipients[0].address, "ann@example.org");
            assert_true(as_messages || f.mail.cut);
            done(&f);
        }
    }
    strbuf_free(&buf);
}

/* One header field, one address list, one line, one boundary without end. */
static void test_without_end(void **state)
{
    (void)state;
    static const struct {
        const char *front, *piece, *back;
    } cases[] = {
        {"X-Long: ", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", "\n"},
        {"X-Folded: a\n", " yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n", ""},
        {"To: ", "<ann@example.org>, (((", "\n"},
        {"Subject: ", "=?utf-8?Q?=41?= ", "\n"},
        {"Content-Type: multipart/mixed; boundary=\"", "bbbbbbbbbb", "\"\n"},
        {"", "Received: from a by b; c\n", ""},
        {"X-Nul: ", "a\001b", "\n"},
    };
    struct strbuf buf;
    strbuf_init(&buf, 8 << 20);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f = {0};
        strbuf_reset(&buf);
        strbuf_add_cstr(&buf, "From: mailer-daemon@example.net\nSubject: failure notice\n");
        strbuf_add_cstr(&buf, cases[i].front);
        while (buf.len < 4 << 20) {
            strbuf_add_cstr(&buf, cases[i].piece);
        }
        strbuf_add_cstr(&buf, cases[i].back);
        strbuf_add_cstr(&buf, "\n<ann@example.org>: 550 5.1.1 user unknown\n");
        for (size_t k = 0; k < buf.len; k++) {
            buf.ptr[k] = buf.ptr[k] == 1 ? '\0' : buf.ptr[k];
        }
        assert_true(read_bytes(&f, strbuf_slice(&buf)));
        assert_int_equal(f.mail.recipient_count, 1);
        assert_slice(f.mail.recipients[0].address, "ann@example.org");
        done(&f);
    }
    strbuf_free(&buf);
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *address;
    } TEXTS[] = {
        {"<ann@example.org>:", "ann@example.org"},
        {"mailto:ann@example.org,", "ann@example.org"},
        {"'ann@example.org'", "ann@example.org"},
        {"to ann@example.org.", "ann@example.org"},
        {"\"ann b\"@example.org", "\"ann b\"@example.org"},
        {"ann+x=y@example.org", "ann+x=y@example.org"},
        {"x ann@[192.0.2.1] y", "ann@[192.0.2.1]"},
        {"邮箱ann@example.cn。", "ann@example.cn"},
        {"<邮箱@example.cn>", "邮箱@example.cn"},
        {"a @ b, ann@example.org", "ann@example.org"},
    };
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        struct slice rest = slice_cstr(TEXTS[i].text);
        struct slice address = SLICE_NULL;
        assert_true(mail_address_next(&rest, &address));
        assert_slice(address, TEXTS[i].address);
    }
    struct slice rest = SLICE("@@ @x x@ @");
    struct slice address = SLICE_NULL;
    assert_false(mail_address_next(&rest, &address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dsn),
        cmocka_unit_test(test_dsn_damaged),
        cmocka_unit_test(test_dsn_forms),
        cmocka_unit_test(test_feedback),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_not_a_message),
        cmocka_unit_test(test_many_recipients),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_without_end),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
