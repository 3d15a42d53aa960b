/*
 * Between journal.c (batches) and journal_mail.c (entries).
 */
#ifndef SLUICE_WORKER_JOURNAL_PRIVATE_H
#define SLUICE_WORKER_JOURNAL_PRIVATE_H

#include "worker/journal.h"

#define WRITER_MAGIC 0x4a4f5552u

struct journal_writer {
    uint32_t magic;
    struct worker *worker;
    struct io_loop *loop;
    struct mailbox *mailbox; /* batches come back with their report */
    int64_t linger_ms;
    void (*safer)(void *owner);
    void *owner;

    struct journal *open; /* the batch that is being filled */
    uint64_t open_number; /* … its number, from 1 */
    uint64_t safe;        /* all batches below are on Kafka */
    struct list unsafe;   /* batches that are not, in order */
    struct list waiting;  /* … of these those to be offered to Kafka */
    struct timer linger, retry;
};

/* Something is in the open batch. */
void journal_writer_appended(struct journal_writer *writer);

#endif
