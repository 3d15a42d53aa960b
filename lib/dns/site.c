/*
 * Domains and their sites: see site.h. A domain record asks for MX, and when there are none for the
 * domain's own addresses (implicit MX), under one timer. It is pinned in the cache while under way
 * and while its waiters are told. What was known at the time of the call is told at the end of the
 * turn, so no callback runs inside dns_site_lookup().
 *
 * RFC 5321 section 5.1, RFC 7505 (null MX), RFC 2308 (negative answers). Runs on the loop's thread
 * only.
 */
#include "dns/site_private.h"

#include "base/mem.h"
#include "policy/config.h"

#include <unbound.h>

/* MX records of one answer that are looked at. */
#define MX_RECORDS_MAX 512

struct verdict {
    enum smtp_result result;
    struct smtp_enhanced enhanced;
    char text[DNS_TEXT_MAX];
};

struct domain {
    uint32_t magic;
    struct dns_cache_entry entry;
    struct dns_sites *sites;
    struct list waiters; /* struct dns_lookup */
    struct list ready;   /* in dns_sites.ready_domains, holding a pin */
    struct timer timer;
    struct dns_query mx;
    struct dns_host_wait implicit;
    int64_t mx_ttl_ms; /* of the answer that there are no MX records */
    char *canonical;   /* name at the end of a CNAME chain, for the implicit MX */
    /* At most one of these; none while the look-up is under way. */
    struct dns_site *site;
    struct verdict *verdict;
    char name[]; /* NUL-terminated */
};

void dns_options_default(struct dns_options *options)
{
    *options = (struct dns_options){.timeout_ms = 10000,
                                    .negative_ttl_max_ms = 60000,
                                    .ttl_max_ms = 3600000,
                                    .cache_max = 100000,
                                    .ipv4 = true,
                                    .ipv6 = true};
}

void dns_options_from_config(struct dns_options *options, const struct config_dns *config)
{
    dns_options_default(options);
    options->servers = config->servers;
    options->server_count = config->server_count;
    options->timeout_ms = config->timeout_ms;
    options->negative_ttl_max_ms = config->negative_ttl_max_ms;
    options->ttl_max_ms = config->ttl_max_ms;
    options->dnssec = config->dnssec;
}

int64_t dns_bounded_ttl(const struct dns_options *options, enum dns_answer_kind kind,
                        int64_t ttl_ms)
{
    int64_t most = DNS_FAILURE_TTL_MS;
    switch (kind) {
    case DNS_ANSWER_DATA: most = options->ttl_max_ms; break;
    case DNS_ANSWER_EMPTY:
    case DNS_ANSWER_NO_NAME: most = options->negative_ttl_max_ms; break;
    case DNS_ANSWER_NONE:
    case DNS_ANSWER_FAILED: ttl_ms = DNS_FAILURE_TTL_MS; break;
    }
    ttl_ms = ttl_ms < DNS_TTL_MIN_MS ? DNS_TTL_MIN_MS : ttl_ms;
    return ttl_ms < most ? ttl_ms : most;
}

struct smtp_outcome dns_outcome(enum smtp_result result, struct smtp_enhanced enhanced,
                                const char *text)
{
    return (struct smtp_outcome){.result = result,
                                 .phase = SMTP_PHASE_DNS,
                                 .scope = result == SMTP_RESULT_DEFERRED ? SMTP_SCOPE_SITE
                                                                         : SMTP_SCOPE_RECIPIENT,
                                 .enhanced = enhanced,
                                 .text = slice_cstr(text)};
}

static void domain_drop(struct dns_cache_entry *entry)
{
    struct domain *domain = CONTAINER_OF(entry, struct domain, entry);
    CHECK_MAGIC(domain, DNS_DOMAIN_MAGIC);
    CHECK(list_empty(&domain->waiters) && !list_linked(&domain->ready));
    domain->magic = 0;
    dns_site_unref(&domain->site);
    mem_free(domain->verdict);
    mem_free(domain->canonical);
    mem_free(domain);
}

/* The caller holds a pin. */
static void tell_waiters(struct domain *domain)
{
    struct list waiters;
    list_init(&waiters);
    list_append_all(&waiters, &domain->waiters);
    while (!list_empty(&waiters)) {
        struct list *node = list_pop_front(&waiters);
        struct dns_lookup *lookup = CONTAINER_OF(node, struct dns_lookup, node);
        if (domain->site != NULL) {
            lookup->done(lookup, domain->site, NULL);
        } else {
            struct smtp_outcome outcome = dns_outcome(
                domain->verdict->result, domain->verdict->enhanced, domain->verdict->text);
            lookup->done(lookup, NULL, &outcome);
        }
    }
}

