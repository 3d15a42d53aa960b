/*
 * Bounce classes by reply code, enhanced code (RFC 3463, IANA's registry) and phase alone. The
 * classifier that reads the text has a room of its own later and takes this place.
 */
#ifndef SLUICE_WORKER_CLASSIFY_H
#define SLUICE_WORKER_CLASSIFY_H

#include "smtp/outcome.h"

/* A word such as "user-unknown", "mailbox-full", "undetermined"; never NULL. */
const char *classify_outcome(const struct smtp_outcome *outcome);

#endif
