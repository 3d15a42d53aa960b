#include "worker/claims.h"

#include "worker/slots.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#define CLAIM_MAGIC 0x434c4149u
#define FENCING_MAGIC 0x46454e43u
#define TAKEOVER_MAX_BYTES ((size_t)512 << 20)
#define AGAIN_MS 500          /* after something failed */
#define SETTLED_PER_TURN 1000 /* awaited records */

enum phase {
    PHASE_IDLE,
    PHASE_FENCING,
    PHASE_LOOKING,
    PHASE_CHECKPOINTS,
    PHASE_JOURNALS,
    PHASE_STATING,
    PHASE_CLAIMING,
    PHASE_BEGUN,     /* something is awaited */
    PHASE_LAST_LOOK, /* the time is over: the slots are read to their end once more */
};

/* Belongs to the transactions' thread until it is told. */
struct fencing {
    uint32_t magic;
    struct kafka_fencing kafka;
    struct claims *claims;
    char id[LEDGER_NAME_MAX + 1];
};

/* An awaited record whose state is being stated. */
struct stated {
    struct list node;
    size_t index;
    int64_t offset;
    uint64_t mark;
    struct inherited_record *record;
};

struct claims {
    uint32_t magic;
    struct claims_parts parts;
    enum phase phase;
    struct mono_time began, again, read;
    bool failed; /* try again at `again` */

    char (*fenced)[LEDGER_NAME_MAX + 1]; /* in this assignment */
    size_t fenced_count;
    size_t fencing; /* under way, of whatever assignment */

    struct slots *moved, *done;
    struct takeover *takeover;
    uint64_t mark; /* behind what was stated */

    struct kafka_partition **mine; /* as in the takeover */
    size_t count;
    struct kafka_start *starts;
    struct offsets *offsets;
    struct list stated;
    size_t closed; /* awaited records that are complete and were not read yet */
};

/* ---- life ---- */

struct claims *claims_create(const struct claims_parts *parts, struct fault *fault)
{
    struct claims *claims = mem_zalloc(sizeof(*claims));
    claims->magic = CLAIM_MAGIC;
    claims->parts = *parts;
    list_init(&claims->stated);
    const struct worker_topics *topics = &parts->worker->topics;
    claims->moved = slots_create(parts->worker, topics->moved, true, parts->event_fd, fault);
    if (claims->moved != NULL) {
        claims->done = slots_create(parts->worker, topics->done, false, parts->event_fd, fault);
    }
    if (claims->done == NULL) {
        claims_free(&claims);
        return NULL;
    }
    return claims;
}

static void forget_starts(struct claims *claims)
{
    for (size_t i = 0; claims->offsets != NULL && i < claims->count; i++) {
        offsets_free(&claims->offsets[i]);
    }
    mem_free(claims->offsets);
    mem_free(claims->starts);
    claims->offsets = NULL;
    claims->starts = NULL;
}

static void forget_takeover(struct claims *claims)
{
    struct list *node;
    if (claims->takeover == NULL) {
        return;
    }
    slots_stop(claims->moved);
    slots_stop(claims->done);
    forget_starts(claims);
    while ((node = list_pop_front(&claims->stated)) != NULL) {
        mem_free(CONTAINER_OF(node, struct stated, node));
    }
    takeover_free(&claims->takeover);
    mem_free(claims->mine);
    claims->mine = NULL;
    claims->count = 0;
    claims->closed = 0;
}

void claims_drop(struct claims *claims)
{
    CHECK_MAGIC(claims, CLAIM_MAGIC);
    forget_takeover(claims);
    inherited_clear(claims->parts.inherited);
    mem_free(claims->fenced);
    claims->fenced = NULL;
    claims->fenced_count = 0;
    claims->failed = false;
    claims->phase = PHASE_IDLE;
}

void claims_free(struct claims **handle)
{
    struct claims *claims = *handle;
    if (claims == NULL) {
        return;
    }
    claims_drop(claims);
    CHECK(claims->fencing == 0); /* told when the transactions were freed */
    slots_free(&claims->moved);
    slots_free(&claims->done);
    claims->magic = 0;
    mem_free(claims);
    *handle = NULL;
}

/* ---- who had them ---- */

