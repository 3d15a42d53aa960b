/*
 * SMTP client engine: one session, without I/O (style.md rules 13 to 16).
 *
 * The owner connects, then feeds what happens (bytes, time, TLS done, link lost) and after each
 * call takes
 *   - what is to be written: smtp_client_output() / smtp_client_sent(), the body is not copied;
 *   - what has happened: smtp_client_next_event() until it says NONE;
 *   - until when to wait: smtp_client_deadline().
 * The engine never calls back, allocates nothing per transaction, and never blocks.
 *
 * RFC 5321 (dialogue, time-outs 4.5.3.2), 2920 (PIPELINING), 3030 (CHUNKING), 1870 (SIZE), 6152
 * (8BITMIME), 6531 (SMTPUTF8), 3461 (DSN), 3207 (STARTTLS), 2033 (LMTP), 8689 (REQUIRETLS), 4954
 * (AUTH PLAIN, LOGIN).
 */
#ifndef SLUICE_SMTP_CLIENT_H
#define SLUICE_SMTP_CLIENT_H

#include "base/arena.h"
#include "base/clock.h"
#include "smtp/outcome.h"

#include <sys/uio.h>

/* Extensions that the peer's EHLO reply offers. */
enum smtp_capability {
    SMTP_CAP_PIPELINING = 1 << 0,
    SMTP_CAP_CHUNKING = 1 << 1,
    SMTP_CAP_SIZE = 1 << 2,
    SMTP_CAP_8BITMIME = 1 << 3,
    SMTP_CAP_SMTPUTF8 = 1 << 4,
    SMTP_CAP_DSN = 1 << 5,
    SMTP_CAP_STARTTLS = 1 << 6,
    SMTP_CAP_ENHANCEDSTATUSCODES = 1 << 7,
    SMTP_CAP_REQUIRETLS = 1 << 8,
    SMTP_CAP_AUTH_PLAIN = 1 << 9,
    SMTP_CAP_AUTH_LOGIN = 1 << 10,
};

enum smtp_tls_policy {
    SMTP_TLS_NEVER,
    SMTP_TLS_OPPORTUNISTIC, /* when offered; a refused or failed STARTTLS ends the session with
                               tls_failed set; the owner may connect again with SMTP_TLS_NEVER */
    SMTP_TLS_REQUIRED,      /* no MAIL FROM without it: outcome 4.7.10 (RFC 8689 / RFC 3207) */
};

/* RFC 5321 4.5.3.2 names and minimums; all in milliseconds. */
struct smtp_timeouts {
    int64_t greeting_ms; /* 300000 */
    int64_t ehlo_ms;     /* 300000 */
    int64_t starttls_ms; /* 120000: reply and handshake */
    int64_t mail_ms;     /* 300000 */
    int64_t rcpt_ms;     /* 300000 */
    int64_t data_ms;     /* 120000: reply to DATA */
    int64_t block_ms;    /* 180000: between two successful writes of content */
    int64_t dot_ms;      /* 600000: reply to the final dot */
    int64_t quit_ms;     /* 5000 */
};

void smtp_timeouts_default(struct smtp_timeouts *timeouts);

/* One recipient of a transaction; the owner keeps the memory until the transaction is over. */
struct smtp_client_rcpt {
    /* Without angle brackets, validated by the owner. One that would break the command line
     * (controls, over 1024 bytes, empty) is BOUNCED 5.1.3 without being said; a sender like
     * that: 5.1.7. */
    struct slice address;
    struct slice notify; /* RFC 3461 NOTIFY value ("NEVER", "SUCCESS,FAILURE"), absent: none */
    struct slice orcpt; /* RFC 3461 ORCPT value, xtext-encoded already ("rfc822;…"), absent: none */
    struct smtp_outcome outcome; /* set by the engine; text lies in the transaction's arena */
};

struct smtp_client_transaction {
    struct arena *arena;    /* for reply texts */
    struct slice mail_from; /* empty: <> */
    struct slice ret;       /* RFC 3461 RET: "FULL", "HDRS", absent: none */
    struct slice envid;     /* RFC 3461 ENVID, xtext-encoded already; absent: none */
    bool smtputf8;          /* message or an address needs RFC 6531; 5.6.7 if the peer has it not */
    bool requiretls;        /* RFC 8689; 5.7.30 if the peer has it not */
    bool body_8bit; /* content has bytes >= 0x80: BODY=8BITMIME; 5.6.3 if the peer has it not */
    bool hold_dot;  /* ask before the message ends: EVENT_DOT */
    /* The message in pieces, in order; kept by the owner, never copied. */
    const struct slice *content;
    size_t content_count;
    struct smtp_client_rcpt *rcpts;
    size_t rcpt_count;

    /* Filled by the engine while it runs: */
    uint64_t size_bytes;      /* as sent: bare LF and bare CR made CRLF, final CRLF added, without
                                 dot-stuffing */
    struct mono_time started; /* MAIL FROM was given to output */
    struct mono_time mail_replied;
    struct mono_time rcpt_replied; /* last of them */
    struct mono_time data_replied; /* 354; for BDAT the time of the first content byte */
    struct mono_time dot_sent;     /* the final dot was handed to the transport */
    struct mono_time finished;
};

