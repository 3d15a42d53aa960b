/*
 * Everything that reads bytes from the DNS: MX rdata, packets, literals. Also checks what must hold
 * of the results.
 */
#include "dns/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_of(data, size);
    struct dns_host host;
    if (dns_mx_parse(input, &host) == DNS_MX_HOST) {
        CHECK(dns_host_name_valid(slice_cstr(host.name)));
        CHECK(strlen(host.name) + 4 == size);
    }
    (void)dns_host_name_valid(input);
    (void)dns_packet_is_referral(input);
    struct dns_ip ip;
    if (dns_literal_parse(input, &ip)) {
        char text[DNS_NAME_MAX + 1];
        struct dns_ip again;
        dns_literal_format(&ip, text);
        CHECK(dns_literal_parse(slice_cstr(text), &again));
        CHECK(ip.v6 == again.v6 && memcmp(ip.bytes, again.bytes, ip.v6 ? 16 : 4) == 0);
    }
    return 0;
}