static bool is_fenced(const struct claims *claims, struct slice id)
{
    if (slice_eq(id, slice_cstr(claims->parts.worker->transactional_id))) {
        return true; /* ours: the burst's producer is initialised */
    }
    for (size_t i = 0; i < claims->fenced_count; i++) {
        if (slice_eq(id, slice_cstr(claims->fenced[i]))) {
            return true;
        }
    }
    return false;
}

static void fencing_done(struct kafka_fencing *kafka, const struct fault *fault)
{
    struct fencing *fencing = CONTAINER_OF(kafka, struct fencing, kafka);
    CHECK_MAGIC(fencing, FENCING_MAGIC);
    (void)fault; /* only at the end of everything */
    fencing->claims->fencing--;
    fencing->magic = 0;
    mem_free(fencing);
}

static void fence(struct claims *claims, struct slice id)
{
    struct fencing *fencing = mem_zalloc(sizeof(*fencing));
    CHECK(id.len <= LEDGER_NAME_MAX); /* the metadata's parser has looked */
    fencing->magic = FENCING_MAGIC;
    fencing->claims = claims;
    memcpy(fencing->id, id.ptr, id.len);
    fencing->kafka.transactional_id = fencing->id;
    fencing->kafka.done = fencing_done;
    claims->fenced =
        mem_realloc(claims->fenced, (claims->fenced_count + 1) * sizeof(*claims->fenced));
    memcpy(claims->fenced[claims->fenced_count++], fencing->id, sizeof(fencing->id));
    claims->fencing++;
    kafka_txn_fence(burst_txn(claims->parts.burst), &fencing->kafka);
}

/* True: somebody has to be. */
static bool fence_owners(struct claims *claims)
{
    bool any = false;
    for (size_t i = 0; i < takeover_owners(claims->takeover); i++) {
        struct takeover_owner owner = takeover_owner(claims->takeover, i);
        if (owner.fence && !is_fenced(claims, owner.writer)) {
            fence(claims, owner.writer);
            any = true;
        }
    }
    return any;
}

static void add_given(struct claims *claims, const struct kafka_given *given, size_t count)
{
    forget_takeover(claims);
    inherited_clear(claims->parts.inherited);
    claims->takeover = takeover_create(TAKEOVER_MAX_BYTES);
    claims->mine = mem_calloc(count + 1, sizeof(struct kafka_partition *));
    for (size_t i = 0; i < count; i++) {
        const struct takeover_given one = {
            .topic = kafka_partition_topic(given[i].partition),
            .partition = kafka_partition_id(given[i].partition),
            .committed = given[i].committed,
            .lowest = given[i].lowest,
            .highest = given[i].highest,
            .metadata = slice_cstr(given[i].metadata),
            .mine = given[i].mine,
        };
        if (given[i].mine) {
            takeover_add(claims->takeover, &one);
            claims->mine[claims->count++] = given[i].partition;
        }
    }
    CHECK(takeover_partitions(claims->takeover) == claims->count);
}

/* ---- reading slots ---- */

static void failed(struct claims *claims, const struct fault *fault)
{
    log_warn("takeover-waits", "phase=%d reason=\"%s\"", (int)claims->phase, fault->text);
    claims->failed = true;
    claims->again = mono_add_ms(mono_now(), AGAIN_MS);
}

static void take_checkpoint(void *owner, int32_t slot, int64_t offset, struct slice value)
{
    takeover_checkpoint(owner, slot, offset, value);
}

static void take_journal(void *owner, int32_t slot, int64_t offset, struct slice value)
{
    takeover_journal(owner, slot, offset, value);
}

static void start(struct claims *claims, struct slots *slots)
{
    struct fault fault;
    if (!slots_start(slots, &fault)) {
        failed(claims, &fault);
    }
}

static void read_some(struct claims *claims)
{
    struct fault fault;
    bool ok = claims->phase == PHASE_CHECKPOINTS
                  ? slots_read(claims->moved, take_checkpoint, claims->takeover, &fault)
                  : slots_read(claims->done, take_journal, claims->takeover, &fault);
    if (!ok) {
        failed(claims, &fault);
    }
}

static bool all_found(const struct claims *claims)
{
    for (size_t i = 0; i < takeover_owners(claims->takeover); i++) {
        if (!takeover_found(claims->takeover, i)) {
            return false;
        }
    }
    return true;
}

