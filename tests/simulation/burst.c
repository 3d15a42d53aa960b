/* worker/burst.c, worker/burst_checkpoint.c and lib/kafka/txn_run.c. */
#include "simulation/process.h"

#include "base/mem.h"

#include <string.h>

#define COPIES_EVERY (500 * MS)
#define CHECKPOINT_EVERY SECOND
#define UNKNOWN_AFTER (3 * SECOND)

static void is_over(struct world *world, struct process *process, enum burst_result result);

/* ---- the producer ---- */

static void initialised(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    process->epoch = (int)event->a;
    if (process->burst.busy) { /* made anew under a burst: what became of it is certain now */
        int transaction = process->burst.transaction;
        bool committed =
            transaction >= 0 && world->broker->transactions[transaction].state == TXN_COMMITTED;
        is_over(world, process, committed ? RESULT_COMMITTED : RESULT_ABORTED);
    }
}

static void init_at_broker(struct world *world, struct event *event)
{
    answer_from_broker(world, event, initialised, broker_init_writer(world, event->process), 0,
                       NULL);
}

void writer_init(struct world *world, struct process *process)
{
    process->epoch = 0;
    ask_broker(world, process, init_at_broker, 0, 0, 0, NULL);
}

/* ---- a transaction, step by step ---- */

struct begin_request {
    int count;
    struct {
        int log;
        struct record record;
    } copies[MAILS * 2];
    size_t len;
    char checkpoint[];
};

struct offsets_request {
    int count, epoch, member, generation;
    struct {
        int partition;
        struct committed committed;
    } offsets[PARTITIONS];
};

static void aborted(struct world *world, struct event *event)
{
    is_over(world, running(world, event), RESULT_LOST);
}

static void abort_at_broker(struct world *world, struct event *event)
{
    broker_end_transaction(world, (int)event->a, (int)event->b, false);
    answer_from_broker(world, event, aborted, 0, 0, NULL);
}

static void commit_answered(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    if (event->a == VERDICT_OK) {
        is_over(world, process, RESULT_COMMITTED);
    } else {
        writer_init(world, process);
    }
}

static void commit_not_answered(struct world *world, struct event *event)
{
    writer_init(world, running(world, event));
}

static void commit_at_broker(struct world *world, struct event *event)
{
    enum verdict verdict = broker_end_transaction(world, (int)event->a, (int)event->b, true);
    if (!world->gentle && perhaps(world, 4)) { /* the answer is lost */
        later(world, UNKNOWN_AFTER,
              (struct event){.run = commit_not_answered,
                             .process = event->process,
                             .incarnation = event->incarnation});
    } else {
        answer_from_broker(world, event, commit_answered, verdict, 0, NULL);
    }
}

static void offsets_answered(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    switch ((enum verdict)event->a) {
    case VERDICT_OK:
        ask_broker(world, process, commit_at_broker, process->burst.transaction, process->epoch, 0,
                   NULL);
        break;
    case VERDICT_FENCED: writer_init(world, process); break;
    case VERDICT_GENERATION:
        ask_broker(world, process, abort_at_broker, process->burst.transaction, process->epoch, 0,
                   NULL);
        break;
    }
}

static void offsets_at_broker(struct world *world, struct event *event)
{
    const struct offsets_request *request = event->data;
    enum verdict verdict = VERDICT_OK;
    for (int i = 0; i < request->count && verdict == VERDICT_OK; i++) {
        verdict = broker_send_offset(world, (int)event->a, request->epoch, request->member,
                                     request->generation, request->offsets[i].partition,
                                     request->offsets[i].committed.offset,
                                     request->offsets[i].committed.metadata);
    }
    answer_from_broker(world, event, offsets_answered, verdict, 0, NULL);
}

static void begun(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    struct burst *burst = &process->burst;
    if (event->a < 0) {
        writer_init(world, process);
        return;
    }
    burst->transaction = (int)event->a;
    burst->asked = world->now;
    struct offsets_request *request = mem_zalloc(sizeof(*request));
    request->count = burst->offset_count;
    request->epoch = process->epoch;
    request->member = burst->member;
    request->generation = burst->generation;
    for (int i = 0; i < burst->offset_count; i++) {
        const struct ledger_metadata metadata = {
            .slot = process->slot,
            .checkpoint = event->b,
            .claim = world->broken == BREAK_CLAIM_NUMBER ? 1 : burst->offsets[i].claim,
            .released = burst->kind == BURST_RELEASE,
            .writer = slice_cstr(process->name)};
        request->offsets[i].partition = burst->offsets[i].partition;
        request->offsets[i].committed.offset = burst->offsets[i].offset;
        ledger_metadata_format(&metadata, request->offsets[i].committed.metadata);
    }
    ask_broker(world, process, offsets_at_broker, burst->transaction, 0, 0, request);
}

