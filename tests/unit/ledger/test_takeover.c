/*
 * What a new owner makes of what was left behind, case by case (docs/completion.md). Records are
 * made by the real builders; test_takeover_model.c does the same at random.
 */
#include "ledger/checkpoint.h"
#include "ledger/takeover.h"

#include "base/mem.h"

#include <stdio.h>

#include "unit/cmocka_all.h"

#define TOPIC "mail"
#define MB ((size_t)1 << 20)

static const uint32_t all[] = {0, 1, 2, 3};

static struct ledger_outcome outcome(enum ledger_result result, const uint32_t *recipients,
                                     size_t count)
{
    return (struct ledger_outcome){.recipients = recipients,
                                   .recipient_count = count,
                                   .result = result,
                                   .code = 250,
                                   .enhanced = {2, 1, 5},
                                   .text = SLICE("text"),
                                   .due_ms = result == LEDGER_DEFERRED ? 777 : 0};
}

static struct ledger_place at(int64_t offset, uint64_t claim)
{
    return (struct ledger_place){TOPIC, 3, claim, offset};
}

/* Partition 3 of mail as committed with that metadata; NULL: none. */
static struct takeover *begin(int64_t committed, const struct ledger_metadata *metadata)
{
    struct takeover *takeover = takeover_create(MB);
    char text[LEDGER_METADATA_MAX];
    takeover_add(takeover,
                 &(struct takeover_given){.topic = TOPIC,
                                          .partition = 3,
                                          .committed = committed,
                                          .highest = 1000,
                                          .metadata = metadata == NULL
                                                          ? SLICE("")
                                                          : ledger_metadata_format(metadata, text),
                                          .mine = true});
    return takeover;
}

/* A checkpoint of one partition, or of none. */
static void checkpoint(struct takeover *takeover, int64_t offset, const char *writer,
                       int64_t done_offset, uint64_t claim, int64_t base,
                       const struct offsets_run *runs, size_t run_count,
                       const struct ledger_awaited *awaited, size_t awaited_count)
{
    const struct ledger_checkpoint header = {slice_cstr(writer), SLICE("w"), 2, done_offset, 5};
    const struct ledger_partition partition = {SLICE(TOPIC), 3, claim};
    struct strbuf out;
    strbuf_init(&out, MB);
    assert_true(checkpoint_begin(&out, &header));
    if (run_count + awaited_count > 0) {
        assert_true(completion_put_partition(&out, &partition, base, runs, run_count, awaited,
                                             awaited_count));
    }
    takeover_checkpoint(takeover, 2, offset, strbuf_slice(&out));
    strbuf_free(&out);
}

static void tell(struct takeover *takeover, int64_t offset, struct journal *journal)
{
    takeover_journal(takeover, 2, offset, journal_take(journal));
}

/* One entry of that writer. */
static void intent(struct takeover *takeover, const char *writer, int64_t offset, uint64_t claim,
                   uint32_t turn, size_t recipients)
{
    const struct ledger_place place = at(offset, claim);
    struct journal *journal = journal_create(writer, JOURNAL_BATCH_MIN);
    assert_true(journal_intent(journal, &place, turn, all, recipients));
    tell(takeover, 900, journal);
    journal_free(&journal);
}

static void done(struct takeover *takeover, const char *writer, int64_t offset, uint64_t claim,
                 uint32_t turn, struct ledger_outcome what)
{
    const struct ledger_place place = at(offset, claim);
    struct journal *journal = journal_create(writer, JOURNAL_BATCH_MIN);
    assert_true(journal_done(journal, &place, turn, &what, 1));
    tell(takeover, 901, journal);
    journal_free(&journal);
}

static void closed(struct takeover *takeover, const char *writer, int64_t offset, uint64_t claim,
                   uint32_t length)
{
    const struct ledger_place place = at(offset, claim);
    struct journal *journal = journal_create(writer, JOURNAL_BATCH_MIN);
    assert_true(journal_closed(journal, &place, length));
    tell(takeover, 902, journal);
    journal_free(&journal);
}

static void left(struct takeover *takeover, const char *writer, int64_t offset, uint64_t claim,
                 uint32_t turn)
{
    const struct ledger_place place = at(offset, claim);
    struct journal *journal = journal_create(writer, JOURNAL_BATCH_MIN);
    assert_true(journal_left(journal, &place, turn));
    tell(takeover, 903, journal);
    journal_free(&journal);
}

