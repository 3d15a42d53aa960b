/*
 * The orderly end: close_notify, our end of stream, closed(). The socket then stays for a moment
 * without an owner until the peer has ended too, because closing it with unread input resets the
 * link, and a reset may destroy our last reply on its way.
 */
#include "io/conn_private.h"

#include <errno.h>

#define LINGER_TIMEOUT_MS 2000
/* Reads of what nobody wants, per readiness. */
#define LINGER_ROUNDS 4

void conn_finish_link(struct io_conn *conn)
{
    struct fault none;
    if (conn->tls != NULL) {
        enum tls_step step = tls_link_close(conn->tls);
        if (step == TLS_STEP_WANT_WRITE) {
            conn->write_blocked = true;
            return;
        }
    }
    wheel_cancel(io_loop_wheel(conn->loop), &conn->timer);
    shutdown(conn->fd, SHUT_WR);
    fault_clear(&none);
    conn->state = CONN_OVER;
    conn->ops->closed(conn, conn->owner, &none);
    if (conn->state == CONN_GONE) {
        return;
    }
    if (conn->peer_ended) {
        conn_destroy(conn);
        return;
    }
    conn->state = CONN_LINGER;
    conn->owner = NULL;
    io_task_cancel(&conn->task);
    list_push_back(&conn->loop->lingering, &conn->linger_node);
    conn_set_timer(conn, LINGER_TIMEOUT_MS);
    conn_linger(conn);
}

void conn_linger(struct io_conn *conn)
{
    for (int round = 0; round < LINGER_ROUNDS; round++) {
        ssize_t got = recv(conn->fd, conn->loop->read_buffer, IO_READ_BYTES, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            conn_destroy(conn);
            return;
        }
        if (got < (ssize_t)IO_READ_BYTES) {
            return;
        }
    }
}
