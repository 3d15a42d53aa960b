#include "policy/config_rules_private.h"

#include "policy/config_value_private.h"

#include <stdarg.h>

#define PATH_MAX_BYTES 160
#define REDIS_NODES_MAX 256
#define TOPIC_NAME_MAX 249 /* Kafka's */

struct rules {
    const struct config *config;
    const struct config_source *source;
    struct problems *problems;
    bool vips_clean, pools_clean, streams_clean; /* nothing wrong in there so far */
    char path[PATH_MAX_BYTES];
};

static void at(struct rules *rules, const char *format, ...) PRINTF_LIKE(2, 3);

/* Sets the key that the next problems are about. */
static void at(struct rules *rules, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(rules->path, sizeof(rules->path), format, args);
    va_end(args);
}

static void tell(struct rules *rules, const char *format, ...) PRINTF_LIKE(2, 3);

static void tell(struct rules *rules, const char *format, ...)
{
    char text[FAULT_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    problems_add(rules->problems, config_source_line(rules->source, rules->path), rules->path, "%s",
                 text);
}

/* The name as the n-th member `name` of an array of structs, whose first member it is in all of
 * ours. */
static const char *name_at(const void *array, size_t size, size_t i)
{
    const char *name;
    memcpy(&name, (const char *)array + i * size, sizeof(name));
    return name;
}

static void check_twice(struct rules *rules, const char *section, const void *array, size_t size,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = name_at(array, size, i);
        for (size_t j = 0; name != NULL && j < i; j++) {
            const char *other = name_at(array, size, j);
            if (other != NULL && strcmp(name, other) == 0) {
                char first[PATH_MAX_BYTES];
                (void)snprintf(first, sizeof(first), "%s[%zu].name", section, j);
                at(rules, "%s[%zu].name", section, i);
                tell(rules, "\"%s\" has been given already in line %u; expected a name of its own",
                     name, config_source_line(rules->source, first));
                break;
            }
        }
    }
}

/* ", did you mean …" among the names, or nothing. */
static void suggest(char *out, size_t out_bytes, const char *wrong, const void *array, size_t size,
                    size_t count)
{
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const char *name = name_at(array, size, i);
        if (name != NULL && strlen(name) <= 64 &&
            problems_suggest(slice_cstr(wrong), &name, 1) != NULL) {
            (void)snprintf(out, out_bytes, "; did you mean \"%s\"?", name);
            return;
        }
    }
}

static void need_vip(struct rules *rules, const char *name)
{
    char near[300];
    const struct config *config = rules->config;
    if (name != NULL && rules->vips_clean && config_vip_named(config, slice_cstr(name)) == NULL) {
        suggest(near, sizeof(near), name, config->vips, sizeof(*config->vips), config->vip_count);
        tell(rules, "\"%s\" is not a VIP of this file%s", name, near);
    }
}

static void need_pool_or_vip(struct rules *rules, const char *name)
{
    char near[300];
    const struct config *config = rules->config;
    if (name == NULL || !rules->vips_clean || !rules->pools_clean ||
        config_vip_named(config, slice_cstr(name)) != NULL ||
        config_pool_named(config, slice_cstr(name)) != NULL) {
        return;
    }
    suggest(near, sizeof(near), name, config->pools, sizeof(*config->pools), config->pool_count);
    if (near[0] == '\0') {
        suggest(near, sizeof(near), name, config->vips, sizeof(*config->vips), config->vip_count);
    }
    tell(rules, "\"%s\" is neither a pool nor a VIP of this file%s", name, near);
}

