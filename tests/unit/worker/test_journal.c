/*
 * A thread's journal writer: what is said of mails stands in its batches, also after Kafka has
 * failed to take some, and marks tell what is on Kafka. Kafka is played here.
 */
#include "worker/journal.h"
#include "worker/worker.h"

#include "base/mem.h"
#include "base/random.h"
#include "unit/cmocka_all.h"

#include <inttypes.h>
#include <stdlib.h>

#define SENT_MAX 64
#define RCPTS_MAX MESSAGE_RECIPIENTS_MAX

static struct {
    struct {
        struct slice value; /* the writer's memory */
        struct kafka_delivery *delivery;
    } sent[SENT_MAX];
    size_t count;
    enum fault_kind refuse; /* what a send meets; NONE: taken */
    unsigned safer;
} world;

static struct config config = {.kafka = {.prefix = "s.", .group = "g", .slots = 4}};
static struct worker worker;
static struct io_loop *loop;
static struct journal_writer *writer;
static struct mail_rcpt rcpts[RCPTS_MAX];
static struct mail mail;

bool kafka_producer_send(struct kafka_producer *producer, const struct kafka_record_out *record,
                         struct fault *fault)
{
    assert_ptr_equal(producer, worker.journal);
    if (world.refuse != FAULT_NONE) {
        return fault_set(fault, world.refuse, 0, "refused by the test");
    }
    assert_string_equal(record->topic, "s.done");
    assert_int_equal(record->partition, worker.slot);
    assert_true(world.count < SENT_MAX && record->borrow_value);
    world.sent[world.count].value = record->value;
    world.sent[world.count++].delivery = record->delivery;
    return true;
}

static void is_safer(void *owner)
{
    assert_ptr_equal(owner, &world);
    world.safer++;
}

static int set_up(void **state)
{
    static char producer; /* never looked into */
    struct fault fault;
    (void)state;
    memset(&world, 0, sizeof(world));
    memset(rcpts, 0, sizeof(rcpts));
    worker = (struct worker){.config = &config, .name = "w"};
    worker.journal = (struct kafka_producer *)(void *)&producer;
    worker_name_topics(&worker);
    worker_name_slot(&worker);
    loop = io_loop_create(&fault);
    assert_non_null(loop);
    writer = journal_writer_create(&worker, loop, JOURNAL_LINGER_MS, is_safer, &world, &fault);
    assert_non_null(writer);
    mail = (struct mail){.magic = MAIL_MAGIC, .worker = &worker, .rcpts = rcpts};
    mail.record = (struct kafka_record){.topic = "s.q.tx", .partition_id = 3, .offset = 100};
    mail.ticket = (struct kafka_ticket){.offset = 100, .claim = 7};
    mail.message.recipient_count = 4;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    journal_writer_free(&writer);
    io_loop_free(&loop);
    return 0;
}

static void turn_until_sent(size_t count)
{
    while (world.count < count) {
        io_loop_turn(loop);
    }
}

/* Kafka reports about that batch, and the writer hears of it. */
static void report(size_t index, int64_t offset, bool ok)
{
    struct fault fault;
    fault_set(&fault, FAULT_TEMPORARY, 0, "lost by the test");
    struct kafka_delivery *delivery = world.sent[index].delivery;
    delivery->done(delivery, worker.slot, offset, ok ? NULL : &fault);
    io_loop_turn(loop);
}

static void outcome(uint32_t index, enum mail_rcpt_state state, enum smtp_result result,
                    uint16_t code)
{
    const struct smtp_outcome what = {.result = result, .code = code, .text = SLICE("said")};
    rcpts[index].state = state;
    journal_note(&mail, index, &what);
}

/* ---- what stands in a batch, by recipient ---- */

struct seen {
    size_t entries[LEDGER_LEFT + 1];
    uint32_t turn;
    bool in_doubt[RCPTS_MAX], settled[RCPTS_MAX];
    enum ledger_result results[RCPTS_MAX];
    int64_t due_ms[RCPTS_MAX];
    uint16_t codes[RCPTS_MAX];
};

