/*
 * Suppression records against protobuf-c: every scalar that suppression.proto has is set through
 * the generated descriptors, so a field added to the file and forgotten in our tables fails here.
 */
#include "schema/suppression.h"

#include "suppression.pb-c.h"

#include "unit/cmocka_all.h"

static char texts[16][32];

static void fill(ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    size_t used = 0;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        void *member = (char *)message + field->offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            continue;
        }
        if (field->type == PROTOBUF_C_TYPE_STRING) {
            (void)snprintf(texts[used], sizeof(texts[0]), "text %u", i);
            *(char **)member = texts[used++];
        } else if (field->type == PROTOBUF_C_TYPE_ENUM || field->type == PROTOBUF_C_TYPE_INT32) {
            *(int32_t *)member = 3;
        } else {
            assert_true(field->type == PROTOBUF_C_TYPE_INT64 ||
                        field->type == PROTOBUF_C_TYPE_UINT64);
            *(uint64_t *)member = 1000000007u * (i + 1);
        }
    }
}

static void test_entry(void **state)
{
    Sluice__V1__Suppression given = SLUICE__V1__SUPPRESSION__INIT;
    Sluice__V1__SuppressionStrike first = SLUICE__V1__SUPPRESSION_STRIKE__INIT;
    Sluice__V1__SuppressionStrike second = SLUICE__V1__SUPPRESSION_STRIKE__INIT;
    Sluice__V1__SuppressionStrike *strikes[] = {&first, &second};
    struct suppression entry;
    struct fault fault;
    struct strbuf ours;
    uint8_t theirs[1024];
    (void)state;
    fill(&given.base);
    fill(&first.base);
    second.event = UINT64_MAX;
    given.n_strikes = 2;
    given.strikes = strikes;
    size_t len = sluice__v1__suppression__pack(&given, theirs);
    assert_true(suppression_decode(slice_of(theirs, len), &entry, &fault));
    assert_int_equal(entry.reason, 3);
    assert_int_equal(entry.strike_count, 2);
    assert_int_equal(entry.strikes[1].event, UINT64_MAX);
    strbuf_init(&ours, SUPPRESSION_ENCODED_MAX);
    assert_true(suppression_encode(&entry, &ours));
    assert_int_equal(ours.len, len);
    /* Field order may differ: protobuf-c reads ours, and packs the same. */
    Sluice__V1__Suppression *back =
        sluice__v1__suppression__unpack(NULL, ours.len, (const uint8_t *)ours.ptr);
    assert_non_null(back);
    uint8_t again[1024];
    assert_int_equal(sluice__v1__suppression__pack(back, again), len);
    assert_memory_equal(again, theirs, len);
    sluice__v1__suppression__free_unpacked(back, NULL);
    strbuf_free(&ours);
}

static void test_more_strikes_than_room(void **state)
{
    Sluice__V1__Suppression given = SLUICE__V1__SUPPRESSION__INIT;
    Sluice__V1__SuppressionStrike items[SUPPRESSION_STRIKES_MAX + 5];
    Sluice__V1__SuppressionStrike *strikes[ARRAY_LEN(items)];
    uint8_t packed[2048];
    struct suppression entry;
    struct fault fault;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        sluice__v1__suppression_strike__init(&items[i]);
        items[i].time_ms = (int64_t)i + 1;
        strikes[i] = &items[i];
    }
    given.n_strikes = ARRAY_LEN(items);
    given.strikes = strikes;
    size_t len = sluice__v1__suppression__pack(&given, packed);
    assert_true(suppression_decode(slice_of(packed, len), &entry, &fault));
    assert_int_equal(entry.strike_count, SUPPRESSION_STRIKES_MAX);
    assert_int_equal(entry.strikes[0].time_ms, 6);
    assert_int_equal(entry.strikes[SUPPRESSION_STRIKES_MAX - 1].time_ms, ARRAY_LEN(items));
}

struct seen {
    struct suppression_position positions[4];
    size_t count;
};

