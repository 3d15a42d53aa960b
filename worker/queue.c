#include "worker/queue.h"

#include "base/mem.h"

/* One take in twenty goes to bulk while transactional mail waits too. */
#define QUEUE_BULK_EVERY 20

struct queue_tenant {
    struct list node;  /* in queue_class.active while it has mail */
    struct list mails; /* oldest first */
    size_t length;
    int64_t deficit; /* recipients that it may still send in this turn */
    uint32_t weight;
    bool in_turn;
    size_t name_len;
    char name[];
};

void queue_init(struct queue *queue)
{
    *queue = (struct queue){0};
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        map_init(&queue->classes[i].tenants);
        list_init(&queue->classes[i].active);
    }
}

static void tenant_drop(struct queue_class *class_, struct queue_tenant *tenant)
{
    list_remove(&tenant->node);
    map_remove(&class_->tenants, slice_of(tenant->name, tenant->name_len));
    mem_free(tenant);
}

void queue_free(struct queue *queue)
{
    CHECK(queue->length == 0);
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        CHECK(list_empty(&queue->classes[i].active));
        map_free(&queue->classes[i].tenants);
    }
}

static struct queue_tenant *tenant_of(struct queue_class *class_, struct slice name,
                                      uint32_t weight)
{
    struct queue_tenant *tenant = map_get(&class_->tenants, name);
    if (tenant == NULL) {
        tenant = mem_zalloc(sizeof(*tenant) + name.len + 1);
        tenant->name_len = name.len;
        if (name.len > 0) {
            memcpy(tenant->name, name.ptr, name.len);
        }
        list_init(&tenant->mails);
        map_put(&class_->tenants, slice_of(tenant->name, name.len), tenant);
        list_push_back(&class_->active, &tenant->node);
    }
    tenant->weight = weight > 0 ? weight : 1;
    return tenant;
}

static struct queue_tenant *added(struct queue *queue, const struct mail *mail, uint32_t weight)
{
    struct queue_class *class_ = &queue->classes[mail->klass];
    struct queue_tenant *tenant = tenant_of(class_, mail->message.tenant, weight);
    tenant->length++;
    class_->length++;
    queue->length++;
    return tenant;
}

void queue_push(struct queue *queue, struct mail *mail, uint32_t weight)
{
    struct queue_tenant *tenant = added(queue, mail, weight);
    list_push_back(&tenant->mails, &mail->node);
}

void queue_push_front(struct queue *queue, struct mail *mail, uint32_t weight)
{
    struct queue_tenant *tenant = added(queue, mail, weight);
    list_push_front(&tenant->mails, &mail->node);
    /* It had its turn and its recipients were counted: give both back. */
    tenant->deficit += mail->pending;
    tenant->in_turn = true;
    list_remove(&tenant->node);
    list_push_front(&queue->classes[mail->klass].active, &tenant->node);
}

static struct queue_class *class_in_turn(struct queue *queue)
{
    struct queue_class *tx = &queue->classes[CONFIG_CLASS_TRANSACTIONAL];
    struct queue_class *bulk = &queue->classes[CONFIG_CLASS_BULK];
    if (tx->length == 0 || (bulk->length > 0 && queue->since_bulk >= QUEUE_BULK_EVERY - 1)) {
        return bulk;
    }
    return tx;
}

/* Moves turns on until the tenant in front may send its first mail. */
static struct queue_tenant *tenant_in_turn(struct queue_class *class_)
{
    for (;;) {
        struct queue_tenant *tenant = CONTAINER_OF(class_->active.next, struct queue_tenant, node);
        struct mail *mail = CONTAINER_OF(tenant->mails.next, struct mail, node);
        if (!tenant->in_turn) {
            tenant->in_turn = true;
            tenant->deficit += tenant->weight;
        }
        if (tenant->deficit >= (int64_t)mail->pending) {
            return tenant;
        }
        tenant->in_turn = false;
        list_remove(&tenant->node);
        list_push_back(&class_->active, &tenant->node);
    }
}

