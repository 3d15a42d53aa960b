/*
 * Partitions go: who is asked for what, what is waited for, and what the tenure is in the end.
 * Kafka, the shards and the bursts are played here.
 */
#include "worker/intake_private.h"
#include "worker/shard.h"
#include "worker/worker.h"

#include "base/mem.h"
#include "unit/cmocka_all.h"

#define ASKED_MAX 16
#define SHARDS 2

/* Stands for lib/kafka's. */
struct kafka_partition {
    struct offsets offsets;
    bool ours;
};

static struct kafka_partition partition;

static struct {
    enum shard_request_kind asked[ASKED_MAX];
    size_t asked_count;
    size_t turns;            /* with the consumer */
    size_t busy;             /* so often the burst before is still under way */
    enum fault_kind refused; /* how a release is refused */
    size_t submitted;
    enum kafka_burst_result results[ASKED_MAX]; /* of releases, in turn */
    bool stale;   /* answers carry the number of an earlier eviction, too */
    int64_t runs; /* offset in flight, -1: none */
    void (*on_turn)(void);
    bool dropped, forgotten;
} world;

static struct config config;
static struct worker worker;
static struct shard *shards[SHARDS];
static struct intake intake;

bool kafka_ticket_valid(const struct kafka_ticket *ticket)
{
    return ticket->partition->ours;
}

const struct offsets *kafka_partition_offsets(const struct kafka_partition *one)
{
    return &one->offsets;
}

int64_t kafka_consumer_contact_us(const struct kafka_consumer *consumer)
{
    (void)consumer;
    return mono_now().us;
}

static void answer(enum shard_request_kind kind, uint32_t shard, int64_t number)
{
    struct kafka_ticket ticket = {.partition = &partition, .offset = world.runs};
    const struct shard_answer said = {
        .kind = kind,
        .shard = shard,
        .number = number,
        .in_flight = &ticket,
        .in_flight_count = shard == 0 && world.runs >= 0 ? 1 : 0,
    };
    evict_answered(&intake, &said);
}

void shard_ask(struct shard *shard, enum shard_request_kind kind, int64_t value)
{
    (void)shard;
    assert_true(world.asked_count < ASKED_MAX);
    assert_int_equal(value, intake.eviction);
    world.asked[world.asked_count++] = kind;
}

/* Shards answer once, when the intake thread turns. */
static void turn(void)
{
    while (intake.answers_missing > 0) {
        if (world.stale) {
            answer(SHARD_RETURN, 0, intake.eviction - 1);
        }
        answer(SHARD_RETURN, intake.answers_missing - 1, intake.eviction);
    }
    if (world.on_turn != NULL) {
        world.on_turn();
    }
}

void intake_turn(struct intake *one)
{
    assert_ptr_equal(one, &intake);
    world.turns++;
    turn();
}

void intake_poll(struct intake *one)
{
    turn();
    if (one->releasing) {
        evict_burst_over(one, world.results[world.submitted - 1]);
    }
}

void intake_forget_held(struct intake *one)
{
    (void)one;
    world.forgotten = true;
}

bool intake_submit(struct intake *one, enum burst_kind kind, struct fault *fault)
{
    assert_int_equal(kind, BURST_RELEASE);
    assert_int_equal(one->answers_missing, 0);
    assert_int_equal(world.busy, 0);
    if (world.refused != FAULT_NONE) {
        return fault_set(fault, world.refused, 0, "refused");
    }
    assert_true(world.submitted < ASKED_MAX);
    world.submitted++;
    return true;
}

bool burst_is_busy(const struct burst *burst)
{
    (void)burst;
    world.busy -= world.busy > 0 ? 1 : 0;
    return world.busy > 0;
}

void claims_drop(struct claims *claims)
{
    (void)claims;
    world.dropped = true;
}

/* No turn of the loop waits for ever. */
static void tick(struct timer *timer, struct mono_time now)
{
    wheel_set(io_loop_wheel(intake.loop), timer, mono_add_ms(now, 5), tick);
}