static void check_kafka(struct rules *rules)
{
    const struct config_kafka *kafka = &rules->config->kafka;
    static const struct {
        const char *property, *key;
    } ours[] = {{"bootstrap.servers", "bootstrap-servers"},
                {"metadata.broker.list", "bootstrap-servers"},
                {"group.id", "group"}};
    if (kafka->min_insync_replicas > kafka->replication_factor) {
        at(rules, "kafka.min-insync-replicas");
        tell(rules, "%d is more than kafka.replication-factor (%d), so nothing could be written",
             kafka->min_insync_replicas, kafka->replication_factor);
    }
    for (size_t i = 0; i < kafka->property_count; i++) {
        for (size_t j = 0; j < ARRAY_LEN(ours); j++) {
            if (kafka->properties[i].name != NULL &&
                strcmp(kafka->properties[i].name, ours[j].property) == 0) {
                problems_add(rules->problems, config_source_line(rules->source, "kafka.properties"),
                             "kafka.properties", "%s is given by kafka.%s; take it out here",
                             ours[j].property, ours[j].key);
            }
        }
    }
}

/* Is the key in the file? The next problem is about it. */
static bool has(struct rules *rules, const char *path)
{
    at(rules, "%s", path);
    return config_source_has(rules->source, path);
}

static void check_redis_nodes(struct rules *rules)
{
    const struct config_redis *redis = &rules->config->redis;
    static const char *const others[] = {"redis.host", "redis.port", "redis.unix-path"};
    for (size_t i = 0; i < ARRAY_LEN(others) && redis->node_count > 0; i++) {
        if (has(rules, others[i])) {
            tell(rules, "stands beside redis.nodes; expected one of them");
        }
    }
    for (size_t i = 0; i < redis->node_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (redis->nodes[i] != NULL && redis->nodes[j] != NULL &&
                strcmp(redis->nodes[i], redis->nodes[j]) == 0) {
                at(rules, "redis.nodes[%zu]", i);
                tell(rules, "\"%s\" has been given already", redis->nodes[i]);
                break;
            }
        }
    }
    at(rules, "redis.nodes");
    if (redis->node_count > REDIS_NODES_MAX && !redis->cluster) {
        tell(rules, "has %zu servers; expected at most %d", redis->node_count, REDIS_NODES_MAX);
    }
    if (has(rules, "redis.unix-path") && redis->cluster) {
        tell(rules, "is given, but the nodes of a cluster (redis.cluster) are reached by TCP");
    }
    if (has(rules, "redis.database") && redis->cluster && redis->database != 0) {
        tell(rules, "is %d, but a cluster (redis.cluster) has database 0 only", redis->database);
    }
    if (has(rules, "redis.hash-tags") && !redis->cluster) {
        tell(rules, "is given, but redis.cluster is not true");
    }
}

static void check_redis(struct rules *rules)
{
    const struct config_redis *redis = &rules->config->redis;
    static const char *const tls[] = {"redis.tls-verify", "redis.tls-server-name",
                                      "redis.tls-ca-file", "redis.tls-certificate-file",
                                      "redis.tls-key-file"};
    check_redis_nodes(rules);
    if (has(rules, "redis.user") && redis->password == NULL && !has(rules, "redis.password")) {
        at(rules, "redis.user");
        tell(rules, "is given without redis.password");
    }
    for (size_t i = 0; i < ARRAY_LEN(tls) && !redis->use_tls; i++) {
        if (has(rules, tls[i])) {
            tell(rules, "is given, but redis.use-tls is not true");
        }
    }
    bool has_key = redis->tls_key_file != NULL;
    if ((redis->tls_certificate_file != NULL) != has_key) {
        at(rules, "redis.%s", has_key ? "tls-key-file" : "tls-certificate-file");
        tell(rules, "is given without redis.%s", has_key ? "tls-certificate-file" : "tls-key-file");
    }
    if (has(rules, "redis.unix-path") && redis->use_tls) {
        tell(rules, "is given, but redis.use-tls is true; TLS is for TCP");
    }
}

static void check_dns(struct rules *rules)
{
    const struct config_dns *dns = &rules->config->dns;
    for (size_t i = 0; i < dns->server_count; i++) {
        if (dns->server_count > 1 && strcmp(dns->servers[i], "recursive") == 0) {
            at(rules, "dns.servers[%zu]", i);
            tell(rules, "\"recursive\" stands beside other servers; expected it alone");
        }
    }
}

