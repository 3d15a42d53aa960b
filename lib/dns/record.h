/*
 * The pure parts of reading DNS answers: MX rdata, host names, the kind of an empty answer,
 * addresses and address literals. No I/O, no clock, no memory; everything here takes bytes that
 * strangers wrote.
 */
#ifndef SLUICE_DNS_RECORD_H
#define SLUICE_DNS_RECORD_H

#include "dns/site.h"

enum dns_mx_kind {
    DNS_MX_HOST,     /* a host that may be tried */
    DNS_MX_NULL,     /* RFC 7505: "0 ." */
    DNS_MX_UNUSABLE, /* malformed, or not a name of a host on the network: "192.0.2.1", "localhost"
                      */
};

/* Of the rdata of one MX record, names uncompressed (RFC 1035 section 3.3.9). Fills *host only for
 * DNS_MX_HOST. */
enum dns_mx_kind dns_mx_parse(struct slice rdata, struct dns_host *host);

/* Letters, digits, hyphens (and underscores, which mail hosts do have) in labels of 1 … 63, at most
 * 253 bytes, lower case, no trailing dot, last label not a number (RFC 1123 section 2.1), not
 * localhost (RFC 6761 section 6.3). */
bool dns_host_name_valid(struct slice name);

/* True if the answer packet is a referral: no answer, name servers but no SOA in the authority
 * section (RFC 2308 section 2.2). A forwarder that is authoritative only sends such a thing for a
 * zone that it delegates; it does not mean "no data". Packets that cannot be read are not
 * referrals. */
bool dns_packet_is_referral(struct slice packet);

struct dns_ip {
    bool v6;
    uint8_t bytes[16]; /* network order; the first 4 for IPv4 */
};

/* False for what no remote host has: unspecified, multicast, broadcast, and IPv4 wrapped into IPv6.
 * Loopback is allowed. */
bool dns_ip_usable(const struct dns_ip *ip);

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3); other tags and unusable addresses
 * give false. */
bool dns_literal_parse(struct slice domain, struct dns_ip *ip);
/* The one form in which we write it: "[192.0.2.1]", "[ipv6:2001:db8::1]". */
void dns_literal_format(const struct dns_ip *ip, char out[DNS_NAME_MAX + 1]);

/* With port 0. */
void dns_ip_to_address(const struct dns_ip *ip, struct dns_address *address);

#endif
