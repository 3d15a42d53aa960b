/*
 * The world of the tests of lanes, for one program each: sessions, Kafka and the limits are played
 * here. A session is ready as soon as it is opened and delivers what it is given; limits keep the
 * order of those who wait, as lib/redis does.
 */
#ifndef SLUICE_UNIT_WORKER_LANE_WORLD_H
#define SLUICE_UNIT_WORKER_LANE_WORLD_H

#include "worker/classify.h"
#include "worker/copy.h"
#include "worker/lane.h"
#include "worker/session.h"
#include "worker/worker.h"

#include "base/hash.h"
#include "base/mem.h"
#include "schema/headers.h"
#include "unit/cmocka_all.h"
#include "worker/intake.h"

#define MAILS_MAX 300
#define HOUR ((int64_t)3600000)
#define TURNS_MAX 2000
#define RECIPIENTS_MAX 4

/* ---- Kafka and intake: everything is acknowledged by the test, mails are freed at once ---- */

static struct {
    struct kafka_delivery *deliveries[4 * MAILS_MAX];
    size_t count;
    int64_t due_ms[MAILS_MAX]; /* of delay copies, in order */
    size_t due_count;
    size_t came_home;
    size_t begun, cut;
    size_t sizes[8];  /* of the last ones that were begun */
    char tenants[16]; /* the first letter of whose mail was begun as the n-th */
    struct session *opened[MAILS_MAX];
    size_t opened_count;
    bool choked;                   /* nothing is begun … */
    size_t choked_after;           /* … after so many; 0: never so */
    bool hold_sessions;            /* they stay as they are */
    const struct session *surplus; /* its slot is wanted by others */
    unsigned sharers;              /* of each rate */
    bool out_of_contact;           /* with the group */
    uint64_t used, borrowed;       /* messages, as told by events of usage */
    size_t postponed;              /* events */
    char reason[32];               /* of the last one */
    int64_t postponed_due_ms;
} world;
static size_t recipient_count = 1; /* of a mail that is pushed */

static inline void note_event(struct slice value)
{
    struct arena *arena = arena_create(1024, 65536);
    struct event event;
    struct fault fault;
    assert_true(event_decode(value, arena, &event, &fault));
    world.used += event.usage.messages;
    world.borrowed += event.usage.borrowed;
    if (event.type == EVENT_POSTPONED) {
        world.postponed++;
        world.postponed_due_ms = event.postponed.due_ms;
        assert_true(event.reason.len < sizeof(world.reason));
        snprintf(world.reason, sizeof(world.reason), "%.*s", SLICE_FMT(event.reason));
    }
    arena_free(&arena);
}

bool kafka_producer_send(struct kafka_producer *producer, const struct kafka_record_out *record,
                         struct fault *fault)
{
    (void)producer;
    (void)fault;
    note_event(record->value);
    if (record->delivery != NULL) {
        world.deliveries[world.count++] = record->delivery;
    }
    return true;
}

static inline void note_copy(const struct copy *copy)
{
    for (size_t i = 0; i < copy->header_count; i++) {
        uint64_t due = 0;
        if (strcmp(copy->headers[i].name, HEADER_DUE_MS) == 0) {
            assert_true(slice_to_u64(copy->headers[i].value, &due));
            world.due_ms[world.due_count++] = (int64_t)due;
        }
    }
}

static inline void acknowledge_all(void)
{
    for (size_t i = 0; i < world.count; i++) {
        world.deliveries[i]->done(world.deliveries[i], 0, 0, NULL);
    }
    world.count = 0;
}

/* Copies to tiers, which are written when the event of each is on Kafka. */
static inline size_t due_copies(void)
{
    acknowledge_all();
    return world.due_count;
}

void kafka_record_free(struct kafka_record *record)
{
    (void)record;
}

bool kafka_record_header(const struct kafka_record *record, const char *name, struct slice *value)
{
    (void)record;
    (void)name;
    (void)value;
    return false;
}

struct kafka_ticket kafka_record_ticket(const struct kafka_record *record)
{
    return kafka_record_ticket_of(record->partition, 1, record->offset);
}

bool shard_is_choked(struct shard *one)
{
    (void)one;
    return world.choked || (world.choked_after > 0 && world.begun >= world.choked_after);
}

bool shard_is_leaving(const struct shard *one, const struct mail *mail)
{
    (void)one;
    (void)mail;
    return false;
}

