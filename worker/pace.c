#include "worker/pace.h"

#include "base/mem.h"

#define SAMPLE_US 2000000 /* less says little */

int64_t pace_position(const struct kafka_partition *partition)
{
    return kafka_partition_offsets(partition)->next;
}

void pace_begin(struct pace *pace, struct kafka_partition *const *partitions, size_t count,
                struct mono_time now)
{
    mem_free(pace->items);
    *pace = (struct pace){.count = count};
    pace->items = count == 0 ? NULL : mem_calloc(count, sizeof(*pace->items));
    for (size_t i = 0; i < count; i++) {
        pace->items[i] = (struct pace_item){
            .partition = partitions[i], .position = pace_position(partitions[i]), .at = now};
    }
}

double pace_rate(const struct pace *pace, size_t index, struct mono_time now)
{
    const struct pace_item *item = &pace->items[index];
    int64_t us = mono_since_us(now, item->at);
    return us < SAMPLE_US
               ? item->rate
               : (double)(pace_position(item->partition) - item->position) * 1e6 / (double)us;
}

void pace_note(struct pace *pace, struct mono_time now)
{
    for (size_t i = 0; i < pace->count; i++) {
        struct pace_item *item = &pace->items[i];
        item->rate = pace_rate(pace, i, now);
        item->position = pace_position(item->partition);
        item->at = now;
    }
}
