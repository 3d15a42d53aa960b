/* A mail at its shard: worker/shard.c, worker/inherited.c, worker/session_txn.c; lanes are a wait.
 */
#include "simulation/process.h"

#define SESSIONS_LOST_MAX 3

/* ---- sessions: worker/session_txn.c ---- */

static void into_queue(struct world *world, struct process *process, struct mail *mail);

enum ended { ENDED_ANSWERED, ENDED_BROKEN, ENDED_WITHHELD };

static enum ledger_result result_of(enum answer answer)
{
    switch (answer) {
    case ANSWER_OK: return LEDGER_DELIVERED;
    case ANSWER_LATER: return LEDGER_DEFERRED;
    case ANSWER_NO: return LEDGER_BOUNCED;
    case ANSWER_NONE: break;
    }
    return LEDGER_UNCERTAIN;
}

static void session_ends(struct world *world, struct process *process, struct mail *mail,
                         enum ended ended, enum answer answer)
{
    enum ledger_result result = ended == ENDED_ANSWERED ? result_of(answer) : LEDGER_UNTRIED;
    mail->session++;
    mail->waits_for_intent = false;
    if (ended == ENDED_BROKEN && ++mail->sessions_lost >= SESSIONS_LOST_MAX) {
        result = LEDGER_DEFERRED;
    }
    for (int i = 0; i < RCPTS; i++) {
        if (in_mask(mail->sends, i)) {
            mail_settle(world, process, mail, i, result, 0);
        }
    }
    write_done(world, process, mail, mail->sends);
    mail_trace(world, process, mail,
               ended == ENDED_ANSWERED ? "answered"
               : ended == ENDED_BROKEN ? "broken"
                                       : "withheld");
    if (mail_in_state(mail, RCPT_PENDING) == 0) {
        mail_send_home(world, process, mail);
    } else if (mail_is_leaving(process, mail)) {
        mail_give_back(world, process, mail);
    } else {
        into_queue(world, process, mail);
    }
}

/* Events about a session: the mail and the number of its transaction. */
static struct mail *session_of(struct process *process, const struct event *event)
{
    struct mail *mail = mail_by_id(process, event->a);
    return mail != NULL && mail->where == WHERE_SESSION && mail->session == (uint32_t)event->b
               ? mail
               : NULL;
}

static void replied(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    struct mail *mail = session_of(process, event);
    if (mail != NULL) {
        session_ends(world, process, mail, ENDED_ANSWERED, (enum answer)event->c);
    }
}

/* Less than half of what a drain waits, where nothing may be cut. */
static int64_t slow(const struct world *world)
{
    return world->gentle ? 2 * SECOND : 6 * SECOND;
}

/* At the provider, whatever became of the worker. */
static void dot_arrives(struct world *world, struct event *event)
{
    int64_t delay = perhaps(world, 10) ? pick(world, slow(world)) : pick(world, 40 * MS);
    struct event reply = *event;
    reply.run = replied;
    reply.process = (int)(event->c & 15);
    reply.c = provider_takes(world, (int)(event->c >> 8), (uint32_t)(event->c >> 4 & 15));
    reply.data = NULL;
    later(world, delay, reply);
}

/* After the next owner has begun only what a release has named for it may be sent. */
static void look_at_gate(struct world *world, const struct process *process,
                         const struct mail *mail)
{
    bool named = mail->in_flight && tenure_of(process, mail->tenure) == TENURE_RELEASED;
    if (mail->claim < world->begun[mail->partition] && !named) {
        violated(world, "message %d: sent under claim %llu of partition %d after claim %llu began",
                 mail->record.message, (unsigned long long)mail->claim, mail->partition,
                 (unsigned long long)world->begun[mail->partition]);
    }
}