static void check_vips(struct rules *rules)
{
    const struct config *config = rules->config;
    check_twice(rules, "vips", config->vips, sizeof(*config->vips), config->vip_count);
    for (size_t i = 0; i < config->vip_count; i++) {
        at(rules, "vips[%zu].source-ipv4", i);
        bool has_ipv4 = config_source_has(rules->source, rules->path);
        at(rules, "vips[%zu].source-ipv6", i);
        bool has_ipv6 = config_source_has(rules->source, rules->path);
        at(rules, "vips[%zu]", i);
        if (!has_ipv4 && !has_ipv6) {
            tell(rules, "has no address; expected source-ipv4, source-ipv6 or both");
        }
    }
}

static void check_pools(struct rules *rules)
{
    const struct config *config = rules->config;
    check_twice(rules, "pools", config->pools, sizeof(*config->pools), config->pool_count);
    for (size_t i = 0; i < config->pool_count; i++) {
        const struct config_pool *pool = &config->pools[i];
        at(rules, "pools[%zu].name", i);
        if (pool->name != NULL && config_vip_named(config, slice_cstr(pool->name)) != NULL) {
            tell(rules, "\"%s\" is also the name of a VIP; expected a name of its own", pool->name);
        }
        for (size_t j = 0; j < pool->member_count; j++) {
            at(rules, "pools[%zu].members[%zu].vip", i, j);
            need_vip(rules, pool->members[j].vip);
        }
    }
}

/* `site_count` counts the default that was added as well; it has no line of its own and no
 * problems. */
static void check_sites(struct rules *rules)
{
    const struct config *config = rules->config;
    check_twice(rules, "sites", config->sites, sizeof(*config->sites), config->site_count);
    for (size_t i = 0; i < config->site_count; i++) {
        const struct config_site *site = &config->sites[i];
        bool is_default = site->name != NULL && strcmp(site->name, "default") == 0;
        at(rules, "sites[%zu]%s", i, site->match_count > 0 ? ".match" : ".name");
        if (is_default && i + 1 < config->site_count) {
            tell(rules, "\"default\" takes every site that nothing before it matches; expected it "
                        "as the last one");
        } else if (is_default && site->match_count > 0) {
            tell(rules, "stands in the site \"default\", which matches everything; take it out");
        } else if (!is_default && site->name != NULL && site->match_count == 0 &&
                   !problems_in(rules->problems, "sites")) {
            tell(rules, "\"%s\" has no key \"match\", so it would never be used", site->name);
        }
        at(rules, "sites[%zu].tls-verify", i);
        if (site->tls == CONFIG_TLS_NEVER && site->tls_verify) {
            tell(rules,
                 "is true while use-starttls is never; expected opportunistic or required with it");
        }
    }
}

/* A site is an entry's name, "each", or what could stand in `match`; a word without a dot would
 * match nothing. */
static void check_limited_site(struct rules *rules, const char *site)
{
    char near[300];
    const struct config *config = rules->config;
    bool known = strcmp(site, "each") == 0 || ((strchr(site, '.') != NULL || site[0] == '[') &&
                                               config_name_check(SCHEMA_MATCH, slice_cstr(site)));
    for (size_t i = 0; i < config->site_count; i++) {
        known =
            known || (config->sites[i].name != NULL && strcmp(config->sites[i].name, site) == 0);
    }
    if (!known) {
        suggest(near, sizeof(near), site, config->sites, sizeof(*config->sites),
                config->site_count);
        tell(rules, "\"%s\" is no entry of sites, site name, domain or \"*.suffix\"%s", site, near);
    }
}

