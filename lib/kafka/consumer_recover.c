/*
 * A static member whose client is of no use any more gets a new one, in the process.
 *
 * Fenced without another. A group answers a JOIN before it has written whom it answered: until the
 * assignment is written, the member's new id is only in the coordinator's memory. A broker that is
 * killed then, or a coordinator that loads its state anew, knows the id before that one; the
 * member, with the newer one, is told that another has its name, which librdkafka takes for fatal.
 * So it is asked who holds the name. An id that was ours once, or nobody: we join again at once. A
 * stranger is a living process of our name, or a JOIN of ours whose answer was lost. The latter
 * sends no heartbeat and its session ends; who is there still after that lives, and we end
 * (FAULT_FATAL). The other one is not disturbed, and no two throw each other out in turn.
 *
 * Unheard. A member that waits for an assignment while the brokers answer, for much longer than a
 * session: whatever became of its JOIN (librdkafka waits for the answer for max.poll.interval.ms, 5
 * minutes). They are asked once in a session, and after some answers on end it joins anew, each
 * time with twice the patience.
 *
 * In both cases all that was assigned has been given up as lost before. The former client is ended
 * on a thread of its own, because that waits for the records that are still held.
 */
#include "kafka/consumer_private.h"

#include "base/log.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

#define ASK_LATE_MS 3000 /* an answer after that says that the brokers were away */
#define ASK_AGAIN_MS 200
#define LOOK_MS 200
#define STRANGER_EXTRA_MS 3000 /* beside two sessions: a rebalance that it takes part in */
#define PATIENCE_SESSIONS 3
#define PATIENCE_MAX_TIMES 8

struct retired {
    struct list node;
    rd_kafka_t *rk;
    pthread_t thread;
};

/* ---- whom the group knew us as ---- */

static bool is_ours(const struct consumer_recover *recover, const char *id)
{
    for (size_t i = 0; i < RECOVER_IDS; i++) {
        if (recover->ids[i] != NULL && strcmp(recover->ids[i], id) == 0) {
            return true;
        }
    }
    return false;
}

static void note_id(struct kafka_consumer *consumer)
{
    struct consumer_recover *recover = &consumer->recover;
    char *id = rd_kafka_memberid(consumer->rk);
    if (id != NULL && id[0] != '\0' && !is_ours(recover, id)) {
        char **place = &recover->ids[recover->id_next++ % RECOVER_IDS];
        mem_free(*place);
        *place = mem_strdup(id);
    }
    if (id != NULL) {
        rd_kafka_mem_free(consumer->rk, id);
    }
}

/* ---- the former client ---- */

static void *retire(void *argument)
{
    struct retired *retired = argument;
    rd_kafka_destroy_flags(retired->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return NULL;
}

/* False: not now. */
static bool replace(struct kafka_consumer *consumer)
{
    struct fault fault;
    unsigned suppressed;
    rd_kafka_t *rk = consumer_client_new(consumer, &fault);
    if (rk == NULL) {
        if (kafka_log_allowed(&consumer->error_limit, 5, &suppressed)) {
            log_error("recovery-waits", "suppressed=%u reason=\"%s\"", suppressed, fault.text);
        }
        return false;
    }
    struct retired *retired = mem_zalloc(sizeof(*retired));
    retired->rk = consumer->rk;
    consumer_queues_close(consumer);
    list_push_back(&consumer->recover.retired, &retired->node);
    CHECK(pthread_create(&retired->thread, NULL, retire, retired) == 0);
    consumer->rk = rk;
    consumer_queues_open(consumer);
    consumer->reassign = false;
    consumer->reforward = false;
    consumer->recover.count++;
    return true;
}

/* ---- asking ---- */

static void ask(struct kafka_consumer *consumer, struct mono_time now)
{
    struct consumer_recover *recover = &consumer->recover;
    const char *group = consumer->claim.group_id;
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(consumer->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_ASK_TIMEOUT_MS, NULL, 0);
    rd_kafka_AdminOptions_set_opaque(
        options, (void *)++recover->asking); /* NOLINT(performance-no-int-to-ptr): a number */
    rd_kafka_DescribeConsumerGroups(consumer->rk, &group, 1, options, recover->answers);
    rd_kafka_AdminOptions_destroy(options);
    recover->is_asked = true;
    recover->asked = now;
}

/* The id that holds our name, "" nobody. False: the brokers do not say. */
static bool find_holder(const struct kafka_consumer *consumer, rd_kafka_event_t *event,
                        const char **holder)
{
    size_t count = 0;
    const rd_kafka_DescribeConsumerGroups_result_t *result =
        rd_kafka_event_DescribeConsumerGroups_result(event);
    const rd_kafka_ConsumerGroupDescription_t **groups =
        result == NULL ? NULL : rd_kafka_DescribeConsumerGroups_result_groups(result, &count);
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR || count != 1 ||
        rd_kafka_ConsumerGroupDescription_error(groups[0]) != NULL) {
        return false;
    }
    *holder = "";
    count = rd_kafka_ConsumerGroupDescription_member_count(groups[0]);
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_MemberDescription_t *member =
            rd_kafka_ConsumerGroupDescription_member(groups[0], i);
        const char *instance = rd_kafka_MemberDescription_group_instance_id(member);
        if (instance != NULL && strcmp(instance, consumer->recover.instance_id) == 0) {
            *holder = rd_kafka_MemberDescription_consumer_id(member);
        }
    }
    return true;
}

