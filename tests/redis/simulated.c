/* See simulated.h. */
#include "tests/redis/simulated.h"

#include "base/random.h"

/* ---- time and chance ---- */

struct sim sim;

struct mono_time __wrap_mono_now(void);
struct wall_time __wrap_wall_now(void);
uint64_t __wrap_random_u64(void);
uint32_t __wrap_random_below(uint32_t bound);

struct mono_time __wrap_mono_now(void)
{
    return (struct mono_time){sim.now_us + sim.offset_us};
}

struct wall_time __wrap_wall_now(void)
{
    return (struct wall_time){(sim.start_us + sim.now_us + sim.wall_us) / 1000};
}

/* splitmix64 */
uint64_t __wrap_random_u64(void)
{
    uint64_t z = sim.seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint32_t __wrap_random_below(uint32_t bound)
{
    return (uint32_t)(random_u64() % bound);
}

bool chance(double part)
{
    return (double)(random_u64() >> 11) / 9007199254740992.0 < part;
}

/* ---- the loop of a holder ---- */

struct wheel *io_loop_wheel(struct io_loop *loop)
{
    return loop->wheel;
}

void io_loop_defer(struct io_loop *loop, struct io_task *task)
{
    if (!list_linked(&task->node)) {
        list_push_back(&loop->tasks, &task->node);
    }
}

void io_task_cancel(struct io_task *task)
{
    list_remove(&task->node);
}

void loop_run_tasks(struct io_loop *loop)
{
    struct list *node;
    while ((node = list_pop_front(&loop->tasks)) != NULL) {
        struct io_task *task = CONTAINER_OF(node, struct io_task, node);
        task->run(task);
    }
}
