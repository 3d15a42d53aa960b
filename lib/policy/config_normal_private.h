/*
 * From the file as people wrote it to its normal form: libyaml reads the text into a document whose
 * nodes know their lines; every value is checked against the schema and written as flow YAML in
 * which durations are milliseconds, sizes are bytes, secrets are read from their files, and all
 * defaults stand. That text is what libcyaml loads into the structs.
 */
#ifndef SLUICE_POLICY_CONFIG_NORMAL_PRIVATE_H
#define SLUICE_POLICY_CONFIG_NORMAL_PRIVATE_H

#include "base/strbuf.h"
#include "policy/config_problem_private.h"
#include "policy/config_schema_private.h"

struct config_source; /* the parsed document with its lines */

/* NULL when the text is no YAML or holds more or less than one document: the problem is told.
 * `text` need not outlive the call. */
struct config_source *config_source_parse(struct slice text, struct problems *problems);
void config_source_free(struct config_source **source);

/* Line of the value at a path such as "pools[1].members[0].vip"; of the nearest mapping around it
 * when it is not there. */
unsigned config_source_line(const struct config_source *source, const char *path);

/* Does the file itself have a value at that path? */
bool config_source_has(const struct config_source *source, const char *path);

/* Writes the normal form to `out`; values with a problem are left out, so the result always loads.
 * `folder`: of the file, for relative paths; "" for the current one. */
void config_normal_write(const struct config_source *source, const struct schema_type *type,
                         const char *folder, struct problems *problems, struct strbuf *out);

#endif
