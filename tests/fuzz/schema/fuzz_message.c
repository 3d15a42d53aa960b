/*
 * Any bytes as a record: never a wrong read, and what is taken is the same after encoding and
 * decoding again.
 */
#include "schema/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_again(const struct message *message, const struct message_origin *origin)
{
    size_t bytes = message_encoded_size(message);
    uint8_t *record = malloc(bytes);
    struct arena *arena = arena_create(1024, 1 << 20);
    struct message again;
    CHECK(record != NULL && arena != NULL);
    message_encode(message, record);
    CHECK(message_decode(slice_of(record, bytes), origin, arena, &again, NULL));
    CHECK(slice_eq(again.id, message->id) && slice_eq(again.domain, message->domain));
    CHECK(slice_eq(again.content, message->content));
    CHECK(again.content_8bit == slice_has_8bit(message->content));
    CHECK(again.recipient_count == message->recipient_count);
    CHECK(again.metadata_count == message->metadata_count);
    CHECK(message_encoded_size(&again) == bytes);
    arena_free(&arena);
    free(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct message_origin origin = {SLICE("sluice.q.bulk"), 1, 2};
    struct arena *arena = arena_create(1024, 1 << 20);
    struct message message;
    struct fault fault = {0};
    struct uuid id;
    CHECK(arena != NULL);
    bool ok = message_decode(slice_of(data, size), &origin, arena, &message, &fault);
    CHECK(ok || fault.text[0] != '\0');
    CHECK(message.id.len == 0 || uuid_parse(message.id, &id));
    CHECK(!slice_has_control(message.mail_from) || !ok);
    if (ok) {
        decode_again(&message, &origin);
    }
    arena_free(&arena);
    return 0;
}
