#include "producer/header.h"

#include <stdio.h>
#include <time.h>

#define VALUE_MAX 998
#define EHLO_NAME_MAX 255

enum field {
    FIELD_OTHER,
    FIELD_DATE,
    FIELD_MESSAGE_ID,
    FIELD_POOL,
    FIELD_CAMPAIGN,
    FIELD_JOB,
    FIELD_STREAM,
    FIELD_ENVID,
    FIELD_KEY,
};

static const struct {
    struct slice name;
    enum field field;
} fields[] = {
    {{"Date", 4}, FIELD_DATE},           {{"Message-ID", 10}, FIELD_MESSAGE_ID},
    {{"X-Virtual-MTA", 13}, FIELD_POOL}, {{"X-Sluice-Campaign", 17}, FIELD_CAMPAIGN},
    {{"X-Job", 5}, FIELD_JOB},           {{"X-Sluice-Stream", 15}, FIELD_STREAM},
    {{"X-Envid", 7}, FIELD_ENVID},       {{"X-Sluice-Idempotency-Key", 24}, FIELD_KEY},
};

static enum field field_of(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (slice_eq_nocase(name, fields[i].name)) {
            return fields[i].field;
        }
    }
    return FIELD_OTHER;
}

/* Length of the line at the start of `rest`, with its CRLF. */
static size_t line_len(struct slice rest)
{
    ptrdiff_t lf = slice_find_byte(rest, '\n');
    return lf < 0 ? rest.len : (size_t)lf + 1;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Length of the field at the start of `rest`: its line and those that are folded behind it. */
static size_t field_len(struct slice rest)
{
    size_t len = line_len(rest);
    while (rest.ptr != NULL && len < rest.len && is_blank(rest.ptr[len])) {
        len += line_len(slice_skip(rest, len));
    }
    return len;
}

/* unfolding (RFC 5322 section 2.2.3): the CRLF before a blank goes, the blank stays. */
static bool take_value(struct slice body, struct slice name, struct arena *arena, struct slice *out,
                       struct fault *fault)
{
    if (out->ptr != NULL) {
        return fault_set(fault, FAULT_INVALID, 0, "%.*s: is there twice", SLICE_FMT(name));
    }
    char *text = body.len > VALUE_MAX ? NULL : arena_try_alloc(arena, body.len + 1);
    if (text == NULL || body.ptr == NULL) {
        return fault_set(fault, FAULT_INVALID, 0, "%.*s: is too long", SLICE_FMT(name));
    }
    size_t len = 0;
    for (size_t i = 0; i < body.len; i++) {
        if (body.ptr[i] != '\r' && body.ptr[i] != '\n') {
            text[len++] = body.ptr[i] == '\t' ? ' ' : body.ptr[i];
        }
    }
    *out = slice_trim(slice_of(text, len));
    if (out->len == 0) {
        return fault_set(fault, FAULT_INVALID, 0, "%.*s: is empty", SLICE_FMT(name));
    }
    if (slice_has_control(*out) || !slice_is_utf8(*out)) {
        return fault_set(fault, FAULT_INVALID, 0, "%.*s: has a character that is not allowed",
                         SLICE_FMT(name));
    }
    return true;
}

static bool take_field(struct slice field, struct arena *arena, struct header *header,
                       struct slice *job, struct fault *fault)
{
    struct slice body = field;
    struct slice name = slice_trim(slice_cut(&body, ':'));
    struct slice *wish = NULL;
    switch (field_of(name)) {
    case FIELD_OTHER: return true;
    case FIELD_DATE: header->has_date = true; return true;
    case FIELD_MESSAGE_ID: header->has_message_id = true; return true;
    case FIELD_POOL: wish = &header->wishes.pool; break;
    case FIELD_CAMPAIGN: wish = &header->wishes.campaign; break;
    case FIELD_JOB: wish = job; break;
    case FIELD_STREAM: wish = &header->wishes.stream; break;
    case FIELD_ENVID: wish = &header->wishes.envid; break;
    case FIELD_KEY: wish = &header->wishes.key; break;
    }
    if (header->stripped_count == HEADER_STRIPPED_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "%.*s: is there too often", SLICE_FMT(name));
    }
    header->stripped[header->stripped_count++] = (struct header_span){header->len, field.len};
    return take_value(body, name, arena, wish, fault);
}

