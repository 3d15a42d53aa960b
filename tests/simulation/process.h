/*
 * A worker: the real code of lib/ledger, driven in the order of worker/. Each part names the file
 * that it mirrors; where one changes, so must the other. Threads are the intake and two shards;
 * what goes between them goes through boxes that keep order and take time.
 */
#ifndef SLUICE_TESTS_SIMULATION_PROCESS_H
#define SLUICE_TESTS_SIMULATION_PROCESS_H

#include "simulation/broker.h"
#include "simulation/worker.h"

#include "ledger/checkpoint.h"
#include "ledger/gate.h"
#include "ledger/takeover.h"

#define THREADS (SHARDS + 1)
#define INTAKE SHARDS /* number of the intake's thread */
#define MAILS 256
#define TENURES 64
#define BATCHES 512

/* ---- what is known of a record's recipients ---- */

enum known { KNOWN_NOTHING, KNOWN_DOUBT, KNOWN_OUTCOME };

struct state {
    uint32_t turn;
    enum known known[RCPTS];
    enum ledger_result result[RCPTS];
    int64_t due[RCPTS];
};

/* ---- journal.c: worker/journal.h ---- */

struct batch {
    uint64_t number;
    int64_t begun;
};

struct writer_thread {
    struct journal *open;
    uint64_t open_number, safe;
    struct batch unsafe[BATCHES]; /* in order */
    int unsafe_count;
    bool lingers;
    struct {
        struct ledger_place place;
        uint32_t turn;
        uint64_t mark;
    } leaving[MAILS];
    int leaving_count;
};

/* ---- worker/mail.h ---- */

enum where {
    WHERE_FREE,
    WHERE_BOX,   /* between threads */
    WHERE_QUEUE, /* of its shard's lane */
    WHERE_SESSION,
    WHERE_HELD,  /* at the intake: awaited, or the rest of its time in a tier */
    WHERE_HOME,  /* settled; its events are not acknowledged */
    WHERE_WAITS, /* for a burst */
    WHERE_BURST,
};

enum rcpt { RCPT_PENDING, RCPT_DEFERRED, RCPT_KEPT, RCPT_SETTLED, RCPT_NONE };

struct mail {
    enum where where;
    uint32_t serial; /* of its place in the array: answers to an earlier one are passed over */
    int partition;
    int64_t offset;
    uint64_t claim;
    uint32_t tenure;
    struct record record;
    int shard; /* whose it is, or to which it goes */
    enum rcpt rcpts[RCPTS];
    struct state state;
    bool journaled, in_flight, forget;
    bool has_inherited, suspect;
    struct state inherited;
    int64_t due; /* by the clock of its worker */
    int tier;    /* partition of the copy */
    int events;  /* not acknowledged */
    int sessions_lost;
    /* The transaction. */
    uint32_t sends;   /* recipients */
    uint32_t session; /* number of the transaction: answers to an earlier one come too late */
    uint64_t intent;
    bool waits_for_intent, past_dot;
    uint32_t dots; /* recipients whose dot went out; the marks of their last INTENT */
    uint64_t intents[RCPTS];
};

struct inherited {
    bool used;
    int partition;
    int64_t offset;
    uint64_t claim;
    bool awaited, closed, suspect, has_state;
    struct state state;
    int held; /* mail; -1: none */
    size_t index;
    bool stating;
    uint64_t mark;
};

struct owned {
    bool ready; /* offsets are in use */
    uint64_t claim;
    struct offsets offsets;
    int64_t next, committed, renewed;
    int64_t look; /* at a tier's head again, not before */
};

/* ---- worker/burst.h ---- */

enum burst_kind { BURST_USUAL, BURST_CLAIM, BURST_RELEASE };
enum burst_result { RESULT_COMMITTED, RESULT_ABORTED, RESULT_LOST };

/* On its way to the broker, and until it is known what became of it. */
struct burst {
    bool busy;
    enum burst_kind kind;
    int transaction;
    int member, generation;
    int64_t asked; /* the group */
    int64_t checkpoint_offset;
    struct strbuf checkpoint;
    struct {
        int partition;
        int64_t offset;
        uint64_t claim;
    } offsets[PARTITIONS];
    int offset_count;
    int64_t last_end;
    bool changed;
};

/* ---- worker/claims.h ---- */

enum phase {
    PHASE_IDLE,
    PHASE_FENCING,
    PHASE_LOOKING,
    PHASE_CHECKPOINTS,
    PHASE_JOURNALS,
    PHASE_STATING,
    PHASE_CLAIMING,
    PHASE_BEGUN,
};

