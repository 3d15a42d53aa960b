/*
 * Lanes: who gets a connection, what is spilled, what is cut. Sessions, Kafka and the limits are
 * played here: a session is ready as soon as it is opened and delivers what it is given; the limit
 * keeps the order of those who wait, as lib/redis does.
 */
#include "worker/classify.h"
#include "worker/copy.h"
#include "worker/lane.h"
#include "worker/session.h"
#include "worker/worker.h"

#include "base/mem.h"
#include "schema/headers.h"
#include "unit/cmocka_all.h"
#include "worker/intake.h"

#define MAILS_MAX 300
#define HOUR ((int64_t)3600000)
#define TURNS_MAX 2000

/* ---- Kafka and intake: everything is acknowledged by the test, mails are freed at once ---- */

static struct {
    struct kafka_delivery *deliveries[4 * MAILS_MAX];
    size_t count;
    int64_t due_ms[MAILS_MAX]; /* of delay copies, in order */
    size_t due_count;
    size_t came_home;
    size_t begun, cut;
    struct session *opened[MAILS_MAX];
    size_t opened_count;
    bool hold_sessions;            /* they stay as they are */
    const struct session *surplus; /* its slot is wanted by others */
} world;

bool kafka_producer_send(struct kafka_producer *producer, const struct kafka_record_out *record,
                         struct fault *fault)
{
    (void)producer;
    (void)fault;
    world.deliveries[world.count++] = record->delivery;
    return true;
}

static void note_copy(const struct copy *copy)
{
    for (size_t i = 0; i < copy->header_count; i++) {
        uint64_t due = 0;
        if (strcmp(copy->headers[i].name, HEADER_DUE_MS) == 0) {
            assert_true(slice_to_u64(copy->headers[i].value, &due));
            world.due_ms[world.due_count++] = (int64_t)due;
        }
    }
}

