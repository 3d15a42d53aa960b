/*
 * The simulated world: time, chance, faults, and what may never happen. Everything that happens is
 * an event; one seed gives one history. Times are µs of the simulation.
 */
#ifndef SLUICE_TESTS_SIMULATION_WORLD_H
#define SLUICE_TESTS_SIMULATION_WORLD_H

#include "base/check.h"

#include <stdio.h>

#define WORKERS 4
#define SHARDS 2
#define STREAM_PARTITIONS 3
#define PARTITIONS 6 /* of the stream, then of the one delay tier */
#define SLOTS 2
#define RCPTS 2
#define MESSAGES 160

#define MS ((int64_t)1000)
#define SECOND ((int64_t)1000000)
#define SESSION_TIMEOUT (6 * SECOND)
#define WAIT_MS 15000 /* how long the next owner waits for what is in flight */
#define TIER_DELAY (2 * SECOND)
#define FAULTS_END (45 * SECOND)
#define PATIENCE (400 * SECOND) /* after which everything must be over */

/* A safeguard that is switched off. */
#define BREAKS(X)                                                                                  \
    X(NONE, "none")                                                                                \
    X(GATE, "gate")                                                                                \
    X(INTENT, "intent-before-dot")                                                                 \
    X(FENCING, "fencing")                                                                          \
    X(GENERATION, "group-generation")                                                              \
    X(LEAVE, "leaving-what-is-owned")                                                              \
    X(STABLE, "stable-offsets")                                                                    \
    X(LOOK_AGAIN, "look-after-fencing")                                                            \
    X(CLAIM_NUMBER, "claim-number")                                                                \
    X(CLAIM_FIRST, "claim-before-reading")                                                         \
    X(RESTATING, "restating")                                                                      \
    X(HAND_OVER, "restating-at-hand-over")                                                         \
    X(STATE_INHERITED, "restating-inherited")                                                      \
    X(STILL, "restating-stands-still-in-a-drain")                                                  \
    X(CONTACT, "contact-by-commits-alone")                                                         \
    X(RUNS, "checkpoint-runs")                                                                     \
    X(COPIES, "checkpoint-with-copies")                                                            \
    X(EXACT, "checkpoint-by-its-offset")                                                           \
    X(IN_FLIGHT, "in-flight-of-a-release")                                                         \
    X(AWAIT, "waiting-for-in-flight")                                                              \
    X(SAFE_ANSWER, "answers-when-safe")                                                            \
    X(EVENTS_FIRST, "events-before-closing")                                                       \
    X(BURST_FIRST, "burst-before-closing")

enum broken {
#define BREAK_NAME(name, text) BREAK_##name,
    BREAKS(BREAK_NAME)
#undef BREAK_NAME
        BREAK_COUNT
};
extern const char *const break_names[BREAK_COUNT];

struct world;
struct broker;
struct process;

struct event {
    int64_t at;
    uint64_t order;
    void (*run)(struct world *world, struct event *event);
    int process; /* whose thread runs it, or who asks; -1: nobody's */
    bool at_broker;
    bool unsent; /* the broker was down when it came there */
    uint32_t incarnation;
    int64_t a, b, c;
    void *data; /* owned; freed afterwards unless taken */
};

/* What the provider and the topics know of a recipient of a message. */
struct recipient {
    int accepted;
    int uncertain;               /* attempts that were told as uncertain */
    uint32_t uncertain_attempts; /* … bits */
    int pardoned; /* rare: past the dot without an acknowledged INTENT when its worker died */
    bool delivered, bounced, held;
};

struct world {
    uint64_t seed, random;
    enum broken broken;
    bool never, hold, fixed_members;
    bool gentle; /* planned stops alone, and a provider that always answers: nothing is uncertain */
    int64_t pace; /* of faults */
    bool trace;
    int64_t now;
    uint64_t steps, order;
    struct event *heap;
    size_t heap_count, heap_capacity;

    struct broker *broker;
    struct process *processes[WORKERS];
    struct recipient recipients[MESSAGES][RCPTS];
    uint64_t begun[PARTITIONS]; /* the latest claim under which a worker has begun */
    int produced;

    char violation[200]; /* "": none */
    uint64_t kills, stops, outages, drains, takeovers, awaited, inherited, doubts;
};

uint64_t chance(struct world *world);
/* 0 … below - 1 */
int64_t pick(struct world *world, int64_t below);
/* true in `percent` of the cases */
bool perhaps(struct world *world, int percent);

static inline bool in_mask(uint32_t mask, int index)
{
    return (mask >> index & 1) != 0;
}

/* In `delay` µs. */
void later(struct world *world, int64_t delay, struct event event);
void violated(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);
void tell(const struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);

/* A history to its end; false: violated. */
bool world_run(struct world *world, uint64_t seed, enum broken broken, bool trace);

/* ---- provider.c ---- */

/* The end of a message has reached the provider: its answer. */
enum answer { ANSWER_OK, ANSWER_LATER, ANSWER_NO, ANSWER_NONE };
enum answer provider_takes(struct world *world, int message, uint32_t mask);

#endif
