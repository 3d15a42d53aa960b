/*
 * Notices in running text, one sample for each way in which mail systems write them. The samples
 * are written for this test after the systems' documentation and sources; addresses and hosts are
 * those of RFC 2606.
 */
#include "mail/returned.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct sample {
    const char *name;
    const char *header; /* besides To and Date */
    const char *body;
    enum returned_kind kind;
    const char *recipients; /* with commas, in their order */
    const char *text;       /* stands in the text of the first */
    uint16_t code;
};

#define DAEMON "From: Mail Delivery Subsystem <mailer-daemon@mx.example.net>\n"

static const struct sample samples[] = {
    {"postfix without a report", DAEMON "Subject: Undelivered Mail Returned to Sender\n",
     "This is the mail system at host mx.example.net.\n\nI'm sorry to have to inform you that your "
     "message could not\nbe delivered "
     "to one or more recipients. It's attached below.\n\nFor further assistance, please send mail "
     "to postmaster.\n\n"
     "                   The mail system\n\n<ann@example.org>: host mail.example.org[192.0.2.7] "
     "said: 550 5.1.1\n    "
     "<ann@example.org>: Recipient address rejected: User unknown (in reply to RCPT TO\n    "
     "command)\n\n<bob@example.org>: "
     "connect to example.org[192.0.2.8]:25: Connection refused\n",
     RETURNED_BOUNCE, "ann@example.org,bob@example.org", "User unknown", 550},
    {"exim",
     DAEMON "Subject: Mail delivery failed: returning message to sender\nX-Failed-Recipients: "
            "ann@example.org\n",
     "This message was created automatically by mail delivery software.\n\nA message that you sent "
     "could not be delivered to one or "
     "more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  "
     "ann@example.org\n    host "
     "mail.example.org [192.0.2.7]\n    SMTP error from remote mail server after RCPT "
     "TO:<ann@example.org>:\n    550 No such "
     "recipient\n\n------ This is a copy of the message, including all the headers. "
     "------\n\nReturn-path: "
     "<news@example.com>\nReceived: from a by b\nMessage-ID: <1@example.com>\nTo: "
     "ann@example.org\n",
     RETURNED_BOUNCE, "ann@example.org", "550 No such recipient", 550},
    {"exim, forwarded", DAEMON "Subject: Mail delivery failed: returning message to sender\n",
     "A message that you sent could not be delivered to all of its recipients. The\nfollowing "
     "address(es) failed:\n\n  "
     "ann@example.org\n    (ultimately generated from list@example.net)\n    Unrouteable address\n",
     RETURNED_BOUNCE, "ann@example.org", "Unrouteable address", 0},
    {"exim, a sender that is no recipient", DAEMON "Subject: Mail delivery failed\n",
     "This message was created automatically by mail delivery software.\n\nA message sent by\n\n  "
     "<news@example.com>\n\ncould not be "
     "delivered to one or more of its recipients. The following\naddress(es) failed:\n\n  "
     "ann@example.org\n    mailbox is full: retry "
     "timeout exceeded\n",
     RETURNED_BOUNCE, "ann@example.org", "mailbox is full", 0},
    {"exim, delayed", DAEMON "Subject: Warning: message 1aBcDe-000000-00 delayed 24 hours\n",
     "This message was created automatically by mail delivery software.\nA message that you sent "
     "has not yet been delivered to one or "
     "more of its\nrecipients after more than 24 hours on the queue on mx.example.net.\n\nThe "
     "address to which the message has not yet "
     "been delivered is:\n\n  ann@example.org\n    Delay reason: Connection timed out\n\nNo action "
     "is required on your part. Delivery "
     "attempts will continue for\nsome time, and this warning may be repeated at intervals if the "
     "message\nremains undelivered.\n",
     RETURNED_DELAYED, "ann@example.org", "Connection timed out", 0},
    {"qmail", DAEMON "Subject: failure notice\n",
     "Hi. This is the qmail-send program at mx.example.net.\nI'm afraid I wasn't able to deliver "
     "your message to the following "
     "addresses.\nThis is a permanent error; I've given up. Sorry it didn't work "
     "out.\n\n<ann@example.org>:\n192.0.2.7 does not like "
     "recipient.\nRemote host said: 553 sorry, that domain isn't in my list of allowed rcpthosts "
     "(#5.7.1)\nGiving up on "
     "192.0.2.7.\n\n<bob@example.org>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n--- Below "
     "this line is a copy of the "
     "message.\n\nReturn-Path: <news@example.com>\n",
     RETURNED_BOUNCE, "ann@example.org,bob@example.org", "553 sorry, that domain", 553},
    {"sendmail, transcript", DAEMON "Subject: Returned mail: see transcript for details\n",
     "The original message was received at Mon, 2 Mar 2026 10:00:00 GMT\nfrom mail.example.com "
     "[192.0.2.1]\n\n   ----- The following "
     "addresses had permanent fatal errors -----\n<ann@example.org>\n    (reason: 550 5.1.1 "
     "<ann@example.org>... User unknown)\n    "
     "(expanded from: <list@example.net>)\n\n   ----- Transcript of session follows -----\n... "
     "while talking to "
     "mail.example.org.:\n>>> DATA\n<<< 550 5.1.1 <ann@example.org>... User unknown\n550 5.1.1 "
     "<ann@example.org>... User "
     "unknown\n<<< 503 5.0.0 Need RCPT (recipient)\n",
     RETURNED_BOUNCE, "ann@example.org", "550 5.1.1 <ann@example.org>... User unknown", 550},
    {"sendmail of old", DAEMON "Subject: Returned mail: Host unknown\n",
     "   ----- Transcript of session follows -----\n550 <ann@host.example.org>... Host unknown "
     "(Name server: host.example.org: host not "
     "found)\n\n   ----- Unsent message follows -----\nReceived: by a; b\nFrom: "
     "news@example.com\nTo: ann@host.example.org\n",
     RETURNED_BOUNCE, "ann@host.example.org", "Host unknown", 550},
    {"exchange 5.5",
     "From: System Administrator <postmaster@example.net>\nSubject: Undeliverable: News\n",
     "Your message\n\n  To:      Ann\n  Subject: News\n  Sent:    Mon, 2 Mar 2026 10:00:00 "
     "-0000\n\ndid not reach the following "
     "recipient(s):\n\nann@example.org on Mon, 2 Mar 2026 10:00:05 -0000\n    The recipient name "
     "is not recognized\n\tThe MTS-ID of the "
     "original message is: c=us;a= ;p=x;l=Y\n    MSEXCH:IMS:X:Y:Z 0 (000C05A6) Unknown Recipient\n",
     RETURNED_BOUNCE, "ann@example.org", "The recipient name is not recognized", 0},
    {"exchange, administrators' block",
     "From: Microsoft Outlook <postmaster@example.net>\nSubject: Undeliverable: News\n",
     "Delivery has failed to these recipients or groups:\n\nAnn "
     "(ann@example.org)<mailto:ann@example.org>\nThe e-mail address you entered "
     "couldn't be found. Please check the recipient's e-mail address.\n\n\n\nDiagnostic "
     "information for administrators:\n\nGenerating "
     "server: mbx.example.net\n\nann@example.org\n#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found "
     "##\n\nOriginal message "
     "headers:\n\nReceived: from a by b\nFrom: News <news@example.com>\n",
     RETURNED_BOUNCE, "ann@example.org", "550 5.1.1 RESOLVER.ADR.RecipNotFound", 550},
    {"domino",
     "From: Postmaster@example.net\nSubject: DELIVERY FAILURE: User ann not listed in Domino "
     "Directory\n",
     "Your message\n\n  Subject: News\n\nwas not delivered to:\n\n  "
     "ann@example.org\n\nbecause:\n\n  User ann (ann@example.org) not "
     "listed in Domino Directory\n",
     RETURNED_BOUNCE, "ann@example.org", "not listed in Domino Directory", 0},
    {"notes, reason in front", DAEMON "Subject: Undeliverable message\n",
     "------- Failure Reasons  --------\n\nUser not listed in public Name & Address "
     "Book\nann@example.org\n\n\n------- Returned Message "
     "--------\n\nReceived: from a by b\nFrom: news@example.com\n",
     RETURNED_BOUNCE, "ann@example.org", "not listed in public", 0},
    {"courier",
     "From: \"Courier mail server at mx.example.net\" <@mx.example.net>\nSubject: NOTICE: mail "
     "delivery status.\n",
     "This is a delivery status notification from mx.example.net,\nrunning the Courier mail "
     "server, version 0.65.\n\nThe original message "
     "was received on Mon, 2 Mar 2026 10:00:00 +0000\nfrom mail.example.com (192.0.2.1)\n\n\n      "
     "               UNDELIVERABLE MAIL\n\nYour "
     "message to the following recipients cannot be delivered:\n\n<ann@example.org>:\n      "
     "mail.example.org [192.0.2.7]:\n>>> RCPT "
     "TO:<ann@example.org>\n<<< 550 User unknown.\n\n",
     RETURNED_BOUNCE, "ann@example.org", "550 User unknown", 550},
    {"imail", "From: \"Postmaster\" <postmaster@example.net>\nSubject: Undeliverable Mail\n",
     "Unknown user: ann@example.org\n\nRCPT TO generated following response:\n550 not local host "
     "example.org, not a gateway\n\nUnknown host: "
     "bob@example.invalid\n\nOriginal message follows.\n\nReceived: from a by b\n",
     RETURNED_BOUNCE, "ann@example.org,bob@example.invalid", "550 not local host", 550},
    {"a field of another language", DAEMON "Subject: Unzustellbar: News\n",
     "Die Nachricht konnte nicht zugestellt werden:\n\nAn: ann@example.org\nBetreff: News\n\n"
     "Grund: Der Empfänger ist unbekannt.\n",
     RETURNED_BOUNCE, "ann@example.org", "ist unbekannt", 0},
    {"a sentence of another language", DAEMON "Subject: Mensaje no entregado\n",
     "El mensaje no se pudo entregar a ann@example.org: el usuario no existe.\n", RETURNED_BOUNCE,
     "ann@example.org", "no existe", 0},
    {"the only address, in passing", DAEMON "Subject: Mail delivery failed\n",
     "The mail system of example.org found that ann at ann@example.org does not live here.\nIts "
     "keeper is postmaster@example.org.\n",
     RETURNED_BOUNCE, "ann@example.org", "", 0},
    {"headings with dashes", DAEMON "Subject: Failure to deliver mail\n",
     "------ Failed Recipient ------\nann@example.org\n\n------ Reason ------\nNo mailbox by that "
     "name\n\n------ Returned Message ------\nReceived: from a by b\n",
     RETURNED_BOUNCE, "ann@example.org", "No mailbox by that name", 0},
    {"a scanner's", "From: amavis@example.org\nSubject: VIRUS IN YOUR MAIL\n",
     "A virus was found in the message to <ann@example.org>.\nThe message was not delivered.\n",
     RETURNED_BOUNCE, "ann@example.org", "virus was found", 0},
    {"gmail of old", DAEMON "Subject: Delivery Status Notification (Failure)\n",
     "Delivery to the following recipient failed permanently:\n\n     ann@example.org\n\nTechnical "
     "details of permanent failure: \nGoogle "
     "tried to deliver your message, but it was rejected by the server for the recipient domain "
     "example.org by mail.example.org. "
     "[192.0.2.7].\n\nThe error that the other server returned was:\n550 5.1.1 <ann@example.org>: "
     "Recipient address rejected\n\n----- "
     "Original message -----\n\nReceived: by 192.0.2.1 with SMTP\n",
     RETURNED_BOUNCE, "ann@example.org", "550 5.1.1 <ann@example.org>: Recipient", 550},
    {"yahoo", "From: MAILER-DAEMON@example.com\nSubject: Failure Notice\n",
     "Sorry, we were unable to deliver your message to the following "
     "address.\n\n<ann@example.org>:\n554: 5.7.1 Message refused for policy "
     "reasons\n\n--- Below this line is a copy of the message.\n\nReceived: from a\n",
     RETURNED_BOUNCE, "ann@example.org", "Message refused", 554},
    {"groupwise", DAEMON "Subject: Message status - undeliverable\n",
     "The message that you sent was undeliverable to the following:\n\tann@example.org (user not "
     "found)\n\nPossibly truncated original "
     "message follows:\n\nReceived: from a by b\n",
     RETURNED_BOUNCE, "ann@example.org", "user not found", 0},
    {"opensmtpd",
     "From: Mailer Daemon <MAILER-DAEMON@mx.example.net>\nSubject: Delivery status notification: "
     "error\n",
     "    Hi!\n\n    This is the MAILER-DAEMON, please DO NOT REPLY to this e-mail.\n\n    An "
     "error has occurred while attempting to deliver "
     "a message for\n    the following list of recipients:\n\nann@example.org: 550 5.1.1 No such "
     "user\nbob@example.org: Envelope "
     "expired\n\n    Below is a copy of the original message:\n\nReceived: from a by b\n",
     RETURNED_BOUNCE, "ann@example.org,bob@example.org", "550 5.1.1 No such user", 550},
    {"dma", "From: MAILER-DAEMON <>\nSubject: Mail delivery failed\n",
     "This is the DragonFly Mail Agent v0.13 at mx.example.net.\n\nThere was an error delivering "
     "your mail to "
     "<ann@example.org>.\n\nmail.example.org [192.0.2.7] did not like our RCPT TO:\n550 5.1.1 User "
     "unknown\n\nMessage headers "
     "follow.\n\nReceived: from a\n",
     RETURNED_BOUNCE, "ann@example.org", "550 5.1.1 User unknown", 550},
    {"mailenable", "From: Postmaster@example.net\nSubject: Message Delivery Failure\n",
     "MailEnable: Message could not be delivered to some recipients.\n\nThe following recipient(s) "
     "could not be reached:\n\n\tRecipient: "
     "[SMTP:ann@example.org]\n\tReason:    Remote SMTP Server Returned: 550 unknown "
     "user\n\n\nMessage headers follow:\n\nReceived: from a by "
     "b\n",
     RETURNED_BOUNCE, "ann@example.org", "550 unknown user", 550},
    {"hmailserver", DAEMON "Subject: Message undeliverable: News\n",
     "Your message did not reach some or all of the intended recipients.\n\n   Sent: Mon, 2 Mar "
     "2026 10:00:00 +0000\n   Subject: "
     "News\n\nThe following recipient(s) could not be reached:\n\nann@example.org\n   Error Type: "
     "SMTP\n   Remote server (192.0.2.7) issued "
     "an error.\n   hMailServer sent: RCPT TO:<ann@example.org>\n   Remote server replied: 550 "
     "5.1.1 No such user\n\nhMailServer\n",
     RETURNED_BOUNCE, "ann@example.org", "550 5.1.1 No such user", 550},
    {"surgemail", DAEMON "Subject: Undelivered mail\n",
     "Your message cannot be delivered to the following recipients:\n\n  Recipient address: "
     "ann@example.org\n  Reason: Remote SMTP server has "
     "rejected address\n  Diagnostic code: smtp;550 5.1.1 unknown or illegal alias\n  Remote "
     "system: dns;mail.example.org\n",
     RETURNED_BOUNCE, "ann@example.org", "550 5.1.1 unknown", 550},
    {"compuserve of old",
     "From: Electronic Postmaster <postmaster@example.net>\nSubject: Undeliverable Message\n",
     "Receiver not found: ann\n\n\nYour message could not be delivered as addressed.\n\n--- "
     "Returned message ---\n\nReceived: from x by y for "
     "<ann@example.org>; Mon, 2 Mar 2026 10:00:00 +0000\nFrom: news@example.com\nTo: "
     "ann@example.org\n",
     RETURNED_BOUNCE, "ann@example.org", "Receiver not found", 0},
    {"undeliverable address",
     "From: mailer-daemon@example.net\nSubject: Mail could not be delivered\n",
     "The following mail could not be delivered for the reason below.\n\nUndeliverable Address:  "
     "ann@example.org\n\nReason: mailbox "
     "disabled\n\nOriginal message attached.\n",
     RETURNED_BOUNCE, "ann@example.org", "mailbox disabled", 0},
    {"address in the subject only",
     "From: postmaster@example.net\nSubject: Undeliverable: ann@example.org\n",
     "Unable to deliver the message due to a communications failure.\n\n----- Original message "
     "-----\n\nReceived: from a by b\nFrom: "
     "news@example.com\nTo: ann@example.org\n",
     RETURNED_BOUNCE, "ann@example.org", "communications failure", 0},
    {"dovecot",
     "From: Mail Delivery Subsystem <postmaster@example.org>\nSubject: Rejected: "
     "News\nAuto-Submitted: auto-replied (rejected)\n",
     "Your message to <ann@example.org> was automatically rejected:\nQuota exceeded (mailbox for "
     "user is full)\n",
     RETURNED_BOUNCE, "ann@example.org", "Quota exceeded", 0},
    {"one text for a list of addresses", DAEMON "Subject: Delivery failure\n",
     "Delivery to the following recipients failed:\n\n  ann@example.org\n  bob@example.org\n  "
     "cid@example.org\n\nThe domain does not "
     "exist.\n",
     RETURNED_BOUNCE, "ann@example.org,bob@example.org,cid@example.org",
     "The domain does not exist", 0},
    {"german", "From: postmaster@example.de\nSubject: Unzustellbar: Neues\n",
     "Ihre Nachricht\n\n  An:      Ann\n  Betreff: Neues\n\nkonnte nicht zugestellt werden an:\n\n "
     " ann@example.de\n\nDer Empfänger ist "
     "unbekannt.\n",
     RETURNED_BOUNCE, "ann@example.de", "unbekannt", 0},
    {"french", "From: postmaster@example.fr\nSubject: Non remis : Nouvelles\n",
     "Votre message n'a pas pu être remis aux destinataires suivants :\n\nann@example.fr\nAdresse "
     "inconnue\n",
     RETURNED_BOUNCE, "ann@example.fr", "Adresse inconnue", 0},
    {"spanish", "From: postmaster@example.es\nSubject: No se puede entregar: Noticias\n",
     "No se pudo entregar el mensaje a estos destinatarios:\n\nann@example.es\nEl buzón no "
     "existe\n",
     RETURNED_BOUNCE, "ann@example.es", "no existe", 0},
    {"russian",
     "From: mailer-daemon@example.ru\nSubject: =?utf-8?B?0J3QtSDQtNC+0YHRgtCw0LLQu9C10L3Qvg==?=\n",
     "К сожалению, Ваше письмо не может быть доставлено получателю:\n\n  ann@example.ru\n    550 "
     "Пользователь не найден\n",
     RETURNED_BOUNCE, "ann@example.ru", "550", 550},
    {"chinese, text right at the address",
     "From: postmaster@example.cn\nSubject: =?utf-8?B?6YCA5L+h?=\n",
     "您的邮件无法送达收件人ann@example.cn。原因：550 User not found\n", RETURNED_BOUNCE,
     "ann@example.cn", "550 User not found", 550},
    {"japanese in iso-2022-jp",
     "From: postmaster@example.jp\nSubject: Mail System Error - Returned Mail\nContent-Type: "
     "text/plain; charset=iso-2022-jp\n",
     "\033$B08@h%a!<%k%\"%I%l%9$,8+$D$+$j$^$;$s\033(B\n\n<ann@example.jp>\n", RETURNED_BOUNCE,
     "ann@example.jp", "見つかりません", 0},
    {"html alone", DAEMON "Subject: Delivery failure\nContent-Type: text/html\n",
     "<html><body><p>Your message could not be delivered "
     "to:</p><p>&lt;ann@example.org&gt;</p><p>User&nbsp;unknown &amp; "
     "gone</p></body></html>",
     RETURNED_BOUNCE, "ann@example.org", "User unknown & gone", 0},
    {"quoted-printable",
     DAEMON "Subject: failure notice\nContent-Type: text/plain; "
            "charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n",
     "Your message could not be delivered:\n\n<ann@exam=\nple.org>:\nBo=EEte pleine=2E\n",
     RETURNED_BOUNCE, "ann@example.org", "Boîte pleine.", 0},
    {"base64", DAEMON "Subject: failure notice\nContent-Transfer-Encoding: base64\n",
     "WW91ciBtZXNzYWdlIGNvdWxkIG5vdCBiZSBkZWxpdmVyZWQ6Cgo8YW5uQGV4YW1wbGUub3Jn\nPjoKNTUwIFVzZXIgdW5"
     "rbm93bgo=\n",
     RETURNED_BOUNCE, "ann@example.org", "550 User unknown", 550},
};

