#include "simulation/broker.h"

#include "base/mem.h"

#include <string.h>

#define TRANSACTION_TIMEOUT (10 * SECOND)
#define REBALANCE_TIMEOUT (30 * SECOND)

struct broker *broker_create(struct world *world)
{
    struct broker *broker = mem_zalloc(sizeof(*broker));
    (void)world;
    for (int i = 0; i < WORKERS; i++) {
        broker->writers[i].open = -1;
    }
    for (int i = 0; i < PARTITIONS; i++) {
        broker->committed[i].offset = -1;
    }
    return broker;
}

void broker_free(struct broker **handle)
{
    struct broker *broker = *handle;
    if (broker == NULL) {
        return;
    }
    for (int i = 0; i < LOGS; i++) {
        for (size_t at = 0; at < broker->logs[i].count; at++) {
            mem_free(broker->logs[i].entries[at].bytes);
        }
        mem_free(broker->logs[i].entries);
    }
    mem_free(broker->transactions);
    mem_free(broker);
    *handle = NULL;
}

/* ---- logs ---- */

int64_t broker_append(struct world *world, int number, int transaction, const struct record *record,
                      const char *bytes, size_t len)
{
    struct log *log = &world->broker->logs[number];
    if (log->count == log->capacity) {
        log->capacity = log->capacity == 0 ? 256 : log->capacity * 2;
        log->entries = mem_realloc(log->entries, log->capacity * sizeof(*log->entries));
    }
    struct entry *entry = &log->entries[log->count];
    *entry = (struct entry){
        .transaction = transaction, .time = world->now + world->broker_wall, .len = len};
    if (record != NULL) {
        entry->record = *record;
    }
    if (bytes != NULL) {
        entry->bytes = mem_strndup(bytes, len);
    }
    if (transaction >= 0) {
        int64_t *first = &world->broker->transactions[transaction].first[number];
        *first = *first < 0 ? (int64_t)log->count : *first;
    }
    return (int64_t)log->count++;
}

int64_t broker_end(const struct broker *broker, int log)
{
    return (int64_t)broker->logs[log].count;
}

int64_t broker_stable_end(const struct broker *broker, int log)
{
    int64_t end = broker_end(broker, log);
    for (int i = 0; i < WORKERS; i++) {
        int open = broker->writers[i].open;
        if (open >= 0 && broker->transactions[open].first[log] >= 0 &&
            broker->transactions[open].first[log] < end) {
            end = broker->transactions[open].first[log];
        }
    }
    return end;
}

const struct entry *broker_read(const struct broker *broker, int log, int64_t offset)
{
    CHECK(offset >= 0 && offset < broker_end(broker, log));
    const struct entry *entry = &broker->logs[log].entries[offset];
    if (entry->marker || (entry->transaction >= 0 &&
                          broker->transactions[entry->transaction].state != TXN_COMMITTED)) {
        return NULL;
    }
    return entry;
}

/* ---- transactions ---- */

static void end(struct world *world, int number, bool commit)
{
    struct broker *broker = world->broker;
    struct transaction *transaction = &broker->transactions[number];
    CHECK(transaction->state == TXN_OPEN && broker->writers[transaction->writer].open == number);
    transaction->state = commit ? TXN_COMMITTED : TXN_ABORTED;
    broker->writers[transaction->writer].open = -1;
    for (int log = 0; log < LOGS; log++) {
        if (transaction->first[log] >= 0) {
            int64_t marker = broker_append(world, log, -1, NULL, NULL, 0);
            broker->logs[log].entries[marker].marker = true;
        }
    }
    for (int i = 0; commit && i < PARTITIONS; i++) {
        const struct committed *pending = &transaction->pending[i];
        if (pending->offset < 0) {
            continue;
        }
        if (pending->offset < broker->committed[i].offset) {
            violated(world, "partition %d: committed %lld after %lld", i,
                     (long long)pending->offset, (long long)broker->committed[i].offset);
        }
        broker->committed[i] = *pending;
    }
}

int broker_init_writer(struct world *world, int writer)
{
    struct writer *one = &world->broker->writers[writer];
    if (one->open >= 0) {
        end(world, one->open, false);
    }
    return ++one->epoch;
}

int broker_begin(struct world *world, int writer, int epoch)
{
    struct broker *broker = world->broker;
    struct writer *one = &broker->writers[writer];
    if (one->epoch != epoch || one->open >= 0) {
        return -1;
    }
    if (broker->transaction_count == broker->transaction_capacity) {
        broker->transaction_capacity =
            broker->transaction_capacity == 0 ? 64 : broker->transaction_capacity * 2;
        broker->transactions = mem_realloc(broker->transactions, broker->transaction_capacity *
                                                                     sizeof(*broker->transactions));
    }
    struct transaction *transaction = &broker->transactions[broker->transaction_count];
    *transaction = (struct transaction){.state = TXN_OPEN, .writer = writer, .begun = world->now};
    for (int i = 0; i < LOGS; i++) {
        transaction->first[i] = -1;
    }
    for (int i = 0; i < PARTITIONS; i++) {
        transaction->pending[i].offset = -1;
    }
    one->open = (int)broker->transaction_count;
    return (int)broker->transaction_count++;
}

static bool is_current(const struct world *world, int number, int epoch)
{
    const struct transaction *transaction = &world->broker->transactions[number];
    return transaction->state == TXN_OPEN &&
           world->broker->writers[transaction->writer].epoch == epoch;
}

enum verdict broker_send_offset(struct world *world, int number, int epoch, int member,
                                int generation, int partition, int64_t offset, const char *metadata)
{
    if (!is_current(world, number, epoch)) {
        return VERDICT_FENCED;
    }
    if (!broker_is_member(world, member, generation) && world->broken != BREAK_GENERATION) {
        return VERDICT_GENERATION;
    }
    struct committed *pending = &world->broker->transactions[number].pending[partition];
    pending->offset = offset;
    memcpy(pending->metadata, metadata, sizeof(pending->metadata));
    return VERDICT_OK;
}

