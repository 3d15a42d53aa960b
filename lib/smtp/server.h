/*
 * SMTP server engine: one session, without I/O. Shared by sluice-producer (submission), the simulator
 * and sluice-bouncer. The owner feeds bytes and time, takes events, answers each event that asks for an answer with exactly one
 * reply, now or later; until then the engine parses no further command (it keeps bounded input), so replies stay in
 * order under PIPELINING. Content is handed out as slices of the input, dot-unstuffed, never gathered.
 *
 * RFC 5321, 2920, 3030, 1870, 6152, 6531, 3461, 3207, 4954, 2034; smuggling: bare LF, bare CR, NUL and LF.LF forms are
 * refused with 5.5.2 and the session ends.
 */
#ifndef SLUICE_SMTP_SERVER_H
#define SLUICE_SMTP_SERVER_H

#include "base/clock.h"
#include "smtp/client.h" /* enum smtp_capability */

enum smtp_server_event_type {
    SMTP_SERVER_EVENT_NONE,
    SMTP_SERVER_EVENT_EHLO,     /* informative: name; no answer */
    SMTP_SERVER_EVENT_STARTTLS, /* after the 220 has been written: start the handshake, then smtp_server_tls_done() */
    SMTP_SERVER_EVENT_AUTH,     /* user, password: answer with smtp_server_auth_result() */
    SMTP_SERVER_EVENT_MAIL,     /* answer with smtp_server_reply(); 2xx opens the transaction */
    SMTP_SERVER_EVENT_RCPT,     /* answer; 2xx adds the recipient (the owner keeps the list) */
    SMTP_SERVER_EVENT_DATA,     /* DATA or first BDAT with at least one recipient: answer 354 to go on
                                   (for BDAT the engine writes no 354), or 4xx/5xx */
    SMTP_SERVER_EVENT_CONTENT,  /* a piece of content; no answer */
    SMTP_SERVER_EVENT_MESSAGE,  /* content complete: answer; then the transaction is over */
    SMTP_SERVER_EVENT_RESET,    /* transaction dropped (RSET, EHLO, refused DATA, lost link); no answer */
    SMTP_SERVER_EVENT_CLOSED,   /* write output, then close */
};

struct smtp_server_event {
    enum smtp_server_event_type type;
    struct slice name;      /* EHLO */
    struct slice user;      /* AUTH */
    struct slice password;  /* AUTH; wiped after the answer */
    struct slice address;   /* MAIL (empty: <>), RCPT: without angle brackets, syntax checked */
    struct slice notify, orcpt;     /* RCPT: RFC 3461 */
    struct slice ret, envid;        /* MAIL: RFC 3461 */
    uint64_t size_bytes;    /* MAIL: SIZE=, 0: none */
    bool body_8bit, smtputf8, requiretls; /* MAIL */
    struct slice content;   /* CONTENT; valid until the next call */
    bool chunked;           /* DATA: by BDAT */
};

struct smtp_server_config {
    struct slice host_name;    /* in greeting and EHLO reply */
    struct slice greeting;     /* text behind the name, e.g. "ESMTP Sluice" */
    bool lmtp;
    uint32_t capabilities;     /* enum smtp_capability: what is offered */
    bool auth_needs_tls;       /* AUTH is offered and taken only under TLS */
    bool auth_required;        /* MAIL before AUTH: 530 5.7.0 */
    bool tls_required;         /* MAIL before STARTTLS: 530 5.7.0 */
    uint64_t max_message_bytes;
    uint32_t max_recipients;   /* per transaction: 452 4.5.3 beyond */
    uint32_t max_errors;       /* 421 4.7.0 and close after that many 5xx of syntax, sequence or AUTH */
    uint32_t max_transactions; /* per session, 0: no bound; then 421 */
    int64_t command_timeout_ms; /* 300000 */
    int64_t data_timeout_ms;    /* 180000 between two reads of content */
};

struct smtp_server;

struct smtp_server *smtp_server_create(const struct smtp_server_config *config);
void smtp_server_free(struct smtp_server **server);

/* Greets. `refuse` absent: 220; else a whole reply line such as "554 5.7.1 no" and then close. */
void smtp_server_start(struct smtp_server *server, bool secure, struct slice refuse, struct mono_time now);
/* Bytes of the peer; returns how many were taken: fewer while an answer is awaited and the input bound is reached.
 * The rest must be offered again after smtp_server_reply() (stop reading the socket meanwhile). Engine events that borrow
 * input (CONTENT) point into `bytes`, so drain events before giving the memory back. */
size_t smtp_server_input(struct smtp_server *server, struct slice bytes, struct mono_time now);
size_t smtp_server_output(struct smtp_server *server, struct iovec *pieces, size_t max);
void smtp_server_sent(struct smtp_server *server, size_t len, struct mono_time now);
struct mono_time smtp_server_deadline(const struct smtp_server *server);
void smtp_server_timeout(struct smtp_server *server, struct mono_time now);
void smtp_server_lost(struct smtp_server *server, struct mono_time now);
void smtp_server_tls_done(struct smtp_server *server, bool ok, struct mono_time now);
void smtp_server_next_event(struct smtp_server *server, struct smtp_server_event *event);

/* The answer to MAIL, RCPT, DATA, MESSAGE: code, enhanced code (left out if the peer was not offered it), text
 * without line ends. A 421 closes the session. */
void smtp_server_reply(struct smtp_server *server, uint16_t code, const char *enhanced, const char *text);
void smtp_server_auth_result(struct smtp_server *server, bool ok, bool temporary_failure);
/* The owner ends the session: writes "421 4.3.2 text" when possible. */
void smtp_server_shutdown(struct smtp_server *server, const char *text);
/* True while an answer is owed by the owner. */
bool smtp_server_waiting(const struct smtp_server *server);
bool smtp_server_secure(const struct smtp_server *server);

#endif
