/* The sites of domains, as workers find them: by entries of the configuration that name their
 * hosts, else by the DNS. */
#include "ops/sluicectl/eta.h"

#include "base/mem.h"
#include "dns/site.h"

#include <stdlib.h>

#define LOOKUPS_MAX 500

struct asking {
    struct io_loop *loop;
    struct timer timer;
    size_t open;
};

struct eta_lookup {
    struct dns_lookup lookup;
    struct asking *asking;
    struct eta_domain *domain;
};

static void name_site(struct eta_domain *domain, const struct dns_site *site)
{
    if (site != NULL) {
        domain->site = mem_strdup(site->name);
    }
}

static void done(struct dns_lookup *lookup, struct dns_site *site,
                 const struct smtp_outcome *outcome)
{
    struct eta_lookup *one = CONTAINER_OF(lookup, struct eta_lookup, lookup);
    (void)outcome;
    name_site(one->domain, site);
    if (--one->asking->open == 0) {
        io_loop_stop(one->asking->loop);
    }
}

static void late(struct timer *timer, struct mono_time now)
{
    (void)now;
    io_loop_stop(CONTAINER_OF(timer, struct asking, timer)->loop);
}

static int most_first(const void *a, const void *b)
{
    const struct eta_domain *const *one = a;
    const struct eta_domain *const *other = b;
    return (*one)->records < (*other)->records ? 1 : (*one)->records > (*other)->records ? -1 : 0;
}

static void look_up(struct dns_sites *sites, struct eta_lookup *lookups, struct asking *asking,
                    struct eta_domain *const *domains, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct dns_site *site = NULL;
        if (domains[i]->site != NULL || domains[i]->records == 0 || *domains[i]->name == '\0') {
            continue;
        }
        lookups[i].asking = asking;
        lookups[i].domain = domains[i];
        lookups[i].lookup.done = done;
        if (dns_site_lookup(sites, slice_cstr(domains[i]->name), &lookups[i].lookup, &site)) {
            name_site(domains[i], site);
        } else {
            asking->open++;
        }
    }
}

static void name_fixed(const struct config *config, struct eta_domain *domain)
{
    struct slice name = slice_cstr(domain->name);
    const struct config_site *site = config_site_for(config, name, SLICE_NULL, name);
    if (site->smtp_host_count > 0) {
        domain->site = mem_strdup(site->name);
    }
}

bool eta_sites_find(const struct config *config, struct mono_time deadline,
                    struct eta_sample *sample, struct fault *fault)
{
    struct asking asking = {.loop = io_loop_create(fault)};
    struct dns_options options;
    dns_options_from_config(&options, &config->dns);
    struct dns_sites *sites =
        asking.loop == NULL ? NULL : dns_sites_create(asking.loop, &options, fault);
    if (sites == NULL) {
        io_loop_free(&asking.loop);
        return false;
    }
    size_t n = sample->domain_count;
    struct eta_domain **order = mem_calloc(n + 1, sizeof(struct eta_domain *));
    struct eta_lookup *lookups = mem_calloc(LOOKUPS_MAX, sizeof(*lookups));
    for (size_t i = 0; i < n; i++) {
        order[i] = sample->domains[i];
        name_fixed(config, order[i]);
    }
    qsort(order, n, sizeof(struct eta_domain *), most_first);
    look_up(sites, lookups, &asking, order, n < LOOKUPS_MAX ? n : LOOKUPS_MAX);
    if (asking.open > 0) {
        wheel_set(io_loop_wheel(asking.loop), &asking.timer, deadline, late);
        io_loop_run(asking.loop);
        wheel_cancel(io_loop_wheel(asking.loop), &asking.timer);
    }
    dns_sites_free(&sites);
    io_loop_free(&asking.loop);
    mem_free(lookups);
    mem_free(order);
    return true;
}