static void unsettled(struct kafka_consumer *consumer, struct mono_time now)
{
    struct consumer_recover *recover = &consumer->recover;
    recover->answers_in_turn = 0;
    recover->ask_at = mono_add_ms(now, consumer->claim.session_timeout_ms);
}

static void join(struct kafka_consumer *consumer, struct mono_time now)
{
    struct fault fault;
    struct consumer_recover *recover = &consumer->recover;
    unsettled(consumer, now);
    recover->phase = RECOVER_NONE;
    if (!consumer_subscribe(consumer, &fault)) {
        fault.kind = FAULT_FATAL;
        consumer_fail(consumer, &fault);
    }
}

static void stranger_seen(struct kafka_consumer *consumer, struct mono_time now)
{
    struct consumer_recover *recover = &consumer->recover;
    if (!recover->is_stranger) {
        recover->is_stranger = true;
        recover->stranger_since = now;
        log_warn("name-taken", "name=%s group=%s reason=\"it is seen whether its holder lives\"",
                 recover->name, consumer->claim.group_id);
    } else if (mono_since_us(now, recover->stranger_since) / 1000 >
               2 * consumer->claim.session_timeout_ms + STRANGER_EXTRA_MS) {
        struct fault fault;
        fault_set(
            &fault, FAULT_FATAL, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
            "another living member of group %s has the name \"%s\": each needs one of its own",
            consumer->claim.group_id, recover->name);
        recover->phase = RECOVER_NONE;
        consumer_fail(consumer, &fault);
    }
}

static void answered_waiting(struct kafka_consumer *consumer, bool known, struct mono_time now)
{
    struct consumer_recover *recover = &consumer->recover;
    recover->answers_in_turn = known ? recover->answers_in_turn + 1 : 0;
    recover->ask_at = mono_add_ms(now, consumer->claim.session_timeout_ms);
    if (!recover->is_settled &&
        recover->answers_in_turn >= PATIENCE_SESSIONS * recover->patience_times) {
        recover->phase = RECOVER_UNHEARD;
    }
}

static void answered(struct kafka_consumer *consumer, rd_kafka_event_t *event, struct mono_time now)
{
    struct consumer_recover *recover = &consumer->recover;
    const char *holder;
    if (!recover->is_asked || (uintptr_t)rd_kafka_event_opaque(event) != recover->asking) {
        return;
    }
    recover->is_asked = false;
    recover->ask_at = mono_add_ms(now, ASK_AGAIN_MS);
    bool late = mono_since_us(now, recover->asked) > (int64_t)ASK_LATE_MS * 1000;
    bool known = find_holder(consumer, event, &holder) && !late;
    if (recover->phase == RECOVER_NONE) {
        answered_waiting(consumer, known, now);
    } else if (!known) {
        recover->is_stranger = false; /* its session begins anew when a coordinator is loaded */
    } else if (holder[0] == '\0' || is_ours(recover, holder)) {
        join(consumer, now);
    } else {
        stranger_seen(consumer, now);
    }
}

