/* Sliding windows: a ring of times for the limit, a ring of counts for the meter. */
#include "sim/window.h"

#include "base/mem.h"

void sim_window_init(struct sim_window *window, uint32_t limit, int64_t period_us)
{
    *window = (struct sim_window){.period_us = period_us, .limit = limit};
    if (limit > 0) {
        window->times = mem_calloc(limit, sizeof(*window->times));
    }
}

void sim_window_free(struct sim_window *window)
{
    mem_free(window->times);
    *window = (struct sim_window){0};
}

bool sim_window_take(struct sim_window *window, int64_t now_us)
{
    if (window->limit == 0) {
        return true;
    }
    if (window->used < window->limit) {
        window->times[window->used++] = now_us;
        return true;
    }
    if (window->times[window->oldest] > now_us - window->period_us) {
        return false;
    }
    window->times[window->oldest] = now_us;
    window->oldest = (window->oldest + 1) % window->limit;
    return true;
}

void sim_meter_init(struct sim_meter *meter, int64_t period_us)
{
    *meter = (struct sim_meter){.bucket_us = period_us / SIM_METER_BUCKETS};
    CHECK(meter->bucket_us > 0);
}

void sim_meter_add(struct sim_meter *meter, int64_t now_us, uint32_t count)
{
    int64_t bucket = now_us / meter->bucket_us;
    if (bucket - meter->at >= SIM_METER_BUCKETS) {
        memset(meter->buckets, 0, sizeof(meter->buckets));
        meter->sum = 0;
        meter->at = bucket;
    }
    while (meter->at < bucket) {
        meter->at++;
        meter->sum -= meter->buckets[meter->at % SIM_METER_BUCKETS];
        meter->buckets[meter->at % SIM_METER_BUCKETS] = 0;
    }
    meter->buckets[meter->at % SIM_METER_BUCKETS] += count;
    meter->sum += count;
    if (meter->sum > meter->highest) {
        meter->highest = meter->sum;
    }
}
