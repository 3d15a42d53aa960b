#include "worker/queue.h"

#include "base/hash.h"
#include "base/mem.h"

/* One take in twenty goes to bulk while transactional mail waits too. */
#define QUEUE_BULK_EVERY 20
#define FLOW_KEY_MAX 512

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

void queue_init(struct queue *queue)
{
    *queue = (struct queue){0};
    list_init(&queue->parked);
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        map_init(&queue->classes[i].tenants);
        map_init(&queue->classes[i].flows);
        list_init(&queue->classes[i].active);
    }
}

void queue_free(struct queue *queue)
{
    CHECK(queue->length == 0 && queue->ready == 0 && list_empty(&queue->parked));
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        CHECK(list_empty(&queue->classes[i].active));
        map_free(&queue->classes[i].tenants);
        map_free(&queue->classes[i].flows);
    }
}

/* ---- tenants and flows ---- */

static struct queue_tenant *tenant_of(struct queue_class *class_, struct slice name,
                                      uint32_t weight)
{
    struct queue_tenant *tenant = map_get(&class_->tenants, name);
    if (tenant == NULL) {
        tenant = mem_zalloc(sizeof(*tenant) + name.len + 1);
        tenant->class_ = class_;
        tenant->name_len = name.len;
        if (name.len > 0) {
            memcpy(tenant->name, name.ptr, name.len);
        }
        list_init(&tenant->flows);
        map_put(&class_->tenants, slice_of(tenant->name, name.len), tenant);
    }
    tenant->weight = weight > QUEUE_WEIGHT_LEAST ? weight : QUEUE_WEIGHT_LEAST;
    return tenant;
}

static void tenant_drop_empty(struct queue_tenant *tenant)
{
    if (tenant->length == 0) {
        CHECK(list_empty(&tenant->flows));
        list_remove(&tenant->node);
        map_remove(&tenant->class_->tenants, slice_of(tenant->name, tenant->name_len));
        mem_free(tenant);
    }
}

/* Tenant, stream and campaign; what is too long by its hash. */
static struct slice flow_key(const struct mail *mail, char out[FLOW_KEY_MAX])
{
    const struct slice parts[] = {mail->message.tenant,
                                  mail->stream == NULL ? SLICE("") : slice_cstr(mail->stream->name),
                                  mail->message.campaign};
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i].len > FLOW_KEY_MAX / ARRAY_LEN(parts) - 2) {
            uint64_t hash = hash_stable(parts[i]);
            memcpy(out + len, &hash, sizeof(hash));
            len += sizeof(hash);
        } else if (parts[i].len > 0) {
            memcpy(out + len, parts[i].ptr, parts[i].len);
            len += parts[i].len;
        }
        out[len++] = '\0';
    }
    return slice_of(out, len);
}

/* Makes it the last one in turn. */
static void flow_join(struct queue_flow *flow)
{
    struct queue_tenant *tenant = flow->tenant;
    list_push_back(&tenant->flows, &flow->node);
    if (!list_linked(&tenant->node)) {
        list_push_back(&tenant->class_->active, &tenant->node);
    }
}

/* The tenant may have nothing left that is ready. */
static void tenant_rest(struct queue_tenant *tenant)
{
    if (list_empty(&tenant->flows)) {
        list_remove(&tenant->node);
        tenant->in_turn = false;
    }
}

static struct queue_flow *flow_of(struct queue_class *class_, const struct mail *mail,
                                  uint32_t weight)
{
    char buffer[FLOW_KEY_MAX];
    struct slice key = flow_key(mail, buffer);
    struct queue_flow *flow = map_get(&class_->flows, key);
    struct queue_tenant *tenant = tenant_of(class_, mail->message.tenant, weight);
    if (flow == NULL) {
        flow = mem_zalloc(sizeof(*flow) + key.len);
        flow->tenant = tenant;
        flow->name_len = key.len;
        memcpy(flow->name, key.ptr, key.len);
        list_init(&flow->mails);
        map_put(&class_->flows, slice_of(flow->name, key.len), flow);
        flow_join(flow);
    }
    return flow;
}

const struct queue_flow *queue_flow_for(const struct queue *queue, const struct mail *mail)
{
    char buffer[FLOW_KEY_MAX];
    return map_get(&queue->classes[mail->klass].flows, flow_key(mail, buffer));
}

/* Counts `n` mails in. */
static void count(struct queue *queue, struct queue_flow *flow, size_t n)
{
    struct queue_tenant *tenant = flow->tenant;
    size_t ready = flow->parked ? 0 : n;
    flow->length += n;
    tenant->length += n;
    tenant->class_->length += n;
    queue->length += n;
    tenant->ready += ready;
    tenant->class_->ready += ready;
    queue->ready += ready;
}

