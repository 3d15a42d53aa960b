/* What the files of the takeover share: see takeover.h. */
#ifndef SLUICE_LEDGER_TAKEOVER_PRIVATE_H
#define SLUICE_LEDGER_TAKEOVER_PRIVATE_H

#include "ledger/takeover.h"

#include "base/list.h"
#include "base/map.h"

#define FOLD_NONE SIZE_MAX /* no such index */

/* Somebody who wrote journals or checkpoints that count. */
struct fold_writer {
    char *name; /* owned */
    int32_t slot;
    /* Of owners, which come first: */
    int64_t from, until; /* offsets in moved between which the wanted checkpoints lie */
    bool fence;
    bool back; /* any earlier checkpoint will do */
};

/* Shared by the recipients of a record that it stands for. */
struct fold_outcome {
    size_t users;
    enum ledger_result result;
    uint16_t code;
    struct smtp_enhanced enhanced;
    int64_t due_ms;
    size_t out; /* while a state is built: its place there, from 1 … */
    size_t at;  /* … and where its next recipient goes */
    size_t text_len;
    char text[];
};

struct fold_recipient {
    uint32_t index;
    uint32_t turn;
    struct fold_outcome *outcome; /* NULL: in doubt */
};

/* Records that an earlier owner may still be sending; see struct ledger_awaited. */
struct fold_group {
    size_t writer;
    int64_t done_offset;
    uint64_t claim;
    int64_t wait_ms;
};

struct fold_record {
    int64_t offset;
    uint32_t turn;      /* the highest seen */
    uint32_t left_turn; /* … that is to be seen, when it was left */
    bool left, closed;
    bool settled; /* awaited no more */
    bool told;
    size_t group;     /* FOLD_NONE: never awaited */
    struct list node; /* in takeover.settled */
    struct fold_partition *partition;
    struct fold_recipient *recipients; /* ascending by index */
    size_t count, capacity;
    size_t bytes; /* charged */
};

struct fold_runs {
    struct offsets_run *runs;
    size_t count, capacity;
    size_t tidy; /* the first so many are ascending and apart */
};

/* States of records, one after the other. */
struct fold_states {
    struct ledger_outcome *outcomes;
    uint32_t *recipients;
    size_t outcome_count, outcome_capacity, recipient_count, recipient_capacity;
};

struct fold_partition {
    char *key;   /* owned: number and topic, as in takeover.by_name */
    char *topic; /* … in it */
    int32_t number;
    size_t index;
    int64_t base, lowest, highest;
    uint64_t claim;
    size_t owner;          /* index of the writer; FOLD_NONE: none */
    int64_t checkpoint;    /* the offset where its own lies */
    int64_t checkpoint_at; /* … where the one lies that was read; -1: none */
    int64_t done_offset;
    bool suspect; /* something that was said of it is lost */

    struct fold_runs runs;        /* complete: of the checkpoint and CLOSED */
    struct map records;           /* by offset */
    struct fold_record **awaited; /* ascending; not the forgotten ones */
    size_t awaited_count, awaited_capacity;
    int64_t *awaiting; /* offsets, for takeover_awaiting() */
    struct fold_group *groups;
    size_t group_count, group_capacity;

    bool built; /* the result is */
    int64_t skipped, suspect_below;
    struct takeover_record *result;
    size_t result_count;
    struct fold_states states;
};

struct takeover {
    size_t max_bytes, bytes;
    struct fold_writer *writers;
    size_t writer_count, writer_capacity, owner_count;
    struct fold_partition **partitions;
    size_t partition_count, partition_capacity;
    struct map by_name;
    struct completion_reader *reader;
    struct takeover_slot *slots;
    size_t slot_count, slot_capacity;
    struct list settled;       /* awaited no more, not told yet */
    size_t awaited;            /* not settled */
    struct fold_states states; /* for takeover_next_settled() */
    struct takeover_damage damage;
};

/* Room for one more element of `size` bytes. */
void *fold_grow(void *array, size_t count, size_t *capacity, size_t size);
/* False: over the limit; what it was for is lost, and the partition suspect. */
bool fold_charge(struct takeover *takeover, struct fold_partition *partition, size_t bytes);
/* NULL: not one of ours. */
struct fold_partition *fold_partition_of(const struct takeover *takeover,
                                         const struct ledger_partition *place);
/* Index of the writer; FOLD_NONE: unknown. */
size_t fold_writer_find(const struct takeover *takeover, struct slice name, int32_t slot);
size_t fold_writer_make(struct takeover *takeover, struct slice name, int32_t slot);
/* Counts, and remembers the first with where it was. */
void fold_damage(struct takeover *takeover, size_t *counter, const char *topic, int32_t slot,
                 int64_t offset, const char *what);

/* ---- takeover_record.c ---- */

struct fold_record *fold_record_find(const struct fold_partition *partition, int64_t offset);
/* The one that is there, or a new one. NULL: over the limit. */
struct fold_record *fold_record_make(struct takeover *takeover, struct fold_partition *partition,
                                     int64_t offset);
/* Takes it out of the partition, too. */
void fold_record_drop(struct takeover *takeover, struct fold_record *record);
void fold_record_free(struct fold_record *record);
/* INTENT, DONE or LEFT. */
void fold_record_take(struct takeover *takeover, struct fold_record *record,
                      const struct ledger_entry *entry);
bool fold_record_in_doubt(const struct fold_record *record);

/* Appends the record's state. Its pointers are set by fold_states_point(), called for each state in
 * the same order when nothing more is appended. */
void fold_states_add(struct fold_states *states, const struct fold_record *record, bool suspect,
                     struct ledger_state *state);
struct fold_point {
    size_t outcome, recipient;
};
void fold_states_point(const struct fold_states *states, struct fold_point *point,
                       struct ledger_state *state);
void fold_states_free(struct fold_states *states);

/* ---- takeover_runs.c ---- */

void fold_runs_add(struct takeover *takeover, struct fold_partition *partition, int64_t first,
                   int64_t last);
/* Ascending, apart and not touching. */
void fold_runs_tidy(struct fold_runs *runs);
/* Of tidy ones. */
bool fold_runs_have(const struct fold_runs *runs, int64_t offset);

/* ---- takeover_await.c ---- */

void fold_await(struct takeover *takeover, struct fold_partition *partition, size_t group,
                int64_t offset);
/* The awaited one at that offset, not forgotten; NULL: none. */
struct fold_record *fold_awaited(const struct fold_partition *partition, int64_t offset);
/* Closed by the group (FOLD_NONE: by any) from `first` to `last`. */
void fold_awaited_close(struct takeover *takeover, struct fold_partition *partition, size_t group,
                        int64_t first, int64_t last);
/* Settles the record if its earlier owner has said all of it, or by force. */
void fold_awaited_look(struct takeover *takeover, struct fold_record *record, bool force);
/* Forgets those that are settled already, when the result is built. */
void fold_awaited_settled(struct fold_partition *partition);

#endif
