/* Journal records: protobuf-c reads what is written; it is read back the same; garbage is named. */
#include "schema/completion.h"

#include "control.pb-c.h"

#include "unit/cmocka_all.h"

static const uint32_t numbers[] = {0, 1, 500, 999};
static const struct ledger_partition place = {{"mail", 4}, 3, UINT64_MAX};

static void build(struct strbuf *out)
{
    const struct ledger_outcome outcomes[] = {
        {numbers, 2, LEDGER_DELIVERED, 250, {2, 1, 5}, SLICE("ok"), 0},
        {numbers + 2, 2, LEDGER_DEFERRED, 451, {4, 999, 999}, SLICE("later"), 77},
    };
    strbuf_init(out, 4096);
    assert_true(completion_put_writer(out, SLICE("w-1")));
    assert_true(completion_put_place(out, &place));
    assert_true(completion_put_entry(out, &(struct ledger_entry){.kind = LEDGER_INTENT,
                                                                 .offset = 5,
                                                                 .turn = 2,
                                                                 .recipients = numbers,
                                                                 .recipient_count = 4}));
    assert_true(completion_put_entry(out, &(struct ledger_entry){.kind = LEDGER_DONE,
                                                                 .offset = 5,
                                                                 .turn = 2,
                                                                 .outcomes = outcomes,
                                                                 .outcome_count = 2}));
    assert_true(completion_put_entry(
        out, &(struct ledger_entry){.kind = LEDGER_CLOSED, .offset = 5, .length = 9}));
}

static void test_oracle(void **state)
{
    (void)state;
    struct strbuf out;
    build(&out);
    Sluice__V1__Journal *told =
        sluice__v1__journal__unpack(NULL, out.len, (const uint8_t *)out.ptr);
    assert_non_null(told);
    assert_string_equal(told->writer, "w-1");
    assert_int_equal(told->n_places, 1);
    assert_string_equal(told->places[0]->topic, "mail");
    assert_int_equal(told->places[0]->partition, 3);
    assert_true(told->places[0]->claim == UINT64_MAX);
    assert_int_equal(told->n_entries, 3);
    assert_int_equal(told->entries[0]->n_recipients, 4);
    assert_int_equal(told->entries[0]->recipients[3], 999);
    assert_int_equal(told->entries[1]->turn, 2);
    assert_int_equal(told->entries[1]->outcomes[1]->enhanced, 4999999);
    assert_int_equal(told->entries[1]->outcomes[1]->due_ms, 77);
    assert_string_equal(told->entries[1]->outcomes[0]->text, "ok");
    assert_int_equal(told->entries[2]->length, 9);
    sluice__v1__journal__free_unpacked(told, NULL);
    strbuf_free(&out);
}

static void test_read_back(void **state)
{
    (void)state;
    struct strbuf out;
    struct slice writer;
    struct ledger_entry entry;
    struct ledger_partition where;
    build(&out);
    struct completion_reader *reader = completion_reader_create();
    assert_true(completion_writer(strbuf_slice(&out), &writer));
    assert_true(slice_eq(writer, SLICE("w-1")));
    completion_read(reader, strbuf_slice(&out));
    assert_int_equal(completion_next(reader, &entry, &where), COMPLETION_ENTRY);
    assert_int_equal(entry.kind, LEDGER_INTENT);
    assert_memory_equal(entry.recipients, numbers, sizeof(numbers));
    assert_true(slice_eq(where.topic, SLICE("mail")) && where.claim == UINT64_MAX);
    assert_int_equal(completion_next(reader, &entry, &where), COMPLETION_ENTRY);
    assert_int_equal(entry.outcome_count, 2);
    assert_int_equal(entry.outcomes[1].recipients[1], 999);
    assert_int_equal(entry.outcomes[1].enhanced.subject, 999);
    assert_int_equal(entry.outcomes[1].code, 451);
    assert_int_equal(completion_next(reader, &entry, &where), COMPLETION_ENTRY);
    assert_int_equal(entry.length, 9);
    assert_int_equal(completion_next(reader, &entry, &where), COMPLETION_END);
    completion_reader_free(&reader);
    strbuf_free(&out);
}

/* Every prefix and every flipped byte: no more entries than were written, and always an end. */
static void test_garbage(void **state)
{
    (void)state;
    struct strbuf out;
    struct ledger_entry entry;
    struct ledger_partition where;
    build(&out);
    struct completion_reader *reader = completion_reader_create();
    for (size_t i = 0; i < out.len * 2; i++) {
        size_t at = i / 2;
        out.ptr[at] = (char)(out.ptr[at] ^ 0xff);
        completion_read(reader, slice_of(out.ptr, i % 2 == 0 ? out.len : at));
        size_t turns = 0;
        enum completion_next next;
        do {
            next = completion_next(reader, &entry, &where);
            assert_true(++turns <= out.len);
        } while (next == COMPLETION_ENTRY || next == COMPLETION_BROKEN_ENTRY);
        out.ptr[at] = (char)(out.ptr[at] ^ 0xff);
    }
    completion_read(reader, SLICE("\x1a\x06\x08\x01\x10\x05\x28\x01")); /* place 5 of none */
    assert_int_equal(completion_next(reader, &entry, &where), COMPLETION_BROKEN_ENTRY);
    assert_int_equal(completion_next(reader, &entry, &where), COMPLETION_END);
    completion_reader_free(&reader);
    strbuf_free(&out);
}

static void test_full(void **state)
{
    (void)state;
    struct strbuf out;
    strbuf_init(&out, 8);
    assert_false(completion_put_place(&out, &place));
    assert_int_equal(out.len, 0);
    assert_false(out.overflow);
    strbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle),
        cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