static struct slice join_header(struct arena *arena, const struct sample *sample)
{
    struct slice parts[] = {slice_cstr(sample->header),
                            SLICE("To: news@example.com\nDate: Mon, 2 Mar 2026 10:00:10 +0000\n\n"),
                            slice_cstr(sample->body)};
    char *out = arena_try_alloc(arena, parts[0].len + parts[1].len + parts[2].len);
    assert_non_null(out);
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        memcpy(out + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    return slice_of(out, len);
}

static unsigned check_recipients(const struct sample *sample, const struct returned_mail *mail)
{
    unsigned wrong = 0;
    struct slice rest = slice_cstr(sample->recipients);
    size_t count = 0;
    while (rest.ptr != NULL) {
        struct slice wanted = slice_cut(&rest, ',');
        if (count >= mail->recipient_count || !slice_eq(mail->recipients[count].address, wanted)) {
            struct slice got =
                count < mail->recipient_count ? mail->recipients[count].address : SLICE("nobody");
            print_error("%s: recipient %zu is %.*s, not %.*s\n", sample->name, count,
                        SLICE_FMT(got), SLICE_FMT(wanted));
            wrong++;
        }
        count++;
    }
    if (mail->recipient_count != count) {
        print_error("%s: %zu recipients, not %zu\n", sample->name, mail->recipient_count, count);
        wrong++;
    }
    return wrong;
}

static unsigned check_sample(const struct sample *sample)
{
    struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
    struct returned_mail mail;
    struct fault fault = {0};
    unsigned wrong = 0;
    assert_true(returned_mail_read(arena, join_header(arena, sample), &mail, &fault));
    if (mail.kind != sample->kind) {
        print_error("%s: kind %s, not %s\n", sample->name, returned_kind_name(mail.kind),
                    returned_kind_name(sample->kind));
        wrong++;
    }
    wrong += check_recipients(sample, &mail);
    struct slice text = mail.recipient_count > 0 ? mail.recipients[0].text : SLICE("");
    uint16_t code = mail.recipient_count > 0 ? mail.recipients[0].code : 0;
    if (slice_find(text, slice_cstr(sample->text)) < 0 || code != sample->code) {
        print_error("%s: text \"%.*s\" with code %u\n", sample->name, SLICE_FMT(text), code);
        wrong++;
    }
    arena_free(&arena);
    return wrong;
}

static void test_samples(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        wrong += check_sample(&samples[i]);
    }
    assert_int_equal(wrong, 0);
}

