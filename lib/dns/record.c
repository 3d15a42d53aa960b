/*
 * Reading DNS answers: see record.h. Cursors over slices with every length checked, nothing
 * allocated. RFC 1035 sections 3.3.9 and 4.1, RFC 7505, RFC 2308 section 2.2, RFC 5321
 * section 4.1.3.
 */
#include "dns/record.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define LABEL_MAX 63
#define HOST_NAME_MAX_BYTES 253
#define PACKET_HEADER 12
#define TYPE_NS 2
#define TYPE_SOA 6

static uint16_t read_u16(const char *ptr)
{
    return (uint16_t)(((uint8_t)ptr[0] << 8) | (uint8_t)ptr[1]);
}

static bool is_host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool label_valid(struct slice label)
{
    if (label.len == 0 || label.len > LABEL_MAX || label.ptr[0] == '-' ||
        label.ptr[label.len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < label.len; i++) {
        if (!is_host_byte(label.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool dns_host_name_valid(struct slice name)
{
    if (name.len == 0 || name.len > HOST_NAME_MAX_BYTES) {
        return false;
    }
    struct slice rest = name;
    struct slice label = SLICE_NULL;
    while (rest.ptr != NULL) {
        label = slice_cut(&rest, '.');
        if (!label_valid(label)) {
            return false;
        }
    }
    bool number = true;
    for (size_t i = 0; i < label.len; i++) {
        number = number && label.ptr[i] >= '0' && label.ptr[i] <= '9';
    }
    return !number && !slice_eq(label, SLICE("localhost"));
}

/* An uncompressed name that fills the whole of `wire`; false also for a name that is not text (a
 * dot or NUL in a label). */
static bool name_from_wire(struct slice wire, char out[DNS_NAME_MAX + 1])
{
    size_t at = 0;
    size_t len = 0;
    if (wire.ptr == NULL) {
        return false;
    }
    while (at < wire.len && wire.ptr[at] != 0) {
        size_t label = (uint8_t)wire.ptr[at];
        if (label > LABEL_MAX || label >= wire.len - at || len + label + 1 > DNS_NAME_MAX) {
            return false;
        }
        for (size_t i = 0; i < label; i++) {
            char c = ascii_lower_byte(wire.ptr[at + 1 + i]);
            if (!is_host_byte(c)) {
                return false;
            }
            out[len++] = c;
        }
        out[len++] = '.';
        at += label + 1;
    }
    if (at + 1 != wire.len) {
        return false;
    }
    out[len == 0 ? 0 : len - 1] = '\0';
    return true;
}

enum dns_mx_kind dns_mx_parse(struct slice rdata, struct dns_host *host)
{
    char name[DNS_NAME_MAX + 1];
    if (rdata.len < 3 || !name_from_wire(slice_skip(rdata, 2), name)) {
        return DNS_MX_UNUSABLE;
    }
    if (name[0] == '\0') {
        /* A root target with another preference than 0 is not the form of RFC 7505, but can mean
         * nothing else. */
        return DNS_MX_NULL;
    }
    if (!dns_host_name_valid(slice_cstr(name))) {
        return DNS_MX_UNUSABLE;
    }
    host->preference = read_u16(rdata.ptr);
    memcpy(host->name, name, sizeof(name));
    return DNS_MX_HOST;
}

/* Moves *at behind a name that may be compressed; false: it runs over the end. */
static bool skip_name(struct slice packet, size_t *at)
{
    while (*at < packet.len) {
        uint8_t first = (uint8_t)packet.ptr[*at];
        if (first == 0) {
            *at += 1;
            return true;
        }
        if ((first & 0xC0) == 0xC0) {
            *at += 2;
            return *at <= packet.len;
        }
        if (first > LABEL_MAX) {
            return false;
        }
        *at += (size_t)first + 1;
    }
    return false;
}

/* Moves *at behind one resource record and gives its type. */
static bool skip_record(struct slice packet, size_t *at, uint16_t *type)
{
    if (!skip_name(packet, at) || packet.len - *at < 10) {
        return false;
    }
    *type = read_u16(packet.ptr + *at);
    size_t rdata_len = read_u16(packet.ptr + *at + 8);
    *at += 10;
    if (packet.len - *at < rdata_len) {
        return false;
    }
    *at += rdata_len;
    return true;
}

bool dns_packet_is_referral(struct slice packet)
{
    if (packet.len < PACKET_HEADER) {
        return false;
    }
    size_t at = PACKET_HEADER;
    unsigned questions = read_u16(packet.ptr + 4);
    unsigned answers = read_u16(packet.ptr + 6);
    unsigned authorities = read_u16(packet.ptr + 8);
    for (unsigned i = 0; i < questions; i++) {
        if (!skip_name(packet, &at) || packet.len - at < 4) {
            return false;
        }
        at += 4;
    }
    bool name_servers = false;
    for (unsigned i = 0; i < answers + authorities; i++) {
        uint16_t type;
        if (!skip_record(packet, &at, &type)) {
            return false;
        }
        if (i >= answers && type == TYPE_SOA) {
            return false;
        }
        name_servers = name_servers || (i >= answers && type == TYPE_NS);
    }
    return name_servers;
}

bool dns_ip_usable(const struct dns_ip *ip)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (!ip->v6) {
        /* 0.0.0.0/8 "this network"; 224.0.0.0/4 multicast; 240.0.0.0/4 reserved and broadcast. */
        return ip->bytes[0] != 0 && ip->bytes[0] < 224;
    }
    bool unspecified = true;
    for (size_t i = 0; i < sizeof(ip->bytes); i++) {
        unspecified = unspecified && ip->bytes[i] == 0;
    }
    return !unspecified && ip->bytes[0] != 0xff && memcmp(ip->bytes, mapped, sizeof(mapped)) != 0;
}

bool dns_literal_parse(struct slice domain, struct dns_ip *ip)
{
    char text[INET6_ADDRSTRLEN];
    if (domain.len < 3 || domain.ptr[0] != '[' || domain.ptr[domain.len - 1] != ']') {
        return false;
    }
    struct slice inner = slice_of(domain.ptr + 1, domain.len - 2);
    struct dns_ip parsed = {.v6 = slice_starts_with_nocase(inner, SLICE("ipv6:"))};
    if (parsed.v6) {
        inner = slice_skip(inner, sizeof("ipv6:") - 1);
    }
    if (inner.len == 0 || inner.len >= sizeof(text) || slice_find_byte(inner, '\0') >= 0) {
        return false;
    }
    memcpy(text, inner.ptr, inner.len);
    text[inner.len] = '\0';
    if (inet_pton(parsed.v6 ? AF_INET6 : AF_INET, text, parsed.bytes) != 1 ||
        !dns_ip_usable(&parsed)) {
        return false;
    }
    *ip = parsed;
    return true;
}

void dns_literal_format(const struct dns_ip *ip, char out[DNS_NAME_MAX + 1])
{
    char text[INET6_ADDRSTRLEN];
    CHECK(inet_ntop(ip->v6 ? AF_INET6 : AF_INET, ip->bytes, text, sizeof(text)) != NULL);
    (void)snprintf(out, DNS_NAME_MAX + 1, "[%s%s]", ip->v6 ? "ipv6:" : "", text);
}

void dns_ip_to_address(const struct dns_ip *ip, struct dns_address *address)
{
    memset(&address->address, 0, sizeof(address->address));
    if (ip->v6) {
        struct sockaddr_in6 *to = (struct sockaddr_in6 *)(void *)&address->address;
        to->sin6_family = AF_INET6;
        memcpy(&to->sin6_addr, ip->bytes, 16);
        address->len = sizeof(*to);
    } else {
        struct sockaddr_in *to = (struct sockaddr_in *)(void *)&address->address;
        to->sin_family = AF_INET;
        memcpy(&to->sin_addr, ip->bytes, 4);
        address->len = sizeof(*to);
    }
}
