/* worker/journal.c, worker/journal_mail.c, worker/restate.c. */
#include "simulation/process.h"

#include "base/mem.h"

#include <string.h>

#define LINGER (2 * MS)
#define CLOSED_LINGER (20 * MS)
#define STUCK SECOND
#define RESTATE_EVERY SECOND /* more often than there, to see more of it */

void writers_create(struct process *process)
{
    for (int i = 0; i < THREADS; i++) {
        process->writers[i].open = journal_create(process->name, JOURNAL_BATCH_MIN);
        process->writers[i].open_number = process->writers[i].safe = 1;
    }
}

void writers_free(struct process *process)
{
    for (int i = 0; i < THREADS; i++) {
        struct writer_thread *writer = &process->writers[i];
        journal_free(&writer->open);
        writer->unsafe_count = 0;
    }
}

/* ---- batches ---- */

static void say_left(struct world *world, struct process *process, int thread);

static void acknowledged(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    int thread = (int)(event->a & 3);
    uint64_t number = (uint64_t)event->a >> 2;
    struct writer_thread *writer = &process->writers[thread];
    int at = 0;
    process->journal_end = event->b >= process->journal_end ? event->b + 1 : process->journal_end;
    while (at < writer->unsafe_count && writer->unsafe[at].number != number) {
        at++;
    }
    CHECK(at < writer->unsafe_count);
    memmove(&writer->unsafe[at], &writer->unsafe[at + 1],
            (size_t)(writer->unsafe_count - at - 1) * sizeof(writer->unsafe[0]));
    writer->unsafe_count--;
    writer->safe = writer->unsafe_count == 0 ? writer->open_number : writer->unsafe[0].number;
    say_left(world, process, thread);
    safer(world, process, thread);
}

static void append_at_broker(struct world *world, struct event *event)
{
    int64_t offset = broker_append(world, LOG_DONE + event->process % SLOTS, -1, NULL, event->data,
                                   (size_t)event->b);
    answer_from_broker(world, event, acknowledged, event->a, offset, NULL);
}

static void send_batch(struct world *world, struct process *process, int thread, struct slice bytes)
{
    struct writer_thread *writer = &process->writers[thread];
    CHECK(writer->unsafe_count < BATCHES);
    uint64_t number = writer->open_number++;
    writer->unsafe[writer->unsafe_count++] = (struct batch){.number = number, .begun = world->now};
    /* A producer's first record may take long: it has to find out where to. */
    int64_t stall = number == 1 && thread == INTAKE && perhaps(world, 30) ? pick(world, SECOND) : 0;
    ask_broker_in(world, process, stall, append_at_broker,
                  (int64_t)(number << 2 | (unsigned)thread), (int64_t)bytes.len, 0,
                  mem_strndup(bytes.ptr, bytes.len));
}

void writer_flush(struct world *world, struct process *process, int thread)
{
    struct slice bytes = journal_take(process->writers[thread].open);
    if (bytes.len > 0) {
        send_batch(world, process, thread, bytes);
    }
}

static void linger_over(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    process->writers[event->a].lingers = false;
    writer_flush(world, process, (int)event->a);
}

static void appended(struct world *world, struct process *process, int thread, bool fits)
{
    struct writer_thread *writer = &process->writers[thread];
    CHECK(fits); /* a few hundred entries at most */
    if (!writer->lingers) {
        writer->lingers = true;
        at_thread(world, process, thread == INTAKE ? CLOSED_LINGER : LINGER, linger_over, thread,
                  0);
    }
}

uint64_t writer_mark(const struct process *process, int thread)
{
    const struct writer_thread *writer = &process->writers[thread];
    return journal_size(writer->open) > 0 ? writer->open_number + 1 : writer->open_number;
}

bool writer_is_safe(const struct process *process, int thread, uint64_t mark)
{
    return process->writers[thread].safe >= mark;
}