struct claims {
    enum phase phase;
    struct takeover *takeover;
    int mine[PARTITIONS]; /* as in the takeover */
    int count;
    bool fenced[WORKERS];
    int fencing;
    uint64_t mark;
    int64_t read; /* when the checkpoints were */
    int64_t again;
    bool folded;
    struct {
        int64_t offset;
        uint64_t claim;
        struct offsets offsets;
    } starts[PARTITIONS];
    bool has_starts;
    int64_t followed[SLOTS]; /* of done, told so far; -1: not followed */
    uint64_t number;
};

/* ---- worker/evict.c ---- */

enum leaving {
    LEAVING_NOT,
    LEAVING_ANSWERS,
    LEAVING_RUNNING,
    LEAVING_DRAINING, /* what runs may finish */
    LEAVING_CUT,
    LEAVING_RELEASE,
    LEAVING_RELEASING,
    LEAVING_FLUSH, /* the end of a drain: what was said goes to Kafka */
};

enum group { GROUP_OUT, GROUP_JOINING, GROUP_GIVEN, GROUP_OWNS };

enum tenure_state { TENURE_OWNED, TENURE_LEAVING, TENURE_RELEASED, TENURE_LOST };

struct in_flight {
    int partition;
    int64_t offset;
};

struct process {
    int index;
    uint32_t incarnation;
    bool alive;
    int64_t stopped_until;
    int64_t wall;  /* its host's clock of the day: so far from true time */
    char name[16]; /* its transactional id */
    int32_t slot;

    enum group group;
    int member, generation;
    uint32_t assigned;      /* bits */
    int64_t contact, heard; /* of the group: by commits, by heartbeats */
    bool revoked;           /* the group wants its partitions back */

    uint32_t tenure; /* number of the last */
    enum tenure_state tenures[TENURES];
    int64_t left[TENURES];

    struct writer_thread writers[THREADS];
    int64_t journal_end;
    uint32_t last_serial; /* of a mail */
    int64_t box_last[THREADS];

    /* worker/restate.c */
    uint64_t restate_begun, restate_mark;
    int64_t done_offset, restate_end, restate_next;
    int restate_missing;
    bool restate_stated;

    struct mail mails[MAILS];
    struct owned owned[PARTITIONS];
    struct inherited inherited[MAILS];
    int64_t suspect_below[PARTITIONS];

    int epoch; /* of its transactional id; 0: not initialised */
    struct burst burst;
    struct claims claims;

    enum leaving leaving;
    bool lost; /* heard from the group, not dealt with yet */
    bool draining, leaving_lost, leaving_drain;
    int64_t leaving_since, release_until;
    uint64_t eviction;
    int answers_missing;
    uint64_t answer_marks[SHARDS]; /* shards: to be answered when safe; 0: none */
    uint64_t answer_numbers[SHARDS];
    uint64_t restate_marks[SHARDS];
    struct in_flight in_flight[MAILS];
    int in_flight_count;
};

/* ---- process.c: time, threads, the group ---- */

void at_thread(struct world *world, struct process *process, int64_t delay,
               void (*run)(struct world *world, struct event *event), int64_t a, int64_t b);
/* Into a thread's box. */
void post(struct world *world, struct process *process, int thread,
          void (*run)(struct world *world, struct event *event), int64_t a, int64_t b);
/* To the broker and what it does there; when it is down, later. Dies with the process perhaps. */
void ask_broker(struct world *world, const struct process *process,
                void (*run)(struct world *world, struct event *event), int64_t a, int64_t b,
                int64_t c, void *data);
/* From there: back to who asked. */
void answer_from_broker(struct world *world, const struct event *question,
                        void (*run)(struct world *world, struct event *event), int64_t a, int64_t b,
                        void *data);
/* What its clock of the day says. */
static inline int64_t wall_of(const struct world *world, const struct process *process)
{
    return world->now + process->wall;
}
/* On the thread: whose it is. */
struct process *running(struct world *world, const struct event *event);

/* All is given up: joins the group again, or leaves it and ends. */
void process_gave_up(struct world *world, struct process *process, bool lost);

/* worker/tenure.h */
enum tenure_state tenure_of(const struct process *process, uint32_t number);
bool tenure_may_end(const struct world *world, const struct process *process,
                    const struct mail *mail);
bool contact_is_fresh(const struct world *world, const struct process *process);
void tenure_begin(struct process *process);
void tenure_set(struct process *process, enum tenure_state state);
void tenure_leave(struct world *world, struct process *process);
/* What was past the dot and not known to be on Kafka is pardoned, where INTENT is not waited for.
 */
void pardon(struct world *world, const struct process *process);
void pardon_mail(struct world *world, const struct process *process, const struct mail *mail);

/* ---- journal.c ---- */

