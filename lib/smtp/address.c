/*
 * Mailbox, RFC 5321 section 4.1.2 and 4.1.3, with the additions of RFC 6531 section 3.3. One pass
 * with a cursor, no allocation (libidn2 allocates for domains with U-labels). No state; any thread.
 *
 *   Mailbox        = Local-part "@" ( Domain / address-literal )
 *   Local-part     = Dot-string / Quoted-string
 *   Dot-string     = Atom *("." Atom)
 *   Quoted-string  = DQUOTE *( qtextSMTP / "\" %d32-126 ) DQUOTE
 *   Domain         = sub-domain *("." sub-domain)
 *   address-literal = "[" ( IPv4 / "IPv6:" IPv6 ) "]"
 */
#include "smtp/address.h"

#include <arpa/inet.h>
#include <idn2.h>

#define DOMAIN_TEXT_MAX 253 /* RFC 1035 section 2.3.4: 255 on the wire */
#define LABEL_MAX 63

static bool wrong(struct fault *fault, const char *what, size_t position)
{
    return fault_set(fault, FAULT_INVALID, 0, "%s at byte %zu", what, position + 1);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_8bit(char c)
{
    return ((unsigned char)c & 0x80) != 0;
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* atext of RFC 5322 section 3.2.3, and UTF-8. */
static bool is_atext(char c)
{
    return is_alnum(c) || is_8bit(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Length of the local part, 0 when it is wrong. */
static size_t scan_quoted(struct slice text, struct fault *fault)
{
    for (size_t at = 1; at < text.len; at++) {
        char c = text.ptr[at];
        if (c == '"') {
            return at + 1;
        }
        if (c == '\\' && ++at < text.len) {
            c = text.ptr[at];
        }
        if ((unsigned char)c < ' ' || c == 0x7f) {
            wrong(fault, "control character in the local part", at);
            return 0;
        }
    }
    wrong(fault, "quoted local part has no end", text.len);
    return 0;
}

static size_t scan_dot_string(struct slice text, struct fault *fault)
{
    size_t at = 0;
    size_t atom = 0;
    for (; at < text.len && text.ptr[at] != '@'; at++) {
        if (text.ptr[at] == '.') {
            if (atom == 0) {
                wrong(fault, "misplaced dot in the local part", at);
                return 0;
            }
            atom = 0;
        } else if (is_atext(text.ptr[at])) {
            atom++;
        } else {
            wrong(fault, "character not allowed in the local part", at);
            return 0;
        }
    }
    if (atom == 0) {
        wrong(fault, at == 0 ? "local part is empty" : "misplaced dot in the local part", at);
        return 0;
    }
    return at;
}

/* Labels of LDH, underscore and UTF-8, separated by single dots. `offset` is the position in the
 * address. */
static bool check_domain(struct slice domain, size_t offset, struct fault *fault)
{
    size_t start = 0; /* of the label */
    if (domain.len == 0) {
        return wrong(fault, "domain is empty", offset);
    }
    if (domain.len > SMTP_DOMAIN_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "domain is longer than %d bytes",
                         SMTP_DOMAIN_MAX);
    }
    bool digits = true; /* the label has nothing but digits */
    for (size_t at = 0; at <= domain.len; at++) {
        if (at < domain.len && domain.ptr[at] != '.') {
            char c = domain.ptr[at];
            if (!is_alnum(c) && !is_8bit(c) && c != '-' && c != '_') {
                return wrong(fault, "character not allowed in a domain", offset + at);
            }
            digits = digits && is_digit(c);
            continue;
        }
        struct slice label = slice_of(domain.ptr + start, at - start);
        if (label.len == 0) {
            return wrong(fault, "empty label in the domain", offset + at);
        }
        if (label.ptr[0] == '-' || label.ptr[label.len - 1] == '-') {
            return wrong(fault, "hyphen at the edge of a label", offset + start);
        }
        if (label.len > LABEL_MAX && !slice_has_8bit(label)) {
            return wrong(fault, "label is longer than 63 bytes", offset + start);
        }
        if (at == domain.len && digits) {
            return wrong(fault, "last label of the domain is all digits", offset + start);
        }
        digits = true;
        start = at + 1;
    }
    return true;
}

/* RFC 5321 section 4.1.3; General-address-literal has no registered tag and is refused. */
static bool check_literal(struct slice literal, size_t offset, struct fault *fault)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    struct slice inner = slice_of(literal.ptr + 1, literal.len - 2);
    struct slice tag = SLICE("IPv6:");
    bool six = slice_starts_with_nocase(inner, tag);
    inner = six ? slice_skip(inner, tag.len) : inner;
    if (inner.len == 0 || inner.len >= sizeof(text) || slice_find_byte(inner, '\0') >= 0) {
        return wrong(fault, "not an address literal", offset);
    }
    memcpy(text, inner.ptr, inner.len);
    text[inner.len] = '\0';
    if (inet_pton(six ? AF_INET6 : AF_INET, text, address) != 1) {
        return wrong(fault, "not an address literal", offset);
    }
    return true;
}

static bool is_literal(struct slice domain)
{
    return domain.len >= 2 && domain.ptr[0] == '[' && domain.ptr[domain.len - 1] == ']';
}

bool smtp_address_parse(struct slice text, struct smtp_address *address, struct fault *fault)
{
    *address = (struct smtp_address){.utf8 = false};
    if (text.len == 0) {
        return fault_set(fault, FAULT_INVALID, 0, "address is empty");
    }
    if (text.len > SMTP_ADDRESS_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "address is longer than %d bytes",
                         SMTP_ADDRESS_MAX);
    }
    bool utf8 = slice_has_8bit(text);
    if (utf8 && !slice_is_utf8(text)) {
        return fault_set(fault, FAULT_INVALID, 0, "address is not UTF-8");
    }
    size_t local = text.ptr[0] == '"' ? scan_quoted(text, fault) : scan_dot_string(text, fault);
    if (local == 0) {
        return false;
    }
    if (local > SMTP_LOCAL_PART_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "local part is longer than %d bytes",
                         SMTP_LOCAL_PART_MAX);
    }
    if (local == text.len || text.ptr[local] != '@') {
        return wrong(fault, "\"@\" expected", local);
    }
    struct slice domain = slice_skip(text, local + 1);
    bool literal = is_literal(domain);
    if (!(literal ? check_literal(domain, local + 1, fault)
                  : check_domain(domain, local + 1, fault))) {
        return false;
    }
    *address = (struct smtp_address){
        .local = slice_head(text, local), .domain = domain, .literal = literal, .utf8 = utf8};
    return true;
}

