/* A thread's journal: what was appended is read from the batch, and a full batch is left as it was.
 */
#include "ledger/journal.h"

#include "base/mem.h"

#include "unit/cmocka_all.h"

static const uint32_t numbers[] = {0, 1, 2, 3};
static const struct ledger_place mail = {"mail", 3, 7, 100};
static const struct ledger_outcome delivered = {numbers,   2, LEDGER_DELIVERED, 250, {2, 0, 0},
                                                {"ok", 2}, 0};

static void next(struct completion_reader *reader, enum ledger_kind kind, struct slice topic,
                 int64_t offset, struct ledger_entry *entry)
{
    struct ledger_partition where;
    assert_int_equal(completion_next(reader, entry, &where), COMPLETION_ENTRY);
    assert_int_equal(entry->kind, kind);
    assert_int_equal(entry->offset, offset);
    assert_true(slice_eq(where.topic, topic));
}

static void end(struct completion_reader *reader)
{
    struct ledger_entry entry;
    struct ledger_partition where;
    assert_int_equal(completion_next(reader, &entry, &where), COMPLETION_END);
}

static void test_entries(void **state)
{
    (void)state;
    const struct ledger_place other = {"bulk", 3, 7, 200};
    struct ledger_entry entry;
    struct slice writer;
    struct journal *journal = journal_create("w-1", JOURNAL_BATCH_MIN);
    struct completion_reader *reader = completion_reader_create();
    assert_int_equal(journal_size(journal), 0);
    assert_null(journal_take(journal).ptr);
    assert_true(journal_intent(journal, &mail, 1, numbers, 4));
    assert_true(journal_intent(journal, &other, 5, numbers, 1));
    assert_true(journal_done(journal, &mail, 1, &delivered, 1));
    assert_true(journal_closed(journal, &mail, 9));
    assert_true(journal_left(journal, &other, 5));
    assert_int_equal(journal_entries(journal), 5);
    size_t size = journal_size(journal);
    struct slice batch = journal_take(journal);
    assert_int_equal(batch.len, size);
    assert_int_equal(journal_entries(journal), 0);
    assert_int_equal(journal_size(journal), 0);
    assert_null(journal_take(journal).ptr);

    assert_true(completion_writer(batch, &writer));
    assert_true(slice_eq(writer, SLICE("w-1")));
    completion_read(reader, batch);
    next(reader, LEDGER_INTENT, SLICE("mail"), 100, &entry);
    assert_int_equal(entry.turn, 1);
    assert_int_equal(entry.recipient_count, 4);
    next(reader, LEDGER_INTENT, SLICE("bulk"), 200, &entry);
    assert_int_equal(entry.turn, 5);
    next(reader, LEDGER_DONE, SLICE("mail"), 100, &entry);
    assert_int_equal(entry.outcomes[0].recipient_count, 2);
    next(reader, LEDGER_CLOSED, SLICE("mail"), 100, &entry);
    assert_int_equal(entry.length, 9);
    next(reader, LEDGER_LEFT, SLICE("bulk"), 200, &entry);
    end(reader);
    completion_reader_free(&reader);
    journal_free(&journal);
    assert_null(journal);
    journal_free(&journal);
}

/* Places that differ in one thing only are not mixed up, and each stands once in a batch; the next
 * batch has them again. */
static void test_places(void **state)
{
    (void)state;
    const struct ledger_place places[] = {
        {"mail", 0, 1, 1}, {"mail", 1, 1, 1}, {"mail", 0, 2, 1}, {"bulk", 0, 1, 1}};
    struct journal *journal = journal_create("w", JOURNAL_BATCH_MIN);
    struct completion_reader *reader = completion_reader_create();
    size_t first_size = 0;
    for (int batch = 0; batch < 2; batch++) {
        size_t sizes[3];
        for (size_t round = 0; round < 3; round++) {
            for (size_t i = 0; i < 4; i++) {
                assert_true(journal_left(journal, &places[i], 0));
            }
            sizes[round] = journal_size(journal);
        }
        assert_true(sizes[1] - sizes[0] < sizes[0]); /* no places any more */
        assert_int_equal(sizes[2] - sizes[1], sizes[1] - sizes[0]);
        assert_true(batch == 0 || sizes[2] == first_size);
        first_size = sizes[2];
        completion_read(reader, journal_take(journal));
        for (size_t i = 0; i < 12; i++) {
            struct ledger_entry entry;
            struct ledger_partition where;
            assert_int_equal(completion_next(reader, &entry, &where), COMPLETION_ENTRY);
            assert_true(slice_eq(where.topic, slice_cstr(places[i % 4].topic)));
            assert_int_equal(where.partition, places[i % 4].partition);
            assert_true(where.claim == places[i % 4].claim);
        }
        end(reader);
    }
    completion_reader_free(&reader);
    journal_free(&journal);
}

