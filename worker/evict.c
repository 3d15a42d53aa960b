/*
 * Partitions that go (docs/completion.md, "Giving up"). Two steps: first the shards begin nothing
 * more, give back what they have not begun, and name what is in transactions; then, after a short
 * time for those to end, a burst releases the partitions and names what is still in flight, for
 * which the next owner waits. What was given back is forgotten: what is complete is known exactly,
 * so the next owner reads the rest again.
 */
#include "worker/intake_private.h"
#include "worker/shard.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#define ANSWER_WAIT_MS 5000   /* shards are told to by their loops, and by Kafka */
#define RUNNING_WAIT_MS 500   /* for transactions, while the group waits */
#define RELEASE_WAIT_MS 10000 /* for the release burst; without it the next owner fences us */
#define CUT_WAIT_MS 10000     /* for what follows from cut transactions and for copies: a drain */

static size_t in_flight_open(const struct intake *intake)
{
    size_t open = 0;
    for (size_t i = 0; i < intake->in_flight_count; i++) {
        const struct kafka_ticket *one = &intake->in_flight[i];
        open += kafka_ticket_valid(one) &&
                        offsets_is_open(kafka_partition_offsets(one->partition), one->offset)
                    ? 1
                    : 0;
    }
    return open;
}

static bool answered(const struct intake *intake)
{
    return intake->answers_missing == 0;
}

static bool nothing_runs(const struct intake *intake)
{
    return intake->answers_missing == 0 && in_flight_open(intake) == 0;
}

static bool nothing_is_left(const struct intake *intake)
{
    return intake->answers_missing == 0 && atomic_load(&intake->worker->messages) == 0;
}

static bool burst_free_again(const struct intake *intake)
{
    return !burst_is_busy(intake->burst);
}

static bool release_over(const struct intake *intake)
{
    return !intake->releasing;
}

/* Turns of the loop without the consumer, whose callback we are in, or, `whole`, with all there is.
 * True: it came true in time. */
static bool wait_for(struct intake *intake, bool (*is_so)(const struct intake *intake), bool whole,
                     int64_t wait_ms)
{
    struct mono_time until = mono_add_ms(mono_now(), wait_ms);
    while (!is_so(intake) && !intake->failed) {
        if (!mono_before(mono_now(), until)) {
            return false;
        }
        if (whole) {
            intake_turn(intake);
        } else {
            io_loop_turn(intake->loop);
            intake_poll(intake);
        }
    }
    return true;
}

static void ask_all(struct intake *intake, enum shard_request_kind kind)
{
    const struct worker *worker = intake->worker;
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_ask(worker->shards[i], kind, intake->eviction);
    }
}

void evict_answered(struct intake *intake, const struct shard_answer *answer)
{
    if (answer->number != intake->eviction) {
        return;
    }
    CHECK(intake->answers_missing > 0);
    intake->answers_missing--;
    intake->in_flight =
        mem_realloc(intake->in_flight, (intake->in_flight_count + answer->in_flight_count + 1) *
                                           sizeof(*intake->in_flight));
    for (size_t i = 0; i < answer->in_flight_count; i++) {
        intake->in_flight[intake->in_flight_count++] = answer->in_flight[i];
    }
}

static void begin(struct intake *intake, enum shard_request_kind kind)
{
    intake->eviction++;
    intake->in_flight_count = 0;
    intake->answers_missing = intake->worker->shard_count;
    ask_all(intake, kind);
    intake_forget_held(intake);
}

void evict_burst_over(struct intake *intake, enum kafka_burst_result result)
{
    intake->releasing = false;
    intake->released = result;
}

/* Tries until the time is over: as long as we have it the group waits, or throws us out. */
static bool release(struct intake *intake)
{
    struct mono_time until = mono_add_ms(mono_now(), RELEASE_WAIT_MS);
    struct fault fault;
    while (mono_before(mono_now(), until)) {
        if (!wait_for(intake, burst_free_again, false, RELEASE_WAIT_MS)) {
            break;
        }
        if (intake_submit(intake, BURST_RELEASE, &fault)) {
            intake->releasing = true;
            wait_for(intake, release_over, false, RELEASE_WAIT_MS);
            if (!intake->releasing && intake->released == KAFKA_BURST_COMMITTED) {
                return true;
            }
            if (intake->releasing || intake->released == KAFKA_BURST_LOST) {
                break;
            }
        } else if (fault.kind == FAULT_CLOSED) {
            break;
        } else {
            io_loop_turn(intake->loop);
        }
    }
    intake->releasing = false; /* if it is still under way, what comes of it is not told */
    return false;
}

/* After the shards have answered. */
static void give_up(struct intake *intake, bool lost)
{
    struct mono_time began = mono_now();
    struct tenures *tenures = &intake->worker->tenures;
    bool released = !lost && answered(intake) && release(intake);
    if (released) {
        tenure_released(tenures);
    } else {
        tenure_lost(tenures);
    }
    log_info("partitions-left", "count=%zu released=%d lost=%d in_flight=%zu ms=%lld",
             intake->assigned_count, released, lost, in_flight_open(intake),
             (long long)(mono_since_us(mono_now(), began) / 1000));
    claims_drop(intake->claims);
}

void evict_partitions(struct intake *intake, bool lost)
{
    struct tenures *tenures = &intake->worker->tenures;
    if (lost) {
        tenure_lost(tenures);
    } else if (!intake->draining) {
        tenure_leave(tenures);
    }
    if (!intake->draining) {
        begin(intake, SHARD_RETURN);
    }
    if (!lost) {
        wait_for(intake, answered, false, ANSWER_WAIT_MS);
        wait_for(intake, nothing_runs, false, RUNNING_WAIT_MS);
    }
    give_up(intake, lost);
}

void evict_drain(struct intake *intake)
{
    tenure_leave(&intake->worker->tenures);
    begin(intake, SHARD_DRAIN);
    wait_for(intake, answered, true, ANSWER_WAIT_MS);
    if (!wait_for(intake, nothing_is_left, true, intake->worker->config->worker.drain_timeout_ms)) {
        log_info("transactions-cut", "left=%lld", atomic_load(&intake->worker->messages));
        ask_all(intake, SHARD_CUT);
        wait_for(intake, nothing_is_left, true, CUT_WAIT_MS);
    }
    if (intake->assigned_count > 0 && !intake->failed) {
        give_up(intake, false);
    }
}
