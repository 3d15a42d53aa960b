/*
 * What follows from an outcome, up to the ticket: events, delay copies, the outbox, the way home.
 * Kafka's producer and the intake thread are played here; the test says when Kafka acknowledges,
 * refuses or is full.
 */
#include "worker/classify.h"
#include "worker/delay.h"
#include "worker/settle.h"
#include "worker/worker.h"

#include "base/mem.h"
#include "schema/headers.h"
#include "schema/suppression.h"
#include "unit/cmocka_all.h"
#include "worker/intake.h"

#define SENT_MAX 64
#define HOUR ((int64_t)3600000)

/* ---- Kafka as the test wants it ---- */

struct sent {
    const char *topic;
    struct slice key;
    struct slice value;
    const struct kafka_header *headers;
    size_t header_count;
    struct kafka_delivery *delivery;
};

static struct {
    struct sent sent[SENT_MAX];
    size_t count;
    enum fault_kind refuse;   /* what a send meets; NONE: taken */
    const char *refuse_topic; /* only there; NULL: everywhere */
    size_t too_large;         /* longer values are FAULT_INVALID; 0: none is */
    struct kafka_header record_headers[8];
    size_t record_header_count;
    size_t came_home;
    struct mail *home;
    struct outbox *intake_outbox;
} world;

bool kafka_producer_send(struct kafka_producer *producer, const struct kafka_record_out *record,
                         struct fault *fault)
{
    (void)producer;
    if (world.refuse != FAULT_NONE &&
        (world.refuse_topic == NULL || strcmp(world.refuse_topic, record->topic) == 0)) {
        return fault_set(fault, world.refuse, 0, "refused by the test");
    }
    if (world.too_large > 0 && record->value.len > world.too_large) {
        return fault_set(fault, FAULT_INVALID, 0, "too large for the test");
    }
    assert_true(world.count < SENT_MAX);
    world.sent[world.count++] =
        (struct sent){record->topic,   record->key,          record->value,
                      record->headers, record->header_count, record->delivery};
    return true;
}

void kafka_record_free(struct kafka_record *record)
{
    (void)record;
}

bool kafka_record_header(const struct kafka_record *record, const char *name, struct slice *value)
{
    (void)record;
    for (size_t i = 0; i < world.record_header_count; i++) {
        if (strcmp(world.record_headers[i].name, name) == 0) {
            *value = world.record_headers[i].value;
            return true;
        }
    }
    return false;
}

struct kafka_ticket kafka_record_ticket(const struct kafka_record *record)
{
    return kafka_record_ticket_of(record->partition, 1, record->offset);
}

void intake_post(struct intake *intake, struct mail *mail)
{
    (void)intake;
    assert_int_equal(mail->post.kind, MAIL_LETTER_SETTLED);
    assert_null(mail->site);
    mail_release(mail);
}

void intake_close(struct intake *intake, struct mail *mail)
{
    (void)intake;
    world.came_home++;
    world.home = mail;
}

struct outbox *intake_outbox(struct intake *intake)
{
    (void)intake;
    return world.intake_outbox;
}

static void acknowledge(size_t i)
{
    world.sent[i].delivery->done(world.sent[i].delivery, 0, 1, NULL);
}

static void refuse_late(size_t i, enum fault_kind kind)
{
    struct fault fault;
    fault_set(&fault, kind, 0, "failed by the test");
    world.sent[i].delivery->done(world.sent[i].delivery, 0, -1, &fault);
}

static struct slice header_of(const struct sent *sent, const char *name)
{
    for (size_t i = 0; i < sent->header_count; i++) {
        if (strcmp(sent->headers[i].name, name) == 0) {
            return sent->headers[i].value;
        }
    }
    return SLICE_NULL;
}

static int64_t number_of(const struct sent *sent, const char *name)
{
    uint64_t number = 0;
    assert_true(slice_to_u64(header_of(sent, name), &number));
    return (int64_t)number;
}

