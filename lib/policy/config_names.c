/* Syntax of names and addresses in the configuration. Nothing here resolves or opens anything. */
#include "policy/config_value_private.h"

#include <arpa/inet.h>

#define HOST_NAME_MAX_BYTES 253
#define LABEL_MAX_BYTES 63

/* inet_pton wants a terminated string. */
static bool parses_as(int family, struct slice text, unsigned char address[16])
{
    char copy[INET6_ADDRSTRLEN + 1];
    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return inet_pton(family, copy, address) == 1;
}

bool config_is_ipv4(struct slice text)
{
    unsigned char address[16];
    return parses_as(AF_INET, text, address);
}

bool config_is_ipv6(struct slice text)
{
    unsigned char address[16];
    return parses_as(AF_INET6, text, address);
}

bool config_is_loopback(struct slice text)
{
    static const unsigned char loopback6[16] = {[15] = 1};
    unsigned char address[16];
    if (parses_as(AF_INET, text, address)) {
        return address[0] == 127;
    }
    return parses_as(AF_INET6, text, address) && memcmp(address, loopback6, sizeof(loopback6)) == 0;
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_label(struct slice label)
{
    if (label.len == 0 || label.len > LABEL_MAX_BYTES || label.ptr[0] == '-' ||
        label.ptr[label.len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < label.len; i++) {
        if (!is_letter_or_digit(label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] != '_') {
            return false;
        }
    }
    return true;
}

bool config_is_host_name(struct slice text)
{
    if (text.ptr == NULL || text.len == 0 || text.len > HOST_NAME_MAX_BYTES ||
        text.ptr[text.len - 1] == '.') {
        return false;
    }
    struct slice rest = text;
    struct slice label = SLICE_NULL;
    while (rest.len > 0) {
        label = slice_cut(&rest, '.');
        if (!is_label(label)) {
            return false;
        }
    }
    /* A last label of digits alone would be an IPv4 address gone wrong. */
    uint64_t number;
    return !slice_to_u64(label, &number);
}

bool config_is_literal(struct slice text)
{
    if (text.len < 3 || text.ptr[0] != '[' || text.ptr[text.len - 1] != ']') {
        return false;
    }
    struct slice inner = slice_of(text.ptr + 1, text.len - 2);
    if (slice_starts_with_nocase(inner, SLICE("IPv6:"))) {
        return config_is_ipv6(slice_skip(inner, 5));
    }
    return config_is_ipv4(inner);
}

static bool is_host(struct slice text)
{
    return config_is_ipv4(text) || config_is_ipv6(text) || config_is_host_name(text);
}

static bool read_port(struct slice text, uint16_t *port)
{
    uint64_t number;
    if (!slice_to_u64(text, &number) || number < 1 || number > UINT16_MAX) {
        return false;
    }
    *port = (uint16_t)number;
    return true;
}

bool config_split_port(struct slice text, bool port_needed, struct slice *host, uint16_t *port)
{
    *port = 0;
    *host = text;
    if (config_is_ipv6(text)) {
        return !port_needed;
    }
    ptrdiff_t colon = slice_rfind_byte(text, ':');
    bool has_port = colon >= 0 && colon > slice_rfind_byte(text, ']');
    if (has_port) {
        *host = slice_head(text, (size_t)colon);
        if (!read_port(slice_skip(text, (size_t)colon + 1), port)) {
            return false;
        }
    } else if (port_needed) {
        return false;
    }
    if (host->len > 2 && host->ptr[0] == '[' && host->ptr[host->len - 1] == ']') {
        *host = slice_of(host->ptr + 1, host->len - 2);
        return config_is_ipv6(*host);
    }
    return !config_is_ipv6(*host) && is_host(*host);
}

static bool is_listen(struct slice text)
{
    struct slice host;
    uint16_t port;
    return config_split_port(text, true, &host, &port) &&
           (config_is_ipv4(host) || config_is_ipv6(host));
}

static bool is_peer(struct slice text)
{
    struct slice host;
    uint16_t port;
    return config_split_port(text, false, &host, &port);
}

static bool is_brokers(struct slice text)
{
    struct slice rest = text;
    while (rest.ptr != NULL) {
        struct slice host;
        uint16_t port;
        if (!config_split_port(slice_trim(slice_cut(&rest, ',')), true, &host, &port)) {
            return false;
        }
    }
    return true;
}

static bool is_resolver(struct slice text)
{
    uint16_t port;
    if (slice_eq(text, SLICE("recursive"))) {
        return true;
    }
    struct slice rest = text;
    struct slice address = slice_cut(&rest, '@');
    if (rest.ptr != NULL && !read_port(rest, &port)) {
        return false;
    }
    return config_is_ipv4(address) || config_is_ipv6(address);
}

static bool is_match(struct slice text)
{
    if (slice_starts_with(text, SLICE("*."))) {
        return config_is_host_name(slice_skip(text, 2));
    }
    return config_is_host_name(text) || config_is_literal(text);
}

static bool is_topic(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_letter_or_digit(text.ptr[i]) && text.ptr[i] != '.' && text.ptr[i] != '_' &&
            text.ptr[i] != '-') {
            return false;
        }
    }
    return true;
}

static bool is_name(struct slice text)
{
    return slice_find_byte(text, ' ') < 0 && slice_find_byte(text, ',') < 0 &&
           slice_find_byte(text, '/') < 0;
}

bool config_name_check(enum schema_kind kind, struct slice text)
{
    switch (kind) {
    case SCHEMA_NAME: return is_name(text);
    case SCHEMA_TOPIC: return is_topic(text);
    case SCHEMA_HOST: return is_host(text);
    case SCHEMA_EHLO: return config_is_host_name(text) || config_is_literal(text);
    case SCHEMA_IPV4: return config_is_ipv4(text);
    case SCHEMA_IPV6: return config_is_ipv6(text);
    case SCHEMA_PEER: return is_peer(text);
    case SCHEMA_LISTEN: return is_listen(text);
    case SCHEMA_BROKERS: return is_brokers(text);
    case SCHEMA_RESOLVER: return is_resolver(text);
    case SCHEMA_MATCH: return is_match(text);
    case SCHEMA_TEXT:
    case SCHEMA_SECRET:
    case SCHEMA_PATH:
    case SCHEMA_WORD:
    case SCHEMA_ENUM:
    case SCHEMA_BOOL:
    case SCHEMA_BOOL_NOT:
    case SCHEMA_COUNT:
    case SCHEMA_LIMIT:
    case SCHEMA_PART:
    case SCHEMA_DURATION:
    case SCHEMA_DATE:
    case SCHEMA_SIZE:
    case SCHEMA_RATE:
    case SCHEMA_VOLUME:
    case SCHEMA_MAPPING:
    case SCHEMA_PROPERTIES: return true;
    }
    return true;
}
