/*
 * An event loop for one thread: libuv's loop with our timer wheel, a clock read once per turn,
 * hooks at the end of a turn, and file descriptors of libraries. Everything here but io_loop_stop()
 * is called on the loop's own thread.
 */
#ifndef SLUICE_IO_LOOP_H
#define SLUICE_IO_LOOP_H

#include "base/clock.h"
#include "base/fault.h"
#include "base/list.h"
#include "base/wheel.h"

struct io_loop;

/* NULL and fault: no descriptors. Ignores SIGPIPE for the whole process (OpenSSL writes without
 * MSG_NOSIGNAL). */
struct io_loop *io_loop_create(struct fault *fault);
/* All connections, mailboxes, watches, signals and timers made on it must be freed before (their
 * close runs the last turns of the loop here). Takes NULL, nulls the pointer. */
void io_loop_free(struct io_loop **loop);

/* Runs until io_loop_stop(); may be called again after it. */
void io_loop_run(struct io_loop *loop);
/* One turn: waits for something to happen (a set timer at the latest), handles it and returns. For
 * a thread that has work to do outside the loop. Not from inside a callback. */
void io_loop_turn(struct io_loop *loop);
/* From any thread; the loop leaves at the end of its turn. */
void io_loop_stop(struct io_loop *loop);

/* The clock as read at the start of this turn. */
struct mono_time io_loop_now(const struct io_loop *loop);

/* Set and cancel timers with wheel_set()/wheel_cancel() on this. */
struct wheel *io_loop_wheel(struct io_loop *loop);

/* Work to do once at the end of the current turn, after all reads: typed callback, intrusive, run
 * once per add. */
struct io_task {
    struct list node;
    void (*run)(struct io_task *task);
};
/* The task must be zeroed before its first use, with `run` set. One that waits already stays where
 * it is; one added by a task runs in the next turn. */
void io_loop_defer(struct io_loop *loop, struct io_task *task);
void io_task_cancel(struct io_task *task);

/* Watches a descriptor that a library owns (libunbound, hiredis, eventfd). Level-triggered. */
enum io_events { IO_READABLE = 1, IO_WRITABLE = 2 };
struct io_watch;
/* `events` are those that happened; an error condition is told as all that were asked for. The
 * callback may free the watch. */
typedef void (*io_watch_callback)(struct io_watch *watch, void *owner, unsigned events);
/* Watches nothing until io_watch_set(). One watch per descriptor and loop. */
struct io_watch *io_watch_create(struct io_loop *loop, int fd, io_watch_callback callback,
                                 void *owner, struct fault *fault);
void io_watch_set(struct io_watch *watch, unsigned events); /* 0: none */
/* The callback does not run any more; the descriptor is not closed. */
void io_watch_free(struct io_watch **watch);

/* SIGTERM, SIGINT, SIGHUP… on this loop. */
struct io_signal;
typedef void (*io_signal_callback)(void *owner, int signal_number);
struct io_signal *io_signal_create(struct io_loop *loop, int signal_number,
                                   io_signal_callback callback, void *owner, struct fault *fault);
void io_signal_free(struct io_signal **signal);

#endif
