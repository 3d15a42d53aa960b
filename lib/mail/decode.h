/*
 * Transfer encodings (RFC 2045 6), encoded words (RFC 2047) and charsets, as far as reports need
 * them. Everything is lenient: what cannot be decoded stays as it is, and the result is always
 * valid UTF-8 without NUL bytes, with LF ends. Thread-safe: no state between calls.
 */
#ifndef SLUICE_MAIL_DECODE_H
#define SLUICE_MAIL_DECODE_H

#include "base/arena.h"
#include "base/slice.h"

enum mail_encoding { MAIL_ENCODING_PLAIN, MAIL_ENCODING_BASE64, MAIL_ENCODING_QUOTED };

/* Of the value of Content-Transfer-Encoding; unknown ones count as plain. */
enum mail_encoding mail_encoding_parse(struct slice value);

/* Undoes the transfer encoding. `out` has room for body.len bytes, which is always enough; returns
 * the length. */
size_t mail_decode_transfer(struct slice body, enum mail_encoding encoding, char *out);

/* A text body as UTF-8 text in the arena: transfer encoding, charset, line ends. At most
 * `max_bytes` of the body are looked at. Empty when the arena is full. */
struct slice mail_decode_text(struct arena *arena, struct slice body, enum mail_encoding encoding,
                              struct slice charset, size_t max_bytes);

/* An unstructured header value as UTF-8; the value itself where nothing is encoded. */
struct slice mail_decode_words(struct arena *arena, struct slice value);

/* The visible text of an HTML body (already UTF-8): tags dropped, blocks and <br> become line ends,
 * the usual entities decoded. */
struct slice mail_html_text(struct arena *arena, struct slice html);

#endif
