#include "ops/sluicectl/suppression_write.h"

#include "base/clock.h"
#include "base/uuid.h"
#include "schema/event.h"

#include <unistd.h>

#define FLUSH_MS 30000
#define WARM_UP_MS 15000
#define POLL_MS 100
#define VALUE_MAX_BYTES ((size_t)256 * 1024)

static struct suppression_change *change_of(struct kafka_delivery *delivery)
{
    return CONTAINER_OF(delivery, struct suppression_change, delivery);
}

static void on_delivery(struct kafka_delivery *delivery, int32_t partition, int64_t offset,
                        const struct fault *fault)
{
    struct suppression_change *change = change_of(delivery);
    (void)partition;
    (void)offset;
    if (fault == NULL) {
        change->acknowledged++;
    } else {
        change->fault = *fault;
        (void)fault_prefix(&change->fault, "Kafka");
    }
}

bool suppression_change_open(struct suppression_change *change, const struct config *config,
                             const struct suppression_options *options)
{
    struct kafka_producer_options producer;
    *change = (struct suppression_change){.config = config,
                                          .options = options,
                                          .delivery.done = on_delivery,
                                          .now_ms = wall_now().ms};
    strbuf_init(&change->value, VALUE_MAX_BYTES);
    if (options->check_only) {
        return true;
    }
    (void)snprintf(change->suppression_topic, sizeof(change->suppression_topic), "%ssuppression",
                   config->kafka.prefix);
    (void)snprintf(change->log_topic, sizeof(change->log_topic), "%slog", config->kafka.prefix);
    const char *topics[] = {change->suppression_topic, change->log_topic};
    struct kafka_properties properties;
    kafka_properties_from_config(&properties, &config->kafka);
    kafka_producer_options_default(&producer);
    producer.client_id = "sluicectl";
    producer.delivery_timeout_ms = FLUSH_MS;
    change->producer = kafka_producer_create(&properties, &producer, &change->fault);
    kafka_properties_free(&properties);
    return (change->producer != NULL &&
            kafka_producer_warm_up(change->producer, topics, 2, WARM_UP_MS, &change->fault)) ||
           fault_prefix(&change->fault, "Kafka");
}

bool suppression_change_close(struct suppression_change *change)
{
    if (change->producer != NULL) {
        (void)kafka_producer_flush(change->producer, FLUSH_MS);
        kafka_producer_free(&change->producer, 0);
    }
    strbuf_free(&change->value);
    if (change->acknowledged < change->sent && change->fault.kind == FAULT_NONE) {
        fault_set(&change->fault, FAULT_TIMEOUT, 0, "Kafka: has not acknowledged it in %d s",
                  FLUSH_MS / 1000);
    }
    if (change->fault.kind != FAULT_NONE) {
        (void)fprintf(stderr, "sluicectl suppression: %s\n", change->fault.text);
        return false;
    }
    return true;
}

static bool send(struct suppression_change *change, const char *topic, struct slice key)
{
    const struct kafka_record_out record = {.topic = topic,
                                            .partition = -1,
                                            .key = key,
                                            .value = strbuf_slice(&change->value),
                                            .delivery = &change->delivery};
    while (!kafka_producer_send(change->producer, &record, &change->fault)) {
        if (change->fault.kind != FAULT_LIMIT) {
            return fault_prefix(&change->fault, "Kafka");
        }
        (void)kafka_producer_poll(change->producer, POLL_MS);
        change->fault = (struct fault){0};
    }
    change->sent++;
    return true;
}

bool suppression_send_entry(struct suppression_change *change, const struct suppress_key *key,
                            const struct suppression *entry)
{
    char text[SUPPRESS_KEY_MAX];
    size_t len = suppress_key_write(key, text);
    strbuf_reset(&change->value);
    if (!suppression_encode(entry, &change->value)) {
        return fault_set(&change->fault, FAULT_LIMIT, 0, "the entry is too long");
    }
    return change->producer == NULL || send(change, change->suppression_topic, slice_of(text, len));
}

bool suppression_send_event(struct suppression_change *change, const char *action,
                            const struct suppress_key *key, struct slice detail)
{
    char id[UUID_TEXT_LEN + 1], node[128] = "";
    struct wall_time now = {change->now_ms};
    struct uuid uuid = uuid_v7(now);
    (void)gethostname(node, sizeof(node) - 1);
    uuid_format(&uuid, id);
    const struct event event = {
        .type = EVENT_ADMIN,
        .event_id = slice_of(id, UUID_TEXT_LEN),
        .time_ms = now.ms,
        .node = slice_cstr(node),
        .tenant = key->tenant,
        .recipient = key->address,
        .action = slice_cstr(action),
        .actor = slice_cstr(change->options->actor),
        .detail = detail,
    };
    strbuf_reset(&change->value);
    return event_encode(&event, &change->value) &&
           send(change, change->log_topic,
                key->address.len > 0 ? key->address : slice_cstr("sluicectl"));
}

struct suppress_key suppression_key_of(const struct suppression_options *options,
                                       struct slice address)
{
    return (struct suppress_key){
        .tenant = options->tenant == NULL ? SLICE_NULL : slice_cstr(options->tenant),
        .list = options->list == NULL ? SLICE_NULL : slice_cstr(options->list),
        .address = address,
    };
}

struct suppression suppression_by_hand(const struct suppression_change *change, int fallback)
{
    const struct suppression_options *options = change->options;
    return (struct suppression){
        .reason = options->reason == NULL ? fallback : options->reason_number,
        .time_ms = change->now_ms,
        .expires_ms = options->lasting_ms == 0 ? 0 : change->now_ms + options->lasting_ms,
        .actor = slice_cstr(options->actor),
        .note = options->note == NULL ? SLICE_NULL : slice_cstr(options->note),
    };
}
