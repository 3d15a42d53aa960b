#include "worker/burst.h"

#include "ledger/metadata.h"
#include "ledger/takeover.h"
#include "worker/copy.h"
#include "worker/journal.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#include <stdlib.h>

#define BURST_MAGIC 0x42525354u
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

/* When a partition was committed last: what is old is committed again, so that its next owner has
 * little to read (ledger/takeover.h). */
struct renewal {
    const struct kafka_partition *partition; /* the key */
    struct mono_time at;
};

/* An open offset whose copies are in the burst. */
struct moved {
    const struct kafka_partition *partition;
    int64_t offset;
};

struct burst {
    uint32_t magic;
    struct worker *worker;
    const struct burst_ops *ops;
    void *owner;
    struct kafka_txn *txn;
    bool closing; /* the owner is not told any more */

    struct list waiting; /* mails, oldest first */
    size_t waiting_bytes;
    bool changed; /* completions, since the last one was begun */
    bool urgent;  /* more waited than went into the last one */
    struct mono_time last_end;
    size_t copies_max;   /* of the next one */
    unsigned failures;   /* one after the other */
    struct map renewals; /* by partition; kept as long as the consumer keeps those */

    /* The one under way; kept as it is until it is over, since the transaction's thread reads it.
     */
    struct kafka_burst kafka;
    enum burst_kind kind;
    struct mono_time began;
    struct list mails;
    size_t mail_bytes;
    struct kafka_record_out *records;
    struct strbuf checkpoint_text;
    struct kafka_record_out checkpoint;
    struct kafka_burst_offset *offsets;
    uint64_t *claims;    /* of the offsets' partitions */
    struct moved *moved; /* sorted */
    size_t moved_count;
};

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
    return kafka_txn_busy(burst->txn);
}

