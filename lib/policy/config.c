#include "policy/config.h"

#include "base/mem.h"
#include "policy/config_limits_private.h"
#include "policy/config_normal_private.h"
#include "policy/config_rules_private.h"
#include "policy/config_tree_private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)4 << 20)
#define NORMAL_MAX_BYTES ((size_t)64 << 20)
#define FACTS_KEEP_MS (90 * INT64_C(86400000))

/* "dir/" of "dir/file", "" when there is none. Freed by mem_free. */
static char *folder_of(const char *path)
{
    ptrdiff_t slash = slice_rfind_byte(slice_cstr(path), '/');
    return mem_strndup(path, slash < 0 ? 0 : (size_t)slash + 1);
}

static bool read_file(const char *path, struct strbuf *out, struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fault_set_errno(fault, errno, "cannot be opened");
    }
    bool good = strbuf_add_file(out, fd);
    if (!good && out->overflow) {
        (void)fault_set(fault, FAULT_LIMIT, 0, "is larger than %zu bytes", out->max);
    } else if (!good) {
        (void)fault_set_errno(fault, errno, "cannot be read");
    }
    (void)close(fd);
    return good;
}

/* Defaults that hang on other keys. */
static void complete(struct config *config, const struct config_source *source)
{
    struct config_producer *producer = &config->producer;
    if (!config_source_has(source, "producer.auth-required")) {
        producer->auth_required = producer->users_file != NULL;
    }
    for (size_t i = 0; i < config->stream_count; i++) {
        struct config_stream *stream = &config->streams[i];
        char key[64];
        (void)snprintf(key, sizeof(key), "streams[%zu].on-uncertain", i);
        if (!config_source_has(source, key) && stream->duplicates == CONFIG_DUPLICATES_NEVER) {
            stream->on_uncertain = CONFIG_UNCERTAIN_HOLD;
        }
    }
}

/* The configuration, or NULL when there are problems; sorted. */
static struct config *build(const char *path, struct slice text, struct problems *problems)
{
    struct config *config = NULL;
    struct strbuf normal;
    struct fault fault;
    struct config_source *source = config_source_parse(text, problems);
    if (source == NULL) {
        return NULL;
    }
    char *folder = folder_of(path);
    strbuf_init(&normal, NORMAL_MAX_BYTES);
    config_normal_write(source, &config_schema, folder, problems, &normal);
    if (normal.overflow) {
        problems_add(problems, 0, "configuration", "is too large when all aliases are written out");
    } else {
        config = config_tree_load(strbuf_slice(&normal), &fault);
        if (config == NULL) {
            problems_add(problems, 0, "configuration", "%s", fault.text);
        } else {
            complete(config, source);
            config_limits_build(config, source, problems);
            config_rules_check(config, source, problems);
        }
    }
    if (normal.ptr != NULL) {
        explicit_bzero(normal.ptr, normal.capacity); /* secrets */
    }
    strbuf_free(&normal);
    mem_free(folder);
    config_source_free(&source);
    problems_sort(problems);
    if (problems->count > 0) {
        config_free(&config);
    }
    return config;
}

static struct config *load(const char *path, struct problems *problems)
{
    struct strbuf text;
    struct fault fault;
    struct config *config = NULL;
    strbuf_init(&text, FILE_MAX_BYTES);
    if (read_file(path, &text, &fault)) {
        config = build(path, strbuf_slice(&text), problems);
    } else {
        problems_add(problems, 0, "file", "%s", fault.text);
    }
    if (text.ptr != NULL) {
        explicit_bzero(text.ptr, text.capacity);
    }
    strbuf_free(&text);
    return config;
}

/* The first problem becomes the fault. */
static struct config *finish(const char *path, struct config *config, struct problems *problems,
                             struct fault *fault)
{
    if (config == NULL) {
        CHECK(problems->count > 0);
        const struct problem *first = &problems->items[0];
        if (first->line > 0) {
            (void)fault_set(fault, FAULT_INVALID, 0, "%s:%u: %s: %s", path, first->line, first->key,
                            first->text);
        } else {
            (void)fault_set(fault, FAULT_INVALID, 0, "%s: %s: %s", path, first->key, first->text);
        }
    }
    problems_free(problems);
    return config;
}