static const struct ledger_metadata dead = {2, 40, 7, false, {"w-1", 3}};
static const struct ledger_metadata alive = {2, 40, 7, true, {"w-1", 3}};
static const struct offsets_run some[] = {{102, 104}, {110, 119}};

/* Dead, with its checkpoint read: runs 102-104 and 110-119 above 100. */
static struct takeover *after_death(void)
{
    struct takeover *takeover = begin(100, &dead);
    checkpoint(takeover, 40, "w-1", 850, 7, 100, some, 2, NULL, 0);
    assert_true(takeover_found(takeover, 0));
    assert_false(takeover_step_back(takeover, 0, 0));
    assert_int_equal(takeover_slots(takeover), 1);
    assert_int_equal(takeover_slot(takeover, 0).from, 850);
    return takeover;
}

/* Released with 100 and 101 in flight. */
static struct takeover *after_release(void)
{
    static const int64_t in_flight[] = {100, 101};
    const struct ledger_awaited awaited = {SLICE_NULL, 2, 850, 7, 60000, in_flight, 2};
    struct takeover *takeover = begin(100, &alive);
    checkpoint(takeover, 40, "w-1", 850, 7, 100, some, 2, &awaited, 1);
    return takeover;
}

static void test_first(void **state)
{
    (void)state;
    struct takeover_result result;
    struct takeover *takeover = begin(-1, NULL);
    assert_int_equal(takeover_owners(takeover), 0);
    assert_int_equal(takeover_slots(takeover), 0);
    assert_int_equal(takeover_partitions(takeover), 1);
    takeover_result(takeover, 0, &result);
    assert_true(slice_eq(result.topic, SLICE(TOPIC)) && result.partition == 3);
    assert_int_equal(result.claim, 0);
    assert_int_equal(result.base + (int64_t)result.run_count + result.skipped, 0);
    assert_int_equal(result.suspect_below, 0);
    assert_int_equal(takeover_damage(takeover)->metadata, 0);
    takeover_free(&takeover);
    takeover_free(&takeover);
}

static void test_owner(void **state)
{
    (void)state;
    char text[2][LEDGER_METADATA_MAX];
    const struct ledger_metadata other = {2, 30, 1, true, {"w-1", 3}};
    struct takeover *takeover = begin(100, &alive);
    assert_false(takeover_owner(takeover, 0).fence);
    takeover_add(takeover, &(struct takeover_given){TOPIC, 4, 5, 0, 9,
                                                    ledger_metadata_format(&other, text[0]), true});
    assert_int_equal(takeover_owners(takeover), 1);
    assert_int_equal(takeover_owner(takeover, 0).from, 30);
    takeover_add(takeover, &(struct takeover_given){TOPIC, 5, 5, 0, 9,
                                                    ledger_metadata_format(&dead, text[1]), false});
    assert_false(takeover_owner(takeover, 0).fence); /* not ours */
    takeover_add(takeover, &(struct takeover_given){TOPIC, 6, 5, 0, 9,
                                                    ledger_metadata_format(&dead, text[1]), true});
    assert_true(takeover_owner(takeover, 0).fence);
    assert_true(slice_eq(takeover_owner(takeover, 0).writer, SLICE("w-1")));
    assert_int_equal(takeover_owner(takeover, 0).slot, 2);
    assert_int_equal(takeover_partitions(takeover), 3);
    takeover_add(takeover, &(struct takeover_given){TOPIC, 7, 5, 0, 9, SLICE("theirs"), true});
    assert_int_equal(takeover_damage(takeover)->metadata, 1);
    assert_string_equal(takeover_damage(takeover)->first.text,
                        "mail[7] offset 5: committed by somebody else");
    takeover_free(&takeover);
}

