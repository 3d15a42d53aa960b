/*
 * Delay tiers on the intake thread. Equal delay means that records of a tier's partition are due in
 * their order: the head is held, the partition stands still until then, whatever its length. A
 * record that is due in its tier but has a longer way to go hops on; a rest shorter than the first
 * tier is waited for here.
 */
#include "worker/delay.h"
#include "worker/intake_private.h"
#include "worker/worker.h"

#include "kafka/topics.h"
#include "schema/headers.h"

#include "base/log.h"

#define FORMER_TIER_TIMEOUT_MS 30000
#define LOOK_MS 5000 /* a clock that was set is noticed by then: due times go by the wall */

static void hold_over(struct timer *timer, struct mono_time now);

static int64_t number_header(const struct mail *mail, const char *name)
{
    struct slice text;
    uint64_t number;
    if (!kafka_record_header(&mail->record, name, &text) || !slice_to_u64(text, &number) ||
        number > INT64_MAX) {
        return 0;
    }
    return (int64_t)number;
}

static void set_hold(struct intake *intake, struct mail *mail, int64_t wait_ms)
{
    wheel_set(io_loop_wheel(intake->loop), &mail->hold,
              mono_add_ms(io_loop_now(intake->loop), wait_ms < LOOK_MS ? wait_ms : LOOK_MS),
              hold_over);
}

static void hold(struct intake *intake, struct mail *mail, int64_t wait_ms)
{
    mail->hold_until_ms = wall_now().ms + wait_ms;
    list_push_back(&intake->held, &mail->node);
    set_hold(intake, mail, wait_ms);
}

/* The tier's own delay is over. */
static void due_in_tier(struct intake *intake, struct mail *mail)
{
    int64_t unit_ms = intake->worker->config->kafka.tier_unit_ms;
    int64_t rest_ms = number_header(mail, HEADER_DUE_MS) - wall_now().ms;
    int64_t spilled = number_header(mail, HEADER_SPILLED);
    if (rest_ms <= 0) {
        intake_to_shard(intake, mail);
    } else if (delay_is_short(rest_ms, unit_ms) && spilled < SPILLED_SLOW) {
        hold(intake, mail, rest_ms);
    } else if (spilled > 0) {
        mail->early = true; /* its lane may have too little by now */
        intake_to_shard(intake, mail);
    } else {
        delay_forward(mail, wall_now().ms + rest_ms);
        mail_release(mail);
    }
}

static void hold_over(struct timer *timer, struct mono_time now)
{
    struct mail *mail = CONTAINER_OF(timer, struct mail, hold);
    struct intake *intake = mail->worker->intake;
    CHECK_MAGIC(mail, MAIL_MAGIC);
    (void)now;
    int64_t wait_ms = mail->hold_until_ms - wall_now().ms;
    if (wait_ms > 0) {
        set_hold(intake, mail, wait_ms);
        return;
    }
    list_remove(&mail->node);
    if (mail->tier_head) {
        mail->tier_head = false;
        kafka_partition_resume(intake->consumer, mail->ticket.partition);
        intake_wake(intake);
        due_in_tier(intake, mail);
    } else {
        intake_to_shard(intake, mail);
    }
}

/* A tier that the configuration does not have any more: on to one that it has. */
static void leave_tier(struct intake *intake, struct mail *mail)
{
    int64_t due_ms = number_header(mail, HEADER_DUE_MS);
    if (due_ms <= wall_now().ms) {
        intake_to_shard(intake, mail);
    } else {
        delay_forward(mail, due_ms);
        mail_release(mail);
    }
}

void tiers_take(struct intake *intake, struct mail *mail)
{
    if (mail->record.index >= intake->worker->config->kafka.tiers) {
        leave_tier(intake, mail);
        return;
    }
    int64_t unit_ms = intake->worker->config->kafka.tier_unit_ms;
    int64_t due_ms =
        mail->record.timestamp_ms + kafka_tier_delay_ms((unsigned)mail->record.index, unit_ms);
    int64_t promised_ms = number_header(mail, HEADER_DUE_MS);
    if (promised_ms > 0 && promised_ms < due_ms) {
        due_ms = promised_ms; /* the tier was rounded up, or its delay was shorter then */
    }
    int64_t wait_ms = due_ms - wall_now().ms;
    if (wait_ms <= 0) {
        due_in_tier(intake, mail);
        return;
    }
    mail->tier_head = true;
    kafka_partition_pause(intake->consumer, mail->ticket.partition);
    hold(intake, mail, wait_ms);
}

void tiers_release_all(struct intake *intake)
{
    struct list *node;
    while ((node = list_pop_front(&intake->held)) != NULL) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        wheel_cancel(io_loop_wheel(intake->loop), &mail->hold);
        mail_free(&mail);
    }
}

bool tiers_subscribe(struct worker *worker, const struct kafka_properties *properties,
                     struct kafka_subscription *subscriptions, size_t *count, struct fault *fault)
{
    const struct config_kafka *kafka = &worker->config->kafka;
    for (int i = 0; i < KAFKA_TIERS; i++) {
        const char *topic = worker->topics.tiers[i];
        int waiting = 1;
        if (i >= kafka->tiers) {
            waiting =
                kafka_topic_waiting(properties, kafka->group, topic, FORMER_TIER_TIMEOUT_MS, fault);
            if (waiting < 0) {
                return false;
            }
            log_info("former-tier", "topic=%s partitions_waiting=%d", topic, waiting);
        }
        if (waiting > 0) {
            subscriptions[(*count)++] = (struct kafka_subscription){topic, KAFKA_SOURCE_TIER, i};
        }
    }
    return true;
}
