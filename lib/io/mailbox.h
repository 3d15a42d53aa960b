/*
 * How threads speak: a many-producers, one-consumer box of intrusive letters that wakes the owner's
 * loop (one uv_async). Posting is lock-free (one compare-and-swap); letters of one poster arrive in
 * order, at most MAILBOX_TURN_MAX in a turn of the loop, so that thousands do not keep it from all
 * else. The letter belongs to the receiver from the post on.
 */
#ifndef SLUICE_IO_MAILBOX_H
#define SLUICE_IO_MAILBOX_H

#include "io/loop.h"

#define MAILBOX_TURN_MAX 128

struct letter {
    struct letter *next;
};

struct mailbox;
/* Called on the loop's thread for each letter. */
typedef void (*mailbox_callback)(struct letter *letter, void *owner);

struct mailbox *mailbox_create(struct io_loop *loop, mailbox_callback callback, void *owner,
                               struct fault *fault);
/* Delivers what is still in it first. No thread may post any more. */
void mailbox_free(struct mailbox **mailbox);

/* On the loop's thread: delivers at once all that has been posted. */
void mailbox_deliver(struct mailbox *mailbox);

/* From any thread. */
void mailbox_post(struct mailbox *mailbox, struct letter *letter);

#endif
