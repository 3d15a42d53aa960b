/* Journals, and the result: see takeover.h. */
#include "ledger/takeover_private.h"

#include "base/mem.h"

#include <stdlib.h>

/* Offsets of a CLOSED whose records are dropped at once; those of longer ones with the result. */
#define CLOSED_AT_ONCE 64

/* ---- where to read ---- */

static void want_slot(struct takeover *takeover, int32_t slot, int64_t from)
{
    for (size_t i = 0; i < takeover->slot_count; i++) {
        if (takeover->slots[i].slot == slot) {
            if (from < takeover->slots[i].from) {
                takeover->slots[i].from = from;
            }
            return;
        }
    }
    takeover->slots = fold_grow(takeover->slots, takeover->slot_count, &takeover->slot_capacity,
                                sizeof(*takeover->slots));
    takeover->slots[takeover->slot_count++] = (struct takeover_slot){slot, from};
}

size_t takeover_slots(struct takeover *takeover)
{
    takeover->slot_count = 0;
    for (size_t i = 0; i < takeover->partition_count; i++) {
        const struct fold_partition *partition = takeover->partitions[i];
        if (partition->owner != FOLD_NONE) {
            want_slot(takeover, takeover->writers[partition->owner].slot, partition->done_offset);
        }
        for (size_t at = 0; at < partition->group_count; at++) {
            const struct fold_group *group = &partition->groups[at];
            want_slot(takeover, takeover->writers[group->writer].slot, group->done_offset);
        }
    }
    return takeover->slot_count;
}

struct takeover_slot takeover_slot(const struct takeover *takeover, size_t index)
{
    CHECK(index < takeover->slot_count);
    return takeover->slots[index];
}

/* ---- journals ---- */

/* What the partition's last owner said. */
static void take_main(struct takeover *takeover, struct fold_partition *partition,
                      const struct ledger_entry *entry)
{
    struct fold_record *awaited = fold_awaited(partition, entry->offset);
    if (entry->kind == LEDGER_CLOSED) {
        int64_t last = entry->offset + (int64_t)entry->length - 1;
        fold_awaited_close(takeover, partition, FOLD_NONE, entry->offset, last);
        if (partition->built) {
            return;
        }
        fold_runs_add(takeover, partition, entry->offset, last);
        for (int64_t at = entry->offset; at <= last && entry->length <= CLOSED_AT_ONCE; at++) {
            struct fold_record *record = fold_record_find(partition, at);
            if (record != NULL && record->group == FOLD_NONE) {
                fold_record_drop(takeover, record);
            }
        }
        return;
    }
    /* It holds what it awaits itself: who says something of that has stopped waiting. */
    bool later = awaited != NULL && partition->groups[awaited->group].claim != partition->claim;
    struct fold_record *record = awaited;
    if (awaited == NULL && entry->kind != LEDGER_LEFT && !partition->built) {
        record = fold_record_make(takeover, partition, entry->offset);
    }
    if (record != NULL && !record->told && !record->closed) {
        fold_record_take(takeover, record, entry);
        fold_awaited_look(takeover, record, later);
    }
}

/* What somebody said of what is awaited of him. */
static void take_awaited(struct takeover *takeover, struct fold_partition *partition, size_t group,
                         const struct ledger_entry *entry)
{
    if (entry->kind == LEDGER_CLOSED) {
        fold_awaited_close(takeover, partition, group, entry->offset,
                           entry->offset + (int64_t)entry->length - 1);
        return;
    }
    struct fold_record *record = fold_awaited(partition, entry->offset);
    if (record != NULL && record->group == group && !record->told && !record->closed) {
        fold_record_take(takeover, record, entry);
        fold_awaited_look(takeover, record, false);
    }
}

static void take_entry(struct takeover *takeover, size_t writer, const struct ledger_entry *entry,
                       const struct ledger_partition *place)
{
    struct fold_partition *partition = fold_partition_of(takeover, place);
    if (entry->kind == LEDGER_NOTHING || partition == NULL) {
        return;
    }
    if (partition->owner == writer && partition->claim == place->claim) {
        if (entry->offset >= partition->base || entry->kind == LEDGER_CLOSED) {
            take_main(takeover, partition, entry);
        }
        return;
    }
    for (size_t i = 0; i < partition->group_count; i++) {
        if (partition->groups[i].writer == writer && partition->groups[i].claim == place->claim) {
            take_awaited(takeover, partition, i, entry);
        }
    }
}

static bool reads(const struct takeover *takeover, const struct fold_partition *partition,
                  size_t writer, int32_t slot, int64_t offset)
{
    if (partition->owner != FOLD_NONE &&
        (writer == FOLD_NONE ? takeover->writers[partition->owner].slot == slot
                             : partition->owner == writer) &&
        offset >= partition->done_offset) {
        return true;
    }
    for (size_t i = 0; i < partition->group_count; i++) {
        const struct fold_group *group = &partition->groups[i];
        if ((writer == FOLD_NONE ? takeover->writers[group->writer].slot == slot
                                 : group->writer == writer) &&
            offset >= group->done_offset) {
            return true;
        }
    }
    return false;
}

/* An entry is lost: of the writer, or of somebody in that slot. */
static void lost(struct takeover *takeover, size_t writer, int32_t slot, int64_t offset,
                 const char *what)
{
    bool matters = false;
    for (size_t i = 0; i < takeover->partition_count; i++) {
        struct fold_partition *partition = takeover->partitions[i];
        if (reads(takeover, partition, writer, slot, offset)) {
            partition->suspect = matters = true;
        }
    }
    if (matters) {
        fold_damage(takeover, &takeover->damage.journals, "done", slot, offset, what);
    }
}

