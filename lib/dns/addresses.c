/*
 * The addresses of a site's hosts for one round of deliveries: the hosts in their order,
 * HOSTS_AT_ONCE of them asked in parallel. Only if none of these has an address are the next asked
 * (RFC 5321 section 5.1 wants at least two addresses tried, not all). A gather belongs to the
 * resolver; the caller's look-up points to it until done() or cancel.
 *
 * IPv4 comes first: receivers ask more of senders over IPv6, and reputation is kept by IPv4
 * address.
 */
#include "dns/site_private.h"

#include "base/mem.h"
#include "base/random.h"

#define HOSTS_AT_ONCE 8

struct slot {
    struct dns_host_wait wait;
    struct gather *gather;
    uint32_t host;      /* index in the site's list */
    struct dns_ip *ips; /* in the order to try */
    size_t count;
};

struct gather {
    uint32_t magic;
    struct list node; /* in dns_sites.gathers, or ready_gathers when complete */
    struct dns_sites *sites;
    struct dns_site *site;
    struct dns_address_lookup *lookup;
    struct mono_time deadline;
    uint32_t order[DNS_SITE_HOSTS_MAX];
    size_t next; /* into order: the first host not asked yet */
    struct slot slots[HOSTS_AT_ONCE];
    size_t slot_count;
    size_t pending; /* slots without an answer */
    bool starting;
    bool failed; /* a host gave no answer, so "no address" is not certain */
    struct dns_addresses found;
};

static void shuffle(struct dns_ip *ips, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = random_below((uint32_t)i);
        struct dns_ip swap = ips[i - 1];
        ips[i - 1] = ips[j];
        ips[j] = swap;
    }
}

/* IPv4, IPv6, IPv4 …; the rest of the longer one behind. */
static void take_record(struct slot *slot, const struct dns_host_record *record)
{
    size_t v4 = record->counts[DNS_FAMILY_V4];
    size_t v6 = record->counts[DNS_FAMILY_V6];
    if (record->kind == DNS_ANSWER_FAILED) {
        slot->gather->failed = true;
    }
    if (v4 + v6 == 0) {
        return;
    }
    struct dns_ip *all = mem_calloc(v4 + v6, sizeof(*all));
    if (v4 > 0) {
        memcpy(all, record->ips[DNS_FAMILY_V4], v4 * sizeof(*all));
    }
    if (v6 > 0) {
        memcpy(all + v4, record->ips[DNS_FAMILY_V6], v6 * sizeof(*all));
    }
    shuffle(all, v4);
    shuffle(all + v4, v6);
    slot->ips = mem_calloc(v4 + v6, sizeof(*all));
    for (size_t i = 0; i < v4 || i < v6; i++) {
        if (i < v4) {
            slot->ips[slot->count++] = all[i];
        }
        if (i < v6) {
            slot->ips[slot->count++] = all[v4 + i];
        }
    }
    mem_free(all);
}

static bool already_found(const struct dns_addresses *found, const struct dns_address *address)
{
    for (size_t i = 0; i < found->count; i++) {
        if (found->items[i].len == address->len &&
            memcmp(&found->items[i].address, &address->address, address->len) == 0) {
            return true;
        }
    }
    return false;
}

static void collect(struct gather *gather)
{
    size_t most = 0;
    for (size_t i = 0; i < gather->slot_count; i++) {
        most += gather->slots[i].count;
    }
    if (most > 0) {
        gather->found.items = mem_calloc(most, sizeof(*gather->found.items));
    }
    for (size_t i = 0; i < gather->slot_count; i++) {
        struct slot *slot = &gather->slots[i];
        for (size_t k = 0; k < slot->count; k++) {
            struct dns_address address = {.host = slot->host};
            dns_ip_to_address(&slot->ips[k], &address);
            if (!already_found(&gather->found, &address)) {
                gather->found.items[gather->found.count++] = address;
            }
        }
        mem_free(slot->ips);
        slot->ips = NULL;
        slot->count = 0;
    }
}

static bool start_batch(struct gather *gather);

/* All of a batch have answered; the next ones are asked if none had an address. */
static void batch_done(struct gather *gather)
{
    struct dns_sites *sites = gather->sites;
    for (;;) {
        collect(gather);
        if (gather->found.count > 0 || gather->next >= gather->site->host_count) {
            break;
        }
        if (!mono_before(io_loop_now(sites->loop), gather->deadline)) {
            gather->failed = true;
            break;
        }
        if (!start_batch(gather)) {
            return;
        }
    }
    list_remove(&gather->node);
    list_push_back(&sites->ready_gathers, &gather->node);
    if (!sites->closing) {
        io_loop_defer(sites->loop, &sites->task);
    }
}

static void host_found(struct dns_host_wait *wait, const struct dns_host_record *record)
{
    struct slot *slot = CONTAINER_OF(wait, struct slot, wait);
    struct gather *gather = slot->gather;
    CHECK_MAGIC(gather, DNS_GATHER_MAGIC);
    take_record(slot, record);
    CHECK(gather->pending > 0);
    if (--gather->pending == 0 && !gather->starting) {
        batch_done(gather);
    }
}

