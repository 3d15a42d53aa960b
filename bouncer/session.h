/*
 * One client's session (smtpd/smtpd.h): what is taken, and what is answered.
 */
#ifndef SLUICE_BOUNCER_SESSION_H
#define SLUICE_BOUNCER_SESSION_H

#include "smtpd/smtpd.h"

/* Of bouncer->smtpd. */
extern const struct smtpd_ops session_ops;

#endif
