/*
 * The connection's bytes. Reading: one read(2) per readiness into the loop's buffer, more only when
 * that was filled. Writing: the owner's pieces go to sendmsg(2) as they are; under TLS small pieces
 * are gathered in the loop's scratch buffer for one record, a piece of a record's size or more is
 * encrypted where it lies. Nothing that was not sent is remembered here: the owner is asked for it
 * again.
 */
#include "base/mem.h"
#include "io/conn_private.h"

#include <errno.h>

/* One connection's share of a turn. */
#define READ_ROUNDS 4
#define WRITE_ROUNDS 32
#define PIECES_MAX 64

bool conn_reading(const struct io_conn *conn)
{
    return conn->state == CONN_OPEN && !conn->paused && !conn->peer_ended && conn->next_tls == NULL;
}

static void stream_ended(struct io_conn *conn)
{
    if (conn->finishing) {
        conn->peer_ended = true; /* it may still read what is left to write */
        return;
    }
    struct fault fault;
    fault_set(&fault, FAULT_CLOSED, 0, "closed by the peer");
    conn_over(conn, &fault);
}

static size_t offer(struct io_conn *conn, struct slice bytes)
{
    if (conn->finishing) {
        return bytes.len; /* nobody waits for them any more */
    }
    size_t taken = conn->ops->input(conn, conn->owner, bytes);
    CHECK(taken <= bytes.len);
    return taken;
}

static void keep(struct io_conn *conn, struct slice rest)
{
    CHECK(conn->kept_len == 0 && rest.ptr != NULL);
    conn->paused = true;
    mem_free(conn->kept);
    conn->kept = mem_try_alloc(rest.len);
    if (conn->kept == NULL) {
        conn_over_errno(conn, ENOMEM, "input that its owner left");
        return;
    }
    memcpy(conn->kept, rest.ptr, rest.len);
    conn->kept_at = 0;
    conn->kept_len = rest.len;
}

static void deliver(struct io_conn *conn, struct slice bytes)
{
    size_t taken = offer(conn, bytes);
    if (conn->state < CONN_FAILED && taken < bytes.len) {
        keep(conn, slice_skip(bytes, taken));
    }
}

void conn_read_kept(struct io_conn *conn)
{
    if (conn->kept_len == 0) {
        return;
    }
    size_t taken = offer(conn, slice_of(conn->kept + conn->kept_at, conn->kept_len));
    if (conn->state >= CONN_FAILED) {
        return;
    }
    conn->kept_at += taken;
    conn->kept_len -= taken;
    if (conn->kept_len > 0) {
        conn->paused = true;
        return;
    }
    mem_free(conn->kept);
    conn->kept = NULL;
}

static void read_plain(struct io_conn *conn, bool all)
{
    for (int round = 0; all || round < READ_ROUNDS; round++) {
        ssize_t got = recv(conn->fd, conn->loop->read_buffer, IO_READ_BYTES, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            if (errno != EAGAIN) {
                conn_over_errno(conn, errno, "read");
            }
            return;
        }
        if (got == 0) {
            stream_ended(conn);
            return;
        }
        deliver(conn, slice_of(conn->loop->read_buffer, (size_t)got));
        if (!conn_reading(conn) || (!all && (size_t)got < IO_READ_BYTES)) {
            return;
        }
    }
}

/* Fills the loop's buffer with as many records as are there. */
static enum tls_step read_records(struct io_conn *conn, size_t *len, struct fault *fault)
{
    enum tls_step step = TLS_STEP_DONE;
    do {
        size_t got;
        step = tls_link_read(conn->tls, conn->loop->read_buffer + *len, IO_READ_BYTES - *len, &got,
                             fault);
        *len += got;
    } while (step == TLS_STEP_DONE && *len < IO_READ_BYTES && tls_link_pending(conn->tls));
    return step;
}

static void read_tls(struct io_conn *conn, bool all)
{
    struct fault fault;
    conn->read_wants_write = false;
    for (int round = 0; all || round < READ_ROUNDS; round++) {
        size_t len = 0;
        enum tls_step step = read_records(conn, &len, &fault);
        if (len > 0) {
            deliver(conn, slice_of(conn->loop->read_buffer, len));
        }
        if (conn->state != CONN_OPEN) {
            return;
        }
        switch (step) {
        case TLS_STEP_DONE: break;
        case TLS_STEP_WANT_READ: return;
        case TLS_STEP_WANT_WRITE: conn->read_wants_write = true; return;
        case TLS_STEP_CLOSED: stream_ended(conn); return;
        case TLS_STEP_FAILED: conn_over(conn, &fault); return;
        }
        if (!conn_reading(conn) || (!all && !tls_link_pending(conn->tls))) {
            return;
        }
    }
    conn->read_more = tls_link_pending(conn->tls);
}

