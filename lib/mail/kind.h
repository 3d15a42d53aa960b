/*
 * Of which kind a message is when no machine-readable part says so.
 */
#ifndef SLUICE_MAIL_KIND_H
#define SLUICE_MAIL_KIND_H

#include "mail/part.h"
#include "mail/returned.h"

/* The fields of the message itself that tell, read in one pass. */
struct kind_fields {
    struct slice from;         /* as written, for its display name */
    struct slice reporter;     /* its address */
    struct slice to;           /* first address */
    struct slice delivered_to; /* Delivered-To, X-Original-To, Envelope-To: the envelope recipient
                                  of the report */
    struct slice subject;      /* UTF-8 */
    struct slice subject_lower;
    struct slice failed; /* X-Failed-Recipients */
    struct slice auto_submitted;
    struct slice in_reply_to;
    bool null_sender;       /* Return-Path: <> */
    bool auto_field;        /* X-Autoreply and its kin, Precedence: auto_reply */
    bool challenge_field;   /* fields of systems that ask for confirmation */
    bool unsubscribe_field; /* a mail program's button: X-Apple-Unsubscribe */
    bool complaint_field;   /* X-HmXmr…, X-AOL-…, of loops that send no ARF */
};

/* True if fields are those of a message: one at least that messages have. */
bool kind_is_header(struct slice header);

void kind_read_fields(struct arena *arena, struct slice header, struct kind_fields *fields);

/* True if the sender of the report is a mail system. */
bool kind_from_daemon(struct arena *arena, const struct kind_fields *fields);

/* What was seen of the rest. */
struct kind_evidence {
    struct slice notice; /* the human part */
    bool returned;       /* some of the returned message is there */
    bool report;         /* multipart/report with report-type=delivery-status */
    bool bare;           /* the message has no header */
    unsigned place;      /* what notice_read() says */
};

enum returned_kind kind_of_text(struct arena *arena, const struct kind_fields *fields,
                                const struct kind_evidence *evidence);

/* DMARC and TLS reports by their part types, file names and subjects (RFC 7489 7.2.1.1, RFC
 * 8460 5.3). */
bool kind_is_auth_report(struct arena *arena, const struct mail_tree *tree,
                         const struct kind_fields *fields);

#endif