static void test_state(void **state)
{
    (void)state;
    struct ledger_entry entry;
    struct ledger_state given = {.turn = 6};
    struct journal *journal = journal_create("w", JOURNAL_BATCH_MIN);
    struct completion_reader *reader = completion_reader_create();
    assert_true(journal_state(journal, &mail, &given));
    assert_int_equal(journal_size(journal), 0); /* nothing was begun */
    given.in_doubt = numbers + 2;
    given.in_doubt_count = 2;
    assert_true(journal_state(journal, &mail, &given));
    given.outcomes = &delivered;
    given.outcome_count = 1;
    assert_true(journal_state(journal, &mail, &given));
    given.in_doubt_count = 0;
    assert_true(journal_state(journal, &mail, &given));
    completion_read(reader, journal_take(journal));
    next(reader, LEDGER_INTENT, SLICE("mail"), 100, &entry);
    assert_int_equal(entry.recipients[1], 3);
    next(reader, LEDGER_INTENT, SLICE("mail"), 100, &entry);
    assert_int_equal(entry.turn, 6);
    next(reader, LEDGER_DONE, SLICE("mail"), 100, &entry);
    assert_int_equal(entry.turn, 6);
    next(reader, LEDGER_DONE, SLICE("mail"), 100, &entry);
    end(reader);
    completion_reader_free(&reader);
    journal_free(&journal);
}

/* The largest state: each recipient with an outcome and a text of its own. */
struct largest {
    uint32_t recipients[MESSAGE_RECIPIENTS_MAX];
    struct ledger_outcome outcomes[MESSAGE_RECIPIENTS_MAX];
    char text[LEDGER_TEXT_MAX];
};

static struct ledger_state largest_state(struct largest *largest)
{
    memset(largest->text, 't', sizeof(largest->text));
    for (uint32_t i = 0; i < MESSAGE_RECIPIENTS_MAX; i++) {
        largest->recipients[i] = i;
        largest->outcomes[i] = (struct ledger_outcome){.recipients = &largest->recipients[i],
                                                       .recipient_count = 1,
                                                       .result = LEDGER_UNCERTAIN,
                                                       .code = UINT16_MAX,
                                                       .enhanced = {5, 999, 999},
                                                       .text = {largest->text, LEDGER_TEXT_MAX},
                                                       .due_ms = INT64_MAX};
    }
    return (struct ledger_state){
        .turn = UINT32_MAX, .outcomes = largest->outcomes, .outcome_count = MESSAGE_RECIPIENTS_MAX};
}

static void test_largest_fits(void **state)
{
    (void)state;
    char name[LEDGER_NAME_MAX + 1];
    memset(name, 'n', LEDGER_NAME_MAX);
    name[LEDGER_NAME_MAX] = '\0';
    struct largest *largest = mem_zalloc(sizeof(*largest));
    struct ledger_state given = largest_state(largest);
    struct ledger_place place = {name, INT32_MAX, UINT64_MAX, INT64_MAX};
    struct journal *journal = journal_create(name, JOURNAL_BATCH_MIN);
    assert_true(journal_state(journal, &place, &given));
    assert_true(journal_size(journal) <= JOURNAL_BATCH_MIN);
    journal_free(&journal);
    mem_free(largest);
}

/* Refused: not a byte of it is there, neither of its place nor of its INTENT; after the take it
 * fits. */
static void test_full(void **state)
{
    (void)state;
    const struct ledger_place other = {"other", 1, 1, 1};
    struct ledger_entry entry;
    struct largest *largest = mem_zalloc(sizeof(*largest));
    struct ledger_state given = largest_state(largest);
    struct journal *journal = journal_create("w", JOURNAL_BATCH_MIN);
    struct completion_reader *reader = completion_reader_create();
    given.in_doubt = numbers;
    given.in_doubt_count = 1;
    given.outcome_count--;
    assert_true(journal_state(journal, &mail, &given));
    size_t size = journal_size(journal);
    assert_false(journal_state(journal, &other, &given));
    assert_false(journal_done(journal, &other, 1, given.outcomes, given.outcome_count));
    assert_int_equal(journal_size(journal), size);
    assert_int_equal(journal_entries(journal), 2);
    assert_true(journal_left(journal, &other, 5)); /* something small still fits */
    completion_read(reader, journal_take(journal));
    next(reader, LEDGER_INTENT, SLICE("mail"), 100, &entry);
    next(reader, LEDGER_DONE, SLICE("mail"), 100, &entry);
    next(reader, LEDGER_LEFT, SLICE("other"), 1, &entry);
    end(reader);
    assert_true(journal_state(journal, &other, &given));
    completion_read(reader, journal_take(journal));
    next(reader, LEDGER_INTENT, SLICE("other"), 1, &entry);
    next(reader, LEDGER_DONE, SLICE("other"), 1, &entry);
    end(reader);
    completion_reader_free(&reader);
    journal_free(&journal);
    mem_free(largest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries), cmocka_unit_test(test_places),
        cmocka_unit_test(test_state),   cmocka_unit_test(test_largest_fits),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
