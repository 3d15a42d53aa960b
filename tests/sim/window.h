/*
 * Two ways to look at arrivals in a sliding window; times are microseconds and never go back.
 *
 * sim_window enforces "at most N in any window": it remembers the times of the last N that were
 * granted, so it is exact. sim_meter measures the highest number in a window that is at most the
 * period long and at least 0.999 of it, in constant memory: what it says was really there.
 */
#ifndef SLUICE_SIM_WINDOW_H
#define SLUICE_SIM_WINDOW_H

#include "base/check.h"

struct sim_window {
    int64_t period_us;
    int64_t *times; /* ring of `limit`; NULL: no limit */
    uint32_t limit;
    uint32_t used;
    uint32_t oldest;
};

/* A limit of 0 grants always. */
void sim_window_init(struct sim_window *window, uint32_t limit, int64_t period_us);
void sim_window_free(struct sim_window *window);
/* True: there is room; it is used. */
bool sim_window_take(struct sim_window *window, int64_t now_us);

#define SIM_METER_BUCKETS 1000

struct sim_meter {
    int64_t bucket_us;
    int64_t at; /* number of the current bucket since time 0 */
    uint64_t sum;
    uint64_t highest;
    uint32_t buckets[SIM_METER_BUCKETS];
};

void sim_meter_init(struct sim_meter *meter, int64_t period_us);
void sim_meter_add(struct sim_meter *meter, int64_t now_us, uint32_t count);

#endif
