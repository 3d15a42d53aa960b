/*
 * Events against protobuf-c: every field that event.proto has is set through the generated
 * descriptors, so a field added to the file and forgotten in our tables fails here.
 */
#include "schema/event.h"

#include "base/random.h"
#include "event.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above it */
#include <cmocka.h>

#define TEXTS_MAX 128

/* Strings that a filled message points to. */
struct texts {
    char bytes[TEXTS_MAX][64];
    size_t count;
};

static char *text_make(struct texts *texts)
{
    assert_true(texts->count < TEXTS_MAX);
    char *text = texts->bytes[texts->count++];
    snprintf(text, 64, "t%zu-%u \"\xc3\xa9\"", texts->count, random_below(1000000));
    return text;
}

/* Gives every scalar field of a message a value that is not the default. */
static void fill(ProtobufCMessage *message, struct texts *texts)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        void *member = (char *)message + field->offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED || field->type == PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        if (field->type == PROTOBUF_C_TYPE_STRING) {
            *(char **)member = text_make(texts);
        } else if (field->type == PROTOBUF_C_TYPE_INT64 || field->type == PROTOBUF_C_TYPE_UINT64) {
            *(uint64_t *)member = random_u64() >> random_below(64) | 1;
        } else if (field->type == PROTOBUF_C_TYPE_INT32) {
            *(int32_t *)member = (int32_t)random_u64() | 1;
        } else if (field->type == PROTOBUF_C_TYPE_UINT32) {
            *(uint32_t *)member = (uint32_t)random_u64() >> random_below(32) | 1;
        } else if (field->type == PROTOBUF_C_TYPE_ENUM) {
            *(int *)member = 1 + (int)random_below(4);
        } else {
            assert_int_equal(field->type, PROTOBUF_C_TYPE_BOOL);
            *(protobuf_c_boolean *)member = 1;
        }
    }
}

static size_t pack(const ProtobufCMessage *message, uint8_t *out, size_t out_bytes)
{
    assert_true(protobuf_c_message_get_packed_size(message) <= out_bytes);
    return protobuf_c_message_pack(message, out);
}

/* Every key that protobuf-c knows of stands in the JSON. */
static void check_keys(const ProtobufCMessage *message, const char *json)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        char key[64];
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            continue;
        }
        snprintf(key, sizeof(key), "\"%s\":", field->name);
        if (strstr(json, key) == NULL) {
            fail_msg("no %s in %s", key, json);
        }
    }
}

/* protobuf-c's bytes -> our struct -> our bytes -> protobuf-c's struct -> the same bytes. */
static void check_same(const ProtobufCMessage *original, const ProtobufCMessage *inner)
{
    static uint8_t before[16384], after[16384];
    struct arena *arena = arena_create(4096, 1 << 20);
    struct event event;
    struct fault fault = {0};
    struct strbuf out, json;
    strbuf_init(&out, 65536);
    strbuf_init(&json, 65536);
    size_t len = pack(original, before, sizeof(before));
    assert_true(event_decode(slice_of(before, len), arena, &event, &fault));
    assert_true(event_encode(&event, &out));
    ProtobufCMessage *back = protobuf_c_message_unpack(&sluice__v1__event__descriptor, NULL,
                                                       out.len, (const uint8_t *)out.ptr);
    assert_non_null(back);
    assert_int_equal(pack(back, after, sizeof(after)), len);
    assert_memory_equal(before, after, len);
    protobuf_c_message_free_unpacked(back, NULL);
    assert_true(event_to_json(&event, &json));
    check_keys(original, json.ptr);
    check_keys(inner, json.ptr);
    assert_null(memchr(json.ptr, '\n', json.len));
    strbuf_free(&json);
    strbuf_free(&out);
    arena_free(&arena);
}

static void test_every_field(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        const ProtobufCMessageDescriptor *descriptor = &sluice__v1__event__descriptor;
        for (unsigned i = 0; i < descriptor->n_fields; i++) {
            const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
            if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
                continue;
            }
            static struct texts texts;
            texts.count = 0;
            Sluice__V1__Event event = SLUICE__V1__EVENT__INIT;
            Sluice__V1__Event__MetadataEntry entry = SLUICE__V1__EVENT__METADATA_ENTRY__INIT;
            Sluice__V1__Event__MetadataEntry *entries[1] = {&entry};
            Sluice__V1__Attempt attempt = SLUICE__V1__ATTEMPT__INIT;
            union {
                ProtobufCMessage base;
                char room[512];
            } what;
            fill(&event.base, &texts);
            entry.key = text_make(&texts);
            entry.value = text_make(&texts);
            event.n_metadata = 1;
            event.metadata = entries;
            event.what_case = (Sluice__V1__Event__WhatCase)field->id;
            *(ProtobufCMessage **)(void *)((char *)&event + field->offset) = &what.base;
            const ProtobufCMessageDescriptor *kind = field->descriptor;
            assert_true(kind->sizeof_message <= sizeof(what));
            kind->message_init(&what.base);
            fill(&what.base, &texts);
            if (kind->n_fields == 1 && kind->fields[0].type == PROTOBUF_C_TYPE_MESSAGE) {
                fill(&attempt.base, &texts);
                *(Sluice__V1__Attempt **)(void *)((char *)&what + kind->fields[0].offset) =
                    &attempt;
                check_same(&event.base, &attempt.base);
            }
            check_same(&event.base, &what.base);
        }
    }
}

