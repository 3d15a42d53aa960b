/* See link.h. All on the loop's thread. `context` belongs to hiredis and is gone when one of its
 * two callbacks said so. */
#include "redis/link.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>

#define LINK_MAGIC 0x524c4e4bu
#define BACKOFF_LEAST_MS 100
#define BACKOFF_MOST_MS 2000
/* A timer that comes this late says that we were busy, not that Redis was. */
#define LATE_US 50000
#define SHA_LEN 40
enum { MAX_REPLY = 2048 };

enum link_state { LINK_WAITING, LINK_CONNECTING, LINK_UP };

struct redis_link {
    uint32_t magic;
    struct io_loop *loop;
    struct redis_link_owner *owner;
    struct slice script;
    char *host, *unix_path, *user, *password;
    uint16_t port;
    int database;
    int64_t connect_timeout_ms, command_timeout_ms;

    enum link_state state;
    redisAsyncContext *context; /* NULL while waiting */
    struct io_watch *watch;
    unsigned events;
    struct list calls;  /* under way, oldest first: replies come in this order */
    struct timer timer; /* connecting: the time limit; waiting: the next attempt */
    struct timer command_timer;
    bool grace; /* the command timer came late once */
    int64_t backoff_ms;
    char sha[SHA_LEN + 1];
    bool reloading;
    bool told; /* the owner was told that it is down */
    bool freeing;
    uint64_t call_count;
};

static void connect_now(struct redis_link *link);

/* ---- hiredis on io_watch ---- */

static void on_events(struct io_watch *watch, void *owner, unsigned events)
{
    struct redis_link *link = owner;
    CHECK_MAGIC(link, LINK_MAGIC);
    if ((events & IO_READABLE) != 0) {
        redisAsyncHandleRead(link->context);
    }
    if (link->watch == watch && (events & IO_WRITABLE) != 0) {
        redisAsyncHandleWrite(link->context);
    }
}

static void watch_events(struct redis_link *link, unsigned events)
{
    if (link->watch != NULL && events != link->events) {
        link->events = events;
        io_watch_set(link->watch, events);
    }
}

static void add_read(void *data)
{
    struct redis_link *link = data;
    watch_events(link, link->events | IO_READABLE);
}

static void del_read(void *data)
{
    struct redis_link *link = data;
    watch_events(link, link->events & ~(unsigned)IO_READABLE);
}

static void add_write(void *data)
{
    struct redis_link *link = data;
    watch_events(link, link->events | IO_WRITABLE);
}

static void del_write(void *data)
{
    struct redis_link *link = data;
    watch_events(link, link->events & ~(unsigned)IO_WRITABLE);
}

static void cleanup(void *data)
{
    struct redis_link *link = data;
    io_watch_free(&link->watch);
}

/* ---- down and up again ---- */

static void on_retry(struct timer *timer, struct mono_time now)
{
    struct redis_link *link = CONTAINER_OF(timer, struct redis_link, timer);
    (void)now;
    CHECK_MAGIC(link, LINK_MAGIC);
    connect_now(link);
}

/* The context is gone: end all calls, tell, and try again later. */
static void after_loss(struct redis_link *link, const char *why)
{
    link->context = NULL;
    link->state = LINK_WAITING;
    struct list *node;
    while ((node = list_pop_front(&link->calls)) != NULL) {
        struct redis_call *call = CONTAINER_OF(node, struct redis_call, node);
        call->done(call, NULL, 0);
    }
    wheel_cancel(io_loop_wheel(link->loop), &link->command_timer);
    wheel_cancel(io_loop_wheel(link->loop), &link->timer);
    if (link->freeing) {
        return;
    }
    int64_t wait_ms = link->backoff_ms / 2 + (int64_t)random_below((uint32_t)link->backoff_ms);
    link->backoff_ms =
        link->backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : link->backoff_ms * 2;
    wheel_set(io_loop_wheel(link->loop), &link->timer, mono_add_ms(mono_now(), wait_ms), on_retry);
    if (!link->told) {
        char quoted[256];
        link->told = true;
        log_warn("redis-down", "host=%s port=%u reason=%s",
                 link->unix_path != NULL ? link->unix_path : link->host, link->port,
                 log_quote(quoted, sizeof(quoted), slice_cstr(why)));
        link->owner->down(link->owner);
    }
}

