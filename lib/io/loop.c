#include "io/loop.h"

#include "base/mem.h"
#include "io/conn_private.h"
#include "io/loop_private.h"

#include <signal.h>

#define LOOP_MAGIC 0x4c4f4f50u
/* Turns that io_loop_free() grants to close callbacks; each needs one. */
#define CLOSE_TURNS 64

void io_loop_wake(struct io_loop *loop)
{
    if (loop->stale) {
        loop->now = mono_now();
        loop->stale = false;
    }
}

uv_loop_t *io_loop_uv(struct io_loop *loop)
{
    CHECK_MAGIC(loop, LOOP_MAGIC);
    return &loop->uv;
}

bool io_fault_uv(struct fault *fault, int result, const char *what)
{
    return fault_set_errno(fault, -result, "%s", what);
}

static void on_timer(uv_timer_t *handle)
{
    struct io_loop *loop = CONTAINER_OF(handle, struct io_loop, timer);
    CHECK_MAGIC(loop, LOOP_MAGIC);
    loop->armed = MONO_NEVER;
}

/* Bounds the coming wait by the wheel's next deadline. */
static void on_prepare(uv_prepare_t *handle)
{
    struct io_loop *loop = CONTAINER_OF(handle, struct io_loop, prepare);
    CHECK_MAGIC(loop, LOOP_MAGIC);
    loop->stale = true;
    struct mono_time due = {0};
    if (list_empty(&loop->deferred)) {
        due = wheel_next(loop->wheel);
    }
    if (due.us == loop->armed.us) {
        return;
    }
    loop->armed = due;
    if (due.us == MONO_NEVER.us) {
        uv_timer_stop(&loop->timer);
        return;
    }
    int64_t wait_us = due.us == 0 ? 0 : mono_since_us(due, mono_now());
    uint64_t wait_ms = wait_us <= 0 ? 0 : (uint64_t)(wait_us + 999) / 1000;
    CHECK(uv_timer_start(&loop->timer, on_timer, wait_ms, 0) == 0);
}

/* Tasks deferred by tasks wait for the next turn, so that descriptors are never starved. */
static void run_deferred(struct io_loop *loop)
{
    struct list due;
    struct list *node;
    list_init(&due);
    list_append_all(&due, &loop->deferred);
    while ((node = list_pop_front(&due)) != NULL) {
        struct io_task *task = CONTAINER_OF(node, struct io_task, node);
        task->run(task);
    }
}

static void on_check(uv_check_t *handle)
{
    struct io_loop *loop = CONTAINER_OF(handle, struct io_loop, check);
    CHECK_MAGIC(loop, LOOP_MAGIC);
    io_loop_wake(loop);
    wheel_advance(loop->wheel, loop->now);
    run_deferred(loop);
    if (atomic_load(&loop->stopping)) {
        uv_stop(&loop->uv);
    }
}

/* Only wakes the loop; on_check() sees the flag. */
static void on_stop_async(uv_async_t *handle)
{
    struct io_loop *loop = CONTAINER_OF(handle, struct io_loop, stop_async);
    CHECK_MAGIC(loop, LOOP_MAGIC);
    io_loop_wake(loop);
}

static bool open_handles(struct io_loop *loop, struct fault *fault)
{
    int result = uv_loop_init(&loop->uv);
    if (result != 0) {
        return io_fault_uv(fault, result, "event loop");
    }
    result = uv_async_init(&loop->uv, &loop->stop_async, on_stop_async);
    if (result != 0) {
        CHECK(uv_loop_close(&loop->uv) == 0);
        return io_fault_uv(fault, result, "wake-up descriptor of the event loop");
    }
    CHECK(uv_timer_init(&loop->uv, &loop->timer) == 0);
    CHECK(uv_prepare_init(&loop->uv, &loop->prepare) == 0);
    CHECK(uv_check_init(&loop->uv, &loop->check) == 0);
    CHECK(uv_prepare_start(&loop->prepare, on_prepare) == 0);
    CHECK(uv_check_start(&loop->check, on_check) == 0);
    return true;
}

struct io_loop *io_loop_create(struct fault *fault)
{
    struct io_loop *loop = mem_zalloc(sizeof(*loop));
    /* OpenSSL writes to sockets by write(2), which has no MSG_NOSIGNAL. */
    signal(SIGPIPE, SIG_IGN);
    if (!open_handles(loop, fault)) {
        mem_free(loop);
        return NULL;
    }
    loop->magic = LOOP_MAGIC;
    atomic_init(&loop->stopping, false);
    loop->now = mono_now();
    loop->armed = MONO_NEVER;
    loop->wheel = wheel_create(loop->now);
    list_init(&loop->deferred);
    list_init(&loop->lingering);
    loop->read_buffer = mem_zalloc(IO_READ_BYTES);
    loop->scratch = mem_zalloc(IO_SCRATCH_BYTES);
    return loop;
}

void io_loop_free(struct io_loop **handle)
{
    struct io_loop *loop = *handle;
    if (loop == NULL) {
        return;
    }
    CHECK_MAGIC(loop, LOOP_MAGIC);
    struct list *node;
    while ((node = list_pop_front(&loop->lingering)) != NULL) {
        conn_destroy(CONTAINER_OF(node, struct io_conn, linger_node));
    }
    uv_close((uv_handle_t *)&loop->stop_async, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    int result = UV_EBUSY;
    for (int turn = 0; turn < CLOSE_TURNS && result == UV_EBUSY; turn++) {
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        result = uv_loop_close(&loop->uv);
    }
    CHECK(result == 0); /* else a connection, mailbox, watch, signal or listener is still there */
    CHECK(list_empty(&loop->deferred));
    wheel_free(&loop->wheel);
    mem_free(loop->read_buffer);
    mem_free(loop->scratch);
    loop->magic = 0;
    mem_free(loop);
    *handle = NULL;
}

void io_loop_run(struct io_loop *loop)
{
    CHECK_MAGIC(loop, LOOP_MAGIC);
    loop->now = mono_now();
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    atomic_store(&loop->stopping, false);
}

void io_loop_turn(struct io_loop *loop)
{
    CHECK_MAGIC(loop, LOOP_MAGIC);
    loop->now = mono_now();
    uv_run(&loop->uv, UV_RUN_ONCE);
}

void io_loop_stop(struct io_loop *loop)
{
    CHECK_MAGIC(loop, LOOP_MAGIC);
    atomic_store(&loop->stopping, true);
    uv_async_send(&loop->stop_async);
}

struct mono_time io_loop_now(const struct io_loop *loop)
{
    CHECK_MAGIC(loop, LOOP_MAGIC);
    return loop->now;
}

struct wheel *io_loop_wheel(struct io_loop *loop)
{
    CHECK_MAGIC(loop, LOOP_MAGIC);
    return loop->wheel;
}

void io_loop_defer(struct io_loop *loop, struct io_task *task)
{
    CHECK_MAGIC(loop, LOOP_MAGIC);
    CHECK(task->run != NULL);
    if (!list_linked(&task->node)) {
        list_push_back(&loop->deferred, &task->node);
    }
}

void io_task_cancel(struct io_task *task)
{
    list_remove(&task->node);
}
