/*
 * The addresses of one host: A and AAAA asked at the same time, one record for both, cached by the
 * shorter TTL, joined by all who ask meanwhile. A record under way, or whose waiters are being
 * told, is pinned in the cache.
 */
#include "dns/site_private.h"

#include "base/mem.h"

/* Of one family; more are ignored. */
#define HOST_ADDRESSES_MAX 16

static void record_finish(struct dns_host_record *record);

static void record_free(struct dns_host_record *record)
{
    CHECK(list_empty(&record->waiters));
    record->magic = 0;
    mem_free(record->ips[DNS_FAMILY_V4]);
    mem_free(record->ips[DNS_FAMILY_V6]);
    mem_free(record);
}

void dns_host_drop(struct dns_cache_entry *entry)
{
    struct dns_host_record *record = CONTAINER_OF(entry, struct dns_host_record, entry);
    CHECK_MAGIC(record, DNS_HOST_MAGIC);
    record_free(record);
}

static void timed_out(struct timer *timer, struct mono_time now)
{
    (void)now;
    struct dns_host_record *record = CONTAINER_OF(timer, struct dns_host_record, timer);
    CHECK_MAGIC(record, DNS_HOST_MAGIC);
    record_finish(record);
}

static void take_addresses(struct dns_host_record *record, size_t family,
                           const struct dns_answer *answer)
{
    size_t wanted = family == DNS_FAMILY_V6 ? 16 : 4;
    size_t count = 0;
    size_t max = answer->count < HOST_ADDRESSES_MAX ? answer->count : HOST_ADDRESSES_MAX;
    struct dns_ip *ips = mem_calloc(max, sizeof(*ips));
    for (size_t i = 0; i < answer->count && count < max; i++) {
        struct dns_ip ip = {.v6 = family == DNS_FAMILY_V6};
        if (answer->len[i] == (int)wanted) {
            memcpy(ip.bytes, answer->data[i], wanted);
            if (dns_ip_usable(&ip)) {
                ips[count++] = ip;
            }
        }
    }
    record->ips[family] = ips;
    record->counts[family] = count;
}

static void family_answered(struct dns_query *query, const struct dns_answer *answer)
{
    size_t family = query->type == DNS_TYPE_AAAA ? DNS_FAMILY_V6 : DNS_FAMILY_V4;
    struct dns_host_record *record =
        CONTAINER_OF(query - family, struct dns_host_record, queries[0]);
    CHECK_MAGIC(record, DNS_HOST_MAGIC);
    struct dns_sites *sites = record->sites;
    record->answers[family] = answer->kind;
    if (answer->kind == DNS_ANSWER_DATA) {
        take_addresses(record, family, answer);
    }
    int64_t ttl_ms = dns_bounded_ttl(&sites->options, answer->kind, answer->ttl_ms);
    if (answer->kind == DNS_ANSWER_FAILED) {
        /* A family that is broken for long must not cost a wait each time the other is good. */
        ttl_ms = DNS_PARTIAL_TTL_MS;
    }
    record->ttl_ms = ttl_ms < record->ttl_ms ? ttl_ms : record->ttl_ms;
    size_t other = DNS_FAMILY_COUNT - 1 - family;
    if (!record->asked[other] || record->answers[other] != DNS_ANSWER_NONE) {
        record_finish(record);
    } else if (record->counts[family] > 0) {
        struct mono_time due = mono_add_ms(io_loop_now(sites->loop), DNS_SECOND_FAMILY_WAIT_MS);
        wheel_set(io_loop_wheel(sites->loop), &record->timer, mono_min(due, record->deadline),
                  timed_out);
    }
}

static enum dns_answer_kind record_kind(const struct dns_host_record *record)
{
    enum dns_answer_kind kind = DNS_ANSWER_EMPTY;
    for (size_t family = 0; family < DNS_FAMILY_COUNT; family++) {
        if (record->counts[family] > 0) {
            return DNS_ANSWER_DATA;
        }
        if (record->asked[family] && record->answers[family] == DNS_ANSWER_FAILED) {
            kind = DNS_ANSWER_FAILED;
        } else if (record->asked[family] && record->answers[family] == DNS_ANSWER_NO_NAME &&
                   kind == DNS_ANSWER_EMPTY) {
            kind = DNS_ANSWER_NO_NAME;
        }
    }
    return kind;
}