/* Whatever an event tells of a stranger's words, its entry can be written. */
static void test_long_texts(void **state)
{
    static char text[100000];
    static const char euro[] = "\xe2\x82\xac";
    struct suppression entry = {.reason = SUPPRESSION_COMPLAINT,
                                .strike_count = SUPPRESSION_STRIKES_MAX};
    struct suppression read;
    struct strbuf out;
    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = i == 0 ? 'x' : euro[(i - 1) % 3];
    }
    const struct slice all = slice_of(text, sizeof(text));
    entry.bounce_class = entry.event_id = entry.message_id = all;
    entry.campaign = entry.actor = entry.note = all;
    strbuf_init(&out, SUPPRESSION_ENCODED_MAX);
    assert_true(suppression_encode(&entry, &out));
    assert_true(suppression_decode(strbuf_slice(&out), &read, NULL));
    const struct slice words[] = {read.bounce_class, read.event_id, read.message_id,
                                  read.campaign,     read.actor,    read.note};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        assert_int_equal(words[i].len, 499); /* 1 + 166 characters of three bytes */
        assert_true(slice_is_utf8(words[i]));
        assert_memory_equal(words[i].ptr, text, words[i].len);
    }
    strbuf_free(&out);
    memset(text, 'x', sizeof(text));
    entry.note = slice_of(text, 501);
    strbuf_init(&out, SUPPRESSION_ENCODED_MAX);
    assert_true(suppression_encode(&entry, &out));
    assert_true(suppression_decode(strbuf_slice(&out), &read, NULL));
    assert_int_equal(read.note.len, 500);
    strbuf_free(&out);
}

static void see(void *owner, const struct suppression_position *found)
{
    struct seen *seen = owner;
    seen->positions[seen->count++] = *found;
}

static void test_progress(void **state)
{
    Sluice__V1__SuppressionProgress given = SLUICE__V1__SUPPRESSION_PROGRESS__INIT;
    Sluice__V1__SuppressionPosition position = SLUICE__V1__SUPPRESSION_POSITION__INIT;
    Sluice__V1__SuppressionPosition *positions[] = {&position};
    struct suppression_progress progress;
    struct seen seen = {.count = 0};
    struct fault fault;
    struct strbuf ours;
    uint8_t theirs[512];
    (void)state;
    fill(&given.base);
    position.topic = (char[]){"sluice.bounces"};
    position.partition = 3;
    position.next_offset = 77;
    given.n_positions = 1;
    given.positions = positions;
    size_t len = sluice__v1__suppression_progress__pack(&given, theirs);
    assert_true(suppression_progress_decode(slice_of(theirs, len), &progress, see, &seen, &fault));
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.positions[0].next_offset, 77);
    strbuf_init(&ours, SUPPRESSION_ENCODED_MAX);
    assert_true(suppression_progress_encode(&progress, seen.positions, seen.count, &ours));
    assert_int_equal(ours.len, len);
    assert_memory_equal(ours.ptr, theirs, len);
    strbuf_free(&ours);
}

static void test_broken(void **state)
{
    struct suppression entry;
    struct fault fault;
    (void)state;
    assert_false(suppression_decode(SLICE("\x0a"), &entry, &fault));
    assert_false(suppression_decode(SLICE("\x5a\x02\x08"), &entry, &fault));
    assert_false(suppression_decode(SLICE("\x58\x01"), &entry, &fault)); /* strikes: a number */
    assert_non_null(strstr(fault.text, "strikes"));
}

static void test_reasons(void **state)
{
    int reason;
    (void)state;
    for (int i = 0; i < SUPPRESSION_REASON_COUNT; i++) {
        assert_true(suppression_reason_parse(slice_cstr(suppression_reason_name(i)), &reason));
        assert_int_equal(reason, i);
    }
    assert_int_equal(SUPPRESSION_REASON_COUNT, sluice__v1__suppression_reason__descriptor.n_values);
    assert_string_equal(suppression_reason_name(200), "other");
    assert_false(suppression_reason_parse(SLICE("other"), &reason));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entry),      cmocka_unit_test(test_more_strikes_than_room),
        cmocka_unit_test(test_long_texts), cmocka_unit_test(test_progress),
        cmocka_unit_test(test_broken),     cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
