/*
 * SMTP server engine: one session, without I/O. Shared by sluice-producer (submission), the
 * simulator and sluice-bouncer. The owner feeds bytes and time, takes events, answers each event
 * that asks for an answer with exactly one reply, now or later; until then the engine parses no
 * further command (it keeps bounded input), so replies stay in order under PIPELINING. Content is
 * handed out as slices of the input, dot-unstuffed, never gathered.
 *
 * After each call the owner first takes events until NONE (that is also what parses the commands
 * held back), then offers what input was left, then writes the output. Nothing is called back; per
 * message nothing is allocated. One thread at a time.
 *
 * RFC 5321, 2920, 3030, 1870, 6152, 6531, 3461, 3207, 4954, 2034; smuggling: bare LF, bare CR, NUL
 * and LF.LF forms are refused with 5.5.2 and the session ends.
 */
#ifndef SLUICE_SMTP_SERVER_H
#define SLUICE_SMTP_SERVER_H

#include "base/clock.h"
#include "smtp/client.h" /* enum smtp_capability */

enum smtp_server_event_type {
    SMTP_SERVER_EVENT_NONE,
    SMTP_SERVER_EVENT_EHLO,     /* informative: name; no answer */
    SMTP_SERVER_EVENT_STARTTLS, /* after the 220 has been written: start the handshake, then
                                   smtp_server_tls_done() */
    SMTP_SERVER_EVENT_AUTH,     /* user, password: answer with smtp_server_auth_result() */
    SMTP_SERVER_EVENT_MAIL,     /* answer with smtp_server_reply(); 2xx opens the transaction */
    SMTP_SERVER_EVENT_RCPT,     /* answer; 2xx adds the recipient (the owner keeps the list). The
                                   address may be "postmaster" (in any case)     without a domain, RFC
                                   5321 4.1.1.3; all others are Mailboxes of smtp_address_parse() */
    SMTP_SERVER_EVENT_DATA, /* DATA or first BDAT with at least one recipient: answer 354 to go on
                               (for BDAT the engine writes no 354), or 4xx/5xx */
    SMTP_SERVER_EVENT_CONTENT, /* a piece of content; no answer */
    SMTP_SERVER_EVENT_MESSAGE, /* content complete: answer; then the transaction is over. LMTP: one
                                  smtp_server_reply() for each accepted recipient, in their order
                                  (RFC 2033 4.2) */
    SMTP_SERVER_EVENT_RESET,   /* transaction dropped (RSET, EHLO, refused DATA, content over the
                                  limit, lost link, end of the   session before MESSAGE was answered);
                                  no answer */
    SMTP_SERVER_EVENT_CLOSED,  /* write output, then close; the last event */
};

/* Slices live in the engine until the event is answered (or, without an answer, until the next
 * call), except content. */
struct smtp_server_event {
    enum smtp_server_event_type type;
    struct slice name;          /* EHLO */
    struct slice user;          /* AUTH */
    struct slice password;      /* AUTH; wiped after the answer */
    struct slice address;       /* MAIL (empty: <>), RCPT: without angle brackets, syntax checked */
    struct slice notify, orcpt; /* RCPT: RFC 3461 */
    struct slice ret, envid;    /* MAIL: RFC 3461 */
    uint64_t size_bytes;        /* MAIL: SIZE=, 0: none */
    bool body_8bit, smtputf8, requiretls; /* MAIL */
    struct slice content;                 /* CONTENT; valid until the next call */
    bool chunked;                         /* DATA: by BDAT */
};

