#include "worker/console.h"

#include "worker/question.h"
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/conn.h"
#include "io/unix.h"

#include <pthread.h>
#include <unistd.h>

#define CONSOLE_MAGIC 0x434f4e53u
#define LINKS_MAX 16
#define QUESTION_MS 5000
#define ANSWERS_MS 10000
#define LINE_MAX_BYTES (QUESTION_ID_MAX + 8)

struct console {
    uint32_t magic;
    struct worker *worker;
    struct io_loop *loop;
    struct mailbox *mailbox;
    struct io_listener *listener;
    char path[IO_UNIX_PATH_MAX + 1];
    struct list links;
    uint64_t last; /* number of the last one */
    pthread_t thread;
};

/* A connection. */
struct link {
    struct list node;
    struct console *console;
    struct io_conn *conn;
    uint64_t number;
    struct timer timer;
    struct strbuf line;
    struct list answers; /* to be written, first one first */
    size_t written;      /* of the first */
    unsigned missing;    /* answers that will come */
    bool asked, over;
};

struct answer {
    union {
        struct letter letter; /* on its way */
        struct list node;     /* at the connection */
    } at;
    uint64_t link;
    size_t len;
    char text[];
};

static struct answer *answer_make(uint64_t number, struct slice text)
{
    struct answer *answer = mem_zalloc(sizeof(*answer) + text.len + 1);
    answer->link = number;
    answer->len = text.len + 1;
    memcpy(answer->text, text.ptr, text.len);
    answer->text[text.len] = '\n';
    return answer;
}

static void link_free(struct link *link)
{
    struct list *node;
    list_remove(&link->node);
    wheel_cancel(io_loop_wheel(link->console->loop), &link->timer);
    while ((node = list_pop_front(&link->answers)) != NULL) {
        mem_free(CONTAINER_OF(node, struct answer, at.node));
    }
    strbuf_free(&link->line);
    mem_free(link);
}

static void link_end(struct link *link)
{
    link->over = true;
    io_conn_finish(link->conn);
}

static void link_late(struct timer *timer, struct mono_time now)
{
    struct link *link = CONTAINER_OF(timer, struct link, timer);
    (void)now;
    io_conn_free(&link->conn);
    link_free(link);
}

static void link_wait(struct link *link, int64_t ms)
{
    struct io_loop *loop = link->console->loop;
    wheel_set(io_loop_wheel(loop), &link->timer, mono_add_ms(io_loop_now(loop), ms), link_late);
}

static void link_refuse(struct link *link)
{
    struct answer *answer =
        answer_make(link->number, SLICE("{\"error\":\"no question; why [MESSAGE-ID]\"}"));
    list_push_back(&link->answers, &answer->at.node);
    link_end(link);
}

static void link_ask(struct link *link)
{
    struct question question = {
        .number = link->number, .console = link->console, .link = link->number};
    struct slice line = strbuf_slice(&link->line);
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    link->asked = true;
    if (!question_parse_line(line, &question)) {
        link_refuse(link);
        return;
    }
    link_wait(link, ANSWERS_MS);
    link->missing = question_ask(link->console->worker, &question);
}

/* One line; whatever follows it is passed over. */
static size_t on_input(struct io_conn *conn, void *owner, struct slice bytes)
{
    struct link *link = owner;
    (void)conn;
    if (link->asked || link->over) {
        return bytes.len;
    }
    ptrdiff_t end = slice_find_byte(bytes, '\n');
    if (!strbuf_add_slice(&link->line, end < 0 ? bytes : slice_head(bytes, (size_t)end))) {
        link_refuse(link);
    } else if (end >= 0) {
        link_ask(link);
    }
    return bytes.len;
}

static size_t on_output(struct io_conn *conn, void *owner, struct iovec *pieces, size_t max)
{
    const struct link *link = owner;
    size_t count = 0;
    size_t skip = link->written;
    (void)conn;
    list_foreach (node, &link->answers) {
        struct answer *answer = CONTAINER_OF(node, struct answer, at.node);
        if (count == max) {
            break;
        }
        pieces[count++] = (struct iovec){answer->text + skip, answer->len - skip};
        skip = 0;
    }
    return count;
}

static void on_sent(struct io_conn *conn, void *owner, size_t len)
{
    struct link *link = owner;
    (void)conn;
    link->written += len;
    while (!list_empty(&link->answers)) {
        struct answer *answer = CONTAINER_OF(link->answers.next, struct answer, at.node);
        if (link->written < answer->len) {
            return;
        }
        link->written -= answer->len;
        list_remove(&answer->at.node);
        mem_free(answer);
    }
}

