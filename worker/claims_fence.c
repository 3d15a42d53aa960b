/* Who had the partitions and has not released them is fenced: see claims_private.h. */
#include "worker/claims_private.h"

#include "base/mem.h"

#define FENCING_MAGIC 0x46454e43u

/* Belongs to the transactions' thread until it is told. */
struct fencing {
    uint32_t magic;
    struct kafka_fencing kafka;
    struct claims *claims;
    char id[LEDGER_NAME_MAX + 1];
};

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
bool claims_fence_owners(struct claims *claims)
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
