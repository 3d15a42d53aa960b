/*
 * Addresses in running text and in header fields. A cursor, no allocation.
 *
 *   addr = local "@" domain        local: RFC 5321 4.1.2 dot-string (dots anywhere), quoted-string,
 * or UTF-8 (RFC 6531)
 *
 * What is found is a view on the text as it stands there; a quoted local part keeps its quotes.
 */
#ifndef SLUICE_MAIL_ADDRESS_H
#define SLUICE_MAIL_ADDRESS_H

#include "base/arena.h"
#include "base/slice.h"

/* The first address in *rest at or behind *rest's start; *rest moves behind it. False when there is
 * none. */
bool mail_address_next(struct slice *rest, struct slice *address);

/* The first address of a header value such as From; the one in <> is preferred. SLICE_NULL when
 * there is none. */
struct slice mail_address_first(struct slice value);

/* The address of a report field, "rfc822; <user@example.org>" (RFC 3464 2.3.1), UTF-8 ones
 * unescaped (RFC 6533 3). What has no '@' comes back as it stands. */
struct slice mail_address_typed(struct arena *arena, struct slice value);

/* True if both name the same mailbox: domain without case, local part without case too (hosts vary
 * it in reports). */
bool mail_address_eq(struct slice a, struct slice b);

/* Behind the '@'; empty without one. */
struct slice mail_address_domain(struct slice address);
struct slice mail_address_local(struct slice address);

#endif