struct config *config_load(const char *path, struct fault *fault)
{
    struct problems problems = {0};
    struct config *config = load(path, &problems);
    return finish(path, config, &problems, fault);
}

struct config *config_load_text(const char *path, struct slice text, struct fault *fault)
{
    struct problems problems = {0};
    struct config *config = build(path, text, &problems);
    return finish(path, config, &problems, fault);
}

void config_free(struct config **config)
{
    if (*config != NULL) {
        config_limits_drop(*config);
    }
    config_tree_free(config);
}

size_t config_check(const char *path, config_report report, void *owner)
{
    struct problems problems = {0};
    struct config *config = load(path, &problems);
    size_t count = problems.count;
    for (size_t i = 0; i < count; i++) {
        report(owner, path, problems.items[i].line, problems.items[i].key, problems.items[i].text);
    }
    problems_free(&problems);
    config_free(&config);
    return count;
}

bool config_site_pattern(const char *pattern, struct slice site_name, struct slice mx_host,
                         struct slice domain)
{
    struct slice text = slice_cstr(pattern);
    if (slice_starts_with(text, SLICE("*."))) {
        struct slice suffix = slice_skip(text, 1); /* with its dot */
        return mx_host.len > suffix.len && slice_ends_with_nocase(mx_host, suffix);
    }
    return slice_eq_nocase(text, site_name) || slice_eq_nocase(text, domain);
}

const struct config_site *config_site_for(const struct config *config, struct slice site_name,
                                          struct slice mx_host, struct slice domain)
{
    CHECK(config->site_count > 0);
    for (size_t i = 0; i + 1 < config->site_count; i++) {
        const struct config_site *site = &config->sites[i];
        for (size_t j = 0; j < site->match_count; j++) {
            if (config_site_pattern(site->match[j], site_name, mx_host, domain)) {
                return site;
            }
        }
    }
    return &config->sites[config->site_count - 1];
}

#define DEFINE_NAMED(type, array, count)                                                           \
    const struct config_##type *config_##type##_named(const struct config *config,                 \
                                                      struct slice name)                           \
    {                                                                                              \
        for (size_t i = 0; i < config->count; i++) {                                               \
            if (slice_eq(slice_cstr(config->array[i].name), name)) {                               \
                return &config->array[i];                                                          \
            }                                                                                      \
        }                                                                                          \
        return NULL;                                                                               \
    }

DEFINE_NAMED(vip, vips, vip_count)
DEFINE_NAMED(pool, pools, pool_count)
DEFINE_NAMED(tenant, tenants, tenant_count)
DEFINE_NAMED(stream, streams, stream_count)

bool config_verp_domain(const struct config *config, struct slice domain)
{
    for (size_t i = 0; i < config->verp.domain_count; i++) {
        if (slice_eq_nocase(slice_cstr(config->verp.domains[i]), domain)) {
            return true;
        }
    }
    return false;
}

int64_t config_facts_keep_ms(const struct config *config, bool links)
{
    int64_t keep_ms = config->verp.facts_retention_ms;
    if (keep_ms == 0) {
        keep_ms = config->verp.max_age_ms > FACTS_KEEP_MS ? config->verp.max_age_ms : FACTS_KEEP_MS;
    }
    return links && config->unsubscribe.max_age_ms > keep_ms ? config->unsubscribe.max_age_ms
                                                             : keep_ms;
}

const struct config_suppression *config_suppression_for(const struct config *config,
                                                        struct slice tenant)
{
    const struct config_suppression *fallback = NULL;
    for (size_t i = 0; i < config->suppression_count; i++) {
        const struct config_suppression *policy = &config->suppression[i];
        if (tenant.len > 0 && slice_eq(slice_cstr(policy->name), tenant)) {
            return policy;
        }
        fallback = strcmp(policy->name, "default") == 0 ? policy : fallback;
    }
    CHECK(fallback != NULL);
    return fallback;
}

bool config_tenant_may_use(const struct config *config, struct slice tenant,
                           struct slice pool_or_vip)
{
    const struct config_tenant *known = config_tenant_named(config, tenant);
    if (known == NULL || known->pool_count == 0) {
        return true;
    }
    for (size_t i = 0; i < known->pool_count; i++) {
        if (slice_eq(slice_cstr(known->pools[i]), pool_or_vip)) {
            return true;
        }
    }
    return false;
}