static void check_limits(struct rules *rules)
{
    const struct config *config = rules->config;
    for (size_t i = 0; i < config->limit_entry_count; i++) {
        const struct config_limit_entry *entry = &config->limit_entries[i];
        at(rules, "limits[%zu].site", i);
        if (entry->site != NULL && !problems_in(rules->problems, "sites")) {
            check_limited_site(rules, entry->site);
        }
        at(rules, "limits[%zu].vip", i);
        if (entry->vip != NULL && strcmp(entry->vip, "each") != 0) {
            need_vip(rules, entry->vip);
        }
        at(rules, "limits[%zu].pool", i);
        if (entry->pool != NULL && strcmp(entry->pool, "each") != 0 && rules->pools_clean &&
            config_pool_named(config, slice_cstr(entry->pool)) == NULL) {
            tell(rules, "\"%s\" is not a pool of this file", entry->pool);
        }
        at(rules, "limits[%zu].stream", i);
        if (entry->stream != NULL && strcmp(entry->stream, "each") != 0 && rules->streams_clean &&
            config_stream_named(config, slice_cstr(entry->stream)) == NULL) {
            tell(rules, "\"%s\" is not a stream of this file", entry->stream);
        }
    }
}

static void check_tenants(struct rules *rules)
{
    const struct config *config = rules->config;
    check_twice(rules, "tenants", config->tenants, sizeof(*config->tenants), config->tenant_count);
    for (size_t i = 0; i < config->tenant_count; i++) {
        const struct config_tenant *tenant = &config->tenants[i];
        for (size_t j = 0; j < tenant->pool_count; j++) {
            at(rules, "tenants[%zu].pools[%zu]", i, j);
            need_pool_or_vip(rules, tenant->pools[j]);
        }
        if (tenant->default_pool != NULL && tenant->name != NULL) {
            at(rules, "tenants[%zu].default-pool", i);
            need_pool_or_vip(rules, tenant->default_pool);
            if (!config_tenant_may_use(config, slice_cstr(tenant->name),
                                       slice_cstr(tenant->default_pool))) {
                tell(rules, "\"%s\" is not among the tenant's pools", tenant->default_pool);
            }
        }
    }
}

static void check_streams(struct rules *rules)
{
    const struct config *config = rules->config;
    check_twice(rules, "streams", config->streams, sizeof(*config->streams), config->stream_count);
    for (size_t i = 0; i < config->stream_count; i++) {
        const struct config_stream *stream = &config->streams[i];
        at(rules, "streams[%zu].name", i);
        if (stream->name != NULL && config->kafka.prefix != NULL &&
            strlen(config->kafka.prefix) + strlen("q.") + strlen(stream->name) > TOPIC_NAME_MAX) {
            tell(rules, "makes a topic name of more than %d bytes", TOPIC_NAME_MAX);
        }
        at(rules, "streams[%zu].pool", i);
        need_pool_or_vip(rules, stream->pool);
    }
}

static void check_suppression(struct rules *rules)
{
    const struct config *config = rules->config;
    check_twice(rules, "suppression", config->suppression, sizeof(*config->suppression),
                config->suppression_count);
    for (size_t i = 0; i < config->suppression_count; i++) {
        const struct config_suppression *policy = &config->suppression[i];
        at(rules, "suppression[%zu].hard-reach", i);
        if (policy->hard_reach == CONFIG_REACH_LIST) {
            tell(rules, "is list, but a bounce is about the address; expected tenant or global");
        }
    }
}

static void check_worker(struct rules *rules)
{
    const struct config_worker *worker = &rules->config->worker;
    for (size_t i = 0; i < worker->vip_count; i++) {
        at(rules, "worker.vips[%zu]", i);
        need_vip(rules, worker->vips[i]);
    }
}