/* The gate is asked right before. */
static void dot(struct world *world, struct process *process, struct mail *mail)
{
    mail->waits_for_intent = false;
    if (!tenure_may_end(world, process, mail)) {
        session_ends(world, process, mail, ENDED_WITHHELD, ANSWER_NONE);
        return;
    }
    for (int i = 0; i < RCPTS; i++) {
        mail->intents[i] = in_mask(mail->sends, i) ? mail->intent : mail->intents[i];
    }
    mail->dots |= mail->sends;
    mail->past_dot = true;
    look_at_gate(world, process, mail);
    mail_trace(world, process, mail, "dot");
    int64_t delay = perhaps(world, 2) ? pick(world, 1200 * MS) : pick(world, 15 * MS);
    later(world, delay,
          (struct event){.run = dot_arrives,
                         .process = -1,
                         .incarnation = process->incarnation,
                         .a = mail_id(process, mail),
                         .b = mail->session,
                         .c = (int64_t)mail->record.message << 8 | (int64_t)mail->sends << 4 |
                              process->index});
}

static void envelope_is_over(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    struct mail *mail = session_of(process, event);
    if (mail == NULL) {
        return;
    }
    if (perhaps(world, 4)) {
        session_ends(world, process, mail, ENDED_BROKEN, ANSWER_NONE);
    } else if (world->never && world->broken != BREAK_INTENT &&
               !writer_is_safe(process, mail->shard, mail->intent)) {
        mail->waits_for_intent = true;
    } else {
        dot(world, process, mail);
    }
}

void dots_released(struct world *world, struct process *process, int shard)
{
    for (int i = 0; i < MAILS; i++) {
        struct mail *mail = &process->mails[i];
        if (mail->where == WHERE_SESSION && mail->shard == shard && mail->waits_for_intent &&
            writer_is_safe(process, shard, mail->intent)) {
            dot(world, process, mail);
        }
    }
}

/* settle_is_expired(), settle_expired(): nothing of it is in the journal but that it is closed. */
static bool expires(struct world *world, struct process *process, struct mail *mail)
{
    int64_t when = world->expires[mail->record.message];
    if (when == 0 || wall_of(world, process) < when) {
        return false;
    }
    mail_trace(world, process, mail, "expired");
    for (int i = 0; i < RCPTS; i++) {
        if (mail->rcpts[i] == RCPT_PENDING) {
            mail_tell(world, process, mail, i, TOLD_EXPIRED);
            mail->rcpts[i] = RCPT_SETTLED;
        }
    }
    mail_send_home(world, process, mail);
    return true;
}

static void begin(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    struct mail *mail = mail_by_id(process, event->a);
    if (mail == NULL || mail->where != WHERE_QUEUE) {
        return;
    }
    if (mail_is_leaving(process, mail)) {
        mail_give_back(world, process, mail);
        return;
    }
    if (writer_is_stuck(world, process, mail->shard) || !contact_is_fresh(world, process)) {
        at_thread(world, process, 200 * MS, begin, event->a, 0);
        return;
    }
    if (expires(world, process, mail)) {
        return;
    }
    uint32_t pending = mail_in_state(mail, RCPT_PENDING);
    mail->sends = perhaps(world, 30) ? pending & (~pending + 1) : pending;
    mail->where = WHERE_SESSION;
    mail->past_dot = false;
    write_intent(world, process, mail, mail->sends);
    mail_trace(world, process, mail, "intent");
    int64_t delay = perhaps(world, 10) ? pick(world, slow(world)) : pick(world, 60 * MS);
    at_thread(world, process, delay, envelope_is_over, mail_id(process, mail), mail->session);
}

/* ---- lanes ---- */

static void spill(struct world *world, struct process *process, struct mail *mail)
{
    for (int i = 0; i < RCPTS; i++) { /* untried: nothing is told, nothing is in the journal */
        if (mail->rcpts[i] == RCPT_PENDING) {
            mail->rcpts[i] = RCPT_DEFERRED;
        }
    }
    mail->due = wall_of(world, process) + pick(world, 6 * SECOND);
    mail_send_home(world, process, mail);
}

static void into_queue(struct world *world, struct process *process, struct mail *mail)
{
    mail->where = WHERE_QUEUE;
    if (perhaps(world, 4)) {
        spill(world, process, mail);
        return;
    }
    int64_t delay = perhaps(world, 25) ? pick(world, 2 * SECOND) : pick(world, 80 * MS);
    at_thread(world, process, delay, begin, mail_id(process, mail), 0);
}

