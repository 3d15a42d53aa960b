/*
 * Events on their way to Kafka, which hold their mail (copies go with bursts). Each is kept
 * until it has been acknowledged; what Kafka does not take (queue full, broker gone, producer made
 * anew) is offered again until it does, so nothing that a ticket waits for is ever forgotten.
 *
 * One outbox per thread that sends. Delivery reports run on the intake thread, whatever thread
 * sent; what failed there goes into the intake thread's own outbox.
 */
#ifndef SLUICE_WORKER_OUTBOX_H
#define SLUICE_WORKER_OUTBOX_H

#include "base/strbuf.h"
#include "io/loop.h"
#include "kafka/producer.h"
#include "worker/mail.h"

struct outbox;

struct outbox *outbox_create(struct worker *worker, struct io_loop *loop);
/* When no thread runs any more, before the intake goes. What is still in it is dropped: its mails
 * are forgotten, so that the next owner of their partitions reads them again. */
void outbox_free(struct outbox **outbox);

/* Copies key and value. Holds the mail until acknowledged. `topic` must outlive the worker. */
void outbox_send_event(struct outbox *outbox, struct mail *mail, const char *topic,
                       struct slice key, struct slice value);

/* Records that Kafka has not taken yet: while there are many, no new mail should be begun. */
size_t outbox_backlog(const struct outbox *outbox);

#endif
