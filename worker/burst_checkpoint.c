/*
 * What a burst says of partitions: its checkpoint, and the group's offsets with their metadata. A
 * partition about which nothing has changed is left out of the offsets until its last commit is
 * old.
 */
#include "worker/burst_private.h"

#include "ledger/metadata.h"
#include "ledger/takeover.h"
#include "worker/worker.h"

#include "base/mem.h"

#include <stdlib.h>

static int compare_moved(const void *a, const void *b)
{
    const struct moved *left = a;
    const struct moved *right = b;
    if (left->partition != right->partition) {
        return (uintptr_t)left->partition < (uintptr_t)right->partition ? -1 : 1;
    }
    return (left->offset > right->offset) - (left->offset < right->offset);
}

/* The offsets of that partition that move: copied to `out`, which has room for all. */
static size_t moved_of(const struct burst *burst, const struct kafka_partition *partition,
                       int64_t *out)
{
    const struct moved wanted = {partition, INT64_MIN};
    size_t low = 0;
    size_t high = burst->moved_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_moved(&burst->moved[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    size_t count = 0;
    while (low < burst->moved_count && burst->moved[low].partition == partition) {
        out[count++] = burst->moved[low++].offset;
    }
    return count;
}

static struct slice renewal_key(const struct kafka_partition *const *partition)
{
    return slice_of(partition, sizeof(void *));
}

static bool is_old(const struct burst *burst, const struct kafka_partition *partition)
{
    const struct renewal *renewal = map_get(&burst->renewals, renewal_key(&partition));
    return renewal == NULL ||
           mono_since_us(burst->began, renewal->at) > (int64_t)LEDGER_RENEW_MS * 1000;
}

void burst_renew(struct burst *burst, const struct kafka_partition *partition)
{
    struct renewal *renewal = map_get(&burst->renewals, renewal_key(&partition));
    if (renewal == NULL) {
        renewal = mem_zalloc(sizeof(*renewal));
        renewal->partition = partition;
        map_put(&burst->renewals, renewal_key(&renewal->partition), renewal);
    }
    renewal->at = burst->began;
}

static void add_offset(struct burst *burst, const struct burst_partition *one, int64_t offset)
{
    size_t at = burst->kafka.offset_count++;
    burst->offsets[at] = (struct kafka_burst_offset){one->partition, offset};
    burst->claims[at] = one->claim;
}

/* False: its checkpoint has no room for it. */
static bool add_partition(struct burst *burst, const struct burst_partition *one, int64_t *moved)
{
    size_t before = burst->checkpoint_text.len;
    const struct checkpoint_partition part = {
        .partition = {slice_cstr(kafka_partition_topic(one->partition)),
                      kafka_partition_id(one->partition), one->claim},
        .offsets = one->offsets,
        .moved = moved,
        .moved_count = moved_of(burst, one->partition, moved),
        .awaited = one->awaited,
        .awaited_count = one->awaited_count,
    };
    if (!checkpoint_partition(&burst->checkpoint_text, &part)) {
        return false;
    }
    int64_t base = checkpoint_base(one->offsets, moved, part.moved_count);
    if (burst->kind != BURST_USUAL || burst->checkpoint_text.len > before ||
        base != kafka_partition_committed(one->partition) || is_old(burst, one->partition)) {
        add_offset(burst, one, base);
    }
    return true;
}

bool burst_write_checkpoint(struct burst *burst, const struct burst_partition *partitions,
                            size_t count, int64_t done_offset)
{
    const struct worker *worker = burst->worker;
    const struct ledger_checkpoint header = {
        .writer = slice_cstr(worker->transactional_id),
        .worker = slice_cstr(worker->name),
        .slot = worker->slot,
        .done_offset = done_offset,
        .time_ms = wall_now().ms,
    };
    int64_t *moved = mem_calloc(burst->moved_count + 1, sizeof(*moved));
    if (burst->moved_count > 0) {
        qsort(burst->moved, burst->moved_count, sizeof(*burst->moved), compare_moved);
    }
    strbuf_reset(&burst->checkpoint_text);
    bool fits = checkpoint_begin(&burst->checkpoint_text, &header);
    for (size_t i = 0; i < count && fits; i++) {
        fits = add_partition(burst, &partitions[i], moved);
    }
    mem_free(moved);
    if (fits && burst->kafka.offset_count == 0) { /* at least one: the group is asked with it */
        add_offset(burst, &partitions[0], checkpoint_base(partitions[0].offsets, NULL, 0));
    }
    burst->checkpoint = (struct kafka_record_out){
        .topic = worker->topics.moved,
        .partition = worker->slot,
        .key = header.writer,
        .value = strbuf_slice(&burst->checkpoint_text),
    };
    return fits;
}

/* On the transaction's thread. */
void burst_write_metadata(struct kafka_burst *kafka, size_t index, int64_t checkpoint_offset,
                          char *out, size_t size)
{
    const struct burst *burst = CONTAINER_OF(kafka, struct burst, kafka);
    const struct ledger_metadata metadata = {
        .slot = burst->worker->slot,
        .checkpoint = checkpoint_offset,
        .claim = burst->claims[index],
        .released = burst->kind == BURST_RELEASE,
        .writer = slice_cstr(burst->worker->transactional_id),
    };
    CHECK(size >= LEDGER_METADATA_MAX);
    struct slice text = ledger_metadata_format(&metadata, out);
    CHECK(text.ptr != NULL);
}
