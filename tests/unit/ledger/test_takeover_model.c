/*
 * The fold against a straightforward model: random histories of a partition, written with the real
 * builders by two threads, told in shuffled order. SLUICE_SEED=n repeats a run.
 */
#include "ledger/checkpoint.h"
#include "ledger/takeover.h"

#include "base/mem.h"
#include "base/random.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "unit/cmocka_all.h"

enum { SPAN = 60, RCPTS = 4, BATCHES = 4000, STEPS = 300 };

static uint64_t seed;

/* splitmix64 */
static uint32_t dice(uint32_t sides)
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % sides);
}

enum known { NOTHING, DOUBT, OUTCOME };

struct mail {
    bool opened, complete, left;
    uint32_t turn;
    bool runs; /* a transaction */
    uint32_t running[RCPTS];
    size_t running_count;
    enum known known[RCPTS];
    enum ledger_result result[RCPTS];
    int64_t due_ms[RCPTS];
};

static struct history {
    struct mail mails[SPAN];
    struct offsets offsets;
    struct journal *journals[2];
    struct {
        char *bytes;
        size_t len;
    } log[BATCHES]; /* the slot of done */
    size_t log_count;
    int64_t done_offset;
    bool released;
    struct strbuf checkpoint; /* the last one */
    int64_t checkpoint_done, committed;
    bool in_flight[SPAN];
} * history;

static const struct ledger_partition partition = {{"mail", 4}, 3, 7};

static struct ledger_place place(int64_t offset)
{
    return (struct ledger_place){"mail", 3, 7, offset};
}

static void flush(size_t thread)
{
    struct slice batch = journal_take(history->journals[thread]);
    if (batch.len > 0) {
        assert_true(history->log_count < BATCHES);
        history->log[history->log_count].bytes = mem_strndup(batch.ptr, batch.len);
        history->log[history->log_count++].len = batch.len;
    }
}

/* Each mail's entries are one thread's. */
static struct journal *journal_of(int64_t offset)
{
    return history->journals[offset % 2];
}

static void begin_transaction(int64_t offset)
{
    struct mail *mail = &history->mails[offset];
    const struct ledger_place where = place(offset);
    mail->running_count = 0;
    for (uint32_t i = 0; i < RCPTS; i++) {
        bool fresh = mail->known[i] == NOTHING || mail->result[i] == LEDGER_UNTRIED;
        if (fresh && dice(2) == 0) {
            mail->running[mail->running_count++] = i;
            mail->known[i] = DOUBT;
        }
    }
    if (mail->running_count > 0) {
        mail->runs = true;
        assert_true(journal_intent(journal_of(offset), &where, ++mail->turn, mail->running,
                                   mail->running_count));
    }
}

static void end_transaction(int64_t offset)
{
    struct mail *mail = &history->mails[offset];
    const struct ledger_place where = place(offset);
    struct ledger_outcome outcomes[RCPTS];
    for (size_t i = 0; i < mail->running_count; i++) {
        uint32_t index = mail->running[i];
        mail->known[index] = OUTCOME;
        mail->result[index] = (enum ledger_result)dice(LEDGER_UNCERTAIN + 1);
        mail->due_ms[index] = dice(1000);
        outcomes[i] = (struct ledger_outcome){.recipients = &mail->running[i],
                                              .recipient_count = 1,
                                              .result = mail->result[index],
                                              .due_ms = mail->due_ms[index]};
    }
    mail->runs = false;
    assert_true(
        journal_done(journal_of(offset), &where, mail->turn, outcomes, mail->running_count));
}

static void restate(int64_t offset)
{
    struct mail *mail = &history->mails[offset];
    const struct ledger_place where = place(offset);
    struct ledger_outcome outcomes[RCPTS];
    static const uint32_t numbers[RCPTS] = {0, 1, 2, 3};
    struct ledger_state state = {.turn = mail->turn,
                                 .outcomes = outcomes,
                                 .in_doubt = mail->running,
                                 .in_doubt_count = mail->runs ? mail->running_count : 0};
    for (uint32_t i = 0; i < RCPTS; i++) {
        if (mail->known[i] == OUTCOME) {
            outcomes[state.outcome_count++] = (struct ledger_outcome){.recipients = &numbers[i],
                                                                      .recipient_count = 1,
                                                                      .result = mail->result[i],
                                                                      .due_ms = mail->due_ms[i]};
        }
    }
    if (state.outcome_count + state.in_doubt_count > 0) {
        assert_true(journal_state(journal_of(offset), &where, &state));
    }
}

static void close_mail(int64_t offset)
{
    const struct ledger_place where = place(offset);
    history->mails[offset].complete = true;
    if (!history->released) {
        assert_true(offsets_complete(&history->offsets, offset));
    }
    assert_true(journal_closed(history->journals[0], &where, 1));
}