static void begin_at_broker(struct world *world, struct event *event)
{
    const struct begin_request *request = event->data;
    int transaction = broker_begin(world, event->process, (int)event->a);
    int64_t offset = -1;
    if (transaction >= 0) {
        for (int i = 0; i < request->count; i++) {
            broker_append(world, request->copies[i].log, transaction, &request->copies[i].record,
                          NULL, 0);
        }
        offset = broker_append(world, LOG_MOVED + event->process % SLOTS, transaction, NULL,
                               request->checkpoint, request->len);
    }
    answer_from_broker(world, event, begun, transaction, offset, NULL);
}

/* ---- putting one together ---- */

bool burst_is_due(const struct world *world, const struct process *process)
{
    const struct burst *burst = &process->burst;
    if (burst->busy || process->epoch == 0) {
        return false;
    }
    for (int i = 0; i < MAILS; i++) {
        if (process->mails[i].where == WHERE_WAITS) {
            return world->now - burst->last_end >= COPIES_EVERY;
        }
    }
    return burst->changed && world->now - burst->last_end >= CHECKPOINT_EVERY;
}

void burst_drop_gone(struct world *world, struct process *process)
{
    for (int i = 0; i < MAILS; i++) {
        struct mail *mail = &process->mails[i];
        if (mail->where == WHERE_WAITS && !ticket_is_valid(process, mail)) {
            mail_free(world, process, mail);
        }
    }
}

static void add_copy(struct begin_request *request, const struct mail *mail, enum rcpt state,
                     int log)
{
    struct record record = {
        .message = mail->record.message, .attempt = mail->record.attempt, .due = mail->due};
    for (int i = 0; i < RCPTS; i++) {
        record.mask |= mail->rcpts[i] == state ? 1u << i : 0;
        record.attempt += mail->rcpts[i] == state && mail->state.known[i] == KNOWN_OUTCOME &&
                          record.attempt == mail->record.attempt;
    }
    if (record.mask != 0) {
        request->copies[request->count].log = log;
        request->copies[request->count++].record = record;
    }
}

static void take_mails(struct process *process, struct begin_request *request)
{
    for (int i = 0; i < MAILS; i++) {
        struct mail *mail = &process->mails[i];
        if (mail->where == WHERE_WAITS) {
            mail->where = WHERE_BURST;
            add_copy(request, mail, RCPT_DEFERRED, mail->tier);
            add_copy(request, mail, RCPT_KEPT, LOG_UNCERTAIN);
        }
    }
}

static size_t moved_of(const struct world *world, const struct process *process, int partition,
                       int64_t moved[MAILS])
{
    size_t count = 0;
    for (int i = 0; i < MAILS; i++) {
        const struct mail *mail = &process->mails[i];
        if (mail->where == WHERE_BURST && mail->partition == partition &&
            world->broken != BREAK_COPIES && world->broken != BREAK_BURST_FIRST) {
            moved[count++] = mail->offset;
        }
    }
    return count;
}

/* What the next owner is to wait for: worker/intake_group.c, add_waits(). */
static size_t awaited_of(const struct world *world, struct process *process, int partition,
                         uint64_t claim, struct ledger_awaited out[8], int64_t offsets[MAILS])
{
    size_t count = claims_awaiting(process, partition, out, 7);
    size_t flying = 0;
    CHECK(count <= 7);
    for (int i = 0; i < process->in_flight_count && process->burst.kind == BURST_RELEASE; i++) {
        const struct in_flight *one = &process->in_flight[i];
        if (one->partition == partition &&
            offsets_is_open(&process->owned[partition].offsets, one->offset) &&
            world->broken != BREAK_IN_FLIGHT) {
            size_t at = flying++;
            for (; at > 0 && offsets[at - 1] > one->offset; at--) {
                offsets[at] = offsets[at - 1];
            }
            offsets[at] = one->offset;
        }
    }
    if (flying > 0) {
        out[count++] = (struct ledger_awaited){.slot = process->slot,
                                               .done_offset = process->done_offset,
                                               .claim = claim,
                                               .wait_ms = WAIT_MS,
                                               .offsets = offsets,
                                               .offset_count = flying};
    }
    return count;
}

