/* A mail's way but for its shard's part: worker/intake.c, worker/intake_home.c, worker/settle.c,
 * worker/outbox.c. */
#include "simulation/process.h"

#define MAILS_MOST (MAILS * 3 / 4)
#define ATTEMPTS_MAX 10

int64_t mail_id(const struct process *process, const struct mail *mail)
{
    return (int64_t)mail->serial << 16 | (mail - process->mails);
}

struct mail *mail_by_id(struct process *process, int64_t id)
{
    struct mail *mail = &process->mails[id & 0xffff];
    return mail->where != WHERE_FREE && mail->serial == (uint32_t)(id >> 16) ? mail : NULL;
}

uint32_t mail_in_state(const struct mail *mail, enum rcpt state)
{
    uint32_t mask = 0;
    for (int i = 0; i < RCPTS; i++) {
        mask |= mail->rcpts[i] == state ? 1u << i : 0;
    }
    return mask;
}

static bool has_copies(const struct mail *mail)
{
    return (mail_in_state(mail, RCPT_DEFERRED) | mail_in_state(mail, RCPT_KEPT)) != 0;
}

bool ticket_is_valid(const struct process *process, const struct mail *mail)
{
    return mail->tenure == process->tenure && process->owned[mail->partition].ready;
}

void mail_free(struct world *world, const struct process *process, struct mail *mail)
{
    pardon_mail(world, process, mail); /* a crash at this moment would forget it */
    mail->where = WHERE_FREE;
}

void mail_trace(const struct world *world, const struct process *process, const struct mail *mail,
                const char *what)
{
    tell(world, "%s message %d attempt %u at %d/%lld claim %llu: %s, to do %x, turn %u",
         process->name, mail->record.message, mail->record.attempt, mail->partition,
         (long long)mail->offset, (unsigned long long)mail->claim, what,
         mail_in_state(mail, RCPT_PENDING), mail->state.turn);
}

/* ---- events: worker/outbox.c ---- */

static void close_mail(struct world *world, struct process *process, struct mail *mail);

static void event_is_safe(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    struct mail *mail = mail_by_id(process, event->a);
    if (mail != NULL) {
        mail->events--;
        if (mail->where == WHERE_HOME && mail->events == 0) {
            close_mail(world, process, mail);
        }
    }
}

static void event_at_broker(struct world *world, struct event *event)
{
    int message = (int)(event->b >> 8);
    int index = (int)(event->b >> 4 & 15);
    struct recipient *recipient = &world->recipients[message][index];
    uint32_t bit = 1u << (event->c % 32);
    switch ((enum told)(event->b & 15)) {
    case TOLD_DELIVERED:
        recipient->delivered = true;
        if (recipient->accepted == 0) {
            violated(world, "message %d recipient %d: told as delivered, never accepted", message,
                     index);
        }
        break;
    case TOLD_DEFERRED: break;
    case TOLD_BOUNCED: recipient->bounced = true; break;
    case TOLD_EXPIRED:
        recipient->bounced = recipient->expired = true;
        world->expiries++;
        if (world->now + world->most_ahead < world->expires[message]) {
            violated(world, "message %d recipient %d: expired too early for any clock", message,
                     index);
        }
        break;
    case TOLD_UNCERTAIN: /* told again it has the same id */
        recipient->uncertain += (recipient->uncertain_attempts & bit) == 0;
        recipient->uncertain_attempts |= bit;
        if (world->gentle) {
            violated(world, "message %d recipient %d: uncertain, though all stops were planned",
                     message, index);
        }
        break;
    }
    answer_from_broker(world, event, event_is_safe, event->a, 0, NULL);
}

void mail_tell(struct world *world, struct process *process, struct mail *mail, int index,
               enum told what)
{
    mail->events++;
    ask_broker(world, process, event_at_broker, mail_id(process, mail),
               (int64_t)mail->record.message << 8 | index << 4 | (int)what, mail->record.attempt,
               NULL);
}

/* ---- settling: worker/settle.c ---- */

bool mail_is_leaving(const struct process *process, const struct mail *mail)
{
    return process->draining || tenure_of(process, mail->tenure) != TENURE_OWNED;
}

