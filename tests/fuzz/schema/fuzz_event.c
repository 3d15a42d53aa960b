/*
 * Any bytes as an event: what is taken encodes, decodes and prints; the second encoding equals the
 * first.
 */
#include "schema/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(1024, 1 << 20);
    struct event event;
    struct event again;
    struct strbuf first;
    struct strbuf second;
    struct strbuf json;
    CHECK(arena != NULL);
    strbuf_init(&first, 1 << 20);
    strbuf_init(&second, 1 << 20);
    strbuf_init(&json, 8 << 20);
    if (event_decode(slice_of(data, size), arena, &event, NULL)) {
        CHECK(event_encode(&event, &second));
        CHECK(event_decode(strbuf_slice(&second), arena, &event, NULL));
        CHECK(event_encode(&event, &first));
        CHECK(event_decode(strbuf_slice(&first), arena, &again, NULL));
        strbuf_reset(&second);
        CHECK(event_encode(&again, &second));
        CHECK(slice_eq(strbuf_slice(&first), strbuf_slice(&second)));
        CHECK(event_to_json(&event, &json));
        CHECK(!slice_has_control(strbuf_slice(&json)) && slice_is_utf8(strbuf_slice(&json)));
    }
    strbuf_free(&json);
    strbuf_free(&second);
    strbuf_free(&first);
    arena_free(&arena);
    return 0;
}
