/* Checkpoints: protobuf-c reads what is written and writes what is read; broken ones are named. */
#include "schema/completion.h"

#include "control.pb-c.h"

#include "unit/cmocka_all.h"

static const struct offsets_run runs[] = {{100, 104}, {106, 106}, {1000000, 1000999}};
static const int64_t in_flight[] = {0, 7, 5000000000};
static const struct ledger_awaited awaited[] = {
    {{NULL, 0}, 2, 900, 41, 30000, in_flight, 3},
    {{"old", 3}, 5, 0, 40, 1, in_flight + 1, 1},
    {{"none", 4}, 6, 1, 39, 2, NULL, 0},
};
static const struct ledger_partition mail = {{"mail", 4}, 3, UINT64_MAX};
static const struct ledger_partition bulk = {{"bulk", 4}, 0, 0};

static void build(struct strbuf *out)
{
    const struct ledger_checkpoint header = {SLICE("w-1"), SLICE("worker"), 2, 900, 1700000000000};
    strbuf_init(out, 4096);
    assert_true(completion_put_checkpoint(out, &header));
    assert_true(completion_put_partition(out, &mail, 100, runs, 3, awaited, 3));
    assert_true(completion_put_partition(out, &bulk, 0, runs + 1, 1, NULL, 0));
}

static void test_oracle_reads(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 5, 1, 1, 999893, 1000};
    static const uint64_t distances[] = {0, 7, 4999999993};
    struct strbuf out;
    build(&out);
    Sluice__V1__Checkpoint *told =
        sluice__v1__checkpoint__unpack(NULL, out.len, (const uint8_t *)out.ptr);
    assert_non_null(told);
    assert_string_equal(told->writer, "w-1");
    assert_string_equal(told->worker, "worker");
    assert_int_equal(told->slot, 2);
    assert_int_equal(told->done_offset, 900);
    assert_true(told->time_ms == 1700000000000);
    assert_int_equal(told->n_partitions, 2);
    Sluice__V1__CheckpointPartition *partition = told->partitions[0];
    assert_string_equal(partition->topic, "mail");
    assert_int_equal(partition->partition, 3);
    assert_true(partition->claim == UINT64_MAX);
    assert_int_equal(partition->base_offset, 100);
    assert_int_equal(partition->n_runs, 6);
    assert_memory_equal(partition->runs, numbers, sizeof(numbers));
    assert_int_equal(partition->n_awaited, 3);
    assert_string_equal(partition->awaited[0]->writer, "");
    assert_int_equal(partition->awaited[0]->slot, 2);
    assert_int_equal(partition->awaited[0]->done_offset, 900);
    assert_int_equal(partition->awaited[0]->claim, 41);
    assert_int_equal(partition->awaited[0]->wait_ms, 30000);
    assert_int_equal(partition->awaited[0]->n_offsets, 3);
    assert_memory_equal(partition->awaited[0]->offsets, distances, sizeof(distances));
    assert_string_equal(partition->awaited[1]->writer, "old");
    assert_int_equal(partition->awaited[2]->n_offsets, 0);
    assert_int_equal(told->partitions[1]->runs[0], 106);
    sluice__v1__checkpoint__free_unpacked(told, NULL);
    strbuf_free(&out);
}

/* What the sink was told, as text; at most `left` calls are answered with true. */
struct listener {
    struct strbuf text;
    int left;
};

static bool on_partition(void *owner, const struct ledger_partition *partition, int64_t base)
{
    struct listener *listener = owner;
    strbuf_addf(&listener->text, "%.*s/%d claim %llu base %lld;", (int)partition->topic.len,
                partition->topic.ptr, (int)partition->partition,
                (unsigned long long)partition->claim, (long long)base);
    return listener->left-- > 0;
}

static bool on_run(void *owner, int64_t first, int64_t last)
{
    struct listener *listener = owner;
    strbuf_addf(&listener->text, " %lld-%lld", (long long)first, (long long)last);
    return listener->left-- > 0;
}

static bool on_awaited(void *owner, const struct ledger_awaited *given)
{
    struct listener *listener = owner;
    strbuf_addf(&listener->text, " [%.*s %d %lld %llu %lld]", (int)given->writer.len,
                given->writer.len > 0 ? given->writer.ptr : "", (int)given->slot,
                (long long)given->done_offset, (unsigned long long)given->claim,
                (long long)given->wait_ms);
    return listener->left-- > 0;
}

static bool on_offset(void *owner, int64_t offset)
{
    struct listener *listener = owner;
    strbuf_addf(&listener->text, " @%lld", (long long)offset);
    return listener->left-- > 0;
}

/* The text must be freed. */
static bool listen(struct slice record, int left, struct listener *listener, struct fault *fault)
{
    const struct completion_sink sink = {listener, on_partition, on_run, on_awaited, on_offset};
    struct ledger_checkpoint header;
    strbuf_init(&listener->text, (size_t)1 << 20);
    strbuf_add_cstr(&listener->text, "");
    listener->left = left;
    return completion_read_checkpoint(record, &header, &sink, fault);
}

static void test_read_back(void **state)
{
    (void)state;
    struct strbuf out;
    struct listener listener;
    struct ledger_checkpoint header;
    build(&out);
    assert_true(completion_read_checkpoint(strbuf_slice(&out), &header, NULL, NULL));
    assert_true(slice_eq(header.writer, SLICE("w-1")) && slice_eq(header.worker, SLICE("worker")));
    assert_int_equal(header.slot, 2);
    assert_int_equal(header.done_offset, 900);
    assert_true(header.time_ms == 1700000000000);
    assert_true(listen(strbuf_slice(&out), 1000, &listener, NULL));
    assert_string_equal(listener.text.ptr,
                        "mail/3 claim 18446744073709551615 base 100; 100-104 106-106 "
                        "1000000-1000999 [ 2 900 41 30000] @0 @7 @5000000000 [old 5 0 40 1] @7 "
                        "[none 6 1 39 2]bulk/0 claim 0 base 0; 106-106");
    strbuf_free(&listener.text);
    strbuf_free(&out);
}