static void see_entry(struct seen *seen, const struct ledger_entry *entry)
{
    seen->entries[entry->kind]++;
    if (entry->kind != LEDGER_CLOSED) {
        seen->turn = entry->turn;
    }
    for (size_t i = 0; i < entry->recipient_count; i++) {
        seen->in_doubt[entry->recipients[i]] = true;
    }
    for (size_t i = 0; i < entry->outcome_count; i++) {
        const struct ledger_outcome *group = &entry->outcomes[i];
        for (size_t k = 0; k < group->recipient_count; k++) {
            uint32_t index = group->recipients[k];
            seen->in_doubt[index] = false;
            seen->settled[index] = true;
            seen->results[index] = group->result;
            seen->due_ms[index] = group->due_ms;
            seen->codes[index] = group->code;
        }
    }
}

static void see(struct seen *seen, struct slice batch)
{
    struct completion_reader *reader = completion_reader_create();
    struct ledger_entry entry;
    struct ledger_partition place;
    struct slice name;
    assert_true(completion_writer(batch, &name));
    assert_true(slice_eq(name, SLICE("s.g-w")));
    completion_read(reader, batch);
    enum completion_next next;
    while ((next = completion_next(reader, &entry, &place)) == COMPLETION_ENTRY) {
        assert_true(slice_eq(place.topic, SLICE("s.q.tx")));
        assert_int_equal(place.partition, 3);
        assert_int_equal(place.claim, 7);
        assert_int_equal(entry.offset, 100);
        see_entry(seen, &entry);
    }
    assert_int_equal(next, COMPLETION_END);
    completion_reader_free(&reader);
}

/* ---- tests ---- */

static void test_intent_and_done(void **state)
{
    static const uint32_t all[] = {0, 1, 2, 3};
    struct seen seen = {0};
    (void)state;
    uint64_t mark = journal_writer_intent(writer, &mail, all, 4);
    assert_true(mail.journaled && mail.turn == 1);
    assert_false(journal_writer_is_safe(writer, mark));
    turn_until_sent(1);
    assert_false(journal_writer_is_safe(writer, mark));
    see(&seen, world.sent[0].value);
    assert_int_equal(seen.entries[LEDGER_INTENT], 1);
    assert_int_equal(seen.turn, 1);
    assert_true(seen.in_doubt[0] && seen.in_doubt[3]);

    report(0, 41, true);
    assert_true(journal_writer_is_safe(writer, mark));
    assert_int_equal(world.safer, 1);
    assert_int_equal(worker.journal_end, 42);

    mail.due_ms = 5000;
    outcome(0, MAIL_RCPT_SETTLED, SMTP_RESULT_DELIVERED, 250);
    outcome(1, MAIL_RCPT_DEFERRED, SMTP_RESULT_DEFERRED, 451);
    outcome(2, MAIL_RCPT_HELD, SMTP_RESULT_UNCERTAIN, 0);
    outcome(3, MAIL_RCPT_PENDING, SMTP_RESULT_NONE, 421);
    journal_writer_done(writer, &mail, all, 4);
    journal_writer_left(writer, &mail);
    journal_writer_closed(writer, &mail);
    turn_until_sent(2);
    see(&seen, world.sent[1].value);
    assert_int_equal(seen.results[0], LEDGER_DELIVERED);
    assert_int_equal(seen.results[1], LEDGER_DEFERRED);
    assert_int_equal(seen.due_ms[1], 5000);
    assert_int_equal(seen.codes[1], 451);
    assert_int_equal(seen.results[2], LEDGER_UNCERTAIN);
    assert_int_equal(seen.results[3], LEDGER_UNTRIED);
    assert_int_equal(seen.due_ms[3], 0);
    assert_int_equal(seen.entries[LEDGER_LEFT], 1);
    assert_int_equal(seen.entries[LEDGER_CLOSED], 1);
    assert_int_equal(seen.turn, 1); /* LEFT's */
    report(1, 42, true);
}