/* The n-th copy that the mail which came home still has to write. */
static struct sent copy_at(size_t n)
{
    assert_int_equal(world.came_home, 1);
    list_foreach (node, &world.home->copies) {
        if (n-- == 0) {
            struct kafka_record_out out =
                copy_record(world.home, CONTAINER_OF(node, struct copy, node));
            return (struct sent){.topic = out.topic,
                                 .key = out.key,
                                 .value = out.value,
                                 .headers = out.headers,
                                 .header_count = out.header_count};
        }
    }
    fail_msg("no such copy");
    return (struct sent){0};
}

static size_t copy_count(void)
{
    size_t n = 0;
    list_foreach (node, &world.home->copies) {
        n++;
    }
    return n;
}

/* ---- one worker with nothing behind it ---- */

static struct config config;
static struct config_stream stream = {.name = "bulk", .class_ = CONFIG_CLASS_BULK};
static int64_t retry[] = {900000, HOUR};
static struct config_site site = {
    .retry_ms = retry, .retry_count = 2, .bounce_after_ms = 72 * HOUR};
static struct worker worker;
static struct io_loop *loop;
static struct settler settler;
static struct outbox *outbox;
static const struct report_facts no_facts;

static int set_up(void **state)
{
    struct fault fault;
    (void)state;
    memset(&world, 0, sizeof(world));
    config = (struct config){.streams = &stream, .stream_count = 1};
    config.kafka.prefix = "sluice.";
    config.kafka.tier_unit_ms = 30000;
    config.kafka.tiers = KAFKA_TIERS;
    worker = (struct worker){.config = &config, .name = "w", .node = "n"};
    worker_name_topics(&worker);
    loop = io_loop_create(&fault);
    assert_non_null(loop);
    world.intake_outbox = outbox_create(&worker, loop);
    settler.worker = &worker;
    outbox = outbox_create(&worker, loop);
    worker.rules = classify_rules_load(NULL, &fault);
    assert_non_null(worker.rules);
    settler.reporter = reporter_create(&worker, outbox);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    reporter_free(&settler.reporter);
    classify_rules_free(&worker.rules);
    outbox_free(&outbox);
    outbox_free(&world.intake_outbox);
    if (world.home != NULL) {
        mail_free(&world.home);
    }
    io_loop_free(&loop);
    assert_int_equal(atomic_load(&worker.messages), 0);
    return 0;
}

static struct mail *mail_of_record(struct slice value, enum kafka_source source)
{
    static struct kafka_partition *const nowhere;
    char *bytes = mem_zalloc(value.len + 1);
    memcpy(bytes, value.ptr, value.len);
    struct kafka_record record = {.partition = nowhere,
                                  .source = source,
                                  .topic =
                                      source == KAFKA_SOURCE_TIER ? "sluice.d.00" : "sluice.q.bulk",
                                  .partition_id = 3,
                                  .offset = 7,
                                  .timestamp_ms = wall_now().ms - 1000,
                                  .value = slice_of(bytes, value.len)};
    return mail_create(&worker, &record);
}

/* A mail to so many recipients, decoded. */
static struct mail *mail_to(size_t count, enum kafka_source source, int64_t not_before_ms)
{
    struct message_recipient recipients[4] = {{.address = SLICE("a@x.test")},
                                              {.address = SLICE("b@x.test")},
                                              {.address = SLICE("c@x.test")},
                                              {.address = SLICE("d@x.test")}};
    const struct message message = {.tenant = SLICE("t"),
                                    .mail_from = SLICE("s@y.test"),
                                    .recipients = recipients,
                                    .recipient_count = count,
                                    .not_before_ms = not_before_ms,
                                    .content = SLICE("Subject: x\r\n\r\nx\r\n")};
    uint8_t bytes[1024];
    struct fault fault;
    assert_true(message_encoded_size(&message) <= sizeof(bytes));
    message_encode(&message, bytes);
    struct mail *mail =
        mail_of_record(slice_of((const char *)bytes, message_encoded_size(&message)), source);
    assert_true(mail_decode(mail, &fault));
    return mail;
}

static struct smtp_outcome outcome_of(enum smtp_result result, uint16_t code)
{
    return (struct smtp_outcome){.result = result,
                                 .phase = SMTP_PHASE_RCPT,
                                 .scope = SMTP_SCOPE_RECIPIENT,
                                 .code = code,
                                 .text = SLICE("what the peer said")};
}

