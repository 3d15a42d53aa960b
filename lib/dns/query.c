/*
 * Questions to libunbound.
 *
 * libunbound resolves in a thread of its own (ub_ctx_async(1)) and tells by a pipe, which the loop
 * watches. A forked process, the other choice, would copy a process that has threads (librdkafka's,
 * other shards'), whose locks the child would inherit as they are. Everything of ours runs on the
 * loop's thread; all signals are blocked while the resolver's thread is made, so that it never
 * takes one.
 *
 * Its pipe for questions is written with blocking writes. The resolver's thread reads it before all
 * other work and never waits for us, and at most DNS_QUERIES_MAX questions are open, so such a
 * write waits for a thread switch at most.
 *
 * Settings that are not obvious:
 *   - infra-host-ttl 2 and infra-cache-max-rtt 2000 with forwarders: else a forwarder that was away
 * for some seconds counts as down for up to 15 minutes after it is back, and every answer is
 * SERVFAIL (libunbound drops questions meanwhile);
 *   - "test." is blocked by default (RFC 6761); who names forwarders means them to be asked.
 */
#include "dns/site_private.h"

#include "base/log.h"

#include <signal.h>
#include <unbound.h>

struct unbound_option {
    const char *name;
    const char *value;
};

static const struct unbound_option common_options[] = {
    {"use-syslog:", "no"},
    {"outgoing-range:", "512"},
    {"num-queries-per-thread:", "2048"},
    {"outgoing-num-tcp:", "16"},
    {"msg-cache-size:", "4m"},
    {"rrset-cache-size:", "8m"},
    {"edns-buffer-size:", "1232"},
    {"do-not-query-localhost:", "no"},
    {"infra-keep-probing:", "yes"},
};

static const struct unbound_option forward_options[] = {
    {"infra-host-ttl:", "2"},
    {"infra-cache-max-rtt:", "2000"},
};

static bool set_options(struct ub_ctx *unbound, const struct unbound_option *items, size_t count,
                        struct fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        int error = ub_ctx_set_option(unbound, items[i].name, items[i].value);
        if (error != 0) {
            return fault_set(fault, FAULT_FATAL, error, "libunbound refuses %s %s: %s",
                             items[i].name, items[i].value, ub_strerror(error));
        }
    }
    return true;
}

static bool set_anchor(struct ub_ctx *unbound, struct fault *fault)
{
    static const char *const files[] = {"/var/lib/unbound/root.key", "/usr/share/dns/root.key",
                                        "/etc/unbound/root.key"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        FILE *file = fopen(files[i], "re");
        if (file != NULL) {
            (void)fclose(file);
            int error = ub_ctx_add_ta_file(unbound, files[i]);
            return error == 0 || fault_set(fault, FAULT_INVALID, error, "trust anchor %s: %s",
                                           files[i], ub_strerror(error));
        }
    }
    return fault_set(fault, FAULT_NOT_FOUND, 0,
                     "dnssec is on, but no root trust anchor is installed (%s or %s)", files[0],
                     files[1]);
}

static bool set_servers(struct ub_ctx *unbound, const struct dns_options *options,
                        struct fault *fault)
{
    if (options->server_count == 0) {
        int error = ub_ctx_resolvconf(unbound, NULL);
        return error == 0 ||
               fault_set(fault, FAULT_INVALID, error, "/etc/resolv.conf: %s", ub_strerror(error));
    }
    for (size_t i = 0; i < options->server_count; i++) {
        const char *server = options->servers[i];
        if (strcmp(server, "recursive") == 0) {
            if (options->server_count != 1) {
                return fault_set(fault, FAULT_INVALID, 0,
                                 "dns server \"recursive\" cannot stand beside others");
            }
            return true;
        }
        int error = ub_ctx_set_fwd(unbound, server);
        if (error != 0) {
            return fault_set(fault, FAULT_INVALID, error,
                             "dns server \"%s\": %s (expected an address, or address@port)", server,
                             ub_strerror(error));
        }
    }
    return true;
}

static void warmed(void *owner, int error, struct ub_result *result)
{
    (void)owner;
    (void)error;
    ub_resolve_free(result);
}

/* Makes libunbound read its settings and start its thread now, where an error can be told, with a
 * question that it answers itself. */
