/*
 * See link.h; what replies mean is in link_reply.c. All on the loop's thread. Two lists hold what
 * is under way, in the order in which the replies come: `unsent`, from which the connection takes
 * bytes, and `awaiting`. The connection may be gone whenever a callback returns; `conn` says so.
 */
#include "redis/link_private.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#define BACKOFF_LEAST_MS 100
#define BACKOFF_MOST_MS 2000
/* A timer that comes this late says that we were busy, not that Redis was. */
#define LATE_US 50000

static void connect_now(struct redis_link *link);

/* ---- requests ---- */

static void drop_bytes(struct redis_call *call)
{
    if (call->kind == KIND_OK) {
        explicit_bzero(call->bytes, call->len); /* a password */
    }
    redisFreeCommand(call->bytes);
    call->bytes = NULL;
}

void link_end_call(struct redis_call *call, const int64_t *values, size_t count)
{
    drop_bytes(call);
    if (call->kind != KIND_CALL) {
        mem_free(call);
    } else {
        call->done(call, values, count);
    }
}

void redis_call_lost(struct redis_call *call)
{
    link_end_call(call, NULL, 0);
}

static void format(struct redis_call *call, size_t count, const char **argv, const size_t *lengths)
{
    int len = redisFormatCommandArgv(&call->bytes, (int)count, argv, lengths);
    CHECK(len > 0); /* only without memory */
    call->len = (size_t)len;
}

/* A request of the link's own. */
static struct redis_call *own_request(int kind, size_t count, const char **argv)
{
    size_t lengths[4];
    struct redis_call *call = mem_zalloc(sizeof(*call));
    CHECK(count <= ARRAY_LEN(lengths));
    for (size_t i = 0; i < count; i++) {
        lengths[i] = strlen(argv[i]);
    }
    call->kind = kind;
    format(call, count, argv, lengths);
    return call;
}

void link_load_script(struct redis_link *link, struct list *to)
{
    const struct slice script = link->setup->script;
    const char *argv[] = {"SCRIPT", "LOAD", script.ptr};
    const size_t lengths[] = {6, 4, script.len};
    struct redis_call *call = mem_zalloc(sizeof(*call));
    call->kind = KIND_LOAD;
    call->queued = mono_now();
    format(call, ARRAY_LEN(argv), argv, lengths);
    list_push_back(to, &call->node);
}

static const struct redis_call *oldest(const struct redis_link *link)
{
    const struct list *from = !list_empty(&link->awaiting) ? &link->awaiting : &link->unsent;
    return list_empty(from) ? NULL : CONTAINER_OF(from->next, struct redis_call, node);
}

static void on_command_timeout(struct timer *timer, struct mono_time now);

static void watch_time(struct redis_link *link)
{
    const struct redis_call *first = oldest(link);
    if (first != NULL && link->state == LINK_UP && !timer_is_set(&link->command_timer)) {
        wheel_set(io_loop_wheel(link->setup->loop), &link->command_timer,
                  mono_add_ms(first->queued, link->setup->options->command_timeout_ms),
                  on_command_timeout);
    }
}

static void enqueue(struct redis_link *link, struct redis_call *call)
{
    call->queued = mono_now();
    list_push_back(&link->unsent, &call->node);
    watch_time(link);
    /* At the end of this turn, so that all calls of it go at once. */
    io_loop_defer(link->setup->loop, &link->flush);
}

static void on_flush(struct io_task *task)
{
    struct redis_link *link = CONTAINER_OF(task, struct redis_link, flush);
    CHECK_MAGIC(link, LINK_MAGIC);
    if (link->conn != NULL) {
        io_conn_flush(link->conn);
    }
}

/* ---- down and up again ---- */

static const char *place_of(const struct redis_link *link)
{
    return link->host != NULL ? link->host : link->setup->options->unix_path;
}

static void on_retry(struct timer *timer, struct mono_time now)
{
    struct redis_link *link = CONTAINER_OF(timer, struct redis_link, timer);
    (void)now;
    CHECK_MAGIC(link, LINK_MAGIC);
    connect_now(link);
}

static void end_all(struct list *calls)
{
    struct list *node;
    while ((node = list_pop_front(calls)) != NULL) {
        redis_call_lost(CONTAINER_OF(node, struct redis_call, node));
    }
}

static void retry_later(struct redis_link *link)
{
    int64_t wait_ms = link->backoff_ms / 2 + (int64_t)random_below((uint32_t)link->backoff_ms);
    link->backoff_ms =
        link->backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : link->backoff_ms * 2;
    wheel_set(io_loop_wheel(link->setup->loop), &link->timer, mono_add_ms(mono_now(), wait_ms),
              on_retry);
}

