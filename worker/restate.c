#include "worker/restate.h"

#include "worker/shard.h"
#include "worker/worker.h"

#include "base/mem.h"

#define RESTATE_MAGIC 0x52535441u
#define RESTATE_EVERY_MS 5000

struct restate {
    uint32_t magic;
    struct worker *worker;
    struct journal_writer *journal;
    const struct restate_ops *ops;
    void *owner;
    uint64_t begun;      /* mark behind our first batch */
    int64_t done_offset; /* -1: not known yet */
    struct mono_time next;
    /* The round under way. */
    int64_t end;      /* -1: there is none */
    uint32_t missing; /* shards that have not answered */
    bool stated;      /* we, too: */
    uint64_t mark;    /* … it is on Kafka when this is */
};

struct restate *restate_create(struct worker *worker, struct journal_writer *journal,
                               const struct restate_ops *ops, void *owner)
{
    struct restate *restate = mem_zalloc(sizeof(*restate));
    restate->magic = RESTATE_MAGIC;
    restate->worker = worker;
    restate->journal = journal;
    restate->ops = ops;
    restate->owner = owner;
    restate->begun = journal_writer_begin(journal);
    restate->done_offset = restate->end = -1;
    return restate;
}

void restate_free(struct restate **handle)
{
    if (*handle != NULL) {
        CHECK_MAGIC(*handle, RESTATE_MAGIC);
        (*handle)->magic = 0;
        mem_free(*handle);
        *handle = NULL;
    }
}

bool restate_is_ready(struct restate *restate)
{
    CHECK_MAGIC(restate, RESTATE_MAGIC);
    if (restate->done_offset < 0 && journal_writer_is_safe(restate->journal, restate->begun)) {
        restate->done_offset = restate->worker->journal_end;
    }
    return restate->done_offset >= 0;
}

int64_t restate_done_offset(const struct restate *restate)
{
    CHECK(restate->done_offset >= 0);
    return restate->done_offset;
}

static void begin(struct restate *restate, struct mono_time now)
{
    const struct worker *worker = restate->worker;
    restate->next = mono_add_ms(now, RESTATE_EVERY_MS);
    restate->end = worker->journal_end;
    restate->missing = worker->shard_count;
    restate->stated = false;
    restate->ops->inherited(restate->owner);
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_ask(worker->shards[i], SHARD_RESTATE, 0);
    }
}

void restate_serve(struct restate *restate, struct mono_time now)
{
    if (!restate_is_ready(restate)) {
        return;
    }
    if (restate->end < 0) {
        if (!mono_before(now, restate->next)) {
            begin(restate, now);
        }
        return;
    }
    if (restate->missing == 0 && !restate->stated) {
        restate->ops->home(restate->owner);
        restate->mark = journal_writer_mark(restate->journal);
        restate->stated = true;
    }
    if (restate->stated && journal_writer_is_safe(restate->journal, restate->mark)) {
        restate->done_offset = restate->end;
        restate->end = -1;
    }
}

void restate_answered(struct restate *restate)
{
    CHECK_MAGIC(restate, RESTATE_MAGIC);
    CHECK(restate->missing > 0);
    restate->missing--;
}
