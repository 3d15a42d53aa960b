/* sluice-bouncer: what comes back, and what it means. It only finds the command; each has a file of
 * its own. */
#include "bouncer/cmd.h"

#include "base/command.h"

static const struct command commands[] = {
    {"bench", "bench FILE.tsv                         speed on one core", cmd_bench},
    {"classify", "classify [--json] --replies FILE.tsv   classes of single SMTP replies",
     cmd_classify},
    {"rules", "rules check [DIR]…                     check rules, their samples included",
     cmd_rules},
    {"serve", "serve --config FILE                    takes the mail that comes back", cmd_serve},
};

int main(int argc, char **argv)
{
    return command_main("sluice-bouncer", commands, ARRAY_LEN(commands), argc, argv);
}
