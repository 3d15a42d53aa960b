/* Life and phases: see claims_private.h. */
#include "worker/claims_private.h"

#include "base/log.h"
#include "base/mem.h"

#define TAKEOVER_MAX_BYTES ((size_t)512 << 20)

void claims_enter(struct claims *claims, enum claims_phase phase)
{
    claims->phase = phase;
    claims->entered[phase] = mono_now();
}

void claims_failed(struct claims *claims, const struct fault *fault)
{
    log_warn("takeover-waits", "phase=%d reason=\"%s\"", (int)claims->phase, fault->text);
    claims->failed = true;
    claims->again = mono_add_ms(mono_now(), CLAIM_AGAIN_MS);
}

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

void claims_forget_takeover(struct claims *claims)
{
    struct list *node;
    if (claims->takeover == NULL) {
        return;
    }
    slots_stop(claims->moved);
    slots_stop(claims->done);
    claims_forget_starts(claims);
    while ((node = list_pop_front(&claims->stated)) != NULL) {
        mem_free(CONTAINER_OF(node, struct claims_stated, node));
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
    claims_forget_takeover(claims);
    inherited_clear(claims->parts.inherited);
    mem_free(claims->fenced);
    claims->fenced = NULL;
    claims->fenced_count = 0;
    claims->failed = false;
    claims_enter(claims, PHASE_IDLE);
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

static void add_given(struct claims *claims, const struct kafka_given *given, size_t count)
{
    claims_forget_takeover(claims);
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
        claims_failed(claims, &fault);
    }
}

void claims_read_some(struct claims *claims)
{
    struct fault fault;
    bool ok = claims->phase == PHASE_CHECKPOINTS
                  ? slots_read(claims->moved, take_checkpoint, claims->takeover, &fault)
                  : slots_read(claims->done, take_journal, claims->takeover, &fault);
    if (!ok) {
        claims_failed(claims, &fault);
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
    claims_enter(claims, PHASE_CHECKPOINTS);
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
    claims_enter(claims, PHASE_JOURNALS);
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
    claims_read_some(claims);
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
    if (claims_fence_owners(claims) || !settled) {
        claims_enter(claims, PHASE_FENCING);
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
        claims_enter(claims, PHASE_LOOKING);
        kafka_consumer_look(claims->parts.consumer);
        break;
    case PHASE_BEGUN:
    case PHASE_LAST_LOOK:
        if (!slots_start_again(claims->done, &fault)) {
            claims_failed(claims, &fault);
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
            claims_enter(claims, PHASE_LOOKING);
            kafka_consumer_look(claims->parts.consumer);
        }
        return;
    case PHASE_CHECKPOINTS: serve_checkpoints(claims); return;
    case PHASE_JOURNALS:
        claims_read_some(claims);
        if (!claims->failed && slots_ended(claims->done) &&
            restate_is_ready(claims->parts.restate)) {
            claims_begin_stating(claims);
        }
        return;
    case PHASE_STATING:
        if (journal_writer_is_safe(claims->parts.journal, claims->mark)) {
            claims_submit(claims);
        }
        return;
    case PHASE_BEGUN:
    case PHASE_LAST_LOOK: claims_serve_begun(claims, now); return;
    }
}
