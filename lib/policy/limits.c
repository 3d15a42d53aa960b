#include "policy/limits.h"

#include "base/hash.h"
#include "base/mem.h"
#include "policy/config_limits_private.h"

/* A value that is longer when written stands as its hash. */
#define NAME_VALUE_MAX 120
/* So many connections are worth keeping one of. */
#define PART_OF_FOUR 4

/* ---- what applies ---- */

static struct slice value_of(const struct config_subject *subject, enum config_scope_of scope)
{
    switch (scope) {
    case CONFIG_SCOPE_SITE: return subject->site;
    case CONFIG_SCOPE_VIP: return subject->vip;
    case CONFIG_SCOPE_POOL: return subject->pool;
    case CONFIG_SCOPE_TENANT: return subject->tenant;
    case CONFIG_SCOPE_CAMPAIGN: return subject->campaign;
    case CONFIG_SCOPE_STREAM: return subject->stream;
    case CONFIG_SCOPES: break;
    }
    return SLICE_NULL;
}

static bool site_applies(const struct config_limit *limit, const struct config_subject *subject)
{
    const struct config_scope *scope = &limit->scopes[CONFIG_SCOPE_SITE];
    if (limit->entry != NULL) {
        return subject->entry == limit->entry;
    }
    return scope->how != CONFIG_SCOPE_ONE ||
           config_site_pattern(scope->name, subject->site, subject->mx_host, subject->domain);
}

static bool applies(const struct config_limit *limit, const struct config_subject *subject)
{
    for (enum config_scope_of i = 0; i < CONFIG_SCOPES; i++) {
        const struct config_scope *scope = &limit->scopes[i];
        struct slice value = value_of(subject, i);
        if (scope->how == CONFIG_SCOPE_ANY) {
            continue;
        }
        if (i == CONFIG_SCOPE_SITE           ? !site_applies(limit, subject)
            : scope->how == CONFIG_SCOPE_ONE ? !slice_eq(value, slice_cstr(scope->name))
                                             : value.len == 0) {
            return false;
        }
    }
    return true;
}

/* ---- which of them bind ---- */

/* How narrow a scope is. Of sites: the default entry, each, an entry, what `limits` says of an
 * entry, a suffix, a name. */
static size_t narrowness(const struct config_limit *limit, enum config_scope_of i)
{
    const struct config_scope *scope = &limit->scopes[i];
    if (scope->how == CONFIG_SCOPE_ANY) {
        return 0;
    }
    if (i != CONFIG_SCOPE_SITE) {
        return scope->how == CONFIG_SCOPE_EACH ? 1 : 2;
    }
    if (limit->entry != NULL) {
        return (scope->how == CONFIG_SCOPE_EACH ? 1U : 3U) + (limit->of_sites ? 0U : 1U);
    }
    if (scope->how == CONFIG_SCOPE_EACH) {
        return 2;
    }
    return scope->name[0] == '*' ? 5 + strlen(scope->name) : 1000;
}

static bool same_scopes(const struct config_limit *a, const struct config_limit *b)
{
    for (enum config_scope_of i = 0; i < CONFIG_SCOPES; i++) {
        if ((a->scopes[i].how == CONFIG_SCOPE_ANY) != (b->scopes[i].how == CONFIG_SCOPE_ANY)) {
            return false;
        }
    }
    return true;
}

static bool overrides(const struct config_limit *a, const struct config_limit *b)
{
    bool narrower = false;
    if (!a->overrides || a->kind != b->kind || !same_scopes(a, b)) {
        return false;
    }
    for (enum config_scope_of i = 0; i < CONFIG_SCOPES; i++) {
        if (narrowness(a, i) < narrowness(b, i)) {
            return false;
        }
        narrower = narrower || narrowness(a, i) > narrowness(b, i);
    }
    return narrower;
}

/* Do both count the same for a subject to which both apply? */
static bool same_count(const struct config_limit *a, const struct config_limit *b)
{
    if (a->kind != b->kind || a->interval_ms != b->interval_ms) {
        return false;
    }
    if (a->kind == CONFIG_LIMIT_PER_CONNECTION || a->kind == CONFIG_LIMIT_PER_TRANSACTION) {
        return true; /* the least of all holds */
    }
    const struct config_scope *x = &a->scopes[CONFIG_SCOPE_SITE];
    const struct config_scope *y = &b->scopes[CONFIG_SCOPE_SITE];
    return same_scopes(a, b) && x->how == y->how &&
           (x->how != CONFIG_SCOPE_ONE || strcmp(x->name, y->name) == 0);
}

