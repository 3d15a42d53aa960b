/*
 * A partition goes to another worker: what is forgotten, what is moved to a tier, when running
 * transactions are cut. Kafka and the shards are played here.
 */
#include "worker/intake_private.h"
#include "worker/shard.h"
#include "worker/worker.h"

#include "base/mem.h"
#include "unit/cmocka_all.h"

#define ASKED_MAX 16

/* Stands for lib/kafka's: the test says what is open and what is complete. */
struct kafka_partition {
    size_t open;
    int64_t highest_complete;
    uint32_t epoch;
};

static struct kafka_partition partition;

static struct {
    enum shard_request_kind asked[ASKED_MAX];
    size_t asked_count;
    void (*on_ask)(enum shard_request_kind kind);
    struct kafka_delivery *deliveries[ASKED_MAX];
    size_t delivery_count;
    size_t moved, completed, forgotten;
} world;

static struct config config;
static struct config_stream stream = {.name = "bulk", .class_ = CONFIG_CLASS_BULK};
static struct worker worker;
static struct shard *shards[1];
static struct intake intake;

bool kafka_ticket_valid(const struct kafka_ticket *ticket)
{
    return ticket->epoch == ticket->partition->epoch;
}

size_t kafka_partition_open_tickets(const struct kafka_partition *one)
{
    return one->open;
}

int64_t kafka_partition_highest_complete(const struct kafka_partition *one)
{
    return one->highest_complete;
}

struct kafka_ticket kafka_record_ticket(const struct kafka_record *record)
{
    return kafka_record_ticket_of(record->partition, record->partition->epoch, record->offset);
}

void kafka_record_free(struct kafka_record *record)
{
    (void)record;
}

bool kafka_record_header(const struct kafka_record *record, const char *name, struct slice *value)
{
    (void)record;
    (void)name;
    (void)value;
    return false;
}

bool kafka_producer_send(struct kafka_producer *producer, const struct kafka_record_out *record,
                         struct fault *fault)
{
    (void)producer;
    (void)fault;
    assert_string_equal(record->topic, "sluice.d.00");
    world.moved++;
    world.deliveries[world.delivery_count++] = record->delivery;
    return true;
}

/* What was produced is acknowledged at the next poll. */
int kafka_producer_poll(struct kafka_producer *producer, int timeout_ms)
{
    (void)producer;
    (void)timeout_ms;
    while (world.delivery_count > 0) {
        struct kafka_delivery *delivery = world.deliveries[--world.delivery_count];
        delivery->done(delivery, 0, 0, NULL);
    }
    return 0;
}

void shard_ask(struct shard *shard, enum shard_request_kind kind, int64_t value)
{
    (void)shard;
    (void)value;
    assert_true(world.asked_count < ASKED_MAX);
    world.asked[world.asked_count++] = kind;
    if (world.on_ask != NULL) {
        world.on_ask(kind);
    }
}

void tiers_return(struct intake *one)
{
    (void)one;
}

struct outbox *intake_outbox(struct intake *one)
{
    return one->outbox;
}

/* As the intake thread does it. */
void intake_post(struct intake *one, struct mail *mail)
{
    (void)one;
    (void)mail;
    fail_msg("nothing comes home here");
}

void intake_close(struct intake *one, struct mail *mail)
{
    (void)one;
    world.moved += list_empty(&mail->copies) ? 0 : 1;
    if (mail->forget) {
        world.forgotten++;
    } else {
        world.completed++;
        partition.open--;
    }
    mail_free(&mail);
}

static struct mail *mail_at(int64_t offset)
{
    struct kafka_record record = {.partition = &partition,
                                  .topic = "sluice.q.bulk",
                                  .source = KAFKA_SOURCE_BULK,
                                  .offset = offset,
                                  .value = slice_of(mem_zalloc(1), 1)};
    partition.open++;
    return mail_create(&worker, &record);
}

static void give_back(int64_t offset)
{
    struct mail *mail = mail_at(offset);
    list_push_back(&intake.returned, &mail->node);
}

