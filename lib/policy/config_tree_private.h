/*
 * The structs of config.h filled by libcyaml from the normal form, by a libcyaml schema that is
 * made from our own tables.
 */
#ifndef SLUICE_POLICY_CONFIG_TREE_PRIVATE_H
#define SLUICE_POLICY_CONFIG_TREE_PRIVATE_H

#include "policy/config.h"

/* `normal`: what config_normal_write() wrote. NULL: fault. The caller owns it; freed by
 * config_tree_free. */
struct config *config_tree_load(struct slice normal, struct fault *fault);
void config_tree_free(struct config **config);

#endif
