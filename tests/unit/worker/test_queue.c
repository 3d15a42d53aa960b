/* The lane's queue: classes, the bulk floor, deficit round robin over tenants, and a random run
 * against a plain list. */
#include "worker/queue.h"

#include "base/mem.h"
#include "base/random.h"
#include "unit/cmocka_all.h"

static struct mail *mail_of(const char *tenant, enum config_class klass, uint32_t recipients)
{
    struct mail *mail = mem_zalloc(sizeof(*mail));
    mail->magic = MAIL_MAGIC;
    mail->klass = klass;
    mail->pending = recipients;
    mail->message.tenant = slice_cstr(tenant);
    return mail;
}

static void fill(struct queue *queue, const char *tenant, enum config_class klass, int count,
                 uint32_t weight)
{
    for (int i = 0; i < count; i++) {
        queue_push(queue, mail_of(tenant, klass, 1), weight * QUEUE_WEIGHT_ONE);
    }
}

static void drain(struct queue *queue)
{
    struct mail *mail;
    while ((mail = queue_take(queue)) != NULL) {
        mem_free(mail);
    }
    queue_free(queue);
}

static void first_come_first_served_within_a_tenant(void **state)
{
    struct queue queue;
    struct mail *mails[5];
    (void)state;
    queue_init(&queue);
    for (size_t i = 0; i < 5; i++) {
        mails[i] = mail_of("a", CONFIG_CLASS_BULK, 1);
        queue_push(&queue, mails[i], QUEUE_WEIGHT_ONE);
    }
    for (size_t i = 0; i < 5; i++) {
        assert_ptr_equal(queue_peek(&queue), mails[i]);
        assert_ptr_equal(queue_peek(&queue), mails[i]); /* looking changes nothing */
        struct mail *taken = queue_take(&queue);
        assert_ptr_equal(taken, mails[i]);
        mem_free(taken);
    }
    assert_null(queue_peek(&queue));
    assert_null(queue_take(&queue));
    queue_free(&queue);
}

static void transactional_first_with_a_floor_for_bulk(void **state)
{
    struct queue queue;
    int bulk = 0;
    (void)state;
    queue_init(&queue);
    fill(&queue, "a", CONFIG_CLASS_BULK, 1000, 1);
    fill(&queue, "a", CONFIG_CLASS_TRANSACTIONAL, 1000, 1);
    for (int i = 0; i < 1000; i++) {
        struct mail *mail = queue_take(&queue);
        bulk += mail->klass == CONFIG_CLASS_BULK ? 1 : 0;
        if (i == 0) {
            assert_int_equal(mail->klass, CONFIG_CLASS_TRANSACTIONAL);
        }
        mem_free(mail);
    }
    assert_int_equal(bulk, 50); /* 5 % */
    drain(&queue);
}

static void tenants_share_by_weight(void **state)
{
    struct queue queue;
    int taken[3] = {0};
    (void)state;
    queue_init(&queue);
    fill(&queue, "a", CONFIG_CLASS_BULK, 2000, 1);
    fill(&queue, "b", CONFIG_CLASS_BULK, 2000, 2);
    fill(&queue, "c", CONFIG_CLASS_BULK, 2000, 5);
    for (int i = 0; i < 1600; i++) {
        struct mail *mail = queue_take(&queue);
        taken[mail->message.tenant.ptr[0] - 'a']++;
        mem_free(mail);
    }
    assert_int_equal(taken[0], 200);
    assert_int_equal(taken[1], 400);
    assert_int_equal(taken[2], 1000);
    drain(&queue);
}

static uint32_t third_of_c(void *owner, struct slice name)
{
    (void)owner;
    return name.ptr[0] == 'c' ? QUEUE_WEIGHT_ONE / 3 : QUEUE_WEIGHT_ONE;
}

/* Part of a weight counts, too, and a new weight at once. */
static void weights_may_change_and_be_less_than_one(void **state)
{
    struct queue queue;
    int taken[3] = {0};
    (void)state;
    queue_init(&queue);
    fill(&queue, "a", CONFIG_CLASS_BULK, 900, 5);
    fill(&queue, "c", CONFIG_CLASS_BULK, 900, 5);
    queue_weigh(&queue, third_of_c, NULL);
    for (int i = 0; i < 800; i++) {
        struct mail *mail = queue_take(&queue);
        taken[mail->message.tenant.ptr[0] - 'a']++;
        mem_free(mail);
    }
    assert_in_range(taken[0], 598, 602);
    assert_in_range(taken[2], 198, 202);
    drain(&queue);
}

struct seen {
    int count;
};

static void see(void *owner, struct slice name, const struct mail *first)
{
    struct seen *seen = owner;
    assert_true(slice_eq(name, first->message.tenant));
    seen->count++;
}

