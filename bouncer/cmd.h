/*
 * The commands of sluice-bouncer, one file cmd_NAME.c each. `argv[0]` is the command's own name.
 * The result is the exit status: 0 done, 1 failed, 2 wrong usage.
 */
#ifndef SLUICE_BOUNCER_CMD_H
#define SLUICE_BOUNCER_CMD_H

int cmd_bench(int argc, char **argv);
int cmd_classify(int argc, char **argv);
int cmd_rules(int argc, char **argv);
int cmd_serve(int argc, char **argv);

#endif