static void settle(struct mail *mail, uint32_t index, enum smtp_result result, uint16_t code)
{
    const struct smtp_outcome outcome = outcome_of(result, code);
    settle_recipient(&settler, mail, index, &outcome, &no_facts, &site);
}

static void expect_dropped(const struct sent *sent, const char *recipient, const char *detail)
{
    struct arena *arena = arena_create(1024, 65536);
    struct event event;
    assert_true(event_decode(sent->value, arena, &event, NULL));
    assert_string_equal(sent->topic, "sluice.log");
    assert_int_equal(event.type, EVENT_DROPPED);
    assert_true(slice_eq(event.reason, SLICE("suppressed")));
    assert_true(slice_eq(event.recipient, slice_cstr(recipient)));
    assert_true(slice_eq(event.detail, slice_cstr(detail)));
    arena_free(&arena);
}

/* ---- the tests ---- */

static void a_delivered_mail_closes_when_its_event_is_on_kafka(void **state)
{
    struct mail *mail = mail_to(1, KAFKA_SOURCE_BULK, 0);
    (void)state;
    settle(mail, 0, SMTP_RESULT_DELIVERED, 250);
    settle_round(&settler, &mail);
    assert_null(mail);
    assert_int_equal(world.count, 1);
    assert_string_equal(world.sent[0].topic, "sluice.log");
    assert_int_equal(world.came_home, 0);
    acknowledge(0);
    assert_int_equal(world.came_home, 1);
    assert_false(world.home->forget);
}

static void a_bounce_is_told_twice_and_both_are_waited_for(void **state)
{
    struct mail *mail = mail_to(1, KAFKA_SOURCE_BULK, 0);
    (void)state;
    settle(mail, 0, SMTP_RESULT_BOUNCED, 550);
    settle_round(&settler, &mail);
    assert_int_equal(world.count, 2);
    assert_string_equal(world.sent[1].topic, "sluice.bounces");
    acknowledge(1);
    assert_int_equal(world.came_home, 0);
    acknowledge(0);
    assert_int_equal(world.came_home, 1);
}

static void only_the_deferred_recipients_go_into_the_copy(void **state)
{
    struct mail *mail = mail_to(4, KAFKA_SOURCE_BULK, 0);
    int64_t now = wall_now().ms;
    (void)state;
    settle(mail, 0, SMTP_RESULT_DELIVERED, 250);
    settle(mail, 1, SMTP_RESULT_DEFERRED, 450);
    settle(mail, 2, SMTP_RESULT_BOUNCED, 550);
    settle(mail, 3, SMTP_RESULT_DEFERRED, 451);
    settle_round(&settler, &mail);
    for (size_t i = world.count; i > 0; i--) {
        assert_int_equal(world.came_home, 0); /* a copy waits for all events */
        acknowledge(i - 1);
    }
    assert_int_equal(copy_count(), 1);
    const struct sent copy = copy_at(0);
    assert_string_equal(copy.topic, "sluice.d.05"); /* 16 minutes for 15 */
    assert_true(slice_eq(header_of(&copy, HEADER_PENDING), SLICE("1,3")));
    assert_int_equal(number_of(&copy, HEADER_ATTEMPT), 2);
    assert_true(slice_eq(header_of(&copy, HEADER_ORIGIN), SLICE("sluice.q.bulk/3/7")));
    assert_in_range(number_of(&copy, HEADER_DUE_MS), now + retry[0], now + retry[0] + 10000);
    assert_true(header_of(&copy, HEADER_LAST).len > 0);
}

static void a_retry_is_never_later_than_the_expiry(void **state)
{
    struct mail *mail = mail_to(1, KAFKA_SOURCE_BULK, 0);
    (void)state;
    mail->expires_ms = wall_now().ms + 100000;
    int64_t expires = mail->expires_ms;
    settle(mail, 0, SMTP_RESULT_DEFERRED, 450);
    settle_round(&settler, &mail);
    acknowledge(0);
    const struct sent copy = copy_at(0);
    assert_int_equal(number_of(&copy, HEADER_DUE_MS), expires);
    assert_string_equal(copy.topic, "sluice.d.01"); /* 60 s, the rest by another hop */
}

