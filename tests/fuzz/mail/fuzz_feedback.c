/*
 * Fields of abuse reports alone: recipients have an '@', and none stands there twice.
 */
#include "mail/feedback.h"

#include "mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
    struct recipient_list list = {.arena = arena};
    struct feedback feedback = {0};
    feedback_read(slice_of(data, size), &list, &feedback);
    (void)feedback_kind(feedback.type);
    for (size_t i = 0; i < list.count; i++) {
        CHECK(slice_find_byte(list.items[i].address, '@') > 0);
        for (size_t j = 0; j < i && j < RECIPIENT_SEARCH_MAX; j++) {
            CHECK(!mail_address_eq(list.items[i].address, list.items[j].address));
        }
    }
    arena_free(&arena);
    return 0;
}
