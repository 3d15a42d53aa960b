#include "worker/usage.h"

#include "worker/worker.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "base/uuid.h"
#include "schema/event.h"

#define USAGE_MAGIC 0x55534147u
#define EVENT_MAX_BYTES 8192
#define TENANT_MAX_BYTES 1024 /* more of a name is not told */

struct entry {
    uint64_t messages, bytes, borrowed;
    int64_t since_ms;
    size_t name_len;
    char name[];
};

struct usage {
    uint32_t magic;
    struct worker *worker;
    struct map entries; /* tenant -> struct entry */
    int64_t since_ms;
};

struct usage *usage_create(struct worker *worker)
{
    struct usage *usage = mem_zalloc(sizeof(*usage));
    usage->magic = USAGE_MAGIC;
    usage->worker = worker;
    usage->since_ms = wall_now().ms;
    map_init(&usage->entries);
    return usage;
}

static void drop(struct usage *usage, struct entry *entry)
{
    (void)map_remove(&usage->entries, slice_of(entry->name, entry->name_len));
    mem_free(entry);
}

void usage_free(struct usage **handle)
{
    struct usage *usage = *handle;
    struct entry *entry;
    size_t cursor = 0;
    if (usage == NULL) {
        return;
    }
    CHECK_MAGIC(usage, USAGE_MAGIC);
    while ((entry = map_next(&usage->entries, &cursor)) != NULL) {
        drop(usage, entry);
        cursor = 0;
    }
    map_free(&usage->entries);
    usage->magic = 0;
    mem_free(usage);
    *handle = NULL;
}

static struct entry *entry_of(struct usage *usage, struct slice tenant)
{
    CHECK_MAGIC(usage, USAGE_MAGIC);
    tenant = slice_head(tenant, TENANT_MAX_BYTES);
    struct entry *entry = map_get(&usage->entries, tenant);
    if (entry == NULL) {
        entry = mem_zalloc(sizeof(*entry) + tenant.len + 1);
        entry->since_ms = usage->since_ms;
        entry->name_len = tenant.len;
        if (tenant.len > 0) {
            memcpy(entry->name, tenant.ptr, tenant.len);
        }
        map_put(&usage->entries, slice_of(entry->name, tenant.len), entry);
    }
    return entry;
}

void usage_delivered(struct usage *usage, struct slice tenant, uint64_t bytes)
{
    struct entry *entry = entry_of(usage, tenant);
    entry->messages++;
    entry->bytes += bytes;
}

void usage_borrowed(struct usage *usage, struct slice tenant, uint64_t messages)
{
    if (messages > 0) {
        entry_of(usage, tenant)->borrowed += messages;
    }
}

/* False: Kafka does not take it now; it is told with the next minute. */
static bool tell(struct usage *usage, const struct entry *entry, struct wall_time now)
{
    struct worker *worker = usage->worker;
    struct uuid id = uuid_v7(now);
    char id_text[UUID_TEXT_LEN + 1];
    struct strbuf encoded;
    struct fault fault;
    uuid_format(&id, id_text);
    const struct event event = {
        .type = EVENT_USAGE,
        .event_id = slice_of(id_text, UUID_TEXT_LEN),
        .time_ms = now.ms,
        .node = slice_cstr(worker->node),
        .worker = slice_cstr(worker->name),
        .tenant = slice_of(entry->name, entry->name_len),
        .usage = {entry->since_ms, entry->messages, entry->bytes, entry->borrowed},
    };
    strbuf_init(&encoded, EVENT_MAX_BYTES);
    CHECK(event_encode(&event, &encoded));
    const struct kafka_record_out record = {
        .topic = worker->topics.log,
        .partition = -1,
        .key = event.tenant,
        .value = strbuf_slice(&encoded),
    };
    bool taken = kafka_producer_send(worker->events, &record, &fault);
    if (!taken) {
        log_warn("usage-not-told", "tenant=%.*s messages=%llu", SLICE_FMT(event.tenant),
                 (unsigned long long)entry->messages);
    }
    strbuf_free(&encoded);
    return taken;
}

void usage_tell(struct usage *usage, struct wall_time now)
{
    struct entry *entry;
    size_t cursor = 0;
    CHECK_MAGIC(usage, USAGE_MAGIC);
    while ((entry = map_next(&usage->entries, &cursor)) != NULL && tell(usage, entry, now)) {
        drop(usage, entry);
        cursor = 0;
    }
    usage->since_ms = now.ms;
}
