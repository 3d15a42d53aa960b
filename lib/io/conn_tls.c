/*
 * From plain text to TLS. Plain bytes that came before the handshake belong to the plain dialogue:
 * they are offered to the owner once more, and a peer that sent some which the owner does not take,
 * or a server that speaks before our ClientHello, is refused (RFC 3207 section 6 and CVE-2011-0411:
 * injected commands and replies).
 */
#include "base/mem.h"
#include "io/conn_private.h"

#include <errno.h>

static void refuse_plain(struct io_conn *conn)
{
    struct fault fault;
    fault_set(&fault, FAULT_INVALID, 0, "TLS: the peer sent plain text before the handshake");
    conn_over(conn, &fault);
}

/* False: the connection is over. */
static bool plain_is_empty(struct io_conn *conn)
{
    conn_read_kept(conn);
    if (conn->state == CONN_OPEN && conn->kept_len > 0) {
        refuse_plain(conn);
    }
    if (conn->state != CONN_OPEN || !tls_link_is_client(conn->next_tls)) {
        return conn->state == CONN_OPEN;
    }
    ssize_t got = recv(conn->fd, conn->loop->read_buffer, IO_READ_BYTES, MSG_DONTWAIT);
    if (got > 0) {
        conn->ops->input(conn, conn->owner, slice_of(conn->loop->read_buffer, (size_t)got));
        if (conn->state == CONN_OPEN) {
            refuse_plain(conn);
        }
    }
    return conn->state == CONN_OPEN;
}

void conn_tls_begin(struct io_conn *conn)
{
    if (!plain_is_empty(conn)) {
        return;
    }
    conn->tls = conn->next_tls;
    conn->next_tls = NULL;
    conn->paused = false;
    conn->resume = false;
    conn->state = CONN_HANDSHAKE;
    conn_set_timer(conn, conn->handshake_timeout_ms);
    conn_tls_step(conn);
}

static void secured(struct io_conn *conn)
{
    struct fault none;
    fault_clear(&none);
    wheel_cancel(io_loop_wheel(conn->loop), &conn->timer);
    conn->state = CONN_OPEN;
    conn->securing = false;
    if (conn->ops->secured != NULL) {
        conn->ops->secured(conn, conn->owner, true, &none);
    }
    /* The last flight may have carried the peer's first bytes. */
    if (conn_reading(conn) && tls_link_pending(conn->tls)) {
        conn_read(conn, false);
    }
}

void conn_tls_step(struct io_conn *conn)
{
    struct fault fault;
    conn->read_wants_write = false;
    switch (tls_link_handshake(conn->tls, &fault)) {
    case TLS_STEP_DONE: secured(conn); break;
    case TLS_STEP_WANT_READ: break;
    case TLS_STEP_WANT_WRITE: conn->read_wants_write = true; break;
    case TLS_STEP_CLOSED:
    case TLS_STEP_FAILED: conn_over(conn, &fault); break;
    }
}
