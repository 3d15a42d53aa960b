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
#define TIERS 3
#define PARTITIONS 8 /* of the stream, then of the delay tiers: tiers.c */
#define SLOTS 2
#define RCPTS 2
#define MESSAGES 160

#define MS ((int64_t)1000)
#define SECOND ((int64_t)1000000)
#define SESSION_TIMEOUT (6 * SECOND)
#define WAIT_MS 15000 /* how long the next owner waits for what is in flight */
#define FAULTS_END (45 * SECOND)
#define PATIENCE (400 * SECOND) /* after which everything must be over; longer by wrong clocks */
#define DUE_PATIENCE (100 * SECOND) /* for what is due, when all clocks are right */

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
    X(BURST_FIRST, "burst-before-closing")                                                         \
    X(BOOTTIME, "gate-by-a-clock-without-steps")                                                   \
    X(LOOK, "looking-again-at-what-is-held")

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
    bool expired; /* bounced for its age */
};

struct world {
    uint64_t seed, random;
    enum broken broken;
    bool never, hold, fixed_members;
    bool gentle; /* planned stops alone, and a provider that always answers: nothing is uncertain */
    bool clocks, hours; /* clocks of the day are set: by up to a minute, or an hour */
    int64_t pace;       /* of faults */
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
    int64_t expires[MESSAGES]; /* 0: does not */
    int64_t broker_wall;       /* how far its clock of the day is from true time */
    int64_t head[PARTITIONS], head_since[PARTITIONS]; /* what is not committed yet */
    int64_t most_ahead;                               /* that a worker's has ever been */
    int64_t most_wrong;                               /* … any of them, ahead or behind */

    char violation[200]; /* "": none */
    uint64_t kills, stops, outages, drains, takeovers, awaited, inherited, doubts;
    uint64_t clock_steps, forwards, expiries, sent_though_expired;
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