void mail_settle(struct world *world, struct process *process, struct mail *mail, int index,
                 enum ledger_result result, int64_t due)
{
    struct state *state = &mail->state;
    if (result == LEDGER_DEFERRED && mail->record.attempt >= ATTEMPTS_MAX) {
        result = LEDGER_EXPIRED;
    }
    state->result[index] = result;
    state->due[index] = 0;
    switch (result) {
    case LEDGER_UNTRIED: return;
    case LEDGER_DELIVERED:
        mail_tell(world, process, mail, index, TOLD_DELIVERED);
        mail->rcpts[index] = RCPT_SETTLED;
        return;
    case LEDGER_BOUNCED:
    case LEDGER_EXPIRED:
    case LEDGER_DROPPED:
        mail_tell(world, process, mail, index, TOLD_BOUNCED);
        mail->rcpts[index] = RCPT_SETTLED;
        return;
    case LEDGER_UNCERTAIN:
        mail_tell(world, process, mail, index, TOLD_UNCERTAIN);
        mail->rcpts[index] = world->hold ? RCPT_KEPT : RCPT_DEFERRED;
        break;
    case LEDGER_DEFERRED:
        mail_tell(world, process, mail, index, TOLD_DEFERRED);
        mail->rcpts[index] = RCPT_DEFERRED;
        break;
    }
    mail->due = due > 0 ? due : wall_of(world, process) + pick(world, 6 * SECOND);
    if (world->expires[mail->record.message] > 0 &&
        mail->due > world->expires[mail->record.message]) {
        mail->due = world->expires[mail->record.message];
    }
    state->due[index] = mail->rcpts[index] == RCPT_DEFERRED ? mail->due : 0;
}

static void came_home(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    struct mail *mail = &process->mails[event->a & 0xffff];
    mail->where = WHERE_HOME;
    if (mail->events == 0 || world->broken == BREAK_EVENTS_FIRST) {
        close_mail(world, process, mail);
    }
}

/* settle_round(), let_go(): its shard is through with it. */
void mail_send_home(struct world *world, struct process *process, struct mail *mail)
{
    if (mail->in_flight && has_copies(mail)) {
        write_left(world, process, mail);
    }
    mail->tier = tier_for(world, process, mail->record.message, mail->due);
    mail->where = WHERE_BOX;
    post(world, process, INTAKE, came_home, mail_id(process, mail), 0);
}

static void came_back(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    mail_free(world, process, &process->mails[event->a & 0xffff]);
}

void mail_give_back(struct world *world, struct process *process, struct mail *mail)
{
    mail_trace(world, process, mail, "given back");
    if (mail->in_flight) {
        write_left(world, process, mail);
    }
    mail->where = WHERE_BOX;
    mail->forget = true;
    post(world, process, INTAKE, came_back, mail_id(process, mail), 0);
}

/* ---- closing: worker/intake_home.c ---- */

static void complete(struct world *world, struct process *process, struct mail *mail)
{
    bool was_open = offsets_complete(&process->owned[mail->partition].offsets, mail->offset);
    CHECK(was_open);
    process->burst.changed = true;
    write_closed(world, process, mail);
    mail_trace(world, process, mail, "complete");
}

static void close_mail(struct world *world, struct process *process, struct mail *mail)
{
    bool ours = ticket_is_valid(process, mail);
    if (ours && has_copies(mail)) {
        mail->where = WHERE_WAITS;
        if (world->broken == BREAK_BURST_FIRST) {
            complete(world, process, mail);
        }
        return;
    }
    if (ours) {
        complete(world, process, mail);
    } else if (mail->in_flight && !has_copies(mail)) {
        write_closed(world, process, mail);
    }
    mail_free(world, process, mail);
}

void mail_forward(struct world *world, struct process *process, struct mail *mail, int64_t due)
{
    for (int i = 0; i < RCPTS; i++) {
        mail->rcpts[i] = mail->rcpts[i] == RCPT_PENDING ? RCPT_DEFERRED : mail->rcpts[i];
    }
    world->forwards++;
    mail->due = due;
    mail->tier = tier_for(world, process, mail->record.message, due);
    close_mail(world, process, mail);
}

void mail_moved(struct world *world, struct process *process, struct mail *mail)
{
    if (ticket_is_valid(process, mail) && world->broken != BREAK_BURST_FIRST) {
        complete(world, process, mail);
    }
    mail_free(world, process, mail);
}

void state_home(struct world *world, struct process *process)
{
    for (int i = 0; i < MAILS; i++) {
        enum where where = process->mails[i].where;
        if ((where == WHERE_HOME || where == WHERE_WAITS || where == WHERE_BURST) &&
            world->broken != BREAK_RESTATING) {
            restate_mail(world, process, INTAKE, &process->mails[i]);
        }
    }
}

/* ---- taking: worker/intake.c ---- */

void mail_to_shard(struct world *world, struct process *process, struct mail *mail)
{
    mail->journaled = mail->has_inherited || mail->suspect;
    mail->shard = mail->partition % SHARDS;
    mail->where = WHERE_BOX;
    post(world, process, mail->shard, mail_arrives, mail_id(process, mail), 0);
}

