/*
 * A burst's life: what is told of it, and when the next one may begin. Kafka and the checkpoint are
 * played here.
 */
#include "worker/burst_private.h"
#include "worker/copy.h"
#include "worker/intake.h"
#include "worker/journal.h"
#include "worker/worker.h"

#include "base/mem.h"
#include "unit/cmocka_all.h"

#define MAILS (3 * BURST_TELL_MAX)

/* Stands for lib/kafka's. */
struct kafka_partition {
    bool ours;
};

static struct kafka_partition partition = {.ours = true};

static struct {
    struct kafka_burst *under_way;
    bool is_over;
    enum kafka_burst_result result;
    size_t freed; /* records */
    size_t moved, gone, over;
    enum kafka_burst_result told;
} world;

static struct config config = {.kafka = {.bootstrap_servers = "127.0.0.1:9"}};
static struct worker worker;
static struct burst *burst;

/* ---- Kafka ---- */

struct kafka_txn *kafka_txn_create(const struct kafka_properties *properties,
                                   const struct kafka_txn_options *options, struct fault *fault)
{
    (void)properties;
    (void)options;
    (void)fault;
    return (struct kafka_txn *)&world;
}

void kafka_txn_options_default(struct kafka_txn_options *options)
{
    *options = (struct kafka_txn_options){0};
}

void kafka_txn_free(struct kafka_txn **txn, int wait_ms)
{
    (void)wait_ms;
    *txn = NULL;
}

bool kafka_txn_ready(const struct kafka_txn *txn)
{
    (void)txn;
    return true;
}

bool kafka_txn_busy(const struct kafka_txn *txn)
{
    (void)txn;
    return world.under_way != NULL;
}

void kafka_txn_notify(struct kafka_txn *txn, int event_fd)
{
    (void)txn;
    (void)event_fd;
}

bool kafka_txn_submit(struct kafka_txn *txn, struct kafka_consumer *consumer,
                      struct kafka_burst *kafka, struct fault *fault)
{
    (void)txn;
    (void)consumer;
    (void)fault;
    assert_null(world.under_way);
    world.under_way = kafka;
    return true;
}

int kafka_txn_poll(struct kafka_txn *txn)
{
    struct kafka_burst *kafka = world.under_way;
    struct fault fault;
    (void)txn;
    if (kafka == NULL || !world.is_over) {
        return 0;
    }
    world.under_way = NULL;
    world.is_over = false;
    fault_set(&fault, FAULT_TEMPORARY, 0, "played");
    kafka->done(kafka, world.result, 7, &fault);
    return 1;
}

bool kafka_ticket_valid(const struct kafka_ticket *ticket)
{
    return ticket->partition->ours;
}

struct kafka_ticket kafka_record_ticket(const struct kafka_record *record)
{
    return kafka_record_ticket_of(record->partition, 1, record->offset);
}

bool kafka_record_header(const struct kafka_record *record, const char *name, struct slice *value)
{
    (void)record;
    (void)name;
    (void)value;
    return false;
}

void kafka_record_free(struct kafka_record *record)
{
    world.freed++;
    record->handle = NULL;
}

bool burst_write_checkpoint(struct burst *one, const struct burst_partition *partitions,
                            size_t count, int64_t done_offset)
{
    (void)one;
    (void)partitions;
    (void)count;
    (void)done_offset;
    return true;
}

void burst_write_metadata(struct kafka_burst *kafka, size_t index, int64_t checkpoint_offset,
                          char *out, size_t size)
{
    (void)kafka;
    (void)index;
    (void)checkpoint_offset;
    (void)out;
    (void)size;
}

void burst_renew(struct burst *one, const struct kafka_partition *renewed)
{
    (void)one;
    (void)renewed;
}

/* ---- what mails and bursts call besides ---- */

void intake_post(struct intake *intake, struct mail *mail)
{
    (void)intake;
    (void)mail;
}

void intake_close(struct intake *intake, struct mail *mail)
{
    (void)intake;
    (void)mail;
}

struct outbox *intake_outbox(struct intake *intake)
{
    (void)intake;
    return NULL;
}

void journal_writer_restate(struct journal_writer *writer, const struct mail *mail)
{
    (void)writer;
    (void)mail;
}

/* ---- the owner ---- */

static void moved(void *owner, struct mail *mail)
{
    (void)owner;
    assert_int_equal(world.over, 0);
    assert_int_equal(mail->ticket.offset, world.moved); /* oldest first */
    world.moved++;
    mail_free(&mail);
}

static void gone(void *owner, struct mail *mail)
{
    (void)owner;
    world.gone++;
    mail_free(&mail);
}

static void over(void *owner, enum burst_kind kind, enum kafka_burst_result result)
{
    (void)owner;
    assert_int_equal(kind, BURST_USUAL);
    world.over++;
    world.told = result;
}