static void at_expiry_what_was_deferred_in_this_round_waits_for_its_own(void **state)
{
    struct mail *mail = mail_to(2, KAFKA_SOURCE_BULK, 0);
    (void)state;
    settle(mail, 0, SMTP_RESULT_DEFERRED, 450);
    settle_expired(&settler, &mail, &no_facts);
    assert_int_equal(world.count, 3); /* deferred; expired in log and bounces */
    for (size_t i = 0; i < 3; i++) {
        acknowledge(i);
    }
    const struct sent copy = copy_at(0);
    assert_true(slice_eq(header_of(&copy, HEADER_PENDING), SLICE("0")));
}

static void what_kafka_failed_to_take_is_offered_again(void **state)
{
    struct mail *mail = mail_to(1, KAFKA_SOURCE_BULK, 0);
    (void)state;
    settle(mail, 0, SMTP_RESULT_DELIVERED, 250);
    settle_round(&settler, &mail);
    refuse_late(0, FAULT_TEMPORARY);
    assert_int_equal(world.came_home, 0);
    assert_int_equal(outbox_backlog(world.intake_outbox), 1);
    while (world.count == 1) {
        io_loop_turn(loop);
    }
    assert_int_equal(outbox_backlog(world.intake_outbox), 0);
    acknowledge(1);
    assert_int_equal(world.came_home, 1);
}

static void a_full_producer_keeps_the_order(void **state)
{
    struct mail *mail = mail_to(3, KAFKA_SOURCE_BULK, 0);
    (void)state;
    world.refuse = FAULT_LIMIT;
    settle(mail, 0, SMTP_RESULT_DELIVERED, 250);
    settle(mail, 1, SMTP_RESULT_BOUNCED, 550);
    settle(mail, 2, SMTP_RESULT_DELIVERED, 250);
    settle_round(&settler, &mail);
    assert_int_equal(outbox_backlog(outbox), 4);
    world.refuse = FAULT_NONE;
    while (world.count < 4) {
        io_loop_turn(loop);
    }
    assert_string_equal(world.sent[1].topic, "sluice.log");
    assert_string_equal(world.sent[2].topic, "sluice.bounces");
    assert_int_equal(outbox_backlog(outbox), 0);
    for (size_t i = 0; i < 4; i++) {
        acknowledge(i);
    }
    assert_int_equal(world.came_home, 1);
}

static void a_record_that_kafka_never_takes_does_not_stand_before_others(void **state)
{
    struct mail *mail = mail_to(2, KAFKA_SOURCE_BULK, 0);
    (void)state;
    world.refuse = FAULT_INVALID;
    world.refuse_topic = "sluice.bounces";
    settle(mail, 0, SMTP_RESULT_BOUNCED, 550);
    settle(mail, 1, SMTP_RESULT_DELIVERED, 250);
    settle_round(&settler, &mail);
    while (world.count < 2) {
        io_loop_turn(loop);
    }
    assert_int_equal(outbox_backlog(outbox), 1);
    acknowledge(0);
    acknowledge(1);
    assert_int_equal(world.came_home, 0); /* nothing is lost for it either */
    world.refuse = FAULT_NONE;
    while (world.count < 3) {
        io_loop_turn(loop);
    }
    acknowledge(2);
    assert_int_equal(world.came_home, 1);
}

static void a_dead_letter_that_is_too_large_is_cut(void **state)
{
    struct strbuf huge;
    struct fault fault;
    (void)state;
    strbuf_init(&huge, MESSAGE_CONTENT_MAX_BYTES + 10);
    while (strbuf_add_slice(&huge, SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))) {
    }
    struct mail *mail = mail_of_record(strbuf_slice(&huge), KAFKA_SOURCE_BULK);
    assert_in_range(huge.len, MESSAGE_CONTENT_MAX_BYTES + 1, SIZE_MAX);
    strbuf_free(&huge);
    assert_false(mail_decode(mail, &fault));
    settle_dropped(&settler, &mail, SLICE("invalid"), slice_cstr(fault.text), true);
    acknowledge(0);
    const struct sent copy = copy_at(0);
    assert_string_equal(copy.topic, "sluice.dlq");
    assert_in_range(copy.value.len, 1, 100000);
}

