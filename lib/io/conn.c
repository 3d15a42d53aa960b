#include "io/conn.h"

#include "base/mem.h"
#include "io/conn_private.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

/* Without any progress of the last output. */
#define FINISH_TIMEOUT_MS 30000

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_task(struct io_task *task);
static void on_timer(struct timer *timer, struct mono_time now);

struct io_conn *conn_create(struct io_loop *loop, int fd, enum conn_state state,
                            const struct sockaddr *remote, socklen_t remote_len,
                            struct fault *fault)
{
    struct io_conn *conn = mem_zalloc(sizeof(*conn));
    int on = 1;
    CHECK(remote_len <= sizeof(conn->remote));
    int result = uv_poll_init(io_loop_uv(loop), &conn->poll, fd);
    if (result != 0) {
        mem_free(conn);
        close(fd);
        io_fault_uv(fault, result, "cannot watch the socket");
        return NULL;
    }
    /* Whole pieces are written at the end of an event, so there is nothing to wait for. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    conn->magic = CONN_MAGIC;
    conn->state = state;
    conn->fd = fd;
    conn->loop = loop;
    conn->task.run = on_task;
    conn->remote_len = remote_len;
    memcpy(&conn->remote, remote, remote_len);
    return conn;
}

static void on_closed(uv_handle_t *handle)
{
    struct io_conn *conn = CONTAINER_OF((uv_poll_t *)handle, struct io_conn, poll);
    CHECK_MAGIC(conn, CONN_MAGIC);
    conn->magic = 0;
    mem_free(conn);
}

void conn_destroy(struct io_conn *conn)
{
    if (conn->state == CONN_GONE) {
        return;
    }
    conn->state = CONN_GONE;
    wheel_cancel(io_loop_wheel(conn->loop), &conn->timer);
    io_task_cancel(&conn->task);
    list_remove(&conn->linger_node);
    tls_link_free(&conn->tls);
    tls_link_free(&conn->next_tls);
    mem_free(conn->kept);
    conn->kept = NULL;
    mem_free(conn->failure);
    conn->failure = NULL;
    uv_close((uv_handle_t *)&conn->poll, on_closed);
    close(conn->fd);
    conn->fd = -1;
    listener_release(conn);
}

void io_conn_free(struct io_conn **handle)
{
    struct io_conn *conn = *handle;
    if (conn == NULL) {
        return;
    }
    CHECK_MAGIC(conn, CONN_MAGIC);
    *handle = NULL;
    conn_destroy(conn);
}

static void tell_over(struct io_conn *conn, const struct fault *fault)
{
    conn->state = CONN_OVER;
    if (conn->securing) {
        conn->securing = false;
        if (conn->ops->secured != NULL) {
            conn->ops->secured(conn, conn->owner, false, fault);
        }
    }
    if (conn->state == CONN_OVER) {
        conn->ops->closed(conn, conn->owner, fault);
    }
    conn_destroy(conn);
}

void conn_over(struct io_conn *conn, const struct fault *fault)
{
    if (conn->state >= CONN_FAILED) {
        return;
    }
    wheel_cancel(io_loop_wheel(conn->loop), &conn->timer);
    if (conn->depth == 0) {
        conn->state = CONN_FAILED;
        conn->failure = mem_zalloc(sizeof(*conn->failure));
        *conn->failure = *fault;
        conn_arm(conn);
        io_loop_defer(conn->loop, &conn->task);
        return;
    }
    tell_over(conn, fault);
}

void conn_over_errno(struct io_conn *conn, int error, const char *what)
{
    struct fault fault;
    fault_set_errno(&fault, error, "%s", what);
    conn_over(conn, &fault);
}

void conn_arm(struct io_conn *conn)
{
    int wanted = 0;
    switch (conn->state) {
    case CONN_CONNECTING: wanted = UV_WRITABLE; break;
    case CONN_HANDSHAKE: wanted = UV_READABLE | (conn->read_wants_write ? UV_WRITABLE : 0); break;
    case CONN_OPEN:
        wanted =
            (conn_reading(conn) || conn->write_wants_read) && !conn->peer_ended ? UV_READABLE : 0;
        if ((conn->write_blocked && !conn->write_wants_read) || conn->read_wants_write) {
            wanted |= UV_WRITABLE;
        }
        break;
    case CONN_LINGER: wanted = UV_READABLE; break;
    case CONN_FAILED:
    case CONN_OVER: break;
    case CONN_GONE: return;
    }
    if (wanted == conn->armed) {
        return;
    }
    conn->armed = wanted;
    if (wanted == 0) {
        uv_poll_stop(&conn->poll);
    } else {
        CHECK(uv_poll_start(&conn->poll, wanted, on_poll) == 0);
    }
}

void conn_set_timer(struct io_conn *conn, int64_t timeout_ms)
{
    wheel_set(io_loop_wheel(conn->loop), &conn->timer, mono_add_ms(mono_now(), timeout_ms),
              on_timer);
}

static bool drained(const struct io_conn *conn)
{
    return conn->state == CONN_OPEN && !conn->write_blocked && !conn->write_more;
}

void conn_settle(struct io_conn *conn)
{
    if (conn->state == CONN_OPEN) {
        conn_write(conn);
    }
    if (drained(conn) && conn->next_tls != NULL) {
        conn_tls_begin(conn);
        if (conn->state == CONN_OPEN) {
            conn_write(conn); /* a resumed handshake with a quick server is over already */
        }
    }
    if (drained(conn) && conn->finishing) {
        conn_finish_link(conn);
    }
    if (conn->state == CONN_OPEN && conn->finishing && !timer_is_set(&conn->timer)) {
        conn_set_timer(conn, FINISH_TIMEOUT_MS);
    }
    if (conn->write_more || conn->read_more) {
        io_loop_defer(conn->loop, &conn->task);
    }
    conn_arm(conn);
}

