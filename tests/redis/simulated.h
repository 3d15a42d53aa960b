/*
 * Time, chance and the loop of a holder, as model.c's simulation has them in place of the real ones
 * (the linker wraps the clocks and the random numbers).
 */
#ifndef SLUICE_TESTS_REDIS_SIMULATED_H
#define SLUICE_TESTS_REDIS_SIMULATED_H

#include "io/loop.h"

#define START_US ((int64_t)1700000000 * 1000000)

extern uint64_t seed;
extern int64_t sim_us;    /* true time */
extern int64_t jump_us;   /* of Redis' clock */
extern int64_t offset_us; /* of the monotonic clock of the holder that runs */

bool chance(double part);

struct io_loop {
    struct wheel *wheel;
    struct list tasks;
};
void run_tasks(struct io_loop *loop);

#endif
