/*
 * One client's session (smtpd/smtpd.h): who may log in, what is taken, and what is answered.
 */
#ifndef SLUICE_PRODUCER_SESSION_H
#define SLUICE_PRODUCER_SESSION_H

#include "smtpd/smtpd.h"

/* Of producer->smtpd. */
extern const struct smtpd_ops session_ops;

#endif