static struct event sample(void)
{
    return (struct event){
        .type = EVENT_BOUNCED,
        .event_id = SLICE("018f0000-0000-7000-8000-000000000001"),
        .time_ms = 1700000000123,
        .worker = SLICE("w1"),
        .message_id = SLICE("018f0000-0000-7000-8000-000000000002"),
        .recipient = SLICE("a@example.com"),
        .attempt = {.code = 550,
                    .enhanced = SLICE("5.1.1"),
                    .text = SLICE("No \"such\" user\x01"),
                    .phase = 8,
                    .scope = 1},
    };
}

static void test_json(void **state)
{
    struct event event = sample();
    struct message_pair metadata[] = {{SLICE("k"), SLICE("message")}, {SLICE("l"), SLICE("\\")}};
    struct message_pair recipient[] = {{SLICE("k"), SLICE("recipient")}};
    struct strbuf json;
    (void)state;
    strbuf_init(&json, 4096);
    event.metadata = metadata;
    event.metadata_count = 2;
    event.recipient_metadata = recipient;
    event.recipient_metadata_count = 1;
    assert_true(event_to_json(&event, &json));
    assert_string_equal(
        json.ptr,
        "{\"event_id\":\"018f0000-0000-7000-8000-000000000001\",\"time_ms\":1700000000123,"
        "\"type\":\"bounced\",\"worker\":\"w1\","
        "\"message_id\":\"018f0000-0000-7000-8000-000000000002\",\"recipient\":\"a@example.com\","
        "\"metadata\":{\"l\":\"\\\\\",\"k\":\"recipient\"},"
        "\"bounced\":{\"attempt\":{\"code\":550,\"enhanced\":\"5.1.1\","
        "\"text\":\"No \\\"such\\\" user\\u0001\",\"phase\":\"rcpt\",\"scope\":\"recipient\"}}}");
    strbuf_reset(&json);
    event.attempt.phase = 99; /* a later version's */
    event.attempt.text = SLICE("\xff");
    event.attempt.queue_time_ms = -5;
    assert_true(event_to_json(&event, &json));
    assert_non_null(strstr(json.ptr, "\"phase\":99"));
    assert_non_null(strstr(json.ptr, "\"text\":\"?\""));
    assert_non_null(strstr(json.ptr, "\"queue_time_ms\":-5"));
    strbuf_free(&json);
}

static void test_sanitised_and_bounded(void **state)
{
    static char longest[5000];
    struct event event = sample();
    struct event back;
    struct strbuf out;
    struct arena *arena = arena_create(1024, 1 << 20);
    (void)state;
    memset(longest, 'x', sizeof(longest));
    longest[2047] = '\xc3'; /* a sequence over the bound: left out as a whole */
    longest[2048] = '\xa9';
    event.attempt.text = slice_of(longest, sizeof(longest));
    event.recipient = SLICE("a\0b\xff@example.com");
    strbuf_init(&out, 65536);
    assert_true(event_encode(&event, &out));
    assert_true(event_decode(strbuf_slice(&out), arena, &back, NULL));
    assert_int_equal(back.attempt.text.len, 2047);
    assert_true(slice_eq(back.recipient, SLICE("a?b?@example.com")));
    arena_free(&arena);
    strbuf_free(&out);
}

static void test_recipient_wins(void **state)
{
    struct message_pair metadata[] = {{SLICE("k"), SLICE("message")}, {SLICE("l"), SLICE("stays")}};
    struct message_pair recipient[] = {{SLICE("k"), SLICE("recipient")}};
    struct event event = sample();
    struct event back;
    struct strbuf out;
    struct arena *arena = arena_create(1024, 1 << 20);
    (void)state;
    event.metadata = metadata;
    event.metadata_count = 2;
    event.recipient_metadata = recipient;
    event.recipient_metadata_count = 1;
    strbuf_init(&out, 4096);
    assert_true(event_encode(&event, &out));
    assert_true(event_decode(strbuf_slice(&out), arena, &back, NULL));
    assert_int_equal(back.metadata_count, 2);
    assert_true(slice_eq(back.metadata[0].value, SLICE("stays")));
    assert_true(slice_eq(back.metadata[1].value, SLICE("recipient")));
    arena_free(&arena);
    strbuf_free(&out);
}

static void test_buffer_bound(void **state)
{
    struct event event = sample();
    struct strbuf out;
    (void)state;
    strbuf_init(&out, 20);
    assert_false(event_encode(&event, &out));
    assert_int_equal(out.len, 0);
    strbuf_free(&out);
}

static void test_broken(void **state)
{
    struct event event;
    struct fault fault = {0};
    struct arena *arena = arena_create(1024, 1 << 20);
    (void)state;
    assert_false(event_decode(SLICE("\x0a\x09x"), arena, &event, &fault));
    assert_int_equal(fault.kind, FAULT_INVALID);
    assert_false(event_decode(SLICE("\x0a\x01x\xb2\x01\x02\x0a\x05"), arena, &event, &fault));
    assert_non_null(strstr(fault.text, "delivered"));
    assert_false(event_decode(SLICE("\x08\x01"), arena, &event, &fault));
    assert_non_null(strstr(fault.text, "event_id"));
    /* A field of a later version is passed over. */
    assert_true(event_decode(SLICE("\xf8\x07\x01\x10\x05"), arena, &event, &fault));
    assert_int_equal(event.time_ms, 5);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field),           cmocka_unit_test(test_json),
        cmocka_unit_test(test_sanitised_and_bounded), cmocka_unit_test(test_recipient_wins),
        cmocka_unit_test(test_buffer_bound),          cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
