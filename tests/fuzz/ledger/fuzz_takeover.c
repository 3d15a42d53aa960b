/*
 * The fold, fed with arbitrary records in arbitrary order. An input is a list of commands: what to
 * do, a length of two bytes, that many bytes. Whatever comes: the result keeps its rules, and each
 * awaited record is settled once.
 */
#include "ledger/takeover.h"

#define PARTITIONS_MAX 4
#define LIMIT ((size_t)1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum command { ADD, CHECKPOINT, JOURNAL, STEP_BACK, RESULT, SETTLED, STOP, COMMANDS };

static bool added;

static void look(struct takeover *takeover, size_t index)
{
    struct takeover_result result;
    struct offsets offsets;
    takeover_result(takeover, index, &result);
    CHECK(result.base >= 0 && result.skipped >= 0);
    offsets_init(&offsets, result.base);
    CHECK(offsets_import(&offsets, result.runs, result.run_count));
    CHECK(result.run_count == 0 || result.runs[0].first > result.base);
    offsets_free(&offsets);
    size_t run = 0;
    for (size_t i = 0; i < result.record_count; i++) {
        const struct takeover_record *record = &result.records[i];
        CHECK(record->offset >= (i == 0 ? result.base : result.records[i - 1].offset + 1));
        while (run < result.run_count && result.runs[run].last < record->offset) {
            run++;
        }
        CHECK(run == result.run_count || result.runs[run].first > record->offset);
        for (size_t at = 0; at < record->state.outcome_count; at++) {
            CHECK(record->state.outcomes[at].recipient_count > 0 &&
                  record->state.outcomes[at].result != LEDGER_UNTRIED);
        }
    }
}

static void settle(struct takeover *takeover)
{
    struct takeover_settled settled;
    struct ledger_awaited awaited[2];
    size_t before = takeover_awaited(takeover);
    while (takeover_next_settled(takeover, &settled)) {
        takeover_forget(takeover, settled.index, settled.offset);
    }
    CHECK(takeover_awaited(takeover) == before);
    for (size_t i = 0; i < takeover_partitions(takeover); i++) {
        size_t count = takeover_awaiting(takeover, i, awaited, 2);
        for (size_t at = 0; at < count && at < 2; at++) {
            CHECK(awaited[at].offset_count > 0 && awaited[at].writer.len > 0);
        }
    }
}

/* Metadata, or any bytes as such. */
static void add(struct takeover *takeover, struct slice bytes)
{
    static const char *const topics[PARTITIONS_MAX] = {"mail", "bulk", "d.00", "d.01"};
    size_t count = takeover_partitions(takeover);
    if (!added && count < PARTITIONS_MAX) {
        takeover_add(takeover, &(struct takeover_given){topics[count], 3, 100, 90 + 15 * (int)count,
                                                        1000, bytes, true});
    }
}

static void perform(struct takeover *takeover, enum command command, struct slice bytes)
{
    int64_t offset = bytes.len > 0 ? (uint8_t)bytes.ptr[bytes.len - 1] : 0;
    switch (command) {
    case ADD: add(takeover, bytes); return;
    case CHECKPOINT: takeover_checkpoint(takeover, 2, 40 - offset % 4, bytes); break;
    case JOURNAL: takeover_journal(takeover, 2, 900 - offset, bytes); break;
    case STEP_BACK:
        if (takeover_owners(takeover) > 0) {
            (void)takeover_step_back(takeover, (size_t)offset % takeover_owners(takeover), 0);
        }
        break;
    case RESULT:
        if (takeover_partitions(takeover) > 0) {
            look(takeover, (size_t)offset % takeover_partitions(takeover));
        }
        break;
    case SETTLED: settle(takeover); break;
    case STOP: takeover_stop_waiting(takeover); break;
    case COMMANDS: break;
    }
    added = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct takeover *takeover = takeover_create(LIMIT);
    added = false;
    while (size >= 3) {
        size_t len = (size_t)(data[1] | data[2] << 8);
        len = len < size - 3 ? len : size - 3;
        perform(takeover, (enum command)(data[0] % COMMANDS), slice_of(data + 3, len));
        data += 3 + len;
        size -= 3 + len;
    }
    for (size_t i = 0; i < takeover_slots(takeover); i++) {
        CHECK(takeover_slot(takeover, i).from >= 0);
    }
    for (size_t i = 0; i < takeover_partitions(takeover); i++) {
        look(takeover, i);
    }
    takeover_stop_waiting(takeover);
    settle(takeover);
    CHECK(takeover_awaited(takeover) == 0);
    takeover_free(&takeover);
    return 0;
}