static void established(struct io_conn *conn)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    if (error != 0) {
        conn_over_errno(conn, error, "connect");
        return;
    }
    wheel_cancel(io_loop_wheel(conn->loop), &conn->timer);
    conn->state = CONN_OPEN;
    if (conn->ops->connected != NULL) {
        conn->ops->connected(conn, conn->owner);
    }
}

/* The stream is open and ready for something. `broken`: libuv saw an error condition. */
static void on_ready(struct io_conn *conn, int events, bool broken)
{
    bool readable = (events & UV_READABLE) != 0;
    bool writable = (events & UV_WRITABLE) != 0;
    if (writable || (readable && conn->write_wants_read)) {
        conn->write_blocked = false;
        conn->write_wants_read = false;
    }
    if ((readable || (writable && conn->read_wants_write)) && conn_reading(conn)) {
        conn_read(conn, broken);
    }
    if (broken && conn->state == CONN_OPEN && !conn->paused) {
        int error = 0;
        socklen_t len = sizeof(error);
        if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0) {
            conn_over_errno(conn, error, "connection");
        }
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct io_conn *conn = CONTAINER_OF(poll, struct io_conn, poll);
    CHECK_MAGIC(conn, CONN_MAGIC);
    io_loop_wake(conn->loop);
    bool broken = status < 0;
    if (broken) {
        conn->armed = 0;
        events = UV_READABLE | UV_WRITABLE;
    }
    conn->depth++;
    switch (conn->state) {
    case CONN_CONNECTING: established(conn); break;
    case CONN_HANDSHAKE: conn_tls_step(conn); break;
    case CONN_OPEN: on_ready(conn, events, broken); break;
    case CONN_LINGER: conn_linger(conn); break;
    case CONN_FAILED:
    case CONN_OVER:
    case CONN_GONE: break;
    }
    conn_settle(conn);
    conn->depth--;
}