static void tenants_that_can_send_are_listed(void **state)
{
    struct queue queue;
    struct seen seen = {0};
    (void)state;
    queue_init(&queue);
    fill(&queue, "a", CONFIG_CLASS_BULK, 2, 1);
    fill(&queue, "b", CONFIG_CLASS_TRANSACTIONAL, 2, 1);
    struct queue_flow *flow =
        queue_push(&queue, mail_of("c", CONFIG_CLASS_BULK, 1), QUEUE_WEIGHT_ONE);
    queue_foreach_tenant(&queue, see, &seen);
    assert_int_equal(seen.count, 3);
    queue_park(&queue, flow);
    queue_foreach_tenant(&queue, see, &seen);
    assert_int_equal(seen.count, 5);
    queue_unpark(&queue, flow);
    drain(&queue);
}

/* A tenant whose mails have many recipients gets no more recipients than one whose mails have one.
 */
static void recipients_are_what_counts(void **state)
{
    struct queue queue;
    uint32_t recipients[2] = {0};
    (void)state;
    queue_init(&queue);
    for (int i = 0; i < 500; i++) {
        queue_push(&queue, mail_of("a", CONFIG_CLASS_BULK, 10), QUEUE_WEIGHT_ONE);
    }
    fill(&queue, "b", CONFIG_CLASS_BULK, 5000, 1);
    for (int i = 0; i < 1100; i++) {
        struct mail *mail = queue_take(&queue);
        recipients[mail->message.tenant.ptr[0] - 'a'] += mail->pending;
        mem_free(mail);
    }
    assert_in_range(recipients[0], recipients[1] - 20, recipients[1] + 20);
    drain(&queue);
}

static void what_comes_back_is_next(void **state)
{
    struct queue queue;
    (void)state;
    queue_init(&queue);
    fill(&queue, "a", CONFIG_CLASS_BULK, 3, 1);
    fill(&queue, "b", CONFIG_CLASS_BULK, 3, 1);
    struct mail *mail = queue_take(&queue);
    queue_push_front(&queue, mail, QUEUE_WEIGHT_ONE);
    assert_ptr_equal(queue_peek(&queue), mail);
    assert_int_equal(queue.length, 6);
    drain(&queue);
}

static void spilling_takes_the_youngest_of_the_longest(void **state)
{
    struct queue queue;
    (void)state;
    queue_init(&queue);
    fill(&queue, "small", CONFIG_CLASS_BULK, 2, 1);
    fill(&queue, "large", CONFIG_CLASS_BULK, 9, 1);
    struct mail *youngest = mail_of("large", CONFIG_CLASS_BULK, 1);
    queue_push(&queue, youngest, QUEUE_WEIGHT_ONE);
    fill(&queue, "small", CONFIG_CLASS_TRANSACTIONAL, 20, 1);
    struct mail *mail = queue_take_last(&queue);
    assert_ptr_equal(mail, youngest);
    mem_free(mail);
    drain(&queue);
}

static struct mail *campaign_mail(const char *tenant, const char *campaign)
{
    struct mail *mail = mail_of(tenant, CONFIG_CLASS_BULK, 1);
    mail->message.campaign = slice_cstr(campaign);
    return mail;
}

static void campaigns_of_a_tenant_in_turn(void **state)
{
    struct queue queue;
    size_t small = 0;
    (void)state;
    queue_init(&queue);
    for (int i = 0; i < 1000; i++) {
        queue_push(&queue, campaign_mail("a", "large"), QUEUE_WEIGHT_ONE);
    }
    for (int i = 0; i < 10; i++) {
        queue_push(&queue, campaign_mail("a", "small"), QUEUE_WEIGHT_ONE);
    }
    for (int i = 0; i < 20; i++) {
        struct mail *mail = queue_take(&queue);
        small += slice_eq(mail->message.campaign, SLICE("small")) ? 1 : 0;
        mem_free(mail);
    }
    assert_int_equal(small, 10);
    drain(&queue);
}

static unsigned flows_gone;

static void note_gone(struct queue *queue, struct queue_flow *flow)
{
    (void)queue;
    assert_int_equal(flow->length, 0);
    flows_gone++;
}

