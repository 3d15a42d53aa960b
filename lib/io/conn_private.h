/*
 * The connection's inside, shared by conn.c (life), conn_io.c (bytes) and listener.c.
 *
 * Life:  CONNECTING -> OPEN [-> HANDSHAKE -> OPEN] -> OVER -> [LINGER ->] GONE
 *        any -> FAILED -> OVER (an error found outside an event is told from the next turn)
 *        any -> GONE by io_conn_free()
 * The memory stays until libuv's close callback, that is past every callback on the stack: after
 * each call of the owner the code here looks at `state` and never at freed memory.
 *
 * Events: `depth` is above 0 inside an event of this connection (readiness, timer, deferred task).
 * Only there callbacks other than output() and sent() run. Each event ends with conn_settle():
 * output, then what waits for the output.
 */
#ifndef SLUICE_IO_CONN_PRIVATE_H
#define SLUICE_IO_CONN_PRIVATE_H

#include "io/conn.h"
#include "io/loop_private.h"
#include "io/tls_private.h"

#include <netinet/in.h>
#include <sys/un.h>

#define CONN_MAGIC 0x434f4e4eu

enum conn_state {
    CONN_CONNECTING,
    CONN_OPEN,
    CONN_HANDSHAKE,
    CONN_FAILED, /* closed() is still to be called, from the task */
    CONN_OVER,   /* inside closed() */
    CONN_LINGER, /* no owner any more; waits for the peer's end of stream */
    CONN_GONE,
};

struct io_conn {
    uint32_t magic;
    enum conn_state state;
    int fd;
    unsigned depth;
    struct io_loop *loop;
    const struct io_conn_ops *ops;
    void *owner;
    uv_poll_t poll;
    int armed;          /* uv_poll_event bits that libuv watches */
    struct timer timer; /* of the state: connect, handshake, finish, linger */
    struct io_task task;

    bool paused;           /* input() took less than all */
    bool resume;           /* io_conn_resume() was called; the task does it */
    bool read_more;        /* bytes wait inside TLS; the task goes on */
    bool read_wants_write; /* TLS */
    bool peer_ended;       /* end of stream while finishing */
    bool writing;          /* inside conn_write() */
    bool write_blocked;    /* the kernel took less than all */
    bool write_wants_read; /* TLS */
    bool write_more;       /* the turn's share is used up; the task goes on */
    bool finishing;

    char *kept; /* what input() left */
    size_t kept_at;
    size_t kept_len;

    struct tls_link *tls;
    struct tls_link *next_tls; /* begins when the output is empty */
    int64_t handshake_timeout_ms;
    bool securing;         /* secured() is owed */
    struct fault *failure; /* FAILED */

    struct io_listener *listener; /* whose bound this connection counts against, or NULL */
    struct list listener_node;
    struct list linger_node;
    socklen_t remote_len;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } remote;
};

/* Takes over the descriptor. NULL and fault: libuv refused it (and it is closed). */
struct io_conn *conn_create(struct io_loop *loop, int fd, enum conn_state state,
                            const struct sockaddr *remote, socklen_t remote_len,
                            struct fault *fault);

/* Closes the descriptor, tells nobody. */
void conn_destroy(struct io_conn *conn);

/* The end with closed(), before it secured(false) if that is owed: at once inside an event, else
 * from the next turn. */
void conn_over(struct io_conn *conn, const struct fault *fault);
void conn_over_errno(struct io_conn *conn, int error, const char *what);

/* The end of every event: output, then TLS or the finish that waited for it, then what libuv
 * watches. */
void conn_settle(struct io_conn *conn);
void conn_arm(struct io_conn *conn);
/* The state's time-out, from now. */
void conn_set_timer(struct io_conn *conn, int64_t timeout_ms);

/* conn_io.c. `all`: until the stream is empty or broken, because the kernel announced an error. */
void conn_read(struct io_conn *conn, bool all);
/* Offers what input() left. */
void conn_read_kept(struct io_conn *conn);
void conn_write(struct io_conn *conn);
/* True while the connection wants bytes from the peer for its owner. */
bool conn_reading(const struct io_conn *conn);

/* conn_tls.c. */
void conn_tls_begin(struct io_conn *conn);
void conn_tls_step(struct io_conn *conn);

/* conn_finish.c. */
void conn_finish_link(struct io_conn *conn);
void conn_linger(struct io_conn *conn);

/* listener.c: the connection's place is free again. */
void listener_release(struct io_conn *conn);

#endif
