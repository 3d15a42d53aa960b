#include "worker/route.h"

#include "base/hash.h"
#include "base/log.h"
#include "worker/inherited.h"
#include "worker/lane.h"
#include "worker/worker.h"

/* So often it is seen whether a tenant is still suspended, in times of the first tier: one hop to a
 * tier; 16 minutes. */
#define SUSPENDED_UNITS 32

static void site_found(struct dns_lookup *lookup, struct dns_site *site,
                       const struct smtp_outcome *outcome);

bool route_choose_pool(const struct config *config, const struct mail *mail, struct slice *name,
                       struct fault *fault)
{
    const struct message *message = &mail->message;
    const struct config_tenant *tenant = config_tenant_named(config, message->tenant);
    struct slice chosen = message->pool;
    if (chosen.len == 0 && tenant != NULL && tenant->default_pool != NULL) {
        chosen = slice_cstr(tenant->default_pool);
    }
    if (chosen.len == 0 && mail->stream != NULL && mail->stream->pool != NULL) {
        chosen = slice_cstr(mail->stream->pool);
    }
    if (chosen.len == 0 && tenant != NULL && tenant->pool_count > 0) {
        chosen = slice_cstr(tenant->pools[0]);
    }
    if (chosen.len == 0 && config->pool_count > 0) {
        chosen = slice_cstr(config->pools[0].name);
    }
    if (chosen.len == 0 && config->vip_count > 0) {
        chosen = slice_cstr(config->vips[0].name);
    }
    if (config_pool_named(config, chosen) == NULL && config_vip_named(config, chosen) == NULL) {
        return fault_set(fault, FAULT_INVALID, 0, "pool: no VIP or pool is named \"%.*s\"",
                         SLICE_FMT(chosen));
    }
    if (!config_tenant_may_use(config, message->tenant, chosen)) {
        return fault_set(fault, FAULT_REFUSED, 0, "pool: tenant \"%.*s\" may not use \"%.*s\"",
                         SLICE_FMT(message->tenant), SLICE_FMT(chosen));
    }
    *name = chosen;
    return true;
}

/* An entry of the configuration that names its hosts takes the place of the look-up. */
static const struct config_site *static_site(const struct config *config, struct slice domain)
{
    const struct config_site *site = config_site_for(config, domain, SLICE_NULL, domain);
    return site->smtp_host_count > 0 ? site : NULL;
}

/* The shard that owns the lanes of a site. */
static struct shard *owner_of(struct shard *shard, struct slice site_key)
{
    struct worker *worker = shard->worker;
    return worker->shards[hash_stable(site_key) % worker->shard_count];
}

/* The mail's site is known (or static): to the lane here, or to the shard that owns it. */
static void to_lane(struct shard *shard, struct mail *mail, struct dns_site *site,
                    const struct config_site *fixed)
{
    CHECK(site != NULL || fixed != NULL);
    struct slice key = site != NULL ? slice_cstr(site->key) : slice_cstr(fixed->name);
    struct shard *owner = owner_of(shard, key);
    if (owner != shard && mail->post.kind == MAIL_LETTER_ROUTE) {
        shard_hand_over(shard, owner, mail);
        return;
    }
    mail->site = site == NULL ? NULL : dns_site_ref(site);
    lane_push(shard, mail, fixed);
}

static void find_site(struct shard *shard, struct mail *mail)
{
    const struct config_site *fixed = static_site(shard->worker->config, mail->message.domain);
    struct dns_site *site = NULL;
    if (fixed != NULL) {
        to_lane(shard, mail, NULL, fixed);
        return;
    }
    mail->lookup.done = site_found;
    list_push_back(&shard->routing, &mail->node);
    if (dns_site_lookup(shard->sites, mail->message.domain, &mail->lookup, &site)) {
        list_remove(&mail->node);
        to_lane(shard, mail, site, NULL);
    }
}

static void site_found(struct dns_lookup *lookup, struct dns_site *site,
                       const struct smtp_outcome *outcome)
{
    struct mail *mail = CONTAINER_OF(lookup, struct mail, lookup);
    CHECK_MAGIC(mail, MAIL_MAGIC);
    struct shard *shard = mail->shard;
    list_remove(&mail->node);
    if (site != NULL) {
        to_lane(shard, mail, site, NULL);
        return;
    }
    const struct report_facts facts = {0};
    const struct config_site *config = config_site_for(shard->worker->config, mail->message.domain,
                                                       SLICE_NULL, mail->message.domain);
    if (settle_suppressed(&shard->settler, mail, shard->suppress, wall_now())) {
        settle_pending(&shard->settler, mail, outcome, &facts, config);
    }
    settle_round(&shard->settler, &mail);
}

/* False: the mail was settled. */
static bool decode(struct shard *shard, struct mail *mail)
{
    struct fault fault;
    if (!mail_decode(mail, &fault)) {
        log_warn("record-invalid", "origin=%.*s reason=\"%s\"", SLICE_FMT(mail->origin),
                 fault.text);
        settle_dropped(&shard->settler, &mail, SLICE("invalid"), slice_cstr(fault.text), true);
        return false;
    }
    if (mail->inherited != NULL || mail->suspect) {
        inherited_apply(&shard->settler, mail);
        if (mail->pending == 0) {
            settle_round(&shard->settler, &mail);
            return false;
        }
    }
    if (!route_choose_pool(shard->worker->config, mail, &mail->route, &fault)) {
        settle_dropped(&shard->settler, &mail, SLICE("policy"), slice_cstr(fault.text), false);
        return false;
    }
    if (mail->fresh && shard->worker->config->worker.received_events) {
        report_received(shard->reporter, mail);
    }
    return true;
}

/* True: its tenant's mail waits, and it was settled. What expired meanwhile is its lane's to tell.
 */
static bool is_suspended(struct shard *shard, struct mail *mail)
{
    const struct config_tenant *tenant =
        config_tenant_named(shard->worker->config, mail->message.tenant);
    struct wall_time now = wall_now();
    if (tenant == NULL || !tenant->suspended || settle_is_expired(mail, now)) {
        return false;
    }
    struct report_wait wait = {.due_ms = now.ms + SUSPENDED_UNITS *
                                                      shard->worker->config->kafka.tier_unit_ms,
                               .reason = "suspended"};
    if (mail->expires_ms > 0 && mail->expires_ms < wait.due_ms) {
        wait.due_ms = mail->expires_ms;
        wait.exact = true;
    }
    settle_later(&shard->settler, &mail, &wait);
    return true;
}

void route_mail(struct shard *shard, struct mail *mail)
{
    if (mail->post.kind == MAIL_LETTER_ROUTE &&
        (!decode(shard, mail) || is_suspended(shard, mail))) {
        return;
    }
    if (mail->fresh && mail->deferred == 0 && mail->due_ms > wall_now().ms) {
        const struct report_wait wait = {
            .due_ms = mail->due_ms, .exact = true, .reason = "not-before"};
        settle_later(&shard->settler, &mail, &wait);
        return;
    }
    find_site(shard, mail);
}

void route_extract(struct shard *shard,
                   bool (*wanted)(const struct mail *mail, const void *context), struct list *out)
{
    list_foreach_safe (node, after, &shard->routing) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);
        if (wanted(mail, shard)) {
            dns_lookup_cancel(&mail->lookup);
            list_remove(&mail->node);
            list_push_back(out, &mail->node);
        }
    }
}
