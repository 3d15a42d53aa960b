/*
 * Partitions that come: the group gives them, worker/claims.h takes them over, and with
 * `assigned` records may be read. And the bursts of everything that is ours.
 */
#include "worker/intake_private.h"
#include "worker/shard.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>

#define SKIPPED_EVERY_MS 1000

/* ---- bursts ---- */

static int compare_tickets(const void *a, const void *b)
{
    const struct kafka_ticket *left = a;
    const struct kafka_ticket *right = b;
    if (left->partition != right->partition) {
        return (uintptr_t)left->partition < (uintptr_t)right->partition ? -1 : 1;
    }
    return (left->offset > right->offset) - (left->offset < right->offset);
}

/* In flight and not over yet: sorted, by partition and offset. Returns their number. */
static size_t still_in_flight(struct intake *intake)
{
    size_t count = 0;
    for (size_t i = 0; i < intake->in_flight_count; i++) {
        const struct kafka_ticket *one = &intake->in_flight[i];
        if (kafka_ticket_valid(one) &&
            offsets_is_open(kafka_partition_offsets(one->partition), one->offset)) {
            intake->in_flight[count++] = *one;
        }
    }
    intake->in_flight_count = count;
    if (count > 0) {
        qsort(intake->in_flight, count, sizeof(*intake->in_flight), compare_tickets);
    }
    return count;
}

/* What the next owner of each partition is to wait for. Memory that the parts point into. */
struct waits {
    struct ledger_awaited *awaited;
    int64_t *offsets;
};

static void add_waits(struct intake *intake, bool release, struct burst_partition *parts,
                      struct waits *waits)
{
    size_t flying = release ? still_in_flight(intake) : 0;
    size_t most = intake->assigned_count;
    for (size_t i = 0; i < intake->assigned_count; i++) {
        most += claims_awaiting(intake->claims, parts[i].partition, NULL, 0);
    }
    waits->awaited = mem_calloc(most, sizeof(*waits->awaited));
    waits->offsets = mem_calloc(flying + 1, sizeof(*waits->offsets));
    for (size_t i = 0; i < flying; i++) {
        waits->offsets[i] = intake->in_flight[i].offset;
    }
    size_t at = 0;
    for (size_t i = 0; i < intake->assigned_count; i++) {
        struct burst_partition *part = &parts[i];
        part->awaited = waits->awaited + at;
        part->awaited_count =
            claims_awaiting(intake->claims, part->partition, waits->awaited + at, most - at);
        at += part->awaited_count;
        size_t first = 0;
        while (first < flying && intake->in_flight[first].partition != part->partition) {
            first++;
        }
        size_t end = first;
        while (end < flying && intake->in_flight[end].partition == part->partition) {
            end++;
        }
        if (end > first) {
            waits->awaited[at++] = (struct ledger_awaited){
                .slot = intake->worker->slot,
                .done_offset = restate_done_offset(intake->restate),
                .claim = part->claim,
                .wait_ms = TENURE_WAIT_MS,
                .offsets = waits->offsets + first,
                .offset_count = end - first,
            };
            part->awaited_count++;
        }
    }
}

bool intake_submit(struct intake *intake, enum burst_kind kind, struct fault *fault)
{
    struct waits waits;
    struct burst_partition *parts = mem_calloc(intake->assigned_count, sizeof(*parts));
    for (size_t i = 0; i < intake->assigned_count; i++) {
        parts[i] = (struct burst_partition){
            .partition = intake->assigned[i],
            .claim = kafka_partition_claim(intake->assigned[i]),
            .offsets = kafka_partition_offsets(intake->assigned[i]),
        };
    }
    add_waits(intake, kind == BURST_RELEASE, parts, &waits);
    bool ok = burst_submit(intake->burst, intake->consumer, kind, parts, intake->assigned_count,
                           restate_done_offset(intake->restate), fault);
    mem_free(waits.awaited);
    mem_free(waits.offsets);
    mem_free(parts);
    return ok;
}

