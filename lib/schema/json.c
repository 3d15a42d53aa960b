#include "schema/json.h"

#include "schema/wire.h"

static bool plain(char c)
{
    return (uint8_t)c >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
}

static void add_escaped(struct strbuf *out, struct slice text)
{
    for (size_t at = 0; at < text.len;) {
        size_t run = at;
        while (run < text.len && plain(text.ptr[run])) {
            run++;
        }
        strbuf_add(out, text.ptr + at, run - at);
        at = run;
        if (at == text.len) {
            break;
        }
        char c = text.ptr[at++];
        if (c == '"' || c == '\\') {
            strbuf_add_byte(out, '\\');
            strbuf_add_byte(out, c);
        } else {
            strbuf_addf(out, "\\u%04x", (unsigned)(uint8_t)c);
        }
    }
}

void json_add_string(struct strbuf *out, struct slice text)
{
    strbuf_add_byte(out, '"');
    if (wire_text_valid(text)) {
        add_escaped(out, text);
    } else {
        struct strbuf copy;
        strbuf_init(&copy, text.len);
        if (strbuf_add_slice(&copy, text)) {
            wire_text_sanitise(copy.ptr, copy.len);
            add_escaped(out, strbuf_slice(&copy));
        }
        strbuf_free(&copy);
    }
    strbuf_add_byte(out, '"');
}

void json_add_member(struct strbuf *out, const char *name, struct slice text)
{
    if (text.len > 0) {
        strbuf_addf(out, ",\"%s\":", name);
        json_add_string(out, text);
    }
}

/* Decimal, without the cost of printf: an event has a dozen of them. */
static void add_number(struct strbuf *out, uint64_t value, bool negative)
{
    char digits[24];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    if (negative) {
        digits[--at] = '-';
    }
    strbuf_add(out, digits + at, sizeof(digits) - at);
}

void json_add_signed(struct strbuf *out, int64_t value)
{
    add_number(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
}

void json_add_unsigned(struct strbuf *out, uint64_t value)
{
    add_number(out, value, false);
}
