#include "bouncer/addresses.h"

const char *address_class_name(enum address_class class)
{
    switch (class) {
    case ADDRESS_FOREIGN: break;
    case ADDRESS_VERP: return "verp";
    case ADDRESS_FEEDBACK: return "feedback";
    case ADDRESS_UNSUBSCRIBE: return "unsubscribe";
    case ADDRESS_BOUNCE: return "bounce";
    case ADDRESS_ROLE: return "role";
    }
    return "foreign";
}

static enum address_class class_of_kind(enum config_address_kind kind)
{
    switch (kind) {
    case CONFIG_ADDRESS_FEEDBACK: return ADDRESS_FEEDBACK;
    case CONFIG_ADDRESS_UNSUBSCRIBE: return ADDRESS_UNSUBSCRIBE;
    case CONFIG_ADDRESS_BOUNCE: return ADDRESS_BOUNCE;
    case CONFIG_ADDRESS_ROLE: return ADDRESS_ROLE;
    }
    return ADDRESS_FOREIGN;
}

/* An entry of the configuration: `whole_domain` looks for "@domain". */
static const struct config_address *find_configured(const struct config_bouncer *bouncer,
                                                    struct slice address, bool whole_domain)
{
    ptrdiff_t at = slice_rfind_byte(address, '@');
    struct slice wanted = whole_domain && at >= 0 ? slice_skip(address, (size_t)at) : address;
    for (size_t i = 0; i < bouncer->address_count; i++) {
        if (slice_eq_nocase(slice_cstr(bouncer->addresses[i].address), wanted)) {
            return &bouncer->addresses[i];
        }
    }
    return NULL;
}

static bool is_role(struct slice local)
{
    return slice_eq_nocase(local, SLICE("postmaster")) || slice_eq_nocase(local, SLICE("abuse"));
}

/* Some domain of ours: of verp.domains, or of an address that we take. */
static bool is_our_domain(const struct config *config, struct slice domain)
{
    if (config_verp_domain(config, domain)) {
        return true;
    }
    for (size_t i = 0; i < config->bouncer.address_count; i++) {
        const char *address = strchr(config->bouncer.addresses[i].address, '@');
        if (address != NULL && slice_eq_nocase(slice_cstr(address + 1), domain)) {
            return true;
        }
    }
    return false;
}

void address_find(const struct config *config, const struct verp_keys *keys, struct slice address,
                  struct wall_time now, struct address_match *match)
{
    ptrdiff_t at = slice_rfind_byte(address, '@');
    struct slice local = slice_head(address, at < 0 ? address.len : (size_t)at);
    struct slice domain = at < 0 ? SLICE_NULL : slice_skip(address, (size_t)at + 1);
    const struct config_address *entry = find_configured(&config->bouncer, address, false);
    *match = (struct address_match){.class = ADDRESS_FOREIGN};
    if (entry == NULL && config_verp_domain(config, domain)) {
        match->verdict = verp_read(keys, local, now, config->verp.max_age_ms, &match->token);
        if (match->verdict == VERP_EXPIRED && match->token.purpose == VERP_UNSUBSCRIBE) {
            match->verdict =
                verp_read(keys, local, now, config->unsubscribe.max_age_ms, &match->token);
        }
        if (match->verdict != VERP_FOREIGN) {
            match->has_token = true;
            match->class =
                match->token.purpose == VERP_UNSUBSCRIBE ? ADDRESS_UNSUBSCRIBE : ADDRESS_VERP;
            return;
        }
    }
    /* RFC 5321 4.1.1.3, 4.5.1: postmaster, also without a domain */
    bool role = is_role(local) && (at < 0 || is_our_domain(config, domain));
    if (entry == NULL && !role) {
        entry = find_configured(&config->bouncer, address, true);
    }
    if (entry != NULL) {
        match->class = class_of_kind(entry->kind);
        match->tenant = entry->tenant;
    } else if (role) {
        match->class = ADDRESS_ROLE;
    }
}