/* Ends the connection from our side. What hiredis still calls for the old context is ignored. */
static void give_up(struct redis_link *link, const char *why)
{
    redisAsyncContext *context = link->context;
    link->context = NULL;
    link->state = LINK_WAITING;
    if (context != NULL) {
        redisAsyncFree(context);
    }
    after_loss(link, why);
}

static void on_connect_timeout(struct timer *timer, struct mono_time now)
{
    struct redis_link *link = CONTAINER_OF(timer, struct redis_link, timer);
    (void)now;
    CHECK_MAGIC(link, LINK_MAGIC);
    give_up(link, "no connection in time");
}

static void on_command_timeout(struct timer *timer, struct mono_time now)
{
    struct redis_link *link = CONTAINER_OF(timer, struct redis_link, command_timer);
    CHECK_MAGIC(link, LINK_MAGIC);
    if (list_empty(&link->calls)) {
        return;
    }
    struct redis_call *oldest = CONTAINER_OF(link->calls.next, struct redis_call, node);
    struct mono_time due = mono_add_ms(oldest->sent, link->command_timeout_ms);
    if (mono_before(now, due)) {
        wheel_set(io_loop_wheel(link->loop), timer, due, on_command_timeout);
    } else if (!link->grace && mono_since_us(now, due) > LATE_US) {
        /* The reply may be waiting in the socket: one more turn. */
        link->grace = true;
        wheel_set(io_loop_wheel(link->loop), timer, mono_add_ms(now, 100), on_command_timeout);
    } else {
        link->grace = false;
        give_up(link, "no reply in time");
    }
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    struct redis_link *link = context->data;
    CHECK_MAGIC(link, LINK_MAGIC);
    if (context != link->context) {
        return;
    }
    char why[160];
    (void)snprintf(why, sizeof(why), "%s",
                   status == REDIS_OK || context->errstr == NULL ? "closed" : context->errstr);
    after_loss(link, why);
}

/* ---- replies ---- */

/* The head call of the FIFO, which this reply answers. */
static void finish_call(struct redis_link *link, const redisReply *reply)
{
    struct list *node = list_pop_front(&link->calls);
    CHECK(node != NULL);
    struct redis_call *call = CONTAINER_OF(node, struct redis_call, node);
    int64_t values[MAX_REPLY];
    size_t count = 0;
    if (reply != NULL) {
        for (size_t i = 0; i < reply->elements && count < MAX_REPLY; i++) {
            values[count++] = reply->element[i]->integer;
        }
    }
    call->done(call, reply == NULL ? NULL : values, count);
}

static bool all_integers(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements > MAX_REPLY) {
        return false;
    }
    for (size_t i = 0; i < reply->elements; i++) {
        if (reply->element[i]->type != REDIS_REPLY_INTEGER) {
            return false;
        }
    }
    return true;
}

static void on_loaded(redisAsyncContext *context, void *reply_pointer, void *data);

static void load_script(struct redis_link *link)
{
    (void)redisAsyncCommand(link->context, on_loaded, link, "SCRIPT LOAD %b", link->script.ptr,
                            link->script.len);
}

static void on_reply(redisAsyncContext *context, void *reply_pointer, void *data)
{
    struct redis_link *link = data;
    const redisReply *reply = reply_pointer;
    CHECK_MAGIC(link, LINK_MAGIC);
    if (context != link->context || reply == NULL) {
        return; /* the loss is told elsewhere */
    }
    link->grace = false;
    if (all_integers(reply)) {
        finish_call(link, reply);
    } else if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        if (!link->reloading) {
            link->reloading = true;
            load_script(link);
        }
        finish_call(link, NULL);
    } else {
        give_up(link, reply->type == REDIS_REPLY_ERROR ? reply->str : "a reply of unknown form");
    }
}

