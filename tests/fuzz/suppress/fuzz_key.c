/* Any bytes as a key: what is read is written again as it was. */
#include "suppress/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char room[SUPPRESS_LIST_MAX];
    char again[SUPPRESS_KEY_MAX];
    char folded[SUPPRESS_ADDRESS_MAX + 1];
    struct suppress_key key;
    struct slice text = slice_of(data, size);
    struct slice address;
    if (suppress_key_read(text, room, &key)) {
        size_t len = suppress_key_write(&key, again);
        CHECK(slice_eq(slice_of(again, len), text));
    }
    if (suppress_address_fold(text, folded, &address, NULL)) {
        key = (struct suppress_key){SLICE("shop"), SLICE("news"), address};
        size_t len = suppress_key_write(&key, again);
        CHECK(suppress_key_read(slice_of(again, len), room, &key));
        CHECK(slice_eq(key.address, address));
    }
    return 0;
}