/* The connection is gone: end all calls, tell, and try again later. */
static void after_loss(struct redis_link *link, const char *why)
{
    struct list lost;
    link->conn = NULL;
    link->state = LINK_WAITING;
    link->greeted = false;
    link->written = 0;
    if (link->reader != NULL) {
        redisReaderFree(link->reader);
        link->reader = NULL;
    }
    list_init(&lost); /* what their ends bring is not among them */
    list_append_all(&lost, &link->awaiting);
    list_append_all(&lost, &link->unsent);
    wheel_cancel(io_loop_wheel(link->setup->loop), &link->command_timer);
    wheel_cancel(io_loop_wheel(link->setup->loop), &link->timer);
    link->attempts = (link->attempts + 1) % 16;
    if (!link->freeing) {
        retry_later(link);
    }
    end_all(&lost);
    if (!link->freeing && !link->told) {
        char quoted[256];
        link->told = true;
        log_warn("redis-down", "host=%s port=%u reason=%s", place_of(link), link->port,
                 log_quote(quoted, sizeof(quoted), slice_cstr(why)));
        link->owner->down(link->owner);
    }
}

void link_give_up(struct redis_link *link, const char *why)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "%s", why);
    io_conn_free(&link->conn);
    after_loss(link, text);
}

void link_come_up(struct redis_link *link)
{
    wheel_cancel(io_loop_wheel(link->setup->loop), &link->timer);
    link->state = LINK_UP;
    link->backoff_ms = BACKOFF_LEAST_MS;
    link->attempts = 0;
    link->told = false;
    struct list *pending[] = {&link->awaiting, &link->unsent};
    for (size_t i = 0; i < ARRAY_LEN(pending); i++) {
        list_foreach (node, pending[i]) {
            CONTAINER_OF(node, struct redis_call, node)->queued = mono_now();
        }
    }
    watch_time(link);
    log_info("redis-up", "host=%s port=%u", place_of(link), link->port);
    link->owner->up(link->owner);
}

static void on_connect_timeout(struct timer *timer, struct mono_time now)
{
    struct redis_link *link = CONTAINER_OF(timer, struct redis_link, timer);
    (void)now;
    CHECK_MAGIC(link, LINK_MAGIC);
    link_give_up(link, "no connection in time");
}

static void on_command_timeout(struct timer *timer, struct mono_time now)
{
    struct redis_link *link = CONTAINER_OF(timer, struct redis_link, command_timer);
    CHECK_MAGIC(link, LINK_MAGIC);
    const struct redis_call *first = oldest(link);
    if (first == NULL) {
        return;
    }
    struct wheel *wheel = io_loop_wheel(link->setup->loop);
    struct mono_time due = mono_add_ms(first->queued, link->setup->options->command_timeout_ms);
    if (mono_before(now, due)) {
        wheel_set(wheel, timer, due, on_command_timeout);
    } else if (!link->grace && mono_since_us(now, due) > LATE_US) {
        /* The reply may be waiting in the socket: one more turn. */
        link->grace = true;
        wheel_set(wheel, timer, mono_add_ms(now, 100), on_command_timeout);
    } else {
        link->grace = false;
        link_give_up(link, "no reply in time");
    }
}

/* ---- sending ---- */

static size_t on_output(struct io_conn *conn, void *owner, struct iovec *pieces, size_t max)
{
    struct redis_link *link = owner;
    (void)conn;
    CHECK_MAGIC(link, LINK_MAGIC);
    size_t count = 0;
    size_t skip = link->written;
    if (!link->greeted) {
        return 0;
    }
    list_foreach (node, &link->unsent) {
        struct redis_call *call = CONTAINER_OF(node, struct redis_call, node);
        if (count == max) {
            break;
        }
        pieces[count++] = (struct iovec){call->bytes + skip, call->len - skip};
        skip = 0;
    }
    return count;
}

static void on_sent(struct io_conn *conn, void *owner, size_t len)
{
    struct redis_link *link = owner;
    (void)conn;
    CHECK_MAGIC(link, LINK_MAGIC);
    while (len > 0) {
        struct redis_call *first = CONTAINER_OF(link->unsent.next, struct redis_call, node);
        size_t left = first->len - link->written;
        if (len < left) {
            link->written += len;
            return;
        }
        len -= left;
        link->written = 0;
        list_remove(&first->node);
        list_push_back(&link->awaiting, &first->node);
    }
}

/* ---- connecting ---- */

static void greet(struct redis_link *link)
{
    const struct redis_options *options = link->setup->options;
    struct list steps;
    list_init(&steps);
    if (options->password != NULL) {
        const char *named[] = {"AUTH", options->user, options->password};
        const char *unnamed[] = {"AUTH", options->password};
        struct redis_call *call = options->user != NULL ? own_request(KIND_OK, 3, named)
                                                        : own_request(KIND_OK, 2, unnamed);
        list_push_back(&steps, &call->node);
    }
    if (options->database != 0) {
        char number[16];
        (void)snprintf(number, sizeof(number), "%d", options->database);
        struct redis_call *call = own_request(KIND_OK, 2, (const char *[]){"SELECT", number});
        list_push_back(&steps, &call->node);
    }
    struct redis_call *info = own_request(KIND_INFO, 2, (const char *[]){"INFO", "server"});
    list_push_back(&steps, &info->node);
    link_load_script(link, &steps);
    list_append_all(&steps, &link->unsent); /* calls that came before go behind */
    list_append_all(&link->unsent, &steps);
    link->greeted = true;
}

