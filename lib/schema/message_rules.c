/*
 * The rules that a record must keep: RFC 5321 (addresses, sizes), RFC 5322 (header lines), RFC 3461
 * (DSN parameters), and our own limits. Whatever breaks one can never be delivered as its sender
 * meant it, so it is refused at the first reading with the field's name.
 *
 * Header lines may have up to 8 KB although RFC 5322 section 2.1.1 says 998 octets: campaign mail
 * has List-Unsubscribe and tracking headers of 1 or 2 KB that receivers take, and it is not for us
 * to refuse what they would not.
 */
#include "schema/message_private.h"

#include "smtp/address.h"

#define CAMPAIGN_MAX 128
#define POOL_MAX 128
#define ENVID_MAX 100
#define ORCPT_MAX 500
#define SIGNING_MAX 8
#define SELECTOR_MAX 63
#define METADATA_MAX 32
#define METADATA_BYTES_MAX ((size_t)4096)
#define HEADER_LINE_MAX ((size_t)8192)
#define HEADER_MAX_BYTES ((size_t)262144)

static bool refuse(struct fault *fault, const char *field, const char *what)
{
    return fault_set(fault, FAULT_INVALID, 0, "%s: %s", field, what);
}

static bool too_long(struct fault *fault, const char *field, size_t max)
{
    return fault_set(fault, FAULT_INVALID, 0, "%s: longer than %zu bytes", field, max);
}

bool message_recipient_fault(struct fault *fault, size_t index)
{
    if (fault != NULL) {
        char text[FAULT_TEXT_MAX];
        memcpy(text, fault->text, sizeof(text));
        snprintf(fault->text, sizeof(fault->text), "recipients[%zu].%.*s", index,
                 FAULT_TEXT_MAX - 40, text);
    }
    return false;
}

static bool is_name_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
}

static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_name_char(s.ptr[i])) {
            return false;
        }
    }
    return s.len > 0;
}

/* UTF-8 of one line, which may be empty. */
static bool check_line(struct fault *fault, const char *field, struct slice s, size_t max)
{
    if (s.len > max) {
        return too_long(fault, field, max);
    }
    if (slice_has_control(s)) {
        return refuse(fault, field, "control character (CR, LF, NUL…) in it");
    }
    return wire_text_valid(s) || refuse(fault, field, "not UTF-8");
}

static bool check_identity(const struct message *message, struct fault *fault)
{
    struct uuid id;
    if (message->id.len > 0 && !uuid_parse(message->id, &id)) {
        return refuse(fault, "id", "not a UUID");
    }
    if (message->tenant.len == 0) {
        return refuse(fault, "tenant", "missing");
    }
    if (message->tenant.len > MESSAGE_TENANT_MAX) {
        return too_long(fault, "tenant", MESSAGE_TENANT_MAX);
    }
    if (!is_name(message->tenant)) {
        return refuse(fault, "tenant", "a character that is not in [A-Za-z0-9._-]");
    }
    if (message->pool.len > 0 && !is_name(message->pool)) {
        return refuse(fault, "pool", "a character that is not in [A-Za-z0-9._-]");
    }
    return check_line(fault, "campaign", message->campaign, CAMPAIGN_MAX) &&
           check_line(fault, "idempotency_key", message->idempotency_key, MESSAGE_KEY_MAX) &&
           check_line(fault, "pool", message->pool, POOL_MAX);
}

/* An address that may be used: its parts in *address. */
static bool check_address(struct slice text, struct smtp_address *address, struct fault *fault)
{
    if (text.len > SMTP_ADDRESS_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "longer than %d bytes", SMTP_ADDRESS_MAX);
    }
    if (slice_has_control(text)) {
        return fault_set(fault, FAULT_INVALID, 0, "control character (CR, LF, NUL…) in it");
    }
    if (!wire_text_valid(text)) {
        return fault_set(fault, FAULT_INVALID, 0, "not UTF-8");
    }
    return smtp_address_parse(text, address, fault);
}

static bool check_sender(struct message *message, struct fault *fault)
{
    struct smtp_address address = {0};
    if (message->mail_from.len == 0) {
        return true;
    }
    if (!check_address(message->mail_from, &address, fault)) {
        return fault_prefix(fault, "mail_from");
    }
    message->smtputf8 = message->smtputf8 || address.utf8;
    return true;
}

