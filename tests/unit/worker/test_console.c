/*
 * The local control socket: what is answered from other threads comes to whoever asked, and neither
 * a hostile peer, nor one that has gone, nor the end of the worker meanwhile does harm.
 */
#include "worker/console.h"
#include "worker/intake.h"
#include "worker/shard.h"
#include "worker/worker.h"

#include "base/mem.h"
#include "unit/cmocka_all.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SHARDS 3

static char folder[] = "/tmp/test_console.XXXXXX";
static char path[64];
static struct worker worker;
static struct shard *shards[SHARDS];
static atomic_bool withhold; /* nobody answers … */
static struct question withheld;
static atomic_int withheld_count;

/* ---- those that answer, each in a thread of its own ---- */

static void *answer(void *argument)
{
    struct question *question = argument;
    char text[400];
    int len = snprintf(text, sizeof(text), "{\"about\":\"%s\"}", question->message_id);
    console_answer(question->console, question->link, slice_of(text, (size_t)len));
    mem_free(question);
    return NULL;
}

static void answer_soon(const struct question *question)
{
    pthread_t thread;
    if (atomic_load(&withhold)) {
        withheld = *question;
        atomic_fetch_add(&withheld_count, 1);
        return;
    }
    struct question *copy = mem_zalloc(sizeof(*copy));
    *copy = *question;
    assert_int_equal(pthread_create(&thread, NULL, answer, copy), 0);
    pthread_join(thread, NULL);
}

void shard_ask_why(struct shard *shard, const struct question *question)
{
    (void)shard;
    answer_soon(question);
}

void intake_ask_why(struct intake *intake, const struct question *question)
{
    (void)intake;
    answer_soon(question);
}

/* ---- peers ---- */

static int peer(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(address.sun_path, path, strlen(path));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Everything that is said to the end; its length. */
static size_t hear(int fd, char *out, size_t size)
{
    size_t len = 0;
    ssize_t got;
    while (len + 1 < size && (got = recv(fd, out + len, size - 1 - len, 0)) > 0) {
        len += (size_t)got;
    }
    out[len] = '\0';
    close(fd);
    return len;
}

static void say(int fd, const void *bytes, size_t len)
{
    (void)!send(fd, bytes, len, MSG_NOSIGNAL);
}

static struct console *begin(void)
{
    struct fault fault = {0};
    struct console *console = console_start(&worker, path, &fault);
    if (console == NULL) {
        fail_msg("%s", fault.text);
    }
    return console;
}

static void end(struct console *console)
{
    struct stat status;
    console_stop(console);
    assert_int_not_equal(stat(path, &status), 0);
    console_free(&console);
    assert_null(console);
}

/* ---- tests ---- */

static void a_question_has_all_its_answers(void **state)
{
    char text[4096];
    (void)state;
    struct console *console = begin();
    for (int i = 0; i < 20; i++) {
        int fd = peer();
        say(fd, "why ab", 6);
        say(fd, "c\r\nwhy", 6);
        (void)hear(fd, text, sizeof(text));
        assert_string_equal(text, "{\"about\":\"abc\"}\n{\"about\":\"abc\"}\n{\"about\":\"abc\"}\n"
                                  "{\"about\":\"abc\"}\n");
    }
    end(console);
}

static void what_is_no_question_is_refused(void **state)
{
    char text[4096];
    char big[3000];
    (void)state;
    struct console *console = begin();
    memset(big, 'x', sizeof(big));
    const struct slice all[] = {SLICE("who\n"), SLICE("\n"), SLICE("why \001\n"),
                                slice_of(big, sizeof(big))};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        int fd = peer();
        say(fd, all[i].ptr, all[i].len);
        (void)hear(fd, text, sizeof(text));
        assert_non_null(strstr(text, "\"error\""));
    }
    end(console);
}

static void who_goes_without_an_answer_is_forgotten(void **state)
{
    char text[4096];
    (void)state;
    struct console *console = begin();
    for (int i = 0; i < 30; i++) { /* more than may be connected at a time */
        int fd = peer();
        say(fd, "why\n", i % 2 == 0 ? 4 : 2);
        close(fd);
    }
    int fd = peer();
    say(fd, "why\n", 4);
    assert_int_equal(hear(fd, text, sizeof(text)), 4 * strlen("{\"about\":\"\"}\n"));
    end(console);
}

/* An answer that comes when the socket has been closed goes nowhere. */
static void the_worker_ends_meanwhile(void **state)
{
    char text[64];
    (void)state;
    atomic_store(&withhold, true);
    struct console *console = begin();
    int fd = peer();
    say(fd, "why\n", 4);
    while (atomic_load(&withheld_count) < SHARDS + 1) {
        usleep(1000);
    }
    console_stop(console);
    console_answer(console, withheld.link, SLICE("{}"));
    console_free(&console);
    assert_int_equal(hear(fd, text, sizeof(text)), 0);
    atomic_store(&withhold, false);
}

static void only_its_group_may_ask(void **state)
{
    struct stat status;
    (void)state;
    struct console *console = begin();
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0117, 0);
    end(console);
}

static void what_lies_there(void **state)
{
    struct fault fault = {0};
    (void)state;
    struct console *console = begin();
    assert_null(console_start(&worker, path, &fault)); /* somebody listens */
    end(console);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd); /* left over by one that was killed */
    end(begin());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fclose(file);
    assert_null(console_start(&worker, path, &fault)); /* somebody's file */
    assert_non_null(strstr(fault.text, "no socket"));
    assert_int_equal(unlink(path), 0);
}

static void the_path_may_name_the_worker(void **state)
{
    char pattern[96];
    char longest[300];
    struct stat status;
    struct fault fault = {0};
    (void)state;
    snprintf(pattern, sizeof(pattern), "%s/%%n.sock", folder);
    struct console *console = console_start(&worker, pattern, &fault);
    assert_non_null(console);
    assert_int_equal(stat(path, &status), 0);
    end(console);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_null(console_start(&worker, longest, &fault));
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/w.sock", folder);
    worker = (struct worker){.name = "w", .shards = shards, .shard_count = SHARDS};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_has_all_its_answers),
        cmocka_unit_test(what_is_no_question_is_refused),
        cmocka_unit_test(who_goes_without_an_answer_is_forgotten),
        cmocka_unit_test(the_worker_ends_meanwhile),
        cmocka_unit_test(only_its_group_may_ask),
        cmocka_unit_test(what_lies_there),
        cmocka_unit_test(the_path_may_name_the_worker),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