static void check_listener(struct rules *rules, size_t i, bool *open_to_all)
{
    const struct config_producer *producer = &rules->config->producer;
    const struct config_listener *listener = &producer->listeners[i];
    struct slice host;
    uint16_t port;
    at(rules, "producer.listeners[%zu]", i);
    if (listener->implicit_tls && producer->tls_certificate_file == NULL) {
        tell(rules, "has implicit-tls, but there is no producer.tls-certificate-file");
    }
    if (listener->address == NULL ||
        !config_split_port(slice_cstr(listener->address), true, &host, &port)) {
        return;
    }
    if (config_is_loopback(host)) {
        *open_to_all = *open_to_all || !producer->auth_required;
        return;
    }
    if (producer->users_file == NULL) {
        tell(rules,
             "%s is not a loopback address, so users must log in; expected producer.users-file",
             listener->address);
    } else if (producer->tls_certificate_file == NULL) {
        tell(rules,
             "%s is not a loopback address, where users can log in under TLS only; expected "
             "producer.tls-certificate-file",
             listener->address);
    }
}

static void check_producer(struct rules *rules)
{
    const struct config *config = rules->config;
    const struct config_producer *producer = &config->producer;
    bool open_to_all = false;
    if ((producer->tls_certificate_file == NULL) != (producer->tls_key_file == NULL)) {
        bool has_key = producer->tls_key_file != NULL;
        at(rules, "producer.%s", has_key ? "tls-key-file" : "tls-certificate-file");
        tell(rules, "stands alone; expected producer.%s with it",
             has_key ? "tls-certificate-file" : "tls-key-file");
    }
    for (size_t i = 0; i < producer->listener_count; i++) {
        check_listener(rules, i, &open_to_all);
    }
    if (producer->auth_required && producer->users_file == NULL && producer->listener_count > 0) {
        at(rules, "producer.auth-required");
        tell(rules, "is true, but without producer.users-file nobody could log in");
    }
    if (open_to_all && producer->default_tenant == NULL) {
        at(rules, "producer");
        tell(rules, "takes mail from loopback without login; expected default-tenant, in whose "
                    "name it goes");
    }
    bool stream_used =
        producer->listener_count > 0 || config_source_has(rules->source, "producer.default-stream");
    if (producer->default_stream != NULL && rules->streams_clean && stream_used &&
        config_stream_named(config, slice_cstr(producer->default_stream)) == NULL) {
        at(rules, "producer.default-stream");
        tell(rules, "\"%s\" is not a stream of this file", producer->default_stream);
    }
}

static void check_verp(struct rules *rules)
{
    const struct config *config = rules->config;
    const struct config_verp *verp = &config->verp;
    unsigned seen = 0;
    for (size_t i = 0; i < verp->key_count; i++) {
        const struct config_verp_key *key = &verp->keys[i];
        at(rules, "verp.keys[%zu]", i);
        if ((seen >> key->id & 1u) != 0) {
            tell(rules, "has id %u, which another key has already", key->id);
        }
        seen |= 1u << key->id;
        if (key->not_after_ms != 0 && key->not_after_ms <= key->not_before_ms) {
            tell(rules, "has a not-after that is not later than its not-before");
        }
    }
    bool ready = verp->domain_count > 0 && verp->key_count > 0;
    for (size_t i = 0; i < config->tenant_count && !ready; i++) {
        if (config->tenants[i].verp) {
            at(rules, "tenants[%zu].verp", i);
            tell(rules, "is true; expected verp.domains and verp.keys with it");
        }
    }
    for (size_t i = 0; i < config->stream_count && !ready; i++) {
        if (config->streams[i].verp) {
            at(rules, "streams[%zu].verp", i);
            tell(rules, "is true; expected verp.domains and verp.keys with it");
        }
    }
    for (size_t i = 0; i < config->tenant_count; i++) {
        const char *domain = config->tenants[i].verp_domain;
        if (domain != NULL && !config_verp_domain(config, slice_cstr(domain))) {
            at(rules, "tenants[%zu].verp-domain", i);
            tell(rules, "\"%s\" is not one of verp.domains", domain);
        }
    }
}