static void add_partition(struct world *world, struct process *process, int number, uint64_t claim,
                          const struct offsets *offsets)
{
    struct burst *burst = &process->burst;
    struct ledger_awaited awaited[8];
    int64_t moved[MAILS];
    int64_t in_flight[MAILS];
    size_t before = burst->checkpoint.len;
    const struct checkpoint_partition part = {
        .partition = {slice_cstr(topic_of[number]), number,
                      world->broken == BREAK_CLAIM_NUMBER ? 1 : claim},
        .offsets = offsets,
        .moved = moved,
        .moved_count = moved_of(world, process, number, moved),
        .awaited = awaited,
        .awaited_count = awaited_of(world, process, number, claim, awaited, in_flight)};
    bool fits = world->broken == BREAK_RUNS || checkpoint_partition(&burst->checkpoint, &part);
    int64_t base = checkpoint_base(offsets, moved, part.moved_count);
    CHECK(fits);
    if (burst->kind != BURST_USUAL || burst->checkpoint.len > before ||
        base != process->owned[number].committed ||
        world->now - process->owned[number].renewed > LEDGER_RENEW_MS * MS) {
        int at = burst->offset_count++;
        burst->offsets[at].partition = number;
        burst->offsets[at].offset = base;
        burst->offsets[at].claim = claim;
    }
}

static void write_checkpoint(struct world *world, struct process *process)
{
    struct burst *burst = &process->burst;
    const struct claims *claims = &process->claims;
    const struct ledger_checkpoint header = {.writer = slice_cstr(process->name),
                                             .worker = slice_cstr(process->name),
                                             .slot = process->slot,
                                             .done_offset = process->done_offset,
                                             .time_ms = wall_of(world, process) / MS};
    strbuf_reset(&burst->checkpoint);
    burst->offset_count = 0;
    bool fits = checkpoint_begin(&burst->checkpoint, &header);
    CHECK(fits);
    int first = -1;
    for (int i = 0; burst->kind == BURST_CLAIM && i < claims->count; i++) {
        add_partition(world, process, claims->mine[i], claims->starts[i].claim,
                      &claims->starts[i].offsets);
    }
    for (int i = 0; burst->kind != BURST_CLAIM && i < PARTITIONS; i++) {
        if (process->owned[i].ready) {
            first = first < 0 ? i : first;
            add_partition(world, process, i, process->owned[i].claim, &process->owned[i].offsets);
        }
    }
    if (burst->offset_count == 0 && first >= 0) { /* at least one: the group is asked with it */
        burst->offsets[0].partition = first;
        burst->offsets[0].offset = process->owned[first].offsets.watermark;
        burst->offsets[0].claim = process->owned[first].claim;
        burst->offset_count = 1;
    }
}

bool burst_submit(struct world *world, struct process *process, enum burst_kind kind)
{
    struct burst *burst = &process->burst;
    struct begin_request request = {.count = 0};
    if (burst->busy || process->epoch == 0) {
        return false;
    }
    burst->kind = kind;
    if (kind != BURST_CLAIM) {
        burst_drop_gone(world, process);
        take_mails(process, &request);
    }
    write_checkpoint(world, process);
    request.len = burst->checkpoint.len;
    struct begin_request *out = mem_zalloc(sizeof(request) + request.len);
    memcpy(out, &request, sizeof(request));
    memcpy(out->checkpoint, burst->checkpoint.ptr, request.len);
    burst->busy = true;
    burst->changed = false;
    burst->transaction = -1;
    burst->member = process->member;
    burst->generation = process->generation;
    ask_broker(world, process, begin_at_broker, process->epoch, 0, 0, out);
    return true;
}

/* ---- the end of one ---- */

static void is_over(struct world *world, struct process *process, enum burst_result result)
{
    struct burst *burst = &process->burst;
    CHECK(burst->busy);
    burst->busy = false;
    burst->last_end = world->now;
    if (result == RESULT_COMMITTED) {
        if (world->broken == BREAK_CONTACT && burst->asked > process->contact &&
            burst->generation == process->generation) {
            process->contact = burst->asked;
        }
        for (int i = 0; i < burst->offset_count; i++) {
            struct owned *owned = &process->owned[burst->offsets[i].partition];
            owned->committed = burst->offsets[i].offset;
            owned->renewed = world->now;
        }
    }
    for (int i = 0; i < MAILS; i++) {
        struct mail *mail = &process->mails[i];
        if (mail->where != WHERE_BURST) {
            continue;
        }
        if (result == RESULT_COMMITTED) {
            mail_moved(world, process, mail);
        } else {
            mail->where = WHERE_WAITS;
        }
    }
    if (result != RESULT_COMMITTED) {
        burst->changed = true;
        burst_drop_gone(world, process);
    }
    switch (burst->kind) {
    case BURST_USUAL: break;
    case BURST_CLAIM: claims_burst_over(world, process, result); break;
    case BURST_RELEASE: evict_burst_over(world, process, result); break;
    }
}
