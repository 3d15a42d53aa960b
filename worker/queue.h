/*
 * The queue of a lane: who goes first. Transactional before bulk with a floor of 5 % for bulk;
 * inside a class deficit round robin (Shreedhar and Varghese 1995) over tenants by weight, counted
 * in recipients; inside a tenant its flows in turn, a flow being the mail of one campaign by one
 * stream; inside a flow first come, first served. A flow that has to wait on its own (for a limit
 * of its tenant, say) is parked, and all others go on without it. O(1) push, take, park. Pure: no
 * clock, no I/O; one thread.
 */
#ifndef SLUICE_WORKER_QUEUE_H
#define SLUICE_WORKER_QUEUE_H

#include "base/map.h"
#include "worker/mail.h"

#define QUEUE_CLASSES 2
/* Weights are in thousandths of a recipient. */
#define QUEUE_WEIGHT_ONE 1000
#define QUEUE_WEIGHT_LEAST 10

struct flow_limits;
struct queue_tenant;

struct queue_flow {
    struct list node;  /* among the tenant's that are ready, or in queue.parked */
    struct list mails; /* oldest first; never empty */
    size_t length;
    bool parked;
    struct queue_tenant *tenant;
    struct flow_limits *limits; /* the lane's; NULL: none so far */
    size_t name_len;
    char name[];
};

struct queue_class {
    struct map tenants; /* name -> struct queue_tenant */
    struct map flows;   /* tenant, stream, campaign -> struct queue_flow */
    struct list active; /* tenants that have mail that is ready, in turn */
    size_t length, ready;
};

struct queue {
    struct queue_class classes[QUEUE_CLASSES]; /* by enum config_class */
    size_t length;
    size_t ready;        /* mails of flows that are not parked */
    struct list parked;  /* flows */
    unsigned since_bulk; /* transactional takes since bulk had its turn */
    /* A flow has no mail any more and goes; NULL: nobody wants to know. */
    void (*flow_gone)(struct queue *queue, struct queue_flow *flow);
};

void queue_init(struct queue *queue);
/* Must be empty. */
void queue_free(struct queue *queue);

/* `weight` of the tenant: thousandths of a recipient per turn, at least QUEUE_WEIGHT_LEAST. The
 * flow that it joined, which may be parked. */
struct queue_flow *queue_push(struct queue *queue, struct mail *mail, uint32_t weight);
/* The flow that it would join; NULL: it has no mail yet. */
const struct queue_flow *queue_flow_for(const struct queue *queue, const struct mail *mail);
/* Puts back what was taken last: next in turn of its tenant and class. */
void queue_push_front(struct queue *queue, struct mail *mail, uint32_t weight);

/* Whose turn it is, of all mail or of transactional mail alone; NULL: nobody is ready. The same
 * until the queue changes. */
struct queue_flow *queue_flow_in_turn(struct queue *queue, bool transactional);
/* The oldest of the flow. */
struct mail *queue_first(const struct queue_flow *flow);
/* Takes the oldest of the flow. */
struct mail *queue_take_of(struct queue *queue, struct queue_flow *flow);
/* The next one without taking it; NULL: none is ready. The same until the queue changes. */
struct mail *queue_peek(struct queue *queue);
/* Takes what queue_peek() shows. */
struct mail *queue_take(struct queue *queue);
/* Takes the oldest of the flow that is in turn. */
struct mail *queue_take_turn(struct queue *queue, struct queue_flow *flow);
/* Mails of that class that are ready. */
size_t queue_ready_of(const struct queue *queue, enum config_class klass);

/* Calls `found` for each tenant of each class that has mail that is ready; `first`: what it would
 * send next. */
void queue_foreach_tenant(const struct queue *queue,
                          void (*found)(void *owner, struct slice name, const struct mail *first),
                          void *owner);
/* Calls `found` for each flow, those that are parked last. */
void queue_foreach_flow(const struct queue *queue,
                        void (*found)(void *owner, const struct queue_flow *flow), void *owner);
/* Asks for the weight of every tenant that has mail that is ready. */
void queue_weigh(struct queue *queue, uint32_t (*weight)(void *owner, struct slice name),
                 void *owner);

/* It has to wait, or need not any more. */
void queue_park(struct queue *queue, struct queue_flow *flow);
void queue_unpark(struct queue *queue, struct queue_flow *flow);

/* For spilling, of those that are ready: the youngest mail of the lowest class, of the tenant that
 * has most of them. NULL: none. */
struct mail *queue_take_last(struct queue *queue);
/* The youngest of the flow. */
struct mail *queue_take_last_of(struct queue *queue, struct queue_flow *flow);

/* Calls `act` for the mails that joined the lane before that time, flow by flow from the oldest on,
 * at most `max`. */
void queue_foreach_before(struct queue *queue, struct mono_time before, size_t max,
                          bool (*act)(struct mail *mail));

/* Takes every mail that `wanted` says yes to and appends it to `out` by its node. */
void queue_extract(struct queue *queue,
                   bool (*wanted)(const struct mail *mail, const void *context),
                   const void *context, struct list *out);
void queue_extract_all(struct queue *queue, struct list *out);
/* Those that are ready and joined the lane before that time, but for `keep` of the oldest. */
void queue_extract_before(struct queue *queue, struct mono_time before, size_t keep,
                          struct list *out);

#endif