static bool wants_list_unsubscribe(const struct config *config, char *where, size_t size)
{
    for (size_t i = 0; i < config->tenant_count; i++) {
        if (config->tenants[i].list_unsubscribe) {
            snprintf(where, size, "tenants[%zu].list-unsubscribe", i);
            return true;
        }
    }
    for (size_t i = 0; i < config->stream_count; i++) {
        if (config->streams[i].list_unsubscribe) {
            snprintf(where, size, "streams[%zu].list-unsubscribe", i);
            return true;
        }
    }
    return false;
}

static void check_unsubscribe(struct rules *rules)
{
    char where[64];
    const struct config *config = rules->config;
    const struct config_unsubscribe *unsubscribe = &config->unsubscribe;
    struct slice url = slice_cstr(unsubscribe->url);
    if (url.ptr != NULL && (!slice_starts_with(url, SLICE("https://")) ||
                            slice_find_byte(url, ' ') >= 0 || slice_find_byte(url, '>') >= 0)) {
        at(rules, "unsubscribe.url");
        tell(rules, "\"%s\" is not valid; expected https://HOST/PATH (RFC 8058)", unsubscribe->url);
    }
    bool has_key = unsubscribe->tls_key_file != NULL;
    if ((unsubscribe->tls_certificate_file != NULL) != has_key) {
        at(rules, "unsubscribe.%s", has_key ? "tls-key-file" : "tls-certificate-file");
        tell(rules, "stands alone; expected unsubscribe.%s with it",
             has_key ? "tls-certificate-file" : "tls-key-file");
    }
    for (size_t i = 0; i < unsubscribe->listener_count; i++) {
        if (unsubscribe->listeners[i].implicit_tls && !has_key) {
            at(rules, "unsubscribe.listeners[%zu]", i);
            tell(rules, "has implicit-tls, but there is no unsubscribe.tls-certificate-file");
        }
    }
    bool way = url.ptr != NULL || (unsubscribe->mailto && config->verp.domain_count > 0);
    if (wants_list_unsubscribe(config, where, sizeof(where)) &&
        (!way || config->verp.key_count == 0)) {
        at(rules, "%s", where);
        tell(rules, "is true; expected verp.keys, and unsubscribe.url or verp.domains with it");
    }
}

/* What its target must look like; NULL: it does, or there is none. */
static const char *wrong_target(const struct config_action *action)
{
    struct slice target = slice_cstr(action->target);
    if (target.ptr == NULL) {
        return NULL;
    }
    switch (action->what) {
    case CONFIG_DO_FORWARD:
        return slice_starts_with(target, SLICE("smtp://")) ||
                       slice_starts_with(target, SLICE("smtps://"))
                   ? NULL
                   : "smtp://HOST:PORT";
    case CONFIG_DO_POST:
        return slice_starts_with(target, SLICE("https://")) ||
                       slice_starts_with(target, SLICE("http://"))
                   ? NULL
                   : "https://HOST/PATH";
    case CONFIG_DO_PIPE: return target.ptr[0] == '/' ? NULL : "/PATH/OF/A/PROGRAM ARGUMENT…";
    case CONFIG_DO_QUARANTINE:
    case CONFIG_DO_MBOX:
    case CONFIG_DO_MAILDIR:
    case CONFIG_DO_FILE: return target.ptr[0] == '/' ? NULL : "an absolute path";
    case CONFIG_DO_PASS:
    case CONFIG_DO_DROP: break;
    }
    return NULL;
}

