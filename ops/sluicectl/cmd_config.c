/* sluicectl config check FILE: every problem of a configuration file, as FILE:LINE: KEY: PROBLEM.
 */
#include "ops/sluicectl/cmd.h"

#include "policy/config.h"

static void print_problem(void *owner, const char *path, unsigned line, const char *key,
                          const char *problem)
{
    (void)owner;
    if (line > 0) {
        (void)printf("%s:%u: %s: %s\n", path, line, key, problem);
    } else {
        (void)printf("%s: %s: %s\n", path, key, problem);
    }
}

/* What is allowed but hardly meant. */
static void print_warnings(const char *path, const struct config *config)
{
    for (size_t i = 0; i < config->stream_count; i++) {
        const struct config_stream *stream = &config->streams[i];
        if (stream->duplicates == CONFIG_DUPLICATES_OFF) {
            (void)printf("%s: warning: streams[%zu].duplicates: off: of stream \"%s\" nothing "
                         "tells after a crash what was sent; it is for measurements only\n",
                         path, i, stream->name);
        }
    }
}

static int check(const char *path)
{
    size_t problems = config_check(path, print_problem, NULL);
    if (problems > 0) {
        (void)printf("%s: %zu problem%s\n", path, problems, problems == 1 ? "" : "s");
        return 1;
    }
    struct fault fault;
    struct config *config = config_load(path, &fault);
    if (config == NULL) { /* changed in between */
        (void)fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    (void)printf(
        "%s: ok: %zu VIPs, %zu pools, %zu sites, %zu tenants, %zu streams, %zu listeners\n", path,
        config->vip_count, config->pool_count, config->site_count, config->tenant_count,
        config->stream_count, config->producer.listener_count);
    print_warnings(path, config);
    config_free(&config);
    return 0;
}

int cmd_config(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "check") != 0) {
        (void)fputs("usage: sluicectl config check FILE\n", stderr);
        return 2;
    }
    return check(argv[2]);
}
