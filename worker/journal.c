#include "worker/journal.h"

#include "worker/journal_private.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#define BATCH_MAGIC 0x42544348u
/* A batch of that size goes at once; a single entry may be larger. */
#define BATCH_BYTES ((size_t)16 * 1024)
#define RETRY_FULL_MS 5
#define RETRY_FAILED_MS 200
#define STUCK_MS 1000

/* One Kafka record; its bytes lie behind the struct. */
struct batch {
    uint32_t magic;
    struct list node;         /* in unsafe, by number */
    struct list waiting_node; /* in waiting; not linked: it is at Kafka */
    struct kafka_delivery delivery;
    struct letter letter;
    struct journal_writer *writer;
    uint64_t number;
    struct mono_time begun;
    bool failed; /* as its report said */
    size_t len;
    char bytes[];
};

static void linger_over(struct timer *timer, struct mono_time now);
static void retry(struct timer *timer, struct mono_time now);

/* ---- batches ---- */

/* Intake thread. */
static void delivered(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                      const struct fault *fault)
{
    struct batch *batch = CONTAINER_OF(delivery, struct batch, delivery);
    struct worker *worker = batch->writer->worker;
    CHECK_MAGIC(batch, BATCH_MAGIC);
    (void)partition;
    batch->failed = fault != NULL;
    if (fault != NULL) {
        char reason[FAULT_TEXT_MAX];
        log_warn("produce-failed", "topic=%s reason=%s", worker->topics.done,
                 log_quote(reason, sizeof(reason), slice_cstr(fault->text)));
    } else if (offset >= worker->journal_end) {
        worker->journal_end = offset + 1;
    }
    mailbox_post(batch->writer->mailbox, &batch->letter);
}

static void send_waiting(struct journal_writer *writer)
{
    struct fault fault;
    while (!list_empty(&writer->waiting) && !timer_is_set(&writer->retry) &&
           writer->worker->journal != NULL) {
        struct batch *batch = CONTAINER_OF(writer->waiting.next, struct batch, waiting_node);
        const struct kafka_record_out record = {
            .topic = writer->worker->topics.done,
            .partition = writer->worker->slot,
            .value = slice_of(batch->bytes, batch->len),
            .borrow_value = true,
            .delivery = &batch->delivery,
        };
        list_remove(&batch->waiting_node);
        if (!kafka_producer_send(writer->worker->journal, &record, &fault)) {
            list_push_front(&writer->waiting, &batch->waiting_node);
            int64_t wait_ms = fault.kind == FAULT_LIMIT ? RETRY_FULL_MS : RETRY_FAILED_MS;
            wheel_set(io_loop_wheel(writer->loop), &writer->retry,
                      mono_add_ms(io_loop_now(writer->loop), wait_ms), retry);
        }
    }
}

static void retry(struct timer *timer, struct mono_time now)
{
    struct journal_writer *writer = CONTAINER_OF(timer, struct journal_writer, retry);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    (void)now;
    send_waiting(writer);
}

/* Every mark up to this is safe. */
static uint64_t lowest_unsafe(const struct journal_writer *writer)
{
    return list_empty(&writer->unsafe)
               ? writer->open_number
               : CONTAINER_OF(writer->unsafe.next, struct batch, node)->number;
}

static void batch_came_back(struct letter *letter, void *owner)
{
    struct journal_writer *writer = owner;
    struct batch *batch = CONTAINER_OF(letter, struct batch, letter);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    CHECK_MAGIC(batch, BATCH_MAGIC);
    if (batch->failed) {
        list_push_back(&writer->waiting, &batch->waiting_node);
        if (!timer_is_set(&writer->retry)) {
            wheel_set(io_loop_wheel(writer->loop), &writer->retry,
                      mono_add_ms(io_loop_now(writer->loop), RETRY_FAILED_MS), retry);
        }
        return;
    }
    list_remove(&batch->node);
    batch->magic = 0;
    mem_free(batch);
    uint64_t safe = lowest_unsafe(writer);
    if (safe > writer->safe) {
        writer->safe = safe;
        writer->safer(writer->owner);
    }
}

static void send_batch(struct journal_writer *writer, struct slice bytes)
{
    struct batch *batch = mem_zalloc(sizeof(*batch) + bytes.len);
    batch->magic = BATCH_MAGIC;
    batch->writer = writer;
    batch->delivery.done = delivered;
    batch->number = writer->open_number++;
    batch->begun = io_loop_now(writer->loop);
    batch->len = bytes.len;
    memcpy(batch->bytes, bytes.ptr, bytes.len);
    list_push_back(&writer->unsafe, &batch->node);
    list_push_back(&writer->waiting, &batch->waiting_node);
    send_waiting(writer);
}

