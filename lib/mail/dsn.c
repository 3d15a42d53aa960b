/*
 * See dsn.h.
 *
 *   delivery-status = per-message-fields 1*( CRLF per-recipient-fields )        (RFC 3464 2.1)
 *
 * Blank lines cannot be relied on: systems leave them out, double them, or put Action before
 * Final-Recipient. So a new recipient begins where a field comes that the current one has already,
 * or where one of the address fields comes behind a blank line. A line that is neither a field nor
 * folded continues the diagnostic: Exchange and gateways wrap it without indentation.
 */
#include "mail/dsn.h"

#include "mail/address.h"
#include "mail/header.h"
#include "mail/status.h"

enum dsn_field {
    DSN_OTHER,
    DSN_REPORTING_MTA,
    DSN_ENVELOPE_ID,
    DSN_ORIGINAL_RECIPIENT,
    DSN_FINAL_RECIPIENT,
    DSN_ACTUAL_RECIPIENT,
    DSN_ACTION,
    DSN_STATUS,
    DSN_REMOTE_MTA,
    DSN_DIAGNOSTIC,
    DSN_RETRY,
    DSN_KNOWN, /* a field of reports that says nothing that we need */
};

struct dsn_name {
    struct slice name;
    enum dsn_field field;
};

static const struct dsn_name NAMES[] = {
    {{"Reporting-MTA", 13}, DSN_REPORTING_MTA},
    {{"Original-Envelope-Id", 20}, DSN_ENVELOPE_ID},
    {{"Original-Recipient", 18}, DSN_ORIGINAL_RECIPIENT},
    {{"Final-Recipient", 15}, DSN_FINAL_RECIPIENT},
    {{"X-Actual-Recipient", 18}, DSN_ACTUAL_RECIPIENT},
    {{"Action", 6}, DSN_ACTION},
    {{"Status", 6}, DSN_STATUS},
    {{"Remote-MTA", 10}, DSN_REMOTE_MTA},
    {{"Diagnostic-Code", 15}, DSN_DIAGNOSTIC},
    {{"X-Diagnostic-Code", 17}, DSN_DIAGNOSTIC},
    {{"Arrival-Date", 12}, DSN_KNOWN},
    {{"Last-Attempt-Date", 17}, DSN_KNOWN},
    {{"Will-Retry-Until", 16}, DSN_RETRY},
    {{"Received-From-MTA", 17}, DSN_KNOWN},
    {{"DSN-Gateway", 11}, DSN_KNOWN},
    {{"Final-Log-ID", 12}, DSN_KNOWN},
    {{"Localized-Diagnostic", 20}, DSN_KNOWN},
};

static enum dsn_field field_of(struct slice name)
{
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (slice_eq_nocase(name, NAMES[i].name)) {
            return NAMES[i].field;
        }
    }
    return slice_starts_with_nocase(name, SLICE("X-")) ? DSN_KNOWN : DSN_OTHER;
}

bool dsn_is_report_line(struct slice line)
{
    struct slice name = SLICE_NULL;
    if (!mail_line_is_field(line, &name)) {
        return false;
    }
    switch (field_of(name)) {
    case DSN_REPORTING_MTA:
    case DSN_ORIGINAL_RECIPIENT:
    case DSN_FINAL_RECIPIENT:
    case DSN_DIAGNOSTIC: return slice_find_byte(line, ';') > 0; /* "type; value": prose has none */
    case DSN_OTHER:
    case DSN_ENVELOPE_ID:
    case DSN_ACTUAL_RECIPIENT:
    case DSN_ACTION:
    case DSN_STATUS:
    case DSN_REMOTE_MTA:
    case DSN_RETRY:
    case DSN_KNOWN: return false;
    }
    return false;
}

struct slice dsn_find_in_text(struct slice text)
{
    struct slice rest = text;
    struct slice line = SLICE_NULL;
    struct slice before = rest;
    while (mail_line_next(&rest, &line)) {
        struct slice trimmed = slice_trim(line);
        if (trimmed.len > 12 && dsn_is_report_line(trimmed)) {
            return before;
        }
        before = rest;
    }
    return SLICE_NULL;
}

