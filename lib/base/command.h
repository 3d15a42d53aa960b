/*
 * A program whose first word is a command (sluicectl, sluice-bouncer): finds it in a table and runs
 * it.
 */
#ifndef SLUICE_BASE_COMMAND_H
#define SLUICE_BASE_COMMAND_H

#include "base/check.h"

struct command {
    const char *name;
    const char *help; /* one line of the usage, without the program's name */
    int (*run)(int argc,
               char **argv); /* argv[0] is the command's own name; gives the exit status */
};

/* Runs the command that argv[1] names and returns its status; knows help, --help and --version by
 * itself. 2 for wrong usage. */
int command_main(const char *program, const struct command *commands, size_t count, int argc,
                 char **argv);

#endif