bool io_conn_turn(struct io_conn *conn, int64_t wait_ms)
{
    CHECK_MAGIC(conn, CONN_MAGIC);
    CHECK(conn->depth == 0);
    if (list_linked(&conn->task.node)) {
        io_task_cancel(&conn->task);
        on_task(&conn->task);
        return true;
    }
    struct pollfd wait = {.fd = conn->fd};
    wait.events |= (conn->armed & UV_READABLE) != 0 ? POLLIN : 0;
    wait.events |= (conn->armed & UV_WRITABLE) != 0 ? POLLOUT : 0;
    if (conn->state >= CONN_FAILED || poll(&wait, 1, (int)wait_ms) <= 0) {
        return false;
    }
    bool failed = (wait.revents & (POLLHUP | POLLERR)) != 0;
    int events = (failed || (wait.revents & POLLIN) != 0 ? UV_READABLE : 0) |
                 (failed || (wait.revents & POLLOUT) != 0 ? UV_WRITABLE : 0);
    on_poll(&conn->poll, 0, events & conn->armed);
    return true;
}

static void on_task(struct io_task *task)
{
    struct io_conn *conn = CONTAINER_OF(task, struct io_conn, task);
    CHECK_MAGIC(conn, CONN_MAGIC);
    conn->depth++;
    if (conn->state == CONN_FAILED) {
        struct fault fault = *conn->failure;
        tell_over(conn, &fault);
    } else if (conn->state == CONN_OPEN) {
        bool read_on = conn->read_more;
        if (conn->resume) {
            conn->resume = false;
            conn->paused = false;
            conn_read_kept(conn);
            read_on |= conn->tls != NULL && tls_link_pending(conn->tls);
        }
        conn->read_more = false;
        if (read_on && conn_reading(conn)) {
            conn_read(conn, false);
        }
    }
    conn_settle(conn);
    conn->depth--;
}

static void on_timer(struct timer *timer, struct mono_time now)
{
    (void)now;
    struct io_conn *conn = CONTAINER_OF(timer, struct io_conn, timer);
    struct fault fault;
    CHECK_MAGIC(conn, CONN_MAGIC);
    conn->depth++;
    switch (conn->state) {
    case CONN_CONNECTING:
        fault_set(&fault, FAULT_TIMEOUT, ETIMEDOUT, "connect: no answer in time");
        conn_over(conn, &fault);
        break;
    case CONN_HANDSHAKE:
        fault_set(&fault, FAULT_TIMEOUT, ETIMEDOUT, "TLS handshake: not finished in time");
        conn_over(conn, &fault);
        break;
    case CONN_OPEN:
        fault_set(&fault, FAULT_TIMEOUT, ETIMEDOUT, "the peer does not take the last bytes");
        conn_over(conn, &fault);
        break;
    case CONN_LINGER: conn_destroy(conn); break;
    case CONN_FAILED:
    case CONN_OVER:
    case CONN_GONE: break;
    }
    conn->depth--;
}

/* Only what the machine itself lacks; what the network says is told by closed(). */
static bool fails_at_once(int error)
{
    return error != EINPROGRESS && error != ECONNREFUSED && error != ENETUNREACH &&
           error != EHOSTUNREACH && error != ETIMEDOUT && error != ECONNRESET && error != EACCES &&
           error != EPERM;
}

