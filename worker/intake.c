#include "worker/intake.h"

#include "worker/delay.h"
#include "worker/intake_private.h"
#include "worker/shard.h"
#include "worker/worker.h"

#include "kafka/topics.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SERVE_EVERY_MS 50
#define STATS_EVERY_MS 10000
#define TAKE_BATCH 64       /* then transactional mail is looked for again */
#define TX_PRESSURE_MAX 125 /* percent: transactional mail may use a reserve */
#define BULK_PRESSURE_MAX 100

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

void intake_forget_held(struct intake *intake)
{
    struct list *node;
    tiers_release_all(intake);
    while ((node = list_pop_front(&intake->awaited)) != NULL) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        struct inherited_record *record = inherited_find(intake->inherited, mail);
        if (record != NULL) {
            record->held = NULL; /* it may be settled yet */
        }
        mail_free(&mail);
    }
}

/* ---- taking ---- */

void intake_to_shard(struct intake *intake, struct mail *mail)
{
    struct worker *worker = intake->worker;
    mail->post.kind = MAIL_LETTER_ROUTE;
    mail->journaled =
        mail->inherited != NULL || mail->suspect; /* its shard states it from now on */
    shard_post(worker->shards[(uint32_t)mail->record.partition_id % worker->shard_count], mail);
}

/* An earlier owner has left something behind of this record. */
static void take_inherited(struct intake *intake, struct mail *mail,
                           struct inherited_record *record)
{
    if (record->closed) { /* it finished it itself */
        kafka_ticket_complete(intake->consumer, mail->ticket);
        burst_note(intake->burst);
        claims_complete(intake->claims, record);
        inherited_give(intake->inherited, record, NULL);
        intake_mail_over(intake, mail);
    } else if (record->awaited) {
        record->held = mail;
        list_push_back(&intake->awaited, &mail->node);
    } else {
        inherited_give(intake->inherited, record, mail);
        intake_to_shard(intake, mail);
    }
}

static void awaited_settled(void *owner, struct inherited_record *record)
{
    struct mail *mail = record->held;
    if (mail != NULL) {
        list_remove(&mail->node);
        take_inherited(owner, mail, record);
    }
}

/* The shards' answers come behind what they have written. */
static bool is_said(const void *owner)
{
    const struct intake *intake = owner;
    return intake->answers_missing == 0;
}

/* What an earlier owner had begun was due then: it waits in no tier. */
static void take(struct intake *intake, struct mail *mail)
{
    struct inherited_record *record = inherited_find(intake->inherited, mail);
    mail->suspect = inherited_is_suspect(intake->inherited, mail);
    if (record != NULL) {
        take_inherited(intake, mail, record);
    } else if (mail->record.source == KAFKA_SOURCE_TIER && !mail->suspect) {
        tiers_take(intake, mail);
    } else {
        intake_to_shard(intake, mail);
    }
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
        take(intake, mail);
    }
    return true;
}

void intake_poll(struct intake *intake)
{
    kafka_producer_poll(intake->worker->events, 0);
    kafka_producer_poll(intake->worker->journal, 0);
    if (burst_poll(intake->burst)) {
        intake_wake(intake);
    }
}

