/*
 * Abuse reports: message/feedback-report (RFC 5965, 6591, 9477) and what provider loops send
 * instead of it.
 */
#ifndef SLUICE_MAIL_FEEDBACK_H
#define SLUICE_MAIL_FEEDBACK_H

#include "mail/recipients.h"

struct feedback {
    struct slice type;      /* "abuse", "fraud", "auth-failure", "opt-out", "not-spam", … */
    struct slice mail_from; /* Original-Mail-From */
    struct slice reporting_mta;
    struct slice message_id; /* Original-Message-ID of some loops */
};

/* Reads the fields; each Original-Rcpt-To (or its kin) appends a recipient. */
void feedback_read(struct slice fields, struct recipient_list *list, struct feedback *feedback);

/* What kind of mail a report of this type is. A report that something is not spam is no complaint.
 */
enum returned_kind feedback_kind(struct slice type);

#endif