static void an_invalid_record_of_any_size_is_told(void **state)
{
    struct strbuf record;
    struct fault fault;
    (void)state;
    strbuf_init(&record, 1 << 20);
    strbuf_add_slice(&record, SLICE("\x12\xa0\xc2\x1e")); /* tenant, 500,000 bytes */
    for (int i = 0; i < 50000; i++) {
        strbuf_add_slice(&record, SLICE("tttttttttt"));
    }
    struct mail *mail = mail_of_record(strbuf_slice(&record), KAFKA_SOURCE_BULK);
    strbuf_free(&record);
    assert_false(mail_decode(mail, &fault));
    settle_dropped(&settler, &mail, SLICE("invalid"), slice_cstr(fault.text), true);
    assert_int_equal(world.count, 1);
    assert_in_range(world.sent[0].value.len, 1, 100000);
    acknowledge(0);
    assert_int_equal(world.came_home, 1);
    assert_int_equal(copy_count(), 1);
}

static void a_copy_for_nobody_is_invalid(void **state)
{
    struct fault fault;
    (void)state;
    struct mail *mail = mail_to(2, KAFKA_SOURCE_BULK, 0);
    world.record_headers[0] = (struct kafka_header){HEADER_PENDING, SLICE("")};
    world.record_header_count = 1;
    assert_false(mail_decode(mail, &fault));
    assert_non_null(strstr(fault.text, HEADER_PENDING));
    mail_free(&mail);
}

/* A partition goes away before a shard has looked at the record: not_before must survive. */
static void a_mail_moved_on_unread_keeps_its_time(void **state)
{
    int64_t tomorrow = wall_now().ms + 24 * HOUR;
    struct mail *mail = mail_to(1, KAFKA_SOURCE_BULK, tomorrow);
    (void)state;
    struct slice value = mail->record.value;
    struct mail *unread = mail_of_record(value, KAFKA_SOURCE_BULK);
    delay_forward(unread, unread->due_ms);
    mail_release(unread);
    assert_int_equal(world.count, 0);
    const struct sent copy = copy_at(0);
    assert_string_equal(copy.topic, "sluice.d.00");
    assert_true(slice_eq(header_of(&copy, HEADER_ORIGIN), SLICE("sluice.q.bulk/3/7")));
    /* It comes back as a record of the tier with those headers. */
    assert_non_null(copy.headers);
    world.record_header_count = copy.header_count;
    for (size_t i = 0; i < copy.header_count; i++) {
        world.record_headers[i] = copy.headers[i];
    }
    struct mail *again = mail_of_record(value, KAFKA_SOURCE_TIER);
    struct fault fault;
    assert_true(mail_decode(again, &fault));
    assert_int_equal(again->due_ms, tomorrow);
    assert_true(again->fresh); /* so that `received` is told, and the time looked at */
    assert_true(slice_eq(again->origin, SLICE("sluice.q.bulk/3/7")));
    mail_free(&again);
    mail_free(&mail);
    world.record_header_count = 0;
}

static uint64_t rewritten(void)
{
    return atomic_load(&worker.counters[WORKER_REWRITTEN]);
}

/* What goes from one tier to another without having been tried is counted, a first spill is not,
 * nor a retry. */
static void what_is_written_again_is_counted(void **state)
{
    const struct report_wait wait = {
        .due_ms = wall_now().ms + HOUR, .spilled = true, .reason = "lane-full"};
    const enum kafka_source sources[] = {KAFKA_SOURCE_BULK, KAFKA_SOURCE_TIER};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        uint64_t before = rewritten();
        struct mail *mail = mail_to(1, sources[i], 0);
        settle_later(&settler, &mail, &wait);
        acknowledge(world.count - 1);
        assert_int_equal(rewritten() - before, sources[i] == KAFKA_SOURCE_TIER);
        mail_free(&world.home);
        world.came_home = 0;
        world.count = 0;
    }
    uint64_t before = rewritten();
    struct mail *tried = mail_to(1, KAFKA_SOURCE_TIER, 0);
    settle(tried, 0, SMTP_RESULT_DEFERRED, 450);
    settle_round(&settler, &tried);
    acknowledge(0);
    assert_int_equal(rewritten(), before);
}

