/*
 * From a mail that came back to events: which of our mails it is about, what it says, and whether
 * that may be believed. Pure but for the table; no I/O.
 *
 * The original is looked for in this order of trust: a signature (in the address that the mail was
 * sent to, then in what it returns: Original-Mail-From, Return-Path), the Message-ID where we wrote
 * it, X-Sluice-* and Feedback-ID fields, other returned fields. What is found without a signature
 * is what the sender of the report says.
 *
 * One thread at a time.
 */
#ifndef SLUICE_BOUNCER_JUDGE_H
#define SLUICE_BOUNCER_JUDGE_H

#include "bouncer/addresses.h"
#include "bouncer/table.h"
#include "classify/classify.h"
#include "mail/returned.h"

struct judge {
    const struct config *config;
    const struct verp_keys *keys;
    const struct classifier *classifier;
    struct classify_scratch *scratch;
    struct table *table;
    struct slice node; /* host name, for events */
};

/* How one mail came. */
struct judge_input {
    const struct returned_mail *mail;
    const struct address_match *to;
    struct slice received_by; /* address as it was given */
    struct slice sender;      /* MAIL FROM */
    struct slice peer_address, peer_name;
    struct slice report_id;
    uint64_t content_hash; /* tells two reports apart that have no ids */
    uint64_t bytes;
    bool quarantined; /* an action said so: nothing of it is believed */
    struct wall_time now;
};

enum judge_verdict {
    JUDGE_DONE,
    JUDGE_FACTS_MISSING, /* the token is good, its facts are not here (yet); nothing was emitted */
};

/* Gets each event, complete; its slices live as long as the call. */
typedef void (*judge_emit)(void *owner, const struct event *event);

/* `wait_for_facts`: rather give FACTS_MISSING than events without tenant. */
enum judge_verdict judge_mail(const struct judge *judge, const struct judge_input *input,
                              bool wait_for_facts, judge_emit emit, void *owner);

/* Somebody follows the link of a List-Unsubscribe field (mail/unsubscribe.h). */
struct judge_leave {
    struct slice token, address, list;
    struct slice peer_address;
    struct slice report_id;
    struct wall_time now;
};

enum judge_link {
    JUDGE_LINK_GOOD,
    JUDGE_LINK_UNKNOWN, /* not signed by us, too old, or not for that address */
    JUDGE_LINK_LATER,   /* its facts are not here (yet) */
};
/* Whether that may be done; any thread. */
enum judge_link judge_link(const struct judge *judge, const struct judge_leave *leave);
/* The same, and for a good one emits its event, which is the same each time. One thread at a time.
 */
enum judge_link judge_leave(const struct judge *judge, const struct judge_leave *leave,
                            judge_emit emit, void *owner);

#endif
