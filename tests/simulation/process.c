/* Life, time and the group of a simulated worker; tenures (worker/tenure.c), turns of its intake
 * (worker/intake.c, work()). */
#include "simulation/process.h"

#include "base/mem.h"

#include <stdio.h>

#define TURN_EVERY (25 * MS)
#define HEARTBEAT_EVERY (SESSION_TIMEOUT / 4)
#define CONTACT_EVERY SECOND

const char *const topic_of[PARTITIONS] = {"mail", "mail", "mail", "d.00",
                                          "d.00", "d.00", "d.01", "d.02"};

/* ---- who and when ---- */

struct process *running(struct world *world, const struct event *event)
{
    return world->processes[event->process];
}

void at_thread(struct world *world, struct process *process, int64_t delay,
               void (*run)(struct world *world, struct event *event), int64_t a, int64_t b)
{
    later(world, delay,
          (struct event){.run = run,
                         .process = process->index,
                         .incarnation = process->incarnation,
                         .a = a,
                         .b = b});
}

void post(struct world *world, struct process *process, int thread,
          void (*run)(struct world *world, struct event *event), int64_t a, int64_t b)
{
    int64_t at = world->now + pick(world, perhaps(world, 5) ? 400 * MS : 2 * MS);
    if (at < process->box_last[thread]) {
        at = process->box_last[thread];
    }
    process->box_last[thread] = at;
    at_thread(world, process, at - world->now, run, a, b);
}

/* ---- to the broker and back ---- */

static int64_t latency(struct world *world)
{
    return perhaps(world, 3) ? pick(world, 300 * MS) : MS / 2 + pick(world, 8 * MS);
}

void ask_broker(struct world *world, const struct process *process,
                void (*run)(struct world *world, struct event *event), int64_t a, int64_t b,
                int64_t c, void *data)
{
    later(world, latency(world),
          (struct event){.run = run,
                         .process = process->index,
                         .incarnation = process->incarnation,
                         .at_broker = true,
                         .a = a,
                         .b = b,
                         .c = c,
                         .data = data});
}

void answer_from_broker(struct world *world, const struct event *question,
                        void (*run)(struct world *world, struct event *event), int64_t a, int64_t b,
                        void *data)
{
    later(world, latency(world),
          (struct event){.run = run,
                         .process = question->process,
                         .incarnation = question->incarnation,
                         .a = a,
                         .b = b,
                         .data = data});
}

/* ---- tenures: worker/tenure.c ---- */

/* CLOCK_BOOTTIME, by which the gate goes: nobody sets it. */
static int64_t boottime(const struct world *world, const struct process *process)
{
    return world->broken == BREAK_BOOTTIME ? wall_of(world, process) : world->now;
}

void tenure_begin(struct process *process)
{
    process->tenures[++process->tenure % TENURES] = TENURE_OWNED;
}

void tenure_leave(struct world *world, struct process *process)
{
    if (tenure_of(process, process->tenure) == TENURE_OWNED || world->broken == BREAK_LEAVE) {
        process->left[process->tenure % TENURES] = boottime(world, process);
        tenure_set(process, TENURE_LEAVING);
    }
}

void tenure_set(struct process *process, enum tenure_state state)
{
    process->tenures[process->tenure % TENURES] = state;
}

enum tenure_state tenure_of(const struct process *process, uint32_t number)
{
    return number + TENURES > process->tenure ? process->tenures[number % TENURES] : TENURE_LOST;
}

/* As if the clock began at some hours: 0 means never. */
static struct mono_time time_of(int64_t us)
{
    return (struct mono_time){us + 10 * 3600 * SECOND};
}

bool contact_is_fresh(const struct world *world, const struct process *process)
{
    struct mono_time contact =
        process->contact < 0 ? (struct mono_time){0} : time_of(process->contact);
    return ledger_gate_open(LEDGER_OWNED, time_of(boottime(world, process)), contact, contact,
                            SESSION_TIMEOUT, 0);
}

bool tenure_may_end(const struct world *world, const struct process *process,
                    const struct mail *mail)
{
    bool in_time = ledger_gate_open(LEDGER_RELEASED, time_of(boottime(world, process)), time_of(0),
                                    time_of(process->left[mail->tenure % TENURES]), SESSION_TIMEOUT,
                                    WAIT_MS * MS);
    if (world->broken == BREAK_GATE) {
        return true;
    }
    switch (tenure_of(process, mail->tenure)) {
    case TENURE_OWNED: return contact_is_fresh(world, process);
    case TENURE_LEAVING: return in_time && contact_is_fresh(world, process);
    case TENURE_RELEASED: return mail->in_flight && in_time;
    case TENURE_LOST: break;
    }
    return false;
}

void pardon_mail(struct world *world, const struct process *process, const struct mail *mail)
{
    for (int i = 0; i < RCPTS; i++) {
        world->recipients[mail->record.message][i].pardoned +=
            in_mask(mail->dots, i) && !writer_is_safe(process, mail->shard, mail->intents[i]);
    }
}

