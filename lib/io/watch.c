/*
 * Descriptors of libraries, and signals. A handle's memory goes in libuv's close callback only.
 */
#include "base/mem.h"
#include "io/loop_private.h"

#define WATCH_MAGIC 0x57415443u
#define SIGNAL_MAGIC 0x5349474eu

struct io_watch {
    uint32_t magic;
    uv_poll_t poll;
    struct io_loop *loop;
    unsigned events; /* enum io_events that the owner asked for */
    io_watch_callback callback;
    void *owner;
};

struct io_signal {
    uint32_t magic;
    uv_signal_t handle;
    struct io_loop *loop;
    io_signal_callback callback;
    void *owner;
};

static void on_watch(uv_poll_t *poll, int status, int events);

static void watch_arm(struct io_watch *watch)
{
    int wanted = 0;
    wanted |= (watch->events & IO_READABLE) != 0 ? UV_READABLE : 0;
    wanted |= (watch->events & IO_WRITABLE) != 0 ? UV_WRITABLE : 0;
    if (wanted == 0) {
        uv_poll_stop(&watch->poll);
    } else {
        CHECK(uv_poll_start(&watch->poll, wanted, on_watch) == 0);
    }
}

static void on_watch(uv_poll_t *poll, int status, int events)
{
    struct io_watch *watch = CONTAINER_OF(poll, struct io_watch, poll);
    CHECK_MAGIC(watch, WATCH_MAGIC);
    io_loop_wake(watch->loop);
    unsigned happened = 0;
    if (status < 0) {
        /* libuv stops at an error condition; the owner finds it by reading or writing. */
        happened = watch->events;
        watch_arm(watch);
    } else {
        happened |= (events & UV_READABLE) != 0 ? (unsigned)IO_READABLE : 0;
        happened |= (events & UV_WRITABLE) != 0 ? (unsigned)IO_WRITABLE : 0;
    }
    watch->callback(watch, watch->owner, happened);
}

struct io_watch *io_watch_create(struct io_loop *loop, int fd, io_watch_callback callback,
                                 void *owner, struct fault *fault)
{
    struct io_watch *watch = mem_zalloc(sizeof(*watch));
    int result = uv_poll_init(io_loop_uv(loop), &watch->poll, fd);
    if (result != 0) {
        mem_free(watch);
        io_fault_uv(fault, result, "cannot watch the descriptor");
        return NULL;
    }
    watch->magic = WATCH_MAGIC;
    watch->loop = loop;
    watch->callback = callback;
    watch->owner = owner;
    return watch;
}

void io_watch_set(struct io_watch *watch, unsigned events)
{
    CHECK_MAGIC(watch, WATCH_MAGIC);
    if (watch->events != events) {
        watch->events = events;
        watch_arm(watch);
    }
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct io_watch *watch = CONTAINER_OF((uv_poll_t *)handle, struct io_watch, poll);
    watch->magic = 0;
    mem_free(watch);
}

void io_watch_free(struct io_watch **handle)
{
    struct io_watch *watch = *handle;
    if (watch == NULL) {
        return;
    }
    CHECK_MAGIC(watch, WATCH_MAGIC);
    *handle = NULL;
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static void on_signal(uv_signal_t *handle, int signal_number)
{
    struct io_signal *watcher = CONTAINER_OF(handle, struct io_signal, handle);
    CHECK_MAGIC(watcher, SIGNAL_MAGIC);
    io_loop_wake(watcher->loop);
    watcher->callback(watcher->owner, signal_number);
}

static void on_signal_closed(uv_handle_t *handle)
{
    struct io_signal *watcher = CONTAINER_OF((uv_signal_t *)handle, struct io_signal, handle);
    watcher->magic = 0;
    mem_free(watcher);
}

struct io_signal *io_signal_create(struct io_loop *loop, int signal_number,
                                   io_signal_callback callback, void *owner, struct fault *fault)
{
    struct io_signal *watcher = mem_zalloc(sizeof(*watcher));
    int result = uv_signal_init(io_loop_uv(loop), &watcher->handle);
    if (result != 0) {
        mem_free(watcher);
        io_fault_uv(fault, result, "cannot watch signals");
        return NULL;
    }
    watcher->magic = SIGNAL_MAGIC;
    watcher->loop = loop;
    watcher->callback = callback;
    watcher->owner = owner;
    result = uv_signal_start(&watcher->handle, on_signal, signal_number);
    if (result != 0) {
        uv_close((uv_handle_t *)&watcher->handle, on_signal_closed);
        io_fault_uv(fault, result, "cannot watch the signal");
        return NULL;
    }
    return watcher;
}

void io_signal_free(struct io_signal **handle)
{
    struct io_signal *watcher = *handle;
    if (watcher == NULL) {
        return;
    }
    CHECK_MAGIC(watcher, SIGNAL_MAGIC);
    *handle = NULL;
    uv_close((uv_handle_t *)&watcher->handle, on_signal_closed);
}
