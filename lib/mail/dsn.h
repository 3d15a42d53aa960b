/*
 * The fields of message/delivery-status (RFC 3464 2, RFC 6533 for the internationalised form), also
 * where they stand in plain text or where the part was damaged on its way.
 */
#ifndef SLUICE_MAIL_DSN_H
#define SLUICE_MAIL_DSN_H

#include "mail/recipients.h"

struct dsn_message_fields {
    struct slice reporting_mta;
    struct slice envelope_id;
};

/* Appends a recipient for each per-recipient block. The views point into `fields` and the list's
 * arena. */
void dsn_read(struct slice fields, struct recipient_list *list, struct dsn_message_fields *message);

/* True if the line is "Final-Recipient:" or one of the other fields that only reports have. */
bool dsn_is_report_line(struct slice line);

/* Where report fields stand in running text: from the first such line up to the end; SLICE_NULL
 * without one. */
struct slice dsn_find_in_text(struct slice text);

#endif