static void test_dead(void **state)
{
    (void)state;
    struct takeover_result result;
    struct takeover *takeover = after_death();
    intent(takeover, "w-1", 100, 7, 1, 3);
    done(takeover, "w-1", 100, 7, 1, outcome(LEDGER_DELIVERED, all, 2));
    intent(takeover, "w-1", 105, 7, 1, 1);
    done(takeover, "w-1", 105, 7, 1, outcome(LEDGER_DEFERRED, all, 1));
    closed(takeover, "w-1", 105, 7, 1);
    intent(takeover, "w-1", 103, 7, 1, 1); /* complete by the checkpoint */
    intent(takeover, "w-1", 106, 7, 1, 1);
    done(takeover, "w-1", 106, 7, 1, outcome(LEDGER_DEFERRED, all, 1));
    intent(takeover, "w-1", 107, 7, 1, 1);
    done(takeover, "w-1", 107, 7, 1, outcome(LEDGER_UNTRIED, all, 1));
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.claim, 7);
    assert_int_equal(result.base, 100);
    assert_int_equal(result.run_count, 2);
    assert_int_equal(result.runs[0].first, 102);
    assert_int_equal(result.runs[0].last, 105);
    assert_int_equal(result.runs[1].first, 110);
    assert_int_equal(result.suspect_below, 0);
    assert_int_equal(result.record_count, 3);
    const struct takeover_record *record = result.records;
    assert_int_equal(record->offset, 100);
    assert_false(record->awaited);
    assert_int_equal(record->state.turn, 1);
    assert_int_equal(record->state.outcome_count, 1);
    assert_int_equal(record->state.outcomes[0].recipient_count, 2);
    assert_int_equal(record->state.outcomes[0].recipients[1], 1);
    assert_int_equal(record->state.outcomes[0].code, 250);
    assert_int_equal(record->state.outcomes[0].enhanced.detail, 5);
    assert_true(slice_eq(record->state.outcomes[0].text, SLICE("text")));
    assert_int_equal(record->state.in_doubt_count, 1);
    assert_int_equal(record->state.in_doubt[0], 2);
    assert_int_equal(record[1].offset, 106);
    assert_int_equal(record[1].state.outcomes[0].due_ms, 777);
    assert_int_equal(record[2].offset, 107);
    assert_int_equal(record[2].state.outcome_count + record[2].state.in_doubt_count, 0);
    assert_int_equal(takeover_awaited(takeover), 0);
    takeover_free(&takeover);
}

/* Two threads, any order; a later turn of the same recipient; the same again. */
static void test_turns(void **state)
{
    (void)state;
    struct takeover_result result;
    struct takeover *takeover = after_death();
    done(takeover, "w-1", 100, 7, 1, outcome(LEDGER_DEFERRED, all, 2));
    intent(takeover, "w-1", 100, 7, 1, 2); /* DONE beats it */
    intent(takeover, "w-1", 100, 7, 2, 1);
    done(takeover, "w-1", 101, 7, 3, outcome(LEDGER_BOUNCED, all, 1));
    intent(takeover, "w-1", 101, 7, 2, 1);
    done(takeover, "w-1", 101, 7, 1, outcome(LEDGER_DEFERRED, all, 1));
    done(takeover, "w-1", 101, 7, 3, outcome(LEDGER_BOUNCED, all, 1));
    closed(takeover, "w-1", 106, 7, 1);
    done(takeover, "w-1", 106, 7, 1, outcome(LEDGER_DELIVERED, all, 1)); /* late */
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.record_count, 2);
    assert_int_equal(result.records[0].state.turn, 2);
    assert_int_equal(result.records[0].state.in_doubt_count, 1);
    assert_int_equal(result.records[0].state.in_doubt[0], 0);
    assert_int_equal(result.records[0].state.outcome_count, 1);
    assert_int_equal(result.records[0].state.outcomes[0].recipients[0], 1);
    assert_int_equal(result.records[1].state.turn, 3);
    assert_int_equal(result.records[1].state.outcome_count, 1);
    assert_int_equal(result.records[1].state.outcomes[0].result, LEDGER_BOUNCED);
    assert_int_equal(result.run_count, 3);
    takeover_free(&takeover);
}

static void test_others(void **state)
{
    (void)state;
    struct takeover_result result;
    struct takeover *takeover = after_death();
    intent(takeover, "w-1", 100, 6, 1, 1); /* an earlier claim */
    intent(takeover, "w-1", 100, 8, 1, 1); /* one that was never committed */
    intent(takeover, "w-2", 100, 7, 1, 1); /* somebody else in that slot */
    intent(takeover, "w-1", 99, 7, 1, 1);  /* below the base */
    closed(takeover, "w-1", 100, 6, 3);
    closed(takeover, "w-1", 90, 7, 11); /* up to 100 */
    takeover_journal(takeover, 3, 0, SLICE("slot of nobody"));
    takeover_journal(takeover, 2, 900, SLICE(""));
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.record_count, 0);
    assert_int_equal(result.base, 101);
    assert_int_equal(result.run_count, 2);
    assert_int_equal(result.suspect_below, 0);
    assert_int_equal(takeover_damage(takeover)->journals, 0);
    takeover_free(&takeover);
}

