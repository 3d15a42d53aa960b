#include "worker/outbox.h"

#include "worker/intake.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#define OUTBOX_MAGIC 0x4f555442u
#define ITEM_MAGIC 0x4954454du
#define RETRY_FULL_MS 5     /* the producer's queue was full */
#define RETRY_FAILED_MS 500 /* a delivery failed */

struct outbox {
    uint32_t magic;
    struct worker *worker;
    struct io_loop *loop;
    struct list waiting; /* of struct item, oldest first */
    size_t count;
    struct timer timer;
};

/* One event; its bytes lie behind the struct. */
struct item {
    uint32_t magic;
    struct kafka_delivery delivery;
    struct list node;
    struct mail *mail;
    const char *topic;
    struct slice key, value;
};

static void retry_waiting(struct timer *timer, struct mono_time now);

struct outbox *outbox_create(struct worker *worker, struct io_loop *loop)
{
    struct outbox *outbox = mem_zalloc(sizeof(*outbox));
    outbox->magic = OUTBOX_MAGIC;
    outbox->worker = worker;
    outbox->loop = loop;
    list_init(&outbox->waiting);
    return outbox;
}

void outbox_free(struct outbox **handle)
{
    struct outbox *outbox = *handle;
    struct list *node;
    if (outbox == NULL) {
        return;
    }
    CHECK_MAGIC(outbox, OUTBOX_MAGIC);
    wheel_cancel(io_loop_wheel(outbox->loop), &outbox->timer);
    while ((node = list_pop_front(&outbox->waiting)) != NULL) {
        struct item *item = CONTAINER_OF(node, struct item, node);
        item->mail->forget = true;
        mail_release(item->mail);
        item->magic = 0;
        mem_free(item);
    }
    outbox->magic = 0;
    mem_free(outbox);
    *handle = NULL;
}

static void wait_in(struct outbox *outbox, struct item *item, int64_t retry_ms)
{
    list_push_back(&outbox->waiting, &item->node);
    outbox->count++;
    if (!timer_is_set(&outbox->timer)) {
        wheel_set(io_loop_wheel(outbox->loop), &outbox->timer,
                  mono_add_ms(io_loop_now(outbox->loop), retry_ms), retry_waiting);
    }
}

/* Delivery report; intake thread. */
static void delivered(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                      const struct fault *fault)
{
    struct item *item = CONTAINER_OF(delivery, struct item, delivery);
    CHECK_MAGIC(item, ITEM_MAGIC);
    (void)partition;
    (void)offset;
    if (fault != NULL) {
        char reason[FAULT_TEXT_MAX];
        log_warn("produce-failed", "topic=%s id=%.*s reason=%s", item->topic,
                 SLICE_FMT(item->mail->message.id),
                 log_quote(reason, sizeof(reason), slice_cstr(fault->text)));
        wait_in(intake_outbox(item->mail->worker->intake), item, RETRY_FAILED_MS);
        return;
    }
    struct mail *mail = item->mail;
    item->magic = 0;
    mem_free(item);
    mail_release(mail);
}

static bool offer(struct item *item, struct fault *fault)
{
    struct kafka_record_out record = {
        .topic = item->topic,
        .partition = -1,
        .key = item->key,
        .value = item->value,
        .borrow_value = true,
        .delivery = &item->delivery,
    };
    return kafka_producer_send(item->mail->worker->events, &record, fault);
}

/* New records queue up behind those that wait, so that order is kept. */
static void send_or_wait(struct outbox *outbox, struct item *item)
{
    struct fault fault;
    mail_hold(item->mail);
    if (outbox->count > 0) {
        wait_in(outbox, item, RETRY_FULL_MS);
    } else if (!offer(item, &fault)) {
        wait_in(outbox, item, fault.kind == FAULT_LIMIT ? RETRY_FULL_MS : RETRY_FAILED_MS);
    }
}

static void retry_waiting(struct timer *timer, struct mono_time now)
{
    struct outbox *outbox = CONTAINER_OF(timer, struct outbox, timer);
    struct fault fault = {.kind = FAULT_NONE};
    struct list later;
    CHECK_MAGIC(outbox, OUTBOX_MAGIC);
    list_init(&later);
    while (!list_empty(&outbox->waiting)) {
        struct item *item = CONTAINER_OF(outbox->waiting.next, struct item, node);
        list_remove(&item->node);
        if (offer(item, &fault)) {
            outbox->count--;
            continue;
        }
        if (fault.kind != FAULT_LIMIT) {
            log_warn("produce-refused", "topic=%s waiting=%zu reason=\"%s\"", item->topic,
                     outbox->count, fault.text);
        }
        if (fault.kind != FAULT_INVALID) {
            list_push_front(&outbox->waiting, &item->node);
            break;
        }
        list_push_back(&later, &item->node); /* alone: it must not stand before all others */
    }
    list_append_all(&outbox->waiting, &later);
    if (outbox->count > 0) {
        int64_t again = fault.kind == FAULT_LIMIT ? RETRY_FULL_MS : RETRY_FAILED_MS;
        wheel_set(io_loop_wheel(outbox->loop), timer, mono_add_ms(now, again), retry_waiting);
    }
}

void outbox_send_event(struct outbox *outbox, struct mail *mail, const char *topic,
                       struct slice key, struct slice value)
{
    CHECK_MAGIC(outbox, OUTBOX_MAGIC);
    struct item *item = mem_zalloc(sizeof(*item) + key.len + value.len);
    char *at = (char *)(item + 1);
    item->magic = ITEM_MAGIC;
    item->delivery.done = delivered;
    item->mail = mail;
    item->topic = topic;
    item->key = slice_place(&at, key);
    item->value = slice_place(&at, value);
    send_or_wait(outbox, item);
}

size_t outbox_backlog(const struct outbox *outbox)
{
    return outbox->count;
}
