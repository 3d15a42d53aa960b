/*
 * Inside of the SMTP client engine (client.h), shared by client.c (states, input, output, time,
 * ends), client_commands.c (what is said), client_replies.c (what an answer means) and
 * client_auth.c.
 *
 * Invariants:
 *  - `fifo` holds one entry per command whose reply is outstanding, in the order of the wire. A
 * reply without an entry, or to a command that has not been sent in full, ends the session.
 *  - A recipient's outcome has result NONE until its verdict; an accepted one has code 2xx besides.
 * A verdict is never changed.
 *  - Output is, unless envelope_held: `out` from out_at on, then the pieces of `content` while
 * content_active. Nothing is put into `out` while content is active.
 */
#ifndef SLUICE_SMTP_CLIENT_PRIVATE_H
#define SLUICE_SMTP_CLIENT_PRIVATE_H

#include "base/strbuf.h"
#include "smtp/capability.h"
#include "smtp/client.h"
#include "smtp/content.h"
#include "smtp/reply.h"

#define SMTP_CLIENT_MAGIC 0x534d4343u
#define CLIENT_FIFO_MAX 128     /* outstanding replies */
#define CLIENT_OUT_MAX 65536    /* bound of the command buffer */
#define CLIENT_OUT_ENOUGH 16384 /* no more commands are added beyond this */
#define CLIENT_WORD_MAX 1024    /* of one address or parameter */
#define CLIENT_CLOSED_TEXT_MAX 512
/* Content up to this size goes out behind BDAT before RCPT is answered; larger content waits, so
 * that it is not sent in vain when every recipient is refused. */
#define CLIENT_EAGER_CHUNK_BYTES 131072

/* name, phase while no reply is awaited, what the session is doing (for outcome texts) */
#define CLIENT_STATES(X)                                                                           \
    X(CREATED, CONNECT, "before the link was up")                                                  \
    X(GREETING, GREETING, "while waiting for the greeting")                                        \
    X(HELLO, EHLO, "while saying EHLO")                                                            \
    X(STARTTLS, STARTTLS, "while asking for TLS")                                                  \
    X(HANDSHAKE, STARTTLS, "during the TLS handshake")                                             \
    X(AUTH, AUTH, "while authenticating")                                                          \
    X(READY, IDLE, "while idle")                                                                   \
    X(ENVELOPE, MAIL, "while sending the envelope")                                                \
    X(CONTENT, MESSAGE, "while sending the message")                                               \
    X(RESULT, MESSAGE, "while waiting for the reply to the message")                               \
    X(QUIT, QUIT, "while leaving")                                                                 \
    X(CLOSED, NONE, "after the end")

enum client_state {
#define CLIENT_STATE_ENUM(name, phase, doing) CLIENT_##name,
    CLIENT_STATES(CLIENT_STATE_ENUM)
#undef CLIENT_STATE_ENUM
};

/* verb, word in texts, phase, time-out field, function for its reply */
#define CLIENT_VERBS(X)                                                                            \
    X(GREETING, "the greeting", GREETING, greeting_ms, greeting)                                   \
    X(EHLO, "EHLO", EHLO, ehlo_ms, ehlo)                                                           \
    X(HELO, "HELO", EHLO, ehlo_ms, ehlo)                                                           \
    X(STARTTLS, "STARTTLS", STARTTLS, starttls_ms, starttls)                                       \
    X(AUTH, "AUTH", AUTH, ehlo_ms, auth)                                                           \
    X(RSET, "RSET", RSET, mail_ms, rset)                                                           \
    X(MAIL, "MAIL FROM", MAIL, mail_ms, mail)                                                      \
    X(RCPT, "RCPT TO", RCPT, rcpt_ms, rcpt)                                                        \
    X(DATA, "DATA", DATA, data_ms, data)                                                           \
    X(DOT, "the end of the message", MESSAGE, dot_ms, dot)                                         \
    X(QUIT, "QUIT", QUIT, quit_ms, quit)

enum client_verb {
#define CLIENT_VERB_ENUM(verb, word, phase, timeout, handler) CLIENT_VERB_##verb,
    CLIENT_VERBS(CLIENT_VERB_ENUM)
#undef CLIENT_VERB_ENUM
};

struct client_expected {
    enum client_verb verb;
    uint32_t end;  /* position of the command's last byte in the stream of commands, modulo 2^32 */
    uint32_t rcpt; /* RCPT: index */
};

