/*
 * Delay tiers and the list of topics (design: which topics there are, their keys and their
 * policies).
 */
#include "kafka/topics_private.h"

#include "base/mem.h"
#include "base/strbuf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)
#define OTHER_TOPICS_MAX 32 /* beside streams and tiers */
#define DLQ_RETENTION_MS (30 * DAY_MS)
/* A wait may be this part of itself late: one eighth. */
#define TIER_LATE_DIVISOR 8

enum topic_kind {
    TOPIC_QUEUE,   /* deleted by age */
    TOPIC_TIER,    /* as a queue, and stamped by the broker: equal delay means due in order */
    TOPIC_COMPACT, /* the last record of each key stays */
};

int64_t kafka_tier_delay_ms(unsigned tier, int64_t unit_ms)
{
    CHECK(tier < KAFKA_TIERS && unit_ms > 0 && unit_ms <= INT64_MAX >> KAFKA_TIERS);
    return unit_ms << tier;
}

unsigned kafka_tier_for(int64_t wait_ms, int64_t unit_ms, unsigned tiers)
{
    unsigned tier = 0;
    CHECK(tiers > 0 && tiers <= KAFKA_TIERS);
    while (tier + 1 < tiers && kafka_tier_delay_ms(tier + 1, unit_ms) <= wait_ms) {
        tier++;
    }
    return tier;
}

unsigned kafka_tier_chosen(int64_t wait_ms, int64_t unit_ms, unsigned tiers, bool exact)
{
    unsigned below = kafka_tier_for(wait_ms, unit_ms, tiers);
    if (exact || below + 1 >= tiers) {
        return below;
    }
    int64_t above_ms = kafka_tier_delay_ms(below + 1, unit_ms);
    return above_ms - wait_ms <= wait_ms / TIER_LATE_DIVISOR ? below + 1 : below;
}

static void add_setting(struct topic_wanted *topic, const char *name, const char *value)
{
    CHECK(topic->setting_count < TOPIC_SETTINGS_MAX);
    struct topic_setting *setting = &topic->settings[topic->setting_count++];
    setting->name = name;
    snprintf(setting->value, sizeof(setting->value), "%s", value);
}

static void add_number(struct topic_wanted *topic, const char *name, int64_t value)
{
    char text[TOPIC_VALUE_MAX];
    snprintf(text, sizeof(text), "%" PRId64, value);
    add_setting(topic, name, text);
}