static void settle(struct config_binding *bindings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            if (i != j && overrides(bindings[i].limit, bindings[j].limit)) {
                bindings[j].by = bindings[i].limit;
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct config_limit *one = bindings[i].limit;
        for (size_t j = 0; j < count && bindings[i].by == NULL; j++) {
            const struct config_limit *other = bindings[j].limit;
            bool tighter = other->amount < one->amount || (other->amount == one->amount && j < i);
            if (i != j && bindings[j].by == NULL && other->amount > 0 && tighter &&
                same_count(one, other)) {
                bindings[i].by = other;
            }
        }
    }
}

struct matches {
    struct config_binding *items;
    size_t count, room;
};

static void match_range(struct matches *matches, const struct config *config, size_t from,
                        size_t to, const struct config_subject *subject,
                        enum config_limit_level level)
{
    for (size_t i = from; i < to; i++) {
        const struct config_limit *limit = &config->limits[i];
        if (limit->level != level || !applies(limit, subject)) {
            continue;
        }
        if (matches->count == matches->room) {
            matches->room = matches->room == 0 ? 16 : 2 * matches->room;
            matches->items = mem_realloc(matches->items, matches->room * sizeof(*matches->items));
        }
        matches->items[matches->count++] = (struct config_binding){limit, NULL};
    }
}

static int compare_tenant(const struct config_limit *limit, struct slice tenant)
{
    struct slice name = slice_cstr(limit->scopes[CONFIG_SCOPE_TENANT].name);
    size_t len = name.len < tenant.len ? name.len : tenant.len;
    int order = len == 0 ? 0 : memcmp(name.ptr, tenant.ptr, len);
    return order != 0 ? order : name.len < tenant.len ? -1 : name.len > tenant.len;
}