/* What an earlier owner had completed is passed over when it is read; that has to be committed,
 * too, though nothing of ours was completed. */
static void note_skipped(struct intake *intake, struct mono_time now)
{
    if (mono_before(now, intake->next_skipped)) {
        return;
    }
    intake->next_skipped = mono_add_ms(now, SKIPPED_EVERY_MS);
    for (size_t i = 0; i < intake->assigned_count; i++) {
        const struct kafka_partition *partition = intake->assigned[i];
        if (kafka_partition_offsets(partition)->watermark > kafka_partition_committed(partition)) {
            burst_note(intake->burst);
            return;
        }
    }
}

void intake_burst(struct intake *intake, struct mono_time now)
{
    struct fault fault;
    if (intake->assigned_count == 0) {
        burst_drop_gone(intake->burst);
        return;
    }
    note_skipped(intake, now);
    if (!intake->releasing && burst_is_due(intake->burst, now) &&
        !intake_submit(intake, BURST_USUAL, &fault) && fault.kind != FAULT_CLOSED) {
        log_warn("burst-refused", "reason=\"%s\"", fault.text);
    }
}

/* ---- the group ---- */

/* Limits are shared by all shard threads of the group. Range assignment deals shards evenly, so our
 * part tells how many we are. */
static void tell_holders(struct intake *intake)
{
    struct worker *worker = intake->worker;
    unsigned mine = 0;
    for (size_t i = 0; i < intake->assigned_count; i++) {
        const char *topic = kafka_partition_topic(intake->assigned[i]);
        mine += strcmp(topic, worker->topics.tiers[0]) == 0 ? 1 : 0;
    }
    unsigned shards = (unsigned)worker->config->kafka.shards;
    unsigned workers = mine == 0 ? 1 : (shards + mine - 1) / mine;
    intake->workers = workers;
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_ask(worker->shards[i], SHARD_HOLDERS, workers * worker->shard_count);
    }
}

static void group_given(void *owner, const struct kafka_given *given, size_t count, bool settled)
{
    struct intake *intake = owner;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    if (!intake->draining) { /* else they stay unread until we have left the group */
        claims_given(intake->claims, given, count, settled);
    }
}

static void group_given_back(void *owner)
{
    struct intake *intake = owner;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    claims_drop(intake->claims);
}

static void group_assigned(void *owner, struct kafka_partition *const *partitions, size_t count)
{
    struct intake *intake = owner;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    CHECK(intake->assigned_count == 0); /* all come and go together */
    intake->assigned =
        mem_realloc(intake->assigned, (count + 1) * sizeof(struct kafka_partition *));
    for (size_t i = 0; i < count; i++) {
        intake->assigned[intake->assigned_count++] = partitions[i];
    }
    tenure_begin(&intake->worker->tenures);
    pace_begin(&intake->pace, intake->assigned, count, io_loop_now(intake->loop));
    tell_holders(intake);
}

static void group_revoked(void *owner, struct kafka_partition *const *partitions, size_t count,
                          bool lost)
{
    struct intake *intake = owner;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    CHECK(count == intake->assigned_count);
    (void)partitions;
    pace_begin(&intake->pace, NULL, 0, io_loop_now(intake->loop));
    evict_partitions(intake, lost);
    intake->assigned_count = 0;
    tell_holders(intake);
}

static void group_failed(void *owner, const struct fault *fault)
{
    struct intake *intake = owner;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    log_error("group-failed", "name=%s reason=\"%s\"", intake->worker->name, fault->text);
    intake->failed = fault->kind == FAULT_FATAL;
}

const struct kafka_consumer_ops intake_group_ops = {
    .assigned = group_assigned,
    .revoked = group_revoked,
    .failed = group_failed,
    .given = group_given,
    .given_back = group_given_back,
};
