/*
 * The header of a submitted message (RFC 5322 section 2.2): finding the fields that are meant for
 * us, taking them out, and putting in what a submission server adds (RFC 5321 section 4.4, RFC 6409
 * section 8). All in place: the body never moves, so the buffer must have room in front of the
 * content. Pure; no allocation but the texts of the fields found, in the caller's arena.
 */
#ifndef SLUICE_PRODUCER_HEADER_H
#define SLUICE_PRODUCER_HEADER_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/fault.h"

/* Values of our own fields: unfolded, trimmed; absent: not there. */
struct header_wishes {
    struct slice pool;     /* X-Virtual-MTA */
    struct slice campaign; /* X-Sluice-Campaign, else X-Job */
    struct slice stream;   /* X-Sluice-Stream */
    struct slice envid;    /* X-Envid */
    struct slice key;      /* X-Sluice-Idempotency-Key */
};

#define HEADER_STRIPPED_MAX 8

struct header_span {
    size_t at, len;
};

struct header {
    size_t len; /* of all fields, without the empty line that ends them */
    struct header_wishes wishes;
    struct header_span stripped[HEADER_STRIPPED_MAX];
    size_t stripped_count;
    bool has_date, has_message_id;
};

/* Reads the header of `content`, whose lines end in CRLF. False: one of our fields stands there
 * twice, or its value cannot be used; the fault names it. */
bool header_read(struct slice content, struct arena *arena, struct header *header,
                 struct fault *fault);

/* Takes our fields out of the content that begins at `start`, and puts `added` (whole lines) at the
 * end of the header and `trace` (whole lines) in front. Returns where the content begins now. The
 * caller has at least trace.len + added.len bytes of room before `start`. */
char *header_rewrite(char *start, const struct header *header, struct slice trace,
                     struct slice added);

#define HEADER_DATE_MAX 40
/* RFC 5322 section 3.3, in UTC: "Sun, 22 Nov 2026 03:26:48 +0000". */
struct slice header_date(struct wall_time now, char out[HEADER_DATE_MAX]);

#define HEADER_TRACE_MAX 1024
struct header_trace {
    struct slice ehlo_name;   /* what the client called itself */
    struct slice client;      /* its address */
    struct slice host_name;   /* ours */
    struct slice id;          /* message id (UUID) */
    struct slice tls_version; /* "TLSv1.3"; absent: none */
    struct slice tls_cipher;
    bool authenticated, smtputf8;
    struct wall_time now;
};
/* The Received: field (RFC 5321 section 4.4; "with" of RFC 3848 and RFC 6531 section 4.3). Does not
 * name recipients, since all of them get it. What the client said is made harmless. */
struct slice header_received(const struct header_trace *trace, char out[HEADER_TRACE_MAX]);

#endif
