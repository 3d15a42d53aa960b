/*
 * What the files of this room share of a loop. Everything here runs on the loop's thread.
 *
 * A turn of libuv: timers (ours only bounds the wait), prepare (re-arms that timer from the wheel),
 * epoll with the callbacks of descriptors, asyncs and signals, check (wheel, then deferred tasks,
 * then stop), close callbacks. The clock is read by the first callback after epoll, so every
 * callback of libuv calls io_loop_wake() first.
 */
#ifndef SLUICE_IO_LOOP_PRIVATE_H
#define SLUICE_IO_LOOP_PRIVATE_H

#include "io/loop.h"

#include <stdatomic.h>
#include <uv.h>

#define IO_READ_BYTES ((size_t)64 * 1024)
/* The largest plaintext of one TLS record (RFC 8446 5.1). */
#define IO_SCRATCH_BYTES ((size_t)16 * 1024)

struct io_loop {
    uint32_t magic;
    uv_loop_t uv;
    uv_async_t stop_async;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_check_t check;
    atomic_bool stopping;
    bool stale; /* `now` is from before epoll */
    struct mono_time now;
    struct mono_time armed; /* what the uv timer waits for; MONO_NEVER: it is not active */
    struct wheel *wheel;
    struct list deferred; /* struct io_task */
    struct list
        lingering;     /* struct io_conn without an owner, waiting for the peer's end of stream */
    char *read_buffer; /* IO_READ_BYTES; lent to one input() at a time */
    char *scratch;     /* IO_SCRATCH_BYTES; small pieces gathered for one TLS record */
};

/* Reads the clock when that was not done since epoll. */
void io_loop_wake(struct io_loop *loop);

uv_loop_t *io_loop_uv(struct io_loop *loop);

/* Fills the fault from a libuv result (a negated errno on Unix). Returns false. */
bool io_fault_uv(struct fault *fault, int result, const char *what);

#endif
