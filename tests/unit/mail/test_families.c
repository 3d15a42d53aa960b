/*
 * Whole notices, a short one for each family that test_notice.c does not have: mail systems of
 * other languages, gateways, and letters of people and shops that look like notices. All written
 * for this test.
 */
#include "unit/mail/letters.h"

static const struct letter letters[] = {
    {"ex2000 de",
     "From: Systemadministrator\nSubject: Unzustellbar: Neues\n\nIhre Nachricht hat einige oder "
     "alle Empfänger nicht erreicht.\n\n      Betreff:\tNeues\n      Gesendet am:\t03.03.2009 "
     "10:00\n\nFolgende Empfänger konnten nicht erreicht werden:\n\n      ann@example.org am "
     "03.03.2009 10:00\n            Dieses E-Mail-Konto ist in der Organisation, an die diese "
     "Nachricht gesendet wurde, nicht vorhanden.  Überprüfen Sie die E-Mail-Adresse, oder wenden "
     "Sie sich direkt an den Empfänger, um die richtige Adresse zu ermitteln.\n            "
     "<mx.example.net #5.1.1>\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"ex2000 fr",
     "From: Administrateur système\nSubject: Non remis : Nouvelles\n\nVotre message n'a pas été "
     "remis à certains ou à tous ses destinataires.\n\n      Objet :\tNouvelles\n      Date "
     ":\t03/03/2009 10:00\n\nImpossible de joindre le(s) destinataire(s) suivant(s) :\n\n      "
     "ann@example.org le 03/03/2009 10:00\n            Le compte de messagerie n'existe pas dans "
     "l'organisation à laquelle ce message a été envoyé.\n            <mx.example.net #5.1.1>\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"ex2000 es",
     "From: Administrador del sistema\nSubject: No se puede entregar: Novedades\n\nAlgunos de los "
     "destinatarios no recibieron su mensaje.\n\n      Asunto:\tNovedades\n      Enviado "
     "el:\t03/03/2009 10:00\n\nNo se puede localizar a los destinatarios siguientes:\n\n      "
     "ann@example.org el 03/03/2009 10:00\n            La cuenta de correo electrónico no existe "
     "en la organización a la que se envió este mensaje.\n            <mx.example.net #5.1.1>\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"ex2000 it",
     "From: Amministratore di sistema\nSubject: Non recapitabile: Novità\n\nIl messaggio non è "
     "stato recapitato ad alcuni o a tutti i destinatari.\n\n      Oggetto:\tNovità\n      "
     "Inviato:\t03/03/2009 10.00\n\nImpossibile raggiungere i destinatari seguenti:\n\n      "
     "ann@example.org in data 03/03/2009 10.00\n            L'account di posta elettronica non "
     "esiste nell'organizzazione a cui è stato inviato il messaggio.\n            <mx.example.net "
     "#5.1.1>\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"ex2000 pt",
     "From: Administrador do sistema\nSubject: Não entregue: Novidades\n\nA mensagem não chegou a "
     "alguns ou a todos os destinatários pretendidos.\n\n      Assunto:\tNovidades\n\nNão foi "
     "possível contactar os seguintes destinatários:\n\n      ann@example.org em 03-03-2009 "
     "10:00\n            A conta de e-mail não existe na organização para a qual esta mensagem foi "
     "enviada.\n            <mx.example.net #5.1.1>\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"ex2000 nl",
     "From: Systeembeheerder\nSubject: Onbestelbaar: Nieuws\n\nUw bericht is niet aangekomen bij "
     "sommige of alle geadresseerden.\n\n      Onderwerp:\tNieuws\n\nDe volgende geadresseerden "
     "konden niet worden bereikt:\n\n      ann@example.org op 3-3-2009 10:00\n            Het "
     "e-mailaccount bestaat niet in de organisatie waarnaar dit bericht is verzonden.\n            "
     "<mx.example.net #5.1.1>\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"o365 new",
     "From: postmaster@example.com\nSubject: Undeliverable: Spring "
     "news\n\n[https://products.office.com/logo.png]\nYour message to ann@example.org couldn't be "
     "delivered.\nann wasn't found at example.org.\nnews  \tOffice 365  \tann\nAction "
     "Required\t\t\tRecipient\n\nUnknown To address\n\nHow to Fix It\nThe address may be "
     "misspelled or may not exist. Try one or more of the following:\n  *   Send the message again "
     "following these steps\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"groupwise po",
     "From: <Postmaster@example.org>\nTo: news@example.com\nSubject: Message status - "
     "undeliverable\nX-Mailer: Novell GroupWise Internet Agent 6.0\n\nThe message that you sent "
     "was undeliverable to the following:\n\tann (User not on post office)\n",
     RETURNED_BOUNCE, ""},
    {"hmail",
     "From: mailer-daemon@mx.example.net\nSubject: Message undeliverable: Spring news\n\nYour "
     "message did not reach some or all of the intended recipients.\n\n   Sent: Tue, 3 Mar 2009 "
     "10:00:00 +0100\n   Subject: Spring news\n\nThe following recipient(s) could not be "
     "reached:\n\nann@example.org\n   Error Type: SMTP\n   Remote server (192.0.2.5) issued an "
     "error.\n   hMailServer sent: RCPT TO:<ann@example.org>\n   Remote server replied: 550 "
     "unknown user\n\n\nhMailServer\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"james",
     "From: postmaster@mx.example.net\nSubject: [BOUNCE]\n\nHi. This is the James mail server at "
     "mx.example.net.\nI'm afraid I wasn't able to deliver your message to the following "
     "addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out. Below\nI "
     "include the list of recipients and the reason why I was unable to deliver\nyour "
     "message.\n\nFailed recipient(s):\nann@example.org\n\nError message:\n550 5.1.1 User "
     "unknown\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"pmdf quota2",
     "From: postmaster@mx.example.net\nSubject: Delivery Notification: Delivery has failed\n\nYour "
     "message cannot be delivered to the following recipients:\n\n  Recipient address: "
     "ann@example.org\n  Reason: recipient reached disk quota\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"gmail new",
     "From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>\nSubject: Delivery Status "
     "Notification (Failure)\n\n** Address not found **\n\nYour message wasn't delivered to "
     "ann@example.org because the address couldn't be found, or is unable to receive "
     "mail.\n\nLearn more here: https://support.google.com/mail/?p=NoSuchUser\n\nThe response "
     "was:\n\nThe email account that you tried to reach does not exist. Please try double-checking "
     "the recipient's email address for typos.\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"gmail delay",
     "From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>\nSubject: Delivery Status "
     "Notification (Delay)\n\n** Delivery incomplete **\n\nThere was a temporary problem "
     "delivering your message to ann@example.org. Gmail will retry for 47 more hours. You'll be "
     "notified if the delivery fails permanently.\n",
     RETURNED_DELAYED, "ann@example.org"},
    {"mail.ru",
     "From: mailer-daemon@corp.example.ru\nSubject: Mail failure.\n\nЭто письмо создано "
     "автоматически сервером example.ru, отвечать на него не нужно.\n\nК сожалению, Ваше письмо не "
     "может быть доставлено одному или нескольким получателям:\n\nann@example.org\nтакого "
     "пользователя не существует\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"163",
     "From: Postmaster@163.example\nSubject: "
     "系统退信\n\n抱歉，您的邮件被退回来了……\n\n原邮件信息：\n时间\t2019-03-03 "
     "10:00:00\n主题\tnews\n收件人\tann@example."
     "org\n退信原因\t\n邮件投递到对方服务器时被拒：收件人不存在\n550 User not found: "
     "ann@example.org\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"seznam",
     "From: mailer-daemon@seznam.example\nSubject: Nedoručitelná zpráva\n\nVaše zpráva nebyla "
     "doručena následujícímu příjemci:\n\n   ann@example.org\n\nDůvod: schránka neexistuje\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"orange",
     "From: postmaster@orange.example\nSubject: Message non distribué\n\nVotre message n'a pas pu "
     "être remis au destinataire suivant :\n\n<ann@example.org>\n\nRaison : adresse inconnue\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"naver",
     "From: MAILER-DAEMON@naver.example\nSubject: [배달 실패] news\n\n보내신 메일이 아래의 이유로 "
     "전송되지 못했습니다.\n\n받는 사람: ann@example.org\n사유: 존재하지 않는 사용자입니다.\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"mailmarshal",
     "From: MailMarshal <postmaster@example.org>\nSubject: MailMarshal has detected a possible "
     "problem\n\nMailMarshal (an automated content monitoring gateway) has stopped the following "
     "email for the following reason:\nIt contains an attachment of a type that is not "
     "allowed.\n\nMessage: B4.0001\nFrom: news@example.com\nTo: ann@example.org\nSubject: news\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"barracuda",
     "From: postmaster@example.org\nSubject: **Message you sent blocked by our bulk email "
     "filter**\n\nYour message to: ann@example.org\nwas blocked by our Spam Firewall. The email "
     "you sent with the following subject has NOT BEEN DELIVERED:\n\nSubject: Spring news\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"mailscanner virus",
     "From: MailScanner <postmaster@example.org>\nSubject: Warning: E-mail viruses detected\n\nOur "
     "virus detector has just been triggered by a message you sent:-\n  To: ann@example.org\n  "
     "Subject: hello\n  Date: Tue Mar 3 10:00:00 2009\n\nOne or more of the attachments "
     "(photo.scr) are on the list of unacceptable attachments for this site and will not have been "
     "delivered.\n\nReport: W32/Netsky virus in photo.scr\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"amavis virus",
     "From: amavisd-new <postmaster@example.org>\nSubject: VIRUS (Worm.X) IN MAIL FROM "
     "YOU\n\nVIRUS ALERT\n\nOur content checker found\n    virus: Worm.X\n\nin your email to the "
     "following recipient:\n-> ann@example.org\n\nDelivery of the email was stopped!\n\nPlease "
     "check your system for viruses\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"virus checker",
     "From: virusalert@example.org\nSubject: Virus found in your mail to ann@example.org\n\nV I R "
     "U S  A L E R T\n\nOur scanner found a virus in a mail that you sent to "
     "<ann@example.org>.\nDelivery of the mail was stopped.\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"dovecot dsn subj",
     "From: Mail Delivery Subsystem <postmaster@example.org>\nSubject: Automatically rejected "
     "mail\n\nYour message was automatically rejected by Dovecot Mail Delivery Agent.\n\nThe "
     "following reason was given:\nQuota exceeded for ann@example.org\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"cyrus sieve",
     "From: Mail Sieve Subsystem <postmaster@example.org>\nSubject: Automatically rejected "
     "mail\n\nYour message was automatically rejected by Sieve, a mail filtering language.\n\nThe "
     "following reason was given:\nI do not want your mail.\n",
     RETURNED_BOUNCE, ""},
    {"xgen",
     "From: postmaster@example.org\nSubject: failure delivery [550 Mailbox is full]\n\nThe message "
     "was undelivered.\n\n[550 Mailbox is full]\n\nThat was the answer to [RCPT TO: "
     "<ann@example.org>]\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"exim undisclosed",
     "From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>\nSubject: Mail delivery failed: "
     "returning message to sender\n\nThis message was created automatically by mail delivery "
     "software.\n\nA message that you sent could not be delivered to one or more of "
     "its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  an "
     "undisclosed address\n    (generated from ann@example.org)\n\nThe following text was "
     "generated during the delivery attempt:\n\n------ an undisclosed address\n       (generated "
     "from ann@example.org) ------\n\nMail quota exceeded.\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"exim malformed",
     "From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>\nSubject: Mail failure - "
     "malformed recipient address\n\nA message that you sent contained a recipient address that "
     "was incorrectly\nconstructed:\n\n  ann  unqualified recipient address not allowed\n\nThe "
     "message has not been delivered to any recipients.\n",
     RETURNED_BOUNCE, ""},
    {"b1gmail",
     "From: Mail Delivery System <postmaster@example.org>\nSubject: Mail delivery failed\n\nWe got "
     "your message at 10:12.\n\n   ----- What went wrong -----\nThere are no valid recipients for "
     "this message.\n",
     RETURNED_BOUNCE, ""},
    {"msmail",
     "From: System Administrator <postmaster@example.org>\nSubject: Undeliverable: Hello\n\nYour "
     "Message\n\n   To:      'ann@example.org'\n  Subject:  Hello\n\nWas not delivered, for these "
     "reasons:\n\n  Gateway MS:NORTH/PO2/ANN gave no reason.\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"iis de",
     "From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>\nSubject: Delivery Status "
     "Notification (Failure)\n\nDies ist eine automatisch erstellte Benachrichtigung über den "
     "Zustellstatus.\n\nÜbermittlung an folgende Empfänger fehlgeschlagen.\n\n       "
     "ann@example.org\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"closed reply",
     "From: donotreply@example.org\nTo: news@example.com\nSubject: RE: Spring news\n\nWe thank you "
     "for writing, but this mailbox is no longer read by anybody.\n",
     RETURNED_AUTO_REPLY, "donotreply@example.org"},
    {"ooo lv",
     "From: Ann <ann@example.org>\nTo: <news@example.com>\nSubject: Automatiska atbilde: Spring "
     "news\n\nI shall be in the office again on the third of May.\n",
     RETURNED_AUTO_REPLY, "ann@example.org"},
    {"g shop",
     "From: Shop <noreply@shop.example>\nSubject: Your order 1234\n\nYour e-mail address has been "
     "confirmed.\nThe recipient will get the parcel tomorrow. If it cannot be delivered it is "
     "returned to sender.\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"g shop2",
     "From: Shop <service@shop.example>\nTo: news@example.com\nSubject: Payment\n\nUnfortunately, "
     "your payment was rejected. Please check your account at service@shop.example.\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"g ticket",
     "From: Help <help@shop.example>\nTo: news@example.com\nSubject: [Ticket 123] received\n\nYour "
     "message to help@shop.example has been received. We will answer soon.\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"g parcel",
     "From: Post <parcel@post.example>\nTo: news@example.com\nSubject: Your parcel\n\nDelivery "
     "failed today because nobody was at home. Your parcel could not be delivered. Call 0800 or "
     "write to parcel@post.example.\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"g fwd",
     "From: Bob <bob@example.com>\nTo: help@example.com\nSubject: Fwd: Undelivered Mail Returned "
     "to Sender\nIn-Reply-To: <2@example.com>\n\nHi, what is this?\n\n> This is the mail system at "
     "host mx.example.net.\n> <ann@example.org>: 550 5.1.1 User unknown\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"g quote",
     "From: Bob <bob@example.com>\nTo: help@example.com\nSubject: mail problem\n\nHello,\n\nI get "
     "this when I write to Ann:\n\nThis is the mail system at host "
     "mx.example.net.\n\n<ann@example.org>: 550 5.1.1 User unknown\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"g list probe",
     "From: list-help@lists.example.org\nTo: news@example.com\nSubject: ezmlm warning\n\nHi! This "
     "is the ezmlm program. I'm managing the list@lists.example.org mailing list.\n\nMessages to "
     "you from the list seem to have been bouncing.\n\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"mdn deleted",
     "From: ann@example.org\nTo: news@example.com\nSubject: Not read: Spring news\nMIME-Version: "
     "1.0\nContent-Type: multipart/report; report-type=disposition-notification; "
     "boundary=b\n\n--b\nContent-Type: text/plain\n\nYour message\n\n   To: ann@example.org\n   "
     "Subject: Spring news\n\nwas deleted without being read on Tue.\n\n--b\nContent-Type: "
     "message/disposition-notification\n\nFinal-Recipient: rfc822;ann@example.org\nDisposition: "
     "manual-action/MDN-sent-manually; deleted\n\n--b--\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"dovecot mdn quota",
     "From: Mail Delivery Subsystem <postmaster@example.org>\nTo: news@example.com\nSubject: "
     "Automatically rejected mail\nMIME-Version: 1.0\nContent-Type: multipart/report; "
     "report-type=disposition-notification; boundary=b\n\n--b\nContent-Type: text/plain\n\nYour "
     "message was automatically rejected by Dovecot Mail Delivery Agent.\n\nThe following reason "
     "was given:\nQuota exceeded\n\n--b\nContent-Type: "
     "message/disposition-notification\n\nReporting-UA: mx.example.org; Dovecot Mail Delivery "
     "Agent\nFinal-Recipient: rfc822; ann@example.org\nDisposition: "
     "automatic-action/MDN-sent-automatically; deleted\n\n--b\nContent-Type: "
     "message/rfc822\n\nFrom: news@example.com\nTo: ann@example.org\n\n--b--\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"html o365",
     "From: Microsoft Outlook <MicrosoftExchange@example.com>\nTo: news@example.com\nSubject: "
     "Undeliverable: x\nMIME-Version: 1.0\nContent-Type: text/html; "
     "charset=utf-8\n\n<html><body><p><b>Delivery has failed to these recipients or "
     "groups:</b></p><p><a href=\"mailto:ann@example.org\">ann@example.org</a></p><p>The email "
     "address you entered couldn't be found. Please check the recipient's email address and try to "
     "resend the message.</p></body></html>\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"g monitoring",
     "From: monitor@example.com\nTo: ops@example.com\nSubject: Alert\n\nMail queue: 5 messages to "
     "ann@example.org: 550 5.1.1 User unknown\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"g log",
     "From: root@example.com\nTo: root@example.com\nSubject: Logwatch for mx\n\nUnknown users:\n   "
     "ann@example.org: 3 times\n   550 5.1.1 User unknown: 3 Times\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"g human re",
     "From: bob@example.com\nTo: news@example.com\nSubject: Re: Undeliverable: Spring "
     "news\nIn-Reply-To: <1@x>\n\nOk, resend please.\n\n-----Original Message-----\nFrom: Mail "
     "Delivery\nYour message to ann@example.org couldn't be delivered. ann wasn't found at "
     "example.org.\n",
     RETURNED_NOT_A_BOUNCE, ""},
    {"iis utf7",
     "From: postmaster@mx.example.net\nTo: news@example.com\nSubject: "
     "=?unicode-1-1-utf-7?Q?Benachrichtigung_+APw-ber_Zustellungsfehler?=\nMIME-Version: "
     "1.0\nContent-Type: text/plain; charset=unicode-1-1-utf-7\n\nDies ist eine automatisch "
     "erstellte Benachrichtigung +APw-ber den Zustellstatus.\n\n+ANw-bermittlung an folgende "
     "Empf+AOQ-nger fehlgeschlagen.\n\n       ann@example.org\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"wrapped fr",
     "From: Serveur de courrier <mta-mail@example.net>\nTo: news@example.com\nSubject: "
     "Retour\n\nVotre message N’A PAS\nÉTÉ remis à ce destinataire :\n\n<ann@example.org>: adresse "
     "inconnue\n",
     RETURNED_BOUNCE, "ann@example.org"},
};

