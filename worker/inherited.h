/*
 * What earlier owners of our partitions left behind (ledger/takeover.h): records that are not
 * complete, but of which something is known. A record that is taken is looked for here; the state
 * goes with the mail, whose recipients are then dealt with accordingly:
 *
 *   settled      its event is told again, with the same derived id
 *   deferred     told again, goes into a tier with the time that was said
 *   in doubt     uncertain: told, then on-uncertain of its stream
 *   not named    fresh
 *
 * The table belongs to the intake thread. What is in it the intake's journal states again and
 * again, until the mail is given to a shard.
 */
#ifndef SLUICE_WORKER_INHERITED_H
#define SLUICE_WORKER_INHERITED_H

#include "ledger/takeover.h"
#include "worker/journal.h"
#include "worker/settle.h"

struct inherited;

/* One record, while it is in the table. */
struct inherited_record {
    struct {
        struct kafka_partition *partition;
        int64_t offset;
    } key;
    uint64_t claim;             /* ours */
    bool awaited;               /* an earlier owner may still be sending it: to be held */
    bool closed;                /* … has completed it: nothing is left to do */
    bool suspect;               /* recipients of which nothing is known may have been sent to */
    struct ledger_state *state; /* one block of memory; NULL: nothing is known (yet) */
    struct mail *held;          /* was taken while awaited; lent */
};

struct inherited *inherited_create(void);
void inherited_free(struct inherited **inherited);
/* The partitions have gone. */
void inherited_clear(struct inherited *inherited);

/* `state` is copied; NULL with awaited records of which nothing is known yet. */
struct inherited_record *inherited_put(struct inherited *inherited,
                                       struct kafka_partition *partition, int64_t offset,
                                       uint64_t claim, const struct ledger_state *state);
void inherited_set_state(struct inherited_record *record, const struct ledger_state *state);
/* Below that offset, whatever nothing is known of may have been sent. */
void inherited_suspect(struct inherited *inherited, struct kafka_partition *partition,
                       int64_t below);

struct inherited_record *inherited_at(const struct inherited *inherited,
                                      struct kafka_partition *partition, int64_t offset);
/* NULL: nothing is known of it. */
struct inherited_record *inherited_find(const struct inherited *inherited, const struct mail *mail);
bool inherited_is_suspect(const struct inherited *inherited, const struct mail *mail);
/* Out of the table; its state goes to the mail, when there is one. */
void inherited_give(struct inherited *inherited, struct inherited_record *record,
                    struct mail *mail);
/* States it, or all that is here. */
void inherited_state_one(const struct inherited_record *record, struct journal_writer *writer);
void inherited_restate(const struct inherited *inherited, struct journal_writer *writer);
size_t inherited_count(const struct inherited *inherited);

/* The mail was decoded, on its shard: its recipients as the state says. Afterwards none may be
 * pending: then the round is over. */
void inherited_apply(struct settler *settler, struct mail *mail);

#endif
