/* What came out of checkpoints and journals: stated in our own journal, then committed as ours. See
 * claims_private.h. */
#include "worker/claims_private.h"

#include "base/log.h"
#include "base/mem.h"

/* How long it took from the last entry of a phase to that of another. */
static long long took_ms(const struct claims *claims, enum claims_phase phase,
                         enum claims_phase next)
{
    return mono_since_us(claims->entered[next], claims->entered[phase]) / 1000;
}

void claims_forget_starts(struct claims *claims)
{
    for (size_t i = 0; claims->offsets != NULL && i < claims->count; i++) {
        offsets_free(&claims->offsets[i]);
    }
    mem_free(claims->offsets);
    mem_free(claims->starts);
    claims->offsets = NULL;
    claims->starts = NULL;
}

static void tell_damage(const struct claims *claims)
{
    const struct takeover_damage *damage = takeover_damage(claims->takeover);
    char reason[FAULT_TEXT_MAX];
    if (damage->metadata + damage->checkpoints + damage->no_checkpoint + damage->journals +
            damage->over_limit >
        0) {
        log_error("takeover-damage",
                  "metadata=%zu checkpoints=%zu no_checkpoint=%zu journals=%zu over_limit=%zu "
                  "first=%s",
                  damage->metadata, damage->checkpoints, damage->no_checkpoint, damage->journals,
                  damage->over_limit,
                  log_quote(reason, sizeof(reason), slice_cstr(damage->first.text)));
    }
}

static void take_result(struct claims *claims, size_t index)
{
    struct takeover_result result;
    struct kafka_partition *partition = claims->mine[index];
    takeover_result(claims->takeover, index, &result);
    if (result.skipped > 0) {
        log_error("records-lost",
                  "topic=%s partition=%d base=%lld skipped=%lld reason=\"deleted by retention "
                  "before they were read\"",
                  kafka_partition_topic(partition), kafka_partition_id(partition),
                  (long long)result.base, (long long)result.skipped);
    }
    claims->starts[index] = (struct kafka_start){
        .partition = partition,
        .offset = result.base,
        .claim = result.claim + 1,
        .runs = result.runs,
        .run_count = result.run_count,
    };
    offsets_init(&claims->offsets[index], result.base);
    bool sorted = offsets_import(&claims->offsets[index], result.runs, result.run_count);
    CHECK(sorted);
    for (size_t i = 0; i < result.record_count; i++) {
        const struct takeover_record *one = &result.records[i];
        struct inherited_record *record =
            inherited_put(claims->parts.inherited, partition, one->offset, result.claim + 1,
                          one->awaited ? NULL : &one->state);
        record->awaited = one->awaited;
    }
    if (result.suspect_below > 0) {
        inherited_suspect(claims->parts.inherited, partition, result.suspect_below);
    }
}

void claims_begin_stating(struct claims *claims)
{
    claims_enter(claims, PHASE_STATING);
    claims->starts = mem_calloc(claims->count + 1, sizeof(*claims->starts));
    claims->offsets = mem_calloc(claims->count + 1, sizeof(*claims->offsets));
    for (size_t i = 0; i < claims->count; i++) {
        take_result(claims, i);
    }
    tell_damage(claims);
    inherited_restate(claims->parts.inherited, claims->parts.journal);
    claims->mark = journal_writer_mark(claims->parts.journal);
    journal_writer_flush(claims->parts.journal);
}

/* What is awaited by all parts, in one array that is freed with mem_free(). */
static struct ledger_awaited *awaited_of(const struct claims *claims, struct burst_partition *parts)
{
    size_t total = 0;
    for (size_t i = 0; i < claims->count; i++) {
        parts[i].awaited_count = takeover_awaiting(claims->takeover, i, NULL, 0);
        total += parts[i].awaited_count;
    }
    struct ledger_awaited *all = mem_calloc(total + 1, sizeof(*all));
    for (size_t i = 0, at = 0; i < claims->count; at += parts[i++].awaited_count) {
        takeover_awaiting(claims->takeover, i, all + at, parts[i].awaited_count);
        parts[i].awaited = all + at;
    }
    return all;
}

void claims_submit(struct claims *claims)
{
    struct fault fault;
    struct burst_partition *parts = mem_calloc(claims->count + 1, sizeof(*parts));
    for (size_t i = 0; i < claims->count; i++) {
        parts[i] = (struct burst_partition){
            .partition = claims->starts[i].partition,
            .claim = claims->starts[i].claim,
            .offsets = &claims->offsets[i],
        };
    }
    struct ledger_awaited *awaited = awaited_of(claims, parts);
    if (burst_submit(claims->parts.burst, claims->parts.consumer, BURST_CLAIM, parts, claims->count,
                     restate_done_offset(claims->parts.restate), &fault)) {
        claims_enter(claims, PHASE_CLAIMING);
    } else if (fault.kind != FAULT_LIMIT) {
        /* FAULT_CLOSED: the group will take them back. Others are tried again. */
        claims_failed(claims, &fault);
    }
    mem_free(awaited);
    mem_free(parts);
}

void claims_burst_over(struct claims *claims, enum kafka_burst_result result)
{
    CHECK_MAGIC(claims, CLAIM_MAGIC);
    if (claims->phase != PHASE_CLAIMING) {
        return; /* taken away meanwhile */
    }
    if (result != KAFKA_BURST_COMMITTED) {
        claims_enter(claims, PHASE_STATING);
        claims->failed = true;
        claims->again = mono_add_ms(mono_now(), CLAIM_AGAIN_MS);
        return;
    }
    if (!kafka_consumer_begin(claims->parts.consumer, claims->starts, claims->count)) {
        return; /* the consumer will say so */
    }
    claims_enter(claims, PHASE_BEGUN);
    log_info("takeover",
             "partitions=%zu inherited=%zu awaited=%zu ms=%lld fenced_ms=%lld looked_ms=%lld "
             "checkpoints_ms=%lld journals_ms=%lld stated_ms=%lld claimed_ms=%lld",
             claims->count, inherited_count(claims->parts.inherited),
             takeover_awaited(claims->takeover),
             (long long)(mono_since_us(mono_now(), claims->began) / 1000),
             took_ms(claims, PHASE_FENCING, PHASE_LOOKING),
             took_ms(claims, PHASE_LOOKING, PHASE_CHECKPOINTS),
             took_ms(claims, PHASE_CHECKPOINTS, PHASE_JOURNALS),
             took_ms(claims, PHASE_JOURNALS, PHASE_STATING),
             took_ms(claims, PHASE_STATING, PHASE_CLAIMING),
             took_ms(claims, PHASE_CLAIMING, PHASE_BEGUN));
    claims_forget_starts(claims);
}
