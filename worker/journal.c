#include "worker/journal.h"

#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#define WRITER_MAGIC 0x4a4f5552u
#define BATCH_MAGIC 0x42544348u
/* A batch of that size goes at once; a single entry may be larger. */
#define BATCH_BYTES ((size_t)16 * 1024)
#define OUTCOMES_FEW 8
#define RETRY_FULL_MS 5
#define RETRY_FAILED_MS 200

/* One Kafka record. On the lists of its writer; its bytes lie behind the struct. */
struct batch {
    uint32_t magic;
    struct kafka_delivery delivery;
    struct letter letter;
    struct list node;
    struct journal_writer *writer;
    uint64_t number;
    bool failed;
    size_t len;
    char bytes[];
};

struct journal_writer {
    uint32_t magic;
    struct worker *worker;
    struct io_loop *loop;
    struct mailbox *mailbox;
    int64_t linger_ms;
    void (*acknowledged)(void *owner);
    void *owner;

    struct journal *open;  /* the batch that is being filled */
    uint64_t open_number;  /* … its number */
    struct list queued;    /* to be produced, in order */
    struct list in_flight; /* at Kafka, in order */
    struct list failed;    /* not taken: go again, in order, before anything else */
    size_t backlog;
    uint64_t safe; /* all batches below are on Kafka */
    struct timer linger, retry;
};

static void linger_over(struct timer *timer, struct mono_time now);
static void retry(struct timer *timer, struct mono_time now);

/* ---- batches ---- */

/* Intake thread. */
static void delivered(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                      const struct fault *fault)
{
    struct batch *batch = CONTAINER_OF(delivery, struct batch, delivery);
    CHECK_MAGIC(batch, BATCH_MAGIC);
    (void)partition;
    batch->failed = fault != NULL;
    if (fault == NULL && offset >= batch->writer->worker->journal_end) {
        batch->writer->worker->journal_end = offset + 1;
    }
    mailbox_post(batch->writer->mailbox, &batch->letter);
}

static void retry_later(struct journal_writer *writer, int64_t wait_ms)
{
    wheel_set(io_loop_wheel(writer->loop), &writer->retry,
              mono_add_ms(io_loop_now(writer->loop), wait_ms), retry);
}

/* What failed must be there before what follows it, so nothing is sent while some of it is still in
 * flight. */
static void send_queued(struct journal_writer *writer)
{
    struct fault fault;
    if (!list_empty(&writer->failed)) {
        if (!list_empty(&writer->in_flight)) {
            return;
        }
        list_append_all(&writer->failed, &writer->queued);
        list_append_all(&writer->queued, &writer->failed);
        retry_later(writer, RETRY_FAILED_MS);
        return;
    }
    while (!list_empty(&writer->queued) && !timer_is_set(&writer->retry) &&
           writer->worker->journal != NULL) {
        struct batch *batch = CONTAINER_OF(writer->queued.next, struct batch, node);
        const struct kafka_record_out record = {
            .topic = writer->worker->topics.done,
            .partition = writer->worker->slot,
            .key = slice_cstr(writer->worker->name),
            .value = slice_of(batch->bytes, batch->len),
            .borrow_value = true,
            .delivery = &batch->delivery,
        };
        list_remove(&batch->node);
        list_push_back(&writer->in_flight, &batch->node);
        if (!kafka_producer_send(writer->worker->journal, &record, &fault)) {
            list_remove(&batch->node);
            list_push_front(&writer->queued, &batch->node);
            retry_later(writer, fault.kind == FAULT_LIMIT ? RETRY_FULL_MS : RETRY_FAILED_MS);
        }
    }
}

static void retry(struct timer *timer, struct mono_time now)
{
    struct journal_writer *writer = CONTAINER_OF(timer, struct journal_writer, retry);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    (void)now;
    send_queued(writer);
}

/* The lowest batch that is not on Kafka. */
static uint64_t lowest_open(const struct journal_writer *writer)
{
    const struct list *const lists[] = {&writer->failed, &writer->in_flight, &writer->queued};
    uint64_t lowest = writer->open_number;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        if (!list_empty(lists[i])) {
            const struct batch *first = CONTAINER_OF(lists[i]->next, struct batch, node);
            lowest = first->number < lowest ? first->number : lowest;
        }
    }
    return lowest;
}

static void batch_came_back(struct letter *letter, void *owner)
{
    struct journal_writer *writer = owner;
    struct batch *batch = CONTAINER_OF(letter, struct batch, letter);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    CHECK_MAGIC(batch, BATCH_MAGIC);
    list_remove(&batch->node);
    if (batch->failed) {
        list_push_back(&writer->failed, &batch->node);
        send_queued(writer);
        return;
    }
    batch->magic = 0;
    mem_free(batch);
    writer->backlog--;
    uint64_t safe = lowest_open(writer);
    if (!list_empty(&writer->failed)) {
        send_queued(writer);
    }
    if (safe > writer->safe) {
        writer->safe = safe;
        writer->acknowledged(writer->owner);
    }
}

