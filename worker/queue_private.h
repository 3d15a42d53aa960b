/*
 * Between queue.c (turns) and queue_sweep.c (many mails at once).
 */
#ifndef SLUICE_WORKER_QUEUE_PRIVATE_H
#define SLUICE_WORKER_QUEUE_PRIVATE_H

#include "worker/queue.h"

struct queue_tenant {
    struct list node;  /* in queue_class.active while it has mail that is ready */
    struct list flows; /* those that are ready, in turn */
    struct queue_class *class_;
    size_t length, ready;
    int64_t deficit; /* thousandths of recipients that it may still send in this turn */
    uint32_t weight;
    bool in_turn;
    size_t name_len;
    char name[];
};

/* `n` of the flow's mails were taken off its list: it goes if it is empty now, its tenant stays. */
void queue_flow_gave(struct queue *queue, struct queue_flow *flow, size_t n);
/* After that: the tenant goes if it has nothing left. */
void queue_tenant_gave(struct queue_tenant *tenant);

#endif