static void read_one(struct arena *arena, const char *text, struct returned_mail *mail)
{
    struct fault fault = {0};
    assert_true(returned_mail_read(arena, slice_cstr(text), mail, &fault));
}

static void test_originals(void **state)
{
    (void)state;
    struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
    struct returned_mail mail;
    read_one(arena,
             DAEMON
             "To: bounce+ann=example.org@example.com\nSubject: failure "
             "notice\n\n<ann@example.org>:\nUser unknown\n    (expanded from: "
             "<list@example.net>)\n\n--- Below this line is a copy of the message.\n\nReturn-Path: "
             "<bounce+ann=example.org@example.com>\nReceived: from a\nFrom: News "
             "<news@example.com>\nTo: list@example.net\nMessage-ID: "
             "<42@example.com>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nFeedback-ID: "
             "spring:shop7:mail:sluice\n\nHello\n",
             &mail);
    assert_int_equal(mail.recipient_count, 1);
    assert_true(slice_eq(mail.recipients[0].original, SLICE("list@example.net")));
    assert_true(slice_eq(mail.original.message_id, SLICE("<42@example.com>")));
    assert_true(slice_eq(mail.original.from, SLICE("news@example.com")));
    assert_true(slice_eq(mail.original.to, SLICE("list@example.net")));
    assert_true(slice_eq(mail.original.subject, SLICE("Grüße")));
    assert_true(slice_eq(mail.original.campaign, SLICE("spring")));
    assert_true(slice_eq(mail.original.tenant, SLICE("shop7")));
    assert_true(slice_eq(mail.original.return_path, SLICE("bounce+ann=example.org@example.com")));
    assert_true(slice_eq(mail.original.verp, SLICE("bounce+ann=example.org@example.com")));
    arena_free(&arena);
}

