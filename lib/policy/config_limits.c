#include "policy/config_limits_private.h"

#include "base/map.h"
#include "base/mem.h"
#include "policy/limits.h"

#include <stdlib.h>

#define EACH "each"

struct builder {
    struct config *config;
    const struct config_source *source;
    struct problems *problems;
    size_t room;
    size_t fallback; /* index of the default entry of `sites` */
    bool reserves;   /* there is transactional mail to keep connections for */
};

static struct config_limit *add(struct builder *builder, const struct config_limit *like,
                                enum config_limit_kind kind, uint64_t amount, int64_t interval_ms)
{
    struct config *config = builder->config;
    if (config->limit_count == builder->room) {
        builder->room = builder->room == 0 ? 64 : 2 * builder->room;
        config->limits = mem_realloc(config->limits, builder->room * sizeof(*config->limits));
    }
    struct config_limit *limit = &config->limits[config->limit_count++];
    *limit = *like;
    limit->kind = kind;
    limit->amount = amount;
    limit->interval_ms = amount == 0 ? 0 : interval_ms;
    if (kind != CONFIG_LIMIT_RECIPIENTS) {
        limit->burst = 0;
    }
    return limit;
}

/* ---- what is kept for transactional mail ---- */

/* Of `maximum`, which stands at `key` of the entry at `path`. */
static uint64_t reserve(struct builder *builder, const char *path, const char *key,
                        uint32_t reserved, uint64_t maximum)
{
    char own[96];
    char from[96];
    uint64_t kept = config_part_of(reserved, maximum);
    (void)snprintf(own, sizeof(own), "%s.reserved-connections", path);
    if (kept >= maximum) {
        bool here = config_source_has(builder->source, own);
        (void)snprintf(from, sizeof(from), "%s.%s", path, key);
        problems_add(builder->problems, config_source_line(builder->source, here ? own : from),
                     here ? own : from,
                     "%llu of %llu connections (%s) are reserved, which leaves none for bulk mail; "
                     "expected fewer, or a percentage",
                     (unsigned long long)kept, (unsigned long long)maximum, key);
        return 0;
    }
    return builder->reserves ? kept : 0;
}

static uint64_t reserve_of_site(struct builder *builder, size_t site, const char *key,
                                uint64_t maximum)
{
    char path[32];
    (void)snprintf(path, sizeof(path), "sites[%zu]", site);
    return reserve(builder, path, key, builder->config->sites[site].reserved_connections, maximum);
}

/* ---- sites ---- */

/* The file's own line, or that of the default entry it comes from. */
static void place(const struct builder *builder, struct config_limit *limit, size_t site,
                  const char *key)
{
    const size_t from[] = {site, builder->fallback};
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        (void)snprintf(limit->key, sizeof(limit->key), "sites[%zu].%s", from[i], key);
        if (config_source_has(builder->source, limit->key)) {
            limit->line = config_source_line(builder->source, limit->key);
            return;
        }
    }
}

static void add_of_site(struct builder *builder, size_t site, const char *key,
                        enum config_limit_kind kind, bool of_vip, struct config_rate value)
{
    const struct config_site *entry = &builder->config->sites[site];
    struct config_limit like = {.entry = entry, .of_sites = true};
    bool fallback = site == builder->fallback;
    if (value.amount == 0) {
        return;
    }
    like.scopes[CONFIG_SCOPE_SITE] = (struct config_scope){
        fallback ? CONFIG_SCOPE_EACH : CONFIG_SCOPE_ONE, fallback ? NULL : entry->name};
    if (of_vip) {
        like.scopes[CONFIG_SCOPE_VIP].how = CONFIG_SCOPE_EACH;
        like.level = CONFIG_LEVEL_VIP;
    }
    if (kind == CONFIG_LIMIT_CONNECTIONS) {
        like.reserved = reserve_of_site(builder, site, key, value.amount);
    }
    place(builder, add(builder, &like, kind, value.amount, value.interval_ms), site, key);
}