static struct uuid id_of(size_t i)
{
    struct event event;
    struct uuid id;
    struct fault fault;
    struct arena *arena = arena_create(4096, 1 << 20);
    assert_true(event_decode(world.sent[i].value, arena, &event, &fault));
    assert_true(uuid_parse(event.event_id, &id));
    arena_free(&arena);
    return id;
}

/* What is told again after a crash can be known by its id. */
static void an_outcome_told_again_has_the_same_id(void **state)
{
    (void)state;
    struct uuid ids[2][6];
    for (int run = 0; run < 2; run++) {
        struct mail *mail = mail_to(2, KAFKA_SOURCE_BULK, 0);
        const struct smtp_outcome outcome = outcome_of(SMTP_RESULT_DELIVERED, 250);
        mail->attempt = run == 0 ? 1 : 2;
        world.count = 0;
        for (int again = 0; again < 2; again++) {
            report_recipient(settler.reporter, mail, 0, EVENT_DELIVERED, &outcome, &no_facts, 0);
            report_recipient(settler.reporter, mail, 1, EVENT_DELIVERED, &outcome, &no_facts, 0);
            report_recipient(settler.reporter, mail, 0, EVENT_UNCERTAIN, &outcome, &no_facts, 0);
        }
        mail_release(mail);
        for (size_t i = 0; i < 6; i++) {
            ids[run][i] = id_of(i);
            for (size_t j = 0; j < i; j++) {
                bool same = memcmp(&ids[run][i], &ids[run][j], sizeof(struct uuid)) == 0;
                assert_int_equal(same, i == j + 3);
            }
        }
        for (size_t i = 0; i < 6; i++) {
            acknowledge(i);
        }
        if (run == 0) {
            mail_free(&world.home);
        }
    }
    assert_int_not_equal(memcmp(&ids[0][0], &ids[1][0], sizeof(struct uuid)), 0);
}

static void settle_uncertain(enum config_on_uncertain policy)
{
    stream.on_uncertain = policy;
    struct mail *mail = mail_to(2, KAFKA_SOURCE_BULK, 0);
    settle(mail, 0, SMTP_RESULT_DELIVERED, 250);
    settle(mail, 1, SMTP_RESULT_UNCERTAIN, 0);
    settle_round(&settler, &mail);
    acknowledge(0);
    acknowledge(1);
    stream.on_uncertain = CONFIG_UNCERTAIN_RESEND;
}

static void an_uncertain_recipient_is_tried_again_by_the_schedule(void **state)
{
    (void)state;
    settle_uncertain(CONFIG_UNCERTAIN_RESEND);
    assert_int_equal(copy_count(), 1);
    const struct sent copy = copy_at(0);
    assert_string_equal(copy.topic, "sluice.d.05");
    assert_true(slice_eq(header_of(&copy, HEADER_PENDING), SLICE("1")));
    assert_int_equal(number_of(&copy, HEADER_ATTEMPT), 2);
}

static void an_uncertain_recipient_is_held_for_people(void **state)
{
    (void)state;
    settle_uncertain(CONFIG_UNCERTAIN_HOLD);
    assert_int_equal(copy_count(), 1);
    const struct sent copy = copy_at(0);
    assert_string_equal(copy.topic, "sluice.uncertain");
    assert_true(slice_eq(copy.key, SLICE("sluice.q.bulk/3/7/1")));
    assert_true(slice_eq(header_of(&copy, HEADER_PENDING), SLICE("1")));
    assert_true(slice_eq(header_of(&copy, HEADER_STREAM), SLICE("bulk")));
    assert_int_equal(number_of(&copy, HEADER_ATTEMPT), 2);
}

static void an_uncertain_recipient_is_dropped(void **state)
{
    (void)state;
    settle_uncertain(CONFIG_UNCERTAIN_DROP);
    assert_int_equal(copy_count(), 0);
}

