/* worker/evict.c. */
#include "simulation/process.h"

#define ANSWER_WAIT (5 * SECOND)
#define RUNNING_WAIT (500 * MS)
#define RELEASE_WAIT (10 * SECOND)
#define DRAIN_WAIT (6 * SECOND)
#define CUT_WAIT (5 * SECOND)
#define FLUSH_WAIT (5 * SECOND)

/* ---- shards ---- */

static void answered(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    (void)world;
    if (event->a == 0) {
        process->restate_missing--;
    } else if ((uint64_t)event->a == process->eviction) {
        process->answers_missing--;
    }
}

/* What a shard has said before its answer is on Kafka then. */
void evict_answer_when_safe(struct world *world, struct process *process, int shard)
{
    bool anyhow = world->broken == BREAK_SAFE_ANSWER;
    if (process->restate_marks[shard] != 0 &&
        (anyhow || writer_is_safe(process, shard, process->restate_marks[shard]))) {
        process->restate_marks[shard] = 0;
        post(world, process, INTAKE, answered, 0, 0);
    }
    if (process->answer_marks[shard] != 0 &&
        (anyhow || writer_is_safe(process, shard, process->answer_marks[shard]))) {
        process->answer_marks[shard] = 0;
        post(world, process, INTAKE, answered, (int64_t)process->answer_numbers[shard], 0);
    }
}

void safer(struct world *world, struct process *process, int thread)
{
    if (thread != INTAKE) {
        dots_released(world, process, thread);
        evict_answer_when_safe(world, process, thread);
    }
}

static void returns(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    int shard = (int)event->a;
    shard_returns(world, process, shard);
    process->answer_marks[shard] = writer_mark(process, shard);
    process->answer_numbers[shard] = (uint64_t)event->b;
    writer_flush(world, process, shard);
    evict_answer_when_safe(world, process, shard);
}

static void cuts(struct world *world, struct event *event)
{
    shard_cuts(world, running(world, event), (int)event->a);
}

/* ---- the intake, inside the group's callback ---- */

static void enter(struct world *world, struct process *process, enum leaving leaving)
{
    process->leaving = leaving;
    process->leaving_since = world->now;
}

void evict_begin(struct world *world, struct process *process, bool lost, bool drain)
{
    tell(world, "%s %s its partitions", process->name, lost ? "has lost" : "gives up");
    process->eviction++;
    process->in_flight_count = 0;
    process->answers_missing = SHARDS;
    process->leaving_lost = lost;
    process->lost = false;
    process->release_until = 0;
    if (lost) {
        pardon(world, process);
        tenure_set(process, TENURE_LOST);
    } else {
        tenure_leave(world, process);
    }
    for (int i = 0; i < SHARDS; i++) {
        post(world, process, i, returns, i, (int64_t)process->eviction);
    }
    free_held(world, process);
    enter(world, process, lost ? LEAVING_RELEASE : LEAVING_ANSWERS);
    process->leaving_drain = drain;
}

static bool nothing_runs(const struct process *process)
{
    for (int i = 0; i < process->in_flight_count; i++) {
        const struct in_flight *one = &process->in_flight[i];
        if (process->owned[one->partition].ready &&
            offsets_is_open(&process->owned[one->partition].offsets, one->offset)) {
            return false;
        }
    }
    return true;
}

static bool nothing_is_left(const struct process *process)
{
    for (int i = 0; i < MAILS; i++) {
        if (process->mails[i].where != WHERE_FREE) {
            return false;
        }
    }
    return true;
}

/* worker/intake.c, intake_run(), and worker/main.c: a process flushes its journals before it leaves
 * the group. */
static void end_leaving(struct world *world, struct process *process)
{
    if (process->draining) {
        enter(world, process, LEAVING_FLUSH);
        for (int i = 0; i < THREADS; i++) {
            writer_flush(world, process, i);
        }
    } else {
        process->leaving = LEAVING_NOT;
        process_gave_up(world, process, process->leaving_lost);
    }
}

static bool all_is_safe(const struct process *process)
{
    for (int i = 0; i < THREADS; i++) {
        if (process->writers[i].unsafe_count > 0) {
            return false;
        }
    }
    return true;
}

static void give_up(struct world *world, struct process *process, bool released)
{
    if (!released) {
        pardon(world, process);
    }
    tenure_set(process, released ? TENURE_RELEASED : TENURE_LOST);
    tell(world, "%s has %s, %d in flight", process->name, released ? "released" : "not released",
         process->in_flight_count);
    claims_drop(process);
    end_leaving(world, process);
}

void evict_burst_over(struct world *world, struct process *process, enum burst_result result)
{
    if (process->leaving != LEAVING_RELEASING) {
        return; /* too late */
    }
    if (result == RESULT_COMMITTED) {
        give_up(world, process, true);
    } else if (result == RESULT_LOST) {
        process->leaving_lost = true;
        give_up(world, process, false);
    } else {
        process->leaving = LEAVING_RELEASE;
    }
}

static bool has_partitions(const struct process *process)
{
    for (int i = 0; i < PARTITIONS; i++) {
        if (process->owned[i].ready) {
            return true;
        }
    }
    return false;
}

static void release(struct world *world, struct process *process)
{
    if (process->draining && !has_partitions(process)) {
        end_leaving(world, process);
        return;
    }
    if (process->release_until == 0) {
        process->release_until = world->now + RELEASE_WAIT;
    }
    if (process->leaving_lost || world->now > process->release_until) {
        give_up(world, process, false);
    } else if (burst_submit(world, process, BURST_RELEASE)) {
        process->leaving = LEAVING_RELEASING;
    }
}

void evict_serve(struct world *world, struct process *process)
{
    int64_t since = world->now - process->leaving_since;
    switch (process->leaving) {
    case LEAVING_NOT: return;
    case LEAVING_ANSWERS:
        if (process->answers_missing == 0) {
            enter(world, process, process->leaving_drain ? LEAVING_DRAINING : LEAVING_RUNNING);
        } else if (since > ANSWER_WAIT) {
            give_up(world, process, false);
        }
        return;
    case LEAVING_RUNNING:
        if (nothing_runs(process) || since > RUNNING_WAIT) {
            enter(world, process, LEAVING_RELEASE);
        }
        return;
    case LEAVING_DRAINING:
        if (nothing_is_left(process)) {
            enter(world, process, LEAVING_RELEASE);
        } else if (since > DRAIN_WAIT) {
            for (int i = 0; i < SHARDS; i++) {
                post(world, process, i, cuts, i, 0);
            }
            enter(world, process, LEAVING_CUT);
        }
        return;
    case LEAVING_CUT:
        if (nothing_is_left(process) || since > CUT_WAIT) {
            enter(world, process, LEAVING_RELEASE);
        }
        return;
    case LEAVING_RELEASE: release(world, process); return;
    case LEAVING_RELEASING:
        if (world->now > process->release_until) {
            give_up(world, process, false);
        }
        return;
    case LEAVING_FLUSH:
        if (all_is_safe(process) || since > FLUSH_WAIT) {
            process_gave_up(world, process, process->leaving_lost);
        }
        return;
    }
}
