#include "base/strbuf.h"

#include "base/mem.h"

#include <errno.h>
#include <unistd.h>

#define STRBUF_FIRST_BYTES 64
#define STRBUF_READ_BYTES ((size_t)16384)

void strbuf_init(struct strbuf *buf, size_t max_bytes)
{
    CHECK(max_bytes < SIZE_MAX / 4);
    *buf = (struct strbuf){.max = max_bytes};
}

void strbuf_free(struct strbuf *buf)
{
    mem_free(buf->ptr);
    *buf = (struct strbuf){.max = buf->max};
}

void strbuf_reset(struct strbuf *buf)
{
    buf->len = 0;
    buf->overflow = false;
    if (buf->ptr != NULL) {
        buf->ptr[0] = '\0';
    }
}

char *strbuf_reserve(struct strbuf *buf, size_t len)
{
    if (buf->overflow || len > buf->max - buf->len) {
        buf->overflow = true;
        return NULL;
    }
    size_t need = buf->len + len + 1;
    if (need > buf->capacity) {
        size_t grown = buf->capacity == 0 ? STRBUF_FIRST_BYTES : buf->capacity * 2;
        grown = grown < need ? need : grown;
        grown = grown > buf->max + 1 ? buf->max + 1 : grown;
        char *moved = realloc(buf->ptr, grown);
        if (moved == NULL) {
            buf->overflow = true;
            return NULL;
        }
        buf->ptr = moved;
        buf->capacity = grown;
    }
    return buf->ptr + buf->len;
}

void strbuf_commit(struct strbuf *buf, size_t len)
{
    CHECK(buf->len + len < buf->capacity);
    buf->len += len;
    buf->ptr[buf->len] = '\0';
}

bool strbuf_add(struct strbuf *buf, const void *ptr, size_t len)
{
    char *room = strbuf_reserve(buf, len);
    if (room == NULL) {
        return false;
    }
    if (len > 0) {
        memcpy(room, ptr, len);
    }
    strbuf_commit(buf, len);
    return true;
}

bool strbuf_add_slice(struct strbuf *buf, struct slice s)
{
    return strbuf_add(buf, s.ptr, s.len);
}

bool strbuf_add_cstr(struct strbuf *buf, const char *text)
{
    return strbuf_add(buf, text, strlen(text));
}

bool strbuf_add_byte(struct strbuf *buf, char byte)
{
    return strbuf_add(buf, &byte, 1);
}

bool strbuf_vaddf(struct strbuf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, format, args);
    CHECK(need >= 0);
    char *room = strbuf_reserve(buf, (size_t)need);
    if (room != NULL) {
        vsnprintf(room, (size_t)need + 1, format, again);
        strbuf_commit(buf, (size_t)need);
    }
    va_end(again);
    return room != NULL;
}

bool strbuf_addf(struct strbuf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool ok = strbuf_vaddf(buf, format, args);
    va_end(args);
    return ok;
}

void strbuf_consume(struct strbuf *buf, size_t len)
{
    CHECK(len <= buf->len);
    if (len == 0) {
        return;
    }
    memmove(buf->ptr, buf->ptr + len, buf->len - len);
    buf->len -= len;
    buf->ptr[buf->len] = '\0';
}

bool strbuf_add_file(struct strbuf *buf, int fd)
{
    for (;;) {
        char beyond; /* full: is there more? */
        size_t left = buf->max - buf->len;
        size_t len = left < STRBUF_READ_BYTES ? left : STRBUF_READ_BYTES;
        char *room = len == 0 ? &beyond : strbuf_reserve(buf, len);
        ssize_t got = room == NULL ? -1 : read(fd, room, len == 0 ? 1 : len);
        if (room == NULL || (got > 0 && len == 0)) {
            buf->overflow = true;
            errno = EFBIG;
            return false;
        }
        if (got >= 0 && len > 0) {
            strbuf_commit(buf, (size_t)got);
        }
        if (got == 0 || (got < 0 && errno != EINTR)) {
            return got == 0;
        }
    }
}