static void count_out(struct queue *queue, struct queue_flow *flow, size_t n)
{
    struct queue_tenant *tenant = flow->tenant;
    size_t ready = flow->parked ? 0 : n;
    flow->length -= n;
    tenant->length -= n;
    tenant->class_->length -= n;
    queue->length -= n;
    tenant->ready -= ready;
    tenant->class_->ready -= ready;
    queue->ready -= ready;
}

/* Its tenant may be empty then. */
static void flow_drop_empty(struct queue *queue, struct queue_flow *flow)
{
    struct queue_tenant *tenant = flow->tenant;
    if (flow->length > 0) {
        return;
    }
    if (queue->flow_gone != NULL) {
        queue->flow_gone(queue, flow);
    }
    list_remove(&flow->node);
    map_remove(&tenant->class_->flows, slice_of(flow->name, flow->name_len));
    mem_free(flow);
    tenant_rest(tenant);
}

static void take_out(struct queue *queue, struct queue_flow *flow, struct mail *mail)
{
    struct queue_tenant *tenant = flow->tenant;
    list_remove(&mail->node);
    count_out(queue, flow, 1);
    flow_drop_empty(queue, flow);
    tenant_drop_empty(tenant);
}

/* ---- push and take ---- */

static int64_t cost_of(const struct mail *mail)
{
    return (int64_t)mail->pending * QUEUE_WEIGHT_ONE;
}

struct queue_flow *queue_push(struct queue *queue, struct mail *mail, uint32_t weight)
{
    struct queue_flow *flow = flow_of(&queue->classes[mail->klass], mail, weight);
    list_push_back(&flow->mails, &mail->node);
    count(queue, flow, 1);
    return flow;
}

void queue_push_front(struct queue *queue, struct mail *mail, uint32_t weight)
{
    struct queue_flow *flow = flow_of(&queue->classes[mail->klass], mail, weight);
    struct queue_tenant *tenant = flow->tenant;
    list_push_front(&flow->mails, &mail->node);
    count(queue, flow, 1);
    if (flow->parked) {
        return;
    }
    /* It had its turn and its recipients were counted: give both back. */
    tenant->deficit += cost_of(mail);
    tenant->in_turn = true;
    list_remove(&flow->node);
    list_push_front(&tenant->flows, &flow->node);
    list_remove(&tenant->node);
    list_push_front(&tenant->class_->active, &tenant->node);
}

static struct queue_class *class_in_turn(struct queue *queue, bool transactional)
{
    struct queue_class *tx = &queue->classes[CONFIG_CLASS_TRANSACTIONAL];
    struct queue_class *bulk = &queue->classes[CONFIG_CLASS_BULK];
    if (transactional) {
        return tx;
    }
    if (tx->ready == 0 || (bulk->ready > 0 && queue->since_bulk >= QUEUE_BULK_EVERY - 1)) {
        return bulk;
    }
    return tx;
}

struct mail *queue_first(const struct queue_flow *flow)
{
    return CONTAINER_OF(flow->mails.next, struct mail, node);
}

/* Moves turns on until the tenant in front may send its first mail. */
struct queue_flow *queue_flow_in_turn(struct queue *queue, bool transactional)
{
    struct queue_class *class_ = class_in_turn(queue, transactional);
    if (class_->ready == 0) {
        return NULL;
    }
    for (;;) {
        struct queue_tenant *tenant = CONTAINER_OF(class_->active.next, struct queue_tenant, node);
        struct queue_flow *flow = CONTAINER_OF(tenant->flows.next, struct queue_flow, node);
        if (!tenant->in_turn) {
            tenant->in_turn = true;
            tenant->deficit += tenant->weight;
        }
        if (tenant->deficit >= cost_of(queue_first(flow))) {
            return flow;
        }
        tenant->in_turn = false;
        list_remove(&tenant->node);
        list_push_back(&class_->active, &tenant->node);
    }
}

struct mail *queue_peek(struct queue *queue)
{
    struct queue_flow *flow = queue_flow_in_turn(queue, false);
    return flow == NULL ? NULL : queue_first(flow);
}

size_t queue_ready_of(const struct queue *queue, enum config_class klass)
{
    return queue->classes[klass].ready;
}

struct mail *queue_take_of(struct queue *queue, struct queue_flow *flow)
{
    struct mail *mail = queue_first(flow);
    take_out(queue, flow, mail);
    return mail;
}

struct mail *queue_take(struct queue *queue)
{
    struct queue_flow *flow = queue_flow_in_turn(queue, false);
    return flow == NULL ? NULL : queue_take_turn(queue, flow);
}