struct reader {
    struct recipient_list *list;
    struct dsn_message_fields *message;
    struct returned_recipient *current;
    unsigned seen; /* bit per enum dsn_field of the current recipient */
    bool blank;    /* a blank line since its last field */
};

static unsigned bit(enum dsn_field field)
{
    return 1U << (unsigned)field;
}

/* "dns; mx.example.org (192.0.2.1)" -> the host name. */
static struct slice typed_host(struct slice value)
{
    ptrdiff_t semicolon = slice_find_byte(value, ';');
    struct slice host =
        slice_trim(semicolon < 0 ? value : slice_skip(value, (size_t)semicolon + 1));
    if (host.len > 0 && host.ptr[0] == '<') {
        host = slice_skip(host, 1);
    }
    size_t n = 0;
    while (n < host.len && strchr(" \t(>,", host.ptr[n]) == NULL) {
        n++;
    }
    return slice_head(host, n);
}

static struct slice first_word(struct slice value)
{
    size_t n = 0;
    while (n < value.len && strchr(" \t(;", value.ptr[n]) == NULL) {
        n++;
    }
    return slice_head(value, n);
}

static enum returned_action action_of(struct slice value)
{
    struct slice word = first_word(value);
    if (slice_starts_with_nocase(word, SLICE("fail")) || slice_eq_nocase(word, SLICE("expired"))) {
        return RETURNED_ACTION_FAILED;
    }
    if (slice_starts_with_nocase(word, SLICE("delay"))) {
        return RETURNED_ACTION_DELAYED;
    }
    if (slice_starts_with_nocase(word, SLICE("deliver")) ||
        slice_starts_with_nocase(word, SLICE("relayed")) ||
        slice_starts_with_nocase(word, SLICE("expanded"))) {
        return RETURNED_ACTION_DELIVERED;
    }
    /* "Action: failure", "error": some word there must be for the field to be. */
    return word.len > 0 ? RETURNED_ACTION_FAILED : RETURNED_ACTION_NONE;
}

/* The current recipient, or a new one when `field` begins it; NULL past the bound. */
static struct returned_recipient *recipient_for(struct reader *reader, enum dsn_field field)
{
    unsigned addresses = bit(DSN_FINAL_RECIPIENT) | bit(DSN_ORIGINAL_RECIPIENT);
    bool address_field = (bit(field) & addresses) != 0;
    bool again = (reader->seen & bit(field)) != 0;
    bool next = reader->blank && address_field && (reader->seen & addresses) != 0;
    if (reader->current == NULL || again || next) {
        reader->current = recipient_list_add(reader->list);
        reader->seen = 0;
    }
    reader->seen |= bit(field);
    reader->blank = false;
    return reader->current;
}

/*
 * Cisco's mail gateways put the server's reply into words of their own: "5.1.0 - Unknown address
 * error 550-'5.7.1 Access denied' (delivery attempts: 0)". The reply is what counts: "550-'…" up to
 * the last quotation mark.
 */
static struct slice quoted_reply(struct arena *arena, struct slice text)
{
    size_t at = 0;
    uint16_t code = status_find_code(text, &at);
    ptrdiff_t end = slice_rfind_byte(text, '\'');
    if (code < 400 || at == 0 || at + 5 >= text.len || text.ptr[at + 3] != '-' ||
        text.ptr[at + 4] != '\'' || end <= (ptrdiff_t)at + 5) {
        return text;
    }
    size_t len = (size_t)end - at - 1; /* "550 " for "550-'" */
    char *out = arena_try_alloc(arena, len + 1);
    if (out == NULL) {
        return text;
    }
    memcpy(out, text.ptr + at, 3);
    out[3] = ' ';
    memcpy(out + 4, text.ptr + at + 5, len - 4);
    out[len] = '\0';
    return slice_of(out, len);
}

static void set_diagnostic(struct reader *reader, struct returned_recipient *recipient,
                           struct slice value)
{
    value = slice_head(mail_unfold(reader->list->arena, value), RETURNED_TEXT_MAX);
    ptrdiff_t semicolon = slice_find_byte(slice_head(value, 32), ';');
    if (semicolon > 0 &&
        slice_find_byte(slice_trim(slice_head(value, (size_t)semicolon)), ' ') < 0) {
        recipient->diagnostic_type = slice_trim(slice_head(value, (size_t)semicolon));
        value = slice_skip(value, (size_t)semicolon + 1);
    }
    recipient->text = quoted_reply(reader->list->arena, slice_trim(value));
}

