/*
 * A claim in its phases (claims.h): what its files share. claims.c goes from phase to phase and
 * reads the slots, claims_fence.c shuts former owners out, claims_state.c states and commits what
 * came out, claims_awaited.c settles what they may still be sending.
 */
#ifndef SLUICE_WORKER_CLAIMS_PRIVATE_H
#define SLUICE_WORKER_CLAIMS_PRIVATE_H

#include "worker/claims.h"

#include "worker/slots.h"
#include "worker/worker.h"

#define CLAIM_MAGIC 0x434c4149u
#define CLAIM_AGAIN_MS 500 /* after something failed */

enum claims_phase {
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
#define PHASES (PHASE_LAST_LOOK + 1)

/* An awaited record whose state is being stated. */
struct claims_stated {
    struct list node;
    size_t index;
    int64_t offset;
    uint64_t mark;
    struct inherited_record *record;
};

struct claims {
    uint32_t magic;
    struct claims_parts parts;
    enum claims_phase phase;
    struct mono_time entered[PHASES]; /* last */
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

void claims_enter(struct claims *claims, enum claims_phase phase);
/* It is tried again a little later. */
void claims_failed(struct claims *claims, const struct fault *fault);
/* Of the slots that the phase is about. */
void claims_read_some(struct claims *claims);
void claims_forget_takeover(struct claims *claims);

/* True: somebody has to be. */
bool claims_fence_owners(struct claims *claims);

void claims_begin_stating(struct claims *claims);
void claims_submit(struct claims *claims);
void claims_forget_starts(struct claims *claims);

void claims_serve_begun(struct claims *claims, struct mono_time now);

#endif
