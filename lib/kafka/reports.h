/*
 * A producer's delivery reports on a loop: they are run on its thread as they come, and each half
 * second, should a notification be missed.
 */
#ifndef SLUICE_KAFKA_REPORTS_H
#define SLUICE_KAFKA_REPORTS_H

#include "io/loop.h"
#include "kafka/producer.h"

/* Part of its owner; zeroed before. */
struct kafka_reports {
    struct io_loop *loop; /* NULL: not begun */
    struct kafka_producer *producer;
    int event_fd;
    struct io_watch *watch;
    struct timer poll;
};

/* False: fault is set. */
bool kafka_reports_begin(struct kafka_reports *reports, struct io_loop *loop,
                         struct kafka_producer *producer, struct fault *fault);
/* Nothing is run any more: before the producer and the loop are freed. */
void kafka_reports_stop(struct kafka_reports *reports);
/* After the producer is freed, which may notify until then. */
void kafka_reports_end(struct kafka_reports *reports);

#endif