/* What of the envelope comes next. */
enum client_step {
    CLIENT_STEP_RSET,
    CLIENT_STEP_MAIL,
    CLIENT_STEP_RCPT,
    CLIENT_STEP_DATA,
    CLIENT_STEP_END
};

struct smtp_client {
    uint32_t magic;
    enum client_state state;
    struct smtp_client_config config;
    struct smtp_capabilities capabilities;
    bool secure;
    bool tls_failed;
    bool needs_reset; /* the server still has a transaction of ours */
    uint8_t auth_step;
    uint32_t transaction_count;

    struct smtp_reply_parser parser;
    struct client_expected fifo[CLIENT_FIFO_MAX];
    unsigned fifo_head, fifo_count;

    struct strbuf out;
    size_t out_at;          /* sent already */
    uint32_t commands_sent; /* bytes of commands that went out, modulo 2^32 */
    struct smtp_content content;
    bool content_active;
    bool envelope_held; /* what is in `out` waits for the release, together with all content */

    struct mono_time deadline;

    struct smtp_client_transaction *transaction; /* the running one */
    enum client_step step;
    size_t rcpt_next;    /* to be sent */
    size_t rcpt_pending; /* sent, not answered */
    size_t accepted;     /* with 2xx to RCPT and no verdict yet */
    size_t lmtp_next;    /* whose reply after the dot comes next */
    bool failed;         /* the message got its verdict before the content */
    bool dot_sent;       /* all content was taken by the transport */
    bool dot_asked;      /* EVENT_DOT was given */

    /* Events that were not taken yet. */
    struct smtp_client_transaction *done;
    bool event_starttls, event_ready, event_dot, event_closed;
    struct smtp_outcome closed;
    char closed_text[CLIENT_CLOSED_TEXT_MAX];
};

/* client.c */
void client_set_state(struct smtp_client *client, enum client_state state);
void client_expect(struct smtp_client *client, enum client_verb verb, uint32_t rcpt);
/* Something went forward: sets how long the next step may take. */
void client_arm_deadline(struct smtp_client *client, struct mono_time now);
enum smtp_phase client_verb_phase(enum client_verb verb);
const char *client_verb_word(enum client_verb verb);
/* "while idle" … */
const char *client_doing(const struct smtp_client *client);
void client_become_ready(struct smtp_client *client);
/* Content follows what is in `out`. */
void client_begin_content(struct smtp_client *client, enum smtp_content_form form, bool hold);

/* client_end.c */
/* Ends the session: recipients without verdict get `outcome` with result NONE, or `lost_result`
 * where the whole message had been sent. With `polite` QUIT is said if nothing is half said. */
void client_end(struct smtp_client *client, struct smtp_outcome outcome,
                enum smtp_result lost_result, bool polite, struct mono_time now);
/* Ends the session because the peer broke the protocol. */
void client_protocol_error(struct smtp_client *client, enum smtp_phase phase, const char *problem,
                           struct mono_time now);
/* The same with result DEFERRED; the text is "what doing: reason". */
void client_end_with_text(struct smtp_client *client, enum smtp_phase phase,
                          struct smtp_enhanced enhanced, const char *what, struct slice reason,
                          struct mono_time now);
/* The running transaction is over, every recipient has its verdict. */
void client_finish(struct smtp_client *client, struct mono_time now);

/* client_commands.c */
void client_say(struct smtp_client *client, enum client_verb verb, struct slice line);
void client_say_hello(struct smtp_client *client, bool extended);
/* Adds what may be said now, and ends the transaction when there is nothing left to say or to wait
 * for. */
void client_advance(struct smtp_client *client, struct mono_time now);
/* Gives `outcome` to every recipient without verdict; the text is copied. */
void client_decide_all(struct smtp_client *client, struct smtp_outcome outcome);
/* After EHLO, TLS: what comes next before READY. */
void client_after_hello(struct smtp_client *client, struct mono_time now);

/* client_auth.c */
void client_auth_begin(struct smtp_client *client, struct mono_time now);
/* 334: the next answer. False: the server asks for more than there is. */
bool client_auth_continue(struct smtp_client *client);

/* client_replies.c: one function per verb; the reply is in client->parser, its entry is still at
 * the FIFO's head and must be removed by the handler through client_answered(). */
void client_take_reply(struct smtp_client *client, struct mono_time now);
void client_answered(struct smtp_client *client);

#endif