bool writer_is_stuck(const struct world *world, const struct process *process, int thread)
{
    const struct writer_thread *writer = &process->writers[thread];
    return writer->unsafe_count > 0 && world->now - writer->unsafe[0].begun > STUCK;
}

/* ---- entries ---- */

static struct ledger_place place_of(const struct world *world, int partition, int64_t offset,
                                    uint64_t claim)
{
    return (struct ledger_place){.topic = topic_of[partition],
                                 .partition = partition,
                                 .claim = world->broken == BREAK_CLAIM_NUMBER ? 1 : claim,
                                 .offset = offset};
}

static struct ledger_place mail_place(const struct world *world, const struct mail *mail)
{
    return place_of(world, mail->partition, mail->offset, mail->claim);
}

static size_t indexes(uint32_t mask, uint32_t out[RCPTS])
{
    size_t count = 0;
    for (uint32_t i = 0; i < RCPTS; i++) {
        if (in_mask(mask, (int)i)) {
            out[count++] = i;
        }
    }
    return count;
}

void write_intent(struct world *world, struct process *process, struct mail *mail, uint32_t mask)
{
    const struct ledger_place place = mail_place(world, mail);
    uint32_t recipients[RCPTS];
    size_t count = indexes(mask, recipients);
    for (size_t i = 0; i < count; i++) {
        mail->state.known[recipients[i]] = KNOWN_DOUBT;
    }
    mail->journaled = true;
    mail->state.turn++;
    appended(world, process, mail->shard,
             journal_intent(process->writers[mail->shard].open, &place, mail->state.turn,
                            recipients, count));
    mail->intent = writer_mark(process, mail->shard);
}

static size_t outcomes_of(const struct state *state, uint32_t mask,
                          struct ledger_outcome outcomes[RCPTS])
{
    static const uint32_t numbers[RCPTS] = {0, 1};
    size_t count = 0;
    for (uint32_t i = 0; i < RCPTS; i++) {
        if (in_mask(mask, (int)i)) {
            outcomes[count++] = (struct ledger_outcome){.recipients = &numbers[i],
                                                        .recipient_count = 1,
                                                        .result = state->result[i],
                                                        .due_ms = state->due[i]};
        }
    }
    return count;
}

void write_done(struct world *world, struct process *process, struct mail *mail, uint32_t mask)
{
    const struct ledger_place place = mail_place(world, mail);
    struct ledger_outcome outcomes[RCPTS];
    for (int i = 0; i < RCPTS; i++) {
        if (in_mask(mask, (int)i)) {
            mail->state.known[i] = KNOWN_OUTCOME;
        }
    }
    size_t count = outcomes_of(&mail->state, mask, outcomes);
    appended(world, process, mail->shard,
             journal_done(process->writers[mail->shard].open, &place, mail->state.turn, outcomes,
                          count));
}

void write_closed(struct world *world, struct process *process, const struct mail *mail)
{
    const struct ledger_place place = mail_place(world, mail);
    appended(world, process, INTAKE, journal_closed(process->writers[INTAKE].open, &place, 1));
}

static void say_left(struct world *world, struct process *process, int thread)
{
    struct writer_thread *writer = &process->writers[thread];
    int said = 0;
    while (said < writer->leaving_count && writer->leaving[said].mark <= writer->safe) {
        appended(
            world, process, thread,
            journal_left(writer->open, &writer->leaving[said].place, writer->leaving[said].turn));
        said++;
    }
    memmove(&writer->leaving[0], &writer->leaving[said],
            (size_t)(writer->leaving_count - said) * sizeof(writer->leaving[0]));
    writer->leaving_count -= said;
}

void write_left(struct world *world, struct process *process, const struct mail *mail)
{
    struct writer_thread *writer = &process->writers[mail->shard];
    CHECK(writer->leaving_count < MAILS);
    int at = writer->leaving_count++;
    writer->leaving[at].place = mail_place(world, mail);
    writer->leaving[at].turn = mail->state.turn;
    writer->leaving[at].mark = writer_mark(process, mail->shard);
    say_left(world, process, mail->shard);
}

