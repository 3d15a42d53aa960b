#include "worker/burst.h"

#include "worker/burst_private.h"

#include "worker/copy.h"
#include "worker/journal.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#define COPIES_EVERY_MS 500
#define CHECKPOINT_EVERY_MS 1000
/* Bounds of one transaction; a mail's copies always go together. */
#define COPIES_MAX 20000
#define COPIES_MAX_BYTES ((size_t)64 << 20)
/* So often nothing came of it: perhaps one of the records is not taken. Then by halves, until it is
 * found and stands behind all others. */
#define FAILURES_MAX 3
#define TRANSACTION_TIMEOUT_MS 10000
#define CLOSE_WAIT_MS 5000

/* ---- what waits ---- */

static size_t copies_of(const struct mail *mail, size_t *bytes)
{
    size_t count = 0;
    *bytes = 0;
    list_foreach (node, &mail->copies) {
        *bytes += CONTAINER_OF(node, struct copy, node)->value_len;
        count++;
    }
    return count;
}

void burst_add(struct burst *burst, struct mail *mail)
{
    size_t bytes;
    CHECK_MAGIC(burst, BURST_MAGIC);
    CHECK(copies_of(mail, &bytes) > 0);
    burst->waiting_bytes += bytes;
    list_push_back(&burst->waiting, &mail->node);
}

void burst_note(struct burst *burst)
{
    burst->changed = true;
}

bool burst_is_busy(const struct burst *burst)
{
    return kafka_txn_busy(burst->txn) || !list_empty(&burst->moved_mails);
}

bool burst_is_due(const struct burst *burst, struct mono_time now)
{
    int64_t since_ms = mono_since_us(now, burst->last_end) / 1000;
    if (burst_is_busy(burst) || !kafka_txn_ready(burst->txn)) {
        return false;
    }
    if (!list_empty(&burst->waiting)) {
        bool much = burst->urgent || burst->waiting_bytes > COPIES_MAX_BYTES / 2;
        return since_ms >= COPIES_EVERY_MS || (much && burst->failures == 0);
    }
    return burst->changed && since_ms >= CHECKPOINT_EVERY_MS;
}

void burst_drop_gone(struct burst *burst)
{
    CHECK_MAGIC(burst, BURST_MAGIC);
    list_foreach_safe (node, after, &burst->waiting) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        size_t bytes;
        if (!kafka_ticket_valid(&mail->ticket)) {
            copies_of(mail, &bytes);
            burst->waiting_bytes -= bytes;
            list_remove(&mail->node);
            burst->ops->gone(burst->owner, mail);
        }
    }
}

/* ---- putting one together ---- */

/* As much of what waits as goes in one; the mails' tickets are valid (burst_drop_gone). */
static void take_mails(struct burst *burst)
{
    size_t copies = 0;
    size_t mails = 0;
    burst->mail_bytes = 0;
    while (!list_empty(&burst->waiting)) {
        struct mail *mail = CONTAINER_OF(burst->waiting.next, struct mail, node);
        size_t bytes;
        size_t count = copies_of(mail, &bytes);
        if (mails > 0 &&
            (copies + count > burst->copies_max || burst->mail_bytes + bytes > COPIES_MAX_BYTES)) {
            break;
        }
        list_remove(&mail->node);
        list_push_back(&burst->mails, &mail->node);
        copies += count;
        burst->mail_bytes += bytes;
        mails++;
    }
    burst->waiting_bytes -= burst->mail_bytes;
    burst->urgent = !list_empty(&burst->waiting);
    burst->records = mem_calloc(copies + 1, sizeof(*burst->records));
    burst->moved = mem_calloc(mails + 1, sizeof(*burst->moved));
    size_t n = 0;
    list_foreach (node, &burst->mails) {
        const struct mail *mail = CONTAINER_OF(node, struct mail, node);
        burst->moved[burst->moved_count++] =
            (struct moved){mail->ticket.partition, mail->ticket.offset};
        list_foreach (at, &mail->copies) {
            burst->records[n++] = copy_record(mail, CONTAINER_OF(at, struct copy, node));
        }
    }
    CHECK(n == copies && burst->moved_count == mails);
    burst->kafka.records = burst->records;
    burst->kafka.record_count = copies;
}

