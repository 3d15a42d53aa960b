/*
 * One value on its way into the normal form (config_normal_private.h): read by its kind, and
 * written as YAML that means the same to everybody. What is wrong with it is told, under the key
 * that the walk has come to.
 */
#ifndef SLUICE_POLICY_CONFIG_SCALAR_PRIVATE_H
#define SLUICE_POLICY_CONFIG_SCALAR_PRIVATE_H

#include "policy/config_source_private.h"

/* One walk over the document. */
struct normal {
    const struct config_source *source;
    const char *folder;
    struct problems *problems;
    struct strbuf *out;
    struct strbuf path; /* of the key being looked at: "sites[2].retry" */
    bool quiet;         /* values taken over from another entry: their problems are told there */
};

void normal_tell(struct normal *normal, unsigned line, const char *text);
/* It is a list where text is expected, or so. Returns false. */
bool normal_tell_shape(struct normal *normal, const yaml_node_t *node, const char *expected);

/* A double-quoted YAML scalar; everything but printable ASCII is escaped. `text` is UTF-8. */
void normal_write_quoted(struct strbuf *out, struct slice text);
/* The value that the text means. False: told, nothing was written. */
bool normal_write_text(struct normal *normal, const struct schema_field *field, struct slice text,
                       unsigned line);
/* The same for a node: text, or for a secret {file: PATH}. */
bool normal_write_scalar(struct normal *normal, const struct schema_field *field,
                         const yaml_node_t *node);

#endif
