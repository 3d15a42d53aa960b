/* See reports.h. On the loop's thread; librdkafka's threads write to the eventfd. */
#include "kafka/reports.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define POLL_MS 500

static void on_reports(struct io_watch *watch, void *owner, unsigned events)
{
    struct kafka_reports *reports = owner;
    uint64_t count;
    (void)watch;
    (void)events;
    ssize_t got = read(reports->event_fd, &count, sizeof(count));
    (void)got; /* nothing there: another notification took it */
    while (kafka_producer_poll(reports->producer, 0) > 0) {
    }
}

static void poll_again(struct timer *timer, struct mono_time now)
{
    struct kafka_reports *reports = CONTAINER_OF(timer, struct kafka_reports, poll);
    kafka_producer_poll(reports->producer, 0);
    wheel_set(io_loop_wheel(reports->loop), timer, mono_add_ms(now, POLL_MS), poll_again);
}

bool kafka_reports_begin(struct kafka_reports *reports, struct io_loop *loop,
                         struct kafka_producer *producer, struct fault *fault)
{
    int event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (event_fd < 0) {
        return fault_set_errno(fault, errno, "eventfd");
    }
    *reports = (struct kafka_reports){.loop = loop, .producer = producer, .event_fd = event_fd};
    reports->watch = io_watch_create(loop, event_fd, on_reports, reports, fault);
    if (reports->watch == NULL) {
        return false;
    }
    io_watch_set(reports->watch, IO_READABLE);
    kafka_producer_notify(producer, event_fd);
    poll_again(&reports->poll, io_loop_now(loop));
    return true;
}

void kafka_reports_stop(struct kafka_reports *reports)
{
    if (reports->loop != NULL) {
        wheel_cancel(io_loop_wheel(reports->loop), &reports->poll);
        io_watch_free(&reports->watch);
    }
}

void kafka_reports_end(struct kafka_reports *reports)
{
    if (reports->loop != NULL) {
        close(reports->event_fd);
        *reports = (struct kafka_reports){0};
    }
}