static bool bind_local(int fd, const struct io_conn_connect *how, struct fault *fault)
{
    char text[IO_ADDRESS_TEXT_MAX];
    int on = 1;
    if (how->local == NULL) {
        return true;
    }
    if (io_address_port(how->local) == 0) {
        /* The port is chosen by connect(2), per remote address; where the kernel cannot, bind(2)
         * chooses. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    }
    return bind(fd, how->local, how->local_len) == 0 ||
           fault_set_errno(fault, errno, "local address %s",
                           io_address_format(how->local, text).ptr);
}

struct io_conn *io_conn_connect(struct io_loop *loop, const struct io_conn_connect *how,
                                const struct io_conn_ops *ops, void *owner, struct fault *fault)
{
    char text[IO_ADDRESS_TEXT_MAX];
    CHECK(ops->input != NULL && ops->closed != NULL);
    int fd = socket(how->remote->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fault_set_errno(fault, errno, "socket");
        return NULL;
    }
    if (!bind_local(fd, how, fault)) {
        close(fd);
        return NULL;
    }
    int error = connect(fd, how->remote, how->remote_len) == 0 ? 0 : errno;
    if (error != 0 && fails_at_once(error)) {
        fault_set_errno(fault, error, "connect to %s", io_address_format(how->remote, text).ptr);
        close(fd);
        return NULL;
    }
    struct io_conn *conn =
        conn_create(loop, fd, CONN_CONNECTING, how->remote, how->remote_len, fault);
    if (conn == NULL) {
        return NULL;
    }
    conn->ops = ops;
    conn->owner = owner;
    if (error != 0 && error != EINPROGRESS) {
        conn_over_errno(conn, error, "connect");
        return conn;
    }
    conn_set_timer(conn, how->timeout_ms);
    conn_arm(conn);
    return conn;
}

void io_conn_set_owner(struct io_conn *conn, const struct io_conn_ops *ops, void *owner)
{
    CHECK_MAGIC(conn, CONN_MAGIC);
    CHECK(ops->input != NULL && ops->closed != NULL);
    conn->ops = ops;
    conn->owner = owner;
}

void io_conn_flush(struct io_conn *conn)
{
    CHECK_MAGIC(conn, CONN_MAGIC);
    if (conn->depth == 0 && conn->state == CONN_OPEN && !conn->write_more) {
        conn_write(conn);
        if (conn->write_more) {
            io_loop_defer(conn->loop, &conn->task);
        }
        conn_arm(conn);
    }
}

void io_conn_finish(struct io_conn *conn)
{
    CHECK_MAGIC(conn, CONN_MAGIC);
    conn->finishing = true;
    if (conn->state < CONN_FAILED && conn->depth == 0) {
        io_loop_defer(conn->loop, &conn->task);
    }
}

void io_conn_resume(struct io_conn *conn)
{
    CHECK_MAGIC(conn, CONN_MAGIC);
    if (conn->state < CONN_FAILED) {
        conn->resume = true;
        io_loop_defer(conn->loop, &conn->task);
    }
}

void io_conn_start_tls(struct io_conn *conn, struct tls_context *context, const char *server_name,
                       int64_t timeout_ms)
{
    struct fault fault;
    CHECK_MAGIC(conn, CONN_MAGIC);
    CHECK(conn->tls == NULL && conn->next_tls == NULL);
    if (conn->state >= CONN_FAILED) {
        return;
    }
    conn->securing = true;
    conn->handshake_timeout_ms = timeout_ms;
    conn->next_tls = tls_link_create(context, conn->fd, server_name, &conn->remote.any,
                                     conn->remote_len, &fault);
    if (conn->next_tls == NULL) {
        unsigned depth = conn->depth;
        conn->depth = 0; /* never closed() from inside this call */
        conn_over(conn, &fault);
        conn->depth = depth;
    } else if (conn->depth == 0) {
        io_loop_defer(conn->loop, &conn->task);
    }
}

bool io_conn_facts(const struct io_conn *conn, struct tls_facts *facts)
{
    CHECK_MAGIC(conn, CONN_MAGIC);
    if (conn->tls != NULL) {
        return tls_link_facts(conn->tls, facts);
    }
    memset(facts, 0, sizeof(*facts));
    return false;
}

bool io_conn_local(const struct io_conn *conn, struct sockaddr_storage *address)
{
    socklen_t len = sizeof(*address);
    CHECK_MAGIC(conn, CONN_MAGIC);
    return conn->fd >= 0 && getsockname(conn->fd, (struct sockaddr *)address, &len) == 0;
}

bool io_conn_remote(const struct io_conn *conn, struct sockaddr_storage *address)
{
    CHECK_MAGIC(conn, CONN_MAGIC);
    memset(address, 0, sizeof(*address));
    memcpy(address, &conn->remote, conn->remote_len);
    return true;
}