bool header_read(struct slice content, struct arena *arena, struct header *header,
                 struct fault *fault)
{
    struct slice job = SLICE_NULL;
    *header = (struct header){0};
    while (header->len < content.len) {
        struct slice rest = slice_skip(content, header->len);
        const char first = content.ptr[header->len];
        if (first == '\r' || first == '\n') {
            break;
        }
        struct slice field = slice_head(rest, field_len(rest));
        if (slice_find_byte(slice_head(field, line_len(field)), ':') < 0) {
            return fault_set(fault, FAULT_INVALID, 0,
                             "the header has a line that is no field, or no empty line at its end");
        }
        if (!take_field(field, arena, header, &job, fault)) {
            return false;
        }
        header->len += field.len;
    }
    if (header->wishes.campaign.ptr == NULL) {
        header->wishes.campaign = job;
    }
    return true;
}

static char *put(char *at, struct slice text)
{
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    return at + text.len;
}

char *header_rewrite(char *start, const struct header *header, struct slice trace,
                     struct slice added)
{
    char *base = start;
    /* Close each gap by moving what stands before it; first to last, so that places stay true. */
    for (size_t i = 0; i < header->stripped_count; i++) {
        const struct header_span *span = &header->stripped[i];
        memmove(base + span->len, base, (size_t)(start + span->at - base));
        base += span->len;
    }
    size_t len = (size_t)(start + header->len - base);
    memmove(base - added.len, base, len);
    base -= added.len;
    put(base + len, added);
    base -= trace.len;
    put(base, trace);
    return base;
}

struct slice header_date(struct wall_time now, char out[HEADER_DATE_MAX])
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(now.ms / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    int len =
        snprintf(out, HEADER_DATE_MAX, "%s, %d %s %d %02d:%02d:%02d +0000", days[t.tm_wday],
                 t.tm_mday, months[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    return slice_of(out, len > 0 && len < HEADER_DATE_MAX ? (size_t)len : 0);
}

/* A name that was said to us, as a Domain or address-literal may look; the rest becomes '?'. */
static void harmless(char out[EHLO_NAME_MAX + 1], struct slice name)
{
    size_t len = name.len < EHLO_NAME_MAX ? name.len : EHLO_NAME_MAX;
    for (size_t i = 0; i < len; i++) {
        char c = name.ptr[i];
        char low = ascii_lower_byte(c);
        bool fine = (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
                    c == '_' || c == ':' || c == '[' || c == ']';
        out[i] = fine ? c : '?';
    }
    out[len] = '\0';
    if (len == 0) {
        memcpy(out, "unknown", sizeof("unknown"));
    }
}

struct slice header_received(const struct header_trace *trace, char out[HEADER_TRACE_MAX])
{
    char name[EHLO_NAME_MAX + 1];
    char tls[120] = "";
    char date[HEADER_DATE_MAX];
    harmless(name, trace->ehlo_name);
    if (trace->tls_version.ptr != NULL) {
        snprintf(tls, sizeof(tls), "\t(%.15s with cipher %.63s)\r\n", trace->tls_version.ptr,
                 trace->tls_cipher.ptr);
    }
    bool ipv6 = slice_find_byte(trace->client, ':') >= 0;
    struct slice when = header_date(trace->now, date);
    int len = snprintf(
        out, HEADER_TRACE_MAX,
        "Received: from %s ([%s%.*s])\r\n%s\tby %.*s (Sluice) with %s%s%s id %.*s;\r\n\t%.*s\r\n",
        name, ipv6 ? "IPv6:" : "", SLICE_FMT(trace->client), tls, SLICE_FMT(trace->host_name),
        trace->smtputf8 ? "UTF8SMTP" : "ESMTP", trace->tls_version.ptr != NULL ? "S" : "",
        trace->authenticated ? "A" : "", SLICE_FMT(trace->id), SLICE_FMT(when));
    CHECK(len > 0 && len < HEADER_TRACE_MAX);
    return slice_of(out, (size_t)len);
}
