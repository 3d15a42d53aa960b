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

/* ---- between the files config_rules*.c ---- */

#define RULES_PATH_MAX 160

struct rules {
    const struct config *config;
    const struct config_source *source;
    struct problems *problems;
    bool vips_clean, pools_clean, streams_clean; /* nothing wrong in there so far */
    char path[RULES_PATH_MAX];
};

/* Sets the key that the next problems are about. */
void rules_at(struct rules *rules, const char *format, ...) PRINTF_LIKE(2, 3);
void rules_tell(struct rules *rules, const char *format, ...) PRINTF_LIKE(2, 3);
/* Is the key in the file? The next problem is about it. */
bool rules_has(struct rules *rules, const char *path);

void rules_check_services(struct rules *rules);
void rules_check_names(struct rules *rules);
void rules_check_servers(struct rules *rules);

#endif
