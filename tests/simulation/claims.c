/* worker/claims.c. */
#include "simulation/process.h"

#include "base/mem.h"

#include <string.h>

#define TAKEOVER_BYTES ((size_t)64 << 20)
#define AGAIN (500 * MS)

static struct inherited *inherited_find(struct process *process, int partition, int64_t offset)
{
    for (int i = 0; i < MAILS; i++) {
        struct inherited *record = &process->inherited[i];
        if (record->used && record->partition == partition && record->offset == offset) {
            return record;
        }
    }
    return NULL;
}

static struct inherited *inherited_put(struct process *process, int partition, int64_t offset,
                                       uint64_t claim)
{
    int at = 0;
    while (at < MAILS && process->inherited[at].used) {
        at++;
    }
    CHECK(at < MAILS);
    process->inherited[at] = (struct inherited){
        .used = true, .partition = partition, .offset = offset, .claim = claim, .held = -1};
    return &process->inherited[at];
}

static void set_state(struct inherited *record, const struct ledger_state *from)
{
    struct state *state = &record->state;
    *state = (struct state){.turn = from->turn};
    for (size_t i = 0; i < from->in_doubt_count; i++) {
        state->known[from->in_doubt[i]] = KNOWN_DOUBT;
    }
    for (size_t i = 0; i < from->outcome_count; i++) {
        const struct ledger_outcome *outcome = &from->outcomes[i];
        for (size_t r = 0; r < outcome->recipient_count; r++) {
            state->known[outcome->recipients[r]] = KNOWN_OUTCOME;
            state->result[outcome->recipients[r]] = outcome->result;
            state->due[outcome->recipients[r]] = outcome->due_ms;
        }
    }
    record->has_state = true;
}

/* ---- life ---- */

static void forget_takeover(struct process *process)
{
    struct claims *claims = &process->claims;
    for (int i = 0; claims->has_starts && i < claims->count; i++) {
        offsets_free(&claims->starts[i].offsets);
    }
    claims->has_starts = false;
    takeover_free(&claims->takeover);
    claims->count = 0;
    for (int i = 0; i < SLOTS; i++) {
        claims->followed[i] = -1;
    }
}

static void clear_inherited(struct process *process)
{
    for (int i = 0; i < MAILS; i++) {
        process->inherited[i].used = false;
    }
    memset(process->suspect_below, 0, sizeof(process->suspect_below));
}

void claims_drop(struct process *process)
{
    struct claims *claims = &process->claims;
    forget_takeover(process);
    clear_inherited(process);
    memset(claims->fenced, 0, sizeof(claims->fenced));
    claims->fencing = 0;
    claims->phase = PHASE_IDLE;
    claims->again = 0;
    claims->number++; /* answers to what was asked are passed over */
}

static struct process *asked(struct world *world, const struct event *event)
{
    struct process *process = running(world, event);
    return (uint64_t)event->b == process->claims.number ? process : NULL;
}

/* ---- what was committed ---- */

/* Breaks: the last checkpoint of the same writer instead of the one that is named. */
static int64_t last_checkpoint(const struct world *world, const struct ledger_metadata *metadata)
{
    int log = LOG_MOVED + metadata->slot;
    for (int64_t i = broker_end(world->broker, log) - 1; i > metadata->checkpoint; i--) {
        const struct entry *entry = broker_read(world->broker, log, i);
        struct ledger_checkpoint header;
        if (entry != NULL &&
            completion_read_checkpoint(slice_of(entry->bytes, entry->len), &header, NULL, NULL) &&
            slice_eq(header.writer, metadata->writer)) {
            return i;
        }
    }
    return metadata->checkpoint;
}

static void add_given(struct world *world, struct process *process,
                      const struct committed *committed)
{
    struct claims *claims = &process->claims;
    forget_takeover(process);
    clear_inherited(process);
    claims->takeover = takeover_create(TAKEOVER_BYTES);
    for (int i = 0; i < PARTITIONS; i++) {
        if ((process->assigned >> i & 1) == 0) {
            continue;
        }
        struct ledger_metadata metadata;
        char text[LEDGER_METADATA_MAX] = "";
        struct slice given = slice_cstr(committed[i].metadata);
        if (world->broken == BREAK_EXACT && ledger_metadata_parse(given, &metadata)) {
            metadata.checkpoint = last_checkpoint(world, &metadata);
            given = ledger_metadata_format(&metadata, text);
        }
        takeover_add(claims->takeover,
                     &(struct takeover_given){.topic = topic_of[i],
                                              .partition = i,
                                              .committed = committed[i].offset,
                                              .highest = broker_end(world->broker, i),
                                              .metadata = given,
                                              .mine = true});
        claims->mine[claims->count++] = i;
    }
}