bool burst_is_due(const struct burst *burst, struct mono_time now)
{
    int64_t since_ms = mono_since_us(now, burst->last_end) / 1000;
    if (kafka_txn_busy(burst->txn) || !kafka_txn_ready(burst->txn)) {
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

static int compare_moved(const void *a, const void *b)
{
    const struct moved *left = a;
    const struct moved *right = b;
    if (left->partition != right->partition) {
        return (uintptr_t)left->partition < (uintptr_t)right->partition ? -1 : 1;
    }
    return (left->offset > right->offset) - (left->offset < right->offset);
}

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
    qsort(burst->moved, burst->moved_count, sizeof(*burst->moved), compare_moved);
    burst->kafka.records = burst->records;
    burst->kafka.record_count = copies;
}

/* The offsets of that partition that move: copied to `out`, which has room for all. */
static size_t moved_of(const struct burst *burst, const struct kafka_partition *partition,
                       int64_t *out)
{
    const struct moved wanted = {partition, INT64_MIN};
    size_t low = 0;
    size_t high = burst->moved_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_moved(&burst->moved[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    size_t count = 0;
    while (low < burst->moved_count && burst->moved[low].partition == partition) {
        out[count++] = burst->moved[low++].offset;
    }
    return count;
}

static struct slice renewal_key(const struct kafka_partition *const *partition)
{
    return slice_of(partition, sizeof(*partition));
}

static bool is_old(const struct burst *burst, const struct kafka_partition *partition)
{
    const struct renewal *renewal = map_get(&burst->renewals, renewal_key(&partition));
    return renewal == NULL ||
           mono_since_us(burst->began, renewal->at) > (int64_t)LEDGER_RENEW_MS * 1000;
}

static void renew(struct burst *burst, const struct kafka_partition *partition)
{
    struct renewal *renewal = map_get(&burst->renewals, renewal_key(&partition));
    if (renewal == NULL) {
        renewal = mem_zalloc(sizeof(*renewal));
        renewal->partition = partition;
        map_put(&burst->renewals, renewal_key(&renewal->partition), renewal);
    }
    renewal->at = burst->began;
}

static void add_offset(struct burst *burst, const struct burst_partition *one, int64_t offset)
{
    size_t at = burst->kafka.offset_count++;
    burst->offsets[at] = (struct kafka_burst_offset){one->partition, offset};
    burst->claims[at] = one->claim;
}

/* False: its checkpoint has no room for it. */
static bool add_partition(struct burst *burst, const struct burst_partition *one, int64_t *moved)
{
    size_t before = burst->checkpoint_text.len;
    const struct checkpoint_partition part = {
        .partition = {slice_cstr(kafka_partition_topic(one->partition)),
                      kafka_partition_id(one->partition), one->claim},
        .offsets = one->offsets,
        .moved = moved,
        .moved_count = moved_of(burst, one->partition, moved),
        .awaited = one->awaited,
        .awaited_count = one->awaited_count,
    };
    if (!checkpoint_partition(&burst->checkpoint_text, &part)) {
        return false;
    }
    int64_t base = checkpoint_base(one->offsets, moved, part.moved_count);
    if (burst->kind != BURST_USUAL || burst->checkpoint_text.len > before ||
        base != kafka_partition_committed(one->partition) || is_old(burst, one->partition)) {
        add_offset(burst, one, base);
    }
    return true;
}

static bool write_checkpoint(struct burst *burst, const struct burst_partition *partitions,
                             size_t count, int64_t done_offset)
{
    const struct worker *worker = burst->worker;
    const struct ledger_checkpoint header = {
        .writer = slice_cstr(worker->transactional_id),
        .worker = slice_cstr(worker->name),
        .slot = worker->slot,
        .done_offset = done_offset,
        .time_ms = wall_now().ms,
    };
    int64_t *moved = mem_calloc(burst->moved_count + 1, sizeof(*moved));
    strbuf_reset(&burst->checkpoint_text);
    bool fits = checkpoint_begin(&burst->checkpoint_text, &header);
    for (size_t i = 0; i < count && fits; i++) {
        fits = add_partition(burst, &partitions[i], moved);
    }
    mem_free(moved);
    if (fits && burst->kafka.offset_count == 0) { /* at least one: the group is asked with it */
        add_offset(burst, &partitions[0], checkpoint_base(partitions[0].offsets, NULL, 0));
    }
    burst->checkpoint = (struct kafka_record_out){
        .topic = worker->topics.moved,
        .partition = worker->slot,
        .key = header.writer,
        .value = strbuf_slice(&burst->checkpoint_text),
    };
    return fits;
}

/* On the transaction's thread. */
static void write_metadata(struct kafka_burst *kafka, size_t index, int64_t checkpoint_offset,
                           char *out, size_t size)
{
    const struct burst *burst = CONTAINER_OF(kafka, struct burst, kafka);
    const struct ledger_metadata metadata = {
        .slot = burst->worker->slot,
        .checkpoint = checkpoint_offset,
        .claim = burst->claims[index],
        .released = burst->kind == BURST_RELEASE,
        .writer = slice_cstr(burst->worker->transactional_id),
    };
    CHECK(size >= LEDGER_METADATA_MAX);
    struct slice text = ledger_metadata_format(&metadata, out);
    CHECK(text.ptr != NULL);
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

static void done(struct kafka_burst *kafka, enum kafka_burst_result result,
                 int64_t checkpoint_offset, const struct fault *fault)
{
    struct burst *burst = CONTAINER_OF(kafka, struct burst, kafka);
    enum burst_kind kind = burst->kind;
    size_t copies = kafka->record_count;
    struct list *node;
    CHECK_MAGIC(burst, BURST_MAGIC);
    (void)checkpoint_offset;
    for (size_t i = 0; result == KAFKA_BURST_COMMITTED && i < kafka->offset_count; i++) {
        renew(burst, kafka->offsets[i].partition);
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
        while ((node = list_pop_front(&burst->mails)) != NULL) {
            burst->ops->moved(burst->owner, CONTAINER_OF(node, struct mail, node));
        }
    } else {
        char reason[FAULT_TEXT_MAX];
        log_warn("burst-failed", "kind=%d result=%d copies=%zu reason=%s", (int)kind, (int)result,
                 copies, log_quote(reason, sizeof(reason), slice_cstr(fault->text)));
        wait_again(burst);
        look_for_culprit(burst, copies);
    }
    burst->ops->over(burst->owner, kind, result);
}

/* ---- the owner's calls ---- */

bool burst_submit(struct burst *burst, struct kafka_consumer *consumer, enum burst_kind kind,
                  const struct burst_partition *partitions, size_t count, int64_t done_offset,
                  struct fault *fault)
{
    CHECK_MAGIC(burst, BURST_MAGIC);
    CHECK(count > 0);
    if (kafka_txn_busy(burst->txn) || !kafka_txn_ready(burst->txn)) {
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
    bool ok = write_checkpoint(burst, partitions, count, done_offset) ||
              fault_set(fault, FAULT_LIMIT, 0,
                        "too much is complete above what is not for one "
                        "checkpoint");
    burst->kafka.checkpoint = &burst->checkpoint;
    burst->kafka.offsets = burst->offsets;
    burst->kafka.metadata = write_metadata;
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

void burst_restate(const struct burst *burst, struct journal_writer *writer)
{
    list_foreach (node, &burst->waiting) {
        journal_writer_restate(writer, CONTAINER_OF(node, struct mail, node));
    }
    list_foreach (node, &burst->mails) {
        journal_writer_restate(writer, CONTAINER_OF(node, struct mail, node));
    }
}

void burst_poll(struct burst *burst)
{
    CHECK_MAGIC(burst, BURST_MAGIC);
    kafka_txn_poll(burst->txn);
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
    map_init(&burst->renewals);
    strbuf_init(&burst->checkpoint_text, CHECKPOINT_MAX_BYTES);
    kafka_txn_options_default(&options);
    options.transactional_id = worker->transactional_id;
    options.client_id = worker->name;
    options.transaction_timeout_ms = TRANSACTION_TIMEOUT_MS;
    struct kafka_property *items = worker_properties(worker->config, &properties);
    burst->txn = kafka_txn_create(&properties, &options, fault);
    mem_free(items);
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
