/*
 * What no single key can tell: names that must exist or must not stand twice, keys that need each
 * other.
 */
#ifndef SLUICE_POLICY_CONFIG_RULES_PRIVATE_H
#define SLUICE_POLICY_CONFIG_RULES_PRIVATE_H

#include "policy/config_normal_private.h"
#include "policy/config.h"

/* `problems` may hold some from before: references into sections that have problems are not judged.
 */
void config_rules_check(const struct config *config, const struct config_source *source,
                        struct problems *problems);

#endif
