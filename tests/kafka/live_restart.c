/*
 * Members that die: one comes again under its name, one does not, one leaves, one is doubled. And
 * members that the group does not know any more, or does not answer. Those that are killed run in
 * processes of their own.
 */
#include "tests/kafka/live_claim.h"

#include "base/mem.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct process {
    pid_t pid;
    int output; /* a line each time it is assigned */
};

int live_restart_member(char **argv)
{
    struct live_member *member = mem_zalloc(sizeof(*member));
    uint64_t session_ms;
    int told = 0;
    assert_true(slice_to_u64(slice_cstr(argv[4]), &session_ms));
    live_member_open_static(member, argv[2], argv[3], (int)session_ms);
    for (;;) { /* until it is killed */
        live_member_serve(member);
        if (member->assigned_calls > told) {
            told = member->assigned_calls;
            printf("assigned %zu\n", member->mine_count);
            (void)fflush(stdout);
        }
    }
}

static void spawn_member(struct process *process, const char *prefix, const char *name,
                         const char *session_ms)
{
    char words[5][64] = {"kafka_live", "member"};
    char *args[6] = {words[0], words[1], words[2], words[3], words[4], NULL};
    int ends[2];
    posix_spawn_file_actions_t actions;
    snprintf(words[2], sizeof(words[2]), "%s", prefix);
    snprintf(words[3], sizeof(words[3]), "%s", name);
    snprintf(words[4], sizeof(words[4]), "%s", session_ms);
    assert_int_equal(pipe(ends), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    assert_int_equal(posix_spawn(&process->pid, "/proc/self/exe", &actions, NULL, args, environ),
                     0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    process->output = ends[0];
}

static void kill_member(struct process *process)
{
    int status;
    assert_int_equal(kill(process->pid, SIGKILL), 0);
    assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
    close(process->output);
}

/* Serves `other` until the process has been assigned that many partitions. */
static void wait_process(const struct process *process, struct live_member *other, size_t count)
{
    struct mono_time end = mono_add_ms(mono_now(), LIVE_TIMEOUT_MS);
    char wanted[32];
    char text[4096] = "";
    size_t used = 0;
    snprintf(wanted, sizeof(wanted), "assigned %zu\n", count);
    while (strstr(text, wanted) == NULL) {
        struct pollfd ready = {.fd = process->output, .events = POLLIN};
        live_member_serve(other);
        if (poll(&ready, 1, 0) == 1) {
            ssize_t got = read(process->output, text + used, sizeof(text) - 1 - used);
            assert_true(got > 0);
            used += (size_t)got;
            text[used] = '\0';
        }
        if (!mono_before(mono_now(), end)) {
            fail_msg("the process was not assigned %zu partitions", count);
        }
    }
}

static void wait_assigned_all(struct live_member *member, size_t count)
{
    struct mono_time end = mono_add_ms(mono_now(), LIVE_TIMEOUT_MS);
    while (!member->assigned || member->mine_count != count) {
        live_member_serve(member);
        if (!mono_before(mono_now(), end)) {
            fail_msg("no assignment of %zu partitions", count);
        }
    }
}

/* Killed and started again under its name: it goes on with what it had, and the other member is not
 * even interrupted. */
static void test_restart(void **state)
{
    (void)state;
    char prefix[32];
    struct process process;
    live_make_topics(prefix, 4);
    struct live_member *other = mem_zalloc(sizeof(*other));
    live_member_open_static(other, prefix, "b", 6000);
    spawn_member(&process, prefix, "a", "6000");
    wait_process(&process, other, 4);
    wait_assigned_all(other, 4);
    for (int i = 0; i < 5; i++) {
        int revoked_calls = other->revoked_calls;
        struct mono_time killed = mono_now();
        kill_member(&process);
        spawn_member(&process, prefix, "a", "6000");
        wait_process(&process, other, 4);
        print_message("killed, started and assigned again in %" PRId64 " ms\n",
                      mono_since_us(mono_now(), killed) / 1000);
        assert_int_equal(other->revoked_calls, revoked_calls);
        assert_true(other->assigned);
    }
    kill_member(&process);
    live_member_close(other);
    mem_free(other);
}

/* The whole group dies and comes again. */
static void test_restart_alone(void **state)
{
    (void)state;
    char prefix[32];
    struct process process;
    live_make_topics(prefix, 4);
    struct live_member *idle = mem_zalloc(sizeof(*idle));
    char elsewhere[32];
    live_make_topics(elsewhere, 1);
    live_member_open(idle, elsewhere, "idle", NULL);
    spawn_member(&process, prefix, "a", "6000");
    wait_process(&process, idle, 8);
    for (int i = 0; i < 3; i++) {
        struct mono_time killed = mono_now();
        kill_member(&process);
        spawn_member(&process, prefix, "a", "6000");
        wait_process(&process, idle, 8);
        print_message("the only member: assigned again in %" PRId64 " ms\n",
                      mono_since_us(mono_now(), killed) / 1000);
    }
    kill_member(&process);
    live_member_close(idle);
    mem_free(idle);
}

/* Killed and not started again: the other has all. */
static void dead(const char *session_ms, int ms)
{
    char prefix[32];
    struct process process;
    live_make_topics(prefix, 4);
    struct live_member *other = mem_zalloc(sizeof(*other));
    live_member_open_static(other, prefix, "b", ms);
    spawn_member(&process, prefix, "a", session_ms);
    wait_process(&process, other, 4);
    wait_assigned_all(other, 4);
    struct mono_time killed = mono_now();
    kill_member(&process);
    wait_assigned_all(other, 8);
    print_message("session time-out %s ms: the rest served after %" PRId64 " ms\n", session_ms,
                  mono_since_us(mono_now(), killed) / 1000);
    assert_int_equal(other->lost_calls, 0);
    live_member_close(other);
    mem_free(other);
}

static void test_restart_never(void **state)
{
    (void)state;
    dead("6000", 6000);
    dead("3000", 3000);
}

/* Freed: leaves its group, long before its session could time out. */
static void test_restart_leaves(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 4);
    struct live_member *first = mem_zalloc(sizeof(*first));
    struct live_member *second = mem_zalloc(sizeof(*second));
    live_member_open_static(first, prefix, "a", 2 * LIVE_TIMEOUT_MS);
    live_member_open_static(second, prefix, "b", 2 * LIVE_TIMEOUT_MS);
    live_members_wait_halves(first, second);
    struct mono_time from = mono_now();
    live_member_close(first);
    struct mono_time gone = mono_now();
    wait_assigned_all(second, 8);
    print_message("left in %" PRId64 " ms, all served after %" PRId64 " ms more\n",
                  mono_since_us(gone, from) / 1000, mono_since_us(mono_now(), gone) / 1000);
    live_member_close(second);
    mem_free(first);
    mem_free(second);
}

static void serve_both(struct live_member *one, struct live_member *other)
{
    live_member_serve(one);
    live_member_serve(other);
}

/* A second one of its name comes while it lives: it has lost everything, and fails when the other
 * is seen to live. That one is not disturbed. */
static void test_restart_doubled(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    struct live_member *former = mem_zalloc(sizeof(*former));
    struct live_member *latter = mem_zalloc(sizeof(*latter));
    live_member_open_static(former, prefix, "a", 6000);
    live_member_wait_assigned(former);
    assert_true(live_member_submit(former, 1, 1));
    assert_int_equal(live_member_result(former), KAFKA_BURST_COMMITTED);
    live_member_open_static(latter, prefix, "a", 6000);
    live_member_wait_assigned(latter);
    assert_int_equal(latter->mine_count, 4);
    assert_int_equal(latter->given[0].committed, 1);
    while (former->revoked_calls == 0) {
        serve_both(former, latter);
    }
    assert_int_equal(former->lost_calls, 1);
    assert_int_equal(former->failed_calls, 0);
    assert_false(live_member_submit(former, 2, 2)); /* it cannot claim anything */
    while (former->failed_calls == 0) {
        serve_both(former, latter);
        assert_int_equal(kafka_consumer_contact_us(former->consumer), 0);
    }
    assert_int_equal(former->failure.kind, FAULT_FATAL);
    assert_non_null(strstr(former->failure.text, "name \"a\""));
    assert_int_equal(former->assigned_calls, 1);
    assert_int_equal(latter->revoked_calls, 0);
    assert_true(live_member_submit(latter, 3, 3));
    assert_int_equal(live_member_result(latter), KAFKA_BURST_COMMITTED);
    live_member_close(former);
    assert_true(live_member_submit(latter, 4, 4)); /* that one's end took nothing from it */
    assert_int_equal(live_member_result(latter), KAFKA_BURST_COMMITTED);
    live_member_close(latter);
    mem_free(former);
    mem_free(latter);
}

/* The second one of its name is dead already: it joins again when that one's session is over. A
 * record of before is held all the time. */
static void test_restart_double_dies(void **state)
{
    (void)state;
    char prefix[32];
    struct process process;
    struct kafka_record record;
    live_make_topics(prefix, 2);
    live_send_numbers(live_topic(prefix, "q.tx"), 0, 0, 10);
    struct live_member *member = mem_zalloc(sizeof(*member));
    live_member_open_static(member, prefix, "a", 6000);
    live_member_wait_assigned(member);
    while (!kafka_consumer_take(member->consumer, KAFKA_SOURCE_TX, &record)) {
        live_member_serve(member);
    }
    struct kafka_ticket ticket = kafka_record_ticket(&record);
    assert_true(kafka_ticket_valid(&ticket));
    spawn_member(&process, prefix, "a", "6000");
    wait_process(&process, member, 4);
    kill_member(&process);
    while (member->lost_calls == 0) {
        live_member_serve(member);
    }
    assert_false(kafka_ticket_valid(&ticket));
    struct mono_time lost = mono_now();
    live_member_wait_assigned(member);
    print_message("name free again: assigned after %" PRId64 " ms\n",
                  mono_since_us(mono_now(), lost) / 1000);
    assert_int_equal(kafka_consumer_recoveries(member->consumer), 1);
    assert_int_equal(member->failed_calls, 0);
    assert_int_equal(live_number(&record), 0); /* its memory is good still */
    assert_false(kafka_ticket_valid(&ticket));
    kafka_ticket_complete(member->consumer, ticket); /* to nothing */
    kafka_record_free(&record);
    while (!kafka_consumer_take(member->consumer, KAFKA_SOURCE_TX, &record)) {
        live_member_serve(member);
    }
    assert_int_equal(live_number(&record), 0);
    kafka_record_free(&record);
    do { /* aborted once: the other has had its transactional id, too */
        assert_true(live_member_submit(member, 1, 0));
    } while (live_member_result(member) == KAFKA_BURST_ABORTED);
    assert_int_equal(member->result, KAFKA_BURST_COMMITTED);
    live_member_close(member);
    mem_free(member);
}

static void run(const char *program, const char *first, const char *from, const char *to)
{
    char words[4][600];
    char *args[5] = {words[0], words[1], words[2], words[3], NULL};
    pid_t pid;
    int status;
    snprintf(words[0], sizeof(words[0]), "%s", program);
    snprintf(words[1], sizeof(words[1]), "%s", first);
    snprintf(words[2], sizeof(words[2]), "%s/%s", getenv("SLUICE_KAFKA_DIR"), from);
    snprintf(words[3], sizeof(words[3]), "%s/%s", getenv("SLUICE_KAFKA_DIR"), to);
    assert_int_equal(posix_spawnp(&pid, program, NULL, NULL, args, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#define AWAY_SESSION_MS 6000

/* The broker is away for longer than three sessions: nothing of before fences the member, and when
 * it is back, it is not taken for one that has not answered for so long. */
static void test_restart_away(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    struct live_member *member = mem_zalloc(sizeof(*member));
    live_member_open_static(member, prefix, "a", AWAY_SESSION_MS);
    live_member_wait_assigned(member);
    while (kafka_consumer_contact_us(member->consumer) == 0) {
        live_member_serve(member);
    }
    live_broker("stop");
    while (member->lost_calls == 0) {
        live_member_serve(member);
    }
    struct mono_time end = mono_add_ms(mono_now(), 2000);
    while (mono_before(mono_now(), end)) {
        live_member_serve(member);
    }
    live_sleep_ms(3 * AWAY_SESSION_MS - 2000);
    live_broker("start");
    live_member_wait_assigned(member);
    assert_int_equal(kafka_consumer_recoveries(member->consumer), 0);
    assert_int_equal(member->failed_calls, 0);
    while (kafka_consumer_contact_us(member->consumer) == 0) {
        live_member_serve(member);
    }
    live_member_close(member);
    mem_free(member);
}

#define FORGOTTEN_SESSION_MS 20000

/* The broker has forgotten the member's last id and knows one before it, as when it is killed
 * before the group was written: it fences its only holder, who joins again. */
static void test_restart_forgotten(void **state)
{
    (void)state;
    char prefix[32];
    live_make_topics(prefix, 2);
    struct live_member *member = mem_zalloc(sizeof(*member));
    live_member_open_static(member, prefix, "a", FORGOTTEN_SESSION_MS);
    live_member_wait_assigned(member);
    live_broker("stop");
    run("cp", "-aT", "data", "early");
    while (member->lost_calls == 0) { /* its session is over: it is given another id */
        live_member_serve(member);
    }
    live_broker("start");
    live_member_wait_assigned(member);
    uint64_t recoveries = kafka_consumer_recoveries(member->consumer);
    int lost_calls = member->lost_calls;
    struct mono_time gone = mono_now();
    live_broker("stop");
    run("mv", "-T", "data", "late");
    run("mv", "-T", "early", "data");
    live_broker("start");
    struct mono_time back = mono_now();
    /* On a machine that is too slow its session is over before, and it asks for another id. */
    bool in_session = mono_since_us(back, gone) < FORGOTTEN_SESSION_MS * 1000 / 2;
    while (member->lost_calls == lost_calls) {
        live_member_serve(member);
    }
    live_member_wait_assigned(member);
    print_message("fenced by a broker that forgot: assigned %" PRId64 " ms after it was back\n",
                  mono_since_us(mono_now(), back) / 1000);
    if (in_session) {
        assert_int_equal(kafka_consumer_recoveries(member->consumer), recoveries + 1);
    } else {
        print_message("the broker was away for too long to forget somebody\n");
    }
    assert_int_equal(member->failed_calls, 0);
    assert_int_equal(member->mine_count, 4);
    do { /* aborted once: the broker has forgotten the transactional id, too */
        assert_true(live_member_submit(member, 1, 1));
    } while (live_member_result(member) == KAFKA_BURST_ABORTED);
    assert_int_equal(member->result, KAFKA_BURST_COMMITTED);
    live_member_close(member);
    mem_free(member);
}

/* The group's answer does not come, because it waits for one who is stopped: it joins anew, and is
 * assigned once there is an answer. */
static void test_restart_unheard(void **state)
{
    (void)state;
    char prefix[32];
    struct process process;
    live_make_topics(prefix, 2);
    struct live_member *idle = mem_zalloc(sizeof(*idle));
    char elsewhere[32];
    live_make_topics(elsewhere, 1);
    live_member_open(idle, elsewhere, "idle", NULL);
    spawn_member(&process, prefix, "b", "90000");
    wait_process(&process, idle, 4);
    assert_int_equal(kill(process.pid, SIGSTOP), 0);
    struct live_member *member = mem_zalloc(sizeof(*member));
    live_member_open_static(member, prefix, "a", 6000);
    while (kafka_consumer_recoveries(member->consumer) == 0) {
        live_member_serve(member);
        assert_false(member->assigned);
    }
    assert_int_equal(kill(process.pid, SIGCONT), 0);
    wait_process(&process, member, 2);
    wait_assigned_all(member, 2);
    assert_int_equal(member->failed_calls, 0);
    kill_member(&process);
    live_member_close(member);
    live_member_close(idle);
    mem_free(member);
    mem_free(idle);
}

int live_restart_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart),         cmocka_unit_test(test_restart_alone),
        cmocka_unit_test(test_restart_never),   cmocka_unit_test(test_restart_leaves),
        cmocka_unit_test(test_restart_doubled), cmocka_unit_test(test_restart_double_dies),
        cmocka_unit_test(test_restart_away),    cmocka_unit_test(test_restart_forgotten),
        cmocka_unit_test(test_restart_unheard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