static void tell_ready(struct io_task *task)
{
    struct dns_sites *sites = CONTAINER_OF(task, struct dns_sites, task);
    CHECK_MAGIC(sites, DNS_SITES_MAGIC);
    struct list ready;
    list_init(&ready);
    list_append_all(&ready, &sites->ready_domains);
    while (!list_empty(&ready)) {
        struct list *node = list_pop_front(&ready);
        struct domain *domain = CONTAINER_OF(node, struct domain, ready);
        CHECK_MAGIC(domain, DNS_DOMAIN_MAGIC);
        tell_waiters(domain);
        dns_cache_unpin(&sites->domains, &domain->entry);
    }
    dns_gathers_tell(sites);
}

static void tell_later(struct domain *domain)
{
    if (!list_linked(&domain->ready)) {
        dns_cache_pin(&domain->entry);
        list_push_back(&domain->sites->ready_domains, &domain->ready);
        io_loop_defer(domain->sites->loop, &domain->sites->task);
    }
}

/* Ends a look-up: site or verdict is set. Tells the waiters and gives back the look-up's pin. */
static void domain_finish(struct domain *domain, int64_t ttl_ms)
{
    struct dns_sites *sites = domain->sites;
    CHECK((domain->site != NULL) != (domain->verdict != NULL));
    wheel_cancel(io_loop_wheel(sites->loop), &domain->timer);
    dns_query_cancel(&domain->mx);
    list_remove(&domain->implicit.node);
    domain->entry.expires = mono_add_ms(io_loop_now(sites->loop), ttl_ms);
    tell_waiters(domain);
    dns_cache_unpin(&sites->domains, &domain->entry);
}

static void set_verdict(struct domain *domain, enum smtp_result result,
                        struct smtp_enhanced enhanced, const char *text)
{
    domain->verdict = mem_zalloc(sizeof(*domain->verdict));
    domain->verdict->result = result;
    domain->verdict->enhanced = enhanced;
    (void)snprintf(domain->verdict->text, sizeof(domain->verdict->text), "%s: %s", domain->name,
                   text);
}

static void domain_defer(struct domain *domain, const char *why)
{
    set_verdict(domain, SMTP_RESULT_DEFERRED, DNS_STATUS_NO_ANSWER, why);
    domain_finish(domain, DNS_FAILURE_TTL_MS);
}

static void domain_bounce(struct domain *domain, struct smtp_enhanced enhanced, int64_t ttl_ms,
                          const char *why)
{
    set_verdict(domain, SMTP_RESULT_BOUNCED, enhanced, why);
    domain_finish(domain, ttl_ms);
}

static void timed_out(struct timer *timer, struct mono_time now)
{
    (void)now;
    struct domain *domain = CONTAINER_OF(timer, struct domain, timer);
    CHECK_MAGIC(domain, DNS_DOMAIN_MAGIC);
    domain_defer(domain, "no answer from the DNS in time");
}

static void implicit_known(struct domain *domain, const struct dns_host_record *record)
{
    struct dns_sites *sites = domain->sites;
    struct mono_time now = io_loop_now(sites->loop);
    int64_t left_ms = mono_since_us(record->entry.expires, now) / 1000;
    int64_t ttl_ms = left_ms < domain->mx_ttl_ms ? left_ms : domain->mx_ttl_ms;
    ttl_ms = dns_bounded_ttl(&sites->options, record->kind, ttl_ms);
    switch (record->kind) {
    case DNS_ANSWER_DATA: {
        struct dns_host host = {.preference = 0};
        memcpy(host.name, record->name, strlen(record->name) + 1);
        domain->site = dns_site_make(&host, 1, host.name, mono_add_ms(now, ttl_ms));
        domain_finish(domain, ttl_ms);
        return;
    }
    case DNS_ANSWER_EMPTY:
        domain_bounce(domain, DNS_STATUS_NO_SUCH_SYSTEM, ttl_ms,
                      "has neither MX nor address records");
        return;
    case DNS_ANSWER_NO_NAME:
        domain_bounce(domain, DNS_STATUS_NO_SUCH_SYSTEM, ttl_ms, "no such domain");
        return;
    case DNS_ANSWER_NONE:
    case DNS_ANSWER_FAILED: domain_defer(domain, "no answer for its address records"); return;
    }
}

static void implicit_found(struct dns_host_wait *wait, const struct dns_host_record *record)
{
    struct domain *domain = CONTAINER_OF(wait, struct domain, implicit);
    CHECK_MAGIC(domain, DNS_DOMAIN_MAGIC);
    implicit_known(domain, record);
}

