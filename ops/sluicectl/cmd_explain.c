/*
 * sluicectl explain limits --config FILE --site S [--vip V] …: the limits that hold for such mail,
 * each with the line of the file that says so. It asks where the workers ask.
 */
#include "ops/sluicectl/cmd.h"

#include "base/mem.h"
#include "policy/limits.h"

#include <getopt.h>

#define TEXT_MAX 4096

struct wish {
    const char *config;
    const char *site, *mx_host, *domain, *vip, *pool, *tenant, *campaign, *stream;
};

static int usage(void)
{
    (void)fputs("usage: sluicectl explain limits --config FILE --site NAME [--vip NAME] [--pool "
                "NAME] [--tenant NAME]\n"
                "         [--campaign NAME] [--stream NAME] [--mx HOST] [--domain NAME]\n",
                stderr);
    return 2;
}

static struct slice word(const char *text)
{
    return text == NULL ? SLICE("") : slice_cstr(text);
}

static void show_place(const char *path, const struct config_limit *limit, struct strbuf *out)
{
    if (limit->line > 0) {
        (void)strbuf_addf(out, "%s:%u", path, limit->line);
    } else {
        (void)strbuf_add_cstr(out, "built in");
    }
}

/* What the cluster counts it under, or what stands in its place. */
static void show_effect(const char *path, const struct config_subject *subject,
                        const struct config_binding *binding, struct strbuf *out)
{
    const struct config_limit *limit = binding->limit;
    if (binding->by != NULL) {
        (void)strbuf_addf(out, "does not bind: %s ",
                          binding->by->overrides ? "overridden by" : "not as strict as");
        show_place(path, binding->by, out);
    } else if (limit->amount == 0) {
        (void)strbuf_add_cstr(out, "lifts what it overrides");
    } else if (limit->kind == CONFIG_LIMIT_PER_CONNECTION) {
        (void)strbuf_add_cstr(out, "each connection");
    } else if (limit->kind == CONFIG_LIMIT_PER_TRANSACTION) {
        (void)strbuf_add_cstr(out, "each transaction");
    } else {
        config_limit_name(limit, subject, out);
    }
}

static void print_binding(const char *path, const struct config_subject *subject,
                          const struct config_binding *binding)
{
    struct strbuf text;
    size_t from[4];
    strbuf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        from[i] = text.len;
        switch (i) {
        case 0: config_limit_show(binding->limit, &text); break;
        case 1: config_limit_show_scopes(binding->limit, &text); break;
        case 2: show_place(path, binding->limit, &text); break;
        default: show_effect(path, subject, binding, &text); break;
        }
        (void)strbuf_add_byte(&text, '\0');
    }
    (void)printf("%-32s %-28s %-24s %s\n", text.ptr + from[0], text.ptr + from[1],
                 text.ptr + from[2], text.ptr + from[3]);
    strbuf_free(&text);
}

static int explain(const struct config *config, const struct wish *wish)
{
    struct config_subject subject = {
        .site = word(wish->site),
        .mx_host = word(wish->mx_host != NULL ? wish->mx_host : wish->site),
        .domain = word(wish->domain != NULL ? wish->domain : wish->site),
        .vip = word(wish->vip),
        .pool = word(wish->pool),
        .tenant = word(wish->tenant),
        .campaign = word(wish->campaign),
        .stream = word(wish->stream),
    };
    subject.entry = config_site_for(config, subject.site, subject.mx_host, subject.domain);
    (void)printf("site %s is of the entry \"%s\"\n", wish->site, subject.entry->name);
    (void)printf("%-32s %-28s %-24s %s\n", "limit", "for", "from", "counted as");
    for (enum config_limit_level level = 0; level < CONFIG_LEVELS; level++) {
        size_t count;
        struct config_binding *bindings = config_limits_for(config, &subject, level, &count);
        for (size_t i = 0; i < count; i++) {
            print_binding(wish->config, &subject, &bindings[i]);
        }
        mem_free(bindings);
    }
    return 0;
}

static bool known(const struct config *config, const struct wish *wish)
{
    const struct {
        const char *option, *name;
        bool there;
    } names[] = {
        {"vip", wish->vip, config_vip_named(config, word(wish->vip)) != NULL},
        {"pool", wish->pool, config_pool_named(config, word(wish->pool)) != NULL},
        {"stream", wish->stream, config_stream_named(config, word(wish->stream)) != NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].name != NULL && !names[i].there) {
            (void)fprintf(stderr, "sluicectl explain: --%s: \"%s\" is not in %s\n", names[i].option,
                          names[i].name, wish->config);
            return false;
        }
    }
    return true;
}

int cmd_explain(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"site", required_argument, NULL, 's'},
        {"mx", required_argument, NULL, 'm'},     {"domain", required_argument, NULL, 'd'},
        {"vip", required_argument, NULL, 'v'},    {"pool", required_argument, NULL, 'p'},
        {"tenant", required_argument, NULL, 't'}, {"campaign", required_argument, NULL, 'a'},
        {"stream", required_argument, NULL, 'q'}, {NULL, 0, NULL, 0},
    };
    struct wish wish = {0};
    int option;
    if (argc < 2 || strcmp(argv[1], "limits") != 0) {
        return usage();
    }
    while ((option = getopt_long(argc - 1, argv + 1, "", options, NULL)) >= 0) {
        switch (option) {
        case 'c': wish.config = optarg; break;
        case 's': wish.site = optarg; break;
        case 'm': wish.mx_host = optarg; break;
        case 'd': wish.domain = optarg; break;
        case 'v': wish.vip = optarg; break;
        case 'p': wish.pool = optarg; break;
        case 't': wish.tenant = optarg; break;
        case 'a': wish.campaign = optarg; break;
        case 'q': wish.stream = optarg; break;
        default: return usage();
        }
    }
    if (wish.config == NULL || wish.site == NULL || optind != argc - 1) {
        return usage();
    }
    struct fault fault;
    struct config *config = config_load(wish.config, &fault);
    if (config == NULL) {
        (void)fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    int status = known(config, &wish) ? explain(config, &wish) : 1;
    config_free(&config);
    return status;
}