/* ASCII now: its length as the DNS counts, then lower case. */
static bool finish_domain(struct slice ascii, char *out, struct fault *fault)
{
    if (ascii.len > DOMAIN_TEXT_MAX) {
        return fault_set(fault, FAULT_INVALID, 0, "domain is longer than %d bytes",
                         DOMAIN_TEXT_MAX);
    }
    memcpy(out, ascii.ptr, ascii.len);
    out[ascii.len] = '\0';
    ascii_lower(out, ascii.len);
    return true;
}

static bool normalise_utf8(struct slice domain, char *out, struct fault *fault)
{
    char *ascii = NULL;
    if (!slice_is_utf8(domain)) {
        return fault_set(fault, FAULT_INVALID, 0, "domain is not UTF-8");
    }
    memcpy(out, domain.ptr, domain.len);
    out[domain.len] = '\0';
    int result = idn2_to_ascii_8z(out, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (result != IDN2_OK) {
        return fault_set(fault, result == IDN2_MALLOC ? FAULT_LIMIT : FAULT_INVALID, result,
                         "domain is not valid by IDNA: %s", idn2_strerror(result));
    }
    /* Mapping may have made dots of other characters, so the result is looked at again. */
    struct slice mapped = slice_cstr(ascii);
    bool ok = check_domain(mapped, 0, fault) && finish_domain(mapped, out, fault);
    idn2_free(ascii);
    return ok;
}

bool smtp_domain_normalise(struct slice domain, char out[SMTP_DOMAIN_MAX + 1], struct fault *fault)
{
    if (is_literal(domain)) {
        return check_literal(domain, 0, fault) && finish_domain(domain, out, fault);
    }
    if (!check_domain(domain, 0, fault)) {
        return false;
    }
    return slice_has_8bit(domain) ? normalise_utf8(domain, out, fault)
                                  : finish_domain(domain, out, fault);
}