static void test_letters(void **state)
{
    (void)state;
    letters_check(letters, ARRAY_LEN(letters));
}

/* The text of a recipient is the reply alone: no label, no field of the original, no alias. */
static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reply;
    } MAILS[] = {
        {"From: mailer-daemon@mx.example.net\nSubject: Delivery Status Notification (Failure)\n\n"
         "Delivery to the following recipient failed permanently:\n\n     ann@example.org\n\n"
         "Technical details of permanent failure:\nThe mailbox is full\n",
         "The mailbox is full"},
        {"From: mailer-daemon@mx.example.net\nSubject: Undelivered Mail Returned to Sender\n\n"
         "<ann@example.org> (expanded from <list@example.com>): unknown user: \"ann\"\n",
         "unknown user: \"ann\""},
        {"From: postmaster@example.org\nSubject: failure delivery\n\nThe message came back.\n\n"
         "[550 Mailbox is full]\n\nIn Response of [RCPT TO: <ann@example.org>]\n",
         "550 Mailbox is full]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(MAILS); i++) {
        struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
        struct returned_mail mail;
        letter_read(arena, MAILS[i].text, &mail);
        assert_int_equal(mail.recipient_count, 1);
        assert_true(slice_eq(mail.recipients[0].address, SLICE("ann@example.org")));
        if (!slice_eq(mail.recipients[0].text, slice_cstr(MAILS[i].reply))) {
            fail_msg("mail %zu: \"%.*s\"", i, SLICE_FMT(mail.recipients[0].text));
        }
        arena_free(&arena);
    }
}

/* The alias that led to the address is the one that we wrote to. */
static void test_alias(void **state)
{
    (void)state;
    struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
    struct returned_mail mail;
    letter_read(
        arena,
        "From: mailer-daemon@mx.example.net\nSubject: Undelivered Mail Returned to Sender\n\n"
        "<ann@example.org> (expanded from <list@example.com>): unknown user: \"ann\"\n",
        &mail);
    assert_int_equal(mail.recipient_count, 1);
    assert_true(slice_eq(mail.recipients[0].original, SLICE("list@example.com")));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_alias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
