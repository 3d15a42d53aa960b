/*
 * A growing byte buffer with a maximum given when it is made. Once an addition would pass the
 * maximum it is refused as a whole, the buffer remembers that (`overflow`) and every later addition
 * is refused as well, so that a builder may add many parts and look once at the end. Always
 * NUL-terminated behind its length.
 */
#ifndef SLUICE_BASE_STRBUF_H
#define SLUICE_BASE_STRBUF_H

#include "base/slice.h"

#include <stdarg.h>

struct strbuf {
    char *ptr;
    size_t len;
    size_t capacity;
    size_t max; /* bytes, without the NUL */
    bool overflow;
};

void strbuf_init(struct strbuf *buf, size_t max_bytes);
void strbuf_free(struct strbuf *buf);

/* Length 0 and no overflow; keeps the memory. */
void strbuf_reset(struct strbuf *buf);

bool strbuf_add(struct strbuf *buf, const void *ptr, size_t len);
bool strbuf_add_slice(struct strbuf *buf, struct slice s);
bool strbuf_add_cstr(struct strbuf *buf, const char *text);
bool strbuf_add_byte(struct strbuf *buf, char byte);
bool strbuf_addf(struct strbuf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
bool strbuf_vaddf(struct strbuf *buf, const char *format, va_list args) PRINTF_LIKE(2, 0);

/* All that the descriptor gives, up to its end. False: errno says why, EFBIG: it would pass the
 * maximum. */
bool strbuf_add_file(struct strbuf *buf, int fd);

/* Room for `len` more bytes; NULL when that passes the maximum. The caller writes and calls
 * strbuf_commit. */
char *strbuf_reserve(struct strbuf *buf, size_t len);
void strbuf_commit(struct strbuf *buf, size_t len);

/* Drops the first `len` bytes. */
void strbuf_consume(struct strbuf *buf, size_t len);

static inline struct slice strbuf_slice(const struct strbuf *buf)
{
    return slice_of(buf->ptr, buf->len);
}

#endif
