/*
 * Notices that lost their header, or all of it but a field: what logs and tickets keep. All written
 * for this test.
 */
#include "unit/mail/letters.h"

static const struct letter letters[] = {
    {"postfix",
     "This is the mail system at host mx.example.net.\n\nI'm sorry to have to inform you that your "
     "message could not\nbe delivered to one or more recipients. It's attached "
     "below.\n\n<ann@example.org>: connect to mx.example.org[192.0.2.1]:25: Connection timed out\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"postfix alias",
     "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\n\nThis is the mail system at host "
     "mx.example.net.\n\n<ann@example.org> (expanded from <list@example.com>): host\n    "
     "mx.example.org[192.0.2.1] said: 550 5.1.1 User unknown (in reply to RCPT TO\n    command)\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"exim",
     "This message was created automatically by mail delivery software.\n\nA message that you sent "
     "could not be delivered to one or more of its\nrecipients. This is a permanent error. The "
     "following address(es) failed:\n\n  ann@example.org\n    550 5.1.1 User unknown\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"qmail",
     "Hi. This is the qmail-send program at mx.example.net.\nI'm afraid I wasn't able to deliver "
     "your message to the following addresses.\nThis is a permanent error; I've given up. Sorry it "
     "didn't work out.\n\n<ann@example.org>:\nSorry, no mailbox here by that name. (#5.1.1)\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"o365",
     "Your message to ann@example.org couldn't be delivered.\n\nann wasn't found at example.org.\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"report",
     "Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; ann@example.org\nAction: "
     "failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"parts",
     "--b1=_42\nContent-Type: text/plain\n\nThis is the mail system at host "
     "mx.example.net.\n\n<ann@example.org>: unknown user: \"ann\"\n\n--b1=_42\nContent-Type: "
     "message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; "
     "ann@example.org\nAction: failed\nStatus: 5.1.1\n\n--b1=_42--\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"warning",
     "X-Notice: warn\n\n    ==================================\n     THIS IS A WARNING MESSAGE "
     "ONLY, NOTHING NEEDS TO BE DONE\n    ==================================\n\nA temporary error "
     "occurred while delivering to these addresses:\n\n  <ann@example.org>: 451 4.3.0 Disk is "
     "busy\n",
     RETURNED_DELAYED, "ann@example.org"},
    {"outlook es",
     "De: postmaster@mx.example.net\nAsunto: Aviso (error)\nAlgunos de los destinatarios no "
     "recibieron su mensaje.\n      Asunto: Novedades\nNo se puede localizar a estos "
     "destinatarios:\n      ann@example.org el 7/3/2024 10:12\n            mx: 550 192.0.2.1 is on "
     "our block list\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"delivered",
     "Von: Systemadministrator\nAn: Muster, Ann\nBetreff: Zugestellt: Neues\n\nIhre "
     "Nachricht\n\nBetreff: Neues\n\nwurde an folgende Personen übermittelt:\n\nMuster, Ann am "
     "7.3.2024 10:12\n",
     RETURNED_DELIVERED, ""},
    {"netscape",
     "This Message was undeliverable due to the following reason:\n\nEach of the following "
     "recipients was rejected by a remote mail server.\nThe reasons given by the server are "
     "included to help you determine why\neach recipient was rejected.\n\n    Recipient: "
     "<ann@example.org>\n    Reason:    <ann@example.org>... User unknown\n\n\nPlease reply to "
     "Postmaster@mx.example.net\nif you feel this message to be in error.\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"smail",
     "|------------------------- Message log follows: -------------------------|\n no valid "
     "recipients were found for this message\n|------------------------- Failed addresses follow: "
     "---------------------|\n <ann@example.org> ... unknown user\n|------------------------- "
     "Message text follows: ------------------------|\nReceived: from x\nFrom: news@example.com\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"xmail",
     "[<00>] XMail bounce: Rcpt=[ann@example.org];Error=[550 Unknown user]\n\n\n[<01>] Error "
     "sending message [1234] from [mx.example.net].\n\nID:        <S1234>\nMail From: "
     "<news@example.com>\nRcpt To:   <ann@example.org>\nServer:    <mx.example.org> "
     "[192.0.2.1]\n\n\n[<02>] The reason of the delivery failure was:\n\n550 Unknown "
     "user\n\n\n[<04>] Here is listed the initial part of the message:\n\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"ironport",
     "The following message to <ann@example.org> was undeliverable.\nThe reason for the "
     "problem:\n5.1.0 - Unknown address error 550-'5.1.1 User unknown'\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"maddy",
     "This is the mail delivery system at mx.example.net.\n\nUnfortunately, your message could not "
     "be delivered to one or more\nrecipients. The usual cause of this problem is "
     "invalid\nrecipient address or maintenance at the recipient side.\n\nContact the postmaster "
     "for further assistance, provide the Message ID (below):\n\nMessage ID: 1234\n\nDelivery to "
     "ann@example.org failed with error: SMTP error 550: User unknown\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"exim pipe2",
     "A message that you sent could not be delivered to one or more of its\nrecipients. This is a "
     "permanent error. The following address(es) failed:\n\n  |/usr/bin/procmail\n    (generated "
     "from ann@example.org)\n    Child process of virtual_pipe transport returned 127 (could mean "
     "unable to exec or command does not exist) from command: /usr/bin/procmail\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"exim warn",
     "This message was created automatically by mail delivery software.\nA message that you sent "
     "has not yet been delivered to one or more of its\nrecipients after more than 4 hours on the "
     "queue on mx.example.net.\n\nThe following address(es) have not yet been delivered:\n\n  "
     "ann@example.org\n\nNo action is required on your part. Delivery attempts will continue "
     "for\nsome time, and this warning may be repeated at intervals if the message\nremains "
     "undelivered. Eventually the mail delivery software will give up,\nand when that happens, the "
     "message will be returned to you.\n",
     RETURNED_DELAYED, "ann@example.org"},
    {"ms 5.5 rec",
     "Your message did not reach some or all of the intended recipients.\n\n      Subject:  "
     "Test\n\nThe following recipient(s) could not be reached:\n\n      'ann@example.org' on "
     "1/2/98 3:04 PM\n            The recipient was not found. The MTS-ID of the original message "
     "is: c=US;a= ;p=Ex\n            MSEXCH:MSExchangeMTA:SITE:SERVER\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"ex2010 zh",
     "传递到以下收件人或组时失败:\n\nann@example."
     "org\n找不到您输入的电子邮件地址。请检查收件人的电子邮件地址并尝试重新发送邮件。\n\n供管理员使"
     "用的诊断信息:\n\n生成服务器: example.net\n\nann@example.org\n#550 5.1.1 "
     "RESOLVER.ADR.RecipNotFound; not found ##\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"ex2010 ru",
     "Сбой доставки следующим получателям или спискам рассылки:\n\nann@example.org\nУказанный вами "
     "адрес электронной почты не найден. Проверьте адрес электронной почты получателя и "
     "попытайтесь отправить сообщение повторно.\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"gmail es",
     "No se ha encontrado la dirección\n\nTu mensaje no se ha entregado a ann@example.org porque "
     "no se ha encontrado la dirección o esta no puede recibir mensajes.\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"qmail de",
     "Hallo. Hier ist das Programm qmail-send auf mx.example.net.\nLeider konnte ich Ihre "
     "Nachricht nicht an die folgenden Adressen zustellen.\nDies ist ein dauerhafter Fehler; ich "
     "habe aufgegeben.\n\n<ann@example.org>:\nHier gibt es kein Postfach mit diesem Namen.\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"postfix delay",
     "This is the mail system at host "
     "mx.example.net.\n\n####################################################################\n# "
     "THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. "
     "#\n####################################################################\n\nYour message "
     "could not be delivered for more than 4 hour(s).\nIt will be retried until it is 5 day(s) "
     "old.\n\n<ann@example.org>: connect to mx.example.org[192.0.2.1]:25: Connection refused\n",
     RETURNED_DELAYED, "ann@example.org"},
    {"sendmail warn",
     "    **********************************************\n    **      THIS IS A WARNING MESSAGE "
     "ONLY      **\n    **  YOU DO NOT NEED TO RESEND YOUR MESSAGE  **\n    "
     "**********************************************\n\nThe original message was received at Tue, "
     "3 Mar 2009 10:00:00 +0100\n\n   ----- Transcript of session follows "
     "-----\n<ann@example.org>... Deferred: Connection timed out with mx.example.org.\nWarning: "
     "message still undelivered after 4 hours\nWill keep trying until message is 5 days old\n",
     RETURNED_DELAYED, "ann@example.org"},
    {"dsn only",
     "Final-Recipient: rfc822;ann@example.org\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: "
     "smtp;550 5.1.1 User unknown\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"dsn delayed",
     "Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822;ann@example.org\nAction: "
     "delayed\nStatus: 4.4.1\n",
     RETURNED_DELAYED, "ann@example.org"},
    {"symantec av",
     "Symantec AntiVirus found a virus in an attachment you sent to "
     "ann@example.org.\n\nAttachment: a.zip\nVirus name: W32.Netsky\nAction taken: Delete "
     "succeeded\n",
     RETURNED_BOUNCE, "ann@example.org"},
    {"norman",
     "VIRUS WARNING: a message that you sent to ann@example.org contained the virus W32/Bagle. It "
     "was not delivered.\n",
     RETURNED_BOUNCE, "ann@example.org"},
};

static void test_letters(void **state)
{
    (void)state;
    letters_check(letters, ARRAY_LEN(letters));
}

/* What has no header and is no notice is no message. */
static void test_no_message(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {
        "Dear all,\n\nthe meeting is at ten.\n",
        "Hello,\n\nwhy could my mail to ann@example.org not arrive?\n",
        "ann@example.org\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
        struct returned_mail mail;
        struct fault fault = {0};
        assert_false(returned_mail_read(arena, slice_cstr(TEXTS[i]), &mail, &fault));
        assert_int_equal(fault.kind, FAULT_INVALID);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_no_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