static void add_site(struct builder *builder, size_t i)
{
    struct config_site *site = &builder->config->sites[i];
    const struct {
        const char *key;
        enum config_limit_kind kind;
        bool of_vip;
        struct config_rate value;
    } all[] = {
        {"max-smtp-out", CONFIG_LIMIT_CONNECTIONS, false, {site->max_smtp_out, 0}},
        {"max-connect-rate", CONFIG_LIMIT_CONNECTS, false, site->max_connect_rate},
        {"max-msg-rate", CONFIG_LIMIT_RECIPIENTS, false, site->max_msg_rate},
        {"max-msg-per-day", CONFIG_LIMIT_DAILY, false, {site->max_msg_per_day, 0}},
        {"max-data-volume-rate", CONFIG_LIMIT_BYTES, false, site->max_data_volume_rate},
        {"source-ip-max-smtp-out",
         CONFIG_LIMIT_CONNECTIONS,
         true,
         {site->source_ip_max_smtp_out, 0}},
        {"source-ip-max-connect-rate", CONFIG_LIMIT_CONNECTS, true,
         site->source_ip_max_connect_rate},
        {"source-ip-max-msg-rate", CONFIG_LIMIT_RECIPIENTS, true, site->source_ip_max_msg_rate},
        {"source-ip-max-msg-per-day",
         CONFIG_LIMIT_DAILY,
         true,
         {site->source_ip_max_msg_per_day, 0}},
        {"source-ip-max-data-volume-rate", CONFIG_LIMIT_BYTES, true,
         site->source_ip_max_data_volume_rate},
        {"max-msg-per-connection",
         CONFIG_LIMIT_PER_CONNECTION,
         false,
         {site->max_msg_per_connection, 0}},
        {"max-rcpt-per-transaction",
         CONFIG_LIMIT_PER_TRANSACTION,
         false,
         {site->max_rcpt_per_transaction, 0}},
    };
    for (size_t k = 0; k < ARRAY_LEN(all); k++) {
        add_of_site(builder, i, all[k].key, all[k].kind, all[k].of_vip, all[k].value);
    }
    site->reserved_per_lane = (uint32_t)reserve_of_site(builder, i, "max-connections-per-lane",
                                                        site->max_connections_per_lane);
}

/* ---- limits ---- */

static void tell(struct builder *builder, size_t entry, const char *key, const char *text)
{
    char path[96];
    (void)snprintf(path, sizeof(path), "limits[%zu]%s%s", entry, key[0] == '\0' ? "" : ".", key);
    problems_add(builder->problems, config_source_line(builder->source, path), path, "%s", text);
}

static struct config_scope scope_of(const char *word)
{
    if (word == NULL) {
        return (struct config_scope){CONFIG_SCOPE_ANY, NULL};
    }
    if (strcmp(word, EACH) == 0) {
        return (struct config_scope){CONFIG_SCOPE_EACH, NULL};
    }
    return (struct config_scope){CONFIG_SCOPE_ONE, word};
}

static const struct config_site *entry_named(const struct config *config, const char *name)
{
    for (size_t i = 0; name != NULL && i < config->site_count; i++) {
        if (config->sites[i].name != NULL && strcmp(config->sites[i].name, name) == 0) {
            return &config->sites[i];
        }
    }
    return NULL;
}

/* Scopes, level and flags of all limits of an entry. */
static struct config_limit scopes_of(const struct builder *builder,
                                     const struct config_limit_entry *entry)
{
    struct config_limit like = {
        .scopes = {[CONFIG_SCOPE_SITE] = scope_of(entry->site),
                   [CONFIG_SCOPE_VIP] = scope_of(entry->vip),
                   [CONFIG_SCOPE_POOL] = scope_of(entry->pool),
                   [CONFIG_SCOPE_TENANT] = scope_of(entry->tenant),
                   [CONFIG_SCOPE_CAMPAIGN] = scope_of(entry->campaign),
                   [CONFIG_SCOPE_STREAM] = scope_of(entry->stream)},
        .entry = entry_named(builder->config, entry->site),
        .burst = entry->burst,
        .overrides = entry->overrides,
    };
    if (like.entry == &builder->config->sites[builder->fallback]) {
        like.scopes[CONFIG_SCOPE_SITE] = (struct config_scope){CONFIG_SCOPE_EACH, NULL};
    }
    if (entry->campaign != NULL && entry->tenant == NULL) {
        like.scopes[CONFIG_SCOPE_TENANT].how = CONFIG_SCOPE_EACH; /* a campaign is a tenant's */
    }
    bool of_mail = entry->tenant != NULL || entry->campaign != NULL || entry->stream != NULL;
    like.level = of_mail              ? CONFIG_LEVEL_MAIL
                 : entry->vip != NULL ? CONFIG_LEVEL_VIP
                                      : CONFIG_LEVEL_LANE;
    return like;
}

