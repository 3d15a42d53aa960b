#include "worker/intake.h"

#include "worker/delay.h"
#include "worker/intake_private.h"
#include "worker/shard.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SERVE_EVERY_MS 50
#define STATS_EVERY_MS 10000
#define TAKE_BATCH 512
#define TX_PRESSURE_MAX 125 /* percent: transactional mail may use a reserve */
#define BULK_PRESSURE_MAX 100
#define BULK_PRESSURE_AGAIN 90

static void group_assigned(void *owner, struct kafka_partition *const *partitions, size_t count);
static void group_revoked(void *owner, struct kafka_partition *const *partitions, size_t count,
                          bool lost);
static void group_failed(void *owner, const struct fault *fault);

static const struct kafka_consumer_ops consumer_ops = {
    .assigned = group_assigned,
    .revoked = group_revoked,
    .failed = group_failed,
};

/* ---- letters ---- */

/* The shards have done what they were asked for, and it is on Kafka. */
static void shard_answered(struct shard_answer *answer)
{
    log_debug("shard-answered", "shard=%u kind=%d number=%lld in_flight=%zu", answer->shard,
              (int)answer->kind, (long long)answer->number, answer->in_flight_count);
    shard_answer_free(&answer);
}

static void mail_came_home(struct letter *letter, void *owner)
{
    struct intake *intake = owner;
    struct mail_post *post = CONTAINER_OF(letter, struct mail_post, letter);
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    if (post->kind == MAIL_LETTER_ANSWER) {
        shard_answered(CONTAINER_OF(post, struct shard_answer, post));
        return;
    }
    struct mail *mail = CONTAINER_OF(post, struct mail, post);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    if (post->kind == MAIL_LETTER_RETURNED) {
        if (kafka_ticket_valid(&mail->ticket)) {
            list_push_back(&intake->returned, &mail->node);
        } else { /* too late: its partition has gone already */
            mail->forget = true;
            mail_release(mail);
        }
        return;
    }
    CHECK(post->kind == MAIL_LETTER_SETTLED);
    list_push_back(&intake->settled, &mail->node);
    mail_release(mail);
}

void intake_close(struct intake *intake, struct mail *mail)
{
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    list_remove(&mail->node);
    if (!mail->forget && !list_empty(&mail->copies)) {
        mail_hold(mail);
        list_push_back(&intake->settled, &mail->node);
        outbox_send_copies(intake->outbox, mail);
        mail_release(mail);
        return;
    }
    if (!mail->forget) {
        kafka_ticket_complete(intake->consumer, mail->ticket);
        if (mail_duplicates(mail) != CONFIG_DUPLICATES_OFF) {
            journal_writer_closed(intake->journal, mail);
        }
    }
    mail_free(&mail);
    if (intake->blocked && worker_pressure_percent(intake->worker) < BULK_PRESSURE_AGAIN) {
        intake->blocked = false;
        intake_wake(intake);
    }
}

void intake_post(struct intake *intake, struct mail *mail)
{
    mailbox_post(intake->mailbox, &mail->post.letter);
}

void intake_answer(struct intake *intake, struct shard_answer *answer)
{
    mailbox_post(intake->mailbox, &answer->post.letter);
}

void intake_wake(struct intake *intake)
{
    const uint64_t one = 1;
    ssize_t written = write(intake->event_fd, &one, sizeof(one));
    CHECK(written == (ssize_t)sizeof(one) || errno == EAGAIN);
}

void intake_drain(struct intake *intake)
{
    atomic_store_explicit(&intake->drain_asked, 1, memory_order_release);
    intake_wake(intake);
}

struct outbox *intake_outbox(struct intake *intake)
{
    return intake->outbox;
}

/* ---- taking ---- */

void intake_to_shard(struct intake *intake, struct mail *mail)
{
    struct worker *worker = intake->worker;
    mail->post.kind = MAIL_LETTER_ROUTE;
    shard_post(worker->shards[(uint32_t)mail->record.partition_id % worker->shard_count], mail);
}

/* At most a batch of one class; true: there may be more. */
static bool take_some(struct intake *intake, enum kafka_source source, unsigned pressure_max)
{
    struct kafka_record record;
    for (int i = 0; i < TAKE_BATCH; i++) {
        if (worker_pressure_percent(intake->worker) >= pressure_max) {
            intake->blocked = true;
            return false;
        }
        if (!kafka_consumer_take(intake->consumer, source, &record)) {
            return false;
        }
        struct mail *mail = mail_create(intake->worker, &record);
        CHECK(mail != NULL); /* a few KB: the budget keeps us far from the end of memory */
        worker_count(intake->worker, WORKER_TAKEN, 1);
        if (source == KAFKA_SOURCE_TIER) {
            tiers_take(intake, mail);
        } else {
            intake_to_shard(intake, mail);
        }
    }
    return true;
}

