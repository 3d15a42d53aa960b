/*
 * Time, chance and the loop of a holder, as the simulation of model.h has them in place of the real
 * ones (the linker wraps the clocks and the random numbers).
 */
#ifndef SLUICE_TESTS_REDIS_SIMULATED_H
#define SLUICE_TESTS_REDIS_SIMULATED_H

#include "io/loop.h"

struct sim {
    uint64_t seed;
    int64_t now_us;   /* true time, of which… */
    int64_t start_us; /* … 0 is this one */
    int64_t jump_us;  /* of Redis' clock */
    /* Of the holder that runs: */
    int64_t offset_us; /* of its monotonic clock */
    int64_t wall_us;   /* of its clock of the day */
};
extern struct sim sim;

bool chance(double part);

struct io_loop {
    struct wheel *wheel;
    struct list tasks;
};
void loop_run_tasks(struct io_loop *loop);

#endif