void shard_return(struct mail *mail)
{
    (void)mail;
    fail_msg("nothing is leaving here");
}

void intake_post(struct intake *intake, struct mail *mail)
{
    (void)intake;
    mail_release(mail);
}

void intake_close(struct intake *intake, struct mail *mail)
{
    (void)intake;
    world.came_home++;
    list_foreach (node, &mail->copies) {
        note_copy(CONTAINER_OF(node, struct copy, node));
    }
    mail_free(&mail);
}

struct outbox *intake_outbox(struct intake *intake)
{
    (void)intake;
    return NULL;
}

/* ---- limits: so many each, who waits is woken in order and takes inside ready() ---- */

struct limit {
    char key[64];
    bool slots; /* else it is used up, and the test fills it again */
    struct list waiters, woken, sources;
    uint64_t amount, used;
    uint64_t part; /* that can be taken at once; 0: the amount */
    unsigned rested;
    struct io_task wake;
};

static struct limit limits[4];
static struct io_loop *loop;

static inline void pump(struct limit *limit)
{
    if (list_empty(&limit->woken) && limit->used < limit->amount && !list_empty(&limit->waiters)) {
        struct list *first = limit->waiters.next;
        list_remove(first);
        list_push_back(&limit->woken, first);
        io_loop_defer(loop, &limit->wake);
    }
}

static inline void wake(struct io_task *task)
{
    struct limit *limit = CONTAINER_OF(task, struct limit, wake);
    struct list *node;
    while ((node = list_pop_front(&limit->woken)) != NULL) {
        struct limit_waiter *waiter = CONTAINER_OF(node, struct limit_waiter, node);
        waiter->turn = limit;
        waiter->ready(waiter);
    }
    pump(limit);
}

static inline struct limit *limit_find(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        if (strcmp(limits[i].key, key) == 0) {
            return &limits[i];
        }
    }
    return NULL;
}

static inline struct limit *limit_named(const char *key)
{
    struct limit *limit = limit_find(key);
    CHECK(limit != NULL);
    return limit;
}

struct limit *redis_limit_get(struct redis_limiter *limiter, struct slice key,
                              const struct limit_rule *rule)
{
    char name[64];
    (void)limiter;
    assert_true(key.len < sizeof(name));
    snprintf(name, sizeof(name), "%.*s", SLICE_FMT(key));
    struct limit *limit = limit_find(name);
    if (limit == NULL) {
        limit = limit_named(""); /* a free one */
        *limit = (struct limit){
            .slots = rule->kind == LIMIT_SLOTS, .amount = rule->amount, .wake.run = wake};
        memcpy(limit->key, name, sizeof(name));
        list_init(&limit->waiters);
        list_init(&limit->woken);
        list_init(&limit->sources);
    }
    return limit;
}

void redis_limit_put(struct limit **limit)
{
    *limit = NULL;
}

void redis_limit_add_source(struct limit *limit, struct limit_source *source)
{
    list_push_back(&limit->sources, &source->node);
}

/* Who has told of mail that waits, in the order of telling. */
struct limit_tenants {
    uint64_t ids[8];
    size_t count;
};

void limit_tenants_add(struct limit_tenants *tenants, uint64_t id, double weight)
{
    assert_true(weight > 0 && tenants->count < ARRAY_LEN(tenants->ids));
    tenants->ids[tenants->count++] = id;
}

/* Of the tenant "far" mail waits at three more workers. */
double redis_limit_part(const struct limit *limit, uint64_t id)
{
    (void)limit;
    return id == hash_stable(SLICE("far")) ? 0.25 : 1;
}

void redis_limit_rest(struct limit *limit)
{
    limit->rested++;
}

uint64_t redis_limit_told(const struct limit *limit)
{
    (void)limit;
    return 1;
}

struct slice redis_limit_key(const struct limit *limit)
{
    return slice_cstr(limit->key);
}

bool tenure_contact_is_fresh(const struct tenures *tenures, struct mono_time now)
{
    (void)tenures;
    (void)now;
    return !world.out_of_contact;
}

double redis_limit_rate(const struct limit *limit)
{
    return (double)limit->amount;
}

uint64_t redis_limit_at_once(const struct limit *limit)
{
    return limit->part > 0 && limit->part < limit->amount ? limit->part : limit->amount;
}