static void check_action(struct rules *rules, size_t i)
{
    const struct config_action *action = &rules->config->bouncer.actions[i];
    const char *expected = wrong_target(action);
    bool wants = action->what != CONFIG_DO_PASS && action->what != CONFIG_DO_DROP;
    at(rules, "bouncer.actions[%zu]", i);
    if (wants != (action->target != NULL)) {
        tell(rules, wants ? "has no target" : "has a target, which its do makes no use of");
    }
    if ((action->what == CONFIG_DO_FORWARD) != (action->to != NULL)) {
        tell(rules, "has do and to that do not fit; expected to with forward, and only there");
    }
    if (expected != NULL) {
        at(rules, "bouncer.actions[%zu].target", i);
        tell(rules, "\"%s\" is not valid; expected %s", action->target, expected);
    }
    if (action->to != NULL && strchr(action->to, '@') == NULL) {
        at(rules, "bouncer.actions[%zu].to", i);
        tell(rules, "\"%s\" has no domain; expected local@domain", action->to);
    }
}

static void check_address(struct rules *rules, size_t i)
{
    const struct config_bouncer *bouncer = &rules->config->bouncer;
    const struct config_address *entry = &bouncer->addresses[i];
    at(rules, "bouncer.addresses[%zu]", i);
    if (entry->address == NULL) {
        return;
    }
    const char *domain = strchr(entry->address, '@');
    if (domain == NULL || domain[1] == '\0') {
        tell(rules, "\"%s\" has no domain; expected local@domain, or @domain for all of it",
             entry->address);
    }
    if (entry->kind == CONFIG_ADDRESS_UNSUBSCRIBE && entry->tenant == NULL) {
        tell(rules,
             "has no tenant; expected the one whose mail is to end for those who write there");
    }
    for (size_t j = 0; j < i; j++) {
        const char *other = bouncer->addresses[j].address;
        if (other != NULL && slice_eq_nocase(slice_cstr(other), slice_cstr(entry->address))) {
            tell(rules, "\"%s\" has been given already; expected each address once",
                 entry->address);
            break;
        }
    }
}

static bool is_table_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";
    static const char all[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    return strspn(name, letters) > 0 && strspn(name, all) == strlen(name);
}

static void check_bouncer(struct rules *rules)
{
    const struct config_bouncer *bouncer = &rules->config->bouncer;
    bool has_key = bouncer->tls_key_file != NULL;
    if ((bouncer->tls_certificate_file != NULL) != has_key) {
        at(rules, "bouncer.%s", has_key ? "tls-key-file" : "tls-certificate-file");
        tell(rules, "stands alone; expected bouncer.%s with it",
             has_key ? "tls-certificate-file" : "tls-key-file");
    }
    if (bouncer->suppression_table != NULL && !is_table_name(bouncer->suppression_table)) {
        at(rules, "bouncer.suppression-table");
        tell(rules, "\"%s\"; expected a name of small letters, digits and underscores",
             bouncer->suppression_table);
    }
    for (size_t i = 0; i < bouncer->listener_count; i++) {
        at(rules, "bouncer.listeners[%zu]", i);
        if (bouncer->listeners[i].implicit_tls && bouncer->tls_certificate_file == NULL) {
            tell(rules, "has implicit-tls, but there is no bouncer.tls-certificate-file");
        }
    }
    for (size_t i = 0; i < bouncer->address_count; i++) {
        check_address(rules, i);
    }
    for (size_t i = 0; i < bouncer->action_count; i++) {
        check_action(rules, i);
    }
}

void config_rules_check(const struct config *config, const struct config_source *source,
                        struct problems *problems)
{
    struct rules rules = {
        .config = config,
        .source = source,
        .problems = problems,
        .vips_clean = !problems_in(problems, "vips"),
        .pools_clean = !problems_in(problems, "pools"),
        .streams_clean = !problems_in(problems, "streams"),
    };
    check_kafka(&rules);
    check_redis(&rules);
    check_dns(&rules);
    check_vips(&rules);
    check_pools(&rules);
    check_sites(&rules);
    check_limits(&rules);
    check_tenants(&rules);
    check_streams(&rules);
    check_suppression(&rules);
    check_worker(&rules);
    check_producer(&rules);
    check_verp(&rules);
    check_unsubscribe(&rules);
    check_bouncer(&rules);
}
