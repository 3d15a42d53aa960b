/*
 * Confluent's frame and the field cursor behind it: the fields cover the message without gaps, in
 * order, inside the record.
 */
#include "schema/framing.h"
#include "schema/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice record = slice_of(data, size);
    struct slice message;
    uint32_t id;
    if (!framing_strip(record, &message, &id)) {
        return 0;
    }
    CHECK(message.len <= record.len && message.ptr + message.len == record.ptr + record.len);
    struct wire_cursor cursor = wire_cursor_of(message);
    struct wire_field field;
    const char *at = message.ptr;
    while (wire_next(&cursor, &field) == WIRE_FIELD) {
        CHECK(field.start == at && cursor.at > at && cursor.at <= cursor.end);
        CHECK(field.bytes.len == 0 || field.bytes.ptr + field.bytes.len == cursor.at);
        CHECK(field.number > 0);
        at = cursor.at;
    }
    CHECK(cursor.at == at);
    return 0;
}