/* Adds a limit of the entry if the file has it. */
static void add_of_entry(struct builder *builder, size_t i, const char *key, size_t at,
                         const struct config_limit *like, enum config_limit_kind kind,
                         struct config_rate value)
{
    char path[96];
    (void)snprintf(path, sizeof(path), "limits[%zu].%s", i, key);
    if (!config_source_has(builder->source, path) || problems_in(builder->problems, path)) {
        return;
    }
    if (value.amount == 0 && !like->overrides) {
        tell(builder, i, key, "is unlimited, which lifts nothing without \"override: true\"");
        return;
    }
    if (like->level == CONFIG_LEVEL_MAIL &&
        (kind == CONFIG_LIMIT_CONNECTS || kind == CONFIG_LIMIT_PER_CONNECTION)) {
        tell(builder, i, key,
             "counts connections, which carry mail of many tenants; expected it without tenant, "
             "campaign and stream");
        return;
    }
    struct config_limit *limit = add(builder, like, kind, value.amount, value.interval_ms);
    if (kind == CONFIG_LIMIT_CONNECTIONS && like->level != CONFIG_LEVEL_MAIL && value.amount > 0) {
        char entry[32];
        (void)snprintf(entry, sizeof(entry), "limits[%zu]", i);
        limit->reserved =
            reserve(builder, entry, key, builder->config->limit_entries[i].reserved_connections,
                    value.amount);
    }
    if (at > 0) {
        (void)snprintf(path, sizeof(path), "limits[%zu].%s[%zu]", i, key, at);
    }
    limit->line = config_source_line(builder->source, path);
    (void)snprintf(limit->key, sizeof(limit->key), "%s", path);
}

static void add_rates(struct builder *builder, size_t i, const char *key,
                      const struct config_limit *like, enum config_limit_kind kind,
                      const struct config_rate *rates, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        add_of_entry(builder, i, key, k, like, kind, rates[k]);
    }
}

static void check_entry(struct builder *builder, size_t i, const struct config_limit *like,
                        bool empty)
{
    const struct config_limit_entry *entry = &builder->config->limit_entries[i];
    bool names = entry->max_msg_rate_count > 0;
    bool one = false;
    for (enum config_scope_of k = 0; k < CONFIG_SCOPES; k++) {
        one = one || like->scopes[k].how == CONFIG_SCOPE_ONE;
    }
    one = one || like->entry != NULL;
    if (empty && !problems_in(builder->problems, "limits")) {
        tell(builder, i, "",
             "sets no limit; expected one of max-smtp-out, max-msg-rate, max-msg-per-day, "
             "max-connect-rate, max-data-volume-rate, max-msg-per-connection, "
             "max-rcpt-per-transaction");
    }
    if (entry->vip != NULL && like->level == CONFIG_LEVEL_MAIL) {
        tell(builder, i, "vip",
             "cannot stand beside tenant, campaign or stream; expected pool instead (a pool may "
             "have a single VIP)");
    }
    char reserved[64];
    (void)snprintf(reserved, sizeof(reserved), "limits[%zu].reserved-connections", i);
    if (config_source_has(builder->source, reserved) &&
        (entry->max_smtp_out == 0 || like->level == CONFIG_LEVEL_MAIL)) {
        tell(builder, i, "reserved-connections",
             "is about max-smtp-out of a site, VIP or pool, which is not there");
    }
    if (entry->burst > 0 && !names) {
        tell(builder, i, "burst", "is about max-msg-rate, which is not there");
    }
    if (entry->overrides && !one) {
        tell(builder, i, "override",
             "is true, but nothing is named, so the limit is not more specific than any other");
    }
}

