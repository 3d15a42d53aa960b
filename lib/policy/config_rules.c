#include "policy/config_rules_private.h"

#include <stdarg.h>

void rules_at(struct rules *rules, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(rules->path, sizeof(rules->path), format, args);
    va_end(args);
}

void rules_tell(struct rules *rules, const char *format, ...)
{
    char text[FAULT_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    problems_add(rules->problems, config_source_line(rules->source, rules->path), rules->path, "%s",
                 text);
}

bool rules_has(struct rules *rules, const char *path)
{
    rules_at(rules, "%s", path);
    return config_source_has(rules->source, path);
}

void config_rules_check(const struct config *config, const struct config_source *source,
                        struct problems *problems)
{
    struct rules rules = {
        .config = config,
        .source = source,
        .problems = problems,
        .vips_clean = !problems_in(problems, "vips"),
        .pools_clean = !problems_in(problems, "pools"),
        .streams_clean = !problems_in(problems, "streams"),
    };
    rules_check_services(&rules);
    rules_check_names(&rules);
    rules_check_servers(&rules);
}