void writers_create(struct process *process);
void writers_free(struct process *process);
uint64_t writer_mark(const struct process *process, int thread);
bool writer_is_safe(const struct process *process, int thread, uint64_t mark);
void writer_flush(struct world *world, struct process *process, int thread);
bool writer_is_stuck(const struct world *world, const struct process *process, int thread);
void write_intent(struct world *world, struct process *process, struct mail *mail, uint32_t mask);
void write_done(struct world *world, struct process *process, struct mail *mail, uint32_t mask);
void write_closed(struct world *world, struct process *process, const struct mail *mail);
void write_left(struct world *world, struct process *process, const struct mail *mail);
void write_state(struct world *world, struct process *process, int thread, int partition,
                 int64_t offset, uint64_t claim, const struct state *state);
void restate_mail(struct world *world, struct process *process, int thread,
                  const struct mail *mail);
void restate_create(struct world *world, struct process *process);
bool restate_is_ready(struct process *process);
void restate_serve(struct world *world, struct process *process);
/* A shard's box. */
void shard_restates(struct world *world, struct event *event);
/* More of a thread's entries are on Kafka. */
void safer(struct world *world, struct process *process, int thread);

extern const char *const topic_of[PARTITIONS];

/* ---- tiers.c: worker/tiers.c, worker/delay.c ---- */

/* Where a copy goes that is due then. */
int tier_for(const struct world *world, const struct process *process, int message, int64_t due);
/* A tier's head that is not due there yet. */
bool tier_waits(const struct world *world, struct process *process, int partition,
                const struct entry *entry);
/* Taken from a tier: to its shard, held for a short rest, or sent on. */
void tier_takes(struct world *world, struct process *process, struct mail *mail);

/* ---- mails.c ---- */

/* An event about a mail carries its place in the array, and the serial that it had. */
int64_t mail_id(const struct process *process, const struct mail *mail);
/* NULL: it is gone. */
struct mail *mail_by_id(struct process *process, int64_t id);
void mail_to_shard(struct world *world, struct process *process, struct mail *mail);
/* As it came, with all that is to do, into a tier. */
void mail_forward(struct world *world, struct process *process, struct mail *mail, int64_t due);
void take_records(struct world *world, struct process *process);
void awaited_is_settled(struct world *world, struct process *process, struct inherited *record);
void state_inherited(struct world *world, struct process *process);
void state_home(struct world *world, struct process *process);
void mail_free(struct world *world, const struct process *process, struct mail *mail);
void mail_moved(struct world *world, struct process *process, struct mail *mail);
bool ticket_is_valid(const struct process *process, const struct mail *mail);
void free_held(struct world *world, struct process *process);

/* Recipients in that state, by bit. */
uint32_t mail_in_state(const struct mail *mail, enum rcpt state);
void mail_trace(const struct world *world, const struct process *process, const struct mail *mail,
                const char *what);
enum told { TOLD_DELIVERED, TOLD_DEFERRED, TOLD_BOUNCED, TOLD_EXPIRED, TOLD_UNCERTAIN };
/* An event about a recipient. */
void mail_tell(struct world *world, struct process *process, struct mail *mail, int index,
               enum told what);
/* What became of a recipient; `due` 0: drawn, for what is deferred. */
void mail_settle(struct world *world, struct process *process, struct mail *mail, int index,
                 enum ledger_result result, int64_t due);
/* Its partition is another's, or will be. */
bool mail_is_leaving(const struct process *process, const struct mail *mail);
/* Every recipient has its outcome. */
void mail_send_home(struct world *world, struct process *process, struct mail *mail);
/* Not begun, or not ended: the next owner goes on. */
void mail_give_back(struct world *world, struct process *process, struct mail *mail);

/* ---- shard.c ---- */

void mail_arrives(struct world *world, struct event *event);
void dots_released(struct world *world, struct process *process, int shard);
/* Gives back what is not begun, and names what is in transactions. */
void shard_returns(struct world *world, struct process *process, int shard);
void shard_cuts(struct world *world, struct process *process, int shard);

/* ---- burst.c ---- */

void writer_init(struct world *world, struct process *process);
bool burst_is_due(const struct world *world, const struct process *process);
bool burst_submit(struct world *world, struct process *process, enum burst_kind kind);
void burst_drop_gone(struct world *world, struct process *process);

/* ---- claims.c ---- */

void claims_drop(struct process *process);
void claims_given(struct world *world, struct process *process);
void claims_serve(struct world *world, struct process *process);
void claims_burst_over(struct world *world, struct process *process, enum burst_result result);
size_t claims_awaiting(struct process *process, int partition, struct ledger_awaited *out,
                       size_t max);
void claims_complete(struct process *process, const struct inherited *record);

/* ---- evict.c ---- */

void evict_begin(struct world *world, struct process *process, bool lost, bool drain);
void evict_serve(struct world *world, struct process *process);
void evict_burst_over(struct world *world, struct process *process, enum burst_result result);
void evict_answer_when_safe(struct world *world, struct process *process, int shard);

#endif
