/* The entries of the topic suppression, each key once. */
#include "ops/sluicectl/latest.h"
#include "ops/sluicectl/suppression.h"

#include "kafka/reader.h"
#include "kafka/topics.h"

#include <inttypes.h>

#define POLL_MS 100

struct each {
    struct latest latest;
    int64_t end; /* behind the last record of the first reading */
    suppression_visit *visit;
    void *owner;
    bool valid, enough;
};

static void note_place(struct each *each, const struct kafka_reader_record *record)
{
    latest_put(&each->latest, record->key, record->offset);
    each->end = record->offset + 1;
}

static void tell(struct each *each, const struct kafka_reader_record *record)
{
    char list[SUPPRESS_LIST_MAX];
    struct suppression_row row;
    struct fault fault = {0};
    bool is_last = latest_is(&each->latest, record->key, record->offset);
    if (record->offset >= each->end) {
        each->enough = true;
    } else if (is_last && record->value.len > 0 &&
               !slice_eq(record->key, SLICE(SUPPRESSION_PROGRESS_KEY))) {
        row.key_text = record->key;
        bool good = suppress_key_read(record->key, list, &row.key)
                        ? suppression_decode(record->value, &row.entry, &fault)
                        : fault_set(&fault, FAULT_INVALID, 0, "no key of an entry");
        if (good) {
            each->enough = !each->visit(each->owner, &row);
        } else {
            (void)fprintf(stderr, "sluicectl suppression: %s/%" PRId32 "/%" PRId64 ": %s\n",
                          record->topic, record->partition, record->offset, fault.text);
            each->valid = false;
        }
    }
}

static bool read_through(const struct config *config, struct each *each,
                         void (*act)(struct each *, const struct kafka_reader_record *),
                         struct fault *fault)
{
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    const char *topics[] = {topic};
    struct kafka_reader_record record;
    enum kafka_read got = KAFKA_READ_FAILED;
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &config->kafka);
    (void)snprintf(topic, sizeof(topic), "%ssuppression", config->kafka.prefix);
    struct kafka_reader *reader = kafka_reader_create(&properties, topics, 1, -2, fault);
    while (reader != NULL && !each->enough) {
        got = kafka_reader_next(reader, POLL_MS, &record, fault);
        if (got == KAFKA_READ_RECORD) {
            act(each, &record);
        } else if (got != KAFKA_READ_NONE) {
            break;
        }
    }
    kafka_reader_free(&reader);
    kafka_properties_free(&properties);
    return got != KAFKA_READ_FAILED;
}

bool suppression_each(const struct config *config, suppression_visit *visit, void *owner,
                      struct fault *fault)
{
    struct each each = {.visit = visit, .owner = owner, .valid = true};
    bool read =
        read_through(config, &each, note_place, fault) && read_through(config, &each, tell, fault);
    latest_free(&each.latest);
    return read && (each.valid || fault_set(fault, FAULT_INVALID, 0, "records could not be read"));
}
