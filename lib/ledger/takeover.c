/*
 * The fold's life, what was committed, owners, checkpoints: see takeover.h. Journals and results
 * are in takeover_fold.c.
 */
#include "ledger/takeover_private.h"

#include "base/mem.h"

#include <inttypes.h>
#include <string.h>

/* How far takeover_step_back() goes at first; each further step is twice as far. */
#define STEP_BACK 256

void *fold_grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity == 0 ? 4 : *capacity * 2;
    return mem_realloc(array, *capacity * size);
}

struct takeover *takeover_create(size_t max_bytes)
{
    struct takeover *takeover = mem_zalloc(sizeof(*takeover));
    takeover->max_bytes = max_bytes;
    takeover->reader = completion_reader_create();
    map_init(&takeover->by_name);
    list_init(&takeover->settled);
    return takeover;
}

static void partition_free(struct fold_partition *partition)
{
    size_t cursor = 0;
    struct fold_record *record;
    while ((record = map_next(&partition->records, &cursor)) != NULL) {
        fold_record_free(record);
    }
    map_free(&partition->records);
    fold_states_free(&partition->states);
    mem_free(partition->result);
    mem_free(partition->groups);
    mem_free(partition->awaited);
    mem_free(partition->awaiting);
    mem_free(partition->runs.runs);
    mem_free(partition->key);
    mem_free(partition);
}

void takeover_free(struct takeover **handle)
{
    struct takeover *takeover = *handle;
    if (takeover == NULL) {
        return;
    }
    for (size_t i = 0; i < takeover->partition_count; i++) {
        partition_free(takeover->partitions[i]);
    }
    for (size_t i = 0; i < takeover->writer_count; i++) {
        mem_free(takeover->writers[i].name);
    }
    map_free(&takeover->by_name);
    fold_states_free(&takeover->states);
    completion_reader_free(&takeover->reader);
    mem_free(takeover->partitions);
    mem_free(takeover->writers);
    mem_free(takeover->slots);
    mem_free(takeover);
    *handle = NULL;
}

void fold_damage(struct takeover *takeover, size_t *counter, const char *topic, int32_t slot,
                 int64_t offset, const char *what)
{
    (*counter)++;
    if (takeover->damage.first.kind == FAULT_NONE) {
        fault_set(&takeover->damage.first, FAULT_INVALID, 0,
                  "%s[%" PRId32 "] offset %" PRId64 ": %s", topic, slot, offset, what);
    }
}

const struct takeover_damage *takeover_damage(const struct takeover *takeover)
{
    return &takeover->damage;
}

bool fold_charge(struct takeover *takeover, struct fold_partition *partition, size_t bytes)
{
    if (bytes <= takeover->max_bytes - takeover->bytes) {
        takeover->bytes += bytes;
        return true;
    }
    partition->suspect = true;
    takeover->damage.over_limit++;
    if (takeover->damage.first.kind == FAULT_NONE) {
        fault_set(&takeover->damage.first, FAULT_LIMIT, 0, "%s[%" PRId32 "]: more than %zu bytes",
                  partition->topic, partition->number, takeover->max_bytes);
    }
    return false;
}

/* ---- writers ---- */

size_t fold_writer_find(const struct takeover *takeover, struct slice name, int32_t slot)
{
    for (size_t i = 0; i < takeover->writer_count; i++) {
        if (takeover->writers[i].slot == slot &&
            slice_eq(slice_cstr(takeover->writers[i].name), name)) {
            return i;
        }
    }
    return FOLD_NONE;
}

size_t fold_writer_make(struct takeover *takeover, struct slice name, int32_t slot)
{
    size_t found = fold_writer_find(takeover, name, slot);
    if (found != FOLD_NONE) {
        return found;
    }
    takeover->writers = fold_grow(takeover->writers, takeover->writer_count,
                                  &takeover->writer_capacity, sizeof(*takeover->writers));
    takeover->writers[takeover->writer_count] =
        (struct fold_writer){.name = mem_strndup(name.ptr, name.len), .slot = slot};
    return takeover->writer_count++;
}

/* ---- partitions ---- */

#define KEY_MAX (sizeof(int32_t) + LEDGER_NAME_MAX)

static struct slice key_of(char out[KEY_MAX], struct slice topic, int32_t number)
{
    topic = slice_head(topic, LEDGER_NAME_MAX);
    memcpy(out, &number, sizeof(number));
    if (topic.len > 0) {
        memcpy(out + sizeof(number), topic.ptr, topic.len);
    }
    return slice_of(out, sizeof(number) + topic.len);
}