static bool warm_up(struct ub_ctx *unbound, struct fault *fault)
{
    sigset_t all;
    sigset_t old;
    (void)sigfillset(&all);
    int blocked = pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = ub_resolve_async(unbound, "localhost.", DNS_TYPE_A, 1, NULL, warmed, NULL);
    if (blocked == 0) {
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    return error == 0 || fault_set(fault, FAULT_SYSTEM, error, "libunbound does not start: %s",
                                   ub_strerror(error));
}

static bool configure(struct ub_ctx *unbound, const struct dns_options *options,
                      struct fault *fault)
{
    bool recursive = options->server_count == 1 && strcmp(options->servers[0], "recursive") == 0;
    const struct unbound_option modules = {"module-config:",
                                           options->dnssec ? "validator iterator" : "iterator"};
    int error = ub_ctx_debugout(unbound, NULL);
    error = error != 0 ? error : ub_ctx_async(unbound, 1);
    if (error != 0) {
        return fault_set(fault, FAULT_FATAL, error, "libunbound: %s", ub_strerror(error));
    }
    if (!set_options(unbound, common_options, ARRAY_LEN(common_options), fault) ||
        !set_options(unbound, &modules, 1, fault) ||
        (!recursive && !set_options(unbound, forward_options, ARRAY_LEN(forward_options), fault)) ||
        !set_servers(unbound, options, fault) || (options->dnssec && !set_anchor(unbound, fault))) {
        return false;
    }
    /* Last: from here on libunbound takes no settings any more. */
    if (options->server_count > 0 && !recursive) {
        error = ub_ctx_zone_add(unbound, "test.", "transparent");
        if (error != 0) {
            return fault_set(fault, FAULT_FATAL, error, "libunbound: %s", ub_strerror(error));
        }
    }
    return warm_up(unbound, fault);
}

struct ub_ctx *dns_unbound_create(const struct dns_options *options, struct fault *fault)
{
    struct ub_ctx *unbound = ub_ctx_create();
    if (unbound == NULL) {
        fault_set(fault, FAULT_SYSTEM, 0, "libunbound cannot make a context");
        return NULL;
    }
    if (!configure(unbound, options, fault)) {
        ub_ctx_delete(unbound);
        return NULL;
    }
    return unbound;
}

static struct dns_answer read_answer(int error, const struct ub_result *result)
{
    struct dns_answer answer = {.kind = DNS_ANSWER_FAILED, .why = "the DNS server failed"};
    if (error != 0 || result == NULL) {
        answer.why = error != 0 ? ub_strerror(error) : "no result";
        return answer;
    }
    answer.ttl_ms = result->ttl > 0 ? (int64_t)result->ttl * 1000 : 0;
    answer.canonical = result->canonname;
    if (result->bogus) {
        answer.why = "the answer fails DNSSEC validation";
    } else if (result->havedata) {
        answer.kind = DNS_ANSWER_DATA;
        answer.data = result->data;
        answer.len = result->len;
        while (result->data[answer.count] != NULL) {
            answer.count++;
        }
    } else if (result->nxdomain) {
        answer.kind = DNS_ANSWER_NO_NAME;
    } else if (result->rcode != 0) {
        answer.why = result->rcode == 2 ? "the DNS server failed or did not answer (SERVFAIL)"
                                        : "the DNS server refused the question";
    } else if (result->answer_len > 0 && dns_packet_is_referral(slice_of(
                                             result->answer_packet, (size_t)result->answer_len))) {
        answer.why = "the DNS server answered with a referral";
    } else {
        answer.kind = DNS_ANSWER_EMPTY;
    }
    return answer;
}

static void answered(void *owner, int error, struct ub_result *result);

static bool submit(struct dns_query *query)
{
    int error = ub_resolve_async(query->sites->unbound, query->name, query->type, 1, query,
                                 answered, &query->async_id);
    if (error != 0) {
        /* The owner's timer ends it. */
        log_error("dns-query-failed", "type=%d error=%d reason=\"%s\"", query->type, error,
                  ub_strerror(error));
        query->state = DNS_QUERY_IDLE;
        return false;
    }
    query->state = DNS_QUERY_RUNNING;
    query->sites->running++;
    return true;
}

static void submit_queued(struct dns_sites *sites)
{
    while (sites->running < DNS_QUERIES_MAX && !list_empty(&sites->queued)) {
        struct list *node = list_pop_front(&sites->queued);
        (void)submit(CONTAINER_OF(node, struct dns_query, node));
    }
}

static void answered(void *owner, int error, struct ub_result *result)
{
    struct dns_query *query = owner;
    CHECK_MAGIC(query, DNS_QUERY_MAGIC);
    CHECK(query->state == DNS_QUERY_RUNNING);
    query->state = DNS_QUERY_IDLE;
    query->sites->running--;
    struct dns_answer answer = read_answer(error, result);
    query->done(query, &answer);
    ub_resolve_free(result);
}

void dns_unbound_readable(struct io_watch *watch, void *owner, unsigned events)
{
    (void)watch;
    (void)events;
    struct dns_sites *sites = owner;
    CHECK_MAGIC(sites, DNS_SITES_MAGIC);
    int error = ub_process(sites->unbound);
    if (error != 0) {
        log_error("dns-process-failed", "error=%d reason=\"%s\"", error, ub_strerror(error));
    }
    submit_queued(sites);
}

void dns_query_start(struct dns_sites *sites, struct dns_query *query, const char *name, int type,
                     void (*done)(struct dns_query *, const struct dns_answer *))
{
    CHECK(query->state == DNS_QUERY_IDLE);
    query->magic = DNS_QUERY_MAGIC;
    query->sites = sites;
    query->name = name;
    query->type = type;
    query->done = done;
    query->state = DNS_QUERY_QUEUED;
    if (sites->running < DNS_QUERIES_MAX && list_empty(&sites->queued)) {
        (void)submit(query);
    } else {
        list_push_back(&sites->queued, &query->node);
    }
}

void dns_query_cancel(struct dns_query *query)
{
    switch (query->state) {
    case DNS_QUERY_IDLE: return;
    case DNS_QUERY_QUEUED: list_remove(&query->node); break;
    case DNS_QUERY_RUNNING:
        (void)ub_cancel(query->sites->unbound, query->async_id);
        query->sites->running--;
        submit_queued(query->sites);
        break;
    }
    query->state = DNS_QUERY_IDLE;
}
