/*
 * What the bouncer takes mail for: signed return paths and unsubscription addresses in
 * verp.domains, the addresses of bouncer.addresses, postmaster and abuse of its domains. Nothing
 * else, so it can never be a relay. Pure.
 */
#ifndef SLUICE_BOUNCER_ADDRESSES_H
#define SLUICE_BOUNCER_ADDRESSES_H

#include "mail/verp.h"
#include "policy/config.h"

enum address_class {
    ADDRESS_FOREIGN, /* not ours */
    ADDRESS_VERP,
    ADDRESS_FEEDBACK,
    ADDRESS_UNSUBSCRIBE,
    ADDRESS_BOUNCE,
    ADDRESS_ROLE,
};
const char *address_class_name(enum address_class class); /* "verp", … */

struct address_match {
    enum address_class class;
    const char *tenant; /* that the configuration names; NULL: none */
    bool has_token;
    enum verp_verdict verdict; /* of the token */
    struct verp_token token;
};

void address_find(const struct config *config, const struct verp_keys *keys, struct slice address,
                  struct wall_time now, struct address_match *match);

#endif
