#include "worker/slots.h"

#include "worker/worker.h"

#include "base/mem.h"

#include <unistd.h>

#define SLOTS_MAGIC 0x534c4f54u
#define READ_PER_TURN 5000
#define WARM_UP_MS 30000

struct slot {
    int32_t number;
    int64_t position;
    bool ended;
};

struct slots {
    uint32_t magic;
    struct kafka_tail *tail;
    const char *topic;
    int event_fd;
    struct slot *all;
    size_t count;
};

struct slots *slots_create(const struct worker *worker, const char *topic, bool committed,
                           int event_fd, struct fault *fault)
{
    struct slots *slots = mem_zalloc(sizeof(*slots));
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &worker->config->kafka);
    slots->magic = SLOTS_MAGIC;
    slots->topic = topic;
    slots->event_fd = event_fd;
    slots->tail = kafka_tail_create(&properties, worker->name, committed, fault);
    kafka_properties_free(&properties);
    if (slots->tail == NULL || !kafka_tail_warm_up(slots->tail, topic, WARM_UP_MS, fault)) {
        slots_free(&slots);
        return NULL;
    }
    kafka_tail_notify(slots->tail, event_fd);
    return slots;
}

void slots_free(struct slots **handle)
{
    struct slots *slots = *handle;
    if (slots == NULL) {
        return;
    }
    CHECK_MAGIC(slots, SLOTS_MAGIC);
    kafka_tail_free(&slots->tail);
    mem_free(slots->all);
    slots->magic = 0;
    mem_free(slots);
    *handle = NULL;
}

static struct slot *find(const struct slots *slots, int32_t number)
{
    for (size_t i = 0; i < slots->count; i++) {
        if (slots->all[i].number == number) {
            return &slots->all[i];
        }
    }
    return NULL;
}

void slots_want(struct slots *slots, int32_t slot, int64_t from)
{
    struct slot *known = find(slots, slot);
    CHECK_MAGIC(slots, SLOTS_MAGIC);
    if (known != NULL) {
        known->position = from < known->position ? from : known->position;
        return;
    }
    slots->all = mem_realloc(slots->all, (slots->count + 1) * sizeof(*slots->all));
    slots->all[slots->count++] = (struct slot){.number = slot, .position = from};
}

bool slots_start(struct slots *slots, struct fault *fault)
{
    CHECK_MAGIC(slots, SLOTS_MAGIC);
    for (size_t i = 0; i < slots->count; i++) {
        slots->all[i].ended = false;
        if (!kafka_tail_start(slots->tail, slots->topic, slots->all[i].number,
                              slots->all[i].position, fault)) {
            return false;
        }
    }
    return true;
}

bool slots_start_again(struct slots *slots, struct fault *fault)
{
    for (size_t i = 0; i < slots->count; i++) {
        kafka_tail_stop(slots->tail, slots->topic, slots->all[i].number);
    }
    return slots_start(slots, fault);
}

void slots_stop(struct slots *slots)
{
    CHECK_MAGIC(slots, SLOTS_MAGIC);
    for (size_t i = 0; i < slots->count; i++) {
        kafka_tail_stop(slots->tail, slots->topic, slots->all[i].number);
    }
    mem_free(slots->all);
    slots->all = NULL;
    slots->count = 0;
}

bool slots_read(struct slots *slots,
                void (*take)(void *owner, int32_t slot, int64_t offset, struct slice value),
                void *owner, struct fault *fault)
{
    struct kafka_reader_record record;
    struct slot *slot;
    const uint64_t one = 1;
    CHECK_MAGIC(slots, SLOTS_MAGIC);
    for (int i = 0; slots->count > 0 && i < READ_PER_TURN; i++) {
        switch (kafka_tail_next(slots->tail, 0, &record, fault)) {
        case KAFKA_TAIL_NONE: return true;
        case KAFKA_TAIL_FAILED: return false;
        case KAFKA_TAIL_RECORD:
            take(owner, record.partition, record.offset, record.value);
            slot = find(slots, record.partition);
            CHECK(slot != NULL);
            slot->position = record.offset + 1;
            break;
        case KAFKA_TAIL_END:
            slot = find(slots, record.partition);
            CHECK(slot != NULL);
            slot->ended = true;
            break;
        }
    }
    if (slots->count > 0) { /* there may be more */
        ssize_t written = write(slots->event_fd, &one, sizeof(one));
        (void)written; /* a full eventfd is readable already */
    }
    return true;
}

bool slots_ended(const struct slots *slots)
{
    for (size_t i = 0; i < slots->count; i++) {
        if (!slots->all[i].ended) {
            return false;
        }
    }
    return true;
}
