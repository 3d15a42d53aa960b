/*
 * xtext (RFC 3461 section 4): printable ASCII without "+" and "=", everything else as "+" and two
 * upper-case hexadecimal digits. Used by ENVID, ORCPT and AUTH=.
 */
#ifndef SLUICE_SMTP_XTEXT_H
#define SLUICE_SMTP_XTEXT_H

#include "base/slice.h"
#include "base/strbuf.h"

/* Appends the encoded bytes; false: past the buffer's maximum. */
bool smtp_xtext_encode(struct slice in, struct strbuf *out);

/* Appends the decoded bytes; false: not xtext (the buffer may hold a part), or past its maximum. */
bool smtp_xtext_decode(struct slice in, struct strbuf *out);

/* True if it is well-formed xtext; an empty one is. */
bool smtp_xtext_valid(struct slice in);

#endif
