/*
 * simulate [--seed N] [--break NAME] [--seconds N] [--histories N] [--trace]
 *
 * Runs histories, each of one seed, until the time is over or one breaks a promise; then its seed
 * is printed and the status is 1. With --break a safeguard is off, and it is right (status 0) that
 * a promise is broken. --breaks lists the names.
 */
#include "simulation/world.h"

#include "base/clock.h"
#include "base/random.h"

#include <stdlib.h>
#include <string.h>

#define COUNTS 12
static const char *const count_names[COUNTS] = {
    "kills",     "stops",    "outages",     "drains",   "takeovers", "awaited",
    "inherited", "in_doubt", "clock_steps", "forwards", "expired",   "sent_though_expired"};

struct options {
    uint64_t seed;
    bool has_seed, trace;
    int64_t seconds, histories;
    enum broken broken;
};

static int usage(void)
{
    (void)fprintf(stderr, "usage: simulate [--seed N] [--break NAME] [--seconds N] "
                          "[--histories N] [--trace] | --breaks\n");
    return 2;
}

static bool find_break(const char *name, enum broken *found)
{
    for (int i = 0; i < BREAK_COUNT; i++) {
        if (strcmp(break_names[i], name) == 0) {
            *found = (enum broken)i;
            return true;
        }
    }
    return false;
}

static bool parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--trace") == 0) {
            options->trace = true;
            continue;
        }
        if (value == NULL) {
            return false;
        }
        i++;
        if (strcmp(argv[i - 1], "--seed") == 0) {
            options->seed = strtoull(value, NULL, 10);
            options->has_seed = true;
        } else if (strcmp(argv[i - 1], "--seconds") == 0) {
            options->seconds = strtoll(value, NULL, 10);
        } else if (strcmp(argv[i - 1], "--histories") == 0) {
            options->histories = strtoll(value, NULL, 10);
        } else if (strcmp(argv[i - 1], "--break") != 0 || !find_break(value, &options->broken)) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct world world;
    struct options options = {.seconds = 10, .histories = INT64_MAX};
    uint64_t steps = 0;
    uint64_t faults[COUNTS] = {0};
    int64_t histories = 0;
    if (argc == 2 && strcmp(argv[1], "--breaks") == 0) {
        for (int i = 1; i < BREAK_COUNT; i++) {
            puts(break_names[i]);
        }
        return 0;
    }
    if (!parse(argc, argv, &options)) {
        return usage();
    }
    struct mono_time start = mono_now();
    uint64_t seed = options.has_seed ? options.seed : random_u64() >> 20;
    bool good = true;
    if (options.has_seed) {
        options.histories = options.histories == INT64_MAX ? 1 : options.histories;
        options.seconds = INT32_MAX;
    }
    for (; good && histories < options.histories &&
           mono_since_us(mono_now(), start) < options.seconds * SECOND;
         histories++) {
        good = world_run(&world, seed + (uint64_t)histories, options.broken, options.trace);
        steps += world.steps;
        const uint64_t these[COUNTS] = {
            world.kills,       world.stops,    world.outages,   world.drains,
            world.takeovers,   world.awaited,  world.inherited, world.doubts,
            world.clock_steps, world.forwards, world.expiries,  world.sent_though_expired};
        for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
            faults[i] += these[i];
        }
    }
    double seconds = (double)mono_since_us(mono_now(), start) / 1e6;
    printf("histories=%lld steps=%llu steps_per_minute=%.0f", (long long)histories,
           (unsigned long long)steps, (double)steps / seconds * 60);
    for (size_t i = 0; i < COUNTS; i++) {
        printf(" %s=%llu", count_names[i], (unsigned long long)faults[i]);
    }
    puts("");
    if (!good) {
        printf("seed=%llu break=%s at %.3f s: %s\n", (unsigned long long)world.seed,
               break_names[options.broken], (double)world.now / (double)SECOND, world.violation);
    }
    if (options.broken == BREAK_NONE) {
        return good ? 0 : 1;
    }
    if (good) {
        printf("break=%s: nothing noticed\n", break_names[options.broken]);
    }
    return good ? 1 : 0;
}
