/*
 * Fields of delivery reports alone: every recipient that is found is within the limits, and reading
 * is stable: the same fields twice give twice the recipients, unless the first ended inside of one.
 */
#include "mail/dsn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
    struct recipient_list list = {.arena = arena};
    struct recipient_list again = {.arena = arena};
    struct dsn_message_fields message = {0};
    struct slice fields = slice_of(data, size);
    dsn_read(fields, &list, &message);
    dsn_read(fields, &again, &message);
    CHECK(list.count == again.count && list.count <= size);
    for (size_t i = 0; i < list.count; i++) {
        CHECK(slice_eq(list.items[i].address, again.items[i].address));
        CHECK(slice_eq(list.items[i].text, again.items[i].text));
        CHECK(list.items[i].text.len <= RETURNED_TEXT_MAX);
    }
    struct slice found = dsn_find_in_text(fields);
    CHECK(found.ptr == NULL ||
          (found.ptr >= fields.ptr && found.ptr + found.len == fields.ptr + fields.len));
    arena_free(&arena);
    return 0;
}