/* Others have mail for it, too. */
double redis_limit_share(const struct limit *limit)
{
    return (double)limit->amount / (world.sharers > 0 ? world.sharers : 1);
}

uint64_t redis_limit_most(const struct limit *limit)
{
    return limit->amount;
}

bool redis_limits_take(struct redis_limiter *limiter, const struct limit_want *wants, size_t count,
                       struct limit_waiter *waiter)
{
    redis_limit_wait_cancel(limiter, waiter);
    for (size_t i = 0; i < count; i++) {
        struct limit *limit = wants[i].limit;
        struct limit_waiter *mine = wants[i].waiter == NULL ? waiter : wants[i].waiter;
        bool behind =
            mine->turn == NULL && (!list_empty(&limit->waiters) || !list_empty(&limit->woken));
        if (behind || limit->used + wants[i].n > limit->amount) {
            mine->turn = NULL;
            mine->blocking = limit;
            list_push_back(&limit->waiters, &mine->node);
            pump(limit);
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        wants[i].limit->used += wants[i].n;
        (wants[i].waiter == NULL ? waiter : wants[i].waiter)->turn = NULL;
    }
    return true;
}

void redis_limits_return(struct redis_limiter *limiter, const struct limit_want *wants,
                         size_t count)
{
    (void)limiter;
    for (size_t i = 0; i < count; i++) {
        if (wants[i].limit->slots) {
            assert_true(wants[i].limit->used >= wants[i].n);
            wants[i].limit->used -= wants[i].n;
            pump(wants[i].limit);
        }
    }
}

void redis_limit_wait_cancel(struct redis_limiter *limiter, struct limit_waiter *waiter)
{
    (void)limiter;
    list_remove(&waiter->node);
}

/* ---- sessions ---- */

static struct worker worker;
static struct shard shard;

bool session_is_reserved(const struct session *session)
{
    return session->share == &session->lane->shares[LANE_RESERVED];
}

struct session *session_open(struct lane_share *share, struct lane_vip *vip,
                             const struct host_state *host, bool clear, struct fault *fault)
{
    struct lane *lane = share->lane;
    struct session *session = mem_zalloc(sizeof(*session));
    (void)host;
    (void)clear;
    (void)fault;
    session->magic = SESSION_MAGIC;
    session->lane = lane;
    session->share = share;
    session->vip = vip;
    session->slot_count = lane->bounds.count > 0 && lane->bounds.items[0].limit->slots ? 1 : 0;
    list_push_back(&lane->sessions, &session->node);
    lane->session_count++;
    share->count++;
    share->opening++;
    atomic_fetch_add(&worker.connections, 1);
    world.opened[world.opened_count++] = session;
    return session;
}

void session_enter(struct session *session, enum session_state state)
{
    session->state = state;
}

void session_begin(struct session *session, struct mail *mail, size_t count)
{
    const struct smtp_outcome outcome = {.result = SMTP_RESULT_DELIVERED, .code = 250};
    const struct report_facts facts = {0};
    uint32_t indexes[RECIPIENTS_MAX];
    assert_in_range(count, 1, recipient_count);
    world.sizes[world.begun++ % ARRAY_LEN(world.sizes)] = count;
    world.tenants[world.begun % ARRAY_LEN(world.tenants)] = mail->message.tenant.ptr[0];
    session->state = SESSION_BUSY;
    if (world.hold_sessions) {
        session->mail = mail;
        return;
    }
    size_t sent = mail_pending(mail, indexes, count);
    assert_int_equal(sent, count);
    for (size_t i = 0; i < sent; i++) {
        settle_recipient(&shard.settler, mail, indexes[i], &outcome, &facts, session->lane->config);
    }
    if (mail->pending > 0) {
        lane_push_back(session->lane, mail);
    } else {
        settle_round(&shard.settler, &mail);
    }
}

void session_flush(struct session *session)
{
    (void)session;
}

void session_idle(struct session *session)
{
    (void)session;
}

void session_spare(struct session *session)
{
    (void)session;
}

bool session_is_surplus(const struct session *session)
{
    return session == world.surplus;
}

static inline void session_end(struct session *session)
{
    struct lane *lane = session->lane;
    lane_session_rests(lane, session);
    if (session->slot_count > 0) {
        struct limit *held = bound_slots(&lane->bounds.items[0], session_is_reserved(session));
        redis_limits_return(NULL, &(struct limit_want){.limit = held, .n = 1}, 1);
    }
    atomic_fetch_sub(&worker.connections, 1);
    lane_session_gone(lane, session);
    for (size_t i = 0; i < world.opened_count; i++) {
        if (world.opened[i] == session) {
            world.opened[i] = NULL;
        }
    }
    mem_free(session);
}

void session_close(struct session *session)
{
    struct mail *mail = session->mail;
    if (mail != NULL) {
        world.cut++;
        session->mail = NULL;
        settle_later(&shard.settler, &mail,
                     &(struct report_wait){.due_ms = wall_now().ms, .reason = "leaving"});
    }
    session_end(session);
}

void session_quit(struct session *session)
{
    assert_null(session->mail);
    assert_ptr_equal(session, world.surplus);
    world.surplus = NULL;
    session_end(session);
}

/* It is ready for the first time. */
static inline void ready(struct session *session)
{
    session->was_ready = true;
    session->state = SESSION_IDLE;
    session->share->opening--;
    lane_feed(session->lane, session);
}

/* What it sends is delivered, and it takes the next one. */
static inline void rest(struct session *session)
{
    const struct smtp_outcome outcome = {.result = SMTP_RESULT_DELIVERED, .code = 250};
    const struct report_facts facts = {0};
    struct mail *mail = session->mail;
    session->mail = NULL;
    lane_session_rests(session->lane, session);
    settle_recipient(&shard.settler, mail, 0, &outcome, &facts, session->lane->config);
    settle_round(&shard.settler, &mail);
    session->state = SESSION_IDLE;
    lane_feed(session->lane, session);
}

/* One turn of the loop, in which every session that was opened becomes ready, sends one mail, and
 * ends. */
static inline void turn(void)
{
    io_loop_turn(loop);
    size_t opened = world.opened_count;
    for (size_t i = 0; i < opened && !world.hold_sessions; i++) {
        struct session *session = world.opened[i];
        if (session != NULL) {
            session->was_ready = true;
            session->share->opening--;
            session->state = SESSION_IDLE;
            lane_feed(session->lane, session);
            session_end(session);
        }
    }
    if (!world.hold_sessions) {
        world.opened_count = 0;
    }
}

/* ---- a shard of it ---- */

static struct config_suppression suppression = {.name = "default", .list_metadata = "list"};
static struct suppress_set *suppressed;
static struct config config;
static struct config_vip vips[] = {{.name = "v1"}, {.name = "v2"}, {.name = "v3"}};
static struct worker_vip held[3];
static struct config_stream stream = {.name = "bulk", .class_ = CONFIG_CLASS_BULK};
static int64_t retry[] = {900000};
static const char *hosts[] = {"127.0.0.1:25"};
static struct config_site site;
static int64_t expires_ms;
static int64_t
    promised_ms; /* the next ones are spilled ones that come before it; 0: they are not */
static const char *tenant = "t";
static struct config_limit rules[2];

/* The i-th limit of the configuration; `of`: a tenant, NULL: the site. */
static inline void limited(size_t i, enum config_limit_kind kind, uint64_t amount,
                           int64_t interval_ms, const char *of)
{
    rules[i] = (struct config_limit){.kind = kind, .amount = amount, .interval_ms = interval_ms};
    if (of == NULL) {
        rules[i].scopes[CONFIG_SCOPE_SITE] = (struct config_scope){CONFIG_SCOPE_ONE, "s"};
        rules[i].entry = &site;
        config.mail_limits = config.named_limits = i + 1;
    } else {
        rules[i].scopes[CONFIG_SCOPE_TENANT] = (struct config_scope){CONFIG_SCOPE_ONE, of};
        rules[i].level = CONFIG_LEVEL_MAIL;
    }
    config.limits = rules;
    config.limit_count = i + 1;
    static int limiter; /* is there; the functions above are it */
    shard.limiter = (struct redis_limiter *)(void *)&limiter;
}

static inline int set_up(void **state)
{
    struct fault fault;
    (void)state;
    memset(&world, 0, sizeof(world));
    memset(limits, 0, sizeof(limits));
    memset(rules, 0, sizeof(rules));
    expires_ms = promised_ms = 0;
    tenant = "t";
    recipient_count = 1;
    stream.class_ = CONFIG_CLASS_BULK;
    config = (struct config){
        .streams = &stream, .stream_count = 1, .vips = vips, .vip_count = ARRAY_LEN(vips)};
    config.suppression = &suppression;
    config.suppression_count = 1;
    config.kafka.prefix = "sluice.";
    config.kafka.tier_unit_ms = 30000;
    config.kafka.tiers = KAFKA_TIERS;
    config.worker.max_connections = 100;
    config.worker.max_messages = 1000;
    config.worker.memory_max_bytes = 1 << 30;
    site = (struct config_site){.name = "s",
                                .smtp_hosts = hosts,
                                .smtp_host_count = 1,
                                .smtp_port = 25,
                                .retry_ms = retry,
                                .retry_count = 1,
                                .bounce_after_ms = 72 * HOUR,
                                .dead_host_ms = 1000,
                                .max_connections_per_lane = 20};
    worker = (struct worker){.config = &config, .name = "w", .node = "n", .vips = held};
    worker.vip_count = ARRAY_LEN(held);
    for (size_t i = 0; i < ARRAY_LEN(held); i++) {
        held[i] = (struct worker_vip){.config = &vips[i], .has_ipv4 = true};
    }
    worker_name_topics(&worker);
    loop = io_loop_create(&fault);
    assert_non_null(loop);
    shard = (struct shard){.magic = SHARD_MAGIC, .worker = &worker, .loop = loop};
    map_init(&shard.lanes);
    list_init(&shard.starved);
    shard.outbox = outbox_create(&worker, loop);
    worker.rules = classify_rules_load(NULL, &fault);
    assert_non_null(worker.rules);
    shard.reporter = reporter_create(&worker, shard.outbox);
    shard.settler = (struct settler){&worker, shard.reporter, NULL};
    suppressed = suppress_set_create();
    shard.suppress = suppress_checker_open(suppressed, &config);
    return 0;
}

static inline int tear_down(void **state)
{
    struct lane *lane;
    size_t cursor = 0;
    (void)state;
    acknowledge_all();
    while ((lane = map_next(&shard.lanes, &cursor)) != NULL) {
        lane_free(&lane);
        cursor = 0;
    }
    acknowledge_all();
    map_free(&shard.lanes);
    reporter_free(&shard.reporter);
    suppress_checker_close(&shard.suppress);
    suppress_set_free(&suppressed);
    classify_rules_free(&worker.rules);
    outbox_free(&shard.outbox);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        if (limits[i].key[0] != '\0') {
            io_task_cancel(&limits[i].wake);
            assert_true(!limits[i].slots || limits[i].used == 0);
            assert_true(list_empty(&limits[i].waiters) && list_empty(&limits[i].woken));
        }
    }
    io_loop_free(&loop);
    assert_int_equal(atomic_load(&worker.messages), 0);
    assert_int_equal(atomic_load(&worker.connections), 0);
    return 0;
}

