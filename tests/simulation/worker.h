/* A simulated worker, as the world sees it. What is in it: process.h. */
#ifndef SLUICE_TESTS_SIMULATION_WORKER_H
#define SLUICE_TESTS_SIMULATION_WORKER_H

#include "simulation/world.h"

struct process *process_create(int index);
void process_free(struct process **process);

bool process_is_alive(const struct process *process);
/* Alive, and still that incarnation. */
bool process_is(const struct process *process, uint32_t incarnation);
int64_t process_stopped_until(const struct process *process);

void process_start(struct world *world, int index);
void process_kill(struct world *world, int index); /* -9 */
void process_stop(struct world *world, int index, int64_t until);
void process_drain(struct world *world, int index); /* SIGTERM */
/* Its host's clock of the day is so far from true time now; monotonic clocks go on. */
void process_set_clock(struct world *world, int index, int64_t wall);

/* world.c: it has drained. */
void process_has_ended(struct world *world, int process);

#endif
