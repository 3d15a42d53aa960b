/*
 * What the journal hears of mails: entries from mail->rcpts and back.
 */
#include "worker/journal_private.h"

#include "base/mem.h"

#define OUTCOMES_FEW 8

/* A full batch is sent; every entry fits an empty one. */
#define APPEND(writer, call)                                                                       \
    do {                                                                                           \
        if (!(call)) {                                                                             \
            journal_writer_flush(writer);                                                          \
            bool fits = (call);                                                                    \
            CHECK(fits);                                                                           \
        }                                                                                          \
        journal_writer_appended(writer);                                                           \
    } while (false)

struct ledger_place journal_place(const struct mail *mail)
{
    return (struct ledger_place){
        .topic = mail->record.topic,
        .partition = mail->record.partition_id,
        .claim = mail->ticket.claim,
        .offset = mail->ticket.offset,
    };
}

uint64_t journal_writer_intent(struct journal_writer *writer, struct mail *mail,
                               const uint32_t *recipients, size_t count)
{
    const struct ledger_place place = journal_place(mail);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    for (size_t i = 0; i < count; i++) {
        mail->rcpts[recipients[i]].in_doubt = true;
    }
    mail->journaled = true;
    mail->turn++;
    APPEND(writer, journal_intent(writer->open, &place, mail->turn, recipients, count));
    return journal_writer_mark(writer);
}

/* What was made of an outcome counts, which may be another than the server meant. */
static enum ledger_result result_of(enum mail_rcpt_state state, enum smtp_result result)
{
    if (result == SMTP_RESULT_UNCERTAIN) {
        return LEDGER_UNCERTAIN;
    }
    switch (state) {
    case MAIL_RCPT_PENDING: return LEDGER_UNTRIED;
    case MAIL_RCPT_DEFERRED: return LEDGER_DEFERRED;
    case MAIL_RCPT_HELD:
    case MAIL_RCPT_SETTLED: break;
    }
    return result == SMTP_RESULT_DELIVERED ? LEDGER_DELIVERED : LEDGER_BOUNCED;
}

void journal_note(struct mail *mail, uint32_t index, const struct smtp_outcome *outcome)
{
    struct mail_rcpt *rcpt = &mail->rcpts[index];
    rcpt->result = result_of(rcpt->state, outcome->result);
    rcpt->code = outcome->code;
    rcpt->enhanced = outcome->enhanced;
    /* Why a session broke is told by its own memory, not the mail's. */
    rcpt->text = outcome->result == SMTP_RESULT_NONE ? SLICE_NULL : outcome->text;
    rcpt->due_ms = rcpt->state == MAIL_RCPT_DEFERRED ? mail->due_ms : 0;
}

static bool is_same(const struct mail_rcpt *a, const struct mail_rcpt *b)
{
    return a->result == b->result && a->code == b->code && a->due_ms == b->due_ms &&
           a->enhanced.klass == b->enhanced.klass && a->enhanced.subject == b->enhanced.subject &&
           a->enhanced.detail == b->enhanced.detail && slice_eq(a->text, b->text);
}

/* Those who met the same mostly follow each other: one group for each run of them. */
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

static void room_back(struct ledger_outcome *room, const struct ledger_outcome *few)
{
    if (room != few) {
        mem_free(room);
    }
}

void journal_writer_done(struct journal_writer *writer, struct mail *mail,
                         const uint32_t *recipients, size_t count)
{
    const struct ledger_place place = journal_place(mail);
    struct ledger_outcome few[OUTCOMES_FEW];
    CHECK_MAGIC(writer, WRITER_MAGIC);
    for (size_t i = 0; i < count; i++) {
        mail->rcpts[recipients[i]].in_doubt = false;
        mail->rcpts[recipients[i]].told = true;
    }
    struct ledger_outcome *outcomes = room_for(count, few);
    size_t groups = group(mail, recipients, count, outcomes);
    APPEND(writer, journal_done(writer->open, &place, mail->turn, outcomes, groups));
    room_back(outcomes, few);
}

void journal_writer_closed(struct journal_writer *writer, const struct mail *mail)
{
    const struct ledger_place place = journal_place(mail);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    APPEND(writer, journal_closed(writer->open, &place, 1));
}

void journal_writer_left(struct journal_writer *writer, const struct mail *mail)
{
    const struct ledger_place place = journal_place(mail);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    APPEND(writer, journal_left(writer->open, &place, mail->turn));
}

void journal_writer_restate(struct journal_writer *writer, const struct mail *mail)
{
    uint32_t told[MESSAGE_RECIPIENTS_MAX], in_doubt[MESSAGE_RECIPIENTS_MAX];
    size_t told_count = 0, in_doubt_count = 0;
    const struct ledger_place place = journal_place(mail);
    CHECK_MAGIC(writer, WRITER_MAGIC);
    for (uint32_t i = 0; mail->journaled && i < mail->message.recipient_count; i++) {
        if (mail->rcpts[i].in_doubt) {
            in_doubt[in_doubt_count++] = i;
        } else if (mail->rcpts[i].told) {
            told[told_count++] = i;
        }
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
    room_back(outcomes, few);
}

void journal_writer_state(struct journal_writer *writer, const struct ledger_place *place,
                          const struct ledger_state *state)
{
    CHECK_MAGIC(writer, WRITER_MAGIC);
    if (state->outcome_count + state->in_doubt_count > 0) {
        APPEND(writer, journal_state(writer->open, place, state));
    }
}