/* ---- the end of one ---- */

static void put_away(struct burst *burst)
{
    mem_free(burst->records);
    mem_free(burst->offsets);
    mem_free(burst->claims);
    mem_free(burst->moved);
    burst->records = NULL;
    burst->offsets = NULL;
    burst->claims = NULL;
    burst->moved = NULL;
    burst->moved_count = 0;
    burst->kafka.offset_count = burst->kafka.record_count = 0;
}

/* Nothing of it was written. */
static void wait_again(struct burst *burst)
{
    list_append_all(&burst->mails, &burst->waiting);
    list_append_all(&burst->waiting, &burst->mails);
    burst->waiting_bytes += burst->mail_bytes;
    burst->changed = true;
    burst_drop_gone(burst);
}

/* `copies` that were in it. */
static void look_for_culprit(struct burst *burst, size_t copies)
{
    if (++burst->failures < FAILURES_MAX || copies == 0) {
        return;
    }
    struct list *first = burst->waiting.next;
    if (burst->copies_max == 1 && !list_empty(&burst->waiting)) {
        const struct mail *mail = CONTAINER_OF(first, struct mail, node);
        log_error("copies-not-taken", "topic=%s partition=%d offset=%lld", mail->record.topic,
                  mail->record.partition_id, (long long)mail->record.offset);
        list_remove(first);
        list_push_back(&burst->waiting, first);
    } else {
        burst->copies_max = copies > 1 ? copies / 2 : 1;
    }
}

/* What it moved is told, and when all of it is, that it is over. */
static void tell_moved(struct burst *burst)
{
    struct list *node;
    for (int i = 0; i < BURST_TELL_MAX && (node = list_pop_front(&burst->moved_mails)) != NULL;
         i++) {
        burst->ops->moved(burst->owner, CONTAINER_OF(node, struct mail, node));
    }
    if (list_empty(&burst->moved_mails)) {
        burst->ops->over(burst->owner, burst->kind, KAFKA_BURST_COMMITTED);
    }
}

static void done(struct kafka_burst *kafka, enum kafka_burst_result result,
                 int64_t checkpoint_offset, const struct fault *fault)
{
    struct burst *burst = CONTAINER_OF(kafka, struct burst, kafka);
    size_t copies = kafka->record_count;
    CHECK_MAGIC(burst, BURST_MAGIC);
    (void)checkpoint_offset;
    for (size_t i = 0; result == KAFKA_BURST_COMMITTED && i < kafka->offset_count; i++) {
        burst_renew(burst, kafka->offsets[i].partition);
    }
    put_away(burst);
    burst->last_end = mono_now();
    if (burst->closing) {
        return;
    }
    if (result == KAFKA_BURST_COMMITTED) {
        burst->failures = 0;
        burst->copies_max =
            burst->copies_max >= COPIES_MAX / 2 ? COPIES_MAX : burst->copies_max * 2;
        list_append_all(&burst->moved_mails, &burst->mails);
        tell_moved(burst);
    } else {
        char reason[FAULT_TEXT_MAX];
        log_warn("burst-failed", "kind=%d result=%d copies=%zu reason=%s", (int)burst->kind,
                 (int)result, copies, log_quote(reason, sizeof(reason), slice_cstr(fault->text)));
        wait_again(burst);
        look_for_culprit(burst, copies);
        burst->ops->over(burst->owner, burst->kind, result);
    }
}

/* ---- the owner's calls ---- */

