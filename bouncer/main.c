/* sluice-bouncer: what comes back, and what it means. It only finds the command; each has a file of
 * its own. */
#include "bouncer/cmd.h"

#include "base/check.h"

struct command {
    const char *name;
    const char *help;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"bench", "bench FILE.tsv                         speed on one core", cmd_bench},
    {"classify", "classify [--json] --replies FILE.tsv   classes of single SMTP replies",
     cmd_classify},
    {"rules", "rules check [DIR]…                     check rules, their samples included",
     cmd_rules},
};

static void print_usage(FILE *out)
{
    (void)fputs("usage: sluice-bouncer COMMAND …\n\n", out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        (void)fprintf(out, "  sluice-bouncer %s\n", commands[i].help);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)puts("sluice-bouncer " SLUICE_VERSION);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    (void)fprintf(stderr, "sluice-bouncer: \"%s\" is not a command\n\n", argv[1]);
    print_usage(stderr);
    return 2;
}