static void restate_all(void)
{
    flush(0);
    flush(1);
    int64_t end = (int64_t)history->log_count;
    for (int64_t i = 0; i < SPAN; i++) {
        if (history->mails[i].opened && !history->mails[i].complete) {
            restate(i);
        }
    }
    flush(0);
    flush(1);
    history->done_offset = end;
}

/* Some mails move with it: they are complete in it, and closed after it. */
static void checkpoint(bool release)
{
    const struct ledger_checkpoint header = {SLICE("w"), SLICE("w"), 0, history->done_offset, 1};
    int64_t moved[SPAN];
    int64_t in_flight[SPAN];
    size_t moved_count = 0;
    size_t in_flight_count = 0;
    for (int64_t i = 0; i < SPAN; i++) {
        struct mail *mail = &history->mails[i];
        if (!mail->opened || mail->complete) {
            continue;
        }
        if (!mail->runs && dice(3) == 0) {
            moved[moved_count++] = i;
        } else if (release) {
            history->in_flight[i] = true;
            in_flight[in_flight_count++] = i;
        }
    }
    const struct ledger_awaited awaited = {SLICE_NULL, 0,         history->done_offset, 7,
                                           60000,      in_flight, in_flight_count};
    const struct checkpoint_partition one = {partition,   &history->offsets, moved,
                                             moved_count, &awaited,          in_flight_count > 0};
    strbuf_reset(&history->checkpoint);
    assert_true(checkpoint_begin(&history->checkpoint, &header));
    assert_true(checkpoint_partition(&history->checkpoint, &one));
    history->committed = checkpoint_base(&history->offsets, moved, moved_count);
    history->checkpoint_done = history->done_offset;
    history->released = release;
    for (size_t i = 0; i < moved_count; i++) {
        close_mail(moved[i]);
    }
}

static void step(int64_t *next)
{
    int64_t offset = dice(SPAN);
    struct mail *mail = &history->mails[offset];
    bool open = mail->opened && !mail->complete && !mail->left &&
                (!history->released || history->in_flight[offset]);
    switch (dice(12)) {
    case 0:
    case 1:
        if (!history->released && *next < SPAN) {
            history->mails[*next].opened = true;
            assert_int_equal(offsets_open(&history->offsets, *next), OFFSETS_OPENED);
            *next += 1 + (dice(10) == 0);
        }
        break;
    case 2: flush(0); break;
    case 3: flush(1); break;
    case 4:
        if (dice(5) == 0 && !history->released) {
            restate_all();
        }
        break;
    case 5:
        if (dice(5) == 0 && !history->released) {
            checkpoint(false);
        }
        break;
    default:
        if (open && mail->runs) {
            end_transaction(offset);
        } else if (open && dice(4) > 0) {
            begin_transaction(offset);
        } else if (open && history->released && dice(2) == 0) {
            const struct ledger_place where = place(offset);
            mail->left = true;
            assert_true(journal_left(history->journals[0], &where, mail->turn));
        } else if (open) {
            close_mail(offset);
        }
    }
}

/* ---- comparing ---- */

static void compare_state(const struct ledger_state *state, const struct mail *mail)
{
    enum known known[RCPTS] = {NOTHING};
    for (size_t i = 0; i < state->in_doubt_count; i++) {
        known[state->in_doubt[i]] = DOUBT;
    }
    for (size_t i = 0; i < state->outcome_count; i++) {
        for (size_t j = 0; j < state->outcomes[i].recipient_count; j++) {
            uint32_t index = state->outcomes[i].recipients[j];
            assert_int_equal(known[index], NOTHING);
            known[index] = OUTCOME;
            assert_int_equal(state->outcomes[i].result, mail->result[index]);
            assert_int_equal(state->outcomes[i].due_ms, mail->due_ms[index]);
        }
    }
    for (size_t i = 0; i < RCPTS; i++) {
        bool untried = mail->known[i] == OUTCOME && mail->result[i] == LEDGER_UNTRIED;
        assert_int_equal(known[i], untried ? NOTHING : mail->known[i]);
    }
    assert_int_equal(state->turn, mail->turn);
}

static void tell(struct takeover *takeover, size_t from, size_t until)
{
    size_t order[BATCHES];
    for (size_t i = from; i < until; i++) {
        size_t other = from + dice((uint32_t)(i - from + 1));
        order[i] = order[other];
        order[other] = i;
    }
    for (size_t i = from; i < until; i++) {
        size_t at = order[i];
        takeover_journal(takeover, 0, (int64_t)at,
                         slice_of(history->log[at].bytes, history->log[at].len));
    }
}

