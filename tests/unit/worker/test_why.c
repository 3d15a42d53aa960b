/* What a shard answers when it is asked why mail waits: each reason when it holds, and not else. */
#include "unit/worker/lane_world.h"
#include "worker/console.h"
#include "worker/lane_private.h"
#include "worker/why.h"

static char said[65536]; /* the last answer */

/* The local socket is played here: it hears what is answered. */
void console_answer(struct console *console, uint64_t link, struct slice answer)
{
    (void)console;
    assert_int_equal(link, 5);
    assert_true(answer.len < sizeof(said));
    memcpy(said, answer.ptr, answer.len);
    said[answer.len] = '\0';
}

static void ask(const char *message_id)
{
    static int console;
    struct question question = {
        .number = 7, .console = (struct console *)(void *)&console, .link = 5};
    static struct kafka_producer *const producer = (struct kafka_producer *)(void *)&console;
    snprintf(question.message_id, sizeof(question.message_id), "%s", message_id);
    worker.events = producer; /* there is one, and nothing is said by it */
    worker.shard_count = 2;
    shard.holders = 6;
    why_answer(&shard, &question);
    worker.events = NULL;
}

static bool says(const char *text)
{
    return strstr(said, text) != NULL;
}

static void expect_said(const char *text)
{
    if (!says(text)) {
        fail_msg("no %s in %s", text, said);
    }
}

static void note_first(void *owner, const struct queue_flow *flow)
{
    snprintf(owner, 64, "%.*s", SLICE_FMT(queue_first(flow)->message.id));
}

/* Of the oldest that waits. */
static const char *id_of(const struct lane *lane)
{
    static char id[64];
    queue_foreach_flow(&lane->queue, note_first, id);
    return id;
}

static void nothing_waits(void **state)
{
    (void)state;
    ask("");
    assert_string_equal(said,
                        "{\"request\":7,\"worker\":\"w\",\"shard\":0,\"answers\":3,\"lanes\":[]}");
    ask("nobody");
    assert_false(says("\"message\""));
}

static void a_connection_is_being_opened(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    ask("");
    expect_said("\"reasons\":[{\"reason\":\"turn\"}]");
    io_loop_turn(loop);
    ask(id_of(lane));
    expect_said("\"reasons\":[{\"reason\":\"connecting\"}]");
    expect_said("\"message\":{\"state\":\"waiting\",\"site\":\"s\",\"route\":\"v1\"");
    expect_said("\"class\":\"bulk\",\"attempt\":1");
    session_close(world.opened[0]);
}

static void a_message_is_being_sent(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    char id[64];
    snprintf(id, sizeof(id), "%s", id_of(lane));
    io_loop_turn(loop);
    ready(world.opened[0]);
    ask(id);
    expect_said("\"message\":{\"state\":\"sending\"");
    expect_said("\"lanes\":[]"); /* nobody wants to know */
    ask("");
    expect_said("\"running\":1");
    session_close(world.opened[0]);
}

/* The site's limit is used up; the message is told how many go before it. */
static void a_limit_of_the_site(void **state)
{
    (void)state;
    world.hold_sessions = true;
    site.max_connections_per_lane = 1;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, 1000, NULL);
    struct lane *lane = push("v1");
    push("v1");
    push("v1");
    io_loop_turn(loop);
    ready(world.opened[0]);
    struct mail *mail = world.opened[0]->mail;
    const struct smtp_outcome outcome = {.result = SMTP_RESULT_DELIVERED, .code = 250};
    const struct report_facts facts = {0};
    world.opened[0]->mail = NULL;
    lane_session_rests(lane, world.opened[0]);
    settle_recipient(&shard.settler, mail, 0, &outcome, &facts, &site);
    settle_round(&shard.settler, &mail);
    world.opened[0]->state = SESSION_IDLE;
    lane_feed(lane, world.opened[0]);
    assert_int_equal(world.opened[0]->state, SESSION_THROTTLED);
    ask(id_of(lane));
    expect_said("\"reasons\":[{\"reason\":\"limit\",\"limit\":\"sites:s:msg/1000\"}");
    expect_said("\"before\":0");
    expect_said("\"expected_ms\":");
    redis_limit_wait_cancel(NULL, &world.opened[0]->waiter);
    session_close(world.opened[0]);
}