static void on_loaded(redisAsyncContext *context, void *reply_pointer, void *data)
{
    struct redis_link *link = data;
    const redisReply *reply = reply_pointer;
    CHECK_MAGIC(link, LINK_MAGIC);
    if (context != link->context || reply == NULL) {
        return;
    }
    link->reloading = false;
    if (reply->type != REDIS_REPLY_STRING || reply->len != SHA_LEN) {
        give_up(link, reply->type == REDIS_REPLY_ERROR ? reply->str : "SCRIPT LOAD: not a hash");
        return;
    }
    memcpy(link->sha, reply->str, SHA_LEN);
    if (link->state != LINK_CONNECTING) {
        return;
    }
    wheel_cancel(io_loop_wheel(link->loop), &link->timer);
    link->state = LINK_UP;
    link->backoff_ms = BACKOFF_LEAST_MS;
    link->told = false;
    log_info("redis-up", "host=%s port=%u", link->unix_path != NULL ? link->unix_path : link->host,
             link->port);
    link->owner->up(link->owner);
}

/* AUTH and SELECT: anything but OK ends it. */
static void on_ok(redisAsyncContext *context, void *reply_pointer, void *data)
{
    struct redis_link *link = data;
    const redisReply *reply = reply_pointer;
    CHECK_MAGIC(link, LINK_MAGIC);
    if (context == link->context && reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        give_up(link, reply->str);
    }
}

/* ---- connecting ---- */

static void on_connect(const redisAsyncContext *context, int status)
{
    struct redis_link *link = context->data;
    CHECK_MAGIC(link, LINK_MAGIC);
    if (context == link->context && status != REDIS_OK) {
        /* hiredis frees the context when this returns. */
        char why[160];
        (void)snprintf(why, sizeof(why), "%s",
                       context->c.errstr[0] == '\0' ? "connection refused" : context->c.errstr);
        after_loss(link, why);
    }
}

static void send_greeting(struct redis_link *link)
{
    redisAsyncContext *context = link->context;
    if (link->password != NULL && link->user != NULL) {
        (void)redisAsyncCommand(context, on_ok, link, "AUTH %s %s", link->user, link->password);
    } else if (link->password != NULL) {
        (void)redisAsyncCommand(context, on_ok, link, "AUTH %s", link->password);
    }
    if (link->database != 0) {
        (void)redisAsyncCommand(context, on_ok, link, "SELECT %d", link->database);
    }
    load_script(link);
}

static void connect_now(struct redis_link *link)
{
    redisAsyncContext *context = link->unix_path != NULL
                                     ? redisAsyncConnectUnix(link->unix_path)
                                     : redisAsyncConnect(link->host, link->port);
    CHECK(context != NULL); /* only without memory */
    if (context->err != 0) {
        char why[160];
        (void)snprintf(why, sizeof(why), "%s", context->errstr);
        redisAsyncFree(context);
        after_loss(link, why);
        return;
    }
    struct fault fault;
    link->watch = io_watch_create(link->loop, context->c.fd, on_events, link, &fault);
    if (link->watch == NULL) {
        redisAsyncFree(context);
        after_loss(link, fault.text);
        return;
    }
    link->events = 0;
    link->reloading = false;
    link->context = context;
    link->state = LINK_CONNECTING;
    context->data = link;
    context->ev.data = link;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    (void)redisAsyncSetConnectCallback(context, on_connect);
    (void)redisAsyncSetDisconnectCallback(context, on_disconnect);
    wheel_set(io_loop_wheel(link->loop), &link->timer,
              mono_add_ms(mono_now(), link->connect_timeout_ms), on_connect_timeout);
    send_greeting(link);
}

static char *copy_of(const char *text)
{
    return text == NULL ? NULL : mem_strdup(text);
}

