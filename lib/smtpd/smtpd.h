/*
 * An SMTP server, as sluice-producer and sluice-bouncer are one: its listeners, and for each client
 * a session, which is the engine (smtp/server.h) on a connection (io/conn.h) with what the engine
 * leaves to its owner: how many clients there may be, and how long a slow one may take in all. The
 * program gets the client's commands and content, and answers them.
 *
 * A session is a part of the program's own one. It is freed when its link is closed, and takes
 * itself off smtpd->sessions. Everything runs on the thread of the loop.
 */
#ifndef SLUICE_SMTPD_SMTPD_H
#define SLUICE_SMTPD_SMTPD_H

#include "base/list.h"
#include "base/wheel.h"
#include "io/conn.h"
#include "io/peers.h"
#include "policy/config.h"
#include "smtp/server.h"

struct smtpd;
struct smtpd_session;

#define SMTPD_HOST_NAME_MAX 256

struct smtpd_listener {
    struct smtpd *smtpd;
    struct io_listener *io;
    bool implicit_tls;
    bool loopback; /* 127/8 or ::1 */
};

enum smtpd_state {
    SMTPD_IDLE,    /* may be told to go when the server drains */
    SMTPD_OPEN,    /* a transaction is open: the client goes on with it, or is too slow */
    SMTPD_WORKING, /* we are at it and answer later: nobody's patience ends meanwhile */
};

struct smtpd_ops {
    /* A session for a new client. `config` is filled with what all have: message size, recipients
     * and what else is offered are the program's. */
    struct smtpd_session *(*create)(struct smtpd *smtpd, const struct smtpd_listener *listener,
                                    struct smtp_server_config *config);
    /* Every event but CONTENT. Name and TLS of the client are seen to. CLOSED: the last one. */
    void (*event)(struct smtpd_session *session, const struct smtp_server_event *event);
    void (*content)(struct smtpd_session *session, struct slice piece);
    enum smtpd_state (*state)(struct smtpd_session *session);
    /* It is on no list any more; frees its memory. */
    void (*free)(struct smtpd_session *session);
    /* A link was closed and its session freed. */
    void (*gone)(struct smtpd *smtpd);
};

struct smtpd {
    const struct smtpd_ops *ops;
    const char *section;    /* of the configuration, for messages: "producer" */
    struct slice host_name; /* lent */
    uint32_t max_connections, max_connections_per_peer;
    int64_t command_timeout_ms, data_timeout_ms;

    struct io_loop *loop;
    struct tls_context *tls; /* NULL: none */
    struct smtpd_listener *listeners;
    size_t listener_count;
    struct list sessions;
    size_t session_count;
    struct peers peers;
    uint64_t connections, refused_connections;
    struct mono_time next_warning; /* of connections that were turned away */
    bool draining;
};

struct smtpd_session {
    struct smtpd *smtpd;
    struct io_conn *conn;
    struct smtp_server *engine;
    struct slice peer_name; /* the client's address */
    struct slice ehlo;      /* what it calls itself */

    /* session.c's own */
    uint32_t magic;
    struct list node;
    struct peer *peer; /* NULL: turned away */
    bool turned_away;
    bool auth_required;
    bool started; /* the greeting was said */
    bool ended;   /* io_conn_finish() was called */
    bool paused;  /* the engine took less than all */
    bool in_content;
    struct timer timer;
    struct mono_time step; /* when the client last completed something */
    struct mono_time login_by;
    int64_t content_bytes;
    char ehlo_text[256];
    char peer_text[IO_ADDRESS_TEXT_MAX];
};

/* ---- the server (smtpd.c) ---- */

/* The configured name, or the host's. */
struct slice smtpd_host_name(const char *configured, char out[SMTPD_HOST_NAME_MAX]);

/* After ops, names and bounds were set. */
void smtpd_init(struct smtpd *smtpd);
/* Takes another certificate in place of the one that it has; NULL: there is none. False: the old
 * one stays. */
bool smtpd_load_tls(struct smtpd *smtpd, const char *certificate_file, const char *key_file,
                    struct fault *fault);
/* Listens on all of them; `loop` must be set. */
bool smtpd_listen(struct smtpd *smtpd, const struct config_listener *listeners, size_t count,
                  struct fault *fault);
/* Takes no more clients; those that are idle are told to go, others after what they are doing. */
void smtpd_drain(struct smtpd *smtpd);
/* The end now, without a word if need be. No listener and no session is left. */
void smtpd_close(struct smtpd *smtpd);
/* The rest; after smtpd_close(), which may be left out where there was no loop. */
void smtpd_free(struct smtpd *smtpd);

/* ---- a session (session.c) ---- */

/* The answer to DATA: 354. */
void smtpd_take_content(struct smtpd_session *session);
/* The answer to AUTH. */
void smtpd_auth_result(struct smtpd_session *session, bool ok, bool temporary_failure);
/* After an answer that did not come within ops->event(): goes on. */
void smtpd_answered(struct smtpd_session *session);
/* When CLOSED has come: the last line that the client will read. True: it tells of trouble that has
 * no line in the log of its own. */
bool smtpd_last_words(const struct smtpd_session *session, struct slice *last);

#endif