static void on_closed(struct io_conn *conn, void *owner, const struct fault *fault)
{
    (void)conn;
    (void)fault;
    link_free(owner);
}

static const struct io_conn_ops link_ops = {
    .input = on_input,
    .output = on_output,
    .sent = on_sent,
    .closed = on_closed,
};

static void on_accept(struct io_listener *listener, void *owner, struct io_conn *conn)
{
    struct console *console = owner;
    struct link *link = mem_zalloc(sizeof(*link));
    (void)listener;
    CHECK_MAGIC(console, CONSOLE_MAGIC);
    link->console = console;
    link->conn = conn;
    link->number = ++console->last;
    list_init(&link->answers);
    strbuf_init(&link->line, LINE_MAX_BYTES);
    list_push_back(&console->links, &link->node);
    io_conn_set_owner(conn, &link_ops, link);
    link_wait(link, QUESTION_MS);
}

static void answered(struct letter *letter, void *owner)
{
    struct console *console = owner;
    struct answer *answer = CONTAINER_OF(letter, struct answer, at.letter);
    CHECK_MAGIC(console, CONSOLE_MAGIC);
    list_foreach (node, &console->links) {
        struct link *link = CONTAINER_OF(node, struct link, node);
        if (link->number == answer->link && link->missing > 0) {
            memset(&answer->at, 0, sizeof(answer->at));
            list_push_back(&link->answers, &answer->at.node);
            link->missing--;
            if (link->missing == 0) {
                link_end(link);
            } else {
                io_conn_flush(link->conn);
            }
            return;
        }
    }
    mem_free(answer); /* who asked has gone */
}

void console_answer(struct console *console, uint64_t link, struct slice text)
{
    struct answer *answer = answer_make(link, text);
    CHECK_MAGIC(console, CONSOLE_MAGIC);
    mailbox_post(console->mailbox, &answer->at.letter);
}

/* ---- life ---- */

static void *run(void *argument)
{
    struct console *console = argument;
    io_loop_run(console->loop);
    return NULL;
}

static bool make_path(struct console *console, const char *pattern, struct fault *fault)
{
    struct strbuf path;
    strbuf_init(&path, IO_UNIX_PATH_MAX);
    for (const char *at = pattern; *at != '\0'; at++) {
        if (at[0] == '%' && at[1] == 'n') {
            strbuf_add_cstr(&path, console->worker->name);
            at++;
        } else {
            strbuf_add_byte(&path, *at);
        }
    }
    bool good = !path.overflow && path.len > 0;
    if (good) {
        memcpy(console->path, path.ptr, path.len);
    }
    strbuf_free(&path);
    return good ||
           fault_set(fault, FAULT_INVALID, 0, "\"%s\" is no path of a socket: at most %d bytes",
                     pattern, IO_UNIX_PATH_MAX);
}

static bool open_parts(struct console *console, const char *pattern, struct fault *fault)
{
    console->loop = io_loop_create(fault);
    console->mailbox =
        console->loop == NULL ? NULL : mailbox_create(console->loop, answered, console, fault);
    if (console->mailbox == NULL || !make_path(console, pattern, fault)) {
        return false;
    }
    console->listener =
        io_unix_listen(console->loop, console->path, LINKS_MAX, on_accept, console, fault);
    return console->listener != NULL;
}

struct console *console_start(struct worker *worker, const char *path, struct fault *fault)
{
    struct console *console = mem_zalloc(sizeof(*console));
    console->magic = CONSOLE_MAGIC;
    console->worker = worker;
    list_init(&console->links);
    if (!open_parts(console, path, fault)) {
        console_free(&console);
        return NULL;
    }
    CHECK(pthread_create(&console->thread, NULL, run, console) == 0);
    log_info("console", "socket=%s", console->path);
    return console;
}

void console_stop(struct console *console)
{
    if (console == NULL) {
        return;
    }
    CHECK_MAGIC(console, CONSOLE_MAGIC);
    io_loop_stop(console->loop);
    pthread_join(console->thread, NULL);
    unlink(console->path);
    io_listener_free(&console->listener);
    list_foreach_safe (node, after, &console->links) {
        struct link *link = CONTAINER_OF(node, struct link, node);
        io_conn_free(&link->conn);
        link_free(link);
    }
}

void console_free(struct console **handle)
{
    struct console *console = *handle;
    if (console == NULL) {
        return;
    }
    CHECK_MAGIC(console, CONSOLE_MAGIC);
    mailbox_free(&console->mailbox);
    io_listener_free(&console->listener);
    io_loop_free(&console->loop);
    console->magic = 0;
    mem_free(console);
    *handle = NULL;
}