static void queue_batch(struct journal_writer *writer, struct slice bytes)
{
    struct batch *batch = mem_zalloc(sizeof(*batch) + bytes.len);
    batch->magic = BATCH_MAGIC;
    batch->writer = writer;
    batch->delivery.done = delivered;
    batch->number = writer->open_number++;
    batch->len = bytes.len;
    if (bytes.len > 0) {
        memcpy(batch->bytes, bytes.ptr, bytes.len);
    }
    list_push_back(&writer->queued, &batch->node);
    writer->backlog++;
    send_queued(writer);
}

uint64_t journal_writer_begin(struct journal_writer *writer)
{
    CHECK_MAGIC(writer, WRITER_MAGIC);
    queue_batch(writer, SLICE_NULL);
    return writer->open_number;
}

void journal_writer_flush(struct journal_writer *writer)
{
    CHECK_MAGIC(writer, WRITER_MAGIC);
    wheel_cancel(io_loop_wheel(writer->loop), &writer->linger);
    struct slice bytes = journal_take(writer->open);
    if (bytes.len == 0) {
        return;
    }
    queue_batch(writer, bytes);
}

static void linger_over(struct timer *timer, struct mono_time now)
{
    struct journal_writer *writer = CONTAINER_OF(timer, struct journal_writer, linger);
    (void)now;
    journal_writer_flush(writer);
}

/* Something was appended. */
static void appended(struct journal_writer *writer)
{
    if (journal_size(writer->open) >= BATCH_BYTES) {
        journal_writer_flush(writer);
    } else if (!timer_is_set(&writer->linger)) {
        wheel_set(io_loop_wheel(writer->loop), &writer->linger,
                  mono_add_ms(io_loop_now(writer->loop), writer->linger_ms), linger_over);
    }
}

/* ---- life ---- */

struct journal_writer *journal_writer_create(struct worker *worker, struct io_loop *loop,
                                             int64_t linger_ms, void (*acknowledged)(void *owner),
                                             void *owner, struct fault *fault)
{
    struct journal_writer *writer = mem_zalloc(sizeof(*writer));
    writer->magic = WRITER_MAGIC;
    writer->worker = worker;
    writer->loop = loop;
    writer->linger_ms = linger_ms;
    writer->acknowledged = acknowledged;
    writer->owner = owner;
    writer->open_number = writer->safe = 1;
    list_init(&writer->queued);
    list_init(&writer->in_flight);
    list_init(&writer->failed);
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
    CHECK(list_empty(&writer->in_flight));
    list_append_all(&writer->queued, &writer->failed);
    while ((node = list_pop_front(&writer->queued)) != NULL) {
        mem_free(CONTAINER_OF(node, struct batch, node));
    }
    journal_free(&writer->open);
    writer->magic = 0;
    mem_free(writer);
    *handle = NULL;
}

uint64_t journal_writer_mark(const struct journal_writer *writer)
{
    return journal_size(writer->open) > 0 ? writer->open_number + 1 : writer->open_number;
}

bool journal_writer_is_safe(const struct journal_writer *writer, uint64_t mark)
{
    return writer->safe >= mark;
}

size_t journal_writer_backlog(const struct journal_writer *writer)
{
    return writer->backlog;
}

/* ---- mails ---- */

static struct ledger_place place_of(const struct mail *mail)
{
    return (struct ledger_place){
        .topic = mail->record.topic,
        .partition = mail->record.partition_id,
        .claim = mail->claim,
        .offset = mail->ticket.offset,
    };
}

/* The batch takes entries until it is full; one that does not even fit an empty one is a bug. */
#define APPEND(writer, call)                                                                       \
    do {                                                                                           \
        if (!(call)) {                                                                             \
            journal_writer_flush(writer);                                                          \
            CHECK(call);                                                                           \
        }                                                                                          \
    } while (false)

uint64_t journal_writer_intent(struct journal_writer *writer, struct mail *mail,
                        const uint32_t *recipients, size_t count)
{
    const struct ledger_place place = place_of(mail);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    for (size_t i = 0; i < count; i++) {
        mail->rcpts[recipients[i]].in_doubt = true;
    }
    mail->journaled = true;
    mail->turn++;
    APPEND(writer, journal_intent(writer->open, &place, mail->turn, recipients, count));
    uint64_t mark = writer->open_number + 1;
    appended(writer);
    return mark;
}

static enum ledger_result result_of(enum smtp_result result)
{
    switch (result) {
    case SMTP_RESULT_DELIVERED: return LEDGER_DELIVERED;
    case SMTP_RESULT_DEFERRED: return LEDGER_DEFERRED;
    case SMTP_RESULT_BOUNCED: return LEDGER_BOUNCED;
    case SMTP_RESULT_UNCERTAIN: return LEDGER_UNCERTAIN;
    case SMTP_RESULT_NONE: break;
    }
    return LEDGER_UNTRIED;
}