static void serve_answers(struct kafka_consumer *consumer, struct mono_time now)
{
    struct consumer_recover *recover = &consumer->recover;
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(recover->answers, 0)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT) {
            answered(consumer, event, now);
        }
        rd_kafka_event_destroy(event);
    }
}

/* ---- the watch ---- */

void recover_settled(struct kafka_consumer *consumer, bool is_settled)
{
    struct consumer_recover *recover = &consumer->recover;
    if (recover->name == NULL || consumer->closing) {
        return;
    }
    recover->is_settled = is_settled;
    if (is_settled) {
        recover->patience_times = 1;
        note_id(consumer);
    } else {
        unsettled(consumer, mono_now());
    }
}

static void watch(struct kafka_consumer *consumer, struct mono_time now)
{
    struct consumer_recover *recover = &consumer->recover;
    if (recover->is_settled || consumer->stopped) {
        return;
    }
    if (!mono_before(now, recover->next_look)) {
        recover->next_look = mono_add_ms(now, LOOK_MS);
        note_id(consumer);
    }
    if (!recover->is_asked && !mono_before(now, recover->ask_at)) {
        ask(consumer, now);
    }
}

void recover_fenced(struct kafka_consumer *consumer)
{
    if (consumer->recover.phase == RECOVER_NONE) {
        log_warn("member-fenced", "name=%s group=%s", consumer->recover.name,
                 consumer->claim.group_id);
        note_id(consumer);
        consumer->recover.phase = RECOVER_FENCED;
    }
}

void recover_serve(struct kafka_consumer *consumer, struct mono_time now)
{
    struct consumer_recover *recover = &consumer->recover;
    if (recover->name == NULL) {
        return;
    }
    serve_answers(consumer, now);
    switch (recover->phase) {
    case RECOVER_NONE: watch(consumer, now); break;
    case RECOVER_UNHEARD:
        if (replace(consumer)) {
            log_warn("member-unheard", "name=%s group=%s reason=\"joins anew\"", recover->name,
                     consumer->claim.group_id);
            recover->patience_times = recover->patience_times < PATIENCE_MAX_TIMES
                                          ? recover->patience_times * 2
                                          : PATIENCE_MAX_TIMES;
            join(consumer, now);
        }
        break;
    case RECOVER_FENCED:
        if (replace(consumer)) {
            recover->is_settled = false;
            recover->is_asked = false;
            recover->is_stranger = false;
            recover->phase = RECOVER_ASKING;
            ask(consumer, now);
        }
        break;
    case RECOVER_ASKING:
        if (!recover->is_asked && !mono_before(now, recover->ask_at)) {
            ask(consumer, now);
        }
        break;
    }
}

/* ---- life ---- */

void recover_init(struct kafka_consumer *consumer, const struct kafka_consumer_options *options)
{
    struct consumer_recover *recover = &consumer->recover;
    list_init(&recover->retired);
    recover->patience_times = 1;
    recover->ask_at = mono_add_ms(mono_now(), options->session_timeout_ms);
    if (options->group_instance_id != NULL) {
        recover->name = mem_strdup(options->group_instance_id);
    }
}

void recover_release(struct kafka_consumer *consumer)
{
    struct consumer_recover *recover = &consumer->recover;
    struct list *node;
    while ((node = list_pop_front(&recover->retired)) != NULL) {
        struct retired *retired = CONTAINER_OF(node, struct retired, node);
        pthread_join(retired->thread, NULL);
        mem_free(retired);
    }
    for (size_t i = 0; i < RECOVER_IDS; i++) {
        mem_free(recover->ids[i]);
    }
    mem_free(recover->name);
    mem_free(recover->instance_id);
}

uint64_t kafka_consumer_recoveries(const struct kafka_consumer *consumer)
{
    return consumer->recover.count;
}