struct mail *queue_peek(struct queue *queue)
{
    if (queue->length == 0) {
        return NULL;
    }
    struct queue_tenant *tenant = tenant_in_turn(class_in_turn(queue));
    return CONTAINER_OF(tenant->mails.next, struct mail, node);
}

static void removed(struct queue *queue, struct queue_class *class_, struct queue_tenant *tenant)
{
    tenant->length--;
    class_->length--;
    queue->length--;
    if (tenant->length == 0) {
        tenant_drop(class_, tenant);
    }
}

struct mail *queue_take(struct queue *queue)
{
    if (queue->length == 0) {
        return NULL;
    }
    struct queue_class *class_ = class_in_turn(queue);
    struct queue_tenant *tenant = tenant_in_turn(class_);
    struct mail *mail = CONTAINER_OF(tenant->mails.next, struct mail, node);
    list_remove(&mail->node);
    tenant->deficit -= mail->pending;
    queue->since_bulk = class_ == &queue->classes[CONFIG_CLASS_BULK] ? 0 : queue->since_bulk + 1;
    removed(queue, class_, tenant);
    return mail;
}

struct mail *queue_take_last(struct queue *queue)
{
    struct queue_class *class_ = &queue->classes[CONFIG_CLASS_BULK];
    if (class_->length == 0) {
        class_ = &queue->classes[CONFIG_CLASS_TRANSACTIONAL];
    }
    if (class_->length == 0) {
        return NULL;
    }
    /* Of the tenant with the longest queue: it is the one that fills the lane. */
    struct queue_tenant *longest = NULL;
    list_foreach (node, &class_->active) {
        struct queue_tenant *tenant = CONTAINER_OF(node, struct queue_tenant, node);
        if (longest == NULL || tenant->length > longest->length) {
            longest = tenant;
        }
    }
    CHECK(longest != NULL);
    struct mail *mail = CONTAINER_OF(longest->mails.prev, struct mail, node);
    list_remove(&mail->node);
    removed(queue, class_, longest);
    return mail;
}

struct mail *queue_take_older(struct queue *queue, struct mono_time before)
{
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        list_foreach (node, &queue->classes[i].active) {
            struct queue_tenant *tenant = CONTAINER_OF(node, struct queue_tenant, node);
            struct mail *mail = CONTAINER_OF(tenant->mails.next, struct mail, node);
            if (mono_before(mail->queued, before)) {
                list_remove(&mail->node);
                removed(queue, &queue->classes[i], tenant);
                return mail;
            }
        }
    }
    return NULL;
}

void queue_extract(struct queue *queue,
                   bool (*wanted)(const struct mail *mail, const void *context),
                   const void *context, struct list *out)
{
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        struct queue_class *class_ = &queue->classes[i];
        list_foreach_safe (node, after, &class_->active) {
            struct queue_tenant *tenant = CONTAINER_OF(node, struct queue_tenant, node);
            size_t left = tenant->length;
            list_foreach_safe (mail_node, mail_after, &tenant->mails) {
                struct mail *mail = CONTAINER_OF(mail_node, struct mail, node);
                if (wanted(mail, context)) {
                    list_remove(&mail->node);
                    list_push_back(out, &mail->node);
                    left--;
                }
            }
            size_t gone = tenant->length - left;
            class_->length -= gone;
            queue->length -= gone;
            tenant->length = left;
            if (left == 0) {
                tenant_drop(class_, tenant);
            }
        }
    }
}

void queue_foreach_before(struct queue *queue, struct mono_time before, size_t max,
                          bool (*act)(struct mail *mail))
{
    for (size_t i = 0; i < QUEUE_CLASSES; i++) {
        list_foreach (node, &queue->classes[i].active) {
            struct queue_tenant *tenant = CONTAINER_OF(node, struct queue_tenant, node);
            list_foreach (mail_node, &tenant->mails) {
                struct mail *mail = CONTAINER_OF(mail_node, struct mail, node);
                if (max == 0 || !mono_before(mail->queued, before) || !act(mail)) {
                    break;
                }
                max--;
            }
        }
    }
}
