#include "schema/framing.h"

#include "schema/wire.h"

#define FRAMING_ID_END 5

bool framing_strip(struct slice record, struct slice *message, uint32_t *schema_id)
{
    *message = record;
    *schema_id = 0;
    if (record.len == 0 || record.ptr[0] != '\0') {
        return true;
    }
    if (record.len <= FRAMING_ID_END) {
        return false;
    }
    for (int i = 1; i < FRAMING_ID_END; i++) {
        *schema_id = *schema_id << 8 | (uint8_t)record.ptr[i];
    }
    struct wire_cursor cursor = wire_cursor_of(slice_skip(record, FRAMING_ID_END));
    uint64_t count;
    /* Zigzag: an even number is a positive one, doubled. */
    if (!wire_varint(&cursor, &count) || (count & 1) != 0 || count / 2 > FRAMING_INDEXES_MAX) {
        return false;
    }
    for (uint64_t i = 0; i < count / 2; i++) {
        uint64_t index;
        if (!wire_varint(&cursor, &index) || (index & 1) != 0) {
            return false;
        }
    }
    *message = slice_of(cursor.at, (size_t)(cursor.end - cursor.at));
    return true;
}
