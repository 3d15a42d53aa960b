/* What an earlier owner may still be sending: see takeover.h. */
#include "ledger/takeover_private.h"

#include "base/mem.h"

#include <string.h>

/* Position of the first awaited one at or above the offset. */
static size_t position(const struct fold_partition *partition, int64_t offset)
{
    size_t low = 0;
    size_t high = partition->awaited_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (partition->awaited[middle]->offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct fold_record *fold_awaited(const struct fold_partition *partition, int64_t offset)
{
    size_t at = position(partition, offset);
    return at < partition->awaited_count && partition->awaited[at]->offset == offset
               ? partition->awaited[at]
               : NULL;
}

void fold_await(struct takeover *takeover, struct fold_partition *partition, size_t group,
                int64_t offset)
{
    struct fold_record *record;
    if (offset < partition->base ||
        (record = fold_record_make(takeover, partition, offset)) == NULL) {
        return;
    }
    if (record->group != FOLD_NONE) { /* by two of them: the later one knew of the earlier */
        if (partition->groups[group].claim > partition->groups[record->group].claim) {
            record->group = group;
        }
        return;
    }
    size_t at = position(partition, offset);
    partition->awaited = fold_grow(partition->awaited, partition->awaited_count,
                                   &partition->awaited_capacity, sizeof(struct fold_record *));
    memmove(partition->awaited + at + 1, partition->awaited + at,
            (partition->awaited_count - at) * sizeof(struct fold_record *));
    partition->awaited[at] = record;
    partition->awaited_count++;
    record->group = group;
    takeover->awaited++;
}

void fold_awaited_look(struct takeover *takeover, struct fold_record *record, bool force)
{
    if (record->group == FOLD_NONE || record->settled) {
        return;
    }
    bool over = record->left && record->turn >= record->left_turn && !fold_record_in_doubt(record);
    if (force || record->closed || over) {
        record->settled = true;
        takeover->awaited--;
        if (record->partition->built) {
            list_push_back(&takeover->settled, &record->node);
        }
    }
}

void fold_awaited_close(struct takeover *takeover, struct fold_partition *partition, size_t group,
                        int64_t first, int64_t last)
{
    for (size_t i = position(partition, first);
         i < partition->awaited_count && partition->awaited[i]->offset <= last; i++) {
        struct fold_record *record = partition->awaited[i];
        if ((group == FOLD_NONE || record->group == group) && !record->told) {
            record->closed = true;
            fold_awaited_look(takeover, record, false);
        }
    }
}

void fold_awaited_settled(struct fold_partition *partition)
{
    size_t kept = 0;
    for (size_t i = 0; i < partition->awaited_count; i++) {
        struct fold_record *record = partition->awaited[i];
        if (record->settled) {
            record->told = true;
        } else {
            partition->awaited[kept++] = record;
        }
    }
    partition->awaited_count = kept;
}

size_t takeover_awaited(const struct takeover *takeover)
{
    return takeover->awaited;
}

int64_t takeover_wait_ms(const struct takeover *takeover)
{
    int64_t longest = 0;
    for (size_t i = 0; i < takeover->partition_count; i++) {
        const struct fold_partition *partition = takeover->partitions[i];
        for (size_t at = 0; at < partition->awaited_count; at++) {
            int64_t wait_ms = partition->groups[partition->awaited[at]->group].wait_ms;
            if (!partition->awaited[at]->settled && wait_ms > longest) {
                longest = wait_ms;
            }
        }
    }
    return longest;
}

size_t takeover_awaiting(struct takeover *takeover, size_t index, struct ledger_awaited *out,
                         size_t max)
{
    struct fold_partition *partition = takeover->partitions[index];
    size_t groups = 0;
    size_t next = 0;
    CHECK(index < takeover->partition_count);
    mem_free(partition->awaiting);
    partition->awaiting = mem_calloc(partition->awaited_count + 1, sizeof(int64_t));
    for (size_t group = 0; group < partition->group_count; group++) {
        size_t first = next;
        for (size_t i = 0; i < partition->awaited_count; i++) {
            if (partition->awaited[i]->group == group) {
                partition->awaiting[next++] = partition->awaited[i]->offset;
            }
        }
        if (next > first && groups++ < max) {
            const struct fold_group *from = &partition->groups[group];
            const struct fold_writer *writer = &takeover->writers[from->writer];
            out[groups - 1] = (struct ledger_awaited){.writer = slice_cstr(writer->name),
                                                      .slot = writer->slot,
                                                      .done_offset = from->done_offset,
                                                      .claim = from->claim,
                                                      .wait_ms = from->wait_ms,
                                                      .offsets = partition->awaiting + first,
                                                      .offset_count = next - first};
        }
    }
    return groups;
}

bool takeover_next_settled(struct takeover *takeover, struct takeover_settled *settled)
{
    struct list *node = list_pop_front(&takeover->settled);
    if (node == NULL) {
        return false;
    }
    struct fold_record *record = CONTAINER_OF(node, struct fold_record, node);
    const struct fold_partition *partition = record->partition;
    struct fold_point start = {0, 0};
    *settled = (struct takeover_settled){.index = partition->index,
                                         .offset = record->offset,
                                         .closed = record->closed,
                                         .suspect = partition->suspect};
    takeover->states.outcome_count = takeover->states.recipient_count = 0;
    fold_states_add(&takeover->states, record, partition->suspect, &settled->state);
    fold_states_point(&takeover->states, &start, &settled->state);
    record->told = true;
    return true;
}

void takeover_stop_waiting(struct takeover *takeover)
{
    for (size_t i = 0; i < takeover->partition_count; i++) {
        const struct fold_partition *partition = takeover->partitions[i];
        for (size_t at = 0; at < partition->awaited_count; at++) {
            fold_awaited_look(takeover, partition->awaited[at], true);
        }
    }
}

void takeover_forget(struct takeover *takeover, size_t index, int64_t offset)
{
    CHECK(index < takeover->partition_count);
    struct fold_partition *partition = takeover->partitions[index];
    size_t at = position(partition, offset);
    if (at == partition->awaited_count || partition->awaited[at]->offset != offset) {
        return;
    }
    CHECK(partition->awaited[at]->told);
    partition->awaited_count--;
    memmove(partition->awaited + at, partition->awaited + at + 1,
            (partition->awaited_count - at) * sizeof(struct fold_record *));
}
