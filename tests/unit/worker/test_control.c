/*
 * The thread that follows the topic `control`: what is a question goes to every shard and to
 * intake, nothing else does, and neither a Kafka that is away nor one that fails ends it.
 */
#include "worker/control.h"
#include "worker/intake.h"
#include "worker/shard.h"
#include "worker/worker.h"

#include "kafka/reader.h"
#include "unit/cmocka_all.h"

#include <unistd.h>

#define SHARDS 2

static struct shard *shards[SHARDS];
static struct config config = {.kafka = {.prefix = "sluice.", .bootstrap_servers = "nowhere"}};
static atomic_int readers; /* that were made */
static atomic_int asked, asked_intake, wrong;
static size_t next; /* record; the control thread's, which is joined before it is looked at */

static const struct {
    const char *key, *value;
} records[] = {
    {"why", "17"},
    {"why/w/0", "{\"request\":17}"},
    {"why", "0"},
    {"why", "18 abc"},
    {"eta", "19"},
    {"why", "x"},
    {"why", ""},
    {"why", "20 a\nb"},
    {"why", "21 after it"},
};

static void note(const struct question *question)
{
    bool good = (question->number == 17 && question->message_id[0] == '\0') ||
                (question->number == 18 && strcmp(question->message_id, "abc") == 0) ||
                (question->number == 21 && strcmp(question->message_id, "after it") == 0);
    atomic_fetch_add(&wrong, good && question->console == NULL ? 0 : 1);
}

void shard_ask_why(struct shard *shard, const struct question *question)
{
    (void)shard;
    note(question);
    atomic_fetch_add(&asked, 1);
}

void intake_ask_why(struct intake *intake, const struct question *question)
{
    (void)intake;
    note(question);
    atomic_fetch_add(&asked_intake, 1);
}

/* ---- Kafka: away at first, and once in between ---- */

struct kafka_reader {
    int number;
};

struct kafka_reader *kafka_reader_create(const struct kafka_properties *properties,
                                         const char *const *topics, size_t count, int64_t from_ms,
                                         struct fault *fault)
{
    static struct kafka_reader reader;
    (void)properties;
    assert_int_equal(count, 1);
    assert_int_equal(from_ms, -1); /* what was asked before is nobody's question any more */
    assert_string_equal(topics[0], "sluice.control");
    if (atomic_fetch_add(&readers, 1) == 0) {
        fault_set(fault, FAULT_TEMPORARY, 0, "away");
        return NULL;
    }
    return &reader;
}

void kafka_reader_free(struct kafka_reader **reader)
{
    *reader = NULL;
}

enum kafka_read kafka_reader_next(struct kafka_reader *reader, int timeout_ms,
                                  struct kafka_reader_record *record, struct fault *fault)
{
    (void)reader;
    if (next == ARRAY_LEN(records)) {
        usleep((useconds_t)timeout_ms * 1000);
        return KAFKA_READ_NONE;
    }
    if (next == ARRAY_LEN(records) - 1 && atomic_load(&readers) == 2) {
        fault_set(fault, FAULT_TEMPORARY, 0, "away again");
        return KAFKA_READ_FAILED;
    }
    *record = (struct kafka_reader_record){.key = slice_cstr(records[next].key),
                                           .value = slice_cstr(records[next].value)};
    next++;
    return KAFKA_READ_RECORD;
}

static void questions_go_to_all(void **state)
{
    struct worker worker = {
        .config = &config, .name = "w", .shards = shards, .shard_count = SHARDS};
    (void)state;
    worker_name_topics(&worker);
    struct control *control = control_start(&worker);
    while (atomic_load(&asked_intake) < 3) {
        usleep(1000);
    }
    control_stop(&control);
    assert_null(control);
    assert_int_equal(atomic_load(&asked), 3 * SHARDS);
    assert_int_equal(atomic_load(&asked_intake), 3);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(atomic_load(&readers), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(questions_go_to_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