/* RFC 3461 section 4.1: "NEVER" / 1#( "SUCCESS" / "FAILURE" / "DELAY" ), each once. */
static bool check_notify(struct slice notify)
{
    static const struct slice words[] = {{"SUCCESS", 7}, {"FAILURE", 7}, {"DELAY", 5}};
    unsigned seen = 0;
    if (notify.len == 0 || slice_eq_nocase(notify, SLICE("NEVER"))) {
        return true;
    }
    for (struct slice rest = notify; rest.ptr != NULL;) {
        struct slice word = slice_cut(&rest, ',');
        unsigned bit = 0;
        for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
            bit |= slice_eq_nocase(word, words[i]) ? 1u << i : 0;
        }
        if (bit == 0 || (seen & bit) != 0) {
            return false;
        }
        seen |= bit;
    }
    return true;
}

/* RFC 3461 section 4.2: addr-type ";" address, with addr-type an atom. */
static bool check_orcpt(struct slice orcpt)
{
    struct slice address = orcpt;
    struct slice type = slice_cut(&address, ';');
    return orcpt.len == 0 || (orcpt.len <= ORCPT_MAX && is_name(type) && address.len > 0 &&
                              !slice_has_control(address) && wire_text_valid(address));
}

static bool check_metadata(const struct message_pair *pairs, size_t count, struct fault *fault)
{
    size_t bytes = 0;
    if (count > METADATA_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "metadata: more than %d entries", METADATA_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        bytes += pairs[i].name.len + pairs[i].value.len;
        if (pairs[i].name.len == 0) {
            return refuse(fault, "metadata", "an entry without a name");
        }
        if (slice_has_control(pairs[i].name)) {
            return refuse(fault, "metadata", "control character in a name");
        }
        if (!wire_text_valid(pairs[i].name) || !wire_text_valid(pairs[i].value)) {
            return refuse(fault, "metadata", "NUL, or not UTF-8");
        }
    }
    return bytes <= METADATA_BYTES_MAX || too_long(fault, "metadata", METADATA_BYTES_MAX);
}

/* All but the domain. */
static bool check_recipient(const struct message_recipient *recipient, struct smtp_address *address,
                            struct fault *fault)
{
    if (recipient->address.len == 0) {
        return refuse(fault, "address", "missing");
    }
    if (!check_address(recipient->address, address, fault)) {
        return fault_prefix(fault, "address");
    }
    if (!check_notify(recipient->dsn_notify)) {
        return refuse(fault, "dsn_notify", "neither NEVER nor a list of SUCCESS, FAILURE, DELAY");
    }
    if (!check_orcpt(recipient->dsn_orcpt)) {
        return refuse(fault, "dsn_orcpt", "not addr-type;address");
    }
    return check_metadata(recipient->metadata, recipient->metadata_count, fault);
}

/* The domain of all: compared as written first, since records mostly write it the same way. */
static bool check_domain(struct message *message, struct slice first, struct slice domain,
                         struct arena *arena, struct fault *fault)
{
    char name[SMTP_DOMAIN_MAX + 1];
    if (first.ptr != NULL && slice_eq_nocase(first, domain)) {
        return true;
    }
    if (!smtp_domain_normalise(domain, name, fault)) {
        return fault_prefix(fault, "address");
    }
    if (first.ptr == NULL) {
        message->domain = arena_copy(arena, slice_cstr(name));
        return message->domain.ptr != NULL ||
               fault_set(fault, FAULT_LIMIT, 0, "no room left for this record");
    }
    return slice_eq(message->domain, slice_cstr(name)) ||
           fault_set(fault, FAULT_INVALID, 0,
                     "address: domain %s, but the first recipient's is %.*s", name,
                     SLICE_FMT(message->domain));
}

static bool check_recipients(struct message *message, struct arena *arena, struct fault *fault)
{
    struct slice first = SLICE_NULL;
    if (message->recipient_count == 0) {
        return refuse(fault, "recipients", "none");
    }
    if (message->recipient_count > MESSAGE_RECIPIENTS_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "recipients: more than %d",
                         MESSAGE_RECIPIENTS_MAX);
    }
    for (size_t i = 0; i < message->recipient_count; i++) {
        struct smtp_address address = {0};
        if (!check_recipient(&message->recipients[i], &address, fault) ||
            !check_domain(message, first, address.domain, arena, fault)) {
            return message_recipient_fault(fault, i);
        }
        first = first.ptr == NULL ? address.domain : first;
        message->smtputf8 = message->smtputf8 || address.utf8;
    }
    return true;
}

static bool check_dsn(const struct message *message, struct fault *fault)
{
    struct slice envid = message->dsn_envid;
    if (message->dsn_ret.len > 0 && !slice_eq_nocase(message->dsn_ret, SLICE("FULL")) &&
        !slice_eq_nocase(message->dsn_ret, SLICE("HDRS"))) {
        return refuse(fault, "dsn_ret", "neither FULL nor HDRS");
    }
    if (envid.len > ENVID_MAX) {
        return too_long(fault, "dsn_envid", ENVID_MAX);
    }
    return (!slice_has_control(envid) && !slice_has_8bit(envid)) ||
           refuse(fault, "dsn_envid", "a character that is not printable ASCII");
}