static void take_inherited(struct world *world, struct process *process, struct mail *mail,
                           struct inherited *record)
{
    world->inherited++;
    if (record->closed) {
        bool was_open = offsets_complete(&process->owned[mail->partition].offsets, mail->offset);
        CHECK(was_open);
        process->burst.changed = true;
        claims_complete(process, record);
        record->used = false;
        mail_free(world, process, mail);
    } else if (record->awaited) {
        record->held = (int)(mail - process->mails);
        mail->where = WHERE_HELD;
    } else {
        mail->has_inherited = record->has_state;
        mail->inherited = record->state;
        mail->suspect = mail->suspect || record->suspect;
        record->used = false;
        mail_to_shard(world, process, mail);
    }
}

void awaited_is_settled(struct world *world, struct process *process, struct inherited *record)
{
    if (record->held >= 0) {
        take_inherited(world, process, &process->mails[record->held], record);
    }
}

void state_inherited(struct world *world, struct process *process)
{
    for (int i = 0; i < MAILS; i++) {
        const struct inherited *record = &process->inherited[i];
        if (record->used && record->has_state && world->broken != BREAK_STATE_INHERITED) {
            write_state(world, process, INTAKE, record->partition, record->offset, record->claim,
                        &record->state);
        }
    }
}

static struct inherited *inherited_at(struct process *process, int partition, int64_t offset)
{
    for (int i = 0; i < MAILS; i++) {
        struct inherited *record = &process->inherited[i];
        if (record->used && record->partition == partition && record->offset == offset) {
            return record;
        }
    }
    return NULL;
}

static struct mail *mail_create(struct process *process)
{
    struct mail *mail = NULL;
    int used = 0;
    for (int i = 0; i < MAILS; i++) {
        if (process->mails[i].where != WHERE_FREE) {
            used++;
        } else if (mail == NULL) {
            mail = &process->mails[i];
        }
    }
    if (used >= MAILS_MOST || mail == NULL) {
        return NULL;
    }
    *mail = (struct mail){.serial = ++process->last_serial, .where = WHERE_BOX};
    return mail;
}

/* False: not now. */
static bool take(struct world *world, struct process *process, int partition, int64_t offset,
                 const struct entry *entry)
{
    struct inherited *record = inherited_at(process, partition, offset);
    bool suspect = offset < process->suspect_below[partition];
    bool tier = record == NULL && partition >= STREAM_PARTITIONS && !suspect;
    if (tier && tier_waits(world, process, partition, entry)) {
        return false; /* a tier's head is held */
    }
    struct mail *mail = mail_create(process);
    if (mail == NULL) {
        return false;
    }
    enum offsets_opened opened = offsets_open(&process->owned[partition].offsets, offset);
    CHECK(opened != OFFSETS_BEHIND);
    if (opened == OFFSETS_COMPLETE) {
        mail->where = WHERE_FREE;
        return true;
    }
    mail->partition = partition;
    mail->offset = offset;
    mail->claim = process->owned[partition].claim;
    mail->tenure = process->tenure;
    mail->record = entry->record;
    mail->suspect = suspect;
    for (int i = 0; i < RCPTS; i++) {
        mail->rcpts[i] = in_mask(entry->record.mask, i) ? RCPT_PENDING : RCPT_NONE;
    }
    mail_trace(world, process, mail,
               record == NULL      ? "taken"
               : record->closed    ? "taken, closed"
               : record->awaited   ? "taken, awaited"
               : record->has_state ? "taken, inherited"
                                   : "taken, nothing known");
    if (record != NULL) {
        take_inherited(world, process, mail, record);
    } else if (tier) {
        tier_takes(world, process, mail);
    } else {
        mail_to_shard(world, process, mail);
    }
    return true;
}

void take_records(struct world *world, struct process *process)
{
    for (int i = 0; i < PARTITIONS; i++) {
        struct owned *owned = &process->owned[i];
        if (!owned->ready || world->now < world->broker->down_until) {
            continue;
        }
        int64_t end = broker_stable_end(world->broker, i);
        while (owned->next < end) {
            const struct entry *entry = broker_read(world->broker, i, owned->next);
            if (entry != NULL && !take(world, process, i, owned->next, entry)) {
                break;
            }
            owned->next++;
        }
    }
}

void free_held(struct world *world, struct process *process)
{
    for (int i = 0; i < MAILS; i++) {
        if (process->mails[i].where == WHERE_HELD) {
            mail_free(world, process, &process->mails[i]);
        }
    }
    for (int i = 0; i < MAILS; i++) {
        process->inherited[i].held = -1;
    }
}
