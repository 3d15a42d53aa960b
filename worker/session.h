/*
 * A session: one connection from a VIP to a host of a lane's site, with the SMTP engine that talks
 * over it. It takes mails from its lane one transaction at a time and settles their outcomes. One
 * loop's thread.
 */
#ifndef SLUICE_WORKER_SESSION_H
#define SLUICE_WORKER_SESSION_H

#include "io/conn.h"
#include "worker/lane.h"

#define SESSION_MAGIC 0x53455353u

enum session_state {
    SESSION_OPENING,   /* connecting, greeting, EHLO, TLS */
    SESSION_IDLE,      /* ready, in share.idle */
    SESSION_THROTTLED, /* ready, waits for rate tokens */
    SESSION_BUSY,      /* a transaction runs */
    SESSION_CLOSING,   /* QUIT is on its way, or the link is being closed */
};

struct session {
    uint32_t magic;
    enum session_state state;
    struct list node;      /* in lane.sessions */
    struct list idle_node; /* in share.idle */
    struct lane *lane;
    struct lane_share *share; /* the lane's that it is of */
    struct lane_vip *vip;
    struct io_conn *conn;
    struct smtp_client *client;
    struct timer timer; /* engine's deadline, or idle time */
    struct io_task reaper;
    bool gone;
    bool was_ready;

    struct sockaddr_storage address;
    char host[DNS_NAME_MAX + 1];
    char remote_text[IO_ADDRESS_TEXT_MAX];
    char local_text[IO_ADDRESS_TEXT_MAX];
    struct tls_facts tls;
    bool secure;

    struct limit **slots; /* held while the session lives */
    size_t slot_count;
    bool leaving; /* the limiter knows that they come back soon */
    struct limit_waiter waiter;
    struct flow_limits *flow; /* of the transaction that runs; NULL: none */
    uint64_t most_transactions;

    struct mono_time started, connected, first_ready;
    uint32_t transactions;

    struct mail *mail;        /* of the transaction that runs */
    uint64_t intent;          /* mark behind its INTENT */
    struct list waiting_node; /* in shard.dot_waiting: until that is safe, in a transaction with its
                                 end, between two with the next one */
    bool withheld; /* the gate was shut: the session ended without the end of a message */
    struct smtp_client_transaction transaction;
    struct slice content[2]; /* fields of ours, or nothing; then the message's */
    struct smtp_client_rcpt *rcpts;
    uint32_t *indexes; /* recipient index in the mail of each rcpt */
    size_t rcpt_room;
};

/* Connects. NULL: could not even start (fault). The slots given become the session's. */
struct session *session_open(struct lane_share *share, struct lane_vip *vip,
                             const struct host_state *host, bool clear, struct fault *fault);
/* Starts a transaction with the next `count` recipients of that mail; state IDLE or THROTTLED; what
 * it needs was taken. */
void session_begin(struct session *session, struct mail *mail, size_t count);
/* Changes the state and keeps the lane's counters true. */
void session_enter(struct session *session, enum session_state state);
/* Takes the engine's events and writes its output; after session_begin() from outside a callback of
 * the connection. */
void session_flush(struct session *session);
/* The lane has nothing for it: its idle time begins. */
void session_idle(struct session *session);
/* It is idle: if others wait for its slot it ends soon. */
void session_spare(struct session *session);
/* More of the journal is on Kafka: messages that waited for it may end, or be begun. */
void session_release_dots(struct shard *shard);
/* Closes at once; a running transaction's mail is settled as lost. */
void session_close(struct session *session);
/* Frees sessions that are gone now rather than at the end of the turn: not from inside one of their
 * callbacks. */
void session_reap_all(struct shard *shard);
/* Others are to have its slot: between two transactions it should end, but not before its first one
 * if there is mail. */
bool session_is_surplus(const struct session *session);
/* Only transactional mail may go by it. */
bool session_is_reserved(const struct session *session);
/* Ready and idle: says QUIT. */
void session_quit(struct session *session);

#endif
