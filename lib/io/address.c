/*
 * Socket addresses as people write them.
 *
 *   address = ipv4 [":" port] / "[" ipv6 "]" [":" port] / ipv6
 *
 * with ipv4 dotted-quad and ipv6 as in RFC 4291 2.2; no zone, no host name, port 0 to 65535 in at
 * most five digits.
 */
#include "io/conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static bool refuse(struct slice text, struct fault *fault, const char *why)
{
    char shown[IO_ADDRESS_TEXT_MAX];
    size_t len = text.len < sizeof(shown) - 1 ? text.len : sizeof(shown) - 1;
    for (size_t i = 0; i < len; i++) {
        shown[i] = text.ptr[i] < 0x21 || text.ptr[i] == 0x7f ? '?' : text.ptr[i];
    }
    shown[len] = '\0';
    return fault_set(fault, FAULT_INVALID, 0, "\"%s\" is not an address: %s", shown, why);
}

/* Splits into host and port text; the port is SLICE_NULL when there is none. */
static bool split(struct slice text, struct slice *host, struct slice *port)
{
    *port = SLICE_NULL;
    if (text.len > 0 && text.ptr[0] == '[') {
        ptrdiff_t end = slice_find_byte(text, ']');
        if (end < 0) {
            return false;
        }
        *host = slice_of(text.ptr + 1, (size_t)end - 1);
        struct slice rest = slice_skip(text, (size_t)end + 1);
        if (rest.len == 0) {
            return slice_find_byte(*host, ':') >= 0;
        }
        *port = slice_skip(rest, 1);
        return rest.ptr[0] == ':' && slice_find_byte(*host, ':') >= 0;
    }
    ptrdiff_t colon = slice_find_byte(text, ':');
    *host = text;
    if (colon >= 0 && slice_rfind_byte(text, ':') == colon) {
        *host = slice_head(text, (size_t)colon);
        *port = slice_skip(text, (size_t)colon + 1);
    }
    return true;
}

static bool parse_port(struct slice text, uint16_t *port)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 5 || !slice_to_u64(text, &value) || value > UINT16_MAX) {
        return false;
    }
    *port = (uint16_t)value;
    return true;
}

bool io_address_parse(struct slice text, uint16_t default_port, struct sockaddr_storage *address,
                      socklen_t *len, struct fault *fault)
{
    struct slice host;
    struct slice port_text;
    uint16_t port = default_port;
    char host_text[INET6_ADDRSTRLEN];

    if (!split(text, &host, &port_text)) {
        return refuse(text, fault, "the brackets do not hold an IPv6 address");
    }
    if (port_text.ptr != NULL && !parse_port(port_text, &port)) {
        return refuse(text, fault, "the port must be a number from 0 to 65535");
    }
    if (host.len == 0 || host.len >= sizeof(host_text) || slice_find_byte(host, '\0') >= 0) {
        return refuse(text, fault, "neither IPv4 nor IPv6");
    }
    memcpy(host_text, host.ptr, host.len);
    host_text[host.len] = '\0';

    memset(address, 0, sizeof(*address));
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    if (inet_pton(AF_INET, host_text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *len = sizeof(*v4);
        return true;
    }
    if (inet_pton(AF_INET6, host_text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *len = sizeof(*v6);
        return true;
    }
    return refuse(text, fault, "neither IPv4 nor IPv6");
}

struct slice io_address_format(const struct sockaddr *address, char out[IO_ADDRESS_TEXT_MAX])
{
    const void *bytes = NULL;
    out[0] = '\0';
    if (address->sa_family == AF_INET) {
        bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    } else if (address->sa_family == AF_INET6) {
        bytes = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    }
    if (bytes != NULL) {
        CHECK(inet_ntop(address->sa_family, bytes, out, IO_ADDRESS_TEXT_MAX) != NULL);
    }
    return slice_cstr(out);
}

uint16_t io_address_port(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
    }
    if (address->sa_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port);
    }
    return 0;
}