static void fenced(struct world *world, struct event *event)
{
    struct process *process = asked(world, event);
    if (process != NULL) {
        process->claims.fencing--;
    }
}

static void fence_at_broker(struct world *world, struct event *event)
{
    broker_init_writer(world, (int)event->a);
    answer_from_broker(world, event, fenced, 0, event->b, NULL);
}

/* True: somebody has to be. */
static bool fence_owners(struct world *world, struct process *process)
{
    struct claims *claims = &process->claims;
    bool any = false;
    for (size_t i = 0; i < takeover_owners(claims->takeover); i++) {
        struct takeover_owner owner = takeover_owner(claims->takeover, i);
        int writer = owner.writer.ptr[1] - '0';
        if (owner.fence && writer != process->index && !claims->fenced[writer] &&
            world->broken != BREAK_FENCING) {
            claims->fenced[writer] = true;
            claims->fencing++;
            any = true;
            ask_broker(world, process, fence_at_broker, writer, (int64_t)claims->number, 0, NULL);
        }
    }
    return any;
}

/* ---- looking ---- */

static void begin_checkpoints(struct world *world, struct process *process);

static void looked(struct world *world, struct event *event)
{
    struct process *process = asked(world, event);
    bool settled = event->a != 0;
    if (process == NULL) {
        return;
    }
    add_given(world, process, event->data);
    bool any = fence_owners(world, process);
    if ((any || !settled) && world->broken != BREAK_LOOK_AGAIN) {
        process->claims.phase = PHASE_FENCING;
    } else {
        begin_checkpoints(world, process);
    }
}

/* An open transaction has yet to commit or drop an offset that is asked for. */
static bool is_unstable(const struct world *world, uint32_t partitions)
{
    for (int i = 0; i < WORKERS; i++) {
        int open = world->broker->writers[i].open;
        for (int p = 0; open >= 0 && p < PARTITIONS; p++) {
            if (in_mask(partitions, p) &&
                world->broker->transactions[open].pending[p].offset >= 0) {
                return true;
            }
        }
    }
    return false;
}

static void look_at_broker(struct world *world, struct event *event)
{
    if (event->a != 0 && is_unstable(world, (uint32_t)event->c) && world->broken != BREAK_STABLE &&
        world->broken != BREAK_FENCING) {
        struct event again = *event; /* the client asks until it is stable */
        later(world, 50 * MS, again);
        return;
    }
    struct committed *copy = mem_calloc(PARTITIONS, sizeof(*copy));
    memcpy(copy, world->broker->committed, sizeof(world->broker->committed));
    answer_from_broker(world, event, looked, event->a, event->b, copy);
}

static void look(struct world *world, struct process *process, bool settled)
{
    process->claims.phase = PHASE_LOOKING;
    ask_broker(world, process, look_at_broker, settled, (int64_t)process->claims.number,
               process->assigned, NULL);
}

void claims_given(struct world *world, struct process *process)
{
    claims_drop(process);
    world->takeovers++;
    look(world, process, false);
}

/* ---- reading slots ---- */

static void read_moved(struct world *world, struct event *event);
static void read_done(struct world *world, struct event *event);

/* Where the slots end: of moved for readers of committed records, and of done. */
static void ends_at_broker(struct world *world, struct event *event)
{
    int64_t *ends = mem_calloc(SLOTS, sizeof(*ends));
    bool moved = event->a != 0;
    for (int i = 0; i < SLOTS; i++) {
        ends[i] = moved ? broker_stable_end(world->broker, LOG_MOVED + i)
                        : broker_end(world->broker, LOG_DONE + i);
    }
    answer_from_broker(world, event, moved ? read_moved : read_done, 0, event->b, ends);
}

static void begin_checkpoints(struct world *world, struct process *process)
{
    process->claims.phase = PHASE_CHECKPOINTS;
    ask_broker(world, process, ends_at_broker, 1, (int64_t)process->claims.number, 0, NULL);
}

