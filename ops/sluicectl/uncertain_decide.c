/*
 * sluicectl uncertain resend, drop. What is put back, its tombstone and the event about it are one
 * transaction, so that a crash, here or at the brokers, leaves a message either held or decided.
 * The transactional id is the same for every sluicectl of an installation: who opens it ends what
 * another one has under way, and reads only then what is held still. So of two at once the former
 * fails, and nothing is put back twice.
 */
#include "ops/sluicectl/uncertain.h"

#include "base/uuid.h"
#include "kafka/batch.h"
#include "kafka/topics.h"
#include "schema/event.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OPEN_TIMEOUT_MS 30000
#define COMMIT_TIMEOUT_MS 30000
#define BATCH_ENTRIES 500
#define BATCH_BYTES ((size_t)16 * 1024 * 1024)
#define EVENT_MAX_BYTES ((size_t)256 * 1024)
#define HEADERS_MAX 12

struct decide {
    const struct config *config;
    const struct uncertain_options *options;
    bool resend;
    struct kafka_batch *batch;
    char tier[KAFKA_TOPIC_NAME_MAX + 1];
    char uncertain[KAFKA_TOPIC_NAME_MAX + 1];
    char log[KAFKA_TOPIC_NAME_MAX + 1];
    char node[128];
    struct strbuf event;
    size_t entries; /* in the open batch */
    size_t bytes;
    uint64_t done; /* committed */
    bool failed;
    struct fault *fault;
};

/* ---- events ---- */

static bool send_event(struct decide *decide, struct event *event)
{
    strbuf_reset(&decide->event);
    if (!event_encode(event, &decide->event)) {
        return fault_set(decide->fault, FAULT_LIMIT, 0, "the event is too long");
    }
    const struct kafka_record_out record = {.topic = decide->log,
                                            .partition = -1,
                                            .key = event->message_id,
                                            .value = strbuf_slice(&decide->event)};
    return kafka_batch_add(decide->batch, &record, decide->fault);
}

static struct event event_of(const struct decide *decide, const struct uncertain_entry *entry,
                             enum event_type type)
{
    const struct message *message = &entry->message;
    const struct config_stream *stream = config_stream_named(decide->config, entry->stream);
    bool bulk = message->klass == MESSAGE_CLASS_DEFAULT
                    ? stream != NULL && stream->class_ == CONFIG_CLASS_BULK
                    : message->klass == MESSAGE_CLASS_MASS;
    return (struct event){
        .type = type,
        .time_ms = wall_now().ms,
        .node = slice_cstr(decide->node),
        .message_id = message->id,
        .tenant = message->tenant,
        .campaign = message->campaign,
        .klass = bulk ? SLICE("bulk") : SLICE("transactional"),
        .mail_from = message->mail_from,
        .stream = entry->stream,
        .site = entry->site,
        .recipient_count = (uint32_t)message->recipient_count,
    };
}

static bool tell_resent(struct decide *decide, const struct uncertain_entry *entry)
{
    char id_text[UUID_TEXT_LEN + 1];
    struct event event = event_of(decide, entry, EVENT_ADMIN);
    struct uuid id = uuid_v7((struct wall_time){event.time_ms});
    uuid_format(&id, id_text);
    event.event_id = slice_of(id_text, UUID_TEXT_LEN);
    event.action = SLICE("uncertain-resend");
    event.actor = slice_cstr(decide->options->actor);
    event.detail = entry->key;
    return send_event(decide, &event);
}

/* One event for each recipient concerned. */
static bool tell_dropped(struct decide *decide, const struct uncertain_entry *entry)
{
    char detail[200];
    int len = snprintf(detail, sizeof(detail), "by %s", decide->options->actor);
    struct event event = event_of(decide, entry, EVENT_DROPPED);
    event.reason = SLICE("uncertain");
    event.detail =
        slice_of(detail, (size_t)len < sizeof(detail) ? (size_t)len : sizeof(detail) - 1);
    event.metadata = entry->message.metadata;
    event.metadata_count = entry->message.metadata_count;
    for (size_t i = 0; i < entry->message.recipient_count; i++) {
        char seed[KAFKA_TOPIC_NAME_MAX + 128];
        char id_text[UUID_TEXT_LEN + 1];
        const struct message_recipient *recipient = &entry->message.recipients[i];
        if (!pending_has(&entry->recipients, i)) {
            continue;
        }
        len = snprintf(seed, sizeof(seed), "uncertain-drop/%.*s/%zu",
                       SLICE_FMT(slice_head(entry->key, KAFKA_TOPIC_NAME_MAX + 64)), i);
        CHECK(len > 0 && (size_t)len < sizeof(seed));
        struct uuid id = uuid_derive(slice_of(seed, (size_t)len));
        uuid_format(&id, id_text);
        event.event_id = slice_of(id_text, UUID_TEXT_LEN);
        event.recipient = recipient->address;
        event.recipient_metadata = recipient->metadata;
        event.recipient_metadata_count = recipient->metadata_count;
        if (!send_event(decide, &event)) {
            return false;
        }
    }
    return true;
}