static void test_retention(void **state)
{
    (void)state;
    char text[LEDGER_METADATA_MAX];
    struct takeover_result result;
    struct takeover *takeover = takeover_create(MB);
    takeover_add(takeover, &(struct takeover_given){TOPIC, 3, 100, 112, 1000,
                                                    ledger_metadata_format(&dead, text), true});
    checkpoint(takeover, 40, "w-1", 850, 7, 100, some, 2, NULL, 0);
    intent(takeover, "w-1", 105, 7, 1, 1);
    intent(takeover, "w-1", 120, 7, 1, 1);
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.base, 120);
    assert_int_equal(result.skipped, 7);
    assert_int_equal(result.run_count, 0);
    assert_int_equal(result.record_count, 1);
    takeover_free(&takeover);
}

/* ---- what cannot be read ---- */

static void test_step_back(void **state)
{
    (void)state;
    static const struct offsets_run earlier[] = {{98, 99}, {102, 103}};
    struct takeover_result result;
    struct takeover *takeover = begin(100, &dead);
    takeover_checkpoint(takeover, 2, 40, SLICE("\x0a"));
    assert_int_equal(takeover_damage(takeover)->checkpoints, 1);
    assert_false(takeover_found(takeover, 0));
    assert_true(takeover_step_back(takeover, 0, 12));
    assert_int_equal(takeover_owner(takeover, 0).from, 12);
    checkpoint(takeover, 20, "w-1", 700, 7, 97, earlier, 1, NULL, 0);
    checkpoint(takeover, 30, "w-1", 800, 7, 97, earlier, 2, NULL, 0);
    checkpoint(takeover, 35, "w-2", 820, 7, 97, earlier, 2, NULL, 0);
    checkpoint(takeover, 45, "w-1", 870, 7, 100, some, 2, NULL, 0); /* later: says nothing of it */
    assert_true(takeover_found(takeover, 0));
    assert_false(takeover_step_back(takeover, 0, 12));
    assert_int_equal(takeover_slots(takeover), 1);
    assert_int_equal(takeover_slot(takeover, 0).from, 800);
    done(takeover, "w-1", 101, 7, 1, outcome(LEDGER_DEFERRED, all, 1));
    done(takeover, "w-1", 104, 7, 1, outcome(LEDGER_DELIVERED, all, 1));
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.run_count, 1);
    assert_int_equal(result.runs[0].last, 103);
    assert_int_equal(result.suspect_below, 1000);
    assert_int_equal(result.records[0].state.in_doubt_count, 1); /* its copy may be on its way */
    assert_int_equal(result.records[1].state.outcome_count, 1);
    assert_int_equal(takeover_damage(takeover)->no_checkpoint, 0);
    takeover_free(&takeover);
}

static void test_no_checkpoint(void **state)
{
    (void)state;
    struct takeover_result result;
    struct takeover *takeover = begin(100, &dead);
    assert_true(takeover_step_back(takeover, 0, 30));
    assert_false(takeover_step_back(takeover, 0, 30));
    assert_int_equal(takeover_slots(takeover), 1);
    assert_int_equal(takeover_slot(takeover, 0).from, 0);
    closed(takeover, "w-1", 101, 7, 1);
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.run_count, 1);
    assert_int_equal(result.suspect_below, 1000);
    assert_int_equal(takeover_damage(takeover)->no_checkpoint, 1);
    takeover_result(takeover, 0, &result);
    assert_int_equal(takeover_damage(takeover)->no_checkpoint, 1);
    takeover_free(&takeover);
}

/* The record named is another's, or speaks of another claim. */
static void test_wrong_checkpoint(void **state)
{
    (void)state;
    struct takeover_result result;
    struct takeover *takeover = begin(100, &dead);
    checkpoint(takeover, 40, "w-2", 850, 7, 100, some, 2, NULL, 0);
    assert_int_equal(takeover_damage(takeover)->checkpoints, 1);
    assert_false(takeover_found(takeover, 0));
    takeover_free(&takeover);
    takeover = begin(100, &dead);
    checkpoint(takeover, 40, "w-1", 850, 6, 100, some, 2, NULL, 0);
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.run_count, 0);
    assert_int_equal(result.suspect_below, 1000);
    assert_int_equal(takeover_damage(takeover)->checkpoints, 1);
    takeover_free(&takeover);
}

