/*
 * sluicectl uncertain: the messages of which nobody knows whether they were delivered and which
 * `on-uncertain: hold` keeps until somebody decides.
 */
#include "ops/sluicectl/actor.h"
#include "ops/sluicectl/cmd.h"
#include "ops/sluicectl/uncertain.h"

#include "base/clock.h"
#include "base/log.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct subcommand {
    const char *name;
    bool decides;
    int (*run)(const struct config *config, const struct uncertain_options *options);
} subcommands[] = {
    {"list", false, uncertain_list},
    {"resend", true, uncertain_resend},
    {"drop", true, uncertain_drop},
};

static int usage(void)
{
    (void)fputs(
        "usage: sluicectl uncertain list   --config FILE [FILTER…] [--json] [KEY…]\n"
        "       sluicectl uncertain resend --config FILE [--actor NAME] [--json] "
        "KEY…|FILTER…|--all\n"
        "       sluicectl uncertain drop   --config FILE [--actor NAME] [--json] "
        "KEY…|FILTER…|--all\n"
        "\n"
        "FILTER: --stream NAME, --site NAME, --tenant NAME, --recipient ADDRESS, --message-id ID,\n"
        "--older-than DURATION; all that are given must hold. A message is decided for all its\n"
        "recipients that are held. resend: tried again at once, with the next attempt's number; "
        "who\n"
        "has it already gets it twice. drop: given up, with a dropped event for each recipient.\n",
        stderr);
    return 2;
}

static bool has_filter(const struct uncertain_options *options)
{
    return options->stream.ptr != NULL || options->site.ptr != NULL ||
           options->tenant.ptr != NULL || options->recipient.ptr != NULL ||
           options->message_id.ptr != NULL || options->older_than_ms > 0;
}

static bool parse(const struct subcommand *subcommand, int argc, char **argv,
                  struct uncertain_options *options)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'C'},
        {"stream", required_argument, NULL, 's'},
        {"site", required_argument, NULL, 'S'},
        {"tenant", required_argument, NULL, 't'},
        {"recipient", required_argument, NULL, 'r'},
        {"message-id", required_argument, NULL, 'i'},
        {"older-than", required_argument, NULL, 'o'},
        {"actor", required_argument, NULL, 'A'},
        {"all", no_argument, NULL, 'a'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int letter;
    optind = 1;
    while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (letter) {
        case 'C': options->config = optarg; break;
        case 's': options->stream = slice_cstr(optarg); break;
        case 'S': options->site = slice_cstr(optarg); break;
        case 't': options->tenant = slice_cstr(optarg); break;
        case 'r': options->recipient = slice_cstr(optarg); break;
        case 'i': options->message_id = slice_cstr(optarg); break;
        case 'A': options->actor = optarg; break;
        case 'a': options->all = true; break;
        case 'j': options->json = true; break;
        case 'o':
            if (!duration_parse_ms(slice_cstr(optarg), &options->older_than_ms)) {
                (void)fprintf(stderr, "sluicectl uncertain: --older-than: \"%s\" is no duration\n",
                              optarg);
                return false;
            }
            break;
        default: return false;
        }
    }
    options->keys = argv + optind;
    options->key_count = (size_t)(argc - optind);
    bool chosen = options->all || options->key_count > 0 || has_filter(options);
    bool both = options->all && (options->key_count > 0 || has_filter(options));
    return options->config != NULL && !both && (chosen || !subcommand->decides);
}

int cmd_uncertain(int argc, char **argv)
{
    const struct subcommand *subcommand = NULL;
    struct uncertain_options options = {.actor = actor_default()};
    struct fault fault = {0};
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(subcommands); i++) {
        subcommand = strcmp(argv[1], subcommands[i].name) == 0 ? &subcommands[i] : subcommand;
    }
    if (subcommand == NULL || !parse(subcommand, argc - 1, argv + 1, &options)) {
        return usage();
    }
    log_setup("sluicectl", LOG_LEVEL_WARN);
    struct config *config = config_load(options.config, &fault);
    if (config == NULL) {
        (void)fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    int status = subcommand->run(config, &options);
    config_free(&config);
    return status;
}
