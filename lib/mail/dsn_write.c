/* See dsn_write.h. Nothing that a peer or a sender said can end a line here. */
#include "mail/dsn_write.h"

#define HEADER_MAX_BYTES ((size_t)32 * 1024) /* of the original */
#define TEXT_MAX_BYTES ((size_t)600)
#define TEXT_LINE_BYTES ((size_t)70)
#define BOUNDARY "=_sluice_report"

/* As one word or phrase of a header field: controls become "?". */
static void add_clean(struct strbuf *out, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        strbuf_add_byte(out, c < ' ' || c == 0x7f ? '?' : (char)c);
    }
}

/* Printable ASCII, folded at blanks, or in words that are too long; line ends become blanks. */
static void add_folded(struct strbuf *out, struct slice text)
{
    size_t column = 20;
    bool blank = false;
    for (size_t i = 0; i < text.len && i < TEXT_MAX_BYTES; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '\r' || c == '\n' || c == '\t' || c == ' ') {
            blank = true;
            continue;
        }
        if (column >= TEXT_LINE_BYTES && (blank || column >= 3 * TEXT_LINE_BYTES)) {
            strbuf_add_cstr(out, "\r\n  ");
            column = 2;
        } else if (blank) {
            strbuf_add_byte(out, ' ');
            column++;
        }
        blank = false;
        strbuf_add_byte(out, c < ' ' || c >= 0x7f ? '?' : (char)c);
        column++;
    }
}

static void add_date(struct strbuf *out, struct wall_time at)
{
    char date[64];
    time_t seconds = (time_t)(at.ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
    strbuf_add_cstr(out, date);
}

static void add_field(struct strbuf *out, const char *name, struct slice value)
{
    strbuf_add_cstr(out, name);
    add_clean(out, value);
    strbuf_add_cstr(out, "\r\n");
}

static void add_header(const struct dsn_failure *failure, struct strbuf *out)
{
    strbuf_addf(out, "Message-ID: <%.*s@%.*s>\r\n", SLICE_FMT(failure->id),
                SLICE_FMT(failure->host));
    strbuf_add_cstr(out, "Date: ");
    add_date(out, failure->now);
    strbuf_addf(out, "\r\nFrom: Mail Delivery System <mailer-daemon@%.*s>\r\n",
                SLICE_FMT(failure->host));
    add_field(out, "To: ", failure->sender);
    strbuf_add_cstr(out, "Subject: Undelivered Mail Returned to Sender\r\n"
                         "Auto-Submitted: auto-replied\r\n"
                         "MIME-Version: 1.0\r\n"
                         "Content-Type: multipart/report; report-type=delivery-status;\r\n"
                         " boundary=\"" BOUNDARY "\"\r\n\r\n");
}

static void add_notice(const struct dsn_failure *failure, struct strbuf *out)
{
    bool ascii = !slice_has_8bit(failure->recipient);
    strbuf_addf(
        out,
        "--" BOUNDARY "\r\nContent-Type: text/plain; charset=%s\r\n"
        "Content-Transfer-Encoding: %s\r\n\r\nYour message could not be delivered to\r\n\r\n"
        "    ",
        ascii ? "us-ascii" : "utf-8", ascii ? "7bit" : "8bit");
    add_clean(out, failure->recipient);
    strbuf_addf(out, "\r\n\r\n%s\r\n\r\n    ",
                failure->expired ? "It was tried until its time was over. The last answer was:"
                                 : "The answer was:");
    if (failure->text.len > 0) {
        add_folded(out, failure->text);
    } else {
        strbuf_add_cstr(out, "(none)");
    }
    strbuf_add_cstr(out, "\r\n\r\nIt will not be tried again.\r\n\r\n");
}

static void add_status(const struct dsn_failure *failure, struct strbuf *out)
{
    bool ascii = !slice_has_8bit(failure->recipient) && !slice_has_8bit(failure->original);
    strbuf_addf(out, "--" BOUNDARY "\r\nContent-Type: message/%s\r\n%s\r\n",
                ascii ? "delivery-status" : "global-delivery-status",
                ascii ? "" : "Content-Transfer-Encoding: 8bit\r\n");
    add_field(out, "Reporting-MTA: dns; ", failure->host);
    if (failure->envelope.len > 0) {
        add_field(out, "Original-Envelope-Id: ", failure->envelope);
    }
    if (failure->arrived.ms > 0) {
        strbuf_add_cstr(out, "Arrival-Date: ");
        add_date(out, failure->arrived);
        strbuf_add_cstr(out, "\r\n");
    }
    strbuf_add_cstr(out, "\r\n");
    if (failure->original.len > 0) {
        add_field(out, "Original-Recipient: ", failure->original);
    }
    add_field(out,
              !slice_has_8bit(failure->recipient) ? "Final-Recipient: rfc822; "
                                                  : "Final-Recipient: utf-8; ",
              failure->recipient);
    strbuf_add_cstr(out, "Action: failed\r\n");
    add_field(out, "Status: ", failure->status);
    if (failure->remote_mta.len > 0) {
        add_field(out, "Remote-MTA: dns; ", failure->remote_mta);
    }
    if (failure->text.len > 0) {
        strbuf_add_cstr(out, "Diagnostic-Code: smtp; ");
        add_folded(out, failure->text);
        strbuf_add_cstr(out, "\r\n");
    }
    strbuf_add_cstr(out, "\r\n");
}

/* The header's lines with CRLF, whole lines up to the bound; NUL becomes "?". */
static void add_original(struct slice message, struct strbuf *out)
{
    struct slice rest = slice_head(message, HEADER_MAX_BYTES);
    bool cut = rest.len < message.len;
    bool ascii = true;
    size_t head_len = 0;
    while (rest.ptr != NULL && rest.len > 0) {
        struct slice line = slice_cut(&rest, '\n');
        if (line.len == 0 || (line.len == 1 && line.ptr[0] == '\r') || (rest.ptr == NULL && cut) ||
            slice_starts_with(line, SLICE("--"))) { /* no field, and might look like the end */
            break;
        }
        head_len = (size_t)(line.ptr - message.ptr) + line.len;
        ascii = ascii && !slice_has_8bit(line);
    }
    strbuf_addf(out, "--" BOUNDARY "\r\nContent-Type: %s\r\n%s\r\n",
                ascii ? "text/rfc822-headers" : "message/global-headers",
                ascii ? "" : "Content-Transfer-Encoding: 8bit\r\n");
    rest = slice_head(message, head_len);
    while (rest.ptr != NULL && rest.len > 0) {
        struct slice line = slice_cut(&rest, '\n');
        for (size_t i = 0; i < line.len; i++) {
            if (line.ptr[i] != '\r') {
                strbuf_add_byte(out, line.ptr[i] == '\0' ? '?' : line.ptr[i]);
            }
        }
        strbuf_add_cstr(out, "\r\n");
    }
    strbuf_add_cstr(out, "\r\n");
}

bool dsn_write(const struct dsn_failure *failure, struct strbuf *out)
{
    add_header(failure, out);
    add_notice(failure, out);
    add_status(failure, out);
    add_original(failure->message, out);
    return strbuf_add_cstr(out, "--" BOUNDARY "--\r\n");
}
