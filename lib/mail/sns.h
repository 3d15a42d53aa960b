/*
 * Notifications of Amazon SES that come by mail through SNS: a JSON object in a text part ("Amazon
 * SNS notification contents for Amazon SES", notificationType Bounce, Complaint or Delivery).
 */
#ifndef SLUICE_MAIL_SNS_H
#define SLUICE_MAIL_SNS_H

#include "mail/recipients.h"

/* True if the text is such a notification; then *kind, the recipients and the original's facts are
 * set from it. */
bool sns_read(struct slice text, enum returned_kind *kind, struct recipient_list *list,
              struct returned_original *original);

#endif
