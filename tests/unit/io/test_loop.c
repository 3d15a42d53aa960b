#include "unit/io/harness.h"
#include "unit/temp.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

struct probe {
    struct io_loop *loop;
    struct timer timers[3];
    struct mono_time due[3];
    struct io_task task, second;
    unsigned fired, ran, ran_second, events;
    int fd;
    struct io_watch *watch;
    struct io_signal *signal;
    int signal_number;
};

static struct probe *probe;

static int setup(void **state)
{
    struct fault fault;
    (void)state;
    probe = mem_zalloc(sizeof(*probe));
    probe->loop = io_loop_create(&fault);
    return probe->loop == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    io_loop_free(&probe->loop);
    io_loop_free(&probe->loop); /* takes NULL */
    mem_free(probe);
    return 0;
}

static void on_timer(struct timer *timer, struct mono_time now)
{
    size_t i = (size_t)(timer - probe->timers);
    assert_int_equal(i, probe->fired); /* in the order of their deadlines */
    assert_false(mono_before(now, probe->due[i]));
    assert_int_equal(now.us, io_loop_now(probe->loop).us);
    if (++probe->fired == ARRAY_LEN(probe->timers)) {
        io_loop_stop(probe->loop);
    }
}

static void timers_fire_in_order_and_never_early(void **state)
{
    (void)state;
    static const int64_t after_ms[] = {0, 20,
                                       300}; /* the last is past a turn of the lowest level */
    for (size_t i = 0; i < ARRAY_LEN(after_ms); i++) {
        probe->due[i] = mono_add_ms(mono_now(), after_ms[i]);
        wheel_set(io_loop_wheel(probe->loop), &probe->timers[i], probe->due[i], on_timer);
    }
    io_loop_run(probe->loop);
    assert_int_equal(probe->fired, 3);
}

static void run_second(struct io_task *task)
{
    assert_ptr_equal(task, &probe->second);
    probe->ran_second++;
    io_loop_stop(probe->loop);
}

static void run_task(struct io_task *task)
{
    assert_ptr_equal(task, &probe->task);
    assert_false(list_linked(&task->node));
    probe->ran++;
    if (probe->ran < 3) {
        io_loop_defer(probe->loop, task);
        io_loop_defer(probe->loop, task); /* waits already: still once */
    } else {
        probe->second.run = run_second;
        io_loop_defer(probe->loop, &probe->second);
    }
}

static void deferred_tasks_run_once_per_add(void **state)
{
    (void)state;
    probe->task.run = run_task;
    probe->second.run = run_second;
    io_loop_defer(probe->loop, &probe->task);
    io_loop_defer(probe->loop, &probe->second);
    io_task_cancel(&probe->second);
    assert_int_equal(probe->ran, 0);
    io_loop_run(probe->loop);
    assert_int_equal(probe->ran, 3);
    assert_int_equal(probe->ran_second, 1);
}

static void *stop_from_outside(void *argument)
{
    usleep(20000);
    io_loop_stop(argument);
    return NULL;
}

static void stops_from_another_thread_and_runs_again(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, stop_from_outside, probe->loop), 0);
        io_loop_run(probe->loop); /* returns at all */
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

static void on_watch(struct io_watch *watch, void *owner, unsigned events)
{
    uint64_t value = 0;
    assert_ptr_equal(owner, probe);
    assert_ptr_equal(watch, probe->watch);
    probe->events |= events;
    if ((events & IO_WRITABLE) != 0) {
        value = 7;
        assert_int_equal(write(probe->fd, &value, sizeof(value)), sizeof(value));
        io_watch_set(watch, IO_READABLE);
    } else {
        assert_int_equal(events, IO_READABLE);
        assert_int_equal(read(probe->fd, &value, sizeof(value)), sizeof(value));
        assert_int_equal(value, 7);
        io_watch_set(watch, 0);
        io_watch_free(&probe->watch);
        io_loop_stop(probe->loop);
    }
}

static void watches_a_foreign_descriptor(void **state)
{
    struct fault fault;
    (void)state;
    probe->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    probe->watch = io_watch_create(probe->loop, probe->fd, on_watch, probe, &fault);
    assert_non_null(probe->watch);
    io_watch_set(probe->watch, IO_WRITABLE);
    io_loop_run(probe->loop);
    assert_int_equal(probe->events, IO_READABLE | IO_WRITABLE);
    assert_null(probe->watch);
    assert_int_equal(close(probe->fd), 0); /* still ours */
}

static void on_broken(struct io_watch *watch, void *owner, unsigned events)
{
    (void)watch;
    (void)owner;
    /* The reader of the pipe is gone: level-triggered until the owner lets go. */
    assert_int_equal(events, IO_WRITABLE);
    assert_int_equal(write(probe->fd, "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    if (++probe->fired == 2) {
        io_watch_free(&probe->watch);
        io_loop_stop(probe->loop);
    }
}

static void a_watch_tells_errors_as_readiness(void **state)
{
    struct fault fault;
    int ends[2];
    (void)state;
    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    probe->fd = ends[1];
    probe->watch = io_watch_create(probe->loop, ends[1], on_broken, probe, &fault);
    assert_non_null(probe->watch);
    close(ends[0]);
    io_watch_set(probe->watch, IO_WRITABLE);
    io_loop_run(probe->loop);
    assert_int_equal(probe->fired, 2);
    close(ends[1]);
}

static void refuses_what_cannot_be_watched(void **state)
{
    struct fault fault;
    char path[TEMP_NAME_MAX];
    (void)state;
    int fd = mkstemp(temp_name(path)); /* epoll takes no plain files */
    assert_true(fd >= 0);
    unlink(path);
    assert_null(io_watch_create(probe->loop, fd, on_watch, probe, &fault));
    assert_int_equal(fault.code, EPERM);
    close(fd);
}

static void on_signal(void *owner, int signal_number)
{
    assert_ptr_equal(owner, probe);
    probe->signal_number = signal_number;
    io_signal_free(&probe->signal);
    io_loop_stop(probe->loop);
}

static void takes_signals(void **state)
{
    struct fault fault;
    (void)state;
    probe->signal = io_signal_create(probe->loop, SIGHUP, on_signal, probe, &fault);
    assert_non_null(probe->signal);
    assert_int_equal(raise(SIGHUP), 0);
    assert_int_equal(probe->signal_number, 0);
    io_loop_run(probe->loop);
    assert_int_equal(probe->signal_number, SIGHUP);
    assert_null(io_signal_create(probe->loop, SIGKILL, on_signal, probe, &fault));
    assert_int_equal(fault.code, EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timers_fire_in_order_and_never_early, setup, teardown),
        cmocka_unit_test_setup_teardown(deferred_tasks_run_once_per_add, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_from_another_thread_and_runs_again, setup, teardown),
        cmocka_unit_test_setup_teardown(watches_a_foreign_descriptor, setup, teardown),
        cmocka_unit_test_setup_teardown(a_watch_tells_errors_as_readiness, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_cannot_be_watched, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_signals, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