/* Where the limits of that very tenant begin; `after`: where they end. */
static size_t find_tenant(const struct config *config, struct slice tenant, bool after)
{
    size_t low = config->named_limits;
    size_t high = config->limit_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_tenant(&config->limits[middle], tenant);
        if (order < 0 || (after && order == 0)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct config_binding *config_limits_for(const struct config *config,
                                         const struct config_subject *subject,
                                         enum config_limit_level level, size_t *count)
{
    struct matches matches = {0};
    if (level != CONFIG_LEVEL_MAIL) {
        match_range(&matches, config, 0, config->mail_limits, subject, level);
    } else {
        match_range(&matches, config, config->mail_limits, config->named_limits, subject, level);
        match_range(&matches, config, find_tenant(config, subject->tenant, false),
                    find_tenant(config, subject->tenant, true), subject, level);
    }
    settle(matches.items, matches.count);
    *count = matches.count;
    return matches.items;
}

uint64_t config_part_of(uint32_t reserved, uint64_t maximum)
{
    if ((reserved & CONFIG_PERCENT) == 0) {
        return reserved;
    }
    uint64_t part = maximum * (reserved & ~CONFIG_PERCENT) / 100;
    return part == 0 && reserved != CONFIG_PERCENT && maximum >= PART_OF_FOUR ? 1 : part;
}

bool config_has_limits(const struct config *config, enum config_limit_level level)
{
    for (size_t i = 0; i < config->limit_count; i++) {
        if (config->limits[i].level == level) {
            return true;
        }
    }
    return false;
}

bool config_shares_limits(const struct config *config)
{
    for (size_t i = 0; i < config->limit_count; i++) {
        if (config->limits[i].kind < CONFIG_LIMIT_PER_CONNECTION && config->limits[i].amount > 0) {
            return true;
        }
    }
    return false;
}

/* ---- in words ---- */

static const char *const scope_words[] = {
    [CONFIG_SCOPE_SITE] = "site",         [CONFIG_SCOPE_VIP] = "vip",
    [CONFIG_SCOPE_POOL] = "pool",         [CONFIG_SCOPE_TENANT] = "tenant",
    [CONFIG_SCOPE_CAMPAIGN] = "campaign", [CONFIG_SCOPE_STREAM] = "stream",
};

static const char *const kind_keys[] = {
    [CONFIG_LIMIT_CONNECTIONS] = "max-smtp-out",
    [CONFIG_LIMIT_CONNECTS] = "max-connect-rate",
    [CONFIG_LIMIT_RECIPIENTS] = "max-msg-rate",
    [CONFIG_LIMIT_DAILY] = "max-msg-per-day",
    [CONFIG_LIMIT_BYTES] = "max-data-volume-rate",
    [CONFIG_LIMIT_PER_CONNECTION] = "max-msg-per-connection",
    [CONFIG_LIMIT_PER_TRANSACTION] = "max-rcpt-per-transaction",
};

static const char *const kind_names[] = {
    [CONFIG_LIMIT_CONNECTIONS] = "conn",     [CONFIG_LIMIT_CONNECTS] = "connect",
    [CONFIG_LIMIT_RECIPIENTS] = "msg",       [CONFIG_LIMIT_DAILY] = "day",
    [CONFIG_LIMIT_BYTES] = "bytes",          [CONFIG_LIMIT_PER_CONNECTION] = "per-connection",
    [CONFIG_LIMIT_PER_TRANSACTION] = "rcpt",
};

/* ':' and '%' and what is not printable as %XX; what is too long as its hash. */
static void add_value(struct strbuf *out, struct slice value)
{
    size_t before = out->len;
    for (size_t i = 0; i < value.len && out->len - before <= NAME_VALUE_MAX; i++) {
        unsigned char byte = (unsigned char)value.ptr[i];
        if (byte <= 0x20 || byte == 0x7f || byte == ':' || byte == '%' || byte == '~') {
            (void)strbuf_addf(out, "%%%02X", byte);
        } else {
            (void)strbuf_add_byte(out, (char)byte);
        }
    }
    if (out->len - before > NAME_VALUE_MAX) {
        out->len = before;
        (void)strbuf_addf(out, "~%016llx", (unsigned long long)hash_stable(value));
    }
}

void config_limit_name(const struct config_limit *limit, const struct config_subject *subject,
                       struct strbuf *out)
{
    size_t before = out->len;
    for (enum config_scope_of i = 0; i < CONFIG_SCOPES; i++) {
        const struct config_scope *scope = &limit->scopes[i];
        if (scope->how == CONFIG_SCOPE_ANY) {
            continue;
        }
        bool group = i == CONFIG_SCOPE_SITE && scope->how == CONFIG_SCOPE_ONE;
        (void)strbuf_addf(out, "%s%s:", scope_words[i], group ? "s" : "");
        add_value(out, group ? slice_cstr(scope->name) : value_of(subject, i));
        (void)strbuf_add_byte(out, ':');
    }
    (void)strbuf_addf(out, "%s%s", out->len == before ? "all:" : "", kind_names[limit->kind]);
    if (limit->interval_ms > 0) {
        (void)strbuf_addf(out, "/%lld", (long long)limit->interval_ms);
    }
}

static void show_interval(struct strbuf *out, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (ms % units[i].ms != 0) {
        i++;
    }
    if (ms == units[i].ms) {
        (void)strbuf_addf(out, "/%s", units[i].unit);
    } else {
        (void)strbuf_addf(out, "/%lld%s", (long long)(ms / units[i].ms), units[i].unit);
    }
}

static void show_bytes(struct strbuf *out, uint64_t bytes)
{
    static const char units[] = "KMGT";
    size_t unit = 0;
    while (bytes % 1024 == 0 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    (void)strbuf_addf(out, "%llu%.*s", (unsigned long long)bytes, unit > 0 ? 1 : 0,
                      unit > 0 ? &units[unit - 1] : "");
}

void config_limit_show(const struct config_limit *limit, struct strbuf *out)
{
    (void)strbuf_addf(out, "%s ", kind_keys[limit->kind]);
    if (limit->amount == 0) {
        (void)strbuf_add_cstr(out, "unlimited");
        return;
    }
    if (limit->kind == CONFIG_LIMIT_BYTES) {
        show_bytes(out, limit->amount);
    } else {
        (void)strbuf_addf(out, "%llu", (unsigned long long)limit->amount);
    }
    if (limit->interval_ms > 0) {
        show_interval(out, limit->interval_ms);
    }
    if (limit->reserved > 0) {
        (void)strbuf_addf(out, " reserved %llu", (unsigned long long)limit->reserved);
    }
    if (limit->burst > 0) {
        (void)strbuf_addf(out, " burst %llu", (unsigned long long)limit->burst);
    }
}

void config_limit_show_scopes(const struct config_limit *limit, struct strbuf *out)
{
    size_t before = out->len;
    for (enum config_scope_of i = 0; i < CONFIG_SCOPES; i++) {
        const struct config_scope *scope = &limit->scopes[i];
        const char *joint = out->len == before ? "" : ", ";
        if (scope->how == CONFIG_SCOPE_EACH) {
            (void)strbuf_addf(out, "%seach %s", joint, scope_words[i]);
        } else if (scope->how == CONFIG_SCOPE_ONE) {
            (void)strbuf_addf(out, "%s%s %s", joint, scope_words[i], scope->name);
        }
    }
    if (out->len == before) {
        (void)strbuf_add_cstr(out, "all mail");
    }
}