bool burst_submit(struct burst *burst, struct kafka_consumer *consumer, enum burst_kind kind,
                  const struct burst_partition *partitions, size_t count, int64_t done_offset,
                  struct fault *fault)
{
    CHECK_MAGIC(burst, BURST_MAGIC);
    CHECK(count > 0);
    if (burst_is_busy(burst) || !kafka_txn_ready(burst->txn)) {
        return fault_set(fault, FAULT_LIMIT, 0, "a burst is under way");
    }
    burst->kind = kind;
    burst->began = mono_now();
    burst->offsets = mem_calloc(count, sizeof(*burst->offsets));
    burst->claims = mem_calloc(count, sizeof(*burst->claims));
    if (kind != BURST_CLAIM) {
        burst_drop_gone(burst);
        take_mails(burst);
    }
    bool ok = burst_write_checkpoint(burst, partitions, count, done_offset) ||
              fault_set(fault, FAULT_LIMIT, 0,
                        "too much is complete above what is not for one "
                        "checkpoint");
    burst->kafka.checkpoint = &burst->checkpoint;
    burst->kafka.offsets = burst->offsets;
    burst->kafka.metadata = burst_write_metadata;
    burst->kafka.done = done;
    ok = ok && kafka_txn_submit(burst->txn, consumer, &burst->kafka, fault);
    if (ok) {
        burst->changed = false;
    } else {
        put_away(burst);
        wait_again(burst);
    }
    return ok;
}

/* What was moved is complete in the checkpoint that came with it. */
void burst_restate(const struct burst *burst, struct journal_writer *writer)
{
    list_foreach (node, &burst->waiting) {
        journal_writer_restate(writer, CONTAINER_OF(node, struct mail, node));
    }
    list_foreach (node, &burst->mails) {
        journal_writer_restate(writer, CONTAINER_OF(node, struct mail, node));
    }
}

bool burst_poll(struct burst *burst)
{
    CHECK_MAGIC(burst, BURST_MAGIC);
    if (!list_empty(&burst->moved_mails)) {
        tell_moved(burst);
    }
    kafka_txn_poll(burst->txn);
    return !list_empty(&burst->moved_mails);
}

struct kafka_txn *burst_txn(struct burst *burst)
{
    return burst->txn;
}

struct burst *burst_create(struct worker *worker, const struct burst_ops *ops, void *owner,
                           int event_fd, struct fault *fault)
{
    struct burst *burst = mem_zalloc(sizeof(*burst));
    struct kafka_txn_options options;
    struct kafka_properties properties;
    burst->magic = BURST_MAGIC;
    burst->worker = worker;
    burst->ops = ops;
    burst->owner = owner;
    burst->copies_max = COPIES_MAX;
    list_init(&burst->waiting);
    list_init(&burst->mails);
    list_init(&burst->moved_mails);
    map_init(&burst->renewals);
    strbuf_init(&burst->checkpoint_text, CHECKPOINT_MAX_BYTES);
    kafka_txn_options_default(&options);
    options.transactional_id = worker->transactional_id;
    options.client_id = worker->name;
    options.transaction_timeout_ms = TRANSACTION_TIMEOUT_MS;
    const char *topics[KAFKA_TIERS + 3] = {worker->topics.moved, worker->topics.dlq,
                                           worker->topics.uncertain};
    for (size_t i = 0; i < KAFKA_TIERS; i++) {
        topics[3 + i] = worker->topics.tiers[i];
    }
    options.topics = topics;
    options.topic_count = ARRAY_LEN(topics);
    kafka_properties_from_config(&properties, &worker->config->kafka);
    burst->txn = kafka_txn_create(&properties, &options, fault);
    kafka_properties_free(&properties);
    if (burst->txn == NULL) {
        burst_free(&burst);
        return NULL;
    }
    kafka_txn_notify(burst->txn, event_fd);
    return burst;
}

void burst_free(struct burst **handle)
{
    struct burst *burst = *handle;
    struct list *node;
    struct renewal *renewal;
    size_t cursor = 0;
    if (burst == NULL) {
        return;
    }
    CHECK_MAGIC(burst, BURST_MAGIC);
    burst->closing = true;
    kafka_txn_free(&burst->txn, CLOSE_WAIT_MS);
    list_append_all(&burst->waiting, &burst->mails);
    list_append_all(&burst->waiting, &burst->moved_mails);
    while ((node = list_pop_front(&burst->waiting)) != NULL) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        mail_free(&mail);
    }
    put_away(burst);
    strbuf_free(&burst->checkpoint_text);
    while ((renewal = map_next(&burst->renewals, &cursor)) != NULL) {
        mem_free(renewal);
    }
    map_free(&burst->renewals);
    burst->magic = 0;
    mem_free(burst);
    *handle = NULL;
}