static void set_field(struct reader *reader, enum dsn_field field, struct slice raw)
{
    struct arena *arena = reader->list->arena;
    struct returned_recipient *recipient = recipient_for(reader, field);
    if (recipient == NULL) {
        return;
    }
    struct slice value =
        field == DSN_DIAGNOSTIC ? raw : mail_unfold(arena, slice_head(raw, RETURNED_TEXT_MAX));
    switch (field) {
    case DSN_ORIGINAL_RECIPIENT: recipient->original = mail_address_typed(arena, value); break;
    case DSN_FINAL_RECIPIENT:
    case DSN_ACTUAL_RECIPIENT: {
        struct slice address = mail_address_typed(arena, value);
        bool better = slice_find_byte(address, '@') >= 0 || recipient->address.len == 0;
        if (better &&
            (field == DSN_FINAL_RECIPIENT || slice_find_byte(recipient->address, '@') < 0)) {
            recipient->address = address;
        }
        break;
    }
    case DSN_ACTION: recipient->action = action_of(value); break;
    case DSN_STATUS: recipient->status = status_find_enhanced(value); break;
    case DSN_REMOTE_MTA: recipient->remote_mta = typed_host(value); break;
    case DSN_DIAGNOSTIC: set_diagnostic(reader, recipient, value); break;
    case DSN_RETRY: recipient->will_retry = true; break;
    case DSN_OTHER:
    case DSN_REPORTING_MTA:
    case DSN_ENVELOPE_ID:
    case DSN_KNOWN: break;
    }
}

/* The raw value of a field: its line and what continues it. A
 * diagnostic takes lines that are not indented, too. */
static struct slice field_value(struct slice line, struct slice *rest, bool diagnostic)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    const char *start = colon + 1;
    const char *end = line.ptr + line.len;
    struct slice after = *rest;
    struct slice next = SLICE_NULL;
    while (mail_line_next(&after, &next) && next.len > 0) {
        struct slice name = SLICE_NULL;
        bool folded = next.ptr[0] == ' ' || next.ptr[0] == '\t';
        bool field = mail_line_is_field(folded ? slice_trim(next) : next, &name) &&
                     field_of(name) != DSN_OTHER;
        if (folded ? field && line.ptr[0] == ' ' : !diagnostic || field) {
            break;
        }
        end = next.ptr + next.len;
        *rest = after;
    }
    return slice_trim(slice_of(start, (size_t)(end - start)));
}

void dsn_read(struct slice fields, struct recipient_list *list, struct dsn_message_fields *message)
{
    struct reader reader = {.list = list, .message = message};
    struct slice line = SLICE_NULL;
    while (mail_line_next(&fields, &line)) {
        struct slice trimmed = slice_trim(line);
        struct slice name = SLICE_NULL;
        if (trimmed.len == 0) {
            reader.blank = true;
            continue;
        }
        if (!mail_line_is_field(trimmed, &name)) {
            continue;
        }
        enum dsn_field field = field_of(name);
        struct slice from = slice_of(trimmed.ptr, (size_t)(line.ptr + line.len - trimmed.ptr));
        if (line.ptr[0] == ' ') {
            from = line; /* an indented block: its own indentation is no folding */
        }
        struct slice value = field_value(from, &fields, field == DSN_DIAGNOSTIC);
        switch (field) {
        case DSN_REPORTING_MTA:
            message->reporting_mta = typed_host(mail_unfold(list->arena, value));
            break;
        case DSN_ENVELOPE_ID: message->envelope_id = mail_unfold(list->arena, value); break;
        case DSN_ORIGINAL_RECIPIENT:
        case DSN_FINAL_RECIPIENT:
        case DSN_ACTUAL_RECIPIENT:
        case DSN_ACTION:
        case DSN_STATUS:
        case DSN_REMOTE_MTA:
        case DSN_DIAGNOSTIC:
        case DSN_RETRY: set_field(&reader, field, value); break;
        case DSN_OTHER:
        case DSN_KNOWN: break;
        }
    }
}