void journal_writer_note(struct mail *mail, uint32_t index, const struct smtp_outcome *outcome)
{
    struct mail_rcpt *rcpt = &mail->rcpts[index];
    rcpt->result = result_of(outcome->result);
    rcpt->code = outcome->code;
    rcpt->enhanced = outcome->enhanced;
    rcpt->text = outcome->text;
    rcpt->due_ms = rcpt->state == MAIL_RCPT_DEFERRED ? mail->due_ms : 0;
}

static bool is_same(const struct mail_rcpt *a, const struct mail_rcpt *b)
{
    return a->result == b->result && a->code == b->code && a->due_ms == b->due_ms &&
           a->enhanced.klass == b->enhanced.klass && a->enhanced.subject == b->enhanced.subject &&
           a->enhanced.detail == b->enhanced.detail && slice_eq(a->text, b->text);
}

/* Those who met the same follow each other mostly: one group for each run of them. */
static size_t group(const struct mail *mail, const uint32_t *recipients, size_t count,
                    struct ledger_outcome *outcomes)
{
    size_t groups = 0;
    for (size_t i = 0; i < count; i++) {
        const struct mail_rcpt *rcpt = &mail->rcpts[recipients[i]];
        if (i > 0 && is_same(rcpt, &mail->rcpts[recipients[i - 1]])) {
            outcomes[groups - 1].recipient_count++;
            continue;
        }
        outcomes[groups++] = (struct ledger_outcome){
            .recipients = &recipients[i],
            .recipient_count = 1,
            .result = rcpt->result,
            .code = rcpt->code,
            .enhanced = rcpt->enhanced,
            .text = rcpt->text,
            .due_ms = rcpt->due_ms,
        };
    }
    return groups;
}

static struct ledger_outcome *room_for(size_t count, struct ledger_outcome few[OUTCOMES_FEW])
{
    return count <= OUTCOMES_FEW ? few : mem_calloc(count, sizeof(*few));
}

static void add_outcomes(struct journal_writer *writer, const struct mail *mail,
                         const uint32_t *recipients, size_t count)
{
    const struct ledger_place place = place_of(mail);
    struct ledger_outcome few[OUTCOMES_FEW];
    struct ledger_outcome *outcomes = room_for(count, few);
    size_t groups = group(mail, recipients, count, outcomes);
    APPEND(writer, journal_done(writer->open, &place, mail->turn, outcomes, groups));
    if (outcomes != few) {
        mem_free(outcomes);
    }
    appended(writer);
}

void journal_writer_outcomes(struct journal_writer *writer, struct mail *mail, const uint32_t *recipients,
                      size_t count)
{
    CHECK_MAGIC(writer, WRITER_MAGIC);
    for (size_t i = 0; i < count; i++) {
        mail->rcpts[recipients[i]].in_doubt = false;
        mail->rcpts[recipients[i]].told = true;
    }
    add_outcomes(writer, mail, recipients, count);
}

void journal_writer_closed(struct journal_writer *writer, const struct mail *mail)
{
    const struct ledger_place place = place_of(mail);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    APPEND(writer, journal_closed(writer->open, &place, 1));
    appended(writer);
}

void journal_writer_left(struct journal_writer *writer, const struct mail *mail)
{
    const struct ledger_place place = place_of(mail);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    APPEND(writer, journal_left(writer->open, &place));
    appended(writer);
}

void journal_writer_restate(struct journal_writer *writer, const struct mail *mail)
{
    const struct ledger_place place = place_of(mail);
    uint32_t told[MESSAGE_RECIPIENTS_MAX], in_doubt[MESSAGE_RECIPIENTS_MAX];
    size_t told_count = 0, in_doubt_count = 0;
    CHECK_MAGIC(writer, WRITER_MAGIC);
    for (uint32_t i = 0; mail->journaled && i < mail->message.recipient_count; i++) {
        if (mail->rcpts[i].in_doubt) {
            in_doubt[in_doubt_count++] = i;
        } else if (mail->rcpts[i].told) {
            told[told_count++] = i;
        }
    }
    if (told_count + in_doubt_count == 0) {
        return;
    }
    struct ledger_outcome few[OUTCOMES_FEW];
    struct ledger_outcome *outcomes = room_for(told_count, few);
    const struct ledger_state state = {
        .turn = mail->turn,
        .outcomes = outcomes,
        .outcome_count = group(mail, told, told_count, outcomes),
        .in_doubt = in_doubt,
        .in_doubt_count = in_doubt_count,
    };
    journal_writer_state(writer, &place, &state);
    if (outcomes != few) {
        mem_free(outcomes);
    }
}

void journal_writer_state(struct journal_writer *writer, const struct ledger_place *place,
                          const struct ledger_state *state)
{
    CHECK_MAGIC(writer, WRITER_MAGIC);
    APPEND(writer, journal_state(writer->open, place, state));
    appended(writer);
}