/* The intake thread's own clock tick: no turn waits for ever. */
static void tick(struct timer *timer, struct mono_time now)
{
    wheel_set(io_loop_wheel(intake.loop), timer, mono_add_ms(now, 5), tick);
}

static int set_up(void **state)
{
    struct fault fault;
    (void)state;
    memset(&world, 0, sizeof(world));
    partition = (struct kafka_partition){.highest_complete = -1, .epoch = 1};
    config = (struct config){.streams = &stream, .stream_count = 1};
    config.kafka.prefix = "sluice.";
    config.kafka.tier_unit_ms = 30000;
    worker = (struct worker){.config = &config, .shards = shards, .shard_count = 1};
    worker_name_topics(&worker);
    intake = (struct intake){.magic = INTAKE_MAGIC, .worker = &worker};
    intake.loop = io_loop_create(&fault);
    assert_non_null(intake.loop);
    intake.outbox = outbox_create(&worker, intake.loop);
    list_init(&intake.held);
    list_init(&intake.returned);
    worker.intake = &intake;
    tick(&intake.serve, io_loop_now(intake.loop));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_true(list_empty(&intake.returned));
    wheel_cancel(io_loop_wheel(intake.loop), &intake.serve);
    outbox_free(&intake.outbox);
    io_loop_free(&intake.loop);
    assert_int_equal(atomic_load(&worker.messages), 0);
    return 0;
}

static void evict(bool lost)
{
    struct kafka_partition *partitions[] = {&partition};
    evict_partitions(&intake, partitions, 1, 0, lost);
}

static void what_lies_above_everything_completed_is_forgotten(void **state)
{
    (void)state;
    partition.highest_complete = 5;
    give_back(3);
    give_back(5);
    give_back(6);
    give_back(9);
    evict(false);
    assert_int_equal(world.asked_count, 1);
    assert_int_equal(world.asked[0], SHARD_RETURN);
    assert_int_equal(world.moved, 2);
    assert_int_equal(world.completed, 2); /* the copies are on Kafka */
    assert_int_equal(world.forgotten, 2);
    assert_int_equal(partition.open, 2); /* not committed: the next owner reads them */
}

static void a_partition_that_is_lost_is_forgotten_as_a_whole(void **state)
{
    (void)state;
    partition.highest_complete = 5;
    give_back(3);
    give_back(6);
    partition.open++; /* one runs: nobody waits for it, nobody cuts it */
    evict(true);
    assert_int_equal(world.asked_count, 1);
    assert_int_equal(world.moved, 0);
    assert_int_equal(world.forgotten, 2);
}

static void finish_when_cut(enum shard_request_kind kind)
{
    if (kind == SHARD_CUT) {
        partition.open--;
        partition.highest_complete = 8;
    }
}

/* Else the next owner would send again what was finished above the low watermark. */
static void what_runs_too_long_is_cut_before_anything_is_forgotten(void **state)
{
    (void)state;
    partition.highest_complete = 2;
    give_back(7);
    give_back(9);
    partition.open++; /* offset 8 runs */
    world.on_ask = finish_when_cut;
    evict(false);
    assert_int_equal(world.asked_count, 2);
    assert_int_equal(world.asked[1], SHARD_CUT);
    assert_int_equal(world.moved, 1); /* 7 lies below 8, which is finished now */
    assert_int_equal(world.forgotten, 1);
    assert_int_equal(partition.open, 1);
}

static void mail_of_an_earlier_assignment_is_let_go(void **state)
{
    (void)state;
    give_back(3);
    partition.open = 0;
    partition.epoch = 2;
    evict(false);
    assert_int_equal(world.moved, 0);
    assert_int_equal(world.forgotten, 1);
}

static void a_drain_takes_everything(void **state)
{
    (void)state;
    intake.draining = true;
    evict(false);
    assert_int_equal(world.asked_count, 1);
    assert_int_equal(world.asked[0], SHARD_DRAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_lies_above_everything_completed_is_forgotten, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_partition_that_is_lost_is_forgotten_as_a_whole, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_runs_too_long_is_cut_before_anything_is_forgotten,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(mail_of_an_earlier_assignment_is_let_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_drain_takes_everything, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
