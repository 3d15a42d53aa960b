/*
 * See link.h. All on the loop's thread. Two lists hold what is under way, in the order in which the
 * replies come: `unsent`, from which the connection takes bytes, and `awaiting`. The connection may
 * be gone whenever a callback returns; `conn` says so.
 */
#include "redis/link.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <sys/un.h>

#define LINK_MAGIC 0x524c4e4bu
#define BACKOFF_LEAST_MS 100
#define BACKOFF_MOST_MS 2000
/* A timer that comes this late says that we were busy, not that Redis was. */
#define LATE_US 50000
#define SHA_LEN 40
#define SERVER_MAX 64
enum { MAX_REPLY = 2048 };

enum link_state { LINK_WAITING, LINK_CONNECTING, LINK_UP };

/* What a request is, by which its reply is read. All but a call are the link's own. */
enum { KIND_CALL, KIND_OK, KIND_INFO, KIND_LOAD, KIND_SLOTS };

struct redis_link {
    uint32_t magic;
    const struct redis_setup *setup;
    struct redis_link_owner *owner;
    char *host; /* NULL: the options' unix_path */
    uint16_t port;

    enum link_state state;
    struct io_conn *conn; /* NULL while waiting */
    redisReader *reader;
    bool greeted; /* bytes may go: TCP and TLS stand */
    struct list unsent, awaiting;
    size_t written; /* of the first of `unsent` */
    struct io_task flush;
    struct timer timer; /* connecting: the time limit; waiting: the next attempt */
    struct timer command_timer;
    bool grace; /* the command timer came late once */
    int64_t backoff_ms;
    unsigned attempts; /* since it was up, at most a few */
    char sha[SHA_LEN + 1];
    char server[SERVER_MAX];
    bool reloading;
    bool told; /* the owner was told that it is down */
    bool freeing;
    uint64_t call_count;
};

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

static void end_call(struct redis_call *call, const int64_t *values, size_t count)
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
    end_call(call, NULL, 0);
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

/* Ends the connection from our side. */
static void give_up(struct redis_link *link, const char *why)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "%s", why); /* it may lie in what is freed here */
    io_conn_free(&link->conn);
    after_loss(link, text);
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
        give_up(link, "no reply in time");
    }
}

/* ---- replies ---- */

static void load_script(struct redis_link *link, struct list *to)
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

static void take_values(struct redis_call *call, const redisReply *reply)
{
    int64_t values[MAX_REPLY];
    for (size_t i = 0; i < reply->elements; i++) {
        values[i] = reply->element[i]->integer;
    }
    end_call(call, values, reply->elements);
}

static void take_error(struct redis_link *link, struct redis_call *call, const redisReply *reply)
{
    struct redis_place place;
    enum redis_astray why = link->setup->options->cluster
                                ? redis_astray_parse(slice_of(reply->str, reply->len), &place)
                                : REDIS_ASTRAY_NOT;
    if (why != REDIS_ASTRAY_NOT) {
        link->owner->astray(link->owner, call, why, &place);
    } else if (strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        if (!link->reloading) {
            link->reloading = true;
            load_script(link, &link->unsent);
        }
        end_call(call, NULL, 0);
    } else {
        end_call(call, NULL, 0);
        give_up(link, reply->str);
    }
}

/* Which server it is, and whether it is of the kind that was told. */
static void take_info(struct redis_link *link, const redisReply *reply)
{
    struct slice info = slice_of(reply->str, reply->len);
    struct slice value;
    bool cluster = link->setup->options->cluster;
    (void)snprintf(link->server, sizeof(link->server), "-");
    if (redis_info_find(info, SLICE("run_id"), &value) && value.len > 0) {
        (void)snprintf(link->server, sizeof(link->server), "%.*s", SLICE_FMT(value));
    }
    if (redis_info_find(info, SLICE("redis_mode"), &value) &&
        slice_eq(value, SLICE("cluster")) != cluster) {
        give_up(link, cluster ? "it is not a node of a Redis Cluster"
                              : "it is a node of a Redis Cluster (redis.cluster is not true)");
    }
}