static void test_broken_journal(void **state)
{
    (void)state;
    static const struct {
        struct slice record;
        int64_t offset;
        bool suspect;
    } cases[] = {
        {{"\x0a\x03w-1\x1a\x7f", 7}, 900, true},         /* an entry cut off */
        {{"\x0a\x03w-1\x1a\x02\x08\x01", 9}, 900, true}, /* an entry of no place */
        {{"\x0a\x03w-1\x1a\x7f", 7}, 849, false},        /* before done_offset */
        {{"\x0a\x03w-2\x1a\x7f", 7}, 900, false},
        {{"\x7f", 1}, 900, true}, /* whose? */
        {{"\x0a\x03w-1", 5}, 900, false},
        {{"\x0a\x03w-1\x1a\x02\x08\x63", 9}, 900, false}, /* of a later version */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct takeover_result result;
        struct takeover *takeover = after_death();
        done(takeover, "w-1", 100, 7, 1, outcome(LEDGER_UNCERTAIN, all, 1));
        takeover_journal(takeover, 2, cases[i].offset, cases[i].record);
        takeover_result(takeover, 0, &result);
        assert_int_equal(result.suspect_below, cases[i].suspect ? 1000 : 0);
        assert_int_equal(result.records[0].state.in_doubt_count, cases[i].suspect);
        assert_int_equal(takeover_damage(takeover)->journals, cases[i].suspect);
        takeover_free(&takeover);
    }
}

static void test_over_limit(void **state)
{
    (void)state;
    char text[LEDGER_METADATA_MAX];
    struct takeover_result result;
    struct takeover *takeover = takeover_create(1000);
    takeover_add(takeover, &(struct takeover_given){TOPIC, 3, 100, 0, 0,
                                                    ledger_metadata_format(&dead, text), true});
    checkpoint(takeover, 40, "w-1", 850, 7, 100, some, 2, NULL, 0);
    for (int64_t offset = 200; offset < 300; offset++) {
        done(takeover, "w-1", offset, 7, 1, outcome(LEDGER_DELIVERED, all, 4));
    }
    takeover_result(takeover, 0, &result);
    assert_true(result.record_count > 0 && result.record_count < 10);
    assert_true(result.suspect_below == INT64_MAX);
    assert_true(takeover_damage(takeover)->over_limit > 90);
    assert_int_equal(takeover_damage(takeover)->first.kind, FAULT_LIMIT);
    takeover_free(&takeover);
}

/* ---- what is awaited ---- */

static void test_awaited(void **state)
{
    (void)state;
    struct takeover_result result;
    struct takeover_settled settled;
    struct ledger_awaited awaiting;
    struct takeover *takeover = after_release();
    assert_int_equal(takeover_awaited(takeover), 2);
    assert_int_equal(takeover_wait_ms(takeover), 60000);
    assert_int_equal(takeover_awaiting(takeover, 0, &awaiting, 1), 1);
    assert_int_equal(awaiting.offset_count, 2);
    assert_true(slice_eq(awaiting.writer, SLICE("w-1")));
    assert_int_equal(awaiting.slot, 2);
    assert_int_equal(awaiting.done_offset, 850);
    assert_true(awaiting.claim == 7);
    intent(takeover, "w-1", 100, 7, 1, 1);
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.record_count, 2);
    assert_true(result.records[0].awaited && result.records[1].awaited);
    assert_false(takeover_next_settled(takeover, &settled));
    closed(takeover, "w-1", 101, 6, 1);    /* nobody's */
    intent(takeover, "w-1", 105, 7, 1, 1); /* not awaited: after the result it is of no account */
    assert_int_equal(takeover_awaited(takeover), 2);
    closed(takeover, "w-1", 101, 7, 1);
    assert_int_equal(takeover_awaited(takeover), 1);
    assert_true(takeover_next_settled(takeover, &settled));
    assert_int_equal(settled.offset, 101);
    assert_true(settled.closed && !settled.suspect);
    assert_false(takeover_next_settled(takeover, &settled));
    assert_int_equal(takeover_awaiting(takeover, 0, NULL, 0), 1);
    takeover_forget(takeover, 0, 101);
    assert_int_equal(takeover_awaiting(takeover, 0, &awaiting, 1), 1);
    assert_int_equal(awaiting.offset_count, 1);
    takeover_stop_waiting(takeover);
    assert_true(takeover_next_settled(takeover, &settled));
    assert_int_equal(settled.offset, 100);
    assert_false(settled.closed);
    assert_int_equal(settled.state.in_doubt_count, 1);
    done(takeover, "w-1", 100, 7, 1, outcome(LEDGER_DELIVERED, all, 1)); /* too late */
    closed(takeover, "w-1", 100, 7, 1);
    assert_false(takeover_next_settled(takeover, &settled));
    takeover_forget(takeover, 0, 100);
    assert_int_equal(takeover_awaiting(takeover, 0, &awaiting, 1), 0);
    assert_int_equal(takeover_awaited(takeover), 0);
    assert_int_equal(takeover_wait_ms(takeover), 0);
    takeover_free(&takeover);
}

