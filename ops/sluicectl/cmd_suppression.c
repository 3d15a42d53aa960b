/*
 * sluicectl suppression: who gets no mail any more, and by whose word. The list is the compacted
 * topic suppression; sluice-bouncer writes it too. A change is in effect everywhere as soon as the
 * workers and producers have read it, within a second or two.
 */
#include "ops/sluicectl/actor.h"
#include "ops/sluicectl/cmd.h"
#include "ops/sluicectl/suppression.h"

#include "base/clock.h"
#include "base/log.h"

#include <getopt.h>

#define HISTORY_MS ((int64_t)30 * 24 * 3600 * 1000)

enum argument { NO_ARGUMENT, ADDRESS, FILE_NAME };

static const struct subcommand {
    const char *name;
    enum argument argument;
    const char *options; /* letters of those that it takes, beside config */
    int (*run)(const struct config *config, const struct suppression_options *options);
} subcommands[] = {
    {"list", NO_ARGUMENT, "tlraj", suppression_list},
    {"export", NO_ARGUMENT, "tlrao", suppression_list},
    {"check", ADDRESS, "tlaj", suppression_check},
    {"history", ADDRESS, "f", suppression_history},
    {"add", ADDRESS, "tlrFnA", suppression_add},
    {"remove", ADDRESS, "tlnA", suppression_remove},
    {"import", FILE_NAME, "tlrFnAc", suppression_import},
};

static int usage(void)
{
    (void)fputs(
        "usage: sluicectl suppression list    --config FILE [FILTER…] [--json]\n"
        "       sluicectl suppression export  --config FILE [FILTER…] [--output FILE]\n"
        "       sluicectl suppression check   --config FILE [--tenant NAME [--list NAME]] [--all] "
        "[--json] ADDRESS\n"
        "       sluicectl suppression history --config FILE [--from DURATION-ago] ADDRESS\n"
        "       sluicectl suppression add     --config FILE [--tenant NAME [--list NAME]] "
        "[--reason REASON]\n"
        "                                     [--for DURATION] [--note TEXT] [--actor NAME] "
        "ADDRESS\n"
        "       sluicectl suppression remove  --config FILE [--tenant NAME [--list NAME]] "
        "[--note TEXT]\n"
        "                                     [--actor NAME] ADDRESS\n"
        "       sluicectl suppression import  --config FILE [as add] [--check] LIST\n"
        "\n"
        "FILTER: --tenant NAME, --list NAME, --reason REASON, --all (also what is no longer in "
        "force).\n"
        "REASON: hard, repeated, mailbox-full, complaint, unsubscribed, manual, imported.\n"
        "Without --tenant an entry concerns all tenants. Status: 0 done (check: mail is held "
        "back), "
        "1 failed,\n"
        "2 wrong usage, 3 not on the list (check, remove).\n",
        stderr);
    return 2;
}

static const struct subcommand *subcommand_named(const char *name)
{
    for (size_t i = 0; name != NULL && i < ARRAY_LEN(subcommands); i++) {
        if (strcmp(subcommands[i].name, name) == 0) {
            return &subcommands[i];
        }
    }
    return NULL;
}

/* False: the value is wrong, and was told. */
static bool take(struct suppression_options *options, int letter, const char *value)
{
    int64_t ago_ms;
    struct slice text = value == NULL ? SLICE_NULL : slice_cstr(value);
    const char *wrong = NULL;
    switch (letter) {
    case 'C': options->config = value; break;
    case 't':
        options->tenant = value;
        wrong = text.len == 0 || !suppress_tenant_valid(text) ? "tenant" : NULL;
        break;
    case 'l':
        options->list = value;
        wrong = text.len == 0 || !suppress_list_valid(text) ? "list" : NULL;
        break;
    case 'r':
        options->reason = value;
        wrong = !suppression_reason_parse(text, &options->reason_number) ||
                        options->reason_number == SUPPRESSION_NONE
                    ? "reason"
                    : NULL;
        break;
    case 'n': options->note = value; break;
    case 'A': options->actor = value; break;
    case 'o': options->output = value; break;
    case 'F':
        wrong = !duration_parse_ms(text, &options->lasting_ms) || options->lasting_ms <= 0 ? "for"
                                                                                           : NULL;
        break;
    case 'f':
        text.len -= slice_ends_with_nocase(text, SLICE("-ago")) ? 4 : 0;
        wrong = !duration_parse_ms(text, &ago_ms) ? "from" : NULL;
        options->from_ms = wrong == NULL ? wall_now().ms - ago_ms : 0;
        break;
    case 'a': options->all = true; break;
    case 'c': options->check_only = true; break;
    case 'j': options->format = SUPPRESSION_JSON; break;
    default: return false;
    }
    if (wrong != NULL) {
        (void)fprintf(stderr, "sluicectl suppression: --%s: \"%s\" is not valid\n", wrong, value);
    }
    return wrong == NULL;
}

static bool parse(const struct subcommand *subcommand, int argc, char **argv,
                  struct suppression_options *options)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'C'},
        {"tenant", required_argument, NULL, 't'},
        {"list", required_argument, NULL, 'l'},
        {"reason", required_argument, NULL, 'r'},
        {"note", required_argument, NULL, 'n'},
        {"actor", required_argument, NULL, 'A'},
        {"output", required_argument, NULL, 'o'},
        {"for", required_argument, NULL, 'F'},
        {"from", required_argument, NULL, 'f'},
        {"all", no_argument, NULL, 'a'},
        {"check", no_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int letter;
    optind = 1;
    while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (letter != 'C' && strchr(subcommand->options, letter) == NULL) {
            return false;
        }
        if (!take(options, letter, optarg)) {
            return false;
        }
    }
    options->argument = optind < argc ? argv[optind] : NULL;
    if (options->list != NULL && options->tenant == NULL) {
        (void)fputs("sluicectl suppression: --list needs --tenant: a list is a tenant's\n", stderr);
        return false;
    }
    return options->config != NULL &&
           argc - optind == (subcommand->argument == NO_ARGUMENT ? 0 : 1);
}

bool suppression_fold(const char *text, char room[SUPPRESS_ADDRESS_MAX + 1], struct slice *address)
{
    struct fault fault = {0};
    if (!suppress_address_fold(slice_cstr(text), room, address, &fault)) {
        (void)fprintf(stderr, "sluicectl suppression: \"%s\": %s\n", text, fault.text);
        return false;
    }
    return true;
}

int cmd_suppression(int argc, char **argv)
{
    const struct subcommand *subcommand = subcommand_named(argc > 1 ? argv[1] : NULL);
    struct suppression_options options = {.actor = actor_default(),
                                          .from_ms = wall_now().ms - HISTORY_MS};
    struct fault fault = {0};
    if (subcommand == NULL || !parse(subcommand, argc - 1, argv + 1, &options)) {
        return usage();
    }
    if (strcmp(subcommand->name, "export") == 0) {
        options.format = SUPPRESSION_CSV;
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