/* What a rule made of a reply counts, not what the server meant. */
static void test_a_bounce_that_is_tried_again(void **state)
{
    static const uint32_t first[] = {0};
    struct seen seen = {0};
    (void)state;
    mail.due_ms = 9000;
    journal_writer_intent(writer, &mail, first, 1);
    outcome(0, MAIL_RCPT_DEFERRED, SMTP_RESULT_BOUNCED, 550);
    journal_writer_done(writer, &mail, first, 1);
    journal_writer_flush(writer);
    see(&seen, world.sent[0].value);
    assert_int_equal(seen.results[0], LEDGER_DEFERRED);
    assert_int_equal(seen.due_ms[0], 9000);
    report(0, 1, true);
}

/* Marks are safe in order, whatever order Kafka answers in; what it refuses or loses goes again. */
static void test_what_kafka_does_not_take(void **state)
{
    static const uint32_t one[] = {1};
    uint64_t marks[3];
    struct seen seen = {0};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        world.refuse = i == 2 ? FAULT_LIMIT : FAULT_NONE;
        marks[i] = journal_writer_intent(writer, &mail, one, 1);
        journal_writer_flush(writer);
    }
    assert_int_equal(world.count, 2);
    report(1, 11, true); /* overtakes the first */
    assert_false(journal_writer_is_safe(writer, marks[0]));
    assert_false(journal_writer_is_safe(writer, marks[1]));
    assert_int_equal(world.safer, 0);
    struct slice lost = world.sent[0].value;
    report(0, -1, false);
    assert_int_equal(worker.journal_end, 12);
    assert_true(journal_writer_is_stuck(writer, mono_add_ms(mono_now(), 2000)));

    world.refuse = FAULT_NONE;
    turn_until_sent(4);
    size_t again = world.sent[2].value.ptr == lost.ptr ? 2 : 3;
    assert_ptr_equal(world.sent[again].value.ptr, lost.ptr);
    see(&seen, world.sent[again].value);
    assert_int_equal(seen.entries[LEDGER_INTENT], 1);
    assert_int_equal(seen.turn, 1);
    report(again, 12, true);
    assert_true(journal_writer_is_safe(writer, marks[1]));
    assert_false(journal_writer_is_safe(writer, marks[2]));
    report(5 - again, 13, true);
    assert_true(journal_writer_is_safe(writer, marks[2]));
    assert_false(journal_writer_is_stuck(writer, mono_add_ms(mono_now(), 2000)));
    assert_int_equal(worker.journal_end, 14);
}

/* The slot's end is learnt without saying anything. */
static void test_begin(void **state)
{
    struct seen seen = {0};
    (void)state;
    uint64_t mark = journal_writer_begin(writer);
    assert_int_equal(world.count, 1);
    see(&seen, world.sent[0].value); /* is whole, and has no entry */
    report(0, 70, true);
    assert_true(journal_writer_is_safe(writer, mark));
    assert_int_equal(worker.journal_end, 71);
}