static void what_is_parked_keeps_nobody_back(void **state)
{
    struct queue queue;
    struct list out;
    (void)state;
    queue_init(&queue);
    list_init(&out);
    queue.flow_gone = note_gone;
    flows_gone = 0;
    queue_push(&queue, campaign_mail("a", "x"), QUEUE_WEIGHT_ONE);
    queue_push(&queue, campaign_mail("a", "x"), QUEUE_WEIGHT_ONE);
    queue_push(&queue, campaign_mail("a", "y"), QUEUE_WEIGHT_ONE);
    queue_push(&queue, campaign_mail("b", "x"), QUEUE_WEIGHT_ONE);
    struct queue_flow *flow = queue_flow_in_turn(&queue, false);
    assert_true(slice_eq(queue_first(flow)->message.campaign, SLICE("x")));
    queue_park(&queue, flow);
    assert_int_equal(queue.ready, 2);
    assert_int_equal(queue.length, 4);
    for (int i = 0; i < 2; i++) {
        struct mail *mail = queue_take(&queue);
        assert_false(slice_eq(mail->message.tenant, SLICE("a")) &&
                     slice_eq(mail->message.campaign, SLICE("x")));
        mem_free(mail);
    }
    assert_null(queue_peek(&queue));
    assert_null(queue_take_last(&queue));
    struct mail *late = campaign_mail("a", "x");
    queue_push(&queue, late, QUEUE_WEIGHT_ONE); /* it waits with the others */
    assert_null(queue_peek(&queue));
    assert_ptr_equal(queue_take_last_of(&queue, flow), late);
    mem_free(late);
    queue_unpark(&queue, flow);
    assert_ptr_equal(queue_flow_in_turn(&queue, false), flow);
    queue_park(&queue, flow);
    assert_int_equal(flows_gone, 2);
    struct mail *older = queue_first(flow);
    struct mail *younger = CONTAINER_OF(older->node.next, struct mail, node);
    younger->queued = (struct mono_time){5};
    queue_extract_before(&queue, (struct mono_time){1}, 0, &out);
    assert_true(list_empty(&out)); /* parked ones stay */
    queue_unpark(&queue, flow);
    queue_extract_before(&queue, (struct mono_time){9}, 2, &out);
    assert_true(list_empty(&out));
    queue_extract_before(&queue, (struct mono_time){9}, 1, &out);
    assert_ptr_equal(list_pop_front(&out), &younger->node);
    queue_park(&queue, flow);
    queue_extract_all(&queue, &out);
    assert_ptr_equal(list_pop_front(&out), &older->node);
    assert_int_equal(flows_gone, 3);
    mem_free(older);
    mem_free(younger);
    queue_free(&queue);
}

static bool is_of_tenant(const struct mail *mail, const void *context)
{
    return slice_eq(mail->message.tenant, slice_cstr(context));
}

static void some_can_be_extracted(void **state)
{
    struct queue queue;
    struct list out;
    size_t n = 0;
    (void)state;
    queue_init(&queue);
    list_init(&out);
    fill(&queue, "a", CONFIG_CLASS_BULK, 7, 1);
    fill(&queue, "b", CONFIG_CLASS_BULK, 4, 1);
    fill(&queue, "a", CONFIG_CLASS_TRANSACTIONAL, 2, 1);
    queue_extract(&queue, is_of_tenant, "a", &out);
    list_foreach_safe (node, after, &out) {
        list_remove(node);
        mem_free(CONTAINER_OF(node, struct mail, node));
        n++;
    }
    assert_int_equal(n, 9);
    assert_int_equal(queue.length, 4);
    drain(&queue);
}

/* Whatever is done, nothing is lost or given twice. */
static void nothing_is_lost_in_a_random_run(void **state)
{
    static const char *const tenants[] = {"a", "b", "c", "d"};
    static const char *const campaigns[] = {"", "x", "y"};
    struct queue queue;
    size_t in = 0;
    (void)state;
    queue_init(&queue);
    for (int step = 0; step < 100000; step++) {
        struct mail *mail;
        bool none = queue.ready == 0;
        switch (random_below(4)) {
        case 0:
        case 1:
            if (in < 300) {
                mail = mail_of(tenants[random_below(4)], (enum config_class)random_below(2),
                               1 + random_below(9));
                mail->message.campaign = slice_cstr(campaigns[random_below(3)]);
                queue_push(&queue, mail, (1 + random_below(7)) * QUEUE_WEIGHT_ONE);
                in++;
            }
            break;
        case 2:
            mail = queue_peek(&queue);
            assert_ptr_equal(queue_take(&queue), mail);
            assert_int_equal(mail == NULL, none);
            if (mail != NULL && random_below(4) == 0) {
                queue_push_front(&queue, mail, QUEUE_WEIGHT_ONE);
            } else if (mail != NULL) {
                assert_false(list_linked(&mail->node));
                mem_free(mail);
                in--;
            }
            break;
        default:
            if (random_below(3) == 0 && queue.ready > 0) {
                queue_park(&queue, queue_flow_in_turn(&queue, false));
            } else if (random_below(2) == 0 && !list_empty(&queue.parked)) {
                queue_unpark(&queue, CONTAINER_OF(queue.parked.next, struct queue_flow, node));
            }
            if (random_below(8) == 0 && (mail = queue_take_last(&queue)) != NULL) {
                mem_free(mail);
                in--;
            }
            break;
        }
        assert_int_equal(queue.length, in);
    }
    while (!list_empty(&queue.parked)) {
        queue_unpark(&queue, CONTAINER_OF(queue.parked.next, struct queue_flow, node));
    }
    drain(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_come_first_served_within_a_tenant),
        cmocka_unit_test(transactional_first_with_a_floor_for_bulk),
        cmocka_unit_test(tenants_share_by_weight),
        cmocka_unit_test(weights_may_change_and_be_less_than_one),
        cmocka_unit_test(tenants_that_can_send_are_listed),
        cmocka_unit_test(recipients_are_what_counts),
        cmocka_unit_test(what_comes_back_is_next),
        cmocka_unit_test(spilling_takes_the_youngest_of_the_longest),
        cmocka_unit_test(campaigns_of_a_tenant_in_turn),
        cmocka_unit_test(what_is_parked_keeps_nobody_back),
        cmocka_unit_test(some_can_be_extracted),
        cmocka_unit_test(nothing_is_lost_in_a_random_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