static void acknowledge_all(void)
{
    for (size_t i = 0; i < world.count; i++) {
        world.deliveries[i]->done(world.deliveries[i], 0, 0, NULL);
    }
    world.count = 0;
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

int64_t kafka_consumer_contact_us(const struct kafka_consumer *consumer)
{
    (void)consumer;
    fail_msg("no partition is claimed here");
    return 0;
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

/* ---- limits: so many slots, who waits is woken in order and takes inside ready() ---- */

struct limit {
    struct list waiters, woken;
    uint32_t amount, used;
    struct io_task wake;
};

static struct limit slots;
static struct limit_waiter *waking;
static struct io_loop *loop;

static void pump(void)
{
    if (list_empty(&slots.woken) && slots.used < slots.amount && !list_empty(&slots.waiters)) {
        struct list *first = slots.waiters.next;
        list_remove(first);
        list_push_back(&slots.woken, first);
        io_loop_defer(loop, &slots.wake);
    }
}

static void wake(struct io_task *task)
{
    struct list *node;
    (void)task;
    while ((node = list_pop_front(&slots.woken)) != NULL) {
        waking = CONTAINER_OF(node, struct limit_waiter, node);
        waking->ready(waking);
        waking = NULL;
    }
    pump();
}

struct limit *redis_limit_get(struct redis_limiter *limiter, struct slice key,
                              const struct limit_rule *rule)
{
    (void)limiter;
    (void)key;
    assert_int_equal(rule->kind, LIMIT_SLOTS);
    slots.amount = (uint32_t)rule->amount;
    return &slots;
}

void redis_limit_put(struct limit **limit)
{
    *limit = NULL;
}

uint64_t redis_limit_most(const struct limit *limit)
{
    return limit->amount;
}

bool redis_limits_take(struct redis_limiter *limiter, const struct limit_want *wants, size_t count,
                       struct limit_waiter *waiter)
{
    bool first = waking == waiter;
    (void)wants;
    (void)count;
    redis_limit_wait_cancel(limiter, waiter);
    bool behind = !first && (!list_empty(&slots.waiters) || !list_empty(&slots.woken));
    if (!behind && slots.used < slots.amount) {
        slots.used++;
        return true;
    }
    list_push_back(&slots.waiters, &waiter->node);
    pump();
    return false;
}

void redis_limits_return(struct redis_limiter *limiter, const struct limit_want *wants,
                         size_t count)
{
    (void)limiter;
    (void)wants;
    (void)count;
    assert_true(slots.used > 0);
    slots.used--;
    pump();
}

void redis_limit_wait_cancel(struct redis_limiter *limiter, struct limit_waiter *waiter)
{
    (void)limiter;
    list_remove(&waiter->node);
}

/* ---- sessions ---- */

static struct worker worker;
static struct shard shard;

struct session *session_open(struct lane *lane, struct lane_vip *vip, const struct host_state *host,
                             bool clear, struct fault *fault)
{
    struct session *session = mem_zalloc(sizeof(*session));
    (void)host;
    (void)clear;
    (void)fault;
    session->magic = SESSION_MAGIC;
    session->lane = lane;
    session->vip = vip;
    session->slot_count = lane->site_slots == NULL ? 0 : 1;
    list_push_back(&lane->sessions, &session->node);
    lane->session_count++;
    lane->opening++;
    atomic_fetch_add(&worker.connections, 1);
    world.opened[world.opened_count++] = session;
    return session;
}

void session_enter(struct session *session, enum session_state state)
{
    session->state = state;
}

void session_begin(struct session *session, struct mail *mail)
{
    const struct smtp_outcome outcome = {.result = SMTP_RESULT_DELIVERED, .code = 250};
    const struct report_facts facts = {0};
    world.begun++;
    session->state = SESSION_BUSY;
    if (world.hold_sessions) {
        session->mail = mail;
        return;
    }
    settle_recipient(&shard.settler, mail, 0, &outcome, &facts, session->lane->config);
    settle_round(&shard.settler, &mail);
}

void session_flush(struct session *session)
{
    (void)session;
}

void session_idle(struct session *session)
{
    (void)session;
}

bool session_is_surplus(const struct session *session)
{
    return session == world.surplus;
}

static void session_end(struct session *session)
{
    struct lane *lane = session->lane;
    if (session->slot_count > 0) {
        redis_limits_return(NULL, NULL, 1);
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
        settle_later(&shard.settler, &mail, wall_now().ms, false);
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

/* One turn of the loop, in which every session that was opened becomes ready, sends one mail, and
 * ends. */
static void turn(void)
{
    io_loop_turn(loop);
    size_t opened = world.opened_count;
    for (size_t i = 0; i < opened && !world.hold_sessions; i++) {
        struct session *session = world.opened[i];
        if (session != NULL) {
            session->was_ready = true;
            session->lane->opening--;
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

static int set_up(void **state)
{
    struct fault fault;
    (void)state;
    memset(&world, 0, sizeof(world));
    slots = (struct limit){.wake.run = wake};
    list_init(&slots.waiters);
    list_init(&slots.woken);
    waking = NULL;
    expires_ms = 0;
    config = (struct config){
        .streams = &stream, .stream_count = 1, .vips = vips, .vip_count = ARRAY_LEN(vips)};
    config.suppression = &suppression;
    config.suppression_count = 1;
    config.kafka.prefix = "sluice.";
    config.kafka.tier_unit_ms = 30000;
    config.worker.max_connections = 100;
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
    shard.journal = journal_writer_create(&worker, loop, JOURNAL_LINGER_MS, NULL, NULL, &fault);
    shard.settler = (struct settler){&worker, shard.reporter, shard.journal};
    suppressed = suppress_set_create();
    shard.suppress = suppress_checker_open(suppressed, &config);
    return 0;
}

static int tear_down(void **state)
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
    journal_writer_free(&shard.journal);
    io_task_cancel(&slots.wake);
    io_loop_free(&loop);
    assert_int_equal(atomic_load(&worker.messages), 0);
    assert_int_equal(atomic_load(&worker.connections), 0);
    assert_int_equal(slots.used, 0);
    return 0;
}

static struct lane *push(const char *route)
{
    static struct kafka_partition *const nowhere;
    struct message_recipient recipient = {.address = SLICE("a@x.test")};
    const struct message message = {.tenant = SLICE("t"),
                                    .mail_from = SLICE("s@y.test"),
                                    .recipients = &recipient,
                                    .recipient_count = 1,
                                    .expires_ms = expires_ms,
                                    .content = SLICE("Subject: x\r\n\r\nx\r\n")};
    struct fault fault;
    size_t size = message_encoded_size(&message);
    char *bytes = mem_zalloc(size);
    message_encode(&message, (uint8_t *)bytes);
    struct kafka_record record = {.partition = nowhere,
                                  .topic = "sluice.q.bulk",
                                  .source = KAFKA_SOURCE_BULK,
                                  .timestamp_ms = wall_now().ms,
                                  .value = slice_of(bytes, size)};
    struct mail *mail = mail_create(&worker, &record);
    assert_true(mail_decode(mail, &fault));
    mail->route = slice_cstr(route);
    mail->shard = &shard;
    lane_push(&shard, mail, &site);
    char key[32];
    int len = snprintf(key, sizeof(key), "%s s", route);
    return map_get(&shard.lanes, slice_of(key, (size_t)len));
}

/* ---- the tests ---- */

static void lanes_that_share_slots_all_get_on(void **state)
{
    (void)state;
    site.max_smtp_out = 1;
    for (int i = 0; i < 5; i++) {
        push("v1");
        push("v2");
        push("v3");
    }
    for (int i = 0; i < TURNS_MAX && world.begun < 15; i++) {
        turn();
    }
    assert_int_equal(world.begun, 15);
    acknowledge_all();
    assert_int_equal(world.came_home, 15);
}

static void lanes_take_turns_when_connections_are_scarce(void **state)
{
    (void)state;
    config.worker.max_connections = 1;
    world.hold_sessions = true;
    struct lane *busy = push("v1");
    push("v1");
    io_loop_turn(loop);
    assert_int_equal(busy->session_count, 1);
    struct lane *waiting = push("v2");
    io_loop_turn(loop);
    assert_int_equal(waiting->session_count, 0);
    session_close(world.opened[0]); /* the busy lane asked before, for a second one */
    io_loop_turn(loop);
    assert_int_equal(busy->session_count, 1);
    session_close(world.opened[1]);
    io_loop_turn(loop);
    assert_int_equal(waiting->session_count, 1);
    assert_int_equal(busy->session_count, 0);
    session_close(world.opened[2]);
    io_loop_turn(loop);
    assert_int_equal(busy->session_count, 1); /* and it is not forgotten */
    session_close(world.opened[3]);
}

static void a_slow_lane_is_spilled_to_the_times_of_its_rate(void **state)
{
    (void)state;
    site.max_msg_rate = (struct config_rate){.amount = 1, .interval_ms = HOUR};
    struct lane *lane = NULL;
    world.hold_sessions = true;
    site.max_msg_rate.amount = 0; /* the lane itself is made without a limit that nobody plays */
    lane = push("v1");
    site.max_msg_rate.amount = 1;
    int64_t now = wall_now().ms;
    for (int i = 0; i < 66; i++) {
        push("v1");
    }
    assert_int_equal(lane->queue.length, 64);
    assert_int_equal(world.due_count, 3);
    assert_in_range(world.due_ms[0], now + HOUR + 60000, now + HOUR + 70000);
    assert_int_equal(world.due_ms[1] - world.due_ms[0], HOUR);
    assert_int_equal(world.due_ms[2] - world.due_ms[1], HOUR);
    expires_ms = now + 2 * HOUR;
    push("v1");
    assert_int_equal(world.due_ms[3], expires_ms); /* it ends there, not in three hours */
    if (world.opened[0] != NULL) {
        session_close(world.opened[0]);
    }
}

static void capacity_is_sixty_seconds_of_the_rate(void **state)
{
    struct lane lane = {.config = &site, .vip_count = 2};
    struct mono_time now = {.us = 1000000000};
    (void)state;
    assert_true(lane_capacity(&lane, now) == SIZE_MAX);
    site.max_msg_rate = (struct config_rate){.amount = 100, .interval_ms = 1000};
    assert_int_equal(lane_capacity(&lane, now), 6000);
    site.source_ip_max_msg_rate = (struct config_rate){.amount = 10, .interval_ms = 1000};
    assert_int_equal(lane_capacity(&lane, now), 1200);
    site.source_ip_max_msg_rate = (struct config_rate){.amount = 1, .interval_ms = 24 * HOUR};
    assert_int_equal(lane_capacity(&lane, now), 64);
    site.source_ip_max_msg_rate.amount = 0;
    site.max_msg_rate = (struct config_rate){.amount = UINT64_MAX, .interval_ms = 1};
    assert_true(lane_capacity(&lane, now) == SIZE_MAX);
    site.max_msg_rate.amount = 0;
    lane.busy_since.us = now.us - 10000000; /* 30 mails in ten seconds */
    lane.busy_taken = 30;
    assert_int_equal(lane_capacity(&lane, now), 180);
    /* What it waits for its slot does not count, up to half a minute. */
    lane.busy_since.us = now.us - 30000000;
    lane.slotless_since.us = now.us - 20000000;
    assert_int_equal(lane_capacity(&lane, now), 180);
    lane.slotless_since.us = lane.busy_since.us + 1000000;
    assert_true(lane_capacity(&lane, now) == SIZE_MAX);
    lane.slotless_since = lane.busy_since;
    lane.busy_taken = 0;
    assert_int_equal(lane_capacity(&lane, now), 64);
}

/* 100 s each by a rate that was only measured: not four hours for the last one. */
static void a_measured_rate_is_not_believed_for_longer_than_an_hour(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    int64_t now = wall_now().ms;
    for (int i = 0; i < 63; i++) {
        push("v1");
    }
    lane->busy_since = mono_add_ms(mono_now(), -20000);
    lane->busy_taken = 0;
    for (int i = 0; i < 100; i++) {
        push("v1");
    }
    assert_int_equal(lane->queue.length, 64);
    assert_int_equal(world.due_count, 100);
    for (size_t i = 0; i < world.due_count; i++) {
        assert_in_range(world.due_ms[i], now + 60000, now + HOUR + 200000);
    }
}

static void what_waited_for_a_minute_is_spilled(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    for (int i = 0; i < 3; i++) {
        push("v1");
    }
    struct mono_time now = io_loop_now(loop);
    lane_tick(lane, mono_add_ms(now, 59000));
    assert_int_equal(lane->queue.length, 4);
    assert_int_equal(world.due_count, 0);
    lane_tick(lane, mono_add_ms(now, 61000));
    assert_int_equal(lane->queue.length, 0);
    assert_int_equal(world.due_count, 4);
}

static void an_unused_session_ends_when_others_want_its_slot(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    push("v1");
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 2);
    struct session *idle = world.opened[1];
    idle->was_ready = true;
    idle->state = SESSION_IDLE;
    lane->opening--;
    lane_tick(lane, io_loop_now(loop));
    assert_int_equal(lane->session_count, 2);
    world.surplus = idle;
    lane_tick(lane, io_loop_now(loop));
    assert_null(world.surplus);
    assert_int_equal(lane->session_count, 1);
    session_close(world.opened[0]);
}

static bool always(const struct mail *mail, const void *context)
{
    (void)mail;
    return *(const bool *)context;
}

static void what_runs_is_cut_only_when_asked_for(void **state)
{
    bool wanted = false;
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    push("v1");
    io_loop_turn(loop);
    assert_int_equal(lane->session_count, 2);
    for (size_t i = 0; i < 2; i++) {
        struct session *session = world.opened[i];
        session->was_ready = true;
        lane->opening--;
        session->state = SESSION_IDLE;
        lane_feed(lane, session);
        assert_non_null(session->mail);
    }
    lane_cut(lane, always, &wanted);
    assert_int_equal(world.cut, 0);
    wanted = true;
    lane_cut(lane, always, &wanted);
    assert_int_equal(world.cut, 2);
    assert_int_equal(lane->session_count, 0);
    assert_int_equal(world.due_count, 2); /* what was left of them waits in a tier */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lanes_that_share_slots_all_get_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lanes_take_turns_when_connections_are_scarce, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_slow_lane_is_spilled_to_the_times_of_its_rate, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_waited_for_a_minute_is_spilled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unused_session_ends_when_others_want_its_slot, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_measured_rate_is_not_believed_for_longer_than_an_hour,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(capacity_is_sixty_seconds_of_the_rate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_runs_is_cut_only_when_asked_for, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
