/* What the two files that read rule files share. */
#ifndef SLUICE_CLASSIFY_RULES_READ_PRIVATE_H
#define SLUICE_CLASSIFY_RULES_READ_PRIVATE_H

#include "classify/rules_private.h"

#include <yaml.h>

struct rules_reader {
    struct ruleset *set;
    yaml_document_t *document;
    const char *file;
    uint16_t layer;
    uint16_t provider; /* of the file */
    struct fault *fault;
};

/* Fills the fault; always false. */
bool rules_complain(struct rules_reader *r, const yaml_node_t *node, const char *what,
                    struct slice value);
struct slice rules_scalar(const yaml_node_t *node);
/* A NUL-terminated copy in the arena. */
bool rules_take_text(struct rules_reader *r, const yaml_node_t *node, const char **text);
/* Room for one more element; doubles at powers of two. */
void *rules_grow(void *array, size_t count, size_t size);

typedef bool (*rules_take_item)(struct rules_reader *r, const yaml_node_t *item, void *target);
/* A single value or a sequence of them. */
bool rules_each(struct rules_reader *r, const yaml_node_t *node, rules_take_item take,
                void *target);

struct rules_pattern_target {
    enum pattern_role role;
    uint32_t owner;
};
/* `target`: struct rules_pattern_target. */
bool rules_take_pattern(struct rules_reader *r, const yaml_node_t *item, void *target);
/* A provider that is known by that name. */
bool rules_take_provider(struct rules_reader *r, const yaml_node_t *node, uint16_t *provider);

/* An item of "rules"; `target` is not used. */
bool rules_take_rule(struct rules_reader *r, const yaml_node_t *node, void *target);

#endif
