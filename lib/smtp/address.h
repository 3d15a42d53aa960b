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

/* Parses a Mailbox without angle brackets. False: fault says what is wrong and where. Slices point into `text`. */
bool smtp_address_parse(struct slice text, struct smtp_address *address, struct fault *fault);

/* Domain to its lower-case A-label form (IDNA2008, libidn2) in out, NUL-terminated; false: not a valid domain. For an address
 * literal it is copied in lower case. This is the Kafka key and the first step of every look-up. */
bool smtp_domain_normalise(struct slice domain, char out[SMTP_DOMAIN_MAX + 1], struct fault *fault);

#endif
