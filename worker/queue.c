#include "worker/queue.h"

#include "worker/queue_private.h"

#include "base/hash.h"
#include "base/mem.h"

/* One take in twenty goes to bulk while transactional mail waits too. */
#define QUEUE_BULK_EVERY 20
#define FLOW_KEY_MAX 512

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

void queue_flow_gave(struct queue *queue, struct queue_flow *flow, size_t n)
{
    count_out(queue, flow, n);
    flow_drop_empty(queue, flow);
}

void queue_tenant_gave(struct queue_tenant *tenant)
{
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

/* ---- spilling ---- */

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
