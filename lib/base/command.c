#include "base/command.h"

static void print_usage(FILE *out, const char *program, const struct command *commands,
                        size_t count)
{
    (void)fprintf(out, "usage: %s COMMAND …\n\n", program);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(out, "  %s %s\n", program, commands[i].help);
    }
}

int command_main(const char *program, const struct command *commands, size_t count, int argc,
                 char **argv)
{
    if (argc < 2) {
        print_usage(stderr, program, commands, count);
        return 2;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0) {
        print_usage(stdout, program, commands, count);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("%s " SLUICE_VERSION "\n", program);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    (void)fprintf(stderr, "%s: \"%s\" is not a command\n\n", program, argv[1]);
    print_usage(stderr, program, commands, count);
    return 2;
}
