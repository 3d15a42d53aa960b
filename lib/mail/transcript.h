/*
 * Transcripts of SMTP sessions that reports bring for people: Sendmail, Courier and v5 Sendmail
 * (">>> RCPT TO:<…>", "<<< 550 …"), MDaemon ("--> RCPT To:<…>", "<-- 550 …"), InterScan ("Sent <<<
 * RCPT TO:<…>", "Received >>> 550 …"). No state, no allocation.
 */
#ifndef SLUICE_MAIL_TRANSCRIPT_H
#define SLUICE_MAIL_TRANSCRIPT_H

#include "mail/returned.h"

/*
 * The command that `reply` (its first line is enough, with its code) answers in the transcript
 * `text`; UNKNOWN where the text has no such reply behind a command. Sendmail pipelines: what
 * stands behind its ">>> DATA" answers RCPT all the same, when the server then says that there are
 * no recipients.
 */
enum returned_phase transcript_phase(struct slice text, struct slice reply);

#endif