/* RFC 5321 section 5.1: no MX, so the domain itself is the host; with a CNAME the name it leads to
 * is used instead. */
static void start_implicit(struct domain *domain, const struct dns_answer *answer)
{
    domain->mx_ttl_ms = dns_bounded_ttl(&domain->sites->options, answer->kind, answer->ttl_ms);
    const char *host = domain->name;
    if (answer->canonical != NULL) {
        struct slice name = slice_cstr(answer->canonical);
        if (name.len > 0 && name.ptr[name.len - 1] == '.') {
            name.len--;
        }
        char *canonical = mem_strndup(name.ptr, name.len);
        ascii_lower(canonical, name.len);
        if (dns_host_name_valid(slice_of(canonical, name.len))) {
            domain->canonical = canonical;
            host = canonical;
        } else {
            mem_free(canonical);
        }
    }
    domain->implicit.done = implicit_found;
    const struct dns_host_record *record = dns_host_find(domain->sites, host, &domain->implicit);
    if (record != NULL) {
        implicit_known(domain, record);
    }
}

static void take_mx(struct domain *domain, const struct dns_answer *answer)
{
    struct dns_sites *sites = domain->sites;
    size_t max = answer->count < MX_RECORDS_MAX ? answer->count : MX_RECORDS_MAX;
    struct dns_host *hosts = mem_calloc(max, sizeof(*hosts));
    size_t count = 0;
    bool null_mx = false;
    for (size_t i = 0; i < max; i++) {
        struct slice rdata = slice_of(answer->data[i], (size_t)answer->len[i]);
        switch (dns_mx_parse(rdata, &hosts[count])) {
        case DNS_MX_HOST: count++; break;
        case DNS_MX_NULL: null_mx = true; break;
        case DNS_MX_UNUSABLE: break;
        }
    }
    int64_t ttl_ms = dns_bounded_ttl(&sites->options, answer->kind, answer->ttl_ms);
    if (count > 0) {
        /* A null MX beside others breaks RFC 7505 section 3; the others stand. */
        domain->site =
            dns_site_make(hosts, count, NULL, mono_add_ms(io_loop_now(sites->loop), ttl_ms));
        mem_free(hosts);
        domain_finish(domain, ttl_ms);
        return;
    }
    mem_free(hosts);
    if (null_mx) {
        domain_bounce(domain, DNS_STATUS_NULL_MX, ttl_ms, "accepts no mail (null MX)");
    } else {
        domain_defer(domain, "none of its MX records names a host");
    }
}

static void mx_answered(struct dns_query *query, const struct dns_answer *answer)
{
    struct domain *domain = CONTAINER_OF(query, struct domain, mx);
    CHECK_MAGIC(domain, DNS_DOMAIN_MAGIC);
    switch (answer->kind) {
    case DNS_ANSWER_DATA: take_mx(domain, answer); return;
    case DNS_ANSWER_EMPTY: start_implicit(domain, answer); return;
    case DNS_ANSWER_NO_NAME:
        domain_bounce(domain, DNS_STATUS_NO_SUCH_SYSTEM,
                      dns_bounded_ttl(&domain->sites->options, answer->kind, answer->ttl_ms),
                      "no such domain");
        return;
    case DNS_ANSWER_NONE:
    case DNS_ANSWER_FAILED: domain_defer(domain, answer->why); return;
    }
}

static struct domain *domain_start(struct dns_sites *sites, struct slice name)
{
    struct domain *domain = mem_zalloc(sizeof(*domain) + name.len + 1);
    domain->magic = DNS_DOMAIN_MAGIC;
    domain->sites = sites;
    memcpy(domain->name, name.ptr, name.len);
    domain->entry.key = slice_of(domain->name, name.len);
    list_init(&domain->waiters);
    dns_cache_add_pinned(&sites->domains, &domain->entry);
    if (!dns_host_name_valid(name)) {
        /* Keeps its pin until the caller, who is its first waiter, was told. */
        set_verdict(domain, SMTP_RESULT_BOUNCED, DNS_STATUS_NO_SUCH_SYSTEM,
                    "not a domain that can have mail");
        domain->entry.expires =
            mono_add_ms(io_loop_now(sites->loop), sites->options.negative_ttl_max_ms);
        list_push_back(&sites->ready_domains, &domain->ready);
        io_loop_defer(sites->loop, &sites->task);
        return domain;
    }
    wheel_set(io_loop_wheel(sites->loop), &domain->timer,
              mono_add_ms(io_loop_now(sites->loop), sites->options.timeout_ms), timed_out);
    dns_query_start(sites, &domain->mx, domain->name, DNS_TYPE_MX, mx_answered);
    return domain;
}