static void read_moved(struct world *world, struct event *event)
{
    struct process *process = asked(world, event);
    const int64_t *ends = event->data;
    bool all = true;
    if (process == NULL) {
        return;
    }
    struct claims *claims = &process->claims;
    for (size_t i = 0; i < takeover_owners(claims->takeover); i++) {
        struct takeover_owner owner = takeover_owner(claims->takeover, i);
        int log = LOG_MOVED + owner.slot;
        for (int64_t at = owner.from; at < ends[owner.slot] && !takeover_found(claims->takeover, i);
             at++) {
            const struct entry *entry = broker_read(world->broker, log, at);
            if (entry != NULL) {
                takeover_checkpoint(claims->takeover, owner.slot, at,
                                    slice_of(entry->bytes, entry->len));
            }
        }
        all = all && takeover_found(claims->takeover, i);
    }
    if (!all) { /* behind an open transaction of somebody else */
        claims->again = world->now + AGAIN;
        return;
    }
    claims->phase = PHASE_JOURNALS;
    claims->folded = false;
    claims->read = world->now;
    ask_broker(world, process, ends_at_broker, 0, (int64_t)claims->number, 0, NULL);
}

static void follow(struct world *world, struct process *process, const int64_t ends[SLOTS])
{
    struct claims *claims = &process->claims;
    for (int slot = 0; slot < SLOTS; slot++) {
        while (claims->followed[slot] >= 0 && claims->followed[slot] < ends[slot]) {
            int64_t offset = claims->followed[slot]++;
            const struct entry *entry = broker_read(world->broker, LOG_DONE + slot, offset);
            takeover_journal(claims->takeover, slot, offset, slice_of(entry->bytes, entry->len));
        }
    }
}

static void read_done(struct world *world, struct event *event)
{
    struct process *process = asked(world, event);
    if (process == NULL) {
        return;
    }
    struct claims *claims = &process->claims;
    for (size_t i = 0; i < takeover_slots(claims->takeover); i++) {
        struct takeover_slot slot = takeover_slot(claims->takeover, i);
        claims->followed[slot.slot] = slot.from;
    }
    follow(world, process, event->data);
    claims->folded = true;
}

/* ---- what came out ---- */

static void take_result(struct world *world, struct process *process, size_t index)
{
    struct claims *claims = &process->claims;
    struct takeover_result result;
    int partition = claims->mine[index];
    takeover_result(claims->takeover, index, &result);
    claims->starts[index].offset = result.base;
    claims->starts[index].claim = result.claim + 1;
    offsets_init(&claims->starts[index].offsets, result.base);
    bool sorted = offsets_import(&claims->starts[index].offsets, result.runs, result.run_count);
    CHECK(sorted);
    for (size_t i = 0; i < result.record_count; i++) {
        const struct takeover_record *one = &result.records[i];
        struct inherited *record = inherited_put(process, partition, one->offset, result.claim + 1);
        record->awaited = one->awaited && world->broken != BREAK_AWAIT;
        record->index = index;
        if (!record->awaited) {
            set_state(record, &one->state);
        }
        world->awaited += record->awaited;
    }
    process->suspect_below[partition] = result.suspect_below;
    tell(world, "%s takes over partition %d: claim %llu, from %lld, %zu runs, %zu records",
         process->name, partition, (unsigned long long)result.claim + 1, (long long)result.base,
         result.run_count, result.record_count);
}

static void begin_partitions(struct world *world, struct process *process);

static void begin_stating(struct world *world, struct process *process)
{
    struct claims *claims = &process->claims;
    claims->phase = PHASE_STATING;
    for (int i = 0; i < claims->count; i++) {
        take_result(world, process, (size_t)i);
    }
    claims->has_starts = true;
    const struct takeover_damage *damage = takeover_damage(claims->takeover);
    if (damage->first.kind != FAULT_NONE) {
        violated(world, "%s: damage: %s", process->name, damage->first.text);
    }
    state_inherited(world, process);
    claims->mark = writer_mark(process, INTAKE);
    writer_flush(world, process, INTAKE);
    if (world->broken == BREAK_CLAIM_FIRST && restate_is_ready(process)) {
        begin_partitions(world, process);
    }
}

/* kafka_consumer_begin(), group_assigned(). */
static void begin_partitions(struct world *world, struct process *process)
{
    struct claims *claims = &process->claims;
    if (process->group != GROUP_GIVEN) {
        return;
    }
    for (int i = 0; i < claims->count; i++) {
        struct owned *owned = &process->owned[claims->mine[i]];
        CHECK(!owned->ready);
        owned->ready = true;
        owned->claim = claims->starts[i].claim;
        world->begun[claims->mine[i]] = owned->claim;
        owned->offsets = claims->starts[i].offsets;
        owned->next = claims->starts[i].offset;
        owned->committed = owned->next;
        owned->look = 0;
    }
    claims->has_starts = false;
    claims->phase = PHASE_BEGUN;
    process->group = GROUP_OWNS;
    tenure_begin(process);
    tell(world, "%s begins with %x", process->name, process->assigned);
}

