/*
 * Emptying partitions that go to another worker, so that it neither loses nor repeats anything. See
 * intake.h for the rule.
 */
#include "worker/delay.h"
#include "worker/intake_private.h"
#include "worker/shard.h"
#include "worker/worker.h"

#include "base/log.h"

/* How long moved mail, and what follows from cut transactions, may take to be acknowledged. */
#define MOVE_WAIT_MS 10000

static bool is_one_of(const struct mail *mail, struct kafka_partition *const *partitions,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (mail->ticket.partition == partitions[i]) {
            return kafka_ticket_valid(&mail->ticket);
        }
    }
    return false;
}

static size_t open_tickets(struct kafka_partition *const *partitions, size_t count)
{
    size_t open = 0;
    for (size_t i = 0; i < count; i++) {
        open += kafka_partition_open_tickets(partitions[i]);
    }
    return open;
}

static size_t returned_of(const struct intake *intake, struct kafka_partition *const *partitions,
                          size_t count)
{
    size_t n = 0;
    list_foreach (node, &intake->returned) {
        n += is_one_of(CONTAINER_OF(node, struct mail, node), partitions, count) ? 1 : 0;
    }
    return n;
}

/* Loop turns without intake until the tickets of returned mails and of `forgotten` ones are all
 * that is open, or the time is over. */
static void wait_for(struct intake *intake, struct kafka_partition *const *partitions, size_t count,
                     size_t forgotten, int64_t wait_ms)
{
    struct mono_time until = mono_add_ms(mono_now(), wait_ms);
    while (open_tickets(partitions, count) > returned_of(intake, partitions, count) + forgotten &&
           mono_before(mono_now(), until)) {
        io_loop_turn(intake->loop);
        kafka_producer_poll(intake->worker->events, 0);
        kafka_producer_poll(intake->worker->copies, 0);
        kafka_producer_poll(intake->worker->journal, 0);
        tiers_return(intake);
    }
}

/* Forgets what lies above everything completed, moves the rest to a tier. Returns how many were
 * moved. */
static size_t settle_returned(struct intake *intake, struct kafka_partition *const *partitions,
                              size_t count, bool lost)
{
    struct list mine;
    struct list *node;
    size_t moved = 0;
    list_init(&mine);
    list_foreach_safe (found, after, &intake->returned) {
        struct mail *mail = CONTAINER_OF(found, struct mail, node);
        if (!kafka_ticket_valid(&mail->ticket) || is_one_of(mail, partitions, count)) {
            list_remove(&mail->node);
            list_push_back(&mine, &mail->node);
        }
    }
    while ((node = list_pop_front(&mine)) != NULL) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        if (lost || !kafka_ticket_valid(&mail->ticket) ||
            mail->ticket.offset > kafka_partition_highest_complete(mail->ticket.partition)) {
            mail->forget = true;
            mail_release(mail);
            continue;
        }
        delay_forward(mail, mail->due_ms);
        mail_release(mail);
        moved++;
    }
    return moved;
}

static void ask_all(const struct worker *worker, enum shard_request_kind kind)
{
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_ask(worker->shards[i], kind, 0);
    }
}

void evict_partitions(struct intake *intake, struct kafka_partition *const *partitions,
                      size_t count, int64_t wait_ms, bool lost)
{
    ask_all(intake->worker, intake->draining ? SHARD_DRAIN : SHARD_RETURN);
    tiers_return(intake);
    wait_for(intake, partitions, count, 0, lost ? 0 : wait_ms);
    size_t running =
        lost ? 0 : open_tickets(partitions, count) - returned_of(intake, partitions, count);
    if (running > 0) {
        ask_all(intake->worker, SHARD_CUT);
        wait_for(intake, partitions, count, 0, MOVE_WAIT_MS);
    }
    size_t returned = returned_of(intake, partitions, count);
    size_t moved = settle_returned(intake, partitions, count, lost);
    if (moved > 0) {
        wait_for(intake, partitions, count, returned - moved, MOVE_WAIT_MS);
    }
    log_info("partitions-emptied", "count=%zu returned=%zu moved=%zu cut=%zu still_open=%zu", count,
             returned, moved, running, open_tickets(partitions, count) - (returned - moved));
}