/* Families that have not answered by now count as failed. Tells the waiters. */
static void record_finish(struct dns_host_record *record)
{
    struct dns_sites *sites = record->sites;
    wheel_cancel(io_loop_wheel(sites->loop), &record->timer);
    for (size_t family = 0; family < DNS_FAMILY_COUNT; family++) {
        if (record->asked[family] && record->answers[family] == DNS_ANSWER_NONE) {
            dns_query_cancel(&record->queries[family]);
            record->answers[family] = DNS_ANSWER_FAILED;
            record->ttl_ms =
                record->ttl_ms < DNS_PARTIAL_TTL_MS ? record->ttl_ms : DNS_PARTIAL_TTL_MS;
        }
    }
    record->kind = record_kind(record);
    if (record->kind == DNS_ANSWER_FAILED) {
        record->ttl_ms = DNS_FAILURE_TTL_MS;
    }
    record->entry.expires = mono_add_ms(io_loop_now(sites->loop), record->ttl_ms);
    struct list waiters;
    list_init(&waiters);
    list_append_all(&waiters, &record->waiters);
    while (!list_empty(&waiters)) {
        struct list *node = list_pop_front(&waiters);
        struct dns_host_wait *wait = CONTAINER_OF(node, struct dns_host_wait, node);
        wait->done(wait, record);
    }
    dns_cache_unpin(&sites->hosts, &record->entry);
}

static struct dns_host_record *record_start(struct dns_sites *sites, const char *name)
{
    size_t len = strlen(name);
    struct dns_host_record *record = mem_zalloc(sizeof(*record) + len + 1);
    record->magic = DNS_HOST_MAGIC;
    record->sites = sites;
    record->ttl_ms = sites->options.ttl_max_ms;
    memcpy(record->name, name, len + 1);
    list_init(&record->waiters);
    record->entry.key = slice_of(record->name, len);
    record->asked[DNS_FAMILY_V4] = sites->options.ipv4;
    record->asked[DNS_FAMILY_V6] = sites->options.ipv6;
    dns_cache_add_pinned(&sites->hosts, &record->entry);
    record->deadline = mono_add_ms(io_loop_now(sites->loop), sites->options.timeout_ms);
    wheel_set(io_loop_wheel(sites->loop), &record->timer, record->deadline, timed_out);
    if (record->asked[DNS_FAMILY_V4]) {
        dns_query_start(sites, &record->queries[DNS_FAMILY_V4], record->name, DNS_TYPE_A,
                        family_answered);
    }
    if (record->asked[DNS_FAMILY_V6]) {
        dns_query_start(sites, &record->queries[DNS_FAMILY_V6], record->name, DNS_TYPE_AAAA,
                        family_answered);
    }
    return record;
}

const struct dns_host_record *dns_host_find(struct dns_sites *sites, const char *name,
                                            struct dns_host_wait *wait)
{
    struct dns_cache_entry *entry =
        dns_cache_find(&sites->hosts, slice_cstr(name), io_loop_now(sites->loop));
    struct dns_host_record *record = entry == NULL
                                         ? record_start(sites, name)
                                         : CONTAINER_OF(entry, struct dns_host_record, entry);
    CHECK_MAGIC(record, DNS_HOST_MAGIC);
    if (record->kind != DNS_ANSWER_NONE) {
        return record;
    }
    list_push_back(&record->waiters, &wait->node);
    return NULL;
}

void dns_hosts_abandon(struct dns_sites *sites)
{
    struct dns_host_record **pending =
        mem_calloc(sites->hosts.map.count + 1, sizeof(struct dns_host_record *));
    size_t count = 0;
    size_t cursor = 0;
    struct dns_cache_entry *entry;
    while ((entry = map_next(&sites->hosts.map, &cursor)) != NULL) {
        struct dns_host_record *record = CONTAINER_OF(entry, struct dns_host_record, entry);
        if (record->kind == DNS_ANSWER_NONE) {
            pending[count++] = record;
        }
    }
    for (size_t i = 0; i < count; i++) {
        record_finish(pending[i]);
    }
    mem_free(pending);
}