/* LEFT may come before what another thread said; whoever is through before the result is no longer
 * awaited in it. */
static void test_left(void **state)
{
    (void)state;
    struct takeover_result result;
    struct takeover_settled settled;
    struct takeover *takeover = after_release();
    left(takeover, "w-1", 100, 7, 2);
    intent(takeover, "w-1", 100, 7, 1, 1);
    done(takeover, "w-1", 100, 7, 1, outcome(LEDGER_DEFERRED, all, 1));
    assert_int_equal(takeover_awaited(takeover), 2);
    closed(takeover, "w-1", 101, 7, 1);
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.record_count, 1);
    assert_true(result.records[0].awaited);
    assert_int_equal(result.runs[0].first, 101);
    intent(takeover, "w-1", 100, 7, 2, 2);
    assert_int_equal(takeover_awaited(takeover), 1);
    done(takeover, "w-1", 100, 7, 2, outcome(LEDGER_DELIVERED, all, 2));
    assert_int_equal(takeover_awaited(takeover), 0);
    assert_true(takeover_next_settled(takeover, &settled));
    assert_false(settled.closed);
    assert_int_equal(settled.state.outcome_count, 1);
    assert_int_equal(settled.state.outcomes[0].result, LEDGER_DELIVERED);
    assert_false(takeover_next_settled(takeover, &settled));
    takeover_free(&takeover);
    takeover = after_release();
    left(takeover, "w-1", 100, 7, 0); /* not begun */
    left(takeover, "w-1", 101, 7, 0);
    assert_int_equal(takeover_awaited(takeover), 0);
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.record_count, 2);
    assert_false(result.records[0].awaited);
    assert_int_equal(result.records[0].state.outcome_count, 0);
    assert_false(takeover_next_settled(takeover, &settled));
    assert_int_equal(takeover_awaiting(takeover, 0, NULL, 0), 0);
    takeover_free(&takeover);
}

/* Its owner awaited two of an earlier one, had settled and gone on with one of them, and died. */
static void test_chain(void **state)
{
    (void)state;
    static const int64_t in_flight[] = {100, 101};
    const struct ledger_awaited earlier = {SLICE("w-0"), 2, 700, 6, 50000, in_flight, 2};
    struct takeover_result result;
    struct takeover_settled settled;
    struct takeover *takeover = begin(100, &dead);
    checkpoint(takeover, 40, "w-1", 850, 7, 100, some, 2, &earlier, 1);
    assert_int_equal(takeover_owners(takeover), 1);
    assert_int_equal(takeover_slots(takeover), 1);
    assert_int_equal(takeover_slot(takeover, 0).from, 700);
    intent(takeover, "w-0", 100, 6, 1, 1);
    intent(takeover, "w-0", 105, 6, 1, 1); /* not awaited of it */
    done(takeover, "w-1", 100, 7, 1, outcome(LEDGER_DEFERRED, all, 1));
    assert_int_equal(takeover_awaited(takeover), 1);
    takeover_result(takeover, 0, &result);
    assert_int_equal(result.record_count, 2);
    assert_false(result.records[0].awaited);
    assert_int_equal(result.records[0].state.outcome_count, 1);
    assert_true(result.records[1].awaited);
    intent(takeover, "w-1", 101, 6, 1, 1); /* not w-0 */
    closed(takeover, "w-0", 90, 6, 30);
    assert_true(takeover_next_settled(takeover, &settled));
    assert_int_equal(settled.offset, 101);
    assert_true(settled.closed);
    takeover_free(&takeover);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_dead),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_step_back),
        cmocka_unit_test(test_no_checkpoint),
        cmocka_unit_test(test_wrong_checkpoint),
        cmocka_unit_test(test_broken_journal),
        cmocka_unit_test(test_over_limit),
        cmocka_unit_test(test_awaited),
        cmocka_unit_test(test_left),
        cmocka_unit_test(test_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
