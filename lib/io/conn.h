/*
 * A TCP connection (or one to a socket in the file system), with or without TLS, on a loop. Pull
 * model: the connection asks its owner for what is to be written, so that a protocol engine's
 * pieces (iovec) go to the kernel without a copy, and partial writes leave nothing behind here.
 *
 * The owner embeds callbacks by `const struct io_conn_ops *`. Callbacks never run inside the call
 * that starts the work, except that io_conn_flush() may call output() and sent(). After closed()
 * the connection is gone: exactly one closed() per connection unless the owner freed it before
 * (io_conn_free() then suppresses every further callback). A callback may call io_conn_free().
 *
 * At the end of each event of a connection output() is asked by itself, so that an owner that
 * answers from input() needs no io_conn_flush(), and many calls of an engine cost one write.
 * Everything runs on the loop's thread.
 */
#ifndef SLUICE_IO_CONN_H
#define SLUICE_IO_CONN_H

#include "io/loop.h"
#include "io/tls.h"

#include <sys/socket.h>
#include <sys/uio.h>

struct io_conn;

/* input and closed must be there; the others may be NULL. */
struct io_conn_ops {
    void (*connected)(struct io_conn *conn, void *owner);
    /* Bytes arrived (in a buffer of the loop, valid during the call). Returns how many were taken;
     * fewer than all pauses reading, the rest is kept (bounded by the read size) and offered again
     * after io_conn_resume(). */
    size_t (*input)(struct io_conn *conn, void *owner, struct slice bytes);
    /* Pieces to write now, at most `max`, together at least one byte; 0: nothing. What was given
     * once is given again, first and unchanged, until sent() has taken it (TLS may have encrypted
     * it already). */
    size_t (*output)(struct io_conn *conn, void *owner, struct iovec *pieces, size_t max);
    void (*sent)(struct io_conn *conn, void *owner, size_t len);
    /* Once per io_conn_start_tls(): the handshake is over; on failure closed() follows with the
     * same fault (FAULT_REFUSED: certificate, FAULT_TIMEOUT, FAULT_CLOSED, FAULT_INVALID: not TLS,
     * or plain text before it). */
    void (*secured)(struct io_conn *conn, void *owner, bool ok, const struct fault *fault);
    /* Link over: end of stream (FAULT_CLOSED), error or time-out. The connection frees itself after
     * this call. */
    void (*closed)(struct io_conn *conn, void *owner, const struct fault *fault);
};

struct io_conn_connect {
    const struct sockaddr *remote;
    socklen_t remote_len;
    const struct sockaddr
        *local; /* NULL: any. Bound with IP_BIND_ADDRESS_NO_PORT when its port is 0. */
    socklen_t local_len;
    int64_t timeout_ms; /* to establish */
};

/* Starts connecting; NULL and fault when that fails at once (no such local address, no
 * descriptors). What the network says (refused, unreachable, time-out) comes by closed(). `how` and
 * its addresses are copied; `ops` must stay. */
struct io_conn *io_conn_connect(struct io_loop *loop, const struct io_conn_connect *how,
                                const struct io_conn_ops *ops, void *owner, struct fault *fault);

/* Closes the link at once, without a callback; unsent output is lost. Takes NULL, nulls the
 * pointer. */
void io_conn_free(struct io_conn **conn);

/* Asks output() and writes as much as the socket takes; the rest follows by itself when it is
 * writable. */
void io_conn_flush(struct io_conn *conn);

/* When all output() has been sent, closes (TLS close_notify, shutdown) and calls closed() with
 * FAULT_NONE, or with FAULT_TIMEOUT when the peer takes nothing for 30 s. Input is thrown away from
 * here on. The socket itself stays for up to 2 s until the peer has ended too, so that our last
 * bytes are not lost to a reset; that needs nobody's care. */
void io_conn_finish(struct io_conn *conn);

/* Reads again after input() took less than all. */
void io_conn_resume(struct io_conn *conn);

/* For an owner that ends while its loop does not run: waits at most wait_ms for an event of this
 * connection and handles it, with all its callbacks. False: there was none. Not from a callback of
 * it. */
bool io_conn_turn(struct io_conn *conn, int64_t wait_ms);

/* TLS from here on, when all pending output has been written. `server_name` for SNI and
 * verification, NULL for servers. `timeout_ms` for the handshake. Once per connection; secured()
 * answers. For implicit TLS call it in connected() or in the accept callback. The name is copied;
 * the context may be freed while connections use it. Plain bytes that came before the handshake are
 * given to input(); if it does not take them, or if they come from a server, the connection ends.
 */
void io_conn_start_tls(struct io_conn *conn, struct tls_context *context, const char *server_name,
                       int64_t timeout_ms);

bool io_conn_facts(const struct io_conn *conn, struct tls_facts *facts); /* false: not secure */
bool io_conn_local(const struct io_conn *conn, struct sockaddr_storage *address);
bool io_conn_remote(const struct io_conn *conn, struct sockaddr_storage *address);

/* Listening. `backlog` and accept are bounded by max_connections: beyond, connections wait in the
 * kernel. IPv6 sockets take IPv6 only. Without descriptors left, accepting rests for 100 ms. A
 * connection that gets no owner in the callback is closed. The callback may free the listener.
 * Accepted connections outlive it. */
struct io_listener;
typedef void (*io_accept_callback)(struct io_listener *listener, void *owner, struct io_conn *conn);
struct io_listener_options {
    const struct sockaddr *local;
    socklen_t local_len;
    bool reuse_port;
    uint32_t max_connections; /* 0: no bound */
};
struct io_listener *io_listen(struct io_loop *loop, const struct io_listener_options *options,
                              io_accept_callback accepted, void *owner, struct fault *fault);
/* For an accepted connection: who gets its events. Call inside the accept callback. */
void io_conn_set_owner(struct io_conn *conn, const struct io_conn_ops *ops, void *owner);
void io_listener_free(struct io_listener **listener);
bool io_listener_local(const struct io_listener *listener,
                       struct sockaddr_storage *address); /* the port when 0 was asked */

/* Address helpers: "192.0.2.1:25", "[2001:db8::1]:25"; port 0 when absent and default_port used. */
bool io_address_parse(struct slice text, uint16_t default_port, struct sockaddr_storage *address,
                      socklen_t *len, struct fault *fault);
#define IO_ADDRESS_TEXT_MAX 64
/* Without the port: "192.0.2.1", "2001:db8::1". */
struct slice io_address_format(const struct sockaddr *address, char out[IO_ADDRESS_TEXT_MAX]);
uint16_t io_address_port(const struct sockaddr *address);

#endif