void pardon(struct world *world, const struct process *process)
{
    for (int i = 0; i < MAILS; i++) {
        if (process->mails[i].where != WHERE_FREE) {
            pardon_mail(world, process, &process->mails[i]);
        }
    }
}

/* ---- the group ---- */

static void join_at_broker(struct world *world, struct event *event)
{
    broker_join(world, event->process, event->incarnation, (int)event->a);
}

static void join(struct world *world, struct process *process)
{
    process->group = GROUP_JOINING;
    process->revoked = false;
    ask_broker(world, process, join_at_broker, process->member, 0, 0, NULL);
}

static void join_anew(struct world *world, struct process *process)
{
    process->member = 0;
    join(world, process);
}

static void assigned(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    int member = (int)(event->a >> 32);
    if (process->group != GROUP_JOINING) {
        return; /* of a join before */
    }
    process->member = member;
    process->generation = (int)(event->a & INT32_MAX);
    process->assigned = (uint32_t)event->b;
    process->heard = world->now;
    process->group = GROUP_GIVEN;
    tell(world, "%s is given %x in generation %d", process->name, process->assigned,
         process->generation);
    if (!process->draining) { /* else they stay unread until we have left the group */
        claims_given(world, process);
    }
}

void worker_is_assigned(struct world *world, int index, uint32_t incarnation, int member,
                        int generation, uint32_t partitions)
{
    const struct event question = {.process = index, .incarnation = incarnation};
    answer_from_broker(world, &question, assigned, (int64_t)member << 32 | generation, partitions,
                       NULL);
}

static int64_t place_in_group(const struct process *process)
{
    return (int64_t)process->member << 32 | process->generation;
}

/* Of the heartbeat: what its sending time was, and what came. */
enum { HEARD_OK, HEARD_REBALANCE, HEARD_UNKNOWN };

static void heard(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    if (process->group == GROUP_OUT || event->a != place_in_group(process)) {
        return; /* of before: they are asked in order there */
    }
    if (event->b == HEARD_UNKNOWN) {
        process->lost = process->group != GROUP_JOINING || process->lost;
        return;
    }
    process->heard = world->now;
    process->revoked = event->b == HEARD_REBALANCE && process->group != GROUP_JOINING;
}

static void heartbeat_at_broker(struct world *world, struct event *event)
{
    bool rebalancing;
    enum verdict verdict =
        broker_heartbeat(world, (int)(event->a >> 32), (int)(event->a & INT32_MAX), &rebalancing);
    answer_from_broker(world, event, heard, event->a,
                       verdict != VERDICT_OK ? HEARD_UNKNOWN
                       : rebalancing         ? HEARD_REBALANCE
                                             : HEARD_OK,
                       NULL);
}

/* librdkafka's own thread. */
static void heartbeat(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    if (process->group != GROUP_OUT && process->member > 0) {
        ask_broker(world, process, heartbeat_at_broker, place_in_group(process), 0, 0, NULL);
    }
    at_thread(world, process, HEARTBEAT_EVERY, heartbeat, 0, 0);
}

static void contact_heard(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    if ((int)event->b != process->generation) {
        return;
    }
    if (event->a < 0) {
        process->contact = -1;
    } else if (event->a > process->contact) {
        process->contact = event->a;
    }
}

static void contact_at_broker(struct world *world, struct event *event)
{
    bool ok = broker_commit(world, (int)(event->b >> 32), (int)(event->b & INT32_MAX));
    answer_from_broker(world, event, contact_heard, ok ? event->a : -1, event->b & INT32_MAX, NULL);
}

/* lib/kafka/consumer_contact.c: proven each second by a commit. */
static void contact(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    if (process->group == GROUP_OWNS || process->group == GROUP_GIVEN) {
        ask_broker(world, process, contact_at_broker, boottime(world, process),
                   place_in_group(process), 0, NULL);
    }
    at_thread(world, process, CONTACT_EVERY, contact, 0, 0);
}

static void leave_at_broker(struct world *world, struct event *event)
{
    broker_leave(world, (int)event->a);
}

/* The partitions are gone, or going: worker/intake_group.c, group_revoked() and group_given_back().
 */
static void serve_group(struct world *world, struct process *process)
{
    if (process->leaving != LEAVING_NOT) {
        return; /* inside the callback */
    }
    bool lost = process->lost || world->now - process->heard > SESSION_TIMEOUT;
    switch (process->group) {
    case GROUP_OUT:
    case GROUP_JOINING: return;
    case GROUP_GIVEN:
        if (lost || process->revoked) {
            claims_drop(process);
            process->contact = lost ? -1 : process->contact;
            lost ? join_anew(world, process) : join(world, process);
        }
        break;
    case GROUP_OWNS:
        if (lost || process->revoked) {
            evict_begin(world, process, lost, false);
        }
        break;
    }
    process->lost = false;
}