/* The site of an address literal; NULL: not one. */
static struct dns_site *literal_site(struct dns_sites *sites, struct slice text)
{
    struct dns_ip ip;
    if (!dns_literal_parse(text, &ip)) {
        return NULL;
    }
    struct dns_host host = {.preference = 0};
    dns_literal_format(&ip, host.name);
    dns_site_unref(&sites->literal);
    sites->literal = dns_site_make(
        &host, 1, host.name, mono_add_ms(io_loop_now(sites->loop), sites->options.ttl_max_ms));
    return sites->literal;
}

bool dns_site_lookup(struct dns_sites *sites, struct slice name, struct dns_lookup *lookup,
                     struct dns_site **site)
{
    CHECK_MAGIC(sites, DNS_SITES_MAGIC);
    CHECK(!sites->closing);
    CHECK(lookup->done != NULL);
    *site = literal_site(sites, name);
    if (*site != NULL) {
        return true;
    }
    /* A longer one is no domain, whatever follows. */
    name = slice_head(name.ptr == NULL ? SLICE("") : name, DNS_NAME_MAX);
    struct dns_cache_entry *entry = dns_cache_find(&sites->domains, name, io_loop_now(sites->loop));
    struct domain *domain =
        entry == NULL ? domain_start(sites, name) : CONTAINER_OF(entry, struct domain, entry);
    CHECK_MAGIC(domain, DNS_DOMAIN_MAGIC);
    if (domain->site != NULL) {
        *site = domain->site;
        return true;
    }
    list_push_back(&domain->waiters, &lookup->node);
    if (domain->verdict != NULL) {
        tell_later(domain);
    }
    return false;
}

void dns_lookup_cancel(struct dns_lookup *lookup)
{
    list_remove(&lookup->node);
}

struct dns_sites *dns_sites_create(struct io_loop *loop, const struct dns_options *options,
                                   struct fault *fault)
{
    if (!options->ipv4 && !options->ipv6) {
        fault_set(fault, FAULT_INVALID, 0, "neither IPv4 nor IPv6 to send from");
        return NULL;
    }
    struct dns_sites *sites = mem_zalloc(sizeof(*sites));
    sites->magic = DNS_SITES_MAGIC;
    sites->loop = loop;
    sites->options = *options;
    sites->options.servers = NULL;
    sites->options.server_count = 0;
    list_init(&sites->queued);
    list_init(&sites->ready_domains);
    list_init(&sites->gathers);
    list_init(&sites->ready_gathers);
    size_t cache_max = options->cache_max > 0 ? options->cache_max : 1;
    dns_cache_init(&sites->domains, cache_max, domain_drop);
    dns_cache_init(&sites->hosts, cache_max, dns_host_drop);
    sites->task.run = tell_ready;
    sites->unbound = dns_unbound_create(options, fault);
    if (sites->unbound != NULL) {
        sites->watch =
            io_watch_create(loop, ub_fd(sites->unbound), dns_unbound_readable, sites, fault);
    }
    if (sites->watch == NULL) {
        dns_sites_free(&sites);
        return NULL;
    }
    io_watch_set(sites->watch, IO_READABLE);
    return sites;
}

static void domains_abandon(struct dns_sites *sites)
{
    size_t count = 0;
    size_t cursor = 0;
    struct domain **pending = mem_calloc(sites->domains.map.count + 1, sizeof(struct domain *));
    struct dns_cache_entry *entry;
    while ((entry = map_next(&sites->domains.map, &cursor)) != NULL) {
        struct domain *domain = CONTAINER_OF(entry, struct domain, entry);
        if (domain->site == NULL && domain->verdict == NULL) {
            pending[count++] = domain;
        }
    }
    for (size_t i = 0; i < count; i++) {
        domain_defer(pending[i], "the resolver was closed");
    }
    mem_free(pending);
}

void dns_sites_free(struct dns_sites **handle)
{
    struct dns_sites *sites = *handle;
    if (sites == NULL) {
        return;
    }
    CHECK_MAGIC(sites, DNS_SITES_MAGIC);
    *handle = NULL;
    sites->closing = true;
    domains_abandon(sites);
    dns_gathers_abandon(sites);
    dns_hosts_abandon(sites);
    io_task_cancel(&sites->task);
    tell_ready(&sites->task);
    CHECK(list_empty(&sites->queued) && sites->running == 0);
    dns_cache_clear(&sites->domains);
    dns_cache_clear(&sites->hosts);
    dns_site_unref(&sites->literal);
    io_watch_free(&sites->watch);
    if (sites->unbound != NULL) {
        ub_ctx_delete(sites->unbound);
    }
    sites->magic = 0;
    mem_free(sites);
}
