/* sluicectl: the operator's command line. It only finds the command; each has a file of its own. */
#include "ops/sluicectl/cmd.h"

#include "base/check.h"

struct command {
    const char *name;
    const char *help;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"config", "config check FILE             check a configuration file", cmd_config},
    {"log", "log --config FILE [--follow] …   print events as JSON lines", cmd_log},
    {"publish", "publish --config FILE …           send a message to a list of recipients",
     cmd_publish},
    {"topics", "topics create|check --config FILE   make or verify the topics of Kafka",
     cmd_topics},
};

static void print_usage(FILE *out)
{
    (void)fputs("usage: sluicectl COMMAND …\n\n", out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        (void)fprintf(out, "  sluicectl %s\n", commands[i].help);
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
        (void)puts("sluicectl " SLUICE_VERSION);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    (void)fprintf(stderr, "sluicectl: \"%s\" is not a command\n\n", argv[1]);
    print_usage(stderr);
    return 2;
}