static bool family_allowed(const struct dns_sites *sites, const struct dns_ip *ip)
{
    return ip->v6 ? sites->options.ipv6 : sites->options.ipv4;
}

static void start_slot(struct gather *gather, struct slot *slot, uint32_t host)
{
    struct dns_ip ip;
    const char *name = gather->site->hosts[host].name;
    *slot = (struct slot){.gather = gather, .host = host, .wait.done = host_found};
    if (name[0] == '[') {
        if (dns_literal_parse(slice_cstr(name), &ip) && family_allowed(gather->sites, &ip)) {
            slot->ips = mem_calloc(1, sizeof(ip));
            slot->ips[0] = ip;
            slot->count = 1;
        }
        return;
    }
    const struct dns_host_record *record = dns_host_find(gather->sites, name, &slot->wait);
    if (record != NULL) {
        take_record(slot, record);
    } else {
        gather->pending++;
    }
}

/* True: all answers were there already. */
static bool start_batch(struct gather *gather)
{
    gather->slot_count = 0;
    gather->starting = true;
    while (gather->slot_count < HOSTS_AT_ONCE && gather->next < gather->site->host_count) {
        start_slot(gather, &gather->slots[gather->slot_count++], gather->order[gather->next++]);
    }
    gather->starting = false;
    return gather->pending == 0;
}

void dns_site_addresses(struct dns_sites *sites, struct dns_site *site,
                        struct dns_address_lookup *lookup)
{
    CHECK_MAGIC(sites, DNS_SITES_MAGIC);
    CHECK(!sites->closing);
    CHECK(lookup->done != NULL);
    struct gather *gather = mem_zalloc(sizeof(*gather));
    gather->magic = DNS_GATHER_MAGIC;
    gather->sites = sites;
    gather->site = dns_site_ref(site);
    gather->lookup = lookup;
    gather->deadline = mono_add_ms(io_loop_now(sites->loop), sites->options.timeout_ms);
    lookup->state = gather;
    list_push_back(&sites->gathers, &gather->node);
    dns_site_order(site, gather->order);
    if (start_batch(gather)) {
        batch_done(gather);
    }
}

static void gather_free(struct gather *gather)
{
    for (size_t i = 0; i < gather->slot_count; i++) {
        list_remove(&gather->slots[i].wait.node);
        mem_free(gather->slots[i].ips);
    }
    list_remove(&gather->node);
    dns_addresses_free(&gather->found);
    dns_site_unref(&gather->site);
    gather->magic = 0;
    mem_free(gather);
}

/* Gives the result and frees the gather. */
static void gather_tell(struct gather *gather)
{
    struct dns_address_lookup *lookup = gather->lookup;
    struct dns_addresses found = gather->found;
    gather->found = (struct dns_addresses){0};
    char text[DNS_TEXT_MAX];
    (void)snprintf(text, sizeof(text), "%s: %s", gather->site->name,
                   gather->failed ? "no answer for the addresses of its hosts"
                                  : "none of its hosts has an address");
    struct smtp_outcome outcome =
        gather->failed ? dns_outcome(SMTP_RESULT_DEFERRED, DNS_STATUS_NO_ANSWER, text)
                       : dns_outcome(SMTP_RESULT_BOUNCED, DNS_STATUS_NO_SUCH_SYSTEM, text);
    gather_free(gather);
    lookup->state = NULL;
    if (found.count > 0) {
        lookup->done(lookup, &found, NULL);
    } else {
        lookup->done(lookup, NULL, &outcome);
    }
    dns_addresses_free(&found);
}

void dns_gathers_tell(struct dns_sites *sites)
{
    struct list ready;
    list_init(&ready);
    list_append_all(&ready, &sites->ready_gathers);
    while (!list_empty(&ready)) {
        struct gather *gather = CONTAINER_OF(list_pop_front(&ready), struct gather, node);
        CHECK_MAGIC(gather, DNS_GATHER_MAGIC);
        gather_tell(gather);
    }
}

void dns_gathers_abandon(struct dns_sites *sites)
{
    while (!list_empty(&sites->gathers)) {
        struct gather *gather = CONTAINER_OF(sites->gathers.next, struct gather, node);
        for (size_t i = 0; i < gather->slot_count; i++) {
            list_remove(&gather->slots[i].wait.node);
        }
        gather->pending = 0;
        gather->failed = true;
        gather->next = gather->site->host_count;
        batch_done(gather);
    }
}

void dns_address_lookup_cancel(struct dns_address_lookup *lookup)
{
    struct gather *gather = lookup->state;
    if (gather != NULL) {
        CHECK_MAGIC(gather, DNS_GATHER_MAGIC);
        lookup->state = NULL;
        gather_free(gather);
    }
}

void dns_addresses_free(struct dns_addresses *addresses)
{
    mem_free(addresses->items);
    *addresses = (struct dns_addresses){0};
}