/* evict.c: all is given up. */
void process_gave_up(struct world *world, struct process *process, bool lost)
{
    for (int i = 0; i < PARTITIONS; i++) {
        if (process->owned[i].ready) {
            offsets_free(&process->owned[i].offsets);
            process->owned[i].ready = false;
        }
    }
    process->assigned = 0;
    if (process->draining) {
        process->group = GROUP_OUT;
        ask_broker(world, process, leave_at_broker, process->member, 0, 0, NULL);
        tell(world, "%s has drained", process->name);
        pardon(world, process);
        process->alive = false;
        process->incarnation++;
        process_has_ended(world, process->index);
    } else if (lost) {
        process->contact = -1;
        join_anew(world, process);
    } else {
        join(world, process);
    }
}

/* ---- turns ---- */

/* worker/intake_group.c: what an earlier owner had completed was passed over. */
static void note_skipped(struct process *process)
{
    for (int i = 0; i < PARTITIONS; i++) {
        const struct owned *owned = &process->owned[i];
        if (owned->ready && owned->offsets.watermark > owned->committed) {
            process->burst.changed = true;
        }
    }
}

static void turn(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    bool quiet = world->now > FAULTS_END + DUE_PATIENCE; /* only what is not due is left */
    at_thread(world, process, quiet ? 20 * TURN_EVERY : TURN_EVERY, turn, 0, 0);
    if (process->leaving != LEAVING_NOT) {
        evict_serve(world, process);
        if (!process->alive || process->leaving < LEAVING_DRAINING ||
            process->leaving > LEAVING_CUT) {
            return;
        }
    }
    serve_group(world, process);
    claims_serve(world, process);
    restate_serve(world, process);
    if (process->group == GROUP_OWNS) {
        note_skipped(process);
        if (burst_is_due(world, process)) {
            burst_submit(world, process, BURST_USUAL);
        }
        if (!process->draining) {
            take_records(world, process);
        }
    } else {
        burst_drop_gone(world, process);
    }
}

/* ---- life ---- */

struct process *process_create(int index)
{
    struct process *process = mem_zalloc(sizeof(*process));
    process->index = index;
    snprintf(process->name, sizeof(process->name), "w%d", index);
    process->slot = index % SLOTS;
    return process;
}

static void clear(struct process *process)
{
    claims_drop(process);
    writers_free(process);
    for (int i = 0; i < PARTITIONS; i++) {
        if (process->owned[i].ready) {
            offsets_free(&process->owned[i].offsets);
        }
    }
    strbuf_free(&process->burst.checkpoint);
}

void process_free(struct process **process)
{
    if (*process != NULL) {
        clear(*process);
        mem_free(*process);
        *process = NULL;
    }
}

bool process_is_alive(const struct process *process)
{
    return process->alive;
}

bool process_is(const struct process *process, uint32_t incarnation)
{
    return process->alive && process->incarnation == incarnation;
}

int64_t process_stopped_until(const struct process *process)
{
    return process->stopped_until;
}

void process_start(struct world *world, int index)
{
    struct process *process = world->processes[index];
    uint32_t incarnation = process->incarnation + 1;
    if (process->alive) {
        return;
    }
    clear(process);
    struct process fresh = {.index = index, .incarnation = incarnation, .alive = true};
    memcpy(fresh.name, process->name, sizeof(fresh.name));
    fresh.slot = process->slot;
    fresh.wall = process->wall;
    fresh.contact = -1;
    *process = fresh;
    strbuf_init(&process->burst.checkpoint, CHECKPOINT_MAX_BYTES);
    writers_create(process);
    tell(world, "%s starts", process->name);
    restate_create(world, process);
    writer_init(world, process);
    join(world, process);
    process->heard = world->now;
    at_thread(world, process, pick(world, TURN_EVERY), turn, 0, 0);
    at_thread(world, process, HEARTBEAT_EVERY, heartbeat, 0, 0);
    at_thread(world, process, CONTACT_EVERY, contact, 0, 0);
}

void process_kill(struct world *world, int index)
{
    struct process *process = world->processes[index];
    pardon(world, process);
    process->alive = false;
}

void process_stop(struct world *world, int index, int64_t until)
{
    struct process *process = world->processes[index];
    pardon(world, process);
    process->stopped_until = until > process->stopped_until ? until : process->stopped_until;
}

void process_set_clock(struct world *world, int index, int64_t wall)
{
    world->processes[index]->wall = wall;
}

static void drain(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    if (process->draining || process->leaving != LEAVING_NOT) {
        return;
    }
    if (process->group != GROUP_OWNS) {
        claims_drop(process);
    }
    process->draining = true;
    evict_begin(world, process, false, true);
}

void process_drain(struct world *world, int index)
{
    at_thread(world, world->processes[index], 0, drain, 0, 0);
}
