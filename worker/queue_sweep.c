/*
 * Many mails at once, whoever's turn it is: those that leave the queue because of their age or
 * their partition, and those that something is done with while they wait.
 */
#include "worker/queue_private.h"

/* What to do with the mails of a flow, from the oldest on. */
struct sweep {
    bool (*wanted)(const struct mail *mail, const void *context);
    const void *context;
    bool up_to_first; /* behind the first that is not wanted there is none either */
    size_t keep;      /* so many of the wanted stay */
    struct list *out;
};

static void sweep_flow(struct queue *queue, struct queue_flow *flow, struct sweep *sweep)
{
    size_t gone = 0;
    list_foreach_safe (node, after, &flow->mails) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        bool wanted = sweep->wanted(mail, sweep->context);
        if (wanted && sweep->keep > 0) {
            sweep->keep--;
        } else if (wanted) {
            list_remove(&mail->node);
            list_push_back(sweep->out, &mail->node);
            gone++;
        } else if (sweep->up_to_first) {
            break;
        }
    }
    queue_flow_gave(queue, flow, gone);
}

static void sweep_ready(struct queue *queue, struct sweep *sweep)
{
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        list_foreach_safe (node, after, &queue->classes[i].active) {
            struct queue_tenant *tenant = CONTAINER_OF(node, struct queue_tenant, node);
            list_foreach_safe (flow, next, &tenant->flows) {
                sweep_flow(queue, CONTAINER_OF(flow, struct queue_flow, node), sweep);
            }
            queue_tenant_gave(tenant);
        }
    }
}

static void sweep_parked(struct queue *queue, struct sweep *sweep)
{
    list_foreach_safe (node, after, &queue->parked) {
        struct queue_flow *flow = CONTAINER_OF(node, struct queue_flow, node);
        struct queue_tenant *tenant = flow->tenant;
        sweep_flow(queue, flow, sweep);
        queue_tenant_gave(tenant);
    }
}

void queue_extract(struct queue *queue,
                   bool (*wanted)(const struct mail *mail, const void *context),
                   const void *context, struct list *out)
{
    struct sweep sweep = {wanted, context, false, 0, out};
    sweep_ready(queue, &sweep);
    sweep_parked(queue, &sweep);
}

static bool is_any(const struct mail *mail, const void *context)
{
    (void)mail;
    (void)context;
    return true;
}

void queue_extract_all(struct queue *queue, struct list *out)
{
    queue_extract(queue, is_any, NULL, out);
}

static bool is_older(const struct mail *mail, const void *context)
{
    const struct mono_time *before = context;
    return mono_before(mail->queued, *before);
}

void queue_extract_before(struct queue *queue, struct mono_time before, size_t keep,
                          struct list *out)
{
    sweep_ready(queue, &(struct sweep){is_older, &before, true, keep, out});
}

/* False: enough. */
static bool act_on_flow(struct queue_flow *flow, struct mono_time before, size_t *left,
                        bool (*act)(struct mail *mail))
{
    list_foreach (node, &flow->mails) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        if (*left == 0 || !mono_before(mail->queued, before) || !act(mail)) {
            break;
        }
        (*left)--;
    }
    return *left > 0;
}

void queue_foreach_before(struct queue *queue, struct mono_time before, size_t max,
                          bool (*act)(struct mail *mail))
{
    size_t left = max;
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        list_foreach (node, &queue->classes[i].active) {
            struct queue_tenant *tenant = CONTAINER_OF(node, struct queue_tenant, node);
            list_foreach (flow, &tenant->flows) {
                if (!act_on_flow(CONTAINER_OF(flow, struct queue_flow, node), before, &left, act)) {
                    return;
                }
            }
        }
    }
    list_foreach (node, &queue->parked) {
        if (!act_on_flow(CONTAINER_OF(node, struct queue_flow, node), before, &left, act)) {
            return;
        }
    }
}
