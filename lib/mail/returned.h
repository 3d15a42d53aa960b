/*
 * What a message that came back says: of which kind it is, about which of our messages, and what
 * happened to whom.
 *
 * Reads delivery status notifications (RFC 3464, 6522, 6533), the text notices of mail systems that
 * send none, abuse reports (RFC 5965, 6591, 9477 and older forms), DMARC and TLS reports (RFC 7489,
 * 8460), automatic answers (RFC 3834). Says nothing of causes: the texts that it finds go to the
 * classifier. No state, no clock, no I/O; any thread.
 *
 * Hostile input meets limits, each in time and memory linear in the bytes that are read:
 * RETURNED_READ_MAX bytes, RETURNED_RECIPIENTS_MAX recipients, ten levels and 128 parts of MIME, 64
 * KB of header. Past a limit the result is what was found until there, with `cut` set.
 */
#ifndef SLUICE_MAIL_RETURNED_H
#define SLUICE_MAIL_RETURNED_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/slice.h"

enum {
    RETURNED_READ_MAX =
        16 << 20, /* bytes of a message: 10,000 recipients with texts are 5 MB; what a bounce brings
                     back of a large original stands behind its report */
    RETURNED_RECIPIENTS_MAX = 20000, /* in one report; Postfix and Exchange stop at some thousand */
    RETURNED_ARENA_MAX =
        96 << 20, /* bytes of memory for one message, met only by a report of that size */
    RETURNED_TEXT_MAX =
        4096, /* bytes of text kept for a recipient; the longest real replies have 2 KB */
};

/* Names in returned_kind_name(). */
enum returned_kind {
    RETURNED_BOUNCE,
    RETURNED_DELAYED,
    RETURNED_DELIVERED,
    RETURNED_COMPLAINT,
    RETURNED_AUTH_REPORT, /* DMARC aggregate and failure reports, TLS reports */
    RETURNED_AUTO_REPLY,
    RETURNED_CHALLENGE_RESPONSE,
    RETURNED_UNSUBSCRIBE,
    RETURNED_OPT_OUT,
    RETURNED_NOT_A_BOUNCE,
};

enum returned_action {
    RETURNED_ACTION_NONE, /* not said */
    RETURNED_ACTION_FAILED,
    RETURNED_ACTION_DELAYED,
    RETURNED_ACTION_DELIVERED, /* delivered, relayed or expanded */
};

/* Where in the SMTP dialogue the refusal fell, as far as the text tells. */
enum returned_phase {
    RETURNED_PHASE_UNKNOWN,
    RETURNED_PHASE_CONNECT,
    RETURNED_PHASE_HELO,
    RETURNED_PHASE_MAIL,
    RETURNED_PHASE_RCPT,
    RETURNED_PHASE_DATA, /* DATA and the end of data */
};

/* Everything is a view into the message or the arena; absent where not said. */
struct returned_recipient {
    struct slice address;  /* the one that failed; without a domain when the report gives none */
    struct slice original; /* the one that we wrote to, where it differs (forwarding, alias) */
    enum returned_action action;
    enum returned_phase phase;
    bool will_retry;              /* the report says until when it will be tried again */
    struct slice status;          /* "5.1.1": of the Status field, else of the text */
    struct slice enhanced;        /* the one inside the text */
    uint16_t code;                /* SMTP reply code, 0 when none was found */
    struct slice diagnostic_type; /* "smtp", "x-postfix", …; empty for text notices */
    struct slice text;            /* diagnostic, unfolded */
    struct slice
        notice; /* what the human part says of this recipient, where that is another text */
    struct slice reporting_mta;
    struct slice remote_mta;
};

/* Facts of the message of ours that came back. */
struct returned_original {
    struct slice message_id;  /* with its <> */
    struct slice from;        /* address */
    struct slice to;          /* first address */
    struct slice subject;     /* UTF-8 */
    struct slice feedback_id; /* campaign:customer:type:sender */
    struct slice tenant;      /* X-Sluice-Tenant, else of the Feedback-ID */
    struct slice campaign;    /* X-Sluice-Campaign, else of the Feedback-ID */
    struct slice list;        /* X-Sluice-List */
    struct slice return_path; /* envelope sender */
    struct slice unsubscribe; /* List-Unsubscribe: its links */
    struct slice verp;        /* address to which the report itself was sent: what may carry VERP */
};

struct returned_mail {
    enum returned_kind kind;
    struct returned_original original;
    struct returned_recipient *recipients;
    size_t recipient_count;
    bool cut;
    struct slice feedback_type; /* of complaints: "abuse", … */
    struct slice subject;       /* of the report itself, UTF-8 */
    struct slice notice;        /* its text for people, in front of what it returns, without the
                                   fields that it quotes */
    struct slice essence;       /* the same without set phrases: see notice_essence() */
    struct slice reporting_mta;
};

/*
 * Reads one message. The result and its views live as long as `arena` and `bytes`. False with fault
 * INVALID when there is nothing that could be read as a message, or the arena is full.
 */
bool returned_mail_read(struct arena *arena, struct slice bytes, struct returned_mail *mail,
                        struct fault *fault);

/* "bounce", "delayed", …; never NULL. */
const char *returned_kind_name(enum returned_kind kind);

#endif
