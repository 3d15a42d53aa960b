/*
 * xtext = *( xchar / hexchar )
 * xchar = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
 * hexchar = ASCII "+" immediately followed by two upper case hexadecimal digits      (RFC 3461
 * section 4)
 */
#include "smtp/xtext.h"

static bool xtext_is_xchar(char c)
{
    return c > ' ' && c < 0x7f && c != '+' && c != '=';
}

static int xtext_hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Takes one character from *rest; -1: none there or not xtext. */
static int xtext_take(struct slice *rest)
{
    if (rest->len == 0) {
        return -1;
    }
    char c = rest->ptr[0];
    if (xtext_is_xchar(c)) {
        *rest = slice_skip(*rest, 1);
        return c;
    }
    if (c != '+' || rest->len < 3) {
        return -1;
    }
    int high = xtext_hex_value(rest->ptr[1]);
    int low = xtext_hex_value(rest->ptr[2]);
    *rest = slice_skip(*rest, 3);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool smtp_xtext_encode(struct slice in, struct strbuf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char)in.ptr[i];
        if (xtext_is_xchar(in.ptr[i])) {
            strbuf_add_byte(out, in.ptr[i]);
        } else {
            char hex[3] = {'+', digits[c >> 4], digits[c & 15]};
            strbuf_add(out, hex, sizeof(hex));
        }
    }
    return !out->overflow;
}

bool smtp_xtext_decode(struct slice in, struct strbuf *out)
{
    while (in.len > 0) {
        int c = xtext_take(&in);
        if (c < 0) {
            return false;
        }
        strbuf_add_byte(out, (char)(unsigned char)c);
    }
    return !out->overflow;
}

bool smtp_xtext_valid(struct slice in)
{
    while (in.len > 0) {
        if (xtext_take(&in) < 0) {
            return false;
        }
    }
    return true;
}