static inline struct lane *push(const char *route)
{
    static struct kafka_partition *const nowhere;
    struct message_recipient recipients[RECIPIENTS_MAX] = {{.address = SLICE("a@x.test")},
                                                           {.address = SLICE("b@x.test")},
                                                           {.address = SLICE("c@x.test")},
                                                           {.address = SLICE("d@x.test")}};
    static int64_t offset; /* of which the id is made */
    const struct message message = {.tenant = slice_cstr(tenant),
                                    .mail_from = SLICE("s@y.test"),
                                    .recipients = recipients,
                                    .recipient_count = recipient_count,
                                    .expires_ms = expires_ms,
                                    .content = SLICE("Subject: x\r\n\r\nx\r\n")};
    struct fault fault;
    size_t size = message_encoded_size(&message);
    char *bytes = mem_zalloc(size);
    message_encode(&message, (uint8_t *)bytes);
    struct kafka_record record = {.partition = nowhere,
                                  .topic = "sluice.q.bulk",
                                  .source = KAFKA_SOURCE_BULK,
                                  .offset = offset++,
                                  .timestamp_ms = wall_now().ms,
                                  .value = slice_of(bytes, size)};
    struct mail *mail = mail_create(&worker, &record);
    assert_true(mail_decode(mail, &fault));
    mail->route = slice_cstr(route);
    mail->shard = &shard;
    mail->early = promised_ms > 0;
    mail->due_ms = promised_ms;
    lane_push(&shard, mail, &site);
    char key[32];
    int len = snprintf(key, sizeof(key), "%s s", route);
    return map_get(&shard.lanes, slice_of(key, (size_t)len));
}

#endif
