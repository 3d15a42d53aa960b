/* What earlier owners may still be sending: see claims_private.h. */
#include "worker/claims_private.h"

#include "base/log.h"
#include "base/mem.h"

#define SETTLED_PER_TURN 1000 /* awaited records */

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
    struct claims_stated *stated = mem_zalloc(sizeof(*stated));
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
        struct claims_stated *stated =
            CONTAINER_OF(claims->stated.next, struct claims_stated, node);
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
    claims_enter(claims, PHASE_LAST_LOOK);
    if (!slots_start_again(claims->done, &fault)) {
        claims_failed(claims, &fault);
    }
}

void claims_serve_begun(struct claims *claims, struct mono_time now)
{
    claims_read_some(claims);
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
        claims_enter(claims, PHASE_BEGUN);
    }
    serve_awaited(claims);
    if (takeover_awaited(claims->takeover) == 0 && list_empty(&claims->stated)) {
        slots_stop(claims->done); /* nothing more can come */
        if (claims->closed == 0) {
            claims_forget_takeover(claims);
            claims_enter(claims, PHASE_IDLE);
        }
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
