/*
 * What became of one recipient, or of a session, as a value (style.md rule 12). Everything above
 * the engine (retry, events, classification) works from this and never looks at the wire again.
 */
#ifndef SLUICE_SMTP_OUTCOME_H
#define SLUICE_SMTP_OUTCOME_H

#include "smtp/enhanced.h"

enum smtp_result {
    SMTP_RESULT_NONE =
        0, /* not tried: the session ended first; nothing was refused, try elsewhere */
    SMTP_RESULT_DELIVERED, /* 2xx to the final dot (for LMTP: of this recipient) */
    SMTP_RESULT_DEFERRED,  /* 4xx, or a failure that may pass */
    SMTP_RESULT_BOUNCED,   /* 5xx, or a failure that cannot pass */
    SMTP_RESULT_UNCERTAIN, /* the link was lost or timed out after the final dot, before its reply
                            */
};

/* Where in the dialogue (RFC 5321 section 3) it happened. */
enum smtp_phase {
    SMTP_PHASE_NONE = 0,
    SMTP_PHASE_DNS,
    SMTP_PHASE_CONNECT,
    SMTP_PHASE_GREETING,
    SMTP_PHASE_EHLO,
    SMTP_PHASE_STARTTLS,
    SMTP_PHASE_AUTH,
    SMTP_PHASE_MAIL,
    SMTP_PHASE_RCPT,
    SMTP_PHASE_DATA,    /* the DATA command's own reply */
    SMTP_PHASE_MESSAGE, /* the content, up to the reply to the final dot or last BDAT */
    SMTP_PHASE_RSET,
    SMTP_PHASE_QUIT,
    SMTP_PHASE_IDLE,
};

/* How far the failure reaches. */
enum smtp_scope {
    SMTP_SCOPE_NONE = 0,
    SMTP_SCOPE_RECIPIENT,
    SMTP_SCOPE_MESSAGE, /* this message, to all its recipients */
    SMTP_SCOPE_SESSION, /* this connection; another one may go well */
    SMTP_SCOPE_SITE,    /* the host or site: greeting refused, no connection, DNS */
};

struct smtp_outcome {
    enum smtp_result result;
    enum smtp_phase phase;
    enum smtp_scope scope;
    uint16_t code;                 /* reply code; 0 when no reply caused this */
    struct smtp_enhanced enhanced; /* of the reply, or ours when there was none */
    struct slice
        text; /* reply text without codes, lines joined by one blank; lifetime: see the giver */
};

const char *smtp_result_name(enum smtp_result result); /* "delivered" … */
const char *smtp_phase_name(enum smtp_phase phase);    /* "mail", "rcpt" … */
const char *smtp_scope_name(enum smtp_scope scope);

#endif