static void begin_checkpoints(struct claims *claims)
{
    claims->phase = PHASE_CHECKPOINTS;
    for (size_t i = 0; i < takeover_owners(claims->takeover); i++) {
        struct takeover_owner owner = takeover_owner(claims->takeover, i);
        if (!takeover_found(claims->takeover, i)) {
            slots_want(claims->moved, owner.slot, owner.from);
        }
    }
    start(claims, claims->moved);
}

static void begin_journals(struct claims *claims)
{
    claims->phase = PHASE_JOURNALS;
    claims->read = mono_now();
    for (size_t i = 0; i < takeover_slots(claims->takeover); i++) {
        struct takeover_slot slot = takeover_slot(claims->takeover, i);
        slots_want(claims->done, slot.slot, slot.from);
    }
    start(claims, claims->done);
}

static void serve_checkpoints(struct claims *claims)
{
    bool back = false;
    read_some(claims);
    if (claims->failed || !(all_found(claims) || slots_ended(claims->moved)) ||
        !claims->parts.is_said(claims->parts.owner)) {
        return;
    }
    slots_stop(claims->moved);
    for (size_t i = 0; !all_found(claims) && i < takeover_owners(claims->takeover); i++) {
        /* A slot that is asked for less than there is begins with what there is. */
        back = takeover_step_back(claims->takeover, i, 0) || back;
    }
    if (back) {
        begin_checkpoints(claims);
    } else {
        begin_journals(claims);
    }
}

/* ---- what came out ---- */

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

static void begin_stating(struct claims *claims)
{
    claims->phase = PHASE_STATING;
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

static void submit(struct claims *claims)
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
        claims->phase = PHASE_CLAIMING;
    } else if (fault.kind != FAULT_LIMIT) {
        /* FAULT_CLOSED: the group will take them back. Others are tried again. */
        failed(claims, &fault);
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
        claims->phase = PHASE_STATING;
        claims->failed = true;
        claims->again = mono_add_ms(mono_now(), AGAIN_MS);
        return;
    }
    if (!kafka_consumer_begin(claims->parts.consumer, claims->starts, claims->count)) {
        return; /* the consumer will say so */
    }
    log_info("takeover", "partitions=%zu inherited=%zu awaited=%zu ms=%lld", claims->count,
             inherited_count(claims->parts.inherited), takeover_awaited(claims->takeover),
             (long long)(mono_since_us(mono_now(), claims->began) / 1000));
    forget_starts(claims);
    claims->phase = PHASE_BEGUN;
}

/* ---- what is awaited ---- */

static void settle_one(struct claims *claims, const struct takeover_settled *settled)
{
    struct inherited *inherited = claims->parts.inherited;
    struct inherited_record *record =
        inherited_at(inherited, claims->mine[settled->index], settled->offset);
    CHECK(record != NULL && record->awaited);
    if (settled->closed) {
        record->awaited = false;
        record->closed = true;
        claims->closed++;
        claims->parts.settled(claims->parts.owner, record);
        return;
    }
    record->suspect = settled->suspect;
    inherited_set_state(record, &settled->state);
    inherited_state_one(record, claims->parts.journal);
    struct stated *stated = mem_zalloc(sizeof(*stated));
    stated->index = settled->index;
    stated->offset = settled->offset;
    stated->mark = journal_writer_mark(claims->parts.journal);
    stated->record = record;
    list_push_back(&claims->stated, &stated->node);
}

static void serve_awaited(struct claims *claims)
{
    struct takeover_settled settled;
    for (int i = 0; i < SETTLED_PER_TURN && takeover_next_settled(claims->takeover, &settled);
         i++) {
        settle_one(claims, &settled);
    }
    while (!list_empty(&claims->stated)) {
        struct stated *stated = CONTAINER_OF(claims->stated.next, struct stated, node);
        if (!journal_writer_is_safe(claims->parts.journal, stated->mark)) {
            break;
        }
        list_remove(&stated->node);
        takeover_forget(claims->takeover, stated->index, stated->offset);
        stated->record->awaited = false;
        claims->parts.settled(claims->parts.owner, stated->record);
        mem_free(stated);
    }
}

/* The time is over: what is said by now is read once more. */
static void look_last(struct claims *claims)
{
    struct fault fault;
    claims->phase = PHASE_LAST_LOOK;
    if (!slots_start_again(claims->done, &fault)) {
        failed(claims, &fault);
    }
}

