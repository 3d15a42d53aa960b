/* What the topic `uncertain` holds: read twice, first to know which record of a key counts. */
#include "ops/sluicectl/latest.h"
#include "ops/sluicectl/uncertain.h"

#include "base/mem.h"
#include "kafka/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS 500
#define PATIENCE_MS 30000 /* without a record and without the end: the brokers are away */
#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)64 * 1024 * 1024)

struct each {
    const struct uncertain_options *options;
    uncertain_visit *visit;
    void *owner;
    struct kafka_tail *tail;
    const char *topic;
    struct latest latest;
    int64_t end;  /* of the first reading */
    bool *found;  /* by key of the options */
    bool enough;  /* the visitor has */
    bool invalid; /* something could not be read, and was told */
    struct fault *fault;
};

static struct slice header_text(const struct kafka_reader_record *record, const char *name)
{
    struct slice text = SLICE_NULL;
    (void)kafka_reader_header(record, name, &text);
    return text;
}

/* Slices point into the record and the arena. */
static bool read_entry(const struct kafka_reader_record *record, struct arena *arena,
                       struct uncertain_entry *entry, struct fault *fault)
{
    struct message_origin origin = {slice_cstr(record->topic), record->partition, record->offset};
    struct slice pending;
    *entry = (struct uncertain_entry){
        .key = record->key,
        .partition = record->partition,
        .held_ms = record->timestamp_ms,
        .origin = header_text(record, HEADER_ORIGIN),
        .stream = header_text(record, HEADER_STREAM),
        .site = header_text(record, HEADER_SITE),
        .last = header_text(record, HEADER_LAST),
        .attempt = (uint64_t)kafka_reader_number(record, HEADER_ATTEMPT),
        .first_seen_ms = kafka_reader_number(record, HEADER_FIRST_SEEN_MS),
        .expires_ms = kafka_reader_number(record, HEADER_EXPIRES_MS),
        .record = record,
    };
    if (!header_origin_decode(entry->origin, &origin)) {
        return fault_set(fault, FAULT_INVALID, 0, "header " HEADER_ORIGIN " is missing");
    }
    if (entry->attempt == 0) {
        return fault_set(fault, FAULT_INVALID, 0, "header " HEADER_ATTEMPT " is missing");
    }
    if (!message_decode(record->value, &origin, arena, &entry->message, fault)) {
        return false;
    }
    size_t count = entry->message.recipient_count;
    if (kafka_reader_header(record, HEADER_PENDING, &pending)) {
        return pending_decode(pending, count, &entry->recipients, fault) ||
               fault_prefix(fault, "header " HEADER_PENDING);
    }
    for (size_t i = 0; i < count; i++) {
        pending_add(&entry->recipients, i);
    }
    return true;
}

static bool has_recipient(const struct uncertain_entry *entry, struct slice wanted)
{
    for (size_t i = 0; i < entry->message.recipient_count; i++) {
        if (pending_has(&entry->recipients, i) &&
            slice_eq_nocase(entry->message.recipients[i].address, wanted)) {
            return true;
        }
    }
    return false;
}

/* Where the site is not known (the worker that held the message had not looked it up), the domain
 * stands for it. */
static bool is_of_site(const struct uncertain_entry *entry, struct slice site)
{
    return slice_eq_nocase(entry->site.len > 0 ? entry->site : entry->message.domain, site);
}

static bool passes(struct slice wanted, struct slice value)
{
    return wanted.ptr == NULL || slice_eq(wanted, value);
}

static bool is_wanted(const struct each *each, const struct uncertain_entry *entry)
{
    const struct uncertain_options *options = each->options;
    return passes(options->stream, entry->stream) &&
           passes(options->tenant, entry->message.tenant) &&
           (options->message_id.ptr == NULL ||
            slice_eq_nocase(options->message_id, entry->message.id)) &&
           (options->site.ptr == NULL || is_of_site(entry, options->site)) &&
           (options->recipient.ptr == NULL || has_recipient(entry, options->recipient)) &&
           (options->older_than_ms == 0 ||
            entry->held_ms + options->older_than_ms <= wall_now().ms);
}