/* ---- the transaction ---- */

/* To the same shard of the first tier, due now: workers take it at once. */
static bool put_back(struct decide *decide, const struct uncertain_entry *entry)
{
    static const char *const kept[] = {
        HEADER_ID,     HEADER_ATTEMPT, HEADER_FIRST_SEEN_MS, HEADER_EXPIRES_MS,
        HEADER_STREAM, HEADER_LAST,    HEADER_PENDING,       HEADER_ORIGIN,
    };
    struct kafka_header headers[HEADERS_MAX];
    char due[24];
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        struct slice value;
        if (kafka_reader_header(entry->record, kept[i], &value)) {
            headers[count++] = (struct kafka_header){kept[i], value};
        }
    }
    int len = snprintf(due, sizeof(due), "%" PRId64, wall_now().ms);
    headers[count++] = (struct kafka_header){HEADER_DUE_MS, slice_of(due, (size_t)len)};
    const struct kafka_record_out record = {.topic = decide->tier,
                                            .partition = entry->partition,
                                            .key = entry->message.domain,
                                            .value = entry->record->value,
                                            .headers = headers,
                                            .header_count = count};
    return kafka_batch_add(decide->batch, &record, decide->fault);
}

static bool bury(struct decide *decide, const struct uncertain_entry *entry)
{
    const struct kafka_record_out record = {
        .topic = decide->uncertain, .partition = entry->partition, .key = entry->key};
    return kafka_batch_add(decide->batch, &record, decide->fault);
}

static bool commit(struct decide *decide)
{
    enum kafka_batch_result result =
        kafka_batch_commit(decide->batch, COMMIT_TIMEOUT_MS, decide->fault);
    if (result == KAFKA_BATCH_COMMITTED) {
        decide->done += decide->entries;
        decide->entries = 0;
        decide->bytes = 0;
        return true;
    }
    if (result == KAFKA_BATCH_UNKNOWN) {
        fault_prefix(decide->fault,
                     "of the last %zu it is not known whether they were decided (see what is "
                     "listed still)",
                     decide->entries);
    }
    decide->failed = true;
    return false;
}

static bool decide_entry(void *owner, const struct uncertain_entry *entry)
{
    struct decide *decide = owner;
    bool ok = decide->resend ? put_back(decide, entry) && tell_resent(decide, entry)
                             : tell_dropped(decide, entry);
    if (!ok || !bury(decide, entry)) {
        fault_prefix(decide->fault, "%.*s", SLICE_FMT(slice_head(entry->key, 200)));
        decide->failed = true;
        return false;
    }
    decide->entries++;
    decide->bytes += entry->record->value.len;
    return (decide->entries < BATCH_ENTRIES && decide->bytes < BATCH_BYTES) || commit(decide);
}

static bool run(struct decide *decide)
{
    char id[KAFKA_TOPIC_NAME_MAX + 32];
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &decide->config->kafka);
    struct fault reading = {0};
    (void)snprintf(id, sizeof(id), "%ssluicectl-uncertain", decide->config->kafka.prefix);
    decide->batch = kafka_batch_open(&properties, id, "sluicectl", OPEN_TIMEOUT_MS, decide->fault);
    kafka_properties_free(&properties);
    if (decide->batch == NULL) {
        return false;
    }
    bool read = uncertain_each(decide->config, decide->options, decide_entry, decide, &reading);
    bool ok = !decide->failed && commit(decide);
    if (ok && !read) {
        *decide->fault = reading;
    }
    kafka_batch_free(&decide->batch);
    return ok && read;
}

static int decide(const struct config *config, const struct uncertain_options *options, bool resend)
{
    struct fault fault = {0};
    struct decide decide = {
        .config = config, .options = options, .resend = resend, .fault = &fault};
    const char *prefix = config->kafka.prefix;
    (void)snprintf(decide.tier, sizeof(decide.tier), "%sd.00", prefix);
    (void)snprintf(decide.uncertain, sizeof(decide.uncertain), "%suncertain", prefix);
    (void)snprintf(decide.log, sizeof(decide.log), "%slog", prefix);
    (void)gethostname(decide.node, sizeof(decide.node) - 1);
    strbuf_init(&decide.event, EVENT_MAX_BYTES);
    bool ok = run(&decide);
    strbuf_free(&decide.event);
    if (options->json) {
        (void)printf("{\"%s\":%" PRIu64 "}\n", resend ? "resent" : "dropped", decide.done);
    } else {
        (void)printf("%" PRIu64 " %s\n", decide.done, resend ? "put back" : "dropped");
    }
    (void)fflush(stdout);
    if (!ok) {
        (void)fprintf(stderr, "sluicectl uncertain: %s\n", fault.text);
    }
    return ok ? 0 : 1;
}

int uncertain_resend(const struct config *config, const struct uncertain_options *options)
{
    return decide(config, options, true);
}

int uncertain_drop(const struct config *config, const struct uncertain_options *options)
{
    return decide(config, options, false);
}
