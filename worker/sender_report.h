/*
 * Telling the sender (RFC 3464): a final failure becomes a message of ours to the envelope sender,
 * where the tenant's configuration says `bounce-to-sender`. It is a record on a transactional
 * queue like any other, with the null sender, so nothing is ever told about itself; its id follows
 * from the event's, so one that is told again after a crash is the same message.
 */
#ifndef SLUICE_WORKER_SENDER_REPORT_H
#define SLUICE_WORKER_SENDER_REPORT_H

#include "worker/report.h"

/* Whether this failure is to be told: the tenant wants it, there is somebody to tell, and he has
 * not asked for silence (RFC 3461 NOTIFY). */
bool sender_report_is_due(const struct mail *mail, uint32_t index);

/* Holds the mail until Kafka has it. `event_id` of the failure's event. */
void sender_report_send(struct outbox *outbox, struct mail *mail, uint32_t index,
                        const struct smtp_outcome *outcome, const struct report_facts *facts,
                        struct slice event_id, bool expired);

#endif