static void add_entry(struct builder *builder, size_t i)
{
    const struct config_limit_entry *entry = &builder->config->limit_entries[i];
    const struct config_limit like = scopes_of(builder, entry);
    size_t before = builder->config->limit_count;
    const struct {
        const char *key;
        enum config_limit_kind kind;
        uint64_t amount;
    } counts[] = {
        {"max-smtp-out", CONFIG_LIMIT_CONNECTIONS, entry->max_smtp_out},
        {"max-msg-per-day", CONFIG_LIMIT_DAILY, entry->max_msg_per_day},
        {"max-msg-per-connection", CONFIG_LIMIT_PER_CONNECTION, entry->max_msg_per_connection},
        {"max-rcpt-per-transaction", CONFIG_LIMIT_PER_TRANSACTION, entry->max_rcpt_per_transaction},
    };
    for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
        add_of_entry(builder, i, counts[k].key, 0, &like, counts[k].kind,
                     (struct config_rate){counts[k].amount, 0});
    }
    add_rates(builder, i, "max-msg-rate", &like, CONFIG_LIMIT_RECIPIENTS, entry->max_msg_rates,
              entry->max_msg_rate_count);
    add_rates(builder, i, "max-connect-rate", &like, CONFIG_LIMIT_CONNECTS,
              entry->max_connect_rates, entry->max_connect_rate_count);
    add_rates(builder, i, "max-data-volume-rate", &like, CONFIG_LIMIT_BYTES,
              entry->max_data_volume_rates, entry->max_data_volume_rate_count);
    check_entry(builder, i, &like, builder->config->limit_count == before);
}

/* ---- all of them ---- */

static void check_twice(struct builder *builder, size_t from)
{
    struct config *config = builder->config;
    struct map seen;
    map_init(&seen);
    char **texts = mem_calloc(config->limit_count - from + 1, sizeof(*texts));
    for (size_t i = from; i < config->limit_count; i++) {
        const struct config_limit *limit = &config->limits[i];
        struct strbuf text;
        strbuf_init(&text, 8192);
        config_limit_show_scopes(limit, &text);
        (void)strbuf_addf(&text, " %d %lld", (int)limit->kind, (long long)limit->interval_ms);
        struct slice key = strbuf_slice(&text);
        const struct config_limit *first = map_get(&seen, key);
        if (first != NULL) {
            problems_add(builder->problems, limit->line, limit->key,
                         "the same is limited already in line %u; expected it once", first->line);
        } else {
            texts[i - from] = mem_strndup(key.ptr, key.len);
            map_put(&seen, slice_of(texts[i - from], key.len), &config->limits[i]);
        }
        strbuf_free(&text);
    }
    map_free(&seen);
    for (size_t i = from; i < config->limit_count; i++) {
        mem_free(texts[i - from]);
    }
    mem_free(texts);
}

/* 0: lanes and VIPs; 1: mail; 2: mail of one tenant. */
static int group_of(const struct config_limit *limit)
{
    if (limit->level != CONFIG_LEVEL_MAIL) {
        return 0;
    }
    return limit->scopes[CONFIG_SCOPE_TENANT].how == CONFIG_SCOPE_ONE ? 2 : 1;
}

static int compare(const void *a, const void *b)
{
    const struct config_limit *x = a;
    const struct config_limit *y = b;
    int order = group_of(x) - group_of(y);
    if (order == 0 && group_of(x) == 2) {
        order = strcmp(x->scopes[CONFIG_SCOPE_TENANT].name, y->scopes[CONFIG_SCOPE_TENANT].name);
    }
    if (order == 0) {
        order = x->order < y->order ? -1 : 1;
    }
    return order;
}

static void sort(struct config *config)
{
    for (size_t i = 0; i < config->limit_count; i++) {
        config->limits[i].order = i;
    }
    if (config->limit_count > 0) {
        qsort(config->limits, config->limit_count, sizeof(*config->limits), compare);
    }
    for (size_t i = 0; i < config->limit_count; i++) {
        config->mail_limits += group_of(&config->limits[i]) < 1 ? 1 : 0;
        config->named_limits += group_of(&config->limits[i]) < 2 ? 1 : 0;
    }
}

void config_limits_build(struct config *config, const struct config_source *source,
                         struct problems *problems)
{
    struct builder builder = {.config = config, .source = source, .problems = problems};
    if (config->site_count == 0 || problems_in(problems, "sites")) {
        return;
    }
    builder.fallback = config->site_count - 1;
    for (size_t i = 0; i < config->stream_count; i++) {
        builder.reserves =
            builder.reserves || config->streams[i].class_ == CONFIG_CLASS_TRANSACTIONAL;
    }
    for (size_t i = 0; i < config->site_count; i++) {
        add_site(&builder, i);
    }
    size_t of_sites = config->limit_count;
    for (size_t i = 0; i < config->limit_entry_count; i++) {
        add_entry(&builder, i);
    }
    check_twice(&builder, of_sites);
    sort(config);
}

void config_limits_drop(struct config *config)
{
    mem_free(config->limits);
    config->limits = NULL;
    config->limit_count = 0;
}