/* Each call but the last lets it go on: as many calls as that, and no fault. */
static void test_stopped(void **state)
{
    (void)state;
    struct strbuf out;
    build(&out);
    for (int left = 0; left < 13; left++) {
        struct listener listener;
        assert_true(listen(strbuf_slice(&out), left, &listener, NULL));
        assert_int_equal(listener.left, -1);
        strbuf_free(&listener.text);
    }
    strbuf_free(&out);
}

/* Packs with protobuf-c and reads: the runs given, in one partition with the base given. */
static bool read_packed(int64_t base, uint64_t *numbers, size_t count, uint64_t *distances,
                        size_t distance_count, struct fault *fault)
{
    Sluice__V1__Checkpoint whole;
    Sluice__V1__CheckpointPartition one;
    Sluice__V1__Awaited wait;
    Sluice__V1__CheckpointPartition *partitions[] = {&one};
    Sluice__V1__Awaited *waits[] = {&wait};
    char writer[] = "w";
    char topic[] = "mail";
    uint8_t record[512];
    struct listener listener;
    sluice__v1__checkpoint__init(&whole);
    sluice__v1__checkpoint_partition__init(&one);
    sluice__v1__awaited__init(&wait);
    whole.writer = writer;
    whole.n_partitions = 1;
    whole.partitions = partitions;
    one.topic = topic;
    one.base_offset = base;
    one.n_runs = count;
    one.runs = numbers;
    one.n_awaited = 1;
    one.awaited = waits;
    wait.n_offsets = distance_count;
    wait.offsets = distances;
    assert_true(sluice__v1__checkpoint__get_packed_size(&whole) <= sizeof(record));
    size_t size = sluice__v1__checkpoint__pack(&whole, record);
    bool sound = listen(slice_of((const char *)record, size), 1000, &listener, fault);
    strbuf_free(&listener.text);
    return sound;
}

static void test_rules(void **state)
{
    (void)state;
    struct fault fault;
    uint64_t good[] = {0, 5, 1, INT64_MAX - 6};
    uint64_t long_run[] = {0, 5, 1, INT64_MAX - 5};
    uint64_t touching[] = {3, 5, 0, 1};
    uint64_t empty[] = {3, 0};
    uint64_t huge[] = {UINT64_MAX, 1};
    uint64_t ascending[] = {0, 1, INT64_MAX - 1};
    uint64_t twice[] = {4, 0};
    uint64_t far[] = {1, INT64_MAX};
    assert_true(read_packed(0, good, 4, ascending, 3, &fault));
    assert_true(read_packed(5, NULL, 0, NULL, 0, &fault));
    assert_false(read_packed(0, long_run, 4, NULL, 0, &fault));
    assert_string_equal(fault.text, "partitions[0].runs: not a length");
    assert_false(read_packed(0, touching, 4, NULL, 0, &fault));
    assert_string_equal(fault.text, "partitions[0].runs: not a hole");
    assert_false(read_packed(0, good, 3, NULL, 0, &fault));
    assert_string_equal(fault.text, "partitions[0].runs: a hole without an end");
    assert_false(read_packed(0, empty, 2, NULL, 0, &fault));
    assert_false(read_packed(0, huge, 2, NULL, 0, &fault));
    assert_false(read_packed(INT64_MAX, good, 2, NULL, 0, &fault));
    assert_false(read_packed(-1, NULL, 0, NULL, 0, &fault));
    assert_string_equal(fault.text, "partitions[0]: not well-formed, or out of range");
    assert_false(read_packed(0, NULL, 0, twice, 2, &fault));
    assert_string_equal(fault.text, "partitions[0].awaited.offsets: not ascending, or too large");
    assert_false(read_packed(0, NULL, 0, far, 2, &fault));
}

/* Every prefix and every flipped byte: an answer, and never more told than bytes are there. */
static void test_garbage(void **state)
{
    (void)state;
    struct strbuf out;
    struct ledger_checkpoint header;
    build(&out);
    for (size_t i = 0; i < out.len * 2; i++) {
        struct fault fault = {.kind = FAULT_NONE};
        struct listener listener;
        size_t at = i / 2;
        out.ptr[at] = (char)(out.ptr[at] ^ 0xff);
        struct slice record = slice_of(out.ptr, i % 2 == 0 ? out.len : at);
        bool sound = listen(record, 1000, &listener, &fault);
        assert_true(sound == (fault.kind == FAULT_NONE));
        assert_true(listener.left >= 1000 - (int)out.len);
        strbuf_free(&listener.text);
        out.ptr[at] = (char)(out.ptr[at] ^ 0xff);
    }
    assert_false(completion_read_checkpoint(slice_of(out.ptr, 0), &header, NULL, NULL));
    strbuf_free(&out);
}

static void test_full(void **state)
{
    (void)state;
    struct strbuf out;
    strbuf_init(&out, 8);
    assert_false(completion_put_partition(&out, &mail, 100, runs, 3, awaited, 3));
    assert_int_equal(out.len, 0);
    assert_true(out.overflow);
    strbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle_reads), cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_stopped),      cmocka_unit_test(test_rules),
        cmocka_unit_test(test_garbage),      cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