static void take_sha(struct redis_link *link, const redisReply *reply)
{
    link->reloading = false;
    if (reply->len != SHA_LEN) {
        give_up(link, "SCRIPT LOAD: not a hash");
        return;
    }
    memcpy(link->sha, reply->str, SHA_LEN);
    if (link->state != LINK_CONNECTING) {
        return;
    }
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

/* A reply to a request of the link's own; its memory is gone already. */
static void take_own(struct redis_link *link, int kind, const redisReply *reply)
{
    static const int types[] = {[KIND_OK] = REDIS_REPLY_STATUS,
                                [KIND_INFO] = REDIS_REPLY_STRING,
                                [KIND_LOAD] = REDIS_REPLY_STRING,
                                [KIND_SLOTS] = REDIS_REPLY_ARRAY};
    if (reply->type != types[kind]) {
        give_up(link, reply->type == REDIS_REPLY_ERROR ? reply->str : "a reply of unknown form");
    } else if (kind == KIND_INFO) {
        take_info(link, reply);
    } else if (kind == KIND_LOAD) {
        take_sha(link, reply);
    } else if (kind == KIND_SLOTS) {
        link->owner->slots(link->owner, reply);
    }
}

static void take_reply(struct redis_link *link, const redisReply *reply)
{
    struct list *node = list_pop_front(&link->awaiting);
    if (node == NULL) {
        /* "max number of clients reached", before we said anything */
        give_up(link, reply->type == REDIS_REPLY_ERROR ? reply->str : "a reply to nothing");
        return;
    }
    struct redis_call *call = CONTAINER_OF(node, struct redis_call, node);
    link->grace = false;
    if (call->kind != KIND_CALL) {
        int kind = call->kind;
        end_call(call, NULL, 0);
        take_own(link, kind, reply);
    } else if (all_integers(reply)) {
        take_values(call, reply);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        take_error(link, call, reply);
    } else {
        end_call(call, NULL, 0);
        give_up(link, "a reply of unknown form");
    }
}

static size_t on_input(struct io_conn *conn, void *owner, struct slice bytes)
{
    struct redis_link *link = owner;
    CHECK_MAGIC(link, LINK_MAGIC);
    (void)redisReaderFeed(link->reader, bytes.ptr, bytes.len);
    while (link->conn == conn) {
        void *reply = NULL;
        if (redisReaderGetReply(link->reader, &reply) != REDIS_OK) {
            give_up(link, link->reader->errstr);
        } else if (reply == NULL) {
            break;
        } else {
            take_reply(link, reply);
            freeReplyObject(reply);
        }
    }
    return bytes.len;
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
    load_script(link, &steps);
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

static bool unix_address(const char *path, struct sockaddr_storage *address, socklen_t *len)
{
    struct sockaddr_un *local = (struct sockaddr_un *)address;
    *local = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(local->sun_path)) {
        return false;
    }
    memcpy(local->sun_path, path, strlen(path) + 1);
    *len = sizeof(*local);
    return true;
}

/* IPv4 if there is such an address; of several each attempt takes the next one. */
static int look_up(const struct redis_link *link, struct sockaddr_storage *address, socklen_t *len)
{
    char port[8];
    struct addrinfo *found = NULL;
    struct addrinfo hints = {
        .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    (void)snprintf(port, sizeof(port), "%u", link->port);
    if (getaddrinfo(link->host, port, &hints, &found) != 0) {
        hints.ai_family = AF_INET6;
        int error = getaddrinfo(link->host, port, &hints, &found);
        if (error != 0) {
            return error;
        }
    }
    const struct addrinfo *one = found;
    for (unsigned i = 0; i < link->attempts; i++) {
        one = one->ai_next != NULL ? one->ai_next : found;
    }
    memcpy(address, one->ai_addr, one->ai_addrlen);
    *len = one->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

/* An address as it is, a name by the system's resolver, which blocks. */
static bool find_address(const struct redis_link *link, struct sockaddr_storage *address,
                         socklen_t *len, struct fault *fault)
{
    if (link->host == NULL) {
        return unix_address(link->setup->options->unix_path, address, len) ||
               fault_set(fault, FAULT_INVALID, 0, "the path is too long");
    }
    int error = look_up(link, address, len);
    return error == 0 ||
           fault_set(fault, FAULT_TEMPORARY, error, "%s: %s", link->host, gai_strerror(error));
}

static void connect_now(struct redis_link *link)
{
    static const struct io_conn_ops ops = {.connected = on_connected,
                                           .input = on_input,
                                           .output = on_output,
                                           .sent = on_sent,
                                           .secured = on_secured,
                                           .closed = on_closed};
    const struct redis_options *options = link->setup->options;
    struct sockaddr_storage address;
    struct io_conn_connect how = {.remote = (const struct sockaddr *)&address,
                                  .timeout_ms = options->connect_timeout_ms};
    struct fault fault;
    if (find_address(link, &address, &how.remote_len, &fault)) {
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
    give_up(link, "freed");
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
