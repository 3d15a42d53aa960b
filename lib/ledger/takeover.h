/*
 * What a new owner makes of what the earlier owners left behind. Pure: the caller reads Kafka and
 * tells what it found.
 *
 *   1. takeover_add()         every partition that is ours now with what was committed for it
 *   2. takeover_owner()       whom to fence, and where to read checkpoints (moved, read_committed)
 *      takeover_checkpoint()  every record of that slot from `from` on, in order, until
 *                             takeover_found() or the end
 *      takeover_step_back()   at the end: what was wanted was not there, read again from further
 *                             back
 *   3. takeover_slot()        where to read journals (done, uncommitted, to the high watermark)
 *      takeover_journal()     every record of that slot from `from` to the end, in any order
 *   4. takeover_result()      for each partition: base, runs, records
 *
 * The checkpoint of a partition is the one that its metadata names: whatever burst mentions the
 * partition commits it, too, so no later one can say anything about it. (The last checkpoint of the
 * same writer may be another process's of the same name, or of the time after it lost the
 * partition: its done_offset would hide what counts here.) Therefore a burst also commits again
 * every partition of its worker that was committed last more than LEDGER_RENEW_MS ago: that keeps
 * short what has to be read.
 *
 * Records that an earlier owner may still be sending are `awaited`. They need not hold up the rest:
 * claim the partition, put takeover_awaiting() into every checkpoint, hold a record that is taken
 * and awaited, go on feeding the tails of the slots to takeover_journal() (from where step 3
 * ended), and ask takeover_next_settled(). When wait_ms have passed since the checkpoint was *read*
 * (our own monotonic clock), read the slots once more to what is their end then, and
 * takeover_stop_waiting(): what is said by then is all there is. The state of a settled record is
 * to be restated in our own journal, and acknowledged, before takeover_forget() takes it out of our
 * checkpoints.
 *
 * What the state of a record asks for: every recipient in an outcome DELIVERED, BOUNCED, EXPIRED or
 * DROPPED is settled (its event is told again, with the same id); DEFERRED or UNCERTAIN: by due_ms
 * and policy, as the earlier owner would have; in_doubt: UNCERTAIN, an event and the policy;
 * UNTRIED and recipients that appear nowhere: fresh. A record without state is fresh altogether.
 *
 * Nothing that stands in a record can stop a takeover. What cannot be read is counted
 * (takeover_damage) and taken on the safe side: where a checkpoint or an entry was lost, every
 * recipient of a record below `suspect_below` of which nothing is known may have been sent to, and
 * is to be treated as in doubt (states say so themselves of what they know).
 */
#ifndef SLUICE_LEDGER_TAKEOVER_H
#define SLUICE_LEDGER_TAKEOVER_H

#include "ledger/journal.h"
#include "ledger/metadata.h"
#include "ledger/offsets.h"

struct takeover;

#define LEDGER_RENEW_MS 10000

/* `max_bytes` bounds what the fold keeps; past it entries count as damage. */
struct takeover *takeover_create(size_t max_bytes);
void takeover_free(struct takeover **takeover);

struct takeover_given {
    const char *topic;
    int32_t partition;
    int64_t committed; /* -1: none */
    int64_t lowest;    /* offset that the topic still has */
    int64_t highest;   /* the topic's high watermark; 0: not known (what is suspect has no end) */
    struct slice metadata;
    bool mine; /* given to us; others are passed over */
};
/* Copies what it needs. Each partition once, before anything else is told. */
void takeover_add(struct takeover *takeover, const struct takeover_given *given);

/* ---- checkpoints ---- */

struct takeover_owner {
    struct slice writer; /* transactional id */
    int32_t slot;
    int64_t from; /* offset in moved */
    bool fence;   /* did not release what we were given: fence it before reading */
};
/* Owners of partitions that are ours now; valid until the next takeover_* that changes anything. */
size_t takeover_owners(const struct takeover *takeover);
struct takeover_owner takeover_owner(const struct takeover *takeover, size_t index);

void takeover_checkpoint(struct takeover *takeover, int32_t slot, int64_t offset,
                         struct slice value);
/* All that was wanted of the owner has been told: nothing more need be read. */
bool takeover_found(const struct takeover *takeover, size_t owner);
/* True: a usable checkpoint was not found for each partition of the owner; its `from` lies further
 * back now (down to `lowest`, the first offset that the slot's partition of moved still has): read
 * again, all of it. False: found, or there is none. */
bool takeover_step_back(struct takeover *takeover, size_t owner, int64_t lowest);

/* ---- journals ---- */

struct takeover_slot {
    int32_t slot;
    int64_t from; /* offset in done */
};
/* Complete once all checkpoints were told. Each slot once. */
size_t takeover_slots(struct takeover *takeover);
struct takeover_slot takeover_slot(const struct takeover *takeover, size_t index);

void takeover_journal(struct takeover *takeover, int32_t slot, int64_t offset, struct slice value);

/* ---- what came out ---- */

struct takeover_record {
    int64_t offset;
    bool awaited; /* an earlier owner may still be sending it: hold it until settled */
    struct ledger_state state;
};

struct takeover_result {
    struct slice topic;
    int32_t partition;
    uint64_t claim;  /* of the last owner, 0: none; ours is one more */
    int64_t base;    /* where to read on */
    int64_t skipped; /* records deleted by retention before anybody completed them (at most) */
    const struct offsets_run *runs; /* for offsets_import(), all at or above base */
    size_t run_count;
    const struct takeover_record *records; /* ascending, none of them complete */
    size_t record_count;
    int64_t suspect_below; /* see above; 0: nothing was lost */
};
/* Number of partitions that are ours, in the order in which they were added. */
size_t takeover_partitions(const struct takeover *takeover);
/* Valid until takeover_free(). The first call ends the fold of the partition: from then on journals
 * change only what is awaited. */
void takeover_result(struct takeover *takeover, size_t index, struct takeover_result *result);

/* ---- what is awaited ---- */

/* Records awaited and not settled; the longest time that one of them has to be waited for. */
size_t takeover_awaited(const struct takeover *takeover);
int64_t takeover_wait_ms(const struct takeover *takeover);
/* For our checkpoints of that partition: at most `max`, returns how many in all. Valid until the
 * next takeover_* that changes anything. */
size_t takeover_awaiting(struct takeover *takeover, size_t index, struct ledger_awaited *out,
                         size_t max);

struct takeover_settled {
    size_t index; /* of the partition, as in takeover_result() */
    int64_t offset;
    bool closed;  /* complete: nothing is left to do. Else the state says what is left */
    bool suspect; /* recipients of which nothing is known are in doubt */
    struct ledger_state state;
};
/* Each awaited record once, when its earlier owner has closed or left it or was given up. *settled
 * is valid until the next takeover_* call. False: none at the moment. */
bool takeover_next_settled(struct takeover *takeover, struct takeover_settled *settled);
/* All that are awaited are settled now. */
void takeover_stop_waiting(struct takeover *takeover);
/* A settled record's state has been restated and acknowledged (or it is complete). */
void takeover_forget(struct takeover *takeover, size_t index, int64_t offset);

/* ---- what could not be read ---- */

struct takeover_damage {
    size_t metadata;      /* committed, but not by us: nothing is known above the offset */
    size_t checkpoints;   /* broken, or not the owner's where it should be */
    size_t no_checkpoint; /* partitions whose owner has no usable checkpoint */
    size_t journals;      /* broken records and entries */
    size_t over_limit;    /* entries that found no room */
    struct fault first;   /* says where: "moved[3] offset 17: …" */
};
const struct takeover_damage *takeover_damage(const struct takeover *takeover);

#endif