static void on_connected(struct io_conn *conn, void *owner)
{
    struct redis_link *link = owner;
    const struct redis_options *options = link->setup->options;
    CHECK_MAGIC(link, LINK_MAGIC);
    if (link->setup->tls == NULL) {
        greet(link);
    } else {
        io_conn_start_tls(conn, link->setup->tls,
                          options->server_name != NULL ? options->server_name : link->host,
                          options->connect_timeout_ms);
    }
}

static void on_secured(struct io_conn *conn, void *owner, bool ok, const struct fault *fault)
{
    struct redis_link *link = owner;
    (void)conn;
    (void)fault; /* closed() tells it again */
    CHECK_MAGIC(link, LINK_MAGIC);
    if (ok) {
        greet(link);
    }
}

static void on_closed(struct io_conn *conn, void *owner, const struct fault *fault)
{
    struct redis_link *link = owner;
    CHECK_MAGIC(link, LINK_MAGIC);
    CHECK(conn == link->conn);
    after_loss(link, fault->kind == FAULT_NONE ? "closed" : fault->text);
}

static void connect_now(struct redis_link *link)
{
    static const struct io_conn_ops ops = {.connected = on_connected,
                                           .input = link_take_input,
                                           .output = on_output,
                                           .sent = on_sent,
                                           .secured = on_secured,
                                           .closed = on_closed};
    const struct redis_options *options = link->setup->options;
    struct sockaddr_storage address;
    struct io_conn_connect how = {.remote = (const struct sockaddr *)&address,
                                  .timeout_ms = options->connect_timeout_ms};
    struct fault fault;
    if (link_find_address(link, &address, &how.remote_len, &fault)) {
        link->conn = io_conn_connect(link->setup->loop, &how, &ops, link, &fault);
    }
    if (link->conn == NULL) {
        after_loss(link, fault.text);
        return;
    }
    link->reader = redisReaderCreate();
    CHECK(link->reader != NULL);
    link->reloading = false;
    link->state = LINK_CONNECTING;
    wheel_set(io_loop_wheel(link->setup->loop), &link->timer,
              mono_add_ms(mono_now(), options->connect_timeout_ms), on_connect_timeout);
}

struct redis_link *redis_link_create(const struct redis_setup *setup, const char *host,
                                     uint16_t port, struct redis_link_owner *owner)
{
    struct redis_link *link = mem_zalloc(sizeof(*link));
    link->magic = LINK_MAGIC;
    link->setup = setup;
    link->owner = owner;
    link->host = host == NULL ? NULL : mem_strdup(host);
    link->port = port;
    link->backoff_ms = BACKOFF_LEAST_MS;
    link->flush.run = on_flush;
    list_init(&link->unsent);
    list_init(&link->awaiting);
    /* From the loop, so that the owner hears nothing before this has returned. */
    wheel_set(io_loop_wheel(setup->loop), &link->timer, mono_now(), on_retry);
    return link;
}

/* The loop does not run any more for us: read and write by hand for a moment. */
static void drain(struct redis_link *link, int64_t wait_ms)
{
    struct mono_time deadline = mono_add_ms(mono_now(), wait_ms);
    while (link->state == LINK_UP && oldest(link) != NULL) {
        int64_t left_ms = mono_since_us(deadline, mono_now()) / 1000;
        io_conn_flush(link->conn);
        if (left_ms <= 0 || !io_conn_turn(link->conn, left_ms)) {
            return;
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
    link_give_up(link, "freed");
    io_task_cancel(&link->flush);
    link->magic = 0;
    mem_free(link->host);
    mem_free(link);
    *handle = NULL;
}

/* ---- calls ---- */

bool redis_link_is_up(const struct redis_link *link)
{
    return link->state == LINK_UP;
}

struct slice redis_link_server(const struct redis_link *link)
{
    return slice_cstr(link->server);
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
    call->kind = KIND_CALL;
    call->sent = mono_now();
    link->call_count++;
    format(call, count + 3, argv, lengths);
    enqueue(link, call);
}

void redis_link_resend(struct redis_link *link, struct redis_call *call, bool asking)
{
    CHECK(call->kind == KIND_CALL);
    if (asking) {
        enqueue(link, own_request(KIND_OK, 1, (const char *[]){"ASKING"}));
    }
    enqueue(link, call);
}

void redis_link_ask_slots(struct redis_link *link)
{
    CHECK(link->state == LINK_UP);
    enqueue(link, own_request(KIND_SLOTS, 2, (const char *[]){"CLUSTER", "SLOTS"}));
}
