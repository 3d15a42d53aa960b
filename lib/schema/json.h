/*
 * Writing JSON strings (RFC 8259 section 7).
 */
#ifndef SLUICE_SCHEMA_JSON_H
#define SLUICE_SCHEMA_JSON_H

#include "base/strbuf.h"

/* In quotes, escaped; what is NUL or not UTF-8 becomes '?'. A full buffer remembers its overflow.
 */
void json_add_string(struct strbuf *out, struct slice text);

/* ,"name":"text"; nothing when there is no text. */
void json_add_member(struct strbuf *out, const char *name, struct slice text);

/* Decimal. */
void json_add_signed(struct strbuf *out, int64_t value);
void json_add_unsigned(struct strbuf *out, uint64_t value);

#endif