/* worker/inherited.c, inherited_apply(). */
static void apply_inherited(struct world *world, struct process *process, struct mail *mail)
{
    for (int i = 0; i < RCPTS; i++) {
        if (mail->rcpts[i] != RCPT_PENDING) {
            continue;
        }
        const struct state *state = &mail->inherited;
        if (mail->has_inherited && state->known[i] == KNOWN_OUTCOME) {
            mail_settle(world, process, mail, i, state->result[i], state->due[i]);
        } else if ((mail->has_inherited && state->known[i] == KNOWN_DOUBT) || mail->suspect) {
            world->doubts++;
            mail_settle(world, process, mail, i, LEDGER_UNCERTAIN, 0);
        } else {
            continue;
        }
        mail->state.known[i] = KNOWN_OUTCOME;
    }
    mail->state.turn = mail->has_inherited ? mail->inherited.turn : 0;
    mail->has_inherited = false;
}

static void arrives_in_lane(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    struct mail *mail = &process->mails[event->a & 0xffff];
    if (mail_is_leaving(process, mail)) {
        mail_give_back(world, process, mail);
    } else {
        into_queue(world, process, mail);
    }
}

/* worker/shard.c, shard_hand_over(). */
static void hand_over(struct world *world, struct process *process, struct mail *mail, int to)
{
    if (mail->journaled && world->broken != BREAK_HAND_OVER) {
        restate_mail(world, process, mail->shard, mail);
        writer_flush(world, process, mail->shard);
    }
    mail->shard = to;
    mail->where = WHERE_BOX;
    post(world, process, to, arrives_in_lane, mail_id(process, mail), 0);
}

static void resolved(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    struct mail *mail = mail_by_id(process, event->a);
    int lane;
    if (mail == NULL || mail->where != WHERE_QUEUE) {
        return;
    }
    lane = mail->record.message % SHARDS;
    if (mail_is_leaving(process, mail)) {
        mail_give_back(world, process, mail);
    } else if (lane != mail->shard) {
        hand_over(world, process, mail, lane);
    } else {
        into_queue(world, process, mail);
    }
}

/* Decoded, and its site asked for. */
void mail_arrives(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    struct mail *mail = &process->mails[event->a & 0xffff];
    if (mail_is_leaving(process, mail)) {
        mail_give_back(world, process, mail);
        return;
    }
    apply_inherited(world, process, mail);
    mail_trace(world, process, mail, "at its shard");
    if (mail_in_state(mail, RCPT_PENDING) == 0) {
        mail_send_home(world, process, mail);
        return;
    }
    mail->where = WHERE_QUEUE;
    at_thread(world, process, perhaps(world, 10) ? pick(world, 2 * SECOND) : 0, resolved,
              mail_id(process, mail), 0);
}

/* ---- what goes with a tenure: worker/shard.c ---- */

void shard_returns(struct world *world, struct process *process, int shard)
{
    for (int i = 0; i < MAILS; i++) {
        struct mail *mail = &process->mails[i];
        if (mail->shard != shard || !mail_is_leaving(process, mail)) {
            continue;
        }
        if (mail->where == WHERE_QUEUE) {
            mail_give_back(world, process, mail);
        } else if (mail->where == WHERE_SESSION) {
            /* Named even if it ends before the shard's answer, which does not wait for its DONE. */
            mail->in_flight = true;
            if (mail->tenure == process->tenure) { /* else the ticket is not valid any more */
                process->in_flight[process->in_flight_count++] =
                    (struct in_flight){mail->partition, mail->offset};
            }
        }
    }
}

void shard_cuts(struct world *world, struct process *process, int shard)
{
    for (int i = 0; i < MAILS; i++) {
        struct mail *mail = &process->mails[i];
        if (mail->where == WHERE_SESSION && mail->shard == shard) {
            session_ends(world, process, mail, mail->past_dot ? ENDED_ANSWERED : ENDED_WITHHELD,
                         ANSWER_NONE);
        }
    }
}