static const struct burst_ops ops = {.moved = moved, .gone = gone, .over = over};

static int set_up(void **state)
{
    struct fault fault;
    (void)state;
    memset(&world, 0, sizeof(world));
    memset(&worker, 0, sizeof(worker));
    partition.ours = true;
    worker.config = &config;
    burst = burst_create(&worker, &ops, NULL, -1, &fault);
    assert_non_null(burst);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    burst_free(&burst);
    assert_int_equal(atomic_load(&worker.messages), 0);
    return 0;
}

static void add_mails(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct kafka_record record = {.partition = &partition,
                                      .topic = "q.bulk",
                                      .offset = (int64_t)i,
                                      .value = SLICE("letter"),
                                      .handle = &world};
        struct mail *mail = mail_create(&worker, &record);
        copy_add(mail, "delay.1m", SLICE_NULL, NULL, 0);
        burst_add(burst, mail);
    }
}

static bool submit(void)
{
    struct fault fault;
    const struct burst_partition part = {.partition = &partition};
    return burst_submit(burst, NULL, BURST_USUAL, &part, 1, 0, &fault);
}

static void end_with(enum kafka_burst_result result)
{
    world.is_over = true;
    world.result = result;
}

static void tell_first_part(void)
{
    add_mails(MAILS);
    assert_true(submit());
    end_with(KAFKA_BURST_COMMITTED);
    assert_true(burst_poll(burst));
}

/* ---- tests ---- */

/* Thousands of mails do not keep the intake from transactional mail; until all of them are told the
 * burst is not over, and there is no other, which would state them as open. */
static void what_moved_is_told_in_parts(void **state)
{
    (void)state;
    add_mails(MAILS);
    assert_true(burst_is_due(burst, mono_now()));
    assert_true(submit());
    assert_int_equal(world.under_way->record_count, MAILS);
    assert_false(burst_poll(burst));
    end_with(KAFKA_BURST_COMMITTED);
    for (size_t told = BURST_TELL_MAX; told < MAILS; told += BURST_TELL_MAX) {
        assert_true(burst_poll(burst));
        assert_int_equal(world.moved, told);
        assert_int_equal(world.over, 0);
        assert_true(burst_is_busy(burst));
        assert_false(burst_is_due(burst, mono_add_ms(mono_now(), 60000)));
        assert_false(submit());
    }
    assert_false(burst_poll(burst));
    assert_int_equal(world.moved, MAILS);
    assert_int_equal(world.over, 1);
    assert_int_equal(world.told, KAFKA_BURST_COMMITTED);
    assert_false(burst_is_busy(burst));
    assert_false(burst_poll(burst));
    assert_int_equal(world.over, 1);
    assert_true(submit());
    assert_int_equal(world.under_way->record_count, 0);
    world.under_way = NULL;
}

static void a_burst_without_mails_is_over_at_once(void **state)
{
    (void)state;
    assert_true(submit());
    end_with(KAFKA_BURST_COMMITTED);
    assert_false(burst_poll(burst));
    assert_int_equal(world.over, 1);
    assert_false(burst_is_busy(burst));
}

static void what_was_not_written_waits_again(void **state)
{
    (void)state;
    add_mails(MAILS);
    assert_true(submit());
    end_with(KAFKA_BURST_ABORTED);
    assert_false(burst_poll(burst));
    assert_int_equal(world.moved, 0);
    assert_int_equal(world.over, 1);
    assert_int_equal(world.told, KAFKA_BURST_ABORTED);
    world.over = 0;
    assert_true(submit());
    assert_int_equal(world.under_way->record_count, MAILS);
    end_with(KAFKA_BURST_COMMITTED);
    while (burst_poll(burst)) {
    }
    assert_int_equal(world.moved, MAILS);
    assert_int_equal(world.over, 1);
}

/* Its partition goes before all of it is told: it was moved all the same. */
static void what_moved_is_told_though_its_partition_goes(void **state)
{
    (void)state;
    tell_first_part();
    partition.ours = false;
    burst_drop_gone(burst);
    while (burst_poll(burst)) {
    }
    assert_int_equal(world.gone, 0);
    assert_int_equal(world.moved, MAILS);
    assert_int_equal(world.over, 1);
}

/* Ends with some not told: they are freed, the owner hears nothing. */
static void an_end_between_two_parts(void **state)
{
    (void)state;
    tell_first_part();
    burst_free(&burst);
    assert_int_equal(world.moved, BURST_TELL_MAX);
    assert_int_equal(world.over, 0);
    assert_int_equal(world.freed, MAILS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_moved_is_told_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_burst_without_mails_is_over_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_not_written_waits_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_moved_is_told_though_its_partition_goes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_end_between_two_parts, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
