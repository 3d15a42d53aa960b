/*
 * Whatever is taken as an address must come out the same after formatting and parsing again.
 */
#include "io/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sockaddr_storage first;
    struct sockaddr_storage second;
    socklen_t first_len;
    socklen_t second_len;
    struct fault fault;
    char text[IO_ADDRESS_TEXT_MAX];

    if (!io_address_parse(slice_of(data, size), 25, &first, &first_len, &fault)) {
        CHECK(fault.kind == FAULT_INVALID);
        return 0;
    }
    const struct sockaddr *address = (const struct sockaddr *)&first;
    struct slice host = io_address_format(address, text);
    CHECK(io_address_parse(host, io_address_port(address), &second, &second_len, &fault));
    CHECK(first_len == second_len && memcmp(&first, &second, first_len) == 0);
    return 0;
}