enum smtp_client_event_type {
    SMTP_CLIENT_EVENT_NONE,
    /* Flush nothing more, begin the handshake, answer with smtp_client_tls_done(). Bytes that are
     * fed before that answer end the session: they came behind the reply to STARTTLS. */
    SMTP_CLIENT_EVENT_STARTTLS,
    /* A transaction may be submitted (after EHLO, and after each transaction). */
    SMTP_CLIENT_EVENT_READY,
    /* The message may not end before smtp_client_release_dot(); only for a transaction with
     * hold_dot. Content up to SMTP_CLIENT_HOLD_BYTES is held back as a whole, and with it, where
     * BDAT goes out together with its envelope, the envelope too: so holding costs no further
     * write. Of larger content only the end is held (DATA: the dot line, BDAT: two bytes). With
     * BDAT under PIPELINING the event comes before MAIL and RCPT are answered. No deadline runs
     * while nothing but the release is awaited. */
    SMTP_CLIENT_EVENT_DOT,
    /* The transaction is over, every rcpt has its outcome. A result of NONE has the session's
     * trouble as code, text, phase and scope, and comes only when the session is over too. */
    SMTP_CLIENT_EVENT_DONE,
    /* The session is over: flush output if any (a QUIT), then close the link; `outcome` says why:
     * NONE after our own end, else BOUNCED for a 5xx greeting, EHLO or HELO, else DEFERRED. A
     * running transaction got its DONE before. */
    SMTP_CLIENT_EVENT_CLOSED,
};

#define SMTP_CLIENT_HOLD_BYTES 65536

struct smtp_client_event {
    enum smtp_client_event_type type;
    struct smtp_client_transaction *transaction; /* DOT, DONE */
    const struct smtp_outcome *outcome;          /* CLOSED; valid until smtp_client_free */
};

struct smtp_client_config {
    struct slice ehlo_name; /* our name, or an address literal */
    bool lmtp;
    enum smtp_tls_policy tls;
    bool use_pipelining; /* false: ignore the peer's offer (PowerMTA ignore-pipelining) */
    bool use_chunking;
    struct slice auth_user; /* absent: no AUTH */
    struct slice auth_password;
    struct smtp_timeouts timeouts;
};

struct smtp_client;

/* The configuration is copied as a struct; the bytes of its slices must outlive the engine. */
struct smtp_client *smtp_client_create(const struct smtp_client_config *config);
void smtp_client_free(struct smtp_client **client);

/* The link is up (for implicit TLS: the handshake is done and secure is true): waits for the
 * greeting. */
void smtp_client_start(struct smtp_client *client, bool secure, struct mono_time now);

/* Bytes from the peer. After CLOSED they are ignored. */
void smtp_client_input(struct smtp_client *client, struct slice bytes, struct mono_time now);

/* Fills up to `max` pieces to be written now; returns their number. Valid until the next call of
 * the engine. */
size_t smtp_client_output(struct smtp_client *client, struct iovec *pieces, size_t max);
/* True when the pieces given last may end a message: the last moment to keep it from being sent
 * (by smtp_client_quit() or smtp_client_lost(), which then say NONE for its recipients). */
bool smtp_client_is_ending(const struct smtp_client *client);
/* The transport took `len` bytes of them. */
void smtp_client_sent(struct smtp_client *client, size_t len, struct mono_time now);

/* When smtp_client_timeout() is to be called; MONO_NEVER while idle. */
struct mono_time smtp_client_deadline(const struct smtp_client *client);
void smtp_client_timeout(struct smtp_client *client, struct mono_time now);

/* The link was lost (or its handshake or connect failed): `reason` goes into the outcome's text. */
void smtp_client_lost(struct smtp_client *client, struct slice reason, struct mono_time now);

/* The handshake that STARTTLS asked for is over. On failure the session ends. */
void smtp_client_tls_done(struct smtp_client *client, bool ok, struct slice reason,
                          struct mono_time now);

/* True between READY and the next submit or quit. */
bool smtp_client_ready(const struct smtp_client *client);

/* Starts a transaction; only when ready. The caller keeps it until DONE. */
void smtp_client_submit(struct smtp_client *client, struct smtp_client_transaction *transaction,
                        struct mono_time now);

void smtp_client_release_dot(struct smtp_client *client, struct mono_time now);

/* Ends an idle session with QUIT; in any other state it ends at once: a running transaction's
 * recipients become NONE (or UNCERTAIN past the dot). */
void smtp_client_quit(struct smtp_client *client, struct mono_time now);

/* Next thing that happened; call until NONE. */
void smtp_client_next_event(struct smtp_client *client, struct smtp_client_event *event);

/* Facts of the session, for events. */
uint32_t smtp_client_capabilities(const struct smtp_client *client);    /* of the last EHLO */
uint64_t smtp_client_peer_size_limit(const struct smtp_client *client); /* SIZE value, 0: none */
enum smtp_phase smtp_client_phase(const struct smtp_client *client);
bool smtp_client_tls_failed(const struct smtp_client *client); /* the session ended because STARTTLS
                                                                  was refused or failed */
uint32_t smtp_client_transactions(const struct smtp_client *client); /* finished on this session */

#endif