struct smtp_server_config {
    struct slice host_name; /* in greeting and EHLO reply */
    struct slice greeting;  /* text behind the name, e.g. "ESMTP Sluice" */
    bool lmtp;
    uint32_t capabilities;      /* enum smtp_capability: what is offered */
    bool auth_needs_tls;        /* AUTH is offered and taken only under TLS */
    bool auth_required;         /* MAIL before AUTH: 530 5.7.0 */
    bool tls_required;          /* MAIL before STARTTLS: 530 5.7.0 */
    uint64_t max_message_bytes; /* 0: no bound */
    uint32_t max_recipients;    /* per transaction: 452 4.5.3 beyond; 0: no bound */
    uint32_t max_errors; /* that many 5xx of syntax, sequence or AUTH are answered, the next gets
                            421 4.7.0; 0: no bound */
    uint32_t max_transactions;     /* per session, 0: no bound; then 421 */
    struct slice starttls_refusal; /* a whole reply line such as "454 4.7.0 not now": the answer to
                                      STARTTLS, which is offered all the same; absent: none */
    int64_t command_timeout_ms;    /* 300000 */
    int64_t data_timeout_ms;       /* 180000 between two reads of content */
};

struct smtp_server;

struct smtp_server *smtp_server_create(const struct smtp_server_config *config);
void smtp_server_free(struct smtp_server **server);

/* Greets. `refuse` absent: 220; else a whole reply line such as "554 5.7.1 no" and then close. */
void smtp_server_start(struct smtp_server *server, bool secure, struct slice refuse,
                       struct mono_time now);
/* Bytes of the peer; returns how many were taken. Take the events, then offer the rest again, until
 * 0 is returned: then an answer is awaited or the peer takes no output. Keep the rest, stop reading
 * the socket, and offer it again after smtp_server_reply(), smtp_server_auth_result() or
 * smtp_server_sent(). After CLOSED everything is taken and ignored. CONTENT points into `bytes`, so
 * take the events before giving the memory back. */
size_t smtp_server_input(struct smtp_server *server, struct slice bytes, struct mono_time now);
/* Fills up to `max` pieces to be written; returns their number. Valid until the next call of the
 * engine. */
size_t smtp_server_output(struct smtp_server *server, struct iovec *pieces, size_t max);
/* The transport took `len` bytes of them. */
void smtp_server_sent(struct smtp_server *server, size_t len, struct mono_time now);
/* When smtp_server_timeout() is to be called (it looks itself whether the time has come);
 * MONO_NEVER while an answer is owed. */
struct mono_time smtp_server_deadline(const struct smtp_server *server);
void smtp_server_timeout(struct smtp_server *server, struct mono_time now);
/* The link is gone: RESET if a transaction was open, then CLOSED. */
void smtp_server_lost(struct smtp_server *server, struct mono_time now);
/* The handshake is over. On success the session starts anew without greeting (RFC 3207 4.2); on
 * failure CLOSED follows. */
void smtp_server_tls_done(struct smtp_server *server, bool ok, struct mono_time now);
void smtp_server_next_event(struct smtp_server *server, struct smtp_server_event *event);

/* The answer to MAIL, RCPT, DATA, MESSAGE: code, enhanced code (NULL: none; left out if the peer
 * was not offered it), text without line ends, cut at 400 bytes. A 421 closes the session. After
 * CLOSED, or when a lost link or the end of the session has taken the question back, it is ignored,
 * so that a late answer from elsewhere needs no care. */
void smtp_server_reply(struct smtp_server *server, uint16_t code, const char *enhanced,
                       const char *text);
void smtp_server_auth_result(struct smtp_server *server, bool ok, bool temporary_failure);
/* The owner ends the session: writes "421 4.3.2 text" when possible. */
void smtp_server_shutdown(struct smtp_server *server, const char *text);
/* True while an answer is owed by the owner. */
bool smtp_server_waiting(const struct smtp_server *server);
bool smtp_server_secure(const struct smtp_server *server);
/* True once smtp_server_auth_result() was given ok (and no STARTTLS since). */
bool smtp_server_authenticated(const struct smtp_server *server);
/* Facts of the session, for logs. */
uint32_t
smtp_server_transactions(const struct smtp_server *server); /* MAIL commands that were accepted */

#endif
