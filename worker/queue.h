/*
 * The queue of a lane: who goes first. Transactional before bulk with a floor of 5 % for bulk;
 * inside a class deficit round robin (Shreedhar and Varghese 1995) over tenants by weight, counted
 * in recipients; inside a tenant first come, first served. O(1) push and take. Pure: no clock, no
 * I/O; one thread.
 */
#ifndef SLUICE_WORKER_QUEUE_H
#define SLUICE_WORKER_QUEUE_H

#include "base/map.h"
#include "worker/mail.h"

#define QUEUE_CLASSES 2

struct queue_class {
    struct map tenants; /* name -> struct queue_tenant */
    struct list active; /* tenants that have mail, in turn */
    size_t length;
};

struct queue {
    struct queue_class classes[QUEUE_CLASSES]; /* by enum config_class */
    size_t length;
    unsigned since_bulk; /* transactional takes since bulk had its turn */
};

void queue_init(struct queue *queue);
/* Must be empty. */
void queue_free(struct queue *queue);

/* `weight` of the tenant: recipients per turn, at least 1. */
void queue_push(struct queue *queue, struct mail *mail, uint32_t weight);
/* Puts back what was taken last: next in turn of its tenant and class. */
void queue_push_front(struct queue *queue, struct mail *mail, uint32_t weight);

/* The next one without taking it; NULL: empty. The same until the queue changes. */
struct mail *queue_peek(struct queue *queue);
/* Takes what queue_peek() shows. */
struct mail *queue_take(struct queue *queue);

/* Takes the youngest mail of the lowest class for spilling; NULL: empty. */
struct mail *queue_take_last(struct queue *queue);

/* Takes a mail that joined the lane before that time, if it is the oldest of its tenant; NULL:
 * there is none. */
struct mail *queue_take_older(struct queue *queue, struct mono_time before);

/* Calls `act` for the mails that joined the lane before that time, tenant by tenant from the oldest
 * on, at most `max`. */
void queue_foreach_before(struct queue *queue, struct mono_time before, size_t max,
                          bool (*act)(struct mail *mail));

/* Takes every mail that `wanted` says yes to and appends it to `out` by its node. */
void queue_extract(struct queue *queue,
                   bool (*wanted)(const struct mail *mail, const void *context),
                   const void *context, struct list *out);

#endif
