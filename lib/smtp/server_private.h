/*
 * The server engine's inside, shared by server.c (interface, input, time), server_command.c
 * (verbs), server_auth.c (SASL), server_content.c (DATA, BDAT) and server_reply.c (output, events,
 * end of the session).
 *
 * Invariants
 *  - At most one answer is owed (`await`), and while it is, no command is parsed and no content
 * taken.
 *  - `hold` has command bytes [hold_start, hold_end) that are not parsed yet. It is moved or reused
 * only when no event is queued and no answer owed, since their slices point into it.
 *  - RESET or MESSAGE ends each transaction that a 2xx to MAIL has opened, exactly once.
 *  - Nothing leaves the state CLOSED, and CLOSED is the last event.
 */
#ifndef SLUICE_SMTP_SERVER_PRIVATE_H
#define SLUICE_SMTP_SERVER_PRIVATE_H

#include "base/strbuf.h"
#include "smtp/command.h"
#include "smtp/server.h"
#include "smtp/unstuff.h"

#define SMTP_SERVER_MAGIC 0x53525652U
#define SERVER_LINE_MAX                                                                            \
    2048 /* with CRLF: RFC 5321 4.5.3.1.4 and all extensions that lengthen it                      \
          */
#define SERVER_HOLD_BYTES 4096 /* more than a line, so that a full one always makes progress */
#define SERVER_REPLY_TEXT_MAX 400
#define SERVER_OUTPUT_MAX (1U << 20)
#define SERVER_OUTPUT_BLOCK 16384U /* no further command is parsed while so much output waits */
#define SERVER_EVENTS 32
#define SERVER_CONTENT_EVENTS                                                                      \
    28 /* the rest of the ring is for what ends a transaction or session */
#define SERVER_SECRET_BYTES 1024

/* name, what it takes */
#define SERVER_STATES(X)                                                                           \
    X(NEW)           /* not started */                                                             \
    X(COMMAND)       /* a command line */                                                          \
    X(AUTH_PLAIN)    /* the response to PLAIN's empty challenge */                                 \
    X(AUTH_USER)     /* LOGIN */                                                                   \
    X(AUTH_PASSWORD) /* LOGIN */                                                                   \
    X(DATA)          /* content up to CRLF.CRLF */                                                 \
    X(BDAT)          /* chunk_left bytes of content */                                             \
    X(TLS_REPLY)     /* nothing: the 220 to STARTTLS is being written */                           \
    X(TLS_HANDSHAKE) /* nothing: the owner shakes hands */                                         \
    X(CLOSED)        /* everything, and ignores it */

enum server_state {
#define X(name) SERVER_##name,
    SERVER_STATES(X)
#undef X
};

/* Whose answer is owed. */
enum server_await {
    SERVER_AWAIT_NONE,
    SERVER_AWAIT_AUTH,
    SERVER_AWAIT_MAIL,
    SERVER_AWAIT_RCPT,
    SERVER_AWAIT_DATA,
    SERVER_AWAIT_MESSAGE,
};

struct server_event {
    enum smtp_server_event_type type;
    struct slice bytes; /* CONTENT, EHLO */
};

struct smtp_server {
    uint32_t magic;
    struct smtp_server_config config;
    enum server_state state;
    enum server_await await;

    /* Session */
    bool secure;
    bool hello; /* EHLO, HELO or LHLO was accepted */
    bool authenticated;
    uint32_t offered; /* enum smtp_capability, by the last EHLO; 0 after HELO */
    uint32_t errors;
    uint32_t transactions;

    /* Transaction */
    bool mail_open;
    bool smtputf8;
    bool chunking; /* a BDAT of it was accepted */
    bool lenient;  /* MAIL or BDAT was refused: what is pipelined behind it is out of sequence
                      without fault */
    uint32_t rcpt_count;
    uint32_t replies_owed; /* LMTP: of this MESSAGE */

    /* Content */
    struct smtp_unstuff unstuff;
    uint64_t content_bytes;
    uint64_t chunk_bytes;
    uint64_t chunk_left;
    struct strbuf after; /* reply lines for when swallowed content is over */
    bool discard;        /* content is swallowed */
    bool chunk_last;

    /* Input */
    bool unread;            /* the owner has more bytes than were taken */
    bool skip_line;         /* the line is too long and is being swallowed */
    bool skip_cr;           /* the last swallowed byte was a CR */
    const char *skip_wrong; /* what was wrong in it; NULL: nothing */
    size_t hold_start;
    size_t hold_end;
    size_t hold_scanned; /* no LF before here */

    /* Events */
    struct server_event events[SERVER_EVENTS];
    uint32_t event_first;
    uint32_t event_count;
    struct smtp_command command; /* of the MAIL, RCPT, DATA event */

    struct strbuf out;
    struct mono_time active; /* last sign of life */
    bool stale;              /* an answer came since, at a time that nobody told us */

    struct slice user;     /* in secret[] */
    struct slice password; /* in secret[] */
    char secret[SERVER_SECRET_BYTES];
    char hold[SERVER_HOLD_BYTES];
};

/* server_reply.c */
void server_set_state(struct smtp_server *server, enum server_state state);
void server_push(struct smtp_server *server, enum smtp_server_event_type type, struct slice bytes);
/* Queues an event that is to be answered. */
void server_ask(struct smtp_server *server, enum server_await await,
                enum smtp_server_event_type type);
void server_write(struct smtp_server *server, uint16_t code, const char *enhanced,
                  const char *text);
/* The same, `copies` times into server->after. */
void server_write_after(struct smtp_server *server, uint32_t copies, uint16_t code,
                        const char *enhanced, const char *text);
void server_write_raw(struct smtp_server *server, struct slice lines);
/* False: that was one too many, and the session has ended with 421. */
bool server_count_error(struct smtp_server *server);
/* A reply that counts against max_errors. */
void server_error(struct smtp_server *server, uint16_t code, const char *enhanced,
                  const char *text);
/* A command out of sequence: an error, unless it may have been pipelined behind a refusal. */
void server_out_of_sequence(struct smtp_server *server, uint16_t code, const char *text);
/* Reply, then the end. */
void server_bye(struct smtp_server *server, uint16_t code, const char *enhanced, const char *text);
void server_end(struct smtp_server *server);
/* RESET when one is open. */
void server_drop_transaction(struct smtp_server *server);
void server_forget_transaction(struct smtp_server *server);

/* server_command.c: a line without its CRLF, in hold[]. */
void server_take_command(struct smtp_server *server, struct slice line);

/* server_auth.c */
void server_auth_start(struct smtp_server *server);
void server_auth_line(struct smtp_server *server, struct slice line);
void server_auth_wipe(struct smtp_server *server);

/* server_content.c */
void server_data_start(struct smtp_server *server);
void server_bdat_start(struct smtp_server *server);
/* The owner's answer to DATA. */
void server_data_answer(struct smtp_server *server, uint16_t code, const char *enhanced,
                        const char *text);
/* Takes content from the front; returns how many bytes. 0: no room for events. */
size_t server_content_take(struct smtp_server *server, struct slice bytes);

static inline bool server_takes_content(const struct smtp_server *server)
{
    return server->await == SERVER_AWAIT_NONE &&
           (server->state == SERVER_DATA || server->state == SERVER_BDAT);
}

/* The peer has sent more than the line that is being looked at. */
static inline bool server_more_input(const struct smtp_server *server)
{
    return server->unread || server->hold_start < server->hold_end;
}

#endif