static void held_and_deferred_recipients_go_different_ways(void **state)
{
    (void)state;
    stream.on_uncertain = CONFIG_UNCERTAIN_HOLD;
    struct mail *mail = mail_to(3, KAFKA_SOURCE_BULK, 0);
    settle(mail, 0, SMTP_RESULT_UNCERTAIN, 0);
    settle(mail, 1, SMTP_RESULT_DEFERRED, 450);
    settle(mail, 2, SMTP_RESULT_UNCERTAIN, 0);
    settle_round(&settler, &mail);
    stream.on_uncertain = CONFIG_UNCERTAIN_RESEND;
    for (size_t i = 0; i < 3; i++) {
        acknowledge(i);
    }
    assert_int_equal(copy_count(), 2);
    const struct sent later = copy_at(0), kept = copy_at(1);
    assert_string_equal(later.topic, "sluice.d.05");
    assert_true(slice_eq(header_of(&later, HEADER_PENDING), SLICE("1")));
    assert_string_equal(kept.topic, "sluice.uncertain");
    assert_true(slice_eq(header_of(&kept, HEADER_PENDING), SLICE("0,2")));
}

static void at_the_end_what_kafka_has_not_is_left_to_the_next_owner(void **state)
{
    struct mail *mail = mail_to(1, KAFKA_SOURCE_BULK, 0);
    (void)state;
    world.refuse = FAULT_TEMPORARY;
    settle(mail, 0, SMTP_RESULT_DELIVERED, 250);
    settle_round(&settler, &mail);
    assert_int_equal(world.came_home, 0);
    outbox_free(&outbox);
    assert_int_equal(world.came_home, 1);
    assert_true(world.home->forget);
}

static void suppressed_recipients_are_taken_out_and_told(void **state)
{
    static struct config_suppression policy = {.name = "default", .list_metadata = "list"};
    const struct suppress_mark mark = {.reason = SUPPRESSION_HARD};
    struct mail *mail = mail_to(3, KAFKA_SOURCE_BULK, 0);
    struct suppress_set *set = suppress_set_create();
    (void)state;
    config.suppression = &policy;
    config.suppression_count = 1;
    struct suppress_checker *checker = suppress_checker_open(set, &config);
    mail->message.domain = SLICE("x.test");
    assert_true(settle_suppressed(&settler, mail, checker, wall_now()));
    assert_int_equal(world.count, 0);
    suppress_set_put(set, suppress_set_hash(set, SLICE("t//b@x.test")), mark, 1);
    assert_true(settle_suppressed(&settler, mail, checker, wall_now()));
    assert_int_equal(mail->pending, 2);
    assert_int_equal(world.count, 1);
    expect_dropped(&world.sent[0], "b@x.test", "hard, tenant t");
    assert_true(settle_suppressed(&settler, mail, checker, wall_now())); /* not told again */
    assert_int_equal(world.count, 1);
    suppress_set_put(set, suppress_set_hash(set, SLICE("//a@x.test")), mark, 1);
    settle(mail, 2, SMTP_RESULT_DELIVERED, 250);
    assert_false(settle_suppressed(&settler, mail, checker, wall_now()));
    settle_round(&settler, &mail);
    expect_dropped(&world.sent[2], "a@x.test", "hard, all tenants");
    assert_int_equal(world.count, 3);
    for (size_t i = 0; i < 3; i++) {
        acknowledge(i);
    }
    assert_int_equal(world.came_home, 1);
    assert_int_equal(copy_count(), 0);
    suppress_checker_close(&checker);
    suppress_set_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_delivered_mail_closes_when_its_event_is_on_kafka, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_bounce_is_told_twice_and_both_are_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(only_the_deferred_recipients_go_into_the_copy, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_retry_is_never_later_than_the_expiry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(at_expiry_what_was_deferred_in_this_round_waits_for_its_own,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_kafka_failed_to_take_is_offered_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_producer_keeps_the_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_record_that_kafka_never_takes_does_not_stand_before_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dead_letter_that_is_too_large_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_invalid_record_of_any_size_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_for_nobody_is_invalid, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mail_moved_on_unread_keeps_its_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_outcome_told_again_has_the_same_id, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_uncertain_recipient_is_tried_again_by_the_schedule,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_uncertain_recipient_is_held_for_people, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_uncertain_recipient_is_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_written_again_is_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(held_and_deferred_recipients_go_different_ways, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(suppressed_recipients_are_taken_out_and_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(at_the_end_what_kafka_has_not_is_left_to_the_next_owner,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
