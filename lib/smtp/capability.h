/*
 * What a server offers in its EHLO reply (RFC 5321 section 4.1.1.1 ehlo-line).
 */
#ifndef SLUICE_SMTP_CAPABILITY_H
#define SLUICE_SMTP_CAPABILITY_H

#include "smtp/client.h" /* enum smtp_capability */

struct smtp_capabilities {
    uint32_t flags;            /* enum smtp_capability */
    uint64_t size_limit_bytes; /* SIZE value; 0: none, or not offered */
};

/* Adds what one line offers (the text behind "250-", not the first line, which holds the server's
 * name). Unknown keywords and unusable parameters add nothing. */
void smtp_capability_take(struct smtp_capabilities *capabilities, struct slice line);

#endif
