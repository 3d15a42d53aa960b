#include "base/wheel.h"

#include "base/mem.h"

#define WHEEL_MAGIC 0x5748454cu
#define LEVELS 4
#define SLOT_BITS 8
#define SLOTS (1u << SLOT_BITS)
#define SPAN_MS ((int64_t)1 << (SLOT_BITS * LEVELS))

struct wheel {
    uint32_t magic;
    int64_t now_ms;
    size_t count;
    struct list slots[LEVELS][SLOTS];
};

static int64_t ceil_ms(struct mono_time t)
{
    return t.us == INT64_MAX ? INT64_MAX : (t.us + 999) / 1000;
}

/* The lowest level whose turn still reaches that deadline. */
static int level_of(const struct wheel *wheel, int64_t due_ms)
{
    int64_t ahead = due_ms - wheel->now_ms;
    for (int level = 0; level < LEVELS - 1; level++) {
        if (ahead < ((int64_t)1 << (SLOT_BITS * (level + 1)))) {
            return level;
        }
    }
    return LEVELS - 1;
}

struct wheel *wheel_create(struct mono_time now)
{
    struct wheel *wheel = mem_zalloc(sizeof(*wheel));
    wheel->magic = WHEEL_MAGIC;
    wheel->now_ms = now.us / 1000;
    for (size_t level = 0; level < LEVELS; level++) {
        for (size_t i = 0; i < SLOTS; i++) {
            list_init(&wheel->slots[level][i]);
        }
    }
    return wheel;
}

void wheel_free(struct wheel **handle)
{
    struct wheel *wheel = *handle;
    if (wheel == NULL) {
        return;
    }
    CHECK_MAGIC(wheel, WHEEL_MAGIC);
    CHECK(wheel->count == 0);
    wheel->magic = 0;
    mem_free(wheel);
    *handle = NULL;
}

static void place(struct wheel *wheel, struct timer *timer)
{
    int64_t due = timer->due_ms;
    if (due <= wheel->now_ms) {
        due = wheel->now_ms + 1;
    } else if (due - wheel->now_ms >= SPAN_MS) {
        due = wheel->now_ms + SPAN_MS - 1;
    }
    int level = level_of(wheel, due);
    size_t slot = (size_t)((uint64_t)due >> (SLOT_BITS * level)) & (SLOTS - 1);
    list_push_back(&wheel->slots[level][slot], &timer->node);
    wheel->count++;
}

void wheel_set(struct wheel *wheel, struct timer *timer, struct mono_time due,
               timer_callback callback)
{
    CHECK_MAGIC(wheel, WHEEL_MAGIC);
    wheel_cancel(wheel, timer);
    timer->due_ms = ceil_ms(due);
    timer->callback = callback;
    place(wheel, timer);
}

void wheel_cancel(struct wheel *wheel, struct timer *timer)
{
    if (timer_is_set(timer)) {
        list_remove(&timer->node);
        wheel->count--;
    }
}

/* Moves the timers of one slot of a higher level to where they belong now. */
static void cascade(struct wheel *wheel, int level)
{
    struct list moved;
    struct list *node;
    size_t slot = (size_t)((uint64_t)wheel->now_ms >> (SLOT_BITS * level)) & (SLOTS - 1);
    list_init(&moved);
    list_append_all(&moved, &wheel->slots[level][slot]);
    while ((node = list_pop_front(&moved)) != NULL) {
        struct timer *timer = CONTAINER_OF(node, struct timer, node);
        wheel->count--;
        if (timer->due_ms <= wheel->now_ms) {
            /* Due in this very millisecond: into the slot that is fired next. */
            list_push_back(&wheel->slots[0][(size_t)wheel->now_ms & (SLOTS - 1)], &timer->node);
            wheel->count++;
        } else {
            place(wheel, timer);
        }
    }
}

static void fire_slot(struct wheel *wheel, struct mono_time now)
{
    struct list due;
    struct list *node;
    list_init(&due);
    list_append_all(&due, &wheel->slots[0][(size_t)wheel->now_ms & (SLOTS - 1)]);
    while ((node = list_pop_front(&due)) != NULL) {
        struct timer *timer = CONTAINER_OF(node, struct timer, node);
        wheel->count--;
        timer->callback(timer, now);
    }
}

void wheel_advance(struct wheel *wheel, struct mono_time now)
{
    CHECK_MAGIC(wheel, WHEEL_MAGIC);
    int64_t target_ms = now.us / 1000;
    while (wheel->now_ms < target_ms) {
        if (wheel->count == 0) {
            wheel->now_ms = target_ms;
            return;
        }
        wheel->now_ms++;
        /* Highest level first: what it gives back may fall into a slot of the level below. */
        for (int level = LEVELS - 1; level > 0; level--) {
            if ((wheel->now_ms & (((int64_t)1 << (SLOT_BITS * level)) - 1)) == 0) {
                cascade(wheel, level);
            }
        }
        fire_slot(wheel, now);
    }
}

struct mono_time wheel_next(const struct wheel *wheel)
{
    if (wheel->count == 0) {
        return MONO_NEVER;
    }
    /* The first filled slot of level 0 before its next turn, else that turn itself. */
    for (int64_t ms = wheel->now_ms + 1;; ms++) {
        if (!list_empty(&wheel->slots[0][(size_t)ms & (SLOTS - 1)]) ||
            (ms & (int64_t)(SLOTS - 1)) == 0) {
            return (struct mono_time){ms * 1000};
        }
    }
}