static void serve_begun(struct claims *claims, struct mono_time now)
{
    read_some(claims);
    if (claims->failed) {
        return;
    }
    size_t awaited = takeover_awaited(claims->takeover);
    int64_t waited_ms = mono_since_us(now, claims->read) / 1000;
    if (claims->phase == PHASE_BEGUN && awaited > 0 &&
        waited_ms > takeover_wait_ms(claims->takeover)) {
        look_last(claims);
    } else if (claims->phase == PHASE_LAST_LOOK && slots_ended(claims->done)) {
        log_info("takeover-waited", "given_up=%zu", awaited);
        takeover_stop_waiting(claims->takeover);
        claims->phase = PHASE_BEGUN;
    }
    serve_awaited(claims);
    if (takeover_awaited(claims->takeover) == 0 && list_empty(&claims->stated)) {
        slots_stop(claims->done); /* nothing more can come */
        if (claims->closed == 0) {
            forget_takeover(claims);
            claims->phase = PHASE_IDLE;
        }
    }
}

/* ---- the owner's calls ---- */

void claims_given(struct claims *claims, const struct kafka_given *given, size_t count,
                  bool settled)
{
    CHECK_MAGIC(claims, CLAIM_MAGIC);
    if (!settled) {
        claims_drop(claims);
        claims->began = mono_now();
    }
    add_given(claims, given, count);
    if (fence_owners(claims) || !settled) {
        claims->phase = PHASE_FENCING;
    } else {
        begin_checkpoints(claims);
    }
    claims_serve(claims, mono_now());
}

/* What failed is begun again. */
static void try_again(struct claims *claims, struct mono_time now)
{
    struct fault fault;
    if (mono_before(now, claims->again)) {
        return;
    }
    claims->failed = false;
    switch (claims->phase) {
    case PHASE_CHECKPOINTS:
    case PHASE_JOURNALS:
        claims->phase = PHASE_LOOKING;
        kafka_consumer_look(claims->parts.consumer);
        break;
    case PHASE_BEGUN:
    case PHASE_LAST_LOOK:
        if (!slots_start_again(claims->done, &fault)) {
            failed(claims, &fault);
        }
        break;
    case PHASE_IDLE:
    case PHASE_FENCING:
    case PHASE_LOOKING:
    case PHASE_STATING:
    case PHASE_CLAIMING: break;
    }
}

void claims_serve(struct claims *claims, struct mono_time now)
{
    CHECK_MAGIC(claims, CLAIM_MAGIC);
    if (claims->failed) {
        try_again(claims, now);
        return;
    }
    switch (claims->phase) {
    case PHASE_IDLE:
    case PHASE_LOOKING:
    case PHASE_CLAIMING: return;
    case PHASE_FENCING:
        if (claims->fencing == 0 && kafka_txn_ready(burst_txn(claims->parts.burst))) {
            claims->phase = PHASE_LOOKING;
            kafka_consumer_look(claims->parts.consumer);
        }
        return;
    case PHASE_CHECKPOINTS: serve_checkpoints(claims); return;
    case PHASE_JOURNALS:
        read_some(claims);
        if (!claims->failed && slots_ended(claims->done) &&
            restate_is_ready(claims->parts.restate)) {
            begin_stating(claims);
        }
        return;
    case PHASE_STATING:
        if (journal_writer_is_safe(claims->parts.journal, claims->mark)) {
            submit(claims);
        }
        return;
    case PHASE_BEGUN:
    case PHASE_LAST_LOOK: serve_begun(claims, now); return;
    }
}

static bool index_of(const struct claims *claims, const struct kafka_partition *partition,
                     size_t *index)
{
    for (*index = 0; *index < claims->count; ++*index) {
        if (claims->mine[*index] == partition) {
            return true;
        }
    }
    return false;
}

size_t claims_awaiting(const struct claims *claims, const struct kafka_partition *partition,
                       struct ledger_awaited *out, size_t max)
{
    size_t index;
    return claims->takeover != NULL && index_of(claims, partition, &index)
               ? takeover_awaiting(claims->takeover, index, out, max)
               : 0;
}

void claims_complete(struct claims *claims, const struct inherited_record *record)
{
    size_t index;
    if (claims->takeover != NULL && index_of(claims, record->key.partition, &index)) {
        takeover_forget(claims->takeover, index, record->key.offset);
        claims->closed--;
    }
}
