/*
 * Base64 as SMTP AUTH uses it (RFC 4954 section 4, RFC 4648 section 4): one line, padding required,
 * nothing but the alphabet accepted, and the unused bits of the last character must be zero.
 */
#ifndef SLUICE_SMTP_BASE64_H
#define SLUICE_SMTP_BASE64_H

#include "base/slice.h"
#include "base/strbuf.h"

/* Appends the encoded bytes; false: past the buffer's maximum. */
bool smtp_base64_encode(struct slice in, struct strbuf *out);

/* Decodes into `out` (at most `max_bytes`, *len_bytes are used). False: not base64, or too long;
 * `out` may then hold a part. */
bool smtp_base64_decode(struct slice in, char *out, size_t max_bytes, size_t *len_bytes);

#endif