void write_state(struct world *world, struct process *process, int thread, int partition,
                 int64_t offset, uint64_t claim, const struct state *state)
{
    const struct ledger_place place = place_of(world, partition, offset, claim);
    struct ledger_outcome outcomes[RCPTS];
    uint32_t in_doubt[RCPTS];
    uint32_t told = 0;
    uint32_t doubted = 0;
    for (int i = 0; i < RCPTS; i++) {
        told |= state->known[i] == KNOWN_OUTCOME ? 1u << i : 0;
        doubted |= state->known[i] == KNOWN_DOUBT ? 1u << i : 0;
    }
    if (told + doubted == 0) {
        return;
    }
    const struct ledger_state out = {.turn = state->turn,
                                     .outcomes = outcomes,
                                     .outcome_count = outcomes_of(state, told, outcomes),
                                     .in_doubt = in_doubt,
                                     .in_doubt_count = indexes(doubted, in_doubt)};
    appended(world, process, thread, journal_state(process->writers[thread].open, &place, &out));
}

void restate_mail(struct world *world, struct process *process, int thread, const struct mail *mail)
{
    if (mail->journaled) {
        write_state(world, process, thread, mail->partition, mail->offset, mail->claim,
                    mail->has_inherited ? &mail->inherited : &mail->state);
    }
}

/* ---- stating again: worker/restate.c ---- */

void restate_create(struct world *world, struct process *process)
{
    struct strbuf nothing;
    strbuf_init(&nothing, LEDGER_NAME_MAX + 16);
    bool ok = completion_put_writer(&nothing, slice_cstr(process->name));
    CHECK(ok);
    send_batch(world, process, INTAKE, strbuf_slice(&nothing));
    strbuf_free(&nothing);
    process->restate_begun = process->writers[INTAKE].open_number;
    process->done_offset = process->restate_end = -1;
}

bool restate_is_ready(struct process *process)
{
    if (process->done_offset < 0 && writer_is_safe(process, INTAKE, process->restate_begun)) {
        process->done_offset = process->journal_end;
    }
    return process->done_offset >= 0;
}

void shard_restates(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    int shard = (int)event->a;
    for (int i = 0; i < MAILS; i++) {
        const struct mail *mail = &process->mails[i];
        if ((mail->where == WHERE_QUEUE || mail->where == WHERE_SESSION) && mail->shard == shard &&
            world->broken != BREAK_RESTATING) {
            restate_mail(world, process, shard, mail);
        }
    }
    process->restate_marks[shard] = writer_mark(process, shard);
    writer_flush(world, process, shard);
    evict_answer_when_safe(world, process, shard);
}

void restate_serve(struct world *world, struct process *process)
{
    /* What is given back nobody states again, and its entries count until all is released. */
    if (!restate_is_ready(process) ||
        (process->leaving != LEAVING_NOT && world->broken != BREAK_STILL)) {
        return;
    }
    if (process->restate_end < 0) {
        if (world->now < process->restate_next) {
            return;
        }
        process->restate_next = world->now + RESTATE_EVERY;
        process->restate_end = process->journal_end;
        process->restate_missing = SHARDS;
        process->restate_stated = false;
        state_inherited(world, process);
        for (int i = 0; i < SHARDS; i++) {
            post(world, process, i, shard_restates, i, 0);
        }
        return;
    }
    if (process->restate_missing == 0 && !process->restate_stated) {
        state_home(world, process);
        process->restate_mark = writer_mark(process, INTAKE);
        process->restate_stated = true;
    }
    if (process->restate_stated && writer_is_safe(process, INTAKE, process->restate_mark)) {
        process->done_offset = process->restate_end;
        process->restate_end = -1;
    }
}