enum verdict broker_end_transaction(struct world *world, int number, int epoch, bool commit)
{
    if (!is_current(world, number, epoch)) {
        return VERDICT_FENCED;
    }
    end(world, number, commit);
    return VERDICT_OK;
}

/* ---- the group ---- */

static struct member *find(const struct world *world, int id)
{
    for (int i = 0; id > 0 && i < MEMBERS; i++) {
        if (world->broker->members[i].id == id) {
            return &world->broker->members[i];
        }
    }
    return NULL;
}

bool broker_is_member(const struct world *world, int member, int generation)
{
    return find(world, member) != NULL && world->broker->generation == generation;
}

bool broker_commit(struct world *world, int member, int generation)
{
    struct member *one = find(world, member);
    if (one == NULL || world->broker->generation != generation) {
        return false;
    }
    one->seen = world->now;
    return true;
}

static void answer(struct world *world, const struct member *member)
{
    worker_is_assigned(world, member->process, member->incarnation, member->id,
                       world->broker->generation, member->assigned);
}

static void rebalance(struct world *world)
{
    if (!world->broker->rebalancing) {
        world->broker->rebalancing = true;
        world->broker->rebalancing_since = world->now;
        for (int i = 0; i < MEMBERS; i++) {
            world->broker->members[i].joined = false;
        }
    }
}

/* Ranges of each topic, in the order of the members. */
static void assign(struct broker *broker, int count)
{
    int at = 0;
    for (int i = 0; i < MEMBERS; i++) {
        struct member *member = &broker->members[i];
        if (member->id == 0) {
            continue;
        }
        member->assigned = 0;
        member->joined = false;
        for (int p = 0; p < STREAM_PARTITIONS; p++) {
            if (p * count / STREAM_PARTITIONS == at) {
                member->assigned |= 1u << p;
            }
        }
        for (int p = STREAM_PARTITIONS; p < PARTITIONS; p++) { /* not the same ones */
            if ((p % STREAM_PARTITIONS + 1) * count / STREAM_PARTITIONS % count == at) {
                member->assigned |= 1u << p;
            }
        }
        at++;
    }
}

static void look_whether_all_joined(struct world *world)
{
    struct broker *broker = world->broker;
    int count = 0;
    for (int i = 0; i < MEMBERS; i++) {
        if (broker->members[i].id != 0 && !broker->members[i].joined) {
            return;
        }
        count += broker->members[i].id != 0;
    }
    if (!broker->rebalancing || count == 0) {
        return;
    }
    broker->rebalancing = false;
    broker->generation++;
    assign(broker, count);
    for (int i = 0; i < MEMBERS; i++) {
        broker->members[i].seen = world->now;
        if (broker->members[i].id != 0) {
            answer(world, &broker->members[i]);
        }
    }
}

static struct member *make(struct world *world, int process)
{
    struct member *member = NULL;
    for (int i = 0; i < MEMBERS; i++) {
        struct member *one = &world->broker->members[i];
        if (world->fixed_members && one->id != 0 && one->process == process) {
            return one; /* a static member that comes back has its old place */
        }
        if (member == NULL && one->id == 0) {
            member = one;
        }
    }
    CHECK(member != NULL);
    *member = (struct member){.process = process};
    return member;
}

void broker_join(struct world *world, int process, uint32_t incarnation, int id)
{
    struct broker *broker = world->broker;
    struct member *member = find(world, id);
    bool back = false;
    if (member == NULL) {
        member = make(world, process);
        back = member->id != 0;
        member->id = ++broker->last_member;
    }
    member->incarnation = incarnation;
    member->seen = world->now;
    if (back && !broker->rebalancing) {
        answer(world, member);
        return;
    }
    rebalance(world);
    member->joined = true;
    look_whether_all_joined(world);
}

static void drop(struct world *world, struct member *member)
{
    member->id = 0;
    rebalance(world);
    look_whether_all_joined(world);
}

void broker_leave(struct world *world, int id)
{
    struct member *member = find(world, id);
    if (member != NULL) {
        drop(world, member);
    }
}

enum verdict broker_heartbeat(struct world *world, int id, int generation, bool *rebalancing)
{
    struct member *member = find(world, id);
    *rebalancing = world->broker->rebalancing;
    if (member == NULL || (generation != world->broker->generation && !member->joined)) {
        return VERDICT_GENERATION;
    }
    member->seen = world->now;
    return VERDICT_OK;
}

void broker_serve(struct world *world)
{
    struct broker *broker = world->broker;
    if (world->now < broker->down_until) {
        return;
    }
    for (int i = 0; i < MEMBERS; i++) {
        struct member *member = &broker->members[i];
        bool late =
            broker->rebalancing && world->now - broker->rebalancing_since > REBALANCE_TIMEOUT;
        if (member->id != 0 && !member->joined &&
            (late || world->now - member->seen > SESSION_TIMEOUT)) {
            drop(world, member);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        int open = broker->writers[i].open;
        if (open >= 0 && world->now - broker->transactions[open].begun > TRANSACTION_TIMEOUT) {
            broker->writers[i].epoch++;
            end(world, open, false);
        }
    }
}

void broker_restart(struct world *world, int64_t down)
{
    struct broker *broker = world->broker;
    if (world->now + down > broker->down_until) { /* else it is down already, and for longer */
        broker->down_until = world->now + down;
    }
    for (int i = 0; i < MEMBERS; i++) {
        broker->members[i].seen = broker->down_until;
    }
}