struct fold_partition *fold_partition_of(const struct takeover *takeover,
                                         const struct ledger_partition *place)
{
    char key[KEY_MAX];
    return map_get(&takeover->by_name, key_of(key, place->topic, place->partition));
}

static void add_owner(struct takeover *takeover, struct fold_partition *partition,
                      const struct ledger_metadata *metadata)
{
    size_t known = takeover->writer_count;
    size_t index = fold_writer_make(takeover, metadata->writer, metadata->slot);
    struct fold_writer *writer = &takeover->writers[index];
    takeover->owner_count = takeover->writer_count;
    if (index == known || metadata->checkpoint < writer->from) {
        writer->from = metadata->checkpoint;
    }
    writer->until = metadata->checkpoint > writer->until ? metadata->checkpoint : writer->until;
    writer->fence |= !metadata->released;
    partition->owner = index;
    partition->claim = metadata->claim;
    partition->checkpoint = metadata->checkpoint;
}

void takeover_add(struct takeover *takeover, const struct takeover_given *given)
{
    struct ledger_metadata metadata;
    char key[KEY_MAX];
    if (!given->mine) {
        return;
    }
    CHECK(takeover->owner_count == takeover->writer_count);
    struct slice name = key_of(key, slice_cstr(given->topic), given->partition);
    struct fold_partition *partition = mem_zalloc(sizeof(*partition));
    partition->key = mem_strndup(name.ptr, name.len); /* the topic's NUL with it */
    partition->topic = partition->key + sizeof(given->partition);
    partition->number = given->partition;
    partition->index = takeover->partition_count;
    partition->lowest = given->lowest;
    partition->highest = given->highest;
    partition->base = given->committed < 0 ? given->lowest : given->committed;
    partition->base = partition->base < 0 ? 0 : partition->base;
    partition->owner = FOLD_NONE;
    partition->checkpoint_at = -1;
    map_init(&partition->records);
    takeover->partitions =
        fold_grow(takeover->partitions, takeover->partition_count, &takeover->partition_capacity,
                  sizeof(struct fold_partition *));
    takeover->partitions[takeover->partition_count++] = partition;
    map_put(&takeover->by_name, slice_of(partition->key, name.len), partition);
    if (given->committed >= 0 && ledger_metadata_parse(given->metadata, &metadata)) {
        add_owner(takeover, partition, &metadata);
    } else if (given->metadata.len > 0) {
        fold_damage(takeover, &takeover->damage.metadata, given->topic, given->partition,
                    given->committed, "committed by somebody else");
    }
}

size_t takeover_owners(const struct takeover *takeover)
{
    return takeover->owner_count;
}

struct takeover_owner takeover_owner(const struct takeover *takeover, size_t index)
{
    CHECK(index < takeover->owner_count);
    const struct fold_writer *writer = &takeover->writers[index];
    return (struct takeover_owner){.writer = slice_cstr(writer->name),
                                   .slot = writer->slot,
                                   .from = writer->from,
                                   .fence = writer->fence};
}

/* ---- checkpoints ---- */

/* Is the checkpoint at that offset of the partition's owner asked for? */
static bool wanted(const struct takeover *takeover, const struct fold_partition *partition,
                   int32_t slot, int64_t offset)
{
    if (partition->owner == FOLD_NONE || partition->built ||
        partition->checkpoint_at == partition->checkpoint) {
        return false;
    }
    const struct fold_writer *writer = &takeover->writers[partition->owner];
    return writer->slot == slot &&
           (offset == partition->checkpoint ||
            (writer->back && offset < partition->checkpoint && offset > partition->checkpoint_at));
}

struct checkpoint_reading {
    struct takeover *takeover;
    int32_t slot;
    int64_t offset;
    struct slice writer;
    int64_t done_offset;
    struct fold_partition *partition; /* NULL: not of interest */
};

static bool on_partition(void *owner, const struct ledger_partition *place, int64_t base)
{
    struct checkpoint_reading *reading = owner;
    struct fold_partition *partition = fold_partition_of(reading->takeover, place);
    reading->partition = NULL;
    (void)base; /* what was committed with it counts */
    if (partition == NULL || partition->checkpoint_at != reading->offset ||
        partition->owner == FOLD_NONE ||
        reading->takeover->writers[partition->owner].slot != reading->slot) {
        return true;
    }
    if (place->claim == partition->claim) {
        reading->partition = partition;
    } else if (reading->offset == partition->checkpoint) {
        partition->suspect = true;
        fold_damage(reading->takeover, &reading->takeover->damage.checkpoints, "moved",
                    reading->slot, reading->offset, "a partition with another claim");
    }
    return true;
}