void claims_burst_over(struct world *world, struct process *process, enum burst_result result)
{
    struct claims *claims = &process->claims;
    if (claims->phase != PHASE_CLAIMING) {
        return; /* taken away meanwhile */
    }
    if (result != RESULT_COMMITTED) {
        claims->phase = PHASE_STATING;
        claims->again = world->now + AGAIN;
        return;
    }
    begin_partitions(world, process);
}

/* ---- what is awaited ---- */

static void settle_one(struct world *world, struct process *process,
                       const struct takeover_settled *settled)
{
    struct claims *claims = &process->claims;
    struct inherited *record =
        inherited_find(process, claims->mine[settled->index], settled->offset);
    if (world->broken == BREAK_AWAIT) {
        return;
    }
    CHECK(record != NULL && record->awaited);
    if (settled->closed) {
        record->awaited = false;
        record->closed = true;
        awaited_is_settled(world, process, record);
        return;
    }
    record->suspect = settled->suspect;
    set_state(record, &settled->state);
    write_state(world, process, INTAKE, record->partition, record->offset, record->claim,
                &record->state);
    record->stating = true;
    record->mark = writer_mark(process, INTAKE);
}

static void serve_begun(struct world *world, struct process *process)
{
    struct claims *claims = &process->claims;
    struct takeover_settled settled;
    int64_t ends[SLOTS];
    if (world->now < world->broker->down_until) {
        return;
    }
    for (int i = 0; i < SLOTS; i++) {
        ends[i] = broker_end(world->broker, LOG_DONE + i);
    }
    follow(world, process, ends); /* to the end: the last look is no other */
    if (takeover_awaited(claims->takeover) > 0 &&
        world->now - claims->read > takeover_wait_ms(claims->takeover) * MS) {
        takeover_stop_waiting(claims->takeover);
    }
    while (takeover_next_settled(claims->takeover, &settled)) {
        settle_one(world, process, &settled);
    }
    for (int i = 0; i < MAILS; i++) {
        struct inherited *record = &process->inherited[i];
        if (record->used && record->stating && writer_is_safe(process, INTAKE, record->mark)) {
            record->stating = false;
            record->awaited = false;
            takeover_forget(claims->takeover, record->index, record->offset);
            awaited_is_settled(world, process, record);
        }
    }
}

void claims_serve(struct world *world, struct process *process)
{
    struct claims *claims = &process->claims;
    if (world->now < claims->again) {
        return;
    }
    switch (claims->phase) {
    case PHASE_IDLE:
    case PHASE_LOOKING:
    case PHASE_CLAIMING: return;
    case PHASE_JOURNALS: /* our own slot's end must be known before anything is stated there */
        if (claims->folded && restate_is_ready(process)) {
            begin_stating(world, process);
        }
        return;
    case PHASE_FENCING:
        if (claims->fencing == 0 && process->epoch > 0) {
            look(world, process, true);
        }
        return;
    case PHASE_CHECKPOINTS:
        if (claims->again > 0) {
            claims->again = 0;
            begin_checkpoints(world, process);
        }
        return;
    case PHASE_STATING:
        if (restate_is_ready(process) && writer_is_safe(process, INTAKE, claims->mark) &&
            burst_submit(world, process, BURST_CLAIM)) {
            claims->phase = PHASE_CLAIMING;
        }
        return;
    case PHASE_BEGUN: serve_begun(world, process); return;
    }
}

static int index_of(const struct process *process, int partition)
{
    for (int i = 0; i < process->claims.count; i++) {
        if (process->claims.mine[i] == partition) {
            return i;
        }
    }
    return -1;
}

size_t claims_awaiting(struct process *process, int partition, struct ledger_awaited *out,
                       size_t max)
{
    int index = index_of(process, partition);
    return process->claims.takeover == NULL || index < 0
               ? 0
               : takeover_awaiting(process->claims.takeover, (size_t)index, out, max);
}

void claims_complete(struct process *process, const struct inherited *record)
{
    int index = index_of(process, record->partition);
    if (process->claims.takeover != NULL && index >= 0) {
        takeover_forget(process->claims.takeover, (size_t)index, record->offset);
    }
}