static void work(struct intake *intake)
{
    struct mono_time now = io_loop_now(intake->loop);
    kafka_producer_poll(intake->worker->events, 0);
    kafka_producer_poll(intake->worker->copies, 0);
    kafka_producer_poll(intake->worker->journal, 0);
    kafka_consumer_serve(intake->consumer, now);
    if (intake->draining || intake->failed) {
        return;
    }
    bool more = take_some(intake, KAFKA_SOURCE_TX, TX_PRESSURE_MAX);
    more = take_some(intake, KAFKA_SOURCE_TIER, BULK_PRESSURE_MAX) || more;
    more = take_some(intake, KAFKA_SOURCE_BULK, BULK_PRESSURE_MAX) || more;
    if (more) {
        intake_wake(intake);
    }
}

/* Something happened at Kafka; the work is done after the turn, outside the loop. */
static void notified(struct io_watch *watch, void *owner, unsigned events)
{
    struct intake *intake = owner;
    uint64_t count;
    (void)watch;
    (void)events;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    ssize_t got = read(intake->event_fd, &count, sizeof(count));
    (void)got; /* nothing there: another notification took it */
}

static void serve_tick(struct timer *timer, struct mono_time now)
{
    struct intake *intake = CONTAINER_OF(timer, struct intake, serve);
    wheel_set(io_loop_wheel(intake->loop), timer, mono_add_ms(now, SERVE_EVERY_MS), serve_tick);
}

static void stats_tick(struct timer *timer, struct mono_time now)
{
    struct intake *intake = CONTAINER_OF(timer, struct intake, stats);
    const struct worker *worker = intake->worker;
    unsigned long long n[WORKER_COUNTERS];
    for (size_t i = 0; i < WORKER_COUNTERS; i++) {
        n[i] = atomic_load_explicit(&worker->counters[i], memory_order_relaxed);
    }
    log_info(
        "stats",
        "taken=%llu delivered=%llu deferred=%llu bounced=%llu expired=%llu dropped=%llu "
        "uncertain=%llu spilled=%llu connections=%u in_memory=%lld bytes=%lld unacknowledged=%d",
        n[WORKER_TAKEN], n[WORKER_DELIVERED], n[WORKER_DEFERRED], n[WORKER_BOUNCED],
        n[WORKER_EXPIRED], n[WORKER_DROPPED], n[WORKER_UNCERTAIN], n[WORKER_SPILLED],
        atomic_load(&worker->connections), atomic_load(&worker->messages),
        atomic_load(&worker->bytes),
        kafka_producer_pending(worker->events) + kafka_producer_pending(worker->copies));
    wheel_set(io_loop_wheel(intake->loop), timer, mono_add_ms(now, STATS_EVERY_MS), stats_tick);
}

/* ---- the group ---- */

/* Limits are shared by all shard threads of the group. Range assignment deals shards evenly, so our
 * part tells how many we are. */
static void tell_holders(struct intake *intake)
{
    struct worker *worker = intake->worker;
    unsigned mine = 0;
    for (size_t i = 0; i < intake->assigned_count; i++) {
        const char *topic = kafka_partition_topic(intake->assigned[i]);
        mine += strcmp(topic, worker->topics.tiers[0]) == 0 ? 1 : 0;
    }
    unsigned shards = (unsigned)worker->config->kafka.shards;
    unsigned workers = mine == 0 ? 1 : (shards + mine - 1) / mine;
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_ask(worker->shards[i], SHARD_HOLDERS, workers * worker->shard_count);
    }
}

static void group_assigned(void *owner, struct kafka_partition *const *partitions, size_t count)
{
    struct intake *intake = owner;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    intake->assigned = mem_realloc(intake->assigned, (intake->assigned_count + count) *
                                                         sizeof(struct kafka_partition *));
    for (size_t i = 0; i < count; i++) {
        intake->assigned[intake->assigned_count++] = partitions[i];
    }
    log_info("partitions-assigned", "count=%zu now=%zu", count, intake->assigned_count);
    tell_holders(intake);
}

static void forget_assigned(struct intake *intake, const struct kafka_partition *partition)
{
    for (size_t i = 0; i < intake->assigned_count; i++) {
        if (intake->assigned[i] == partition) {
            intake->assigned[i] = intake->assigned[--intake->assigned_count];
            return;
        }
    }
}

static void group_revoked(void *owner, struct kafka_partition *const *partitions, size_t count,
                          bool lost)
{
    struct intake *intake = owner;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    if (!intake->draining) {
        evict_partitions(intake, partitions, count, EVICT_REBALANCE_MS, lost);
    }
    for (size_t i = 0; i < count; i++) {
        forget_assigned(intake, partitions[i]);
    }
    log_info("partitions-revoked", "count=%zu lost=%d now=%zu", count, lost,
             intake->assigned_count);
    tell_holders(intake);
}

static void group_failed(void *owner, const struct fault *fault)
{
    struct intake *intake = owner;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    log_error("group-failed", "reason=\"%s\"", fault->text);
    intake->failed = fault->kind == FAULT_FATAL;
}

/* ---- life ---- */

static void journal_is_safer(void *owner)
{
    struct intake *intake = owner;
    CHECK_MAGIC(intake, INTAKE_MAGIC);
}