uint64_t journal_writer_begin(struct journal_writer *writer)
{
    struct strbuf nothing;
    CHECK_MAGIC(writer, WRITER_MAGIC);
    strbuf_init(&nothing, LEDGER_NAME_MAX + 16);
    bool ok = completion_put_writer(&nothing, slice_cstr(writer->worker->transactional_id));
    CHECK(ok);
    send_batch(writer, strbuf_slice(&nothing));
    strbuf_free(&nothing);
    return writer->open_number;
}

void journal_writer_flush(struct journal_writer *writer)
{
    CHECK_MAGIC(writer, WRITER_MAGIC);
    wheel_cancel(io_loop_wheel(writer->loop), &writer->linger);
    struct slice bytes = journal_take(writer->open);
    if (bytes.len > 0) {
        send_batch(writer, bytes);
    }
}

static void linger_over(struct timer *timer, struct mono_time now)
{
    struct journal_writer *writer = CONTAINER_OF(timer, struct journal_writer, linger);
    (void)now;
    journal_writer_flush(writer);
}

void journal_writer_appended(struct journal_writer *writer)
{
    if (journal_size(writer->open) >= BATCH_BYTES) {
        journal_writer_flush(writer);
    } else if (!timer_is_set(&writer->linger)) {
        wheel_set(io_loop_wheel(writer->loop), &writer->linger,
                  mono_add_ms(io_loop_now(writer->loop), writer->linger_ms), linger_over);
    }
}

void journal_writer_hurry(struct journal_writer *writer, uint64_t mark)
{
    CHECK_MAGIC(writer, WRITER_MAGIC);
    struct mono_time due = mono_add_ms(io_loop_now(writer->loop), JOURNAL_HURRY_MS);
    if (mark > writer->open_number && timer_is_set(&writer->linger) &&
        writer->linger.due_ms * 1000 > due.us) {
        wheel_set(io_loop_wheel(writer->loop), &writer->linger, due, linger_over);
    }
}

/* ---- marks ---- */

uint64_t journal_writer_mark(const struct journal_writer *writer)
{
    return journal_size(writer->open) > 0 ? writer->open_number + 1 : writer->open_number;
}

bool journal_writer_is_safe(const struct journal_writer *writer, uint64_t mark)
{
    return writer->safe >= mark;
}

bool journal_writer_is_stuck(const struct journal_writer *writer, struct mono_time now)
{
    if (list_empty(&writer->unsafe)) {
        return false;
    }
    const struct batch *oldest = CONTAINER_OF(writer->unsafe.next, struct batch, node);
    return mono_since_us(now, oldest->begun) > (int64_t)STUCK_MS * 1000;
}

/* ---- life ---- */

struct journal_writer *journal_writer_create(struct worker *worker, struct io_loop *loop,
                                             int64_t linger_ms, void (*safer)(void *owner),
                                             void *owner, struct fault *fault)
{
    struct journal_writer *writer = mem_zalloc(sizeof(*writer));
    writer->magic = WRITER_MAGIC;
    writer->worker = worker;
    writer->loop = loop;
    writer->linger_ms = linger_ms;
    writer->safer = safer;
    writer->owner = owner;
    writer->open_number = writer->safe = 1;
    list_init(&writer->unsafe);
    list_init(&writer->waiting);
    writer->open = journal_create(worker->transactional_id, JOURNAL_BATCH_MIN);
    writer->mailbox = mailbox_create(loop, batch_came_back, writer, fault);
    if (writer->mailbox == NULL) {
        journal_writer_free(&writer);
    }
    return writer;
}

void journal_writer_free(struct journal_writer **handle)
{
    struct journal_writer *writer = *handle;
    struct list *node;
    if (writer == NULL) {
        return;
    }
    CHECK_MAGIC(writer, WRITER_MAGIC);
    mailbox_free(&writer->mailbox);
    wheel_cancel(io_loop_wheel(writer->loop), &writer->linger);
    wheel_cancel(io_loop_wheel(writer->loop), &writer->retry);
    while ((node = list_pop_front(&writer->unsafe)) != NULL) {
        struct batch *batch = CONTAINER_OF(node, struct batch, node);
        CHECK(list_linked(&batch->waiting_node)); /* else Kafka still has its bytes */
        list_remove(&batch->waiting_node);
        mem_free(batch);
    }
    journal_free(&writer->open);
    writer->magic = 0;
    mem_free(writer);
    *handle = NULL;
}