void conn_read(struct io_conn *conn, bool all)
{
    if (conn->tls == NULL) {
        read_plain(conn, all);
    } else {
        read_tls(conn, all);
    }
}

static size_t pieces_len(const struct iovec *pieces, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += pieces[i].iov_len;
    }
    return len;
}

/* False: stop for now. */
static bool send_plain(struct io_conn *conn, struct iovec *pieces, size_t count, size_t *sent)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t result;
    do {
        result = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    if (result < 0) {
        if (errno == EAGAIN) {
            conn->write_blocked = true;
        } else {
            conn_over_errno(conn, errno, "write");
        }
        return false;
    }
    *sent = (size_t)result;
    conn->write_blocked = *sent < pieces_len(pieces, count);
    return true;
}

/* The bytes of the next record: in place when the first piece alone suffices. */
static struct slice gather(struct io_conn *conn, const struct iovec *pieces, size_t count)
{
    char *scratch = conn->loop->scratch;
    size_t len = 0;
    if (pieces[0].iov_len >= IO_SCRATCH_BYTES || count == 1) {
        return slice_head(slice_of(pieces[0].iov_base, pieces[0].iov_len), IO_SCRATCH_BYTES);
    }
    for (size_t i = 0; i < count && len < IO_SCRATCH_BYTES; i++) {
        size_t room = IO_SCRATCH_BYTES - len;
        size_t part = pieces[i].iov_len < room ? pieces[i].iov_len : room;
        if (part > 0) {
            memcpy(scratch + len, pieces[i].iov_base, part);
        }
        len += part;
    }
    return slice_of(scratch, len);
}

static bool send_tls(struct io_conn *conn, const struct iovec *pieces, size_t count, size_t *sent)
{
    struct fault fault;
    struct slice record = gather(conn, pieces, count);
    size_t retry_len = tls_link_retry_len(conn->tls);
    if (record.len < retry_len) {
        fault_set(&fault, FAULT_FATAL, 0, "TLS write: the output changed before it was sent");
        conn_over(conn, &fault);
        return false;
    }
    if (retry_len > 0) {
        record.len = retry_len;
    }
    switch (tls_link_write(conn->tls, record.ptr, record.len, sent, &fault)) {
    case TLS_STEP_DONE: return true;
    case TLS_STEP_WANT_WRITE: conn->write_blocked = true; return false;
    case TLS_STEP_WANT_READ:
        conn->write_blocked = true;
        conn->write_wants_read = true;
        return false;
    case TLS_STEP_CLOSED:
    case TLS_STEP_FAILED: conn_over(conn, &fault); return false;
    }
    return false;
}

static void write_pieces(struct io_conn *conn)
{
    struct iovec pieces[PIECES_MAX];
    for (int round = 0; round < WRITE_ROUNDS; round++) {
        size_t sent = 0;
        size_t count = conn->ops->output(conn, conn->owner, pieces, PIECES_MAX);
        if (conn->state != CONN_OPEN || count == 0) {
            return;
        }
        CHECK(count <= PIECES_MAX && pieces_len(pieces, count) > 0);
        bool more = conn->tls == NULL ? send_plain(conn, pieces, count, &sent)
                                      : send_tls(conn, pieces, count, &sent);
        if (!more) {
            return;
        }
        if (conn->finishing) {
            wheel_cancel(io_loop_wheel(conn->loop), &conn->timer);
        }
        if (conn->ops->sent != NULL) {
            conn->ops->sent(conn, conn->owner, sent);
        }
        if (conn->state != CONN_OPEN || conn->write_blocked) {
            return;
        }
    }
    conn->write_more = true;
}

void conn_write(struct io_conn *conn)
{
    conn->write_more = false;
    if (conn->write_blocked || conn->writing || conn->ops->output == NULL) {
        return;
    }
    conn->writing = true;
    write_pieces(conn);
    conn->writing = false;
}