static void work(struct intake *intake)
{
    struct mono_time now = io_loop_now(intake->loop);
    intake_poll(intake);
    kafka_consumer_serve(intake->consumer, now);
    if (intake->failed) {
        return;
    }
    claims_serve(intake->claims, now);
    if (!intake
             ->draining) { /* nobody states what was given back, and it counts until the release */
        restate_serve(intake->restate, now);
    }
    intake_burst(intake, now);
    if (intake->draining) {
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
    log_info("stats",
             "taken=%llu delivered=%llu deferred=%llu bounced=%llu expired=%llu dropped=%llu "
             "uncertain=%llu spilled=%llu rewritten=%llu connections=%u in_memory=%lld bytes=%lld "
             "unacknowledged=%d",
             n[WORKER_TAKEN], n[WORKER_DELIVERED], n[WORKER_DEFERRED], n[WORKER_BOUNCED],
             n[WORKER_EXPIRED], n[WORKER_DROPPED], n[WORKER_UNCERTAIN], n[WORKER_SPILLED],
             n[WORKER_REWRITTEN], atomic_load(&worker->connections), atomic_load(&worker->messages),
             atomic_load(&worker->bytes), kafka_producer_pending(worker->events));
    pace_note(&intake->pace, now);
    wheel_set(io_loop_wheel(intake->loop), timer, mono_add_ms(now, STATS_EVERY_MS), stats_tick);
}

/* ---- life ---- */

static void journal_is_safer(void *owner)
{
    intake_wake(owner);
}

static void state_inherited(void *owner)
{
    const struct intake *intake = owner;
    inherited_restate(intake->inherited, intake->journal);
}

static void state_home(void *owner)
{
    const struct intake *intake = owner;
    list_foreach (node, &intake->settled) {
        journal_writer_restate(intake->journal, CONTAINER_OF(node, struct mail, node));
    }
    burst_restate(intake->burst, intake->journal);
}

static const struct restate_ops restate_ops = {
    .inherited = state_inherited,
    .home = state_home,
};

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
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &config->kafka);
    bool added = tiers_subscribe(worker, &properties, subscriptions, &n, fault);
    kafka_consumer_options_default(&options);
    options.group_id = config->kafka.group;
    options.client_id = worker->name;
    options.group_instance_id = worker->name;
    options.subscriptions = subscriptions;
    options.subscription_count = n;
    options.session_timeout_ms = (int)config->worker.session_timeout_ms;
    options.contact_topic = worker->topics.done; /* no partition of it is read by the group */
    options.contact_partition = worker->slot;
    if (added) {
        intake->consumer =
            kafka_consumer_create(&properties, &options, &intake_group_ops, intake, fault);
    }
    kafka_properties_free(&properties);
    mem_free(subscriptions);
    mem_free(streams);
    return intake->consumer != NULL;
}

static bool open_parts(struct intake *intake, struct fault *fault)
{
    struct worker *worker = intake->worker;
    intake->outbox = outbox_create(worker, intake->loop);
    intake->inherited = inherited_create();
    intake->mailbox = mailbox_create(intake->loop, intake_letter_arrived, intake, fault);
    intake->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (intake->mailbox == NULL || intake->event_fd < 0) {
        return false;
    }
    intake->journal = journal_writer_create(worker, intake->loop, JOURNAL_CLOSED_LINGER_MS,
                                            journal_is_safer, intake, fault);
    intake->watch = io_watch_create(intake->loop, intake->event_fd, notified, intake, fault);
    if (intake->journal == NULL || intake->watch == NULL) {
        return false;
    }
    intake->restate = restate_create(worker, intake->journal, &restate_ops, intake);
    intake->burst = burst_create(worker, &intake_burst_ops, intake, intake->event_fd, fault);
    if (intake->burst == NULL || !open_consumer(intake, fault)) {
        return false;
    }
    const struct claims_parts parts = {
        .worker = worker,
        .consumer = intake->consumer,
        .burst = intake->burst,
        .journal = intake->journal,
        .inherited = intake->inherited,
        .restate = intake->restate,
        .event_fd = intake->event_fd,
        .is_said = is_said,
        .settled = awaited_settled,
        .owner = intake,
    };
    intake->claims = claims_create(&parts, fault);
    return intake->claims != NULL;
}

struct intake *intake_create(struct worker *worker, struct fault *fault)
{
    struct intake *intake = mem_zalloc(sizeof(*intake));
    intake->magic = INTAKE_MAGIC;
    intake->worker = worker;
    intake->event_fd = -1;
    list_init(&intake->held);
    list_init(&intake->awaited);
    list_init(&intake->settled);
    worker->intake = intake;
    intake->loop = io_loop_create(fault);
    if (intake->loop == NULL || !open_parts(intake, fault)) {
        intake_free(&intake);
        return NULL;
    }
    worker->tenures.consumer = intake->consumer;
    worker->tenures.session_timeout_us = worker->config->worker.session_timeout_ms * 1000;
    io_watch_set(intake->watch, IO_READABLE);
    kafka_producer_notify(worker->events, intake->event_fd);
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
    intake_forget_held(intake);
    while ((node = list_pop_front(&intake->settled)) != NULL) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        mail_free(&mail);
    }
    burst_free(&intake->burst);
    claims_free(&intake->claims);
    restate_free(&intake->restate);
    inherited_free(&intake->inherited);
    journal_writer_free(&intake->journal);
    kafka_consumer_free(&intake->consumer);
    io_watch_free(&intake->watch);
    io_loop_free(&intake->loop);
    if (intake->event_fd >= 0) {
        close(intake->event_fd);
    }
    intake->worker->intake = NULL;
    mem_free(intake->assigned);
    mem_free(intake->pace.items);
    mem_free(intake->in_flight);
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
    evict_drain(intake);
    journal_writer_flush(intake->journal);
    return !intake->failed;
}
