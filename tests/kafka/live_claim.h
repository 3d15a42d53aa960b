/* A member of a group in claim mode with its transactional producer, for the live tests. */
#ifndef SLUICE_TESTS_KAFKA_LIVE_CLAIM_H
#define SLUICE_TESTS_KAFKA_LIVE_CLAIM_H

#include "kafka/tail.h"
#include "kafka/txn.h"
#include "tests/kafka/live.h"

#include <stdatomic.h>

enum { LIVE_COPIES = 50 };

struct live_member {
    char prefix[32];
    char id[64]; /* transactional */
    struct kafka_consumer *consumer;
    struct kafka_txn *txn;
    /* as last told */
    struct kafka_given given[256]; /* without their metadata */
    char *metadata[256];
    size_t given_count, mine_count;
    bool settled;
    int given_calls, given_back_calls, assigned_calls, revoked_calls, lost_calls, failed_calls;
    struct fault failure;
    bool begin_at_once;
    bool assigned;
    /* the burst */
    struct kafka_burst burst;
    struct kafka_record_out records[LIVE_COPIES], checkpoint;
    struct kafka_burst_offset offsets[256];
    char text[32]; /* value of all its records */
    char copies_topic[40], moved_topic[40];
    bool done;
    enum kafka_burst_result result;
    int64_t checkpoint_offset;
    struct fault fault;
    /* The transaction's thread stops in metadata() while this is set. */
    atomic_bool hold, held;
};

/* `extra` properties beside the broker's address. */
void live_member_open(struct live_member *member, const char *prefix, const char *name,
                      const struct kafka_property *extra);
/* A static member of that name. */
void live_member_open_static(struct live_member *member, const char *prefix, const char *name,
                             int session_timeout_ms);
void live_member_close(struct live_member *member);
/* One turn. */
void live_member_serve(struct live_member *member);
void live_member_wait_assigned(struct live_member *member);
/* Until each has half of what there is. */
void live_members_wait_halves(struct live_member *one, struct live_member *other);
/* Begins all that is given at what is committed for it. */
void live_member_begin(struct live_member *member, uint64_t claim);
/* Copies into d.00 [0], checkpoint into moved [0], an offset of every partition. False: refused. */
bool live_member_submit(struct live_member *member, int number, int64_t offset);
/* Serves until it is told. */
enum kafka_burst_result live_member_result(struct live_member *member);

/* How many committed records with that number there are in d.00. */
int live_copies(const char *prefix, int number);
/* Fills counts[number] for numbers below `limit`, from one reading of d.00. */
void live_count_copies(const char *prefix, int *counts, int limit);

#endif
