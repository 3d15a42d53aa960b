/*
 * What clients connect to, and what is made for them: the producer's and the bouncer's listeners,
 * signed return paths, links to unsubscribe, actions.
 */
#include "policy/config_rules_private.h"

#include "policy/config_value_private.h"

static void check_tls_files(struct rules *rules, const char *section, const char *certificate_file,
                            const char *key_file)
{
    if ((certificate_file == NULL) != (key_file == NULL)) {
        bool has_key = key_file != NULL;
        rules_at(rules, "%s.%s", section, has_key ? "tls-key-file" : "tls-certificate-file");
        rules_tell(rules, "stands alone; expected %s.%s with it", section,
                   has_key ? "tls-certificate-file" : "tls-key-file");
    }
}

/* The next problem is about that listener. */
static void check_implicit_tls(struct rules *rules, const char *section, size_t i,
                               const struct config_listener *listener, const char *tls_file)
{
    rules_at(rules, "%s.listeners[%zu]", section, i);
    if (listener->implicit_tls && tls_file == NULL) {
        rules_tell(rules, "has implicit-tls, but there is no %s.tls-certificate-file", section);
    }
}

static void check_listener(struct rules *rules, size_t i, bool *open_to_all)
{
    const struct config_producer *producer = &rules->config->producer;
    const struct config_listener *listener = &producer->listeners[i];
    struct slice host;
    uint16_t port;
    check_implicit_tls(rules, "producer", i, listener, producer->tls_certificate_file);
    if (listener->address == NULL ||
        !config_split_port(slice_cstr(listener->address), true, &host, &port)) {
        return;
    }
    if (config_is_loopback(host)) {
        *open_to_all = *open_to_all || !producer->auth_required;
        return;
    }
    if (producer->users_file == NULL) {
        rules_tell(
            rules,
            "%s is not a loopback address, so users must log in; expected producer.users-file",
            listener->address);
    } else if (producer->tls_certificate_file == NULL) {
        rules_tell(rules,
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
    check_tls_files(rules, "producer", producer->tls_certificate_file, producer->tls_key_file);
    for (size_t i = 0; i < producer->listener_count; i++) {
        check_listener(rules, i, &open_to_all);
    }
    if (producer->auth_required && producer->users_file == NULL && producer->listener_count > 0) {
        rules_at(rules, "producer.auth-required");
        rules_tell(rules, "is true, but without producer.users-file nobody could log in");
    }
    if (open_to_all && producer->default_tenant == NULL) {
        rules_at(rules, "producer");
        rules_tell(rules,
                   "takes mail from loopback without login; expected default-tenant, in whose "
                   "name it goes");
    }
    bool stream_used =
        producer->listener_count > 0 || config_source_has(rules->source, "producer.default-stream");
    if (producer->default_stream != NULL && rules->streams_clean && stream_used &&
        config_stream_named(config, slice_cstr(producer->default_stream)) == NULL) {
        rules_at(rules, "producer.default-stream");
        rules_tell(rules, "\"%s\" is not a stream of this file", producer->default_stream);
    }
}

static void check_verp(struct rules *rules)
{
    const struct config *config = rules->config;
    const struct config_verp *verp = &config->verp;
    unsigned seen = 0;
    for (size_t i = 0; i < verp->key_count; i++) {
        const struct config_verp_key *key = &verp->keys[i];
        rules_at(rules, "verp.keys[%zu]", i);
        if ((seen >> key->id & 1u) != 0) {
            rules_tell(rules, "has id %u, which another key has already", key->id);
        }
        seen |= 1u << key->id;
        if (key->not_after_ms != 0 && key->not_after_ms <= key->not_before_ms) {
            rules_tell(rules, "has a not-after that is not later than its not-before");
        }
    }
    if (verp->facts_retention_ms != 0 && verp->facts_retention_ms < verp->max_age_ms) {
        rules_at(rules, "verp.facts-retention");
        rules_tell(rules,
                   "is shorter than verp.max-age; a report that is believed needs its facts");
    }
    bool ready = verp->domain_count > 0 && verp->key_count > 0;
    for (size_t i = 0; i < config->tenant_count && !ready; i++) {
        if (config->tenants[i].verp) {
            rules_at(rules, "tenants[%zu].verp", i);
            rules_tell(rules, "is true; expected verp.domains and verp.keys with it");
        }
    }
    for (size_t i = 0; i < config->stream_count && !ready; i++) {
        if (config->streams[i].verp) {
            rules_at(rules, "streams[%zu].verp", i);
            rules_tell(rules, "is true; expected verp.domains and verp.keys with it");
        }
    }
    for (size_t i = 0; i < config->tenant_count; i++) {
        const char *domain = config->tenants[i].verp_domain;
        if (domain != NULL && !config_verp_domain(config, slice_cstr(domain))) {
            rules_at(rules, "tenants[%zu].verp-domain", i);
            rules_tell(rules, "\"%s\" is not one of verp.domains", domain);
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
        rules_at(rules, "unsubscribe.url");
        rules_tell(rules, "\"%s\" is not valid; expected https://HOST/PATH (RFC 8058)",
                   unsubscribe->url);
    }
    check_tls_files(rules, "unsubscribe", unsubscribe->tls_certificate_file,
                    unsubscribe->tls_key_file);
    for (size_t i = 0; i < unsubscribe->listener_count; i++) {
        check_implicit_tls(rules, "unsubscribe", i, &unsubscribe->listeners[i],
                           unsubscribe->tls_key_file);
    }
    bool way = url.ptr != NULL || (unsubscribe->mailto && config->verp.domain_count > 0);
    if (wants_list_unsubscribe(config, where, sizeof(where)) &&
        (!way || config->verp.key_count == 0)) {
        rules_at(rules, "%s", where);
        rules_tell(rules,
                   "is true; expected verp.keys, and unsubscribe.url or verp.domains with it");
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
    rules_at(rules, "bouncer.actions[%zu]", i);
    if (wants != (action->target != NULL)) {
        rules_tell(rules, wants ? "has no target" : "has a target, which its do makes no use of");
    }
    if ((action->what == CONFIG_DO_FORWARD) != (action->to != NULL)) {
        rules_tell(rules,
                   "has do and to that do not fit; expected to with forward, and only there");
    }
    if (expected != NULL) {
        rules_at(rules, "bouncer.actions[%zu].target", i);
        rules_tell(rules, "\"%s\" is not valid; expected %s", action->target, expected);
    }
    if (action->to != NULL && strchr(action->to, '@') == NULL) {
        rules_at(rules, "bouncer.actions[%zu].to", i);
        rules_tell(rules, "\"%s\" has no domain; expected local@domain", action->to);
    }
}

static void check_address(struct rules *rules, size_t i)
{
    const struct config_bouncer *bouncer = &rules->config->bouncer;
    const struct config_address *entry = &bouncer->addresses[i];
    rules_at(rules, "bouncer.addresses[%zu]", i);
    if (entry->address == NULL) {
        return;
    }
    const char *domain = strchr(entry->address, '@');
    if (domain == NULL || domain[1] == '\0') {
        rules_tell(rules, "\"%s\" has no domain; expected local@domain, or @domain for all of it",
                   entry->address);
    }
    if (entry->kind == CONFIG_ADDRESS_UNSUBSCRIBE && entry->tenant == NULL) {
        rules_tell(
            rules,
            "has no tenant; expected the one whose mail is to end for those who write there");
    }
    for (size_t j = 0; j < i; j++) {
        const char *other = bouncer->addresses[j].address;
        if (other != NULL && slice_eq_nocase(slice_cstr(other), slice_cstr(entry->address))) {
            rules_tell(rules, "\"%s\" has been given already; expected each address once",
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
    check_tls_files(rules, "bouncer", bouncer->tls_certificate_file, bouncer->tls_key_file);
    if (bouncer->suppression_table != NULL && !is_table_name(bouncer->suppression_table)) {
        rules_at(rules, "bouncer.suppression-table");
        rules_tell(rules, "\"%s\"; expected a name of small letters, digits and underscores",
                   bouncer->suppression_table);
    }
    for (size_t i = 0; i < bouncer->listener_count; i++) {
        check_implicit_tls(rules, "bouncer", i, &bouncer->listeners[i],
                           bouncer->tls_certificate_file);
    }
    for (size_t i = 0; i < bouncer->address_count; i++) {
        check_address(rules, i);
    }
    for (size_t i = 0; i < bouncer->action_count; i++) {
        check_action(rules, i);
    }
}

void rules_check_servers(struct rules *rules)
{
    check_producer(rules);
    check_verp(rules);
    check_unsubscribe(rules);
    check_bouncer(rules);
}