/* Of a tenant: its flow waits, and whose it is is said; mail of others does not wait for that. */
static void a_limit_of_a_tenant(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, 1000, "t");
    push("v1");
    struct lane *lane = push("v1");
    io_loop_turn(loop);
    ready(world.opened[0]);
    ready(world.opened[1]);
    assert_int_equal(lane->queue.ready, 0);
    const struct queue_flow *flow = CONTAINER_OF(lane->queue.parked.next, struct queue_flow, node);
    char id[64];
    snprintf(id, sizeof(id), "%.*s", SLICE_FMT(queue_first(flow)->message.id));
    ask(id);
    expect_said("\"message\":{\"state\":\"waiting\"");
    expect_said("{\"reason\":\"limit\",\"limit\":\"tenant:t:msg/1000\",\"detail\":\"t\"}");
    assert_false(says("\"turn\""));
    ask("");
    expect_said("\"parked\":true");
    for (size_t i = 0; i < world.opened_count; i++) {
        session_close(world.opened[i]);
    }
}

static void a_slot(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_CONNECTIONS, 1, 0, NULL);
    push("v1");
    push("v1");
    io_loop_turn(loop);
    ask("");
    expect_said("{\"reason\":\"connection\",\"limit\":\"sites:s:conn\"}");
    session_close(world.opened[0]);
}

static void no_connection_of_the_worker(void **state)
{
    (void)state;
    world.hold_sessions = true;
    config.worker.max_connections = 0;
    push("v1");
    io_loop_turn(loop);
    ask("");
    expect_said("{\"reason\":\"worker-connections\"}");
}

static void no_vip_is_held(void **state)
{
    (void)state;
    struct lane *lane = push("v9");
    assert_int_equal(lane->queue.length, 0); /* its mail is deferred at once */
    ask("");
    expect_said("{\"reason\":\"no-vip\",\"detail\":\"v9\"}");
}

static void the_site_is_suspended(void **state)
{
    (void)state;
    const struct smtp_outcome outcome = {.phase = SMTP_PHASE_CONNECT, .text = SLICE("refused")};
    struct lane *lane = push("v1");
    lane_suspend(lane, &outcome);
    assert_int_equal(lane->queue.length, 0); /* its mail is deferred at once */
    ask("");
    expect_said("{\"reason\":\"suspended\",\"until_ms\":");
    expect_said("\"detail\":\"refused\"}");
}

static void its_addresses_are_looked_up(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    lane->resolving = true;
    ask("");
    expect_said("{\"reason\":\"dns\",\"detail\":\"s\"}");
    lane->resolving = false;
}

/* Before it is known which lane it belongs to. */
static void its_site_is_looked_up(void **state)
{
    (void)state;
    struct lane *lane = push("v1");
    struct list out;
    char id[64];
    snprintf(id, sizeof(id), "%s", id_of(lane));
    list_init(&out);
    queue_extract_all(&lane->queue, &out);
    struct list *node = list_pop_front(&out);
    CHECK(node != NULL);
    list_push_back(&shard.routing, node);
    ask(id);
    expect_said("\"message\":{\"state\":\"dns\"");
    expect_said("{\"reason\":\"dns\",\"detail\":\"x.test\"}");
    list_remove(node);
    queue_push(&lane->queue, CONTAINER_OF(node, struct mail, node), 1000);
}

static void more_than_a_lane_holds_is_spilled(void **state)
{
    (void)state;
    world.hold_sessions = true;
    limited(0, CONFIG_LIMIT_RECIPIENTS, 1, HOUR, NULL);
    struct lane *lane = push("v1");
    ask("");
    assert_false(says("\"spill\""));
    for (int i = 0; i < 66; i++) {
        push("v1");
    }
    ask("");
    expect_said("{\"reason\":\"spill\",\"until_ms\":");
    lane->spill_until_ms[CONFIG_CLASS_BULK] = wall_now().ms - 1; /* they have all had their time */
    ask("");
    assert_false(says("\"spill\""));
}

