/*
 * How long a checkpoint takes to build and a takeover to fold, with N completions above the
 * watermark that lie apart, and as many entries in the journal. Bounds: 100,000 in 50 ms and 2 s.
 *
 *   bench_takeover [N]
 */
#include "ledger/checkpoint.h"
#include "ledger/takeover.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_BYTES ((size_t)1 << 30)

static const struct ledger_partition partition = {{"mail", 4}, 3, 7};
static int64_t offset_of_done;
static double build_ms, fold_ms;

static double since_ms(struct mono_time start)
{
    return (double)mono_since_us(mono_now(), start) / 1000;
}

static void build(struct strbuf *out, int64_t completions)
{
    const struct ledger_checkpoint header = {SLICE("w"), SLICE("w"), 0, 0, 1};
    struct offsets offsets;
    offsets_init(&offsets, 0);
    for (int64_t i = 0; i < 2 * completions; i++) {
        CHECK(offsets_open(&offsets, i) == OFFSETS_OPENED);
        CHECK(i % 2 == 0 || offsets_complete(&offsets, i));
    }
    const struct checkpoint_partition one = {.partition = partition, .offsets = &offsets};
    struct mono_time start = mono_now();
    CHECK(checkpoint_begin(out, &header) && checkpoint_partition(out, &one));
    build_ms = since_ms(start);
    offsets_free(&offsets);
}

static void tell(struct takeover *takeover, struct journal *journal)
{
    struct slice batch = journal_take(journal);
    struct mono_time start = mono_now();
    takeover_journal(takeover, 0, offset_of_done++, batch);
    fold_ms += since_ms(start);
}

/* An INTENT for each open record, INTENT, DONE and CLOSED of every other record above. */
static void tell_journal(struct takeover *takeover, int64_t completions)
{
    static const uint32_t first[] = {0};
    const struct ledger_outcome outcome = {
        .recipients = first, .recipient_count = 1, .result = LEDGER_DELIVERED, .code = 250};
    struct journal *journal = journal_create("w", JOURNAL_BATCH_MIN);
    for (int64_t i = 0; i < completions; i++) {
        const struct ledger_place open = {"mail", 3, 7, 2 * i};
        const struct ledger_place done = {"mail", 3, 7, 2 * (completions + i)};
        CHECK(journal_intent(journal, &open, 1, first, 1) &&
              journal_intent(journal, &done, 1, first, 1) &&
              journal_done(journal, &done, 1, &outcome, 1) && journal_closed(journal, &done, 1));
        if (i % 50 == 49 || i == completions - 1) {
            tell(takeover, journal);
        }
    }
    journal_free(&journal);
}

int main(int argc, char **argv)
{
    int64_t completions = argc > 1 ? strtoll(argv[1], NULL, 10) : 100000;
    const struct ledger_metadata metadata = {0, 0, 7, false, SLICE("w")};
    char text[LEDGER_METADATA_MAX];
    struct takeover_result result;
    struct strbuf out;
    strbuf_init(&out, CHECKPOINT_MAX_BYTES);
    build(&out, completions);
    struct takeover *takeover = takeover_create(MAX_BYTES);
    struct mono_time start = mono_now();
    takeover_add(takeover, &(struct takeover_given){"mail", 3, 0, 0, 4 * completions,
                                                    ledger_metadata_format(&metadata, text), true});
    takeover_checkpoint(takeover, 0, 0, strbuf_slice(&out));
    CHECK(takeover_slots(takeover) == 1);
    fold_ms = since_ms(start);
    tell_journal(takeover, completions);
    start = mono_now();
    takeover_result(takeover, 0, &result);
    fold_ms += since_ms(start);
    CHECK(result.run_count == (size_t)completions * 2 - 1 &&
          result.record_count == (size_t)completions);
    printf("%" PRId64
           " completions apart above the watermark: checkpoint of %zu bytes built in %.1f ms; "
           "with %" PRId64 " entries of the journal folded in %.1f ms\n",
           completions, out.len, build_ms, 4 * completions, fold_ms);
    takeover_free(&takeover);
    strbuf_free(&out);
    return 0;
}
