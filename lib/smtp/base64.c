/*
 * Base64, strict. No state, no allocation beyond the caller's buffer; any thread.
 */
#include "smtp/base64.h"

static const char BASE64_ALPHABET[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool smtp_base64_encode(struct slice in, struct strbuf *out)
{
    size_t at = 0;
    while (at < in.len) {
        size_t left = in.len - at;
        uint32_t group = (uint32_t)(unsigned char)in.ptr[at] << 16;
        group |= left > 1 ? (uint32_t)(unsigned char)in.ptr[at + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)(unsigned char)in.ptr[at + 2] : 0;
        char text[4] = {
            BASE64_ALPHABET[group >> 18],
            BASE64_ALPHABET[(group >> 12) & 63],
            left > 1 ? BASE64_ALPHABET[(group >> 6) & 63] : '=',
            left > 2 ? BASE64_ALPHABET[group & 63] : '=',
        };
        strbuf_add(out, text, sizeof(text));
        at += left > 2 ? 3 : left;
    }
    return !out->overflow;
}

/* 0 … 63, or -1. */
static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+') {
        return 62;
    }
    return c == '/' ? 63 : -1;
}

bool smtp_base64_decode(struct slice in, char *out, size_t max_bytes, size_t *len_bytes)
{
    size_t used = 0;
    *len_bytes = 0;
    if (in.len % 4 != 0) {
        return false;
    }
    for (size_t at = 0; at < in.len; at += 4) {
        size_t padding = 0;
        uint32_t group = 0;
        for (size_t i = 0; i < 4; i++) {
            char c = in.ptr[at + i];
            int value = base64_value(c);
            if (c == '=' && at + 4 == in.len && i >= 2) {
                padding++;
                value = 0;
            } else if (padding > 0 || value < 0) {
                return false;
            }
            group = group << 6 | (uint32_t)value;
        }
        size_t bytes = 3 - padding;
        if ((padding == 1 && (group & 0xff) != 0) || (padding == 2 && (group & 0xffff) != 0) ||
            bytes > max_bytes - used) {
            return false;
        }
        for (size_t i = 0; i < bytes; i++) {
            out[used++] = (char)(unsigned char)(group >> (16 - 8 * i) & 0xff);
        }
    }
    *len_bytes = used;
    return true;
}
