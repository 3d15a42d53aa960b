/*
 * Kafka headers. A record on a queue topic may carry routing facts; the copies that the worker
 * writes to delay tiers and to dlq must, since they decide what is still to be done without
 * decoding the payload. Values are text.
 */
#ifndef SLUICE_SCHEMA_HEADERS_H
#define SLUICE_SCHEMA_HEADERS_H

#include "base/fault.h"
#include "base/strbuf.h"
#include "schema/message.h"

#define HEADER_ID "sluice-id"           /* message id, UUID text */
#define HEADER_ATTEMPT "sluice-attempt" /* number of the round to come, from 1, decimal */
#define HEADER_FIRST_SEEN_MS                                                                       \
    "sluice-first-seen-ms"                    /* when the message was first read, ms since 1970 */
#define HEADER_EXPIRES_MS "sluice-expires-ms" /* given up at, ms since 1970 */
#define HEADER_DUE_MS "sluice-due-ms"         /* not tried before, ms since 1970 */
/* Due is when its turn is expected: it may come earlier, if it has one more tier to go ("1"), or in
 * any case ("2"), as its lane sends little in that time. */
#define HEADER_SPILLED "sluice-spilled"
#define SPILLED_SLOW 2
#define HEADER_STREAM "sluice-stream"   /* name of the stream it came by: "bulk" */
#define HEADER_ORIGIN "sluice-origin"   /* first record: "topic/partition/offset" */
#define HEADER_PENDING "sluice-pending" /* indexes of recipients still to deliver: "0,3-5" */
#define HEADER_SITE "sluice-site"       /* uncertain: the recipients' site, where known */
#define HEADER_VIP "sluice-vip"         /* VIP of the last attempt, where the next should use it */
#define HEADER_LAST "sluice-last"       /* what the last attempt met: "451 4.7.1 text" */
#define HEADER_REASON "sluice-reason"   /* dlq: "invalid", "policy"… */
#define HEADER_DETAIL "sluice-detail"   /* dlq: what was wrong, naming the field */

/* A set of recipient indexes below MESSAGE_RECIPIENTS_MAX. Zeroed: empty. */
struct pending_set {
    uint64_t words[(MESSAGE_RECIPIENTS_MAX + 63) / 64];
};

static inline bool pending_has(const struct pending_set *set, size_t index)
{
    return (set->words[index / 64] >> (index % 64) & 1) != 0;
}

static inline void pending_add(struct pending_set *set, size_t index)
{
    CHECK(index < MESSAGE_RECIPIENTS_MAX);
    set->words[index / 64] |= (uint64_t)1 << (index % 64);
}

static inline void pending_remove(struct pending_set *set, size_t index)
{
    CHECK(index < MESSAGE_RECIPIENTS_MAX);
    set->words[index / 64] &= ~((uint64_t)1 << (index % 64));
}

size_t pending_count(const struct pending_set *set);

/* "0,3-5": ascending, joined where adjacent; the empty set is "". False: the buffer's maximum (5 KB
 * always suffice). */
bool pending_encode(const struct pending_set *set, struct strbuf *out);

/*   set = [ range *( "," range ) ]   range = index [ "-" index ]   index = 1*4DIGIT
 * Strictly ascending, no blanks, every index below `recipient_count`. False: fault says what is
 * wrong, *set is empty. */
bool pending_decode(struct slice text, size_t recipient_count, struct pending_set *set,
                    struct fault *fault);

/* "topic/partition/offset". */
bool header_origin_encode(const struct message_origin *origin, struct strbuf *out);
/* The topic points into `text`. */
bool header_origin_decode(struct slice text, struct message_origin *origin);

#endif
