/*
 * The box is a stack that posters push on by compare-and-swap and that the owner takes as a whole
 * and turns round (Treiber 1986; taking everything at once leaves no ABA problem). Only the poster
 * that finds it empty wakes the loop, so a burst costs one wake-up. The wake-up cannot be lost:
 * whoever finds the box empty comes after the owner's last take, which comes after libuv has
 * cleared the mark of the wake-up before; and an owner that leaves something for its next turn
 * wakes itself.
 */
#include "io/mailbox.h"

#include "base/mem.h"
#include "io/loop_private.h"

#define MAILBOX_MAGIC 0x4d424f58u

struct mailbox {
    uint32_t magic;
    bool closing;
    uv_async_t async;
    struct io_loop *loop;
    mailbox_callback callback;
    void *owner;
    struct letter *batch;         /* taken, oldest first, not yet delivered */
    _Atomic(struct letter *) box; /* newest first */
};

/* Takes what is in the box as the next batch; the last one must be delivered. False: it was empty.
 */
static bool take(struct mailbox *mailbox)
{
    CHECK(mailbox->batch == NULL);
    struct letter *newest = atomic_exchange_explicit(&mailbox->box, NULL, memory_order_acq_rel);
    while (newest != NULL) {
        struct letter *older = newest->next;
        newest->next = mailbox->batch;
        mailbox->batch = newest;
        newest = older;
    }
    return mailbox->batch != NULL;
}

/* The callback may free the mailbox, which delivers the rest from inside. */
static void deliver_first(struct mailbox *mailbox)
{
    struct letter *letter = mailbox->batch;
    mailbox->batch = letter->next;
    letter->next = NULL;
    mailbox->callback(letter, mailbox->owner);
}

static bool has_more(struct mailbox *mailbox)
{
    return mailbox->batch != NULL || take(mailbox);
}

static void on_async(uv_async_t *async)
{
    struct mailbox *mailbox = CONTAINER_OF(async, struct mailbox, async);
    CHECK_MAGIC(mailbox, MAILBOX_MAGIC);
    io_loop_wake(mailbox->loop);
    for (int i = 0; !mailbox->closing && has_more(mailbox); i++) {
        if (i == MAILBOX_TURN_MAX) {
            CHECK(uv_async_send(async) == 0);
            return;
        }
        deliver_first(mailbox);
    }
}

struct mailbox *mailbox_create(struct io_loop *loop, mailbox_callback callback, void *owner,
                               struct fault *fault)
{
    struct mailbox *mailbox = mem_zalloc(sizeof(*mailbox));
    int result = uv_async_init(io_loop_uv(loop), &mailbox->async, on_async);
    if (result != 0) {
        mem_free(mailbox);
        io_fault_uv(fault, result, "mailbox");
        return NULL;
    }
    mailbox->magic = MAILBOX_MAGIC;
    mailbox->loop = loop;
    mailbox->callback = callback;
    mailbox->owner = owner;
    atomic_init(&mailbox->box, NULL);
    return mailbox;
}

static void on_closed(uv_handle_t *handle)
{
    struct mailbox *mailbox = CONTAINER_OF((uv_async_t *)handle, struct mailbox, async);
    mailbox->magic = 0;
    mem_free(mailbox);
}

void mailbox_free(struct mailbox **handle)
{
    struct mailbox *mailbox = *handle;
    if (mailbox == NULL) {
        return;
    }
    CHECK_MAGIC(mailbox, MAILBOX_MAGIC);
    *handle = NULL;
    mailbox->closing = true;
    while (has_more(mailbox)) {
        deliver_first(mailbox);
    }
    uv_close((uv_handle_t *)&mailbox->async, on_closed);
}

void mailbox_deliver(struct mailbox *mailbox)
{
    CHECK_MAGIC(mailbox, MAILBOX_MAGIC);
    while (!mailbox->closing && has_more(mailbox)) {
        deliver_first(mailbox);
    }
}

void mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
    CHECK_MAGIC(mailbox, MAILBOX_MAGIC);
    struct letter *top = atomic_load_explicit(&mailbox->box, memory_order_relaxed);
    do {
        letter->next = top;
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->box, &top, letter,
                                                    memory_order_acq_rel, memory_order_relaxed));
    if (top == NULL) {
        CHECK(uv_async_send(&mailbox->async) == 0);
    }
}