struct mail *queue_take_turn(struct queue *queue, struct queue_flow *flow)
{
    struct queue_tenant *tenant = flow->tenant;
    bool bulk = tenant->class_ == &queue->classes[CONFIG_CLASS_BULK];
    tenant->deficit -= cost_of(queue_first(flow));
    queue->since_bulk = bulk ? 0 : queue->since_bulk + 1;
    list_remove(&flow->node);
    list_push_back(&tenant->flows, &flow->node);
    return queue_take_of(queue, flow);
}

/* ---- tenants ---- */

void queue_foreach_tenant(const struct queue *queue,
                          void (*found)(void *owner, struct slice name, const struct mail *first),
                          void *owner)
{
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        list_foreach (node, &queue->classes[i].active) {
            const struct queue_tenant *tenant = CONTAINER_OF(node, struct queue_tenant, node);
            const struct queue_flow *flow =
                CONTAINER_OF(tenant->flows.next, struct queue_flow, node);
            found(owner, slice_of(tenant->name, tenant->name_len), queue_first(flow));
        }
    }
}

void queue_foreach_flow(const struct queue *queue,
                        void (*found)(void *owner, const struct queue_flow *flow), void *owner)
{
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        list_foreach (node, &queue->classes[i].active) {
            list_foreach (flow, &CONTAINER_OF(node, struct queue_tenant, node)->flows) {
                found(owner, CONTAINER_OF(flow, struct queue_flow, node));
            }
        }
    }
    list_foreach (node, &queue->parked) {
        found(owner, CONTAINER_OF(node, struct queue_flow, node));
    }
}

void queue_weigh(struct queue *queue, uint32_t (*weight)(void *owner, struct slice name),
                 void *owner)
{
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        list_foreach (node, &queue->classes[i].active) {
            struct queue_tenant *tenant = CONTAINER_OF(node, struct queue_tenant, node);
            uint32_t now = weight(owner, slice_of(tenant->name, tenant->name_len));
            tenant->weight = now > QUEUE_WEIGHT_LEAST ? now : QUEUE_WEIGHT_LEAST;
        }
    }
}

/* ---- parking ---- */

void queue_park(struct queue *queue, struct queue_flow *flow)
{
    size_t n = flow->length;
    CHECK(!flow->parked);
    list_remove(&flow->node);
    count_out(queue, flow, n);
    flow->parked = true;
    count(queue, flow, n);
    list_push_back(&queue->parked, &flow->node);
    tenant_rest(flow->tenant);
}

void queue_unpark(struct queue *queue, struct queue_flow *flow)
{
    size_t n = flow->length;
    CHECK(flow->parked);
    list_remove(&flow->node);
    count_out(queue, flow, n);
    flow->parked = false;
    count(queue, flow, n);
    flow_join(flow);
}

/* ---- spilling and leaving ---- */

struct mail *queue_take_last_of(struct queue *queue, struct queue_flow *flow)
{
    struct mail *mail = CONTAINER_OF(flow->mails.prev, struct mail, node);
    take_out(queue, flow, mail);
    return mail;
}

struct mail *queue_take_last(struct queue *queue)
{
    struct queue_class *class_ = &queue->classes[CONFIG_CLASS_BULK];
    if (class_->ready == 0) {
        class_ = &queue->classes[CONFIG_CLASS_TRANSACTIONAL];
    }
    if (class_->ready == 0) {
        return NULL;
    }
    /* It is the one that fills the lane. */
    struct queue_tenant *longest = NULL;
    list_foreach (node, &class_->active) {
        struct queue_tenant *tenant = CONTAINER_OF(node, struct queue_tenant, node);
        if (longest == NULL || tenant->ready > longest->ready) {
            longest = tenant;
        }
    }
    CHECK(longest != NULL);
    /* Of its campaigns each in turn. */
    struct queue_flow *flow = CONTAINER_OF(longest->flows.prev, struct queue_flow, node);
    list_remove(&flow->node);
    list_push_front(&longest->flows, &flow->node);
    return queue_take_last_of(queue, flow);
}

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
    count_out(queue, flow, gone);
    flow_drop_empty(queue, flow);
}

static void sweep_ready(struct queue *queue, struct sweep *sweep)
{
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        list_foreach_safe (node, after, &queue->classes[i].active) {
            struct queue_tenant *tenant = CONTAINER_OF(node, struct queue_tenant, node);
            list_foreach_safe (flow, next, &tenant->flows) {
                sweep_flow(queue, CONTAINER_OF(flow, struct queue_flow, node), sweep);
            }
            tenant_drop_empty(tenant);
        }
    }
}

static void sweep_parked(struct queue *queue, struct sweep *sweep)
{
    list_foreach_safe (node, after, &queue->parked) {
        struct queue_flow *flow = CONTAINER_OF(node, struct queue_flow, node);
        struct queue_tenant *tenant = flow->tenant;
        sweep_flow(queue, flow, sweep);
        tenant_drop_empty(tenant);
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
