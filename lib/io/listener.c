/*
 * Listening sockets. While the bound of connections is reached the descriptor is not watched, and
 * the kernel's queue holds who waits. Without descriptors left (EMFILE, ENFILE) accepting rests for
 * a while instead of spinning.
 */
#include "base/log.h"
#include "base/mem.h"
#include "io/conn_private.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTENER_MAGIC 0x4c53544eu
#define ACCEPT_ROUNDS 16
#define REST_MS 100
#define BACKLOG_MIN 16

struct io_listener {
    uint32_t magic;
    int fd;
    struct io_loop *loop;
    uv_poll_t poll;
    bool armed;
    struct timer rest; /* set: no descriptors, accepting rests */
    uint32_t max_connections;
    uint32_t count;
    struct list conns; /* those that count against the bound */
    io_accept_callback accepted;
    void *owner;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void listener_arm(struct io_listener *listener)
{
    bool full = listener->max_connections != 0 && listener->count >= listener->max_connections;
    bool wanted = !full && !timer_is_set(&listener->rest);
    if (wanted == listener->armed) {
        return;
    }
    listener->armed = wanted;
    if (wanted) {
        CHECK(uv_poll_start(&listener->poll, UV_READABLE, on_poll) == 0);
    } else {
        uv_poll_stop(&listener->poll);
    }
}

static void on_rested(struct timer *timer, struct mono_time now)
{
    (void)now;
    struct io_listener *listener = CONTAINER_OF(timer, struct io_listener, rest);
    CHECK_MAGIC(listener, LISTENER_MAGIC);
    listener_arm(listener);
}

void listener_release(struct io_conn *conn)
{
    struct io_listener *listener = conn->listener;
    if (listener == NULL) {
        return;
    }
    CHECK_MAGIC(listener, LISTENER_MAGIC);
    conn->listener = NULL;
    list_remove(&conn->listener_node);
    listener->count--;
    listener_arm(listener);
}

/* False: the listener was freed by its owner. */
static bool hand_over(struct io_listener *listener, int fd, const struct sockaddr_storage *remote,
                      socklen_t remote_len)
{
    struct fault fault;
    struct io_conn *conn = conn_create(listener->loop, fd, CONN_OPEN,
                                       (const struct sockaddr *)remote, remote_len, &fault);
    if (conn == NULL) {
        log_warn("accept-failed", "reason=\"%s\"", fault.text);
        return true;
    }
    conn->listener = listener;
    list_push_back(&listener->conns, &conn->listener_node);
    listener->count++;
    conn->depth++;
    listener->accepted(listener, listener->owner, conn);
    if (conn->ops == NULL) {
        conn_destroy(conn);
    } else {
        conn_settle(conn);
    }
    conn->depth--;
    return listener->fd >= 0;
}

static void accept_failed(struct io_listener *listener, int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED: return;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    default: break;
    }
    char reason[64];
    log_warn("accept-failed", "rest_ms=%d reason=\"%s\"", REST_MS,
             strerror_r(error, reason, sizeof(reason)));
    wheel_set(io_loop_wheel(listener->loop), &listener->rest, mono_add_ms(mono_now(), REST_MS),
              on_rested);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct io_listener *listener = CONTAINER_OF(poll, struct io_listener, poll);
    CHECK_MAGIC(listener, LISTENER_MAGIC);
    io_loop_wake(listener->loop);
    if (status < 0) {
        listener->armed = false;
    }
    for (int round = 0; round < ACCEPT_ROUNDS; round++) {
        struct sockaddr_storage remote;
        socklen_t len = sizeof(remote);
        if (listener->max_connections != 0 && listener->count >= listener->max_connections) {
            break;
        }
        int fd =
            accept4(listener->fd, (struct sockaddr *)&remote, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            accept_failed(listener, errno);
            break;
        }
        if (!hand_over(listener, fd, &remote, len)) {
            return;
        }
    }
    listener_arm(listener);
}

static int open_socket(const struct io_listener_options *options, struct fault *fault)
{
    char text[IO_ADDRESS_TEXT_MAX];
    int on = 1;
    int backlog = SOMAXCONN;
    if (options->max_connections != 0 && options->max_connections < SOMAXCONN) {
        backlog =
            options->max_connections < BACKLOG_MIN ? BACKLOG_MIN : (int)options->max_connections;
    }
    int fd = socket(options->local->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fault_set_errno(fault, errno, "socket");
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (options->local->sa_family == AF_INET6) {
        /* So that 0.0.0.0 and [::] can both be listened on with one port. */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (options->local->sa_family == AF_UNIX) {
        (void)fchmod(fd, 0660); /* Linux makes the file with this mode, less the umask */
    }
    if ((options->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        bind(fd, options->local, options->local_len) != 0 || listen(fd, backlog) != 0) {
        fault_set_errno(fault, errno, "listen on %s port %u",
                        io_address_format(options->local, text).ptr,
                        io_address_port(options->local));
        close(fd);
        return -1;
    }
    return fd;
}

struct io_listener *io_listen(struct io_loop *loop, const struct io_listener_options *options,
                              io_accept_callback accepted, void *owner, struct fault *fault)
{
    int fd = open_socket(options, fault);
    if (fd < 0) {
        return NULL;
    }
    struct io_listener *listener = mem_zalloc(sizeof(*listener));
    int result = uv_poll_init(io_loop_uv(loop), &listener->poll, fd);
    if (result != 0) {
        mem_free(listener);
        close(fd);
        io_fault_uv(fault, result, "cannot watch the socket");
        return NULL;
    }
    listener->magic = LISTENER_MAGIC;
    listener->fd = fd;
    listener->loop = loop;
    listener->max_connections = options->max_connections;
    listener->accepted = accepted;
    listener->owner = owner;
    list_init(&listener->conns);
    listener_arm(listener);
    return listener;
}

static void on_closed(uv_handle_t *handle)
{
    struct io_listener *listener = CONTAINER_OF((uv_poll_t *)handle, struct io_listener, poll);
    CHECK_MAGIC(listener, LISTENER_MAGIC);
    listener->magic = 0;
    mem_free(listener);
}

void io_listener_free(struct io_listener **handle)
{
    struct io_listener *listener = *handle;
    struct list *node;
    if (listener == NULL) {
        return;
    }
    CHECK_MAGIC(listener, LISTENER_MAGIC);
    *handle = NULL;
    while ((node = list_pop_front(&listener->conns)) != NULL) {
        CONTAINER_OF(node, struct io_conn, listener_node)->listener = NULL;
    }
    wheel_cancel(io_loop_wheel(listener->loop), &listener->rest);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    close(listener->fd);
    listener->fd = -1;
}

bool io_listener_local(const struct io_listener *listener, struct sockaddr_storage *address)
{
    socklen_t len = sizeof(*address);
    CHECK_MAGIC(listener, LISTENER_MAGIC);
    return getsockname(listener->fd, (struct sockaddr *)address, &len) == 0;
}