static bool on_run(void *owner, int64_t first, int64_t last)
{
    const struct checkpoint_reading *reading = owner;
    if (reading->partition != NULL) {
        fold_runs_add(reading->takeover, reading->partition, first, last);
    }
    return true;
}

static bool on_awaited(void *owner, const struct ledger_awaited *awaited)
{
    const struct checkpoint_reading *reading = owner;
    struct fold_partition *partition = reading->partition;
    if (partition != NULL) {
        struct slice writer = awaited->writer.len > 0 ? awaited->writer : reading->writer;
        partition->groups = fold_grow(partition->groups, partition->group_count,
                                      &partition->group_capacity, sizeof(*partition->groups));
        partition->groups[partition->group_count++] = (struct fold_group){
            .writer = fold_writer_make(reading->takeover, writer, awaited->slot),
            .done_offset = awaited->done_offset,
            .claim = awaited->claim,
            .wait_ms = awaited->wait_ms};
    }
    return true;
}

static bool on_offset(void *owner, int64_t offset)
{
    const struct checkpoint_reading *reading = owner;
    if (reading->partition != NULL) {
        fold_await(reading->takeover, reading->partition, reading->partition->group_count - 1,
                   offset);
    }
    return true;
}

/* Drops what an earlier checkpoint had said. */
static void begin_partition(struct takeover *takeover, struct fold_partition *partition,
                            const struct checkpoint_reading *reading)
{
    while (partition->awaited_count > 0) {
        struct fold_record *record = partition->awaited[--partition->awaited_count];
        takeover->awaited -= !record->settled;
        fold_record_drop(takeover, record);
    }
    partition->group_count = 0;
    partition->runs.count = partition->runs.tidy = 0;
    partition->checkpoint_at = reading->offset;
    partition->done_offset = reading->done_offset;
}

void takeover_checkpoint(struct takeover *takeover, int32_t slot, int64_t offset,
                         struct slice value)
{
    static const struct completion_sink check = {.owner = NULL};
    struct checkpoint_reading reading = {.takeover = takeover, .slot = slot, .offset = offset};
    const struct completion_sink sink = {&reading, on_partition, on_run, on_awaited, on_offset};
    struct ledger_checkpoint header;
    struct fault fault = {.kind = FAULT_NONE};
    bool any = false;
    bool exact = false;
    for (size_t i = 0; i < takeover->partition_count; i++) {
        any = any || wanted(takeover, takeover->partitions[i], slot, offset);
    }
    if (!any) {
        return;
    }
    bool sound = completion_read_checkpoint(value, &header, &check, &fault);
    reading.writer = header.writer;
    reading.done_offset = header.done_offset;
    any = false;
    for (size_t i = 0; i < takeover->partition_count; i++) {
        struct fold_partition *partition = takeover->partitions[i];
        if (!wanted(takeover, partition, slot, offset)) {
            continue;
        }
        if (sound && header.slot == slot &&
            slice_eq(header.writer, slice_cstr(takeover->writers[partition->owner].name))) {
            begin_partition(takeover, partition, &reading);
            any = true;
        } else {
            exact = exact || offset == partition->checkpoint;
        }
    }
    if (exact) {
        fold_damage(takeover, &takeover->damage.checkpoints, "moved", slot, offset,
                    sound ? "of somebody else" : fault.text);
    }
    if (any) {
        completion_read_checkpoint(value, &header, &sink, NULL);
    }
}

/* Of all the owner's partitions: the checkpoint itself, or any. */
static bool found(const struct takeover *takeover, size_t owner, bool exact)
{
    for (size_t i = 0; i < takeover->partition_count; i++) {
        const struct fold_partition *partition = takeover->partitions[i];
        if (partition->owner == owner && (exact ? partition->checkpoint_at != partition->checkpoint
                                                : partition->checkpoint_at < 0)) {
            return false;
        }
    }
    return true;
}

bool takeover_found(const struct takeover *takeover, size_t owner)
{
    return found(takeover, owner, !takeover->writers[owner].back);
}

bool takeover_step_back(struct takeover *takeover, size_t owner, int64_t lowest)
{
    CHECK(owner < takeover->owner_count);
    struct fold_writer *writer = &takeover->writers[owner];
    if (takeover_found(takeover, owner) || (writer->back && writer->from <= lowest)) {
        return false;
    }
    int64_t step = STEP_BACK + (writer->until - writer->from);
    writer->from = writer->from - lowest > step ? writer->from - step : lowest;
    writer->back = true;
    return true;
}
