/*
 * The pending set of a delay-tier copy, and the origin header: what is taken encodes to an equal
 * value.
 */
#include "schema/headers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct pending_set set;
    struct pending_set again;
    struct message_origin origin;
    struct fault fault = {0};
    struct strbuf out;
    strbuf_init(&out, 8192);
    if (pending_decode(text, 100, &set, &fault)) {
        CHECK(pending_count(&set) <= 100);
        CHECK(pending_encode(&set, &out));
        CHECK(pending_decode(strbuf_slice(&out), 100, &again, &fault));
        CHECK(memcmp(&set, &again, sizeof(set)) == 0);
    } else {
        CHECK(fault.kind == FAULT_INVALID && pending_count(&set) == 0);
    }
    strbuf_reset(&out);
    if (header_origin_decode(text, &origin)) {
        struct message_origin back;
        CHECK(header_origin_encode(&origin, &out));
        CHECK(header_origin_decode(strbuf_slice(&out), &back));
        CHECK(slice_eq(back.topic, origin.topic) && back.partition == origin.partition &&
              back.offset == origin.offset);
    }
    strbuf_free(&out);
    return 0;
}