void takeover_journal(struct takeover *takeover, int32_t slot, int64_t offset, struct slice value)
{
    struct slice name;
    struct ledger_entry entry;
    struct ledger_partition place;
    enum completion_next next;
    if (value.len == 0) {
        return;
    }
    if (!completion_writer(value, &name)) {
        lost(takeover, FOLD_NONE, slot, offset, "no writer");
        return;
    }
    size_t writer = fold_writer_find(takeover, name, slot);
    if (writer == FOLD_NONE) {
        return;
    }
    completion_read(takeover->reader, value);
    while ((next = completion_next(takeover->reader, &entry, &place)) != COMPLETION_END) {
        if (next == COMPLETION_ENTRY) {
            take_entry(takeover, writer, &entry, &place);
        } else {
            lost(takeover, writer, slot, offset,
                 next == COMPLETION_BROKEN ? "broken batch" : "broken entry");
        }
    }
}

/* ---- the result ---- */

size_t takeover_partitions(const struct takeover *takeover)
{
    return takeover->partition_count;
}

static void look_at_checkpoint(struct takeover *takeover, struct fold_partition *partition)
{
    if (partition->owner == FOLD_NONE || partition->checkpoint_at == partition->checkpoint) {
        return;
    }
    partition->suspect = true;
    if (partition->checkpoint_at < 0) {
        fold_damage(takeover, &takeover->damage.no_checkpoint, "moved",
                    takeover->writers[partition->owner].slot, partition->checkpoint,
                    "no checkpoint");
    }
}

/* Runs in order, those of closed records with them; the base behind what retention deleted and what
 * is complete. */
static void build_runs(struct takeover *takeover, struct fold_partition *partition)
{
    struct fold_runs *runs = &partition->runs;
    size_t below = 0;
    for (size_t i = 0; i < partition->awaited_count; i++) {
        if (partition->awaited[i]->closed) {
            int64_t offset = partition->awaited[i]->offset;
            fold_runs_add(takeover, partition, offset, offset);
        }
    }
    fold_runs_tidy(runs);
    if (partition->base < partition->lowest) {
        partition->skipped = partition->lowest - partition->base;
        for (size_t i = 0; i < runs->count && runs->runs[i].first < partition->lowest; i++) {
            int64_t last =
                runs->runs[i].last < partition->lowest ? runs->runs[i].last : partition->lowest - 1;
            partition->skipped -= last - runs->runs[i].first + 1;
        }
        partition->base = partition->lowest;
    }
    while (below < runs->count && runs->runs[below].first <= partition->base) {
        if (runs->runs[below].last >= partition->base) {
            partition->base = runs->runs[below].last + 1;
        }
        below++;
    }
    runs->count -= below;
    runs->tidy = runs->count;
    for (size_t i = 0; i < runs->count; i++) {
        runs->runs[i] = runs->runs[i + below];
    }
}

static int compare_records(const void *a, const void *b)
{
    int64_t left = (*(struct fold_record *const *)a)->offset;
    int64_t right = (*(struct fold_record *const *)b)->offset;
    return (left > right) - (left < right);
}

/* Those that are not complete, ascending; *count is their number. The caller frees the array. */
static struct fold_record **open_records(struct takeover *takeover,
                                         struct fold_partition *partition, size_t *count)
{
    struct fold_record **all =
        mem_calloc(partition->records.count + 1, sizeof(struct fold_record *));
    struct fold_record *record;
    size_t cursor = 0;
    *count = 0;
    while ((record = map_next(&partition->records, &cursor)) != NULL) {
        if (record->offset >= partition->base && !record->closed &&
            !fold_runs_have(&partition->runs, record->offset)) {
            all[(*count)++] = record;
        } else {
            fold_awaited_look(takeover, record, true);
        }
    }
    if (*count > 0) {
        qsort(all, *count, sizeof(struct fold_record *), compare_records);
    }
    return all;
}

static void build(struct takeover *takeover, struct fold_partition *partition)
{
    struct fold_point point = {0, 0};
    look_at_checkpoint(takeover, partition);
    build_runs(takeover, partition);
    struct fold_record **open = open_records(takeover, partition, &partition->result_count);
    fold_awaited_settled(partition);
    partition->result = mem_calloc(partition->result_count + 1, sizeof(*partition->result));
    for (size_t i = 0; i < partition->result_count; i++) {
        struct takeover_record *out = &partition->result[i];
        out->offset = open[i]->offset;
        out->awaited = open[i]->group != FOLD_NONE && !open[i]->settled;
        fold_states_add(&partition->states, open[i], partition->suspect, &out->state);
    }
    for (size_t i = 0; i < partition->result_count; i++) {
        fold_states_point(&partition->states, &point, &partition->result[i].state);
    }
    mem_free(open);
    if (partition->suspect) {
        partition->suspect_below = partition->highest > 0 ? partition->highest : INT64_MAX;
    }
    partition->built = true;
}

void takeover_result(struct takeover *takeover, size_t index, struct takeover_result *result)
{
    CHECK(index < takeover->partition_count);
    struct fold_partition *partition = takeover->partitions[index];
    if (!partition->built) {
        build(takeover, partition);
    }
    *result = (struct takeover_result){.topic = slice_cstr(partition->topic),
                                       .partition = partition->number,
                                       .claim = partition->claim,
                                       .base = partition->base,
                                       .skipped = partition->skipped,
                                       .runs = partition->runs.runs,
                                       .run_count = partition->runs.count,
                                       .records = partition->result,
                                       .record_count = partition->result_count,
                                       .suspect_below = partition->suspect_below};
}