/* Notes that it is held. True: the options name it, or name none. */
static bool is_named(struct each *each, struct slice key)
{
    bool named = each->options->key_count == 0;
    for (size_t i = 0; i < each->options->key_count; i++) {
        if (slice_eq(key, slice_cstr(each->options->keys[i]))) {
            each->found[i] = true;
            named = true;
        }
    }
    return named;
}

static void note_place(struct each *each, const struct kafka_reader_record *record)
{
    latest_put(&each->latest, record->key, record->offset);
}

static void tell(struct each *each, const struct kafka_reader_record *record)
{
    struct uncertain_entry entry;
    struct fault fault = {0};
    if (record->value.ptr == NULL || !latest_is(&each->latest, record->key, record->offset) ||
        !is_named(each, record->key)) {
        return;
    }
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    CHECK(arena != NULL);
    if (!read_entry(record, arena, &entry, &fault)) {
        (void)fprintf(stderr, "sluicectl uncertain: %.*s: %s\n", SLICE_FMT(record->key),
                      fault.text);
        each->invalid = true;
    } else if (is_wanted(each, &entry)) {
        each->enough = !each->visit(each->owner, &entry);
    }
    arena_free(&arena);
}

/* From the beginning up to the end of the topic, or of the first reading. */
static bool read_through(struct each *each, int32_t partition,
                         void (*act)(struct each *, const struct kafka_reader_record *))
{
    struct kafka_reader_record record;
    struct mono_time patience = mono_add_ms(mono_now(), PATIENCE_MS);
    bool first = act == note_place;
    bool done = false;
    if (!kafka_tail_start(each->tail, each->topic, partition, 0, each->fault)) {
        return false;
    }
    while (!done && !each->enough) {
        switch (kafka_tail_next(each->tail, POLL_MS, &record, each->fault)) {
        case KAFKA_TAIL_RECORD:
            patience = mono_add_ms(mono_now(), PATIENCE_MS);
            done = !first && record.offset >= each->end;
            if (!done) {
                act(each, &record);
            }
            break;
        case KAFKA_TAIL_END:
            each->end = first ? record.offset : each->end;
            done = true;
            break;
        case KAFKA_TAIL_NONE:
            if (!mono_before(mono_now(), patience)) {
                return fault_set(each->fault, FAULT_TIMEOUT, 0, "%s [%d]: no answer", each->topic,
                                 partition);
            }
            break;
        case KAFKA_TAIL_FAILED: return false;
        }
    }
    kafka_tail_stop(each->tail, each->topic, partition);
    return true;
}

static bool read_partitions(struct each *each)
{
    int count = kafka_tail_partitions(each->tail, each->topic, PATIENCE_MS, each->fault);
    bool ok = count >= 0;
    for (int32_t partition = 0; ok && partition < count && !each->enough; partition++) {
        ok = read_through(each, partition, note_place) &&
             (each->latest.count == 0 || read_through(each, partition, tell));
        latest_free(&each->latest);
    }
    return ok;
}

bool uncertain_each(const struct config *config, const struct uncertain_options *options,
                    uncertain_visit *visit, void *owner, struct fault *fault)
{
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &config->kafka);
    struct each each = {.options = options,
                        .visit = visit,
                        .owner = owner,
                        .topic = topic,
                        .found = mem_calloc(options->key_count + 1, sizeof(bool)),
                        .fault = fault};
    (void)snprintf(topic, sizeof(topic), "%suncertain", config->kafka.prefix);
    each.tail = kafka_tail_create(&properties, "sluicectl", true, fault);
    bool ok = each.tail != NULL && read_partitions(&each);
    for (size_t i = 0; ok && !each.enough && i < options->key_count; i++) {
        if (!each.found[i]) {
            (void)fprintf(stderr, "sluicectl uncertain: %s: is not held\n", options->keys[i]);
            each.invalid = true;
        }
    }
    kafka_tail_free(&each.tail);
    latest_free(&each.latest);
    kafka_properties_free(&properties);
    mem_free(each.found);
    if (ok && each.invalid) {
        fault_set(fault, FAULT_NOT_FOUND, 0, "not all of it");
    }
    return ok && !each.invalid;
}
