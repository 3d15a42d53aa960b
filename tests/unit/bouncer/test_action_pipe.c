/* Programs that get a mail: what they are given, how they may fail, and that nothing of them stays.
 */
#include "bouncer/actions_private.h"

#include "base/clock.h"
#include "unit/cmocka_all.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static bool run_timed(const char *command, struct slice content, int64_t timeout_ms,
                      struct action_job *job)
{
    struct config_action action = {
        .what = CONFIG_DO_PIPE, .target = command, .timeout_ms = timeout_ms};
    *job = (struct action_job){
        .action = &action, .content = content, .id = "the-id", .kind = "bounce"};
    bool ok = action_pipe(job);
    job->action = NULL;
    return ok;
}

static bool run(const char *command, struct slice content, struct action_job *job)
{
    return run_timed(command, content, 30000, job);
}

static void status_decides(void **state)
{
    struct action_job job;
    (void)state;
    assert_true(run("/bin/true", SLICE("mail"), &job));
    assert_false(run("/bin/false", SLICE("mail"), &job));
    assert_non_null(strstr(job.problem, "exit status 1"));
    assert_false(run("/no/such/program", SLICE("mail"), &job));
    assert_non_null(strstr(job.problem, "exit status 127"));
    assert_false(run(" \t ", SLICE("mail"), &job));
    assert_non_null(strstr(job.problem, "empty"));
}

/* It gets all of it; and one that reads nothing is no failure, however much there is. */
static void content_arrives(void **state)
{
    static char large[1 << 20];
    struct action_job job;
    (void)state;
    memset(large, 'x', sizeof(large));
    assert_true(run("/usr/bin/cmp -s - /dev/null", SLICE_NULL, &job));
    assert_false(run("/usr/bin/cmp -s - /dev/null", SLICE("mail"), &job));
    assert_true(run("/bin/true", slice_of(large, sizeof(large)), &job));
    assert_true(run("/bin/grep -c x", slice_of(large, sizeof(large)), &job));
}

/* Its group is what is killed in the end: neither it nor what it starts can leave it. */
static void nobody_leaves_the_group(void **state)
{
    struct action_job job;
    (void)state;
    assert_true(run("/usr/bin/env true", SLICE_NULL, &job));
    assert_false(run("/usr/bin/setsid --wait /bin/true", SLICE_NULL, &job));
    assert_non_null(strstr(job.problem, "exit status"));
    assert_false(run("/usr/bin/unshare --user /bin/true", SLICE_NULL, &job));
    assert_non_null(strstr(job.problem, "exit status"));
}

/* The time is over as soon as it begins, so the program may not even have left its parent's group:
 * it is ended all the same, each time. */
static void no_time_at_all(void **state)
{
    struct action_job job;
    (void)state;
    for (int i = 0; i < 200; i++) {
        assert_false(run_timed("/bin/sleep 1000", SLICE_NULL, 0, &job));
        assert_non_null(strstr(job.problem, "did not end"));
    }
    assert_int_equal(kill(0, 0), 0); /* we are still there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_decides),
        cmocka_unit_test(content_arrives),
        cmocka_unit_test(nobody_leaves_the_group),
        cmocka_unit_test(no_time_at_all),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as io_loop_create() does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