/* Kafka's rule for names: 1 to 249 of [a-zA-Z0-9._-], not "." or "..". */
static bool name_allowed(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= KAFKA_TOPIC_NAME_MAX && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

struct making {
    struct topic_list *list;
    const struct kafka_topic_plan *plan;
    struct fault *fault;
    bool failed;
};

static void add_topic(struct making *making, enum topic_kind kind, int partitions,
                      int64_t retention_ms, const char *format, ...) PRINTF_LIKE(5, 6);

static void add_topic(struct making *making, enum topic_kind kind, int partitions,
                      int64_t retention_ms, const char *format, ...)
{
    if (making->failed) {
        return;
    }
    struct strbuf name;
    strbuf_init(&name, KAFKA_TOPIC_NAME_MAX);
    va_list args;
    va_start(args, format);
    bool fits = strbuf_add_cstr(&name, making->plan->prefix) && strbuf_vaddf(&name, format, args);
    va_end(args);
    if (!fits || !name_allowed(name.ptr)) {
        making->failed = true;
        fault_set(making->fault, FAULT_INVALID, 0, "\"%s%s\" cannot be the name of a topic",
                  making->plan->prefix, format);
        strbuf_free(&name);
        return;
    }
    CHECK(making->list->count < making->plan->stream_count + KAFKA_TIERS + OTHER_TOPICS_MAX);
    struct topic_wanted *topic = &making->list->items[making->list->count++];
    memcpy(topic->name, name.ptr, name.len + 1);
    strbuf_free(&name);
    topic->partitions = partitions;
    add_setting(topic, "cleanup.policy", kind == TOPIC_COMPACT ? "compact" : "delete");
    add_number(topic, "max.message.bytes", making->plan->max_message_bytes);
    add_number(topic, "min.insync.replicas", making->plan->min_insync_replicas);
    add_setting(topic, "message.timestamp.type",
                kind == TOPIC_TIER ? "LogAppendTime" : "CreateTime");
    if (kind != TOPIC_COMPACT) {
        add_number(topic, "retention.ms", retention_ms);
    }
}

static bool plan_valid(const struct kafka_topic_plan *plan, struct fault *fault)
{
    if (plan->tiers < 1 || plan->tiers > KAFKA_TIERS) {
        return fault_set(fault, FAULT_INVALID, 0, "%u delay tiers", plan->tiers);
    }
    if (plan->shards < 1 || plan->event_partitions < 1 || plan->slots < 1) {
        return fault_set(fault, FAULT_INVALID, 0, "a topic needs at least one partition");
    }
    if (plan->replication_factor < 1 || plan->min_insync_replicas < 1 ||
        plan->min_insync_replicas > plan->replication_factor) {
        return fault_set(fault, FAULT_INVALID, 0, "replication factor %d with %d in-sync replicas",
                         plan->replication_factor, plan->min_insync_replicas);
    }
    if (plan->max_message_bytes < 1024 || plan->max_message_bytes > INT32_MAX ||
        plan->retention_ms <= 0) {
        return fault_set(fault, FAULT_INVALID, 0,
                         "message size or retention of topics out of range");
    }
    return true;
}

bool topic_list_make(struct topic_list *list, const struct kafka_topic_plan *plan,
                     struct fault *fault)
{
    *list = (struct topic_list){NULL, 0};
    if (!plan_valid(plan, fault)) {
        return false;
    }
    list->items =
        mem_calloc(plan->stream_count + KAFKA_TIERS + OTHER_TOPICS_MAX, sizeof(*list->items));
    struct making making = {list, plan, fault, false};
    for (size_t i = 0; i < plan->stream_count; i++) {
        add_topic(&making, TOPIC_QUEUE, plan->shards, plan->retention_ms, "q.%s", plan->streams[i]);
    }
    for (unsigned tier = 0; tier < plan->tiers; tier++) {
        add_topic(&making, TOPIC_TIER, plan->shards, plan->retention_ms, "d.%02u", tier);
    }
    add_topic(&making, TOPIC_QUEUE, plan->slots, plan->retention_ms, "done");
    add_topic(&making, TOPIC_QUEUE, plan->slots, plan->retention_ms, "moved");
    add_topic(&making, TOPIC_QUEUE, plan->event_partitions, plan->retention_ms, "log");
    add_topic(&making, TOPIC_QUEUE, plan->event_partitions, plan->retention_ms, "bounces");
    add_topic(&making, TOPIC_QUEUE, plan->event_partitions, plan->retention_ms, "feedback");
    add_topic(&making, TOPIC_QUEUE, plan->shards, DLQ_RETENTION_MS, "dlq");
    add_topic(&making, TOPIC_COMPACT, plan->shards, 0, "uncertain");
    add_topic(&making, TOPIC_COMPACT, 1, 0, "config");
    add_topic(&making, TOPIC_COMPACT, 1, 0, "nodes");
    add_topic(&making, TOPIC_COMPACT, 1, 0, "facts");
    add_topic(&making, TOPIC_COMPACT, 1, 0, "suppression");
    add_topic(&making, TOPIC_COMPACT, 1, 0, "control");
    if (making.failed) {
        topic_list_free(list);
    }
    return !making.failed;
}

static bool is_planned_stream(const struct kafka_topic_plan *plan, struct slice stream)
{
    for (size_t i = 0; i < plan->stream_count; i++) {
        if (slice_eq(stream, slice_cstr(plan->streams[i]))) {
            return true;
        }
    }
    return false;
}

bool topic_is_surplus(const struct kafka_topic_plan *plan, const char *name)
{
    struct slice rest = slice_cstr(name);
    uint64_t tier;
    size_t prefix_len = strlen(plan->prefix);
    if (rest.len < prefix_len || memcmp(rest.ptr, plan->prefix, prefix_len) != 0) {
        return false;
    }
    rest = slice_skip(rest, prefix_len);
    if (slice_starts_with(rest, SLICE("q."))) {
        return !is_planned_stream(plan, slice_skip(rest, 2));
    }
    return rest.len == 4 && slice_starts_with(rest, SLICE("d.")) &&
           slice_to_u64(slice_skip(rest, 2), &tier) && tier >= plan->tiers && tier < KAFKA_TIERS;
}

void topic_list_free(struct topic_list *list)
{
    mem_free(list->items);
    *list = (struct topic_list){NULL, 0};
}