static bool open_consumer(struct intake *intake, struct fault *fault)
{
    struct worker *worker = intake->worker;
    const struct config *config = worker->config;
    size_t count = config->stream_count + KAFKA_TIERS;
    struct kafka_subscription *subscriptions = mem_calloc(count, sizeof(*subscriptions));
    struct kafka_consumer_options options;
    char(*streams)[KAFKA_TOPIC_NAME_MAX + 1] = mem_calloc(config->stream_count, sizeof(*streams));
    size_t n = 0;
    for (size_t i = 0; i < config->stream_count; i++) {
        snprintf(streams[i], sizeof(streams[i]), "%sq.%s", config->kafka.prefix,
                 config->streams[i].name);
        bool tx = config->streams[i].class_ == CONFIG_CLASS_TRANSACTIONAL;
        subscriptions[n++] = (struct kafka_subscription){
            streams[i], tx ? KAFKA_SOURCE_TX : KAFKA_SOURCE_BULK, (int)i};
    }
    for (int i = 0; i < KAFKA_TIERS; i++) {
        subscriptions[n++] =
            (struct kafka_subscription){worker->topics.tiers[i], KAFKA_SOURCE_TIER, i};
    }
    kafka_consumer_options_default(&options);
    options.group_id = config->kafka.group;
    options.client_id = worker->name;
    options.group_instance_id = worker->name;
    options.subscriptions = subscriptions;
    options.subscription_count = n;
    struct kafka_properties properties;
    struct kafka_property *items = worker_properties(config, &properties);
    intake->consumer = kafka_consumer_create(&properties, &options, &consumer_ops, intake, fault);
    mem_free(items);
    mem_free(subscriptions);
    mem_free(streams);
    return intake->consumer != NULL;
}

struct intake *intake_create(struct worker *worker, struct fault *fault)
{
    struct intake *intake = mem_zalloc(sizeof(*intake));
    intake->magic = INTAKE_MAGIC;
    intake->worker = worker;
    intake->event_fd = -1;
    list_init(&intake->held);
    list_init(&intake->returned);
    list_init(&intake->settled);
    worker->intake = intake;
    intake->loop = io_loop_create(fault);
    if (intake->loop == NULL) {
        intake_free(&intake);
        return NULL;
    }
    intake->outbox = outbox_create(worker, intake->loop);
    intake->mailbox = mailbox_create(intake->loop, mail_came_home, intake, fault);
    intake->journal = journal_writer_create(worker, intake->loop, JOURNAL_CLOSED_LINGER_MS,
                                            journal_is_safer, intake, fault);
    intake->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (intake->mailbox == NULL || intake->journal == NULL || intake->event_fd < 0) {
        intake_free(&intake);
        return NULL;
    }
    intake->watch = io_watch_create(intake->loop, intake->event_fd, notified, intake, fault);
    if (intake->watch == NULL || !open_consumer(intake, fault)) {
        intake_free(&intake);
        return NULL;
    }
    io_watch_set(intake->watch, IO_READABLE);
    kafka_producer_notify(worker->events, intake->event_fd);
    kafka_producer_notify(worker->copies, intake->event_fd);
    kafka_producer_notify(worker->journal, intake->event_fd);
    kafka_consumer_notify(intake->consumer, intake->event_fd);
    serve_tick(&intake->serve, io_loop_now(intake->loop));
    stats_tick(&intake->stats, io_loop_now(intake->loop));
    return intake;
}

void intake_free(struct intake **handle)
{
    struct intake *intake = *handle;
    struct list *node;
    if (intake == NULL) {
        return;
    }
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    if (intake->loop != NULL) {
        wheel_cancel(io_loop_wheel(intake->loop), &intake->serve);
        wheel_cancel(io_loop_wheel(intake->loop), &intake->stats);
    }
    outbox_free(&intake->outbox);
    mailbox_free(&intake->mailbox); /* what came home meanwhile is dealt with in it */
    tiers_release_all(intake);
    list_append_all(&intake->returned, &intake->settled);
    while ((node = list_pop_front(&intake->returned)) != NULL) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        mail_free(&mail);
    }
    journal_writer_free(&intake->journal);
    kafka_consumer_free(&intake->consumer);
    io_watch_free(&intake->watch);
    io_loop_free(&intake->loop);
    if (intake->event_fd >= 0) {
        close(intake->event_fd);
    }
    intake->worker->intake = NULL;
    mem_free(intake->assigned);
    intake->magic = 0;
    mem_free(intake);
    *handle = NULL;
}

void intake_turn(struct intake *intake)
{
    io_loop_turn(intake->loop);
    work(intake);
}

bool intake_run(struct intake *intake)
{
    CHECK_MAGIC(intake, INTAKE_MAGIC);
    while (!intake->failed &&
           atomic_load_explicit(&intake->drain_asked, memory_order_acquire) == 0) {
        intake_turn(intake);
    }
    intake->draining = true;
    kafka_consumer_stop_intake(intake->consumer);
    log_info("draining", "in_memory=%lld", atomic_load(&intake->worker->messages));
    evict_partitions(intake, intake->assigned, intake->assigned_count,
                     intake->worker->config->worker.drain_timeout_ms, intake->failed);
    journal_writer_flush(intake->journal);
    return !intake->failed;
}