static void check_settled(struct takeover *takeover, bool *told)
{
    struct takeover_settled settled;
    while (takeover_next_settled(takeover, &settled)) {
        assert_false(told[settled.offset]);
        assert_true(history->in_flight[settled.offset]);
        told[settled.offset] = true;
        assert_int_equal(settled.closed, history->mails[settled.offset].complete);
        if (!settled.closed) {
            compare_state(&settled.state, &history->mails[settled.offset]);
        }
        takeover_forget(takeover, settled.index, settled.offset);
    }
}

/* Every offset is complete, or has its state, or is fresh. */
static void check_result(struct takeover *takeover, const struct takeover_result *result,
                         bool *awaited)
{
    size_t at = 0;
    size_t run = 0;
    for (int64_t i = 0; i < SPAN; i++) {
        const struct mail *mail = &history->mails[i];
        while (run < result->run_count && result->runs[run].last < i) {
            run++;
        }
        bool complete =
            i < result->base || (run < result->run_count && result->runs[run].first <= i);
        bool known = at < result->record_count && result->records[at].offset == i;
        if (known && result->records[at].awaited) {
            awaited[i] = true;
            assert_false(complete);
        } else if (known) {
            assert_false(complete || mail->complete);
            compare_state(&result->records[at].state, mail);
        } else if (complete) {
            assert_true(mail->complete || !mail->opened);
        } else {
            assert_int_equal(mail->turn, 0);
            assert_false(mail->complete);
        }
        at += known;
    }
    assert_int_equal(at, result->record_count);
    assert_int_equal(result->suspect_below, 0);
    assert_int_equal(takeover_damage(takeover)->first.kind, FAULT_NONE);
}

static void take_over(void)
{
    struct takeover *takeover = takeover_create((size_t)1 << 20);
    struct takeover_result result;
    char text[LEDGER_METADATA_MAX];
    bool awaited[SPAN] = {false};
    bool told[SPAN] = {false};
    const struct ledger_metadata metadata = {0, 5, 7, history->released, SLICE("w")};
    takeover_add(takeover, &(struct takeover_given){"mail", 3, history->committed, 0, SPAN,
                                                    ledger_metadata_format(&metadata, text), true});
    takeover_checkpoint(takeover, 0, 5, strbuf_slice(&history->checkpoint));
    assert_true(takeover_found(takeover, 0));
    assert_int_equal(takeover_slots(takeover), 1);
    assert_int_equal(takeover_slot(takeover, 0).from, history->checkpoint_done);
    size_t from = (size_t)history->checkpoint_done;
    size_t middle = history->released ? from + dice((uint32_t)(history->log_count - from) + 1)
                                      : history->log_count;
    tell(takeover, from, middle);
    if (middle == history->log_count) {
        takeover_stop_waiting(takeover);
    }
    takeover_result(takeover, 0, &result);
    if (middle == history->log_count) {
        check_result(takeover, &result, awaited);
        assert_int_equal(takeover_awaited(takeover), 0);
    } else {
        for (size_t i = 0; i < result.record_count; i++) {
            awaited[result.records[i].offset] = result.records[i].awaited;
        }
        for (size_t i = middle; i < history->log_count; i++) { /* as it was written */
            takeover_journal(takeover, 0, (int64_t)i,
                             slice_of(history->log[i].bytes, history->log[i].len));
            check_settled(takeover, told);
        }
        takeover_stop_waiting(takeover);
        check_settled(takeover, told);
        assert_memory_equal(awaited, told, sizeof(awaited));
        assert_int_equal(takeover_awaiting(takeover, 0, NULL, 0), 0);
    }
    takeover_free(&takeover);
}

static void random_round(void)
{
    int64_t next = 0;
    history = mem_zalloc(sizeof(*history));
    offsets_init(&history->offsets, 0);
    strbuf_init(&history->checkpoint, (size_t)1 << 20);
    history->journals[0] = journal_create("w", JOURNAL_BATCH_MIN);
    history->journals[1] = journal_create("w", JOURNAL_BATCH_MIN);
    uint32_t until = dice(STEPS);
    for (uint32_t i = 0; i < until; i++) {
        step(&next);
    }
    checkpoint(dice(2) == 0);
    until = dice(STEPS);
    for (uint32_t i = 0; i < until; i++) {
        step(&next);
    }
    flush(0);
    flush(1);
    take_over();
    for (size_t i = 0; i < history->log_count; i++) {
        mem_free(history->log[i].bytes);
    }
    journal_free(&history->journals[0]);
    journal_free(&history->journals[1]);
    strbuf_free(&history->checkpoint);
    offsets_free(&history->offsets);
    mem_free(history);
}

static void test_model(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        random_round();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
    };
    const char *given = getenv("SLUICE_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : random_u64();
    print_message("SLUICE_SEED=%" PRIu64 "\n", seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