static int set_up(void **state)
{
    static struct kafka_partition *assigned[] = {&partition};
    struct fault fault;
    (void)state;
    memset(&world, 0, sizeof(world));
    world.runs = -1;
    memset(&config, 0, sizeof(config));
    memset(&worker, 0, sizeof(worker));
    worker.config = &config;
    worker.shards = shards;
    worker.shard_count = SHARDS;
    worker.tenures.session_timeout_us = 6000000;
    memset(&intake, 0, sizeof(intake));
    intake.magic = INTAKE_MAGIC;
    intake.worker = &worker;
    intake.assigned = assigned;
    intake.assigned_count = 1;
    intake.loop = io_loop_create(&fault);
    assert_non_null(intake.loop);
    tick(&intake.serve, io_loop_now(intake.loop));
    partition.ours = true;
    offsets_init(&partition.offsets, 0);
    assert_int_equal(tenure_begin(&worker.tenures), 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wheel_cancel(io_loop_wheel(intake.loop), &intake.serve);
    io_loop_free(&intake.loop);
    offsets_free(&partition.offsets);
    mem_free(intake.in_flight);
    return 0;
}

static void begin_to_run(int64_t offset)
{
    assert_int_equal(offsets_open(&partition.offsets, offset), OFFSETS_OPENED);
    world.runs = offset;
}

static void end_run(void)
{
    offsets_complete(&partition.offsets, world.runs);
}

/* Who is in flight may end only if the release was committed. */
static void expect_tenure(bool released)
{
    assert_int_equal(tenure_may_end(&worker.tenures, 1, true, mono_now()), released);
    assert_false(tenure_may_end(&worker.tenures, 1, false, mono_now()));
    assert_true(world.dropped && world.forgotten);
}

static void what_nothing_runs_in_is_released_at_once(void **state)
{
    (void)state;
    world.busy = 3;
    evict_partitions(&intake, false);
    assert_int_equal(world.asked_count, SHARDS);
    assert_int_equal(world.asked[0], SHARD_RETURN);
    assert_int_equal(world.submitted, 1);
    assert_int_equal(world.turns, 0); /* never the consumer from inside its callback */
    expect_tenure(true);
}

static void what_runs_is_waited_for_and_then_named(void **state)
{
    (void)state;
    begin_to_run(7);
    evict_partitions(&intake, false);
    assert_int_equal(world.submitted, 1);
    assert_int_equal(intake.in_flight_count, 1);
    assert_int_equal(intake.in_flight[0].offset, 7);
    expect_tenure(true);
}

static void what_ends_in_time_holds_nobody_up(void **state)
{
    (void)state;
    begin_to_run(7);
    world.on_turn = end_run;
    evict_partitions(&intake, false);
    assert_int_equal(world.submitted, 1);
    assert_int_equal(partition.offsets.open, 0);
    expect_tenure(true);
}

static void what_is_lost_is_not_released(void **state)
{
    (void)state;
    begin_to_run(7);
    evict_partitions(&intake, true);
    assert_int_equal(world.asked_count, SHARDS);
    assert_int_equal(world.submitted, 0);
    expect_tenure(false);
}

static void an_aborted_release_is_tried_again(void **state)
{
    (void)state;
    world.results[0] = world.results[1] = KAFKA_BURST_ABORTED;
    evict_partitions(&intake, false);
    assert_int_equal(world.submitted, 3);
    expect_tenure(true);
}

static void who_is_no_member_any_more_has_lost_them(void **state)
{
    (void)state;
    world.results[0] = KAFKA_BURST_LOST;
    evict_partitions(&intake, false);
    assert_int_equal(world.submitted, 1);
    expect_tenure(false);
}

static void who_has_no_generation_has_lost_them(void **state)
{
    (void)state;
    world.refused = FAULT_CLOSED;
    evict_partitions(&intake, false);
    expect_tenure(false);
}

static void answers_to_an_earlier_question_do_not_count(void **state)
{
    (void)state;
    world.stale = true;
    evict_partitions(&intake, false);
    assert_int_equal(world.submitted, 1);
    expect_tenure(true);
}

static void empty_memory(void)
{
    if (world.asked[world.asked_count - 1] == SHARD_CUT) {
        atomic_store(&worker.messages, 0);
        end_run();
        world.runs = -1;
        world.on_turn = NULL;
    }
}

/* The consumer is served all the while: a drain takes its time. */
static void a_drain_cuts_what_takes_too_long(void **state)
{
    (void)state;
    begin_to_run(3);
    atomic_store(&worker.messages, 1);
    world.on_turn = empty_memory;
    intake.draining = true;
    evict_drain(&intake);
    assert_int_equal(world.asked_count, 2 * SHARDS);
    assert_int_equal(world.asked[0], SHARD_DRAIN);
    assert_int_equal(world.asked[SHARDS], SHARD_CUT);
    assert_true(world.turns > 0);
    assert_int_equal(world.submitted, 1);
    expect_tenure(true);
}

static void revoke_in_a_drain(void)
{
    world.on_turn = NULL;
    evict_partitions(&intake, false);
    partition.ours = false;
    intake.assigned_count = 0;
    atomic_store(&worker.messages, 0);
}

static void what_the_group_takes_in_a_drain_is_released_then(void **state)
{
    (void)state;
    begin_to_run(3);
    atomic_store(&worker.messages, 1);
    config.worker.drain_timeout_ms = 60000;
    world.on_turn = revoke_in_a_drain;
    intake.draining = true;
    evict_drain(&intake);
    assert_int_equal(world.asked_count, SHARDS);
    assert_int_equal(world.submitted, 1);
    expect_tenure(true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_nothing_runs_in_is_released_at_once),
        TEST(what_runs_is_waited_for_and_then_named),
        TEST(what_ends_in_time_holds_nobody_up),
        TEST(what_is_lost_is_not_released),
        TEST(an_aborted_release_is_tried_again),
        TEST(who_is_no_member_any_more_has_lost_them),
        TEST(who_has_no_generation_has_lost_them),
        TEST(answers_to_an_earlier_question_do_not_count),
        TEST(a_drain_cuts_what_takes_too_long),
        TEST(what_the_group_takes_in_a_drain_is_released_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
