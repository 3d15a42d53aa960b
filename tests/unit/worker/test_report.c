/* What the worker's events say of a refusal: class, disposition, blame, rule, cause key. */
#include "worker/report.h"

#include "unit/cmocka_all.h"
#include "worker/classify.h"
#include "worker/intake.h"
#include "worker/worker.h"

/* ---- Kafka as the test wants it: it keeps the last event and acknowledges at once ---- */

static struct {
    struct arena *arena;
    struct event event;
    size_t events, bounces, reports;
    struct message report; /* to a sender */
} seen;

static struct kafka_delivery *to_acknowledge[4];
static size_t to_acknowledge_count;

bool kafka_producer_send(struct kafka_producer *producer, const struct kafka_record_out *record,
                         struct fault *fault)
{
    (void)producer;
    to_acknowledge[to_acknowledge_count++] = record->delivery;
    if (strcmp(record->topic, "sluice.bounces") == 0) {
        seen.bounces++;
        return true;
    }
    if (strcmp(record->topic, "sluice.q.fast") == 0) {
        const struct message_origin origin = {SLICE("q.fast"), 0, 0};
        seen.reports++;
        return message_decode(arena_copy(seen.arena, record->value), &origin, seen.arena,
                              &seen.report, fault);
    }
    seen.events++;
    return event_decode(arena_copy(seen.arena, record->value), seen.arena, &seen.event, fault);
}

/* The mail of this test never goes home. */
void intake_post(struct intake *intake, struct mail *home)
{
    (void)intake;
    (void)home;
    fail();
}

void intake_close(struct intake *intake, struct mail *home)
{
    (void)intake;
    (void)home;
    fail();
}

struct outbox *intake_outbox(struct intake *intake)
{
    (void)intake;
    return NULL;
}

static void acknowledge_all(void)
{
    while (to_acknowledge_count > 0) {
        struct kafka_delivery *delivery = to_acknowledge[--to_acknowledge_count];
        delivery->done(delivery, 0, 1, NULL);
    }
}

static struct message_recipient recipients[] = {{.address = {"jo@example.org", 14}},
                                                {.address = {"ann.smith7@example.org", 22}}};
static const char *verp_domain = "back.test";
static struct config_tenant tenants[] = {{.name = "quiet"},
                                         {.name = "told", .bounce_to_sender = true}};
static struct config_stream streams[] = {{.name = "slow", .class_ = CONFIG_CLASS_BULK},
                                         {.name = "fast", .class_ = CONFIG_CLASS_TRANSACTIONAL}};
static struct config config = {.kafka = {.prefix = "sluice."},
                               .tenants = tenants,
                               .tenant_count = ARRAY_LEN(tenants),
                               .streams = streams,
                               .stream_count = ARRAY_LEN(streams),
                               .verp = {.domains = &verp_domain, .domain_count = 1}};
static struct worker worker = {.config = &config, .name = "w", .node = "n"};
static struct mail mail = {.magic = MAIL_MAGIC,
                           .message = {.mail_from = {"news@sender.test", 16},
                                       .recipients = recipients,
                                       .recipient_count = ARRAY_LEN(recipients)},
                           .origin = {"sluice.q.bulk/0/1", 17},
                           .attempt = 1};
static struct io_loop *loop;
static struct outbox *outbox;
static struct reporter *reporter;
static const struct report_facts gmail = {.remote_host = {"gmail-smtp-in.l.google.com", 26},
                                          .site = {"google.com", 10}};

static int set_up(void **state)
{
    struct fault fault;
    (void)state;
    mail.worker = &worker;
    worker_name_topics(&worker);
    memset(&seen, 0, sizeof(seen));
    seen.arena = arena_create(4096, 1 << 20);
    worker.rules = classify_rules_load(NULL, &fault);
    assert_non_null(worker.rules);
    loop = io_loop_create(&fault);
    assert_non_null(loop);
    outbox = outbox_create(&worker, loop);
    atomic_store(&mail.holds, 1);
    mail.arena = seen.arena;
    mail.message.tenant = SLICE_NULL;
    mail.message.mail_from = SLICE("news@sender.test");
    mail.message.content = SLICE("Subject: Hello\r\n\r\nbody\r\n");
    recipients[0].dsn_notify = SLICE_NULL;
    reporter = reporter_create(&worker, outbox);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    reporter_free(&reporter);
    classify_rules_free(&worker.rules);
    outbox_free(&outbox);
    io_loop_free(&loop);
    arena_free(&seen.arena);
    return 0;
}

static void tell(enum event_type type, uint32_t index, uint16_t code, struct slice text)
{
    const struct smtp_outcome outcome = {.phase = SMTP_PHASE_RCPT, .code = code, .text = text};
    report_recipient(reporter, &mail, index, type, &outcome, &gmail, 0);
    acknowledge_all();
}

static void check(struct slice got, const char *want)
{
    if (!slice_eq(got, slice_cstr(want))) {
        fail_msg("\"%.*s\", expected \"%s\"", SLICE_FMT(got), want);
    }
}

static void a_bounce_says_what_it_means(void **state)
{
    (void)state;
    tell(EVENT_BOUNCED, 0, 550,
         SLICE("5.1.1 The email account that you tried to reach does not exist."));
    const struct event_attempt *attempt = &seen.event.attempt;
    check(attempt->bounce_class, "user-unknown");
    check(attempt->disposition, "hard");
    check(attempt->blame, "recipient");
    check(attempt->provider, "google");
    check(attempt->rules_version, classify_rules_version(worker.rules));
    assert_true(attempt->rule.len > 0);
    assert_true(attempt->confidence > 50);
    assert_int_equal(attempt->cause_key.len, 16);
    assert_int_equal(seen.bounces, 1);
}

