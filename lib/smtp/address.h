/*
 * Mail addresses (RFC 5321 section 4.1.2 Mailbox, RFC 6531 for UTF-8): syntax only, no look-up.
 */
#ifndef SLUICE_SMTP_ADDRESS_H
#define SLUICE_SMTP_ADDRESS_H

#include "base/fault.h"
#include "base/slice.h"

#define SMTP_LOCAL_PART_MAX 64
#define SMTP_DOMAIN_MAX 255
#define SMTP_ADDRESS_MAX 254

struct smtp_address {
    struct slice local;  /* as written, with quotes if quoted */
    struct slice domain; /* as written; "[…]" for an address literal */
    bool literal;        /* domain is an address literal */
    bool utf8;           /* has bytes >= 0x80 */
};

/* Parses a Mailbox without angle brackets. False: fault (may be NULL) says what is wrong and where.
 * Slices point into `text`. Stricter than the grammar: a domain's last label is not all digits.
 * More lenient: underscores in labels, since mail is sent to domains that have them. A trailing dot
 * is refused. U-labels are only looked at as UTF-8; smtp_domain_normalise() judges them. */
bool smtp_address_parse(struct slice text, struct smtp_address *address, struct fault *fault);

/* Domain to its lower-case A-label form (IDNA2008, libidn2) in out, NUL-terminated; false: not a
 * valid domain (empty, overlong or non-LDH label, trailing dot, over 253 bytes as A-labels, or
 * refused by IDNA2008). For an address literal it is copied in lower case, "[ipv6:2001:db8::1]".
 * Domains that are ASCII already are not judged by IDNA: the DNS does that. This is the Kafka key
 * and the first step of every look-up. */
bool smtp_domain_normalise(struct slice domain, char out[SMTP_DOMAIN_MAX + 1], struct fault *fault);

#endif