/* The largest mail there can be, each recipient with words of its own: more than a batch. */
static void test_large(void **state)
{
    static uint32_t all[RCPTS_MAX];
    static char texts[RCPTS_MAX][LEDGER_TEXT_MAX + 1];
    struct seen seen = {0};
    (void)state;
    mail.message.recipient_count = RCPTS_MAX;
    for (uint32_t i = 0; i < RCPTS_MAX; i++) {
        all[i] = i;
        memset(texts[i], 'x', LEDGER_TEXT_MAX);
        snprintf(texts[i], 6, "%u", i);
    }
    journal_writer_intent(writer, &mail, all, RCPTS_MAX);
    for (uint32_t i = 0; i < RCPTS_MAX; i++) {
        const struct smtp_outcome what = {.result = SMTP_RESULT_BOUNCED,
                                          .code = (uint16_t)(500 + i % 100),
                                          .text = slice_of(texts[i], LEDGER_TEXT_MAX)};
        rcpts[i].state = MAIL_RCPT_SETTLED;
        journal_note(&mail, i, &what);
    }
    journal_writer_done(writer, &mail, all, RCPTS_MAX);
    journal_writer_restate(writer, &mail);
    journal_writer_flush(writer);
    assert_true(world.count > 1);
    for (size_t i = 0; i < world.count; i++) {
        see(&seen, world.sent[i].value);
    }
    assert_int_equal(seen.entries[LEDGER_INTENT], 1);
    assert_int_equal(seen.entries[LEDGER_DONE], 2);
    for (uint32_t i = 0; i < RCPTS_MAX; i++) {
        assert_int_equal(seen.results[i], LEDGER_BOUNCED);
        assert_int_equal(seen.codes[i], 500 + i % 100);
    }
    for (size_t i = world.count; i-- > 0;) {
        report(i, (int64_t)i, true);
    }
}

/* ---- property: what is stated again is what was said ---- */

static uint64_t seed; /* SLUICE_SEED gives that of an earlier run */

static uint32_t below(uint32_t bound) /* SplitMix64 */
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % bound);
}

static void some_transaction(uint32_t count, struct seen *said)
{
    uint32_t chosen[8];
    size_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (below(2) == 0 && !rcpts[i].in_doubt) {
            chosen[n++] = i;
        }
    }
    if (n == 0) {
        return;
    }
    journal_writer_intent(writer, &mail, chosen, n);
    if (below(3) == 0) {
        for (size_t i = 0; i < n; i++) {
            said->in_doubt[chosen[i]] = true;
            said->settled[chosen[i]] = false;
        }
        return; /* still running */
    }
    for (size_t i = 0; i < n; i++) {
        bool again = below(2) == 0;
        outcome(chosen[i], again ? MAIL_RCPT_PENDING : MAIL_RCPT_SETTLED,
                again ? SMTP_RESULT_NONE : SMTP_RESULT_DELIVERED, (uint16_t)below(3));
        said->settled[chosen[i]] = true;
        said->results[chosen[i]] = again ? LEDGER_UNTRIED : LEDGER_DELIVERED;
    }
    journal_writer_done(writer, &mail, chosen, n);
}

static void test_restating(void **state)
{
    const char *given = getenv("SLUICE_SEED");
    (void)state;
    seed = given == NULL ? random_u64() : strtoull(given, NULL, 10);
    print_message("SLUICE_SEED=%" PRIu64 "\n", seed);
    for (int round = 0; round < 300; round++) {
        struct seen said = {0}, stated = {0};
        memset(rcpts, 0, sizeof(rcpts));
        mail.turn = 0;
        mail.journaled = false;
        mail.message.recipient_count = 1 + (size_t)below(8);
        int turns = (int)below(5);
        for (int i = 0; i < turns; i++) {
            some_transaction((uint32_t)mail.message.recipient_count, &said);
        }
        journal_writer_flush(writer);
        size_t before = world.count;
        journal_writer_restate(writer, &mail);
        journal_writer_flush(writer);
        assert_int_equal(world.count - before, mail.journaled ? 1 : 0);
        if (mail.journaled) {
            see(&stated, world.sent[before].value);
            assert_int_equal(stated.turn, mail.turn);
        }
        for (size_t i = 0; i < mail.message.recipient_count; i++) {
            assert_int_equal(stated.in_doubt[i], said.in_doubt[i]);
            assert_int_equal(stated.settled[i], said.settled[i]);
            assert_int_equal(stated.results[i], said.settled[i] ? said.results[i] : 0);
        }
        while (world.count > 0) {
            report(world.count - 1, round, true);
            world.count--;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_intent_and_done, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_bounce_that_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_kafka_does_not_take, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_begin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restating, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