/* People write of bounces too. */
static void test_people(void **state)
{
    (void)state;
    static const char *const LETTERS[] = {
        "From: Ann <ann@example.org>\nTo: help@example.com\nSubject: question\n\nHello, my mail to "
        "bob@example.net could not be delivered. What "
        "can I do?\n\nAnn\n",
        "From: Ann <ann@example.org>\nTo: help@example.com\nIn-Reply-To: <1@example.com>\nSubject: "
        "Re: Undelivered Mail Returned to "
        "Sender\n\nIt works now.\n\n> <bob@example.net>: User unknown\n",
        "From: Ann <ann@example.org>\nTo: news@example.com\nSubject: Re: News\n\nPlease send it to "
        "bob@example.org too.\n",
        "From: Shop <shop@example.org>\nTo: news@example.com\nSubject: Delivery of your "
        "order\n\nYour parcel will arrive tomorrow.\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(LETTERS); i++) {
        struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
        struct returned_mail mail;
        read_one(arena, LETTERS[i], &mail);
        assert_int_equal(mail.kind, RETURNED_NOT_A_BOUNCE);
        assert_int_equal(mail.recipient_count, 0);
        arena_free(&arena);
    }
}

/* A transcript with the time in front of each line: the reply is one line of it. */
static void test_transcript(void **state)
{
    (void)state;
    struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
    struct returned_mail mail;
    read_one(arena,
             DAEMON "Subject: Permanent Delivery Failure\n\n"
                    "The attached message had PERMANENT fatal delivery errors!\n\n"
                    "Failed address: ann@example.org\n\n--- Session Transcript ---\n"
                    " Mon 2024-01-01 00:00:01: --> RCPT To:<ann@example.org>\n"
                    " Mon 2024-01-01 00:00:02: <-- 550 no such user here\n"
                    " Mon 2024-01-01 00:00:02: --> QUIT\n--- End Transcript ---\n\n"
                    ": Message contains [1] file attachments\n",
             &mail);
    assert_int_equal(mail.recipient_count, 1);
    assert_true(slice_eq(mail.recipients[0].address, SLICE("ann@example.org")));
    assert_true(slice_eq(mail.recipients[0].text, SLICE("550 no such user here")));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_originals),
        cmocka_unit_test(test_people),
        cmocka_unit_test(test_transcript),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