struct redis_link *redis_link_create(struct io_loop *loop, const struct redis_options *options,
                                     struct slice script, struct redis_link_owner *owner,
                                     struct fault *fault)
{
    if (options->unix_path == NULL && (options->host == NULL || options->port == 0)) {
        fault_set(fault, FAULT_INVALID, 0, "redis: neither a host with a port nor a unix_path");
        return NULL;
    }
    if (options->user != NULL && options->password == NULL) {
        fault_set(fault, FAULT_INVALID, 0, "redis: a user without a password");
        return NULL;
    }
    struct redis_link *link = mem_zalloc(sizeof(*link));
    link->magic = LINK_MAGIC;
    link->loop = loop;
    link->owner = owner;
    link->script = script;
    link->host = copy_of(options->host);
    link->port = options->port;
    link->unix_path = copy_of(options->unix_path);
    link->user = copy_of(options->user);
    link->password = copy_of(options->password);
    link->database = options->database;
    link->connect_timeout_ms = options->connect_timeout_ms;
    link->command_timeout_ms = options->command_timeout_ms;
    link->backoff_ms = BACKOFF_LEAST_MS;
    list_init(&link->calls);
    /* From the loop, so that the owner hears nothing before this has returned. */
    wheel_set(io_loop_wheel(loop), &link->timer, mono_now(), on_retry);
    return link;
}

/* The loop does not run any more for us: read and write by hand for a moment. */
static void drain(struct redis_link *link, int64_t wait_ms)
{
    struct mono_time deadline = mono_add_ms(mono_now(), wait_ms);
    while (link->state == LINK_UP && !list_empty(&link->calls)) {
        int64_t left_ms = mono_since_us(deadline, mono_now()) / 1000;
        struct pollfd wait = {.fd = link->context->c.fd, .events = POLLIN};
        if ((link->events & IO_WRITABLE) != 0) {
            wait.events |= POLLOUT;
        }
        if (left_ms <= 0 || poll(&wait, 1, (int)left_ms) < 0) {
            return;
        }
        if ((wait.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            redisAsyncHandleRead(link->context);
        }
        if (link->context != NULL && (wait.revents & POLLOUT) != 0) {
            redisAsyncHandleWrite(link->context);
        }
    }
}

void redis_link_free(struct redis_link **handle, int64_t wait_ms)
{
    struct redis_link *link = *handle;
    if (link == NULL) {
        return;
    }
    CHECK_MAGIC(link, LINK_MAGIC);
    link->freeing = true;
    drain(link, wait_ms);
    give_up(link, "freed");
    link->magic = 0;
    mem_free(link->host);
    mem_free(link->unix_path);
    mem_free(link->user);
    if (link->password != NULL) {
        explicit_bzero(link->password, strlen(link->password));
    }
    mem_free(link->password);
    mem_free(link);
    *handle = NULL;
}

/* ---- calls ---- */

bool redis_link_is_up(const struct redis_link *link)
{
    return link->state == LINK_UP;
}

uint64_t redis_link_calls(const struct redis_link *link)
{
    return link->call_count;
}

void redis_link_call(struct redis_link *link, struct redis_call *call, size_t keys,
                     const struct slice *args, size_t count)
{
    CHECK(link->state == LINK_UP && count <= REDIS_LINK_ARGS);
    const char *argv[REDIS_LINK_ARGS + 3] = {"EVALSHA", link->sha};
    size_t lengths[REDIS_LINK_ARGS + 3] = {7, SHA_LEN};
    char number[24];
    lengths[2] = (size_t)snprintf(number, sizeof(number), "%zu", keys);
    argv[2] = number;
    for (size_t i = 0; i < count; i++) {
        argv[i + 3] = args[i].ptr;
        lengths[i + 3] = args[i].len;
    }
    call->sent = mono_now();
    list_push_back(&link->calls, &call->node);
    link->call_count++;
    (void)redisAsyncCommandArgv(link->context, on_reply, link, (int)(count + 3), argv, lengths);
    if (!timer_is_set(&link->command_timer)) {
        wheel_set(io_loop_wheel(link->loop), &link->command_timer,
                  mono_add_ms(call->sent, link->command_timeout_ms), on_command_timeout);
    }
}
