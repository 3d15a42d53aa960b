/*
 * Between mail.c (a message comes in) and mail_send.c (it goes to Kafka).
 */
#ifndef SLUICE_PRODUCER_MAIL_PRIVATE_H
#define SLUICE_PRODUCER_MAIL_PRIVATE_H

#include "once/once.h"
#include "producer/mail.h"

#define MAIL_MAGIC 0x6d61696cu
/* Fields of a record that are not its recipients or content, with their tags: sums of the rules'
 * maxima. */
#define MAIL_RECORD_FIXED_BYTES ((size_t)1536)

struct mail_record {
    struct kafka_delivery delivery;
    struct mail *mail;
    struct group *group;
    struct once_claim claim; /* when the mail has a key */
    bool claimed;
    char *copy; /* NULL: in the mail's buffer */
    size_t copy_bytes;
    char id[UUID_TEXT_LEN + 1];
};

/* The record's fields without content. */
struct message mail_message(const struct mail *mail, const struct group *group, const char *id);
/* records, topic and pool are set: starts handing over. */
void mail_send_start(struct mail *mail);

#endif
