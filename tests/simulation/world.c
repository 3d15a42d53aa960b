#include "simulation/broker.h"
#include "simulation/worker.h"

#include "base/mem.h"

#include <stdarg.h>
#include <string.h>

const char *const break_names[BREAK_COUNT] = {
#define BREAK_TEXT(name, text) text,
    BREAKS(BREAK_TEXT)
#undef BREAK_TEXT
};

#define SERVE_EVERY (200 * MS)

/* ---- chance ---- */

/* splitmix64 */
uint64_t chance(struct world *world)
{
    uint64_t z = world->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int64_t pick(struct world *world, int64_t below)
{
    return (int64_t)(chance(world) % (uint64_t)below);
}

bool perhaps(struct world *world, int percent)
{
    return pick(world, 100) < percent;
}

/* ---- telling ---- */

void tell(const struct world *world, const char *format, ...)
{
    if (!world->trace) {
        return;
    }
    va_list args;
    printf("%10.4f ", (double)world->now / (double)SECOND);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void violated(struct world *world, const char *format, ...)
{
    if (world->violation[0] != '\0') {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(world->violation, sizeof(world->violation), format, args);
    va_end(args);
    tell(world, "VIOLATED: %s", world->violation);
}

/* ---- events: a heap by time, then by the order in which they were made ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void push(struct world *world, struct event event)
{
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity = world->heap_capacity == 0 ? 1024 : world->heap_capacity * 2;
        world->heap = mem_realloc(world->heap, world->heap_capacity * sizeof(*world->heap));
    }
    size_t at = world->heap_count++;
    while (at > 0 && before(&event, &world->heap[(at - 1) / 2])) {
        world->heap[at] = world->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->heap[at] = event;
}

static struct event pop(struct world *world)
{
    struct event first = world->heap[0];
    struct event last = world->heap[--world->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= world->heap_count) {
            break;
        }
        if (child + 1 < world->heap_count && before(&world->heap[child + 1], &world->heap[child])) {
            child++;
        }
        if (!before(&world->heap[child], &last)) {
            break;
        }
        world->heap[at] = world->heap[child];
        at = child;
    }
    if (world->heap_count > 0) {
        world->heap[at] = last;
    }
    return first;
}

void later(struct world *world, int64_t delay, struct event event)
{
    event.at = world->now + delay;
    event.order = ++world->order;
    push(world, event);
}

/* False: it has to wait until the broker is up, or went with its process. What a process could not
 * send while the broker was down dies with it. */
static bool comes_to_broker(struct world *world, struct event *event)
{
    bool down = world->now < world->broker->down_until;
    bool dead = !process_is(world->processes[event->process], event->incarnation);
    if (dead && (down || event->unsent || perhaps(world, 30))) {
        mem_free(event->data);
        return false;
    }
    if (down) {
        event->unsent = true;
        event->at = world->broker->down_until + pick(world, 100 * MS);
        push(world, *event);
        return false;
    }
    return true;
}

static void step(struct world *world)
{
    struct event event = pop(world);
    world->now = event.at;
    if (event.at_broker) {
        if (!comes_to_broker(world, &event)) {
            return;
        }
    } else if (event.process >= 0) {
        const struct process *process = world->processes[event.process];
        if (!process_is(process, event.incarnation)) {
            mem_free(event.data);
            return;
        }
        if (process_stopped_until(process) > world->now) { /* SIGSTOP: in the same order after it */
            event.at = process_stopped_until(process);
            push(world, event);
            return;
        }
    }
    world->steps++;
    event.run(world, &event);
    mem_free(event.data);
}

/* ---- what happens from outside ---- */

static void look_what_is_due(struct world *world);

static void serve(struct world *world, struct event *event)
{
    (void)event;
    broker_serve(world);
    look_what_is_due(world);
    later(world, SERVE_EVERY, (struct event){.run = serve, .process = -1});
}

static void produce(struct world *world, struct event *event)
{
    (void)event;
    if (world->now >= world->broker->down_until) {
        const struct record record = {
            .message = world->produced++, .attempt = 1, .mask = perhaps(world, 50) ? 3 : 1};
        broker_append(world, (int)pick(world, STREAM_PARTITIONS), -1, &record, NULL, 0);
        world->expires[record.message] =
            perhaps(world, 20) ? world->now + (5 + pick(world, 40)) * SECOND : 0;
        for (int i = 0; i < RCPTS; i++) { /* the second one that does not exist has all it needs */
            world->recipients[record.message][i].delivered = !in_mask(record.mask, i);
        }
    }
    if (world->produced < MESSAGES) {
        later(world, pick(world, 500 * MS), (struct event){.run = produce, .process = -1});
    }
}

static void start(struct world *world, struct event *event)
{
    process_start(world, (int)event->a);
}

static void start_in(struct world *world, int process, int64_t delay)
{
    later(world, delay, (struct event){.run = start, .process = -1, .a = process});
}

static void drain(struct world *world, struct event *event)
{
    int victim = (int)event->a;
    if (process_is_alive(world->processes[victim])) {
        world->drains++;
        tell(world, "w%d drains", victim);
        process_drain(world, victim);
    }
}

static void fault(struct world *world, struct event *event)
{
    int victim = (int)pick(world, WORKERS);
    struct process *process = world->processes[victim];
    int64_t kind = pick(world, 100);
    (void)event;
    if (world->now > FAULTS_END) {
        return;
    }
    later(world, pick(world, world->pace), (struct event){.run = fault, .process = -1});
    if (kind < 20 && !world->gentle) {
        world->outages++;
        int64_t down = perhaps(world, 70) ? pick(world, 2 * SECOND) : pick(world, 15 * SECOND);
        tell(world, "broker is down for %lld ms", (long long)(down / MS));
        broker_restart(world, down);
    } else if (!process_is_alive(process)) {
        return;
    } else if (kind < 55 && !world->gentle) {
        world->kills++;
        tell(world, "w%d is killed", victim);
        process_kill(world, victim);
        start_in(world, victim,
                 perhaps(world, 50) ? pick(world, SECOND) : pick(world, 12 * SECOND));
    } else if (kind < 85 && !world->gentle) {
        static const int64_t most[] = {SECOND, 14 * SECOND, 2 * SECOND};
        int64_t like = pick(world, 3);
        int64_t stop = pick(world, most[like]) + (like == 2 ? SESSION_TIMEOUT - SECOND : 0);
        world->stops++;
        tell(world, "w%d is stopped for %lld ms", victim, (long long)(stop / MS));
        process_stop(world, victim, world->now + stop);
        if (perhaps(world, 25)) { /* and told to end when it hardly knows what it has lost */
            later(world, stop + pick(world, SECOND),
                  (struct event){.run = drain, .process = -1, .a = victim});
        }
    } else {
        later(world, 0, (struct event){.run = drain, .process = -1, .a = victim});
    }
}

/* ---- clocks of the day ---- */

static void set_clock(struct world *world, int whose, int64_t wall)
{
    int64_t wrong = wall < 0 ? -wall : wall;
    world->clock_steps++;
    world->most_wrong = wrong > world->most_wrong ? wrong : world->most_wrong;
    if (whose == WORKERS) {
        world->broker_wall = wall;
        tell(world, "the broker's clock is %lld ms ahead now", (long long)(wall / MS));
    } else {
        world->most_ahead = wall > world->most_ahead ? wall : world->most_ahead;
        process_set_clock(world, whose, wall);
        tell(world, "w%d's clock is %lld ms ahead now", whose, (long long)(wall / MS));
    }
}

static void set_some_clock(struct world *world, struct event *event)
{
    static const int64_t most[] = {5 * SECOND, 60 * SECOND, 3600 * SECOND};
    int whose = (int)pick(world, WORKERS + 1);
    (void)event;
    if (world->now > FAULTS_END) {
        for (int i = 0; i <= WORKERS; i++) {
            set_clock(world, i, 0);
        }
        return;
    }
    int64_t wrong = pick(world, most[pick(world, world->hours ? 3 : 2)]);
    set_clock(world, whose, perhaps(world, 30) ? 0 : perhaps(world, 50) ? wrong : -wrong);
    later(world, pick(world, 2 * world->pace),
          (struct event){.run = set_some_clock, .process = -1});
}

void process_has_ended(struct world *world, int process)
{
    start_in(world, process, pick(world, 3 * SECOND));
}

/* ---- the end ---- */

/* The first record that is not committed; -1: none. */
static int64_t first_open(const struct world *world, int partition)
{
    int64_t at = world->broker->committed[partition].offset;
    int64_t end = broker_end(world->broker, partition);
    at = at < 0 ? 0 : at;
    while (at < end && broker_read(world->broker, partition, at) == NULL) {
        at++; /* markers, and what was aborted */
    }
    return at < end ? at : -1;
}

static bool is_over(const struct world *world)
{
    if (world->produced < MESSAGES || world->now < FAULTS_END) {
        return false;
    }
    for (int i = 0; i < PARTITIONS; i++) {
        if (first_open(world, i) >= 0) {
            return false;
        }
    }
    return true;
}

/* Whatever clocks said before, since all are right again no tier's head waits that is due. What is
 * behind it may be: a clock can have been set between the choice of the time and of the tier. */
static void look_what_is_due(struct world *world)
{
    if (world->now < FAULTS_END + DUE_PATIENCE) {
        return;
    }
    for (int i = STREAM_PARTITIONS; i < PARTITIONS; i++) {
        int64_t open = first_open(world, i);
        if (open < 0 || open != world->head[i]) {
            world->head[i] = open;
            world->head_since[i] = world->now;
            continue;
        }
        const struct record *record = &broker_read(world->broker, i, open)->record;
        int64_t since = record->due > world->head_since[i] ? record->due : world->head_since[i];
        if (since + DUE_PATIENCE < world->now) {
            violated(world,
                     "partition %d offset %lld: message %d is held, though it was due at %.3f s", i,
                     (long long)open, record->message, (double)record->due / (double)SECOND);
        }
    }
}

static const char *stands_still(const struct world *world)
{
    static char text[100];
    for (int i = 0; i < PARTITIONS; i++) {
        int64_t open = first_open(world, i);
        if (open >= 0) {
            snprintf(text, sizeof(text), "partition %d offset %lld: message %d", i, (long long)open,
                     world->broker->logs[i].entries[open].record.message);
            break;
        }
    }
    return text;
}

/* Committed to the end: then every recipient must have its end, too. */
static void judge(struct world *world)
{
    const struct log *held = &world->broker->logs[LOG_UNCERTAIN];
    for (size_t i = 0; i < held->count; i++) {
        const struct entry *entry = broker_read(world->broker, LOG_UNCERTAIN, (int64_t)i);
        for (int r = 0; entry != NULL && r < RCPTS; r++) {
            if (in_mask(entry->record.mask, r)) {
                world->recipients[entry->record.message][r].held = true;
            }
        }
    }
    for (int i = 0; i < MESSAGES; i++) {
        for (int r = 0; r < RCPTS; r++) {
            const struct recipient *one = &world->recipients[i][r];
            if (!one->delivered && !one->bounced && !one->held) {
                violated(world, "message %d recipient %d: lost (accepted %d, uncertain %d)", i, r,
                         one->accepted, one->uncertain);
            }
        }
    }
}

static void put_away(struct world *world)
{
    for (size_t i = 0; i < world->heap_count; i++) {
        mem_free(world->heap[i].data);
    }
    mem_free(world->heap);
    for (int i = 0; i < WORKERS; i++) {
        process_free(&world->processes[i]);
    }
    broker_free(&world->broker);
}

bool world_run(struct world *world, uint64_t seed, enum broken broken, bool trace)
{
    *world = (struct world){.seed = seed, .random = seed, .broken = broken, .trace = trace};
    world->never = perhaps(world, 70);
    world->hold = perhaps(world, 50);
    world->fixed_members = perhaps(world, 50);
    world->gentle = perhaps(world, 20);
    world->pace = (1 + pick(world, 6)) * SECOND;
    world->clocks = perhaps(world, 50);
    world->hours = perhaps(world, 20);
    tell(world,
         "seed %llu: duplicates %s, on-uncertain %s, members %s, faults %s, "
         "clocks %s",
         (unsigned long long)seed, world->never ? "never" : "rare", world->hold ? "hold" : "resend",
         world->fixed_members ? "static" : "dynamic", world->gentle ? "planned" : "all",
         !world->clocks ? "right"
         : world->hours ? "wrong by hours"
                        : "wrong");
    world->broker = broker_create(world);
    for (int i = 0; i < WORKERS; i++) {
        world->processes[i] = process_create(i);
        start_in(world, i, pick(world, 2 * SECOND));
    }
    later(world, 0, (struct event){.run = serve, .process = -1});
    later(world, 0, (struct event){.run = produce, .process = -1});
    later(world, 4 * SECOND, (struct event){.run = fault, .process = -1});
    if (world->clocks) {
        later(world, pick(world, 10 * SECOND),
              (struct event){.run = set_some_clock, .process = -1});
    }
    for (uint64_t i = 0; world->violation[0] == '\0'; i++) {
        step(world);
        if (i % 1024 == 0 && is_over(world)) {
            judge(world);
            break;
        }
        if (world->now > PATIENCE + 2 * world->most_wrong) {
            violated(world, "still not over: a watermark stands still (%s)", stands_still(world));
        }
    }
    put_away(world);
    return world->violation[0] == '\0';
}
