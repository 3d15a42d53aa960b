/*
 * What config_source.c, config_scalar.c and config_normal.c share: libyaml's document and the few
 * questions asked of it.
 */
#ifndef SLUICE_POLICY_CONFIG_SOURCE_PRIVATE_H
#define SLUICE_POLICY_CONFIG_SOURCE_PRIVATE_H

#include "policy/config_normal_private.h"

#include <yaml.h>

struct config_source {
    yaml_document_t document;
};

/* Nodes belong to the source. Ids are libyaml's, from 1 (the root). */
yaml_node_t *source_node(const struct config_source *source, int id);
struct slice source_text(const yaml_node_t *scalar);
unsigned source_line(const yaml_node_t *node); /* from 1 */
/* A key with nothing behind it, "~" or "null". */
bool source_is_empty(const yaml_node_t *node);
/* The value of the first such key; NULL when there is none, or `mapping` is NULL or no mapping. */
yaml_node_t *source_value(const struct config_source *source, const yaml_node_t *mapping,
                          struct slice key);

#endif
