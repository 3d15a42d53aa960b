/*
 * A program gets the mail on its standard input. It runs in a process group of its own, with
 * nothing of ours: no descriptors, no signals blocked, an environment of six variables, no way to
 * new privileges, limits on memory, files and processor time, and a filter on its system calls.
 * When its time is over the whole group is killed, which nothing of it can leave. Exit status 0 is
 * success; what it writes is thrown away.
 *
 * The target is a command line that is split at blanks; there is no shell in between.
 */
#include "bouncer/actions_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 64
#define MEMORY_MAX_BYTES ((rlim_t)1 << 30)
#define FILE_MAX_BYTES ((rlim_t)1 << 30)
#define FILES_MAX 64
#define POLL_MS 20
#define VARIABLES 6
#define VARIABLE_MAX 400

struct program {
    char *line; /* cut into words */
    char *words[WORDS_MAX + 1];
    char texts[VARIABLES][VARIABLE_MAX];
    char *environment[VARIABLES + 1];
};

static bool split(struct action_job *job, struct program *program)
{
    size_t count = 0;
    char *save = NULL;
    program->line = mem_strdup(job->action->target);
    for (char *word = strtok_r(program->line, " \t", &save); word != NULL;
         word = strtok_r(NULL, " \t", &save)) {
        if (count == WORDS_MAX) {
            return action_failed(job, "the command has more than %d words", WORDS_MAX);
        }
        program->words[count++] = word;
    }
    return count > 0 || action_failed(job, "the command is empty");
}

static void make_environment(const struct action_job *job, struct program *program)
{
    snprintf(program->texts[0], VARIABLE_MAX, "PATH=/usr/local/bin:/usr/bin:/bin");
    snprintf(program->texts[1], VARIABLE_MAX, "SLUICE_ID=%s", job->id);
    snprintf(program->texts[2], VARIABLE_MAX, "SLUICE_KIND=%s", job->kind);
    snprintf(program->texts[3], VARIABLE_MAX, "SLUICE_SENDER=%.*s", SLICE_FMT(job->mail_from));
    snprintf(program->texts[4], VARIABLE_MAX, "SLUICE_RECIPIENT=%.*s", SLICE_FMT(job->address));
    snprintf(program->texts[5], VARIABLE_MAX, "LC_ALL=C");
    for (size_t i = 0; i < VARIABLES; i++) {
        program->environment[i] = program->texts[i];
    }
}

static void limit(int resource, rlim_t most)
{
    const struct rlimit value = {most, most};
    (void)setrlimit((__rlimit_resource_t)resource, &value);
}

/* In the child, where only async-signal-safe calls are allowed. */
static _Noreturn void become(const struct program *program, int input, rlim_t seconds)
{
    sigset_t none;
    sigemptyset(&none);
    (void)setsid();
    int null = open("/dev/null", O_WRONLY);
    if (dup2(input, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(null, STDERR_FILENO) < 0 || chdir("/") != 0) {
        _exit(126);
    }
    (void)syscall(SYS_close_range, 3, ~0U, 0);
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL);
    }
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, seconds);
    limit(RLIMIT_AS, MEMORY_MAX_BYTES);
    limit(RLIMIT_FSIZE, FILE_MAX_BYTES);
    limit(RLIMIT_NOFILE, FILES_MAX);
    if (!action_sandbox_enter()) {
        _exit(126);
    }
    execve(program->words[0], program->words, program->environment);
    _exit(127);
}

/* Milliseconds until `by`, at least 0. */
static int left_ms(struct mono_time by)
{
    int64_t ms = mono_since_us(by, mono_now()) / 1000;
    return ms < 0 ? 0 : (int)(ms > 60000 ? 60000 : ms);
}

/* Writes all, or as much as the program wants to read. */
static void feed(int fd, struct slice content, struct mono_time by)
{
    while (content.len > 0) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        int ready = poll(&wait, 1, left_ms(by));
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            return; /* its time is over */
        }
        ssize_t sent = write(fd, content.ptr, content.len);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (sent < 0) {
            return; /* it has read enough: its exit status decides */
        }
        content = slice_skip(content, (size_t)sent);
    }
}

/*
 * Kills the program and whatever it has started, and takes its status. It is not reaped before, so
 * neither its id nor its group's can be anybody else's; and it is killed itself before its group,
 * since it may not have come as far as to have one.
 */
static int end(pid_t child)
{
    int status = 0;
    (void)kill(child, SIGKILL);
    (void)kill(-child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static bool wait_for(struct action_job *job, pid_t child, struct mono_time by)
{
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        int result = waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT);
        if (result < 0 && errno != EINTR) {
            return action_failed(job, "%s: %s", job->action->target, strerror(errno));
        }
        if (result == 0 && info.si_pid == child) {
            break;
        }
        if (left_ms(by) == 0) {
            (void)end(child);
            return action_failed(job, "%s: did not end in %lld ms", job->action->target,
                                 (long long)job->action->timeout_ms);
        }
        usleep(POLL_MS * 1000);
    }
    int status = end(child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    return WIFEXITED(status)
               ? action_failed(job, "%s: exit status %d", job->action->target, WEXITSTATUS(status))
               : action_failed(job, "%s: ended by signal %d", job->action->target,
                               WTERMSIG(status));
}

static bool run(struct action_job *job, const struct program *program)
{
    int ends[2];
    struct mono_time by = mono_add_ms(mono_now(), job->action->timeout_ms);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return action_failed(job, "pipe: %s", strerror(errno));
    }
    pid_t child = fork();
    if (child == 0) {
        become(program, ends[0], (rlim_t)(job->action->timeout_ms / 1000 + 1));
    }
    (void)close(ends[0]);
    if (child < 0) {
        (void)close(ends[1]);
        return action_failed(job, "fork: %s", strerror(errno));
    }
    (void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
    feed(ends[1], job->content, by);
    (void)close(ends[1]);
    return wait_for(job, child, by);
}

bool action_pipe(struct action_job *job)
{
    struct program program = {0};
    make_environment(job, &program);
    bool ok = split(job, &program) && run(job, &program);
    mem_free(program.line);
    return ok;
}
