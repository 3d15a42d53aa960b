#include "mail/unsubscribe.h"

#define FIELD "List-Unsubscribe:"
#define HEADER_MAX_BYTES ((size_t)64 * 1024)
#define FIELDS_MAX_BYTES ((size_t)4096)

/* RFC 3986 2.3 unreserved, so that no client and no proxy sees a reason to change it. */
static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static void add_encoded(struct strbuf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (is_unreserved(text.ptr[i])) {
            strbuf_add_byte(out, text.ptr[i]);
        } else {
            strbuf_addf(out, "%%%02X", (unsigned char)text.ptr[i]);
        }
    }
}

static int digit(char c)
{
    char lower = ascii_lower_byte(c);
    if (lower >= '0' && lower <= '9') {
        return lower - '0';
    }
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* False: a broken escape, a NUL or control, or more than `max`. */
static bool decode(struct slice text, char *out, size_t max, struct slice *decoded)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? digit(text.ptr[i + 1]) : -1;
            int low = high >= 0 ? digit(text.ptr[i + 2]) : -1;
            if (low < 0) {
                return false;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        if ((unsigned char)c < ' ' || c == 0x7f || len == max) {
            return false;
        }
        out[len++] = c;
    }
    *decoded = slice_of(out, len);
    return true;
}

/* The longest line of what begins at `from`, CRLF not counted. */
static size_t longest_line(struct slice text)
{
    size_t most = 0;
    while (text.ptr != NULL && text.len > 0) {
        struct slice line = slice_cut(&text, '\n');
        most = line.len > most ? line.len : most;
    }
    return most > 0 ? most - 1 : 0;
}

bool unsubscribe_write(const struct unsubscribe_link *link, struct strbuf *out)
{
    struct strbuf fields;
    strbuf_init(&fields, FIELDS_MAX_BYTES);
    strbuf_add_cstr(&fields, FIELD " ");
    if (link->url.len > 0) {
        strbuf_addf(&fields, "<%.*s/%s/", SLICE_FMT(link->url), link->token);
        add_encoded(&fields, link->address);
        if (link->list.len > 0) {
            strbuf_add_byte(&fields, '/');
            add_encoded(&fields, link->list);
        }
        strbuf_add_cstr(&fields, link->mailto.len > 0 ? ">,\r\n " : ">");
    }
    if (link->mailto.len > 0) {
        strbuf_addf(&fields, "<mailto:%s@%.*s?subject=unsubscribe>", link->token,
                    SLICE_FMT(link->mailto));
    }
    strbuf_add_cstr(&fields, "\r\n");
    if (link->url.len > 0) {
        strbuf_add_cstr(&fields, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
    }
    bool ok = (link->url.len > 0 || link->mailto.len > 0) &&
              longest_line(strbuf_slice(&fields)) <= UNSUBSCRIBE_LINE_MAX &&
              strbuf_add_slice(out, strbuf_slice(&fields));
    strbuf_free(&fields);
    return ok;
}

bool unsubscribe_read(struct slice path, struct unsubscribe_request *request)
{
    ptrdiff_t query = slice_find_byte(path, '?');
    struct slice rest = query >= 0 ? slice_head(path, (size_t)query) : path;
    struct slice list = SLICE_NULL;
    /* The token is the first part of that length; whatever stands before it is the proxy's. */
    while (rest.ptr != NULL) {
        struct slice part = slice_cut(&rest, '/');
        if (part.len == VERP_LOCAL_LEN && rest.ptr != NULL) {
            struct slice address = slice_cut(&rest, '/');
            request->token = part;
            if (rest.ptr != NULL) {
                list = slice_cut(&rest, '/');
            }
            return rest.ptr == NULL && address.len > 0 &&
                   decode(address, request->room, UNSUBSCRIBE_ADDRESS_MAX, &request->address) &&
                   decode(list, request->room + UNSUBSCRIBE_ADDRESS_MAX, UNSUBSCRIBE_LIST_MAX,
                          &request->list);
        }
    }
    return false;
}

bool unsubscribe_is_there(struct slice message)
{
    struct slice rest = slice_head(message, HEADER_MAX_BYTES);
    while (rest.ptr != NULL && rest.len > 0) {
        struct slice line = slice_cut(&rest, '\n');
        if (line.len == 0 || (line.len == 1 && line.ptr[0] == '\r')) {
            return false;
        }
        if (slice_starts_with_nocase(line, SLICE(FIELD))) {
            return true;
        }
    }
    return false;
}
