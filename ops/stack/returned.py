"""Mail that comes back, as mailbox providers write it: delivery status notifications (RFC 3464) and abuse reports (RFC 5965)."""
import email.utils


def _crlf(text):
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()


def dsn(to, host, recipient, code="550", status="5.1.1", text="The email account that you tried to reach does not exist",
        original="Subject: hello\nFrom: news@sender.example\n", action="failed", padding=0):
    """`to`: the return path. `host` refuses. `padding`: bytes of returned original beyond its header."""
    line = "This line is part of the message that could not be delivered.\n"
    return _crlf(f"""\
From: Mail Delivery System <mailer-daemon@{host}>
To: {to}
Date: {email.utils.formatdate()}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_bounce"

--=_bounce
Content-Type: text/plain; charset=us-ascii

Your message could not be delivered to {recipient}.

--=_bounce
Content-Type: message/delivery-status

Reporting-MTA: dns; {host}

Final-Recipient: rfc822; {recipient}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {code} {status} {text}

--=_bounce
Content-Type: message/rfc822

{original}
{line * (padding // len(line))}
--=_bounce--
""")


def arf(to, host, recipient, original, kind="abuse"):
    """`original`: the header of the mail that somebody complained about, its Return-Path included."""
    return _crlf(f"""\
From: Feedback Loop <fbl@{host}>
To: {to}
Date: {email.utils.formatdate()}
Subject: abuse report
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="=_fbl"

--=_fbl
Content-Type: text/plain; charset=us-ascii

This is an abuse report for a message that was received by {host}.

--=_fbl
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Rcpt-To: <{recipient}>
Reported-Domain: sender.example

--=_fbl
Content-Type: message/rfc822

{original}
Body of the message.
--=_fbl--
""")


def auto_reply(to, recipient):
    return _crlf(f"""\
From: {recipient}
To: {to}
Date: {email.utils.formatdate()}
Subject: Out of office
Auto-Submitted: auto-replied

I am away until Monday.
""")


def leave(to, recipient):
    return _crlf(f"""\
From: {recipient}
To: {to}
Date: {email.utils.formatdate()}
Subject: unsubscribe

""")