static bool check_signing(const struct message *message, struct fault *fault)
{
    char name[SMTP_DOMAIN_MAX + 1];
    if (message->signing_count > SIGNING_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "signing: more than %d identities", SIGNING_MAX);
    }
    for (size_t i = 0; i < message->signing_count; i++) {
        const struct message_pair *identity = &message->signing[i];
        if (!smtp_domain_normalise(identity->name, name, fault)) {
            return fault_prefix(fault, "signing[%zu].domain", i);
        }
        if (!is_name(identity->value) || identity->value.len > SELECTOR_MAX) {
            return fault_set(fault, FAULT_INVALID, 0,
                             "signing[%zu].selector: not 1 to %d characters of [A-Za-z0-9._-]", i,
                             SELECTOR_MAX);
        }
    }
    return true;
}

static bool check_times(const struct message *message, struct fault *fault)
{
    if (message->not_before_ms < 0) {
        return refuse(fault, "not_before_ms", "negative");
    }
    if (message->expires_ms < 0) {
        return refuse(fault, "expires_ms", "negative");
    }
    return message->expires_ms == 0 || message->not_before_ms < message->expires_ms ||
           refuse(fault, "expires_ms", "not after not_before_ms");
}

/* RFC 5322 section 2.2: a field name is printable ASCII without colon; blanks before the colon are
 * obsolete (4.5.8) but seen. */
static bool is_header_line(struct slice line, bool first)
{
    size_t at = 0;
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
        return !first;
    }
    while (at < line.len && line.ptr[at] > ' ' && line.ptr[at] < 0x7f && line.ptr[at] != ':') {
        at++;
    }
    size_t name = at;
    while (at < line.len && (line.ptr[at] == ' ' || line.ptr[at] == '\t')) {
        at++;
    }
    return name > 0 && at < line.len && line.ptr[at] == ':';
}

/* Lines end in CRLF, LF or CR: all are sent as CRLF. */
static bool check_header(struct slice content, struct fault *fault)
{
    struct slice rest = slice_head(content, HEADER_MAX_BYTES + 1);
    struct slice chunk = SLICE_NULL; /* up to a LF: one line, or several that end in CR */
    for (size_t number = 1; chunk.ptr != NULL || rest.len > 0; number++) {
        if (chunk.ptr == NULL) {
            chunk = slice_cut(&rest, '\n');
            chunk.len -= chunk.len > 0 && chunk.ptr[chunk.len - 1] == '\r' ? 1 : 0;
        }
        struct slice line = slice_cut(&chunk, '\r');
        if (line.len == 0) {
            return true;
        }
        if (line.len > HEADER_LINE_MAX) {
            return fault_set(fault, FAULT_INVALID, 0,
                             "content: header line %zu is longer than %zu bytes", number,
                             HEADER_LINE_MAX);
        }
        if (slice_find_byte(line, '\0') >= 0) {
            return fault_set(fault, FAULT_INVALID, 0, "content: NUL in header line %zu", number);
        }
        if (!is_header_line(line, number == 1)) {
            return fault_set(fault, FAULT_INVALID, 0, "content: line %zu is no header field",
                             number);
        }
    }
    return content.len <= HEADER_MAX_BYTES ||
           fault_set(fault, FAULT_INVALID, 0, "content: header longer than %zu bytes",
                     HEADER_MAX_BYTES);
}

static bool check_content(struct message *message, struct fault *fault)
{
    if (message->content.len == 0) {
        return refuse(fault, "content", "missing");
    }
    if (message->content.len > MESSAGE_CONTENT_MAX_BYTES) {
        return too_long(fault, "content", MESSAGE_CONTENT_MAX_BYTES);
    }
    message->content_8bit = wire_has_8bit(message->content);
    return check_header(message->content, fault);
}

bool message_validate(struct message *message, struct arena *arena, struct fault *fault)
{
    struct fault unwanted;
    fault = fault == NULL ? &unwanted : fault;
    if (message->klass != MESSAGE_CLASS_TX && message->klass != MESSAGE_CLASS_MASS) {
        message->klass = MESSAGE_CLASS_DEFAULT; /* a later version's class: the stream's */
    }
    return check_identity(message, fault) && check_sender(message, fault) &&
           check_recipients(message, arena, fault) && check_dsn(message, fault) &&
           check_signing(message, fault) && check_times(message, fault) &&
           check_metadata(message->metadata, message->metadata_count, fault) &&
           check_content(message, fault);
}
