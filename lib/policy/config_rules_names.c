/*
 * What mail is sent by: VIPs, pools, sites, limits, tenants, streams. A name stands once, and what
 * refers to one exists.
 */
#include "policy/config_rules_private.h"

#include "policy/config_value_private.h"

#define TOPIC_NAME_MAX 249 /* Kafka's */

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
                char first[RULES_PATH_MAX];
                (void)snprintf(first, sizeof(first), "%s[%zu].name", section, j);
                rules_at(rules, "%s[%zu].name", section, i);
                rules_tell(rules,
                           "\"%s\" has been given already in line %u; expected a name of its own",
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
        rules_tell(rules, "\"%s\" is not a VIP of this file%s", name, near);
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
    rules_tell(rules, "\"%s\" is neither a pool nor a VIP of this file%s", name, near);
}

static void check_vips(struct rules *rules)
{
    const struct config *config = rules->config;
    check_twice(rules, "vips", config->vips, sizeof(*config->vips), config->vip_count);
    for (size_t i = 0; i < config->vip_count; i++) {
        rules_at(rules, "vips[%zu].source-ipv4", i);
        bool has_ipv4 = config_source_has(rules->source, rules->path);
        rules_at(rules, "vips[%zu].source-ipv6", i);
        bool has_ipv6 = config_source_has(rules->source, rules->path);
        rules_at(rules, "vips[%zu]", i);
        if (!has_ipv4 && !has_ipv6) {
            rules_tell(rules, "has no address; expected source-ipv4, source-ipv6 or both");
        }
    }
}

static void check_pools(struct rules *rules)
{
    const struct config *config = rules->config;
    check_twice(rules, "pools", config->pools, sizeof(*config->pools), config->pool_count);
    for (size_t i = 0; i < config->pool_count; i++) {
        const struct config_pool *pool = &config->pools[i];
        rules_at(rules, "pools[%zu].name", i);
        if (pool->name != NULL && config_vip_named(config, slice_cstr(pool->name)) != NULL) {
            rules_tell(rules, "\"%s\" is also the name of a VIP; expected a name of its own",
                       pool->name);
        }
        for (size_t j = 0; j < pool->member_count; j++) {
            rules_at(rules, "pools[%zu].members[%zu].vip", i, j);
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
        rules_at(rules, "sites[%zu]%s", i, site->match_count > 0 ? ".match" : ".name");
        if (is_default && i + 1 < config->site_count) {
            rules_tell(rules,
                       "\"default\" takes every site that nothing before it matches; expected it "
                       "as the last one");
        } else if (is_default && site->match_count > 0) {
            rules_tell(rules,
                       "stands in the site \"default\", which matches everything; take it out");
        } else if (!is_default && site->name != NULL && site->match_count == 0 &&
                   !problems_in(rules->problems, "sites")) {
            rules_tell(rules, "\"%s\" has no key \"match\", so it would never be used", site->name);
        }
        rules_at(rules, "sites[%zu].tls-verify", i);
        if (site->tls == CONFIG_TLS_NEVER && site->tls_verify) {
            rules_tell(
                rules,
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
        rules_tell(rules, "\"%s\" is no entry of sites, site name, domain or \"*.suffix\"%s", site,
                   near);
    }
}

static void check_limits(struct rules *rules)
{
    const struct config *config = rules->config;
    for (size_t i = 0; i < config->limit_entry_count; i++) {
        const struct config_limit_entry *entry = &config->limit_entries[i];
        rules_at(rules, "limits[%zu].site", i);
        if (entry->site != NULL && !problems_in(rules->problems, "sites")) {
            check_limited_site(rules, entry->site);
        }
        rules_at(rules, "limits[%zu].vip", i);
        if (entry->vip != NULL && strcmp(entry->vip, "each") != 0) {
            need_vip(rules, entry->vip);
        }
        rules_at(rules, "limits[%zu].pool", i);
        if (entry->pool != NULL && strcmp(entry->pool, "each") != 0 && rules->pools_clean &&
            config_pool_named(config, slice_cstr(entry->pool)) == NULL) {
            rules_tell(rules, "\"%s\" is not a pool of this file", entry->pool);
        }
        rules_at(rules, "limits[%zu].stream", i);
        if (entry->stream != NULL && strcmp(entry->stream, "each") != 0 && rules->streams_clean &&
            config_stream_named(config, slice_cstr(entry->stream)) == NULL) {
            rules_tell(rules, "\"%s\" is not a stream of this file", entry->stream);
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
            rules_at(rules, "tenants[%zu].pools[%zu]", i, j);
            need_pool_or_vip(rules, tenant->pools[j]);
        }
        if (tenant->default_pool != NULL && tenant->name != NULL) {
            rules_at(rules, "tenants[%zu].default-pool", i);
            need_pool_or_vip(rules, tenant->default_pool);
            if (!config_tenant_may_use(config, slice_cstr(tenant->name),
                                       slice_cstr(tenant->default_pool))) {
                rules_tell(rules, "\"%s\" is not among the tenant's pools", tenant->default_pool);
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
        rules_at(rules, "streams[%zu].name", i);
        if (stream->name != NULL && config->kafka.prefix != NULL &&
            strlen(config->kafka.prefix) + strlen("q.") + strlen(stream->name) > TOPIC_NAME_MAX) {
            rules_tell(rules, "makes a topic name of more than %d bytes", TOPIC_NAME_MAX);
        }
        rules_at(rules, "streams[%zu].pool", i);
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
        rules_at(rules, "suppression[%zu].hard-reach", i);
        if (policy->hard_reach == CONFIG_REACH_LIST) {
            rules_tell(rules,
                       "is list, but a bounce is about the address; expected tenant or global");
        }
    }
}

static void check_worker(struct rules *rules)
{
    const struct config_worker *worker = &rules->config->worker;
    for (size_t i = 0; i < worker->vip_count; i++) {
        rules_at(rules, "worker.vips[%zu]", i);
        need_vip(rules, worker->vips[i]);
    }
}

void rules_check_names(struct rules *rules)
{
    check_vips(rules);
    check_pools(rules);
    check_sites(rules);
    check_limits(rules);
    check_tenants(rules);
    check_streams(rules);
    check_suppression(rules);
    check_worker(rules);
}