/* Bulk waits as long as transactional mail is ready, and only that is called so. */
static void transactional_mail_goes_first(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    char id[64];
    snprintf(id, sizeof(id), "%s", id_of(lane));
    ask("");
    assert_false(says("\"priority\""));
    stream.class_ = CONFIG_CLASS_TRANSACTIONAL;
    push("v1");
    push("v1");
    stream.class_ = CONFIG_CLASS_BULK;
    ask(id);
    assert_true(
        says("{\"reason\":\"priority\",\"detail\":\"2 transactional mails go before bulk\"}"));
    expect_said("\"before\":2");
    expect_said("{\"reason\":\"turn\",\"detail\":\"at most 2 go before it\"}");
    ask("");
    expect_said("\"transactional\":2");
}

static void nothing_is_begun(void **state)
{
    (void)state;
    world.hold_sessions = true;
    push("v1");
    wheel_set(io_loop_wheel(loop), &shard.unchoke, mono_add_ms(io_loop_now(loop), 60000), NULL);
    ask("");
    expect_said("{\"reason\":\"worker-choked\"}");
    wheel_cancel(io_loop_wheel(loop), &shard.unchoke);
}

/* Names that a peer or a publisher chose stay inside their strings. */
static void names_are_quoted(void **state)
{
    (void)state;
    world.hold_sessions = true;
    struct lane *lane = push("v1");
    lane->site_name = SLICE("a\"},{\n\\");
    ask("");
    expect_said("\"site\":\"a\\\"},{\\u000a\\\\\"");
    lane->site_name = SLICE("s");
}

static void questions(void **state)
{
    static const struct {
        const char *text;
        bool value, line;
        const char *id;
    } all[] = {
        {"17", true, false, ""},
        {"17 abc", true, false, "abc"},
        {"0", false, false, NULL},
        {"x 17", false, false, NULL},
        {"", false, false, NULL},
        {"why", false, true, ""},
        {"why abc", false, true, "abc"},
        {"WHY", false, false, NULL},
        {"why a\001", false, false, NULL},
        {"17 a\n", false, false, NULL},
        {"18446744073709551616", false, false, NULL},
    };
    char longest[QUESTION_ID_MAX + 10];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct question question = {0};
        assert_int_equal(question_parse_value(slice_cstr(all[i].text), &question), all[i].value);
        assert_int_equal(question_parse_line(slice_cstr(all[i].text), &question), all[i].line);
        if (all[i].id != NULL) {
            assert_string_equal(question.message_id, all[i].id);
        }
    }
    struct question question = {0};
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "why ", 4); /* NOLINT(bugprone-not-null-terminated-result): a slice */
    assert_true(question_parse_line(slice_of(longest, 4 + QUESTION_ID_MAX), &question));
    assert_int_equal(strlen(question.message_id), QUESTION_ID_MAX);
    assert_false(question_parse_line(slice_of(longest, 5 + QUESTION_ID_MAX), &question));
    assert_false(question_parse_line(slice_of("why \0", 5), &question));
}

#define WHY_TEST(name) cmocka_unit_test_setup_teardown(name, why_set_up, tear_down)

static int why_set_up(void **state)
{
    int result = set_up(state);
    list_init(&shard.routing);
    return result;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WHY_TEST(nothing_waits),
        WHY_TEST(a_connection_is_being_opened),
        WHY_TEST(a_message_is_being_sent),
        WHY_TEST(a_limit_of_the_site),
        WHY_TEST(a_limit_of_a_tenant),
        WHY_TEST(a_slot),
        WHY_TEST(no_connection_of_the_worker),
        WHY_TEST(no_vip_is_held),
        WHY_TEST(the_site_is_suspended),
        WHY_TEST(its_addresses_are_looked_up),
        WHY_TEST(its_site_is_looked_up),
        WHY_TEST(more_than_a_lane_holds_is_spilled),
        WHY_TEST(transactional_mail_goes_first),
        WHY_TEST(nothing_is_begun),
        WHY_TEST(names_are_quoted),
        cmocka_unit_test(questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
