/*
 * The limiter against a simple exact model, in simulated time (model.h). Requests and replies are
 * late or lost, Redis stands still, dies, forgets everything, its replica takes over and is behind,
 * and its clock is set; holders die and begin anew, under another name or the same, and the clocks
 * of their hosts are set. No interval sees more than the amount, there are never more connections
 * than slots, no day more than its cap. Without faults the limit must also be used.
 *
 *   redis_model [SEED [RUNS [SCENE]]]     the seed of a run that failed is printed; SCENE is a part
 *                                         of a name
 */
#include "tests/redis/model.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define START_US ((int64_t)1700000000 * 1000000)
#define LEARNING_US 16000000

#define RATE(amount, ms) .rules = {{LIMIT_RATE, amount, ms, 0}}, .rule_count = 1
#define SLOTS(amount) .rules = {{LIMIT_SLOTS, amount, 0, 0}}, .rule_count = 1
#define DAILY(amount) .rules = {{LIMIT_DAILY, amount, 0, 0}}, .rule_count = 1

const struct scene *scene;

static void play(const struct scene *wanted)
{
    scene = wanted;
    bool rate = scene->rules[0].kind == LIMIT_RATE;
    sim.now_us = 10000000;
    sim.jump_us = 0;
    /* Learning, and the interval in which a limit that nobody knew comes up to its amount. */
    int64_t begin = sim.now_us + LEARNING_US + (rate ? scene->rules[0].interval_ms * 1000 : 0);
    sim.start_us = START_US;
    if (scene->midnight) {
        sim.start_us = START_US / DAY_US * DAY_US - begin - scene->seconds * 500000;
    }
    wires_init();
    server_forget();
    bool lossy = scene->faults && (!rate || scene->unheard);
    server = (struct server){.gives_up = !rate || scene->unheard, .lost = lossy ? 0.01 : 0};
    server_rename();
    judge_begin();
    holders_begin();
    while (sim.now_us < begin + scene->seconds * 1000000) {
        if (sim.now_us < begin) {
            judge_measure();
        }
        holders_step();
    }
    judge_end();
    holders_end();
    wires_clear();
}

static const struct scene scenes[] = {
    {"100/s", RATE(100, 1000), .holders = 8, .n = 1, .seconds = 20, .least = 97},
    {"30/min", RATE(30, 60000), .holders = 8, .n = 1, .seconds = 120, .least = 95},
    {"1/min", RATE(1, 60000), .holders = 8, .n = 1, .seconds = 480, .least = 80},
    {"1000/s, up to 7 at once", RATE(1000, 1000), .holders = 4, .n = 7, .seconds = 20, .idle = true,
     .least = 80},
    /* What is taken at once cannot be split, and goes in the order in which it came: so two that
     * follow each other and are more than the amount together need two intervals, and half of the
     * limit is all that is certain, less the guard and the beginning. */
    {"30/min, more at once than that", RATE(30, 60000), .holders = 8, .n = 60, .seconds = 900,
     .least = 40},
    {"700/10s", RATE(700, 10000), .holders = 8, .n = 1, .seconds = 60, .least = 95},
    {"100/s with 700/10s", .rules = {{LIMIT_RATE, 700, 10000, 0}, {LIMIT_RATE, 100, 1000, 0}},
     .rule_count = 2, .holders = 8, .n = 1, .seconds = 60, .least = 95},
    {"100/s, faults", RATE(100, 1000), .holders = 8, .n = 1, .seconds = 60, .faults = true},
    {"100/s, faults and deaths", RATE(100, 1000), .holders = 8, .n = 1, .seconds = 60,
     .faults = true, .deaths = true, .idle = true},
    {"100/s, faults, lost and late replies", RATE(100, 1000), .holders = 8, .n = 1, .seconds = 60,
     .faults = true, .unheard = true},
    {"30/min, faults", RATE(30, 60000), .holders = 8, .n = 1, .seconds = 240, .faults = true},
    {"30/min, faults and deaths", RATE(30, 60000), .holders = 8, .n = 1, .seconds = 240,
     .faults = true, .deaths = true},
    {"30/min, deaths, clocks and names", RATE(30, 60000), .holders = 8, .n = 1, .seconds = 240,
     .deaths = true, .reborn = true},
    {"30/min, faults, lost and late replies", RATE(30, 60000), .holders = 8, .n = 20,
     .seconds = 240, .faults = true, .unheard = true},
    {"1/min, deaths, clocks and names", RATE(1, 60000), .holders = 8, .n = 1, .seconds = 300,
     .deaths = true, .reborn = true},
    {"200/10s, up to 5, faults", RATE(200, 10000), .holders = 5, .n = 5, .seconds = 60,
     .faults = true, .deaths = true, .idle = true},
    {"5 connections", SLOTS(5), .holders = 8, .n = 1, .seconds = 40},
    {"3 connections, faults", SLOTS(3), .holders = 8, .n = 1, .seconds = 60, .faults = true},
    {"5 connections, faults and deaths", SLOTS(5), .holders = 8, .n = 1, .seconds = 60,
     .faults = true, .deaths = true, .idle = true},
    {"3 connections, deaths, clocks and names", SLOTS(3), .holders = 8, .n = 1, .seconds = 120,
     .deaths = true, .reborn = true},
    {"500 a day", DAILY(500), .holders = 4, .n = 3, .seconds = 30, .deaths = true},
    {"500 a day, faults", DAILY(500), .holders = 4, .n = 3, .seconds = 60, .faults = true},
    {"500 a day, midnight", DAILY(500), .holders = 8, .n = 3, .seconds = 60, .deaths = true,
     .midnight = true},
    {"500 a day, midnight, faults", DAILY(500), .holders = 8, .n = 3, .seconds = 60, .faults = true,
     .midnight = true},
    {"5000 a day, deaths, clocks and names", DAILY(5000), .holders = 8, .n = 3, .seconds = 120,
     .deaths = true, .reborn = true, .midnight = true},
};

int main(int argc, char **argv)
{
    uint64_t base = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    unsigned runs = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
    const char *source = getenv("SLUICE_SOURCE_DIR");
    const char *only = argc > 3 ? argv[3] : NULL;
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/tests/redis/fake.lua", source == NULL ? "." : source);
    server_open(path);
    tracing = getenv("TRACE") != NULL;
    log_setup("model", tracing ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    for (unsigned run = 0; run < runs && judge_is_content(); run++) {
        uint64_t number = base + run;
        printf("seed %llu\n", (unsigned long long)number);
        for (size_t i = 0; i < ARRAY_LEN(scenes) && judge_is_content(); i++) {
            if (only != NULL && strstr(scenes[i].name, only) == NULL) {
                continue;
            }
            sim.seed = number * 1000 + i;
            play(&scenes[i]);
        }
    }
    server_close();
    judge_close();
    return judge_is_content() ? 0 : 1;
}
