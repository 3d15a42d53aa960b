/*
 * List-Unsubscribe (RFC 2369) with one click (RFC 8058): the fields that are put in front of a
 * message, and reading back what a client asks for.
 *
 *   List-Unsubscribe: <URL/TOKEN/ADDRESS[/LIST]>, <mailto:TOKEN@DOMAIN?subject=unsubscribe>
 *   List-Unsubscribe-Post: List-Unsubscribe=One-Click
 *
 * TOKEN is signed (mail/verp.h, purpose UNSUBSCRIBE) and holds a hash of the address, so the
 * address behind it is proved by it. The list is not signed: who was written to may choose which of
 * the tenant's lists he leaves. Both are percent-encoded.
 */
#ifndef SLUICE_MAIL_UNSUBSCRIBE_H
#define SLUICE_MAIL_UNSUBSCRIBE_H

#include "base/strbuf.h"
#include "mail/verp.h"

#define UNSUBSCRIBE_ADDRESS_MAX 320
#define UNSUBSCRIBE_LIST_MAX 128
/* Longer lines than this (RFC 5322 2.1.1) would be cut by others. */
#define UNSUBSCRIBE_LINE_MAX 998

struct unsubscribe_link {
    const char *token;   /* NUL-terminated */
    struct slice url;    /* without "/" at the end; len 0: no link */
    struct slice mailto; /* domain; len 0: none */
    struct slice address, list;
};

/* Appends the fields. False, and nothing appended: no way was given, or a line would be too long.
 */
bool unsubscribe_write(const struct unsubscribe_link *link, struct strbuf *out);

struct unsubscribe_request {
    struct slice token;
    struct slice address, list; /* decoded, in `room` */
    char room[UNSUBSCRIBE_ADDRESS_MAX + UNSUBSCRIBE_LIST_MAX];
};

/* The path of a URL, up to "?", as it came: its last three or two parts. False: not of this form.
 */
bool unsubscribe_read(struct slice path, struct unsubscribe_request *request);

/* True if the header of this message has such a field already. */
bool unsubscribe_is_there(struct slice message);

#endif