static void a_deferral_has_a_class_and_a_delivery_none(void **state)
{
    (void)state;
    tell(EVENT_DEFERRED, 0, 452, SLICE("4.2.2 Over quota"));
    check(seen.event.attempt.bounce_class, "mailbox-full");
    check(seen.event.attempt.disposition, "soft");
    tell(EVENT_DELIVERED, 0, 250, SLICE("2.0.0 OK"));
    assert_int_equal(seen.events, 2);
    assert_int_equal(seen.bounces, 0);
    check(seen.event.attempt.bounce_class, "");
    check(seen.event.attempt.cause_key, "");
    check(seen.event.attempt.rules_version, "");
}

static void equal_causes_have_equal_keys(void **state)
{
    struct slice first;
    (void)state;
    tell(EVENT_BOUNCED, 0, 550, SLICE("5.1.1 <jo@example.org>: User unknown, id 7f3a9c21b004"));
    first = seen.event.attempt.cause_key;
    tell(EVENT_BOUNCED, 1, 550,
         SLICE("5.1.1 <ann.smith7@example.org>: User unknown, id 11ab9c21b0ff"));
    assert_true(slice_eq(first, seen.event.attempt.cause_key));
    tell(EVENT_BOUNCED, 1, 550, SLICE("5.1.1 <ann.smith7@example.org>: Mailbox moved"));
    assert_false(slice_eq(first, seen.event.attempt.cause_key));
}

static void what_expired_tells_the_cause_of_its_last_reply(void **state)
{
    (void)state;
    tell(EVENT_EXPIRED, 0, 0, SLICE("450 4.7.1 Greylisted, please try again later"));
    check(seen.event.attempt.bounce_class, "expired");
    check(seen.event.attempt.disposition, "soft");
    assert_int_equal(seen.event.attempt.cause_key.len, 16);
    assert_int_equal(seen.bounces, 1);
}

static bool may_pass(struct slice text)
{
    const struct smtp_outcome outcome = {
        .result = SMTP_RESULT_BOUNCED, .phase = SMTP_PHASE_RCPT, .code = 550, .text = text};
    return report_may_pass(reporter, &mail, 0, &outcome, &gmail);
}

static void a_permanent_reply_that_asks_for_patience_may_pass(void **state)
{
    (void)state;
    assert_true(may_pass(SLICE("5.7.1 Greylisted, please try again in 10 minutes")));
    assert_true(may_pass(SLICE("Too many messages from your IP, slow down")));
    assert_false(may_pass(SLICE("5.1.1 User unknown")));
    assert_false(may_pass(SLICE("5.7.1 Message rejected as spam")));
    assert_false(may_pass(SLICE("no")));
}

static void a_final_failure_is_told_to_the_sender(void **state)
{
    (void)state;
    mail.message.tenant = SLICE("told");
    tell(EVENT_BOUNCED, 0, 550, SLICE("User unknown"));
    assert_int_equal(seen.reports, 1);
    assert_int_equal(seen.report.mail_from.len, 0);
    assert_int_equal(seen.report.recipient_count, 1);
    check(seen.report.recipients[0].address, "news@sender.test");
    check(seen.report.tenant, "told");
    assert_true(slice_find(seen.report.content, SLICE("Final-Recipient: rfc822; jo@example.org")) >
                0);
    assert_true(slice_find(seen.report.content, SLICE("Diagnostic-Code: smtp; 550 User unknown")) >
                0);
    assert_true(slice_find(seen.report.content, SLICE("Subject: Hello")) > 0);
    struct slice first = seen.report.id;
    tell(EVENT_BOUNCED, 0, 550, SLICE("User unknown"));
    assert_true(slice_eq(first, seen.report.id)); /* told again: the same message */
    tell(EVENT_EXPIRED, 1, 0, SLICE("450 4.2.1 Later"));
    assert_int_equal(seen.reports, 3);
    assert_false(slice_eq(first, seen.report.id));
    assert_true(slice_find(seen.report.content, SLICE("ann.smith7@example.org")) > 0);
    tell(EVENT_DEFERRED, 1, 450, SLICE("Later"));
    tell(EVENT_DELIVERED, 1, 250, SLICE("Ok"));
    assert_int_equal(seen.reports, 3);
}

static void who_is_not_told(void **state)
{
    static const char *const silent[] = {"NEVER", "SUCCESS,DELAY"};
    static const char *const nobody[] = {"", "token@back.test"};
    (void)state;
    mail.message.tenant = SLICE("quiet");
    tell(EVENT_BOUNCED, 0, 550, SLICE("User unknown"));
    mail.message.tenant = SLICE("other");
    tell(EVENT_BOUNCED, 0, 550, SLICE("User unknown"));
    mail.message.tenant = SLICE("told");
    for (size_t i = 0; i < ARRAY_LEN(silent); i++) {
        recipients[0].dsn_notify = slice_cstr(silent[i]);
        tell(EVENT_BOUNCED, 0, 550, SLICE("User unknown"));
    }
    recipients[0].dsn_notify = SLICE("DELAY,failure");
    for (size_t i = 0; i < ARRAY_LEN(nobody); i++) {
        mail.message.mail_from = slice_cstr(nobody[i]);
        tell(EVENT_BOUNCED, 0, 550, SLICE("User unknown"));
    }
    assert_int_equal(seen.reports, 0);
    mail.message.mail_from = SLICE("news@sender.test");
    tell(EVENT_BOUNCED, 0, 550, SLICE("User unknown"));
    assert_int_equal(seen.reports, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bounce_says_what_it_means, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_deferral_has_a_class_and_a_delivery_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(equal_causes_have_equal_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_expired_tells_the_cause_of_its_last_reply, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_final_failure_is_told_to_the_sender, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_permanent_reply_that_asks_for_patience_may_pass, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
