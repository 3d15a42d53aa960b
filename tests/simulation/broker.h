/*
 * Kafka, as far as it matters: partitions with offsets, transactions (epochs, markers, what a
 * reader of committed records sees), a consumer group with generations and static members, offsets
 * with metadata. Every call is made at the moment at which it reaches the broker.
 */
#ifndef SLUICE_TESTS_SIMULATION_BROKER_H
#define SLUICE_TESTS_SIMULATION_BROKER_H

#include "simulation/world.h"

#include "ledger/metadata.h"

/* Logs: the group's partitions, then these. */
#define LOG_DONE PARTITIONS
#define LOG_MOVED (LOG_DONE + SLOTS)
#define LOG_UNCERTAIN (LOG_MOVED + SLOTS)
#define LOGS (LOG_UNCERTAIN + 1)

/* A message or what is left of it. */
struct record {
    int message;
    uint32_t attempt; /* from 1 */
    uint32_t mask;    /* recipients to do */
    int64_t due;      /* by the clock of who wrote it; 0: not in a tier */
};

struct entry {
    bool marker;
    int transaction; /* -1: none */
    int64_t time;    /* by the broker's clock: LogAppendTime */
    struct record record;
    char *bytes; /* of done and moved; owned */
    size_t len;
};

struct log {
    struct entry *entries;
    size_t count, capacity;
};

enum transaction_state { TXN_OPEN, TXN_COMMITTED, TXN_ABORTED };

struct committed {
    int64_t offset; /* -1: none */
    char metadata[LEDGER_METADATA_MAX];
};

struct transaction {
    enum transaction_state state;
    int writer;
    int64_t begun;
    int64_t first[LOGS]; /* -1: does not touch it */
    struct committed pending[PARTITIONS];
};

/* A transactional id; one for each name of a worker. */
struct writer {
    int epoch;
    int open; /* transaction; -1: none */
};

struct member {
    int id; /* 0: free */
    int process;
    uint32_t incarnation;
    int64_t seen;
    bool joined; /* waits for the rebalance */
    uint32_t assigned;
};

#define MEMBERS 256

struct broker {
    struct log logs[LOGS];
    struct transaction *transactions;
    size_t transaction_count, transaction_capacity;
    struct writer writers[WORKERS];
    struct committed committed[PARTITIONS];
    struct member members[MEMBERS];
    int last_member, generation;
    bool rebalancing;
    int64_t rebalancing_since;
    int64_t down_until;
};

enum verdict { VERDICT_OK, VERDICT_FENCED, VERDICT_GENERATION };

struct broker *broker_create(struct world *world);
void broker_free(struct broker **broker);

/* Returns the offset. */
int64_t broker_append(struct world *world, int log, int transaction, const struct record *record,
                      const char *bytes, size_t len);
int64_t broker_end(const struct broker *broker, int log);
/* Behind what a reader of committed records may see. */
int64_t broker_stable_end(const struct broker *broker, int log);
/* NULL: a marker, or of a transaction that was aborted (or is open). */
const struct entry *broker_read(const struct broker *broker, int log, int64_t offset);

/* Ends what is open; the new epoch. */
int broker_init_writer(struct world *world, int writer);
/* -1: fenced. */
int broker_begin(struct world *world, int writer, int epoch);
enum verdict broker_send_offset(struct world *world, int transaction, int epoch, int member,
                                int generation, int partition, int64_t offset,
                                const char *metadata);
enum verdict broker_end_transaction(struct world *world, int transaction, int epoch, bool commit);

/* Joins or joins again; the answer is given when the rebalance is over. */
void broker_join(struct world *world, int process, uint32_t incarnation, int member);
void broker_leave(struct world *world, int member);
enum verdict broker_heartbeat(struct world *world, int member, int generation, bool *rebalancing);
bool broker_is_member(const struct world *world, int member, int generation);
/* A commit outside of any transaction, which keeps the member alive; one in a transaction does not
 * (Kafka's OffsetMetadataManager: commitOffset, commitTransactionalOffset). */
bool broker_commit(struct world *world, int member, int generation);
/* Expired members and transactions; regularly. */
void broker_serve(struct world *world);
void broker_restart(struct world *world, int64_t down);

/* worker.c: the group's answer has left the broker. */
void worker_is_assigned(struct world *world, int process, uint32_t incarnation, int member,
                        int generation, uint32_t assigned);

#endif
