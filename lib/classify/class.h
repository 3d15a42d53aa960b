/*
 * What can become of a message, in one vocabulary: the classes, what a list keeper should do about
 * each, who is to blame, and the words that PowerMTA and Momentum have for the same thing. Constant
 * tables, no state.
 */
#ifndef SLUICE_CLASSIFY_CLASS_H
#define SLUICE_CLASSIFY_CLASS_H

#include "base/slice.h"

/* Only ever added to at the end; the names are the contract with records and rules. */
enum bounce_class {
    BOUNCE_UNDETERMINED = 0,
    BOUNCE_USER_UNKNOWN,
    BOUNCE_MAILBOX_MOVED,
    BOUNCE_MAILBOX_DISABLED,
    BOUNCE_DOMAIN_NO_MAIL,
    BOUNCE_DOMAIN_BAD,
    BOUNCE_MAILBOX_FULL,
    BOUNCE_RECIPIENT_REFUSED,
    BOUNCE_IP_BLOCKED,
    BOUNCE_SENDER_REJECTED,
    BOUNCE_AUTH_FAILED,
    BOUNCE_RELAY_DENIED,
    BOUNCE_SPAM_CONTENT,
    BOUNCE_CONTENT_REJECTED,
    BOUNCE_VIRUS,
    BOUNCE_TOO_LARGE,
    BOUNCE_POLICY,
    BOUNCE_RATE_LIMITED,
    BOUNCE_GREYLISTED,
    BOUNCE_NETWORK_ERROR,
    BOUNCE_EXPIRED,
    BOUNCE_SYSTEM_ERROR,
    BOUNCE_PROTOCOL_ERROR,
    BOUNCE_DELIVERED,
    BOUNCE_DELAYED,
    BOUNCE_COMPLAINT,
    BOUNCE_AUTH_REPORT,
    BOUNCE_OPT_OUT,
    BOUNCE_UNSUBSCRIBE,
    BOUNCE_AUTO_REPLY,
    BOUNCE_CHALLENGE_RESPONSE,
    BOUNCE_NOT_A_BOUNCE,
    BOUNCE_CLASS_COUNT,
};

/* What to do about the address (hard, hard-after-n) or about the cause. */
enum bounce_disposition {
    BOUNCE_DO_NONE = 0,
    BOUNCE_DO_HARD,         /* suppress the address */
    BOUNCE_DO_HARD_AFTER_N, /* suppress it when this happens again and again */
    BOUNCE_DO_SOFT,         /* count; the address may be good */
    BOUNCE_DO_TRANSIENT,    /* try again later, says nothing about the address */
    BOUNCE_DO_BLOCK,        /* act on IP, sender or content; never suppress the address */
    BOUNCE_DISPOSITION_COUNT,
};

/* What the refusal is about. */
enum bounce_scope {
    BOUNCE_SCOPE_NONE = 0,
    BOUNCE_SCOPE_RECIPIENT,
    BOUNCE_SCOPE_MESSAGE,
    BOUNCE_SCOPE_SENDER,
    BOUNCE_SCOPE_VIP,
    BOUNCE_SCOPE_SITE,
    BOUNCE_SCOPE_COUNT,
};

/* All names are constant and never NULL; parsing is exact. */
const char *bounce_class_name(enum bounce_class class);
bool bounce_class_parse(struct slice name, enum bounce_class *class);
const char *bounce_disposition_name(enum bounce_disposition disposition);
bool bounce_disposition_parse(struct slice name, enum bounce_disposition *disposition);
const char *bounce_scope_name(enum bounce_scope scope);
bool bounce_scope_parse(struct slice name, enum bounce_scope *scope);

/* What follows from the class alone. A temporary reply (4xx) never suppresses at once: hard becomes
 * hard-after-n. */
enum bounce_disposition bounce_class_disposition(enum bounce_class class, bool temporary_reply);
enum bounce_scope bounce_class_scope(enum bounce_class class);

/* PowerMTA's bounce category, such as "bad-mailbox". */
const char *bounce_class_powermta(enum bounce_class class);
/* Momentum's bounce classification code, such as 10. */
uint8_t bounce_class_momentum(enum bounce_class class);

#endif
