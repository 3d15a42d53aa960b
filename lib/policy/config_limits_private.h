/*
 * What `sites` and `limits` say about limits becomes config->limits.
 */
#ifndef SLUICE_POLICY_CONFIG_LIMITS_PRIVATE_H
#define SLUICE_POLICY_CONFIG_LIMITS_PRIVATE_H

#include "policy/config_normal_private.h"
#include "policy/config.h"

/* Fills config->limits; what is wrong with an entry is told. */
void config_limits_build(struct config *config, const struct config_source *source,
                         struct problems *problems);
void config_limits_drop(struct config *config);
/* Does what stands in `match` cover that site? */
bool config_site_pattern(const char *pattern, struct slice site_name, struct slice mx_host,
                         struct slice domain);

#endif
