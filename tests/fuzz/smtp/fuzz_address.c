/*
 * Addresses and domains: what is accepted keeps its promises and parses again.
 */
#include "smtp/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct smtp_address address;
    struct fault fault = {0};
    char normal[SMTP_DOMAIN_MAX + 1];
    char again[SMTP_DOMAIN_MAX + 1];
    if (smtp_address_parse(text, &address, &fault)) {
        CHECK(text.len <= SMTP_ADDRESS_MAX && !slice_has_control(text));
        CHECK(address.local.len >= 1 && address.local.len <= SMTP_LOCAL_PART_MAX);
        CHECK(address.local.len + 1 + address.domain.len == text.len);
        CHECK(address.utf8 == slice_has_8bit(text));
        text = address.domain;
    } else {
        CHECK(fault.kind != FAULT_NONE);
    }
    if (smtp_domain_normalise(text, normal, NULL)) {
        CHECK(!slice_has_8bit(slice_cstr(normal)) && !slice_has_control(slice_cstr(normal)));
        CHECK(smtp_domain_normalise(slice_cstr(normal), again, NULL));
        CHECK(slice_eq(slice_cstr(normal), slice_cstr(again)));
    }
    return 0;
}
